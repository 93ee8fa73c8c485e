// Units: tokens, words, sentences or spans drawn by hand; a unit's score is the sum of its tokens'.

const LEVELS = ["tokens", "words", "sentences", "spans"];

/** "words" are the groups that were asked for. */
const nameOf = (v, level) => (level === "words" ? `${v.unit ?? "word"}s` : level);
const levelsOf = (v) => LEVELS.filter((level) => (level !== `${v.unit}s` || level === "words") && !(v.kept && level === "spans")).map((level) => [level, capital(nameOf(v, level))]);

/** The runs of a passage at the chosen level: units, and the gaps between them. */
function runsOf(passage, state) {
  if (state.level !== "spans") return passage[state.level];
  const spanOf = (run) => state.spans.find(([segment, a, b]) => segment === passage.segment && run.start >= a && run.end <= b && run.end > run.start);
  return [...Map.groupBy(passage.tokens, (run) => spanOf(run) ?? run)].map(([span, runs]) => (span === runs[0] ? span : { ...joined(runs), span }));
}

/** Runs that follow one another, as one. */
function joined(runs) {
  const text = runs.map((run) => run.text).join("");
  return { ...runs[0], text, label: text, end: runs.at(-1).end, tokens: runs.flatMap((run) => run.tokens), score: sum(runs.map((run) => run.score)), special: false };
}

const unitsOf = (v, state) => v.passages.flatMap((passage) => runsOf(passage, state).filter((run) => run.tokens.length && run.score !== null && !isLater(v, run)));

/** Whether a run was not yet there when the token that is explained was generated. */
const isLater = ({ task, target: { position } }, run) => /generation$/.test(task) && run.score === 0 && position !== null && run.tokens.every((i) => i >= position);

const changeOf = (v) => v.sum.terms[3].value - v.sum.terms[0].value;
const signOf = (score) => (score < 0 ? "negative" : "positive");
const writtenOf = (unit, v) => [signed(unit.score, v.places), unit.error && small(` ± ${plain(unit.error, v.places)}`)];

/** Units that the text has more than once are numbered: "the (2)". */
function numbered(units) {
  const alike = Map.groupBy(units, (u) => u.label);
  return units.map((u) => ({ ...u, name: u.label + (alike.get(u.label)[1] ? ` (${1 + alike.get(u.label).indexOf(u)})` : "") }));
}

/** The strongest first, by the number that `of` reads. */
const ranked = (items, of = (unit) => unit.score) => [...items].sort((a, b) => Math.abs(of(b)) - Math.abs(of(a)));

/** What full colour means: the largest |score| of an ordinary unit. */
function peakOf(view, v, state) {
  const own = (e) => {
    const units = unitsOf(e, state), ordinary = units.filter((u) => !u.special);
    return largest((ordinary.length ? ordinary : units).map((u) => u.score));
  };
  return state.scale === "one" ? Math.max(own(v), ...view.explanations.map(own)) : own(v);
}

/** The rank of a unit among those of its level, from 1, special tokens counted only among themselves. */
function rankOf(unit, units) {
  const peers = units.filter((u) => u.special === unit.special);
  return [1 + peers.filter((u) => Math.abs(u.score) > Math.abs(unit.score)).length, peers.length];
}
