// Units: tokens, words, sentences or spans drawn by hand; a unit's score is the sum of its tokens'.

const LEVELS = ["tokens", "words", "sentences", "spans"];

/** "words" are the groups that were asked for. */
const nameOf = (v, level) => (level === "words" ? `${v.unit ?? "word"}s` : level);
const levelsOf = (v) => LEVELS.filter((level) => level !== `${v.unit}s` || level === "words").map((level) => [level, nameOf(v, level).replace(/^./, (c) => c.toUpperCase())]);

/** The runs of a passage at the chosen level: units, and the gaps between them. */
function runsOf(passage, state) {
  if (state.level !== "spans") return passage[state.level];
  const spans = state.spans.filter(([segment]) => segment === passage.segment);
  const found = [];
  for (const run of passage.tokens) {
    const own = spans.find(([, a, b]) => run.start >= a && run.end <= b && run.end > run.start);
    const last = found.at(-1);
    if (!own) found.push(run);
    else if (last?.span === own) {
      last.label = last.text += run.text;
      last.end = run.end;
      last.tokens.push(...run.tokens);
      last.score += run.score;
    } else found.push({ ...run, tokens: [...run.tokens], special: false, span: own });
  }
  return found;
}

function unitsOf(v, state) {
  return v.passages.flatMap((passage) => runsOf(passage, state).filter((run) => run.tokens.length && !isLater(v, run)));
}

/** Whether a run was not yet there when the token that is explained was generated. */
function isLater({ task, target: { position } }, run) {
  return /generation$/.test(task) && run.score === 0 && position !== null && run.tokens.every((i) => i >= position);
}

/** Units that the text has more than once are numbered: "the (2)". */
function numbered(units) {
  const alike = Map.groupBy(units, (u) => u.label);
  return units.map((u) => ({ ...u, name: u.label + (alike.get(u.label)[1] ? ` (${1 + alike.get(u.label).indexOf(u)})` : "") }));
}

const ranked = (units) => [...units].sort((a, b) => Math.abs(b.score) - Math.abs(a.score));

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
