// Units: the text cut into tokens, words, sentences or spans drawn by hand; a unit's score is the sum of its tokens'.

const LEVELS = [["tokens", "Tokens"], ["words", "Words"], ["sentences", "Sentences"], ["spans", "Spans"]];

/** The explanation that is shown: one of the view's, or the sum of two that belong together (start and end). */
function shownOf(view, state) {
  const each = view.explanations;
  return state.target === "both" ? added(each[0], each[1]) : each[Math.min(state.target, each.length - 1)];
}

function added(a, b) {
  const tokens = a.tokens.map((t, i) => ({ ...t, score: t.score + b.tokens[i].score, error: null }));
  const total = (run) => ({ ...run, score: sum(run.tokens.map((i) => tokens[i].score)), error: null });
  const each = (items) => items.map((item) => ({ ...total(item), written: signed(sum(item.tokens.map((i) => tokens[i].score)), a.places), error_written: "" }));
  const passages = a.passages.map((p) => ({ ...p, tokens: p.tokens.map(total), words: p.words.map(total), sentences: p.sentences.map(total) }));
  const words = each(a.words);
  const ranking = words.map((_, i) => i).filter((i) => !words[i].special).sort((i, j) => Math.abs(words[j].score) - Math.abs(words[i].score));
  const peak = (items) => largest(items.filter((item) => !item.special).map((item) => item.score));
  const sentences = each(a.sentences);
  const terms = a.sum.terms.map((t, i) => ({ ...t, value: t.value + b.sum.terms[i].value }));
  terms.forEach((t, i) => (t.written = (i % 3 ? signed : plain)(t.value, a.places)));
  const layers = a.layers.map((layer, i) => {
    const other = b.layers[i];
    const scores = layer.scores.map((x, k) => x + (other?.scores[k] ?? 0));
    return { ...layer, scores, delta: layer.delta + (other?.delta ?? 0), written: signed(layer.delta + (other?.delta ?? 0), a.places), peak: largest(scores) };
  });
  return {
    ...a, tokens, passages, words, sentences, ranking, layers, parts: null, attention: [], output: a.output + b.output, peak: peak(words),
    target: { ...a.target, name: `${a.target.name} + ${b.target.name}` },
    peaks: { tokens: peak(tokens), words: peak(words), sentences: peak(sentences) },
    sum: { ...a.sum, terms, complete: a.sum.complete && b.sum.complete, verdict: a.sum.complete ? b.sum.verdict : a.sum.verdict },
  };
}

/** The runs of a passage at the chosen level: stretches of text, the gaps between them, tokens without text. */
function runsOf(passage, state) {
  if (state.level !== "spans") return passage[state.level];
  const spans = state.spans.filter(([segment]) => segment === passage.segment);
  const found = [];
  for (const run of passage.tokens) {
    const span = spans.find(([, a, b]) => run.start >= a && run.end <= b && run.end > run.start);
    const last = found.at(-1);
    if (!span) found.push(run);
    else if (last?.span === span) {
      last.text += run.text;
      last.label = last.text;
      last.end = run.end;
      last.tokens.push(...run.tokens);
      last.score += run.score;
    } else found.push({ ...run, tokens: [...run.tokens], special: false, span });
  }
  return found;
}

/** All units of an explanation at the chosen level, in the order of the text. */
function unitsOf(v, state) {
  return v.passages.flatMap((passage) => runsOf(passage, state).filter((run) => run.tokens.length));
}

/** What full colour means: the largest |score| of a unit that is not special, of this explanation or of all. */
function peakOf(view, v, state) {
  const own = (e) => {
    if (state.level !== "spans") return e.peaks[state.level] || e.peak;
    const units = unitsOf(e, state);
    return largest((units.some((u) => !u.special) ? units.filter((u) => !u.special) : units).map((u) => u.score));
  };
  return state.scale === "one" ? Math.max(own(v), ...view.explanations.map(own)) : own(v);
}

/** The rank of a unit among those of its level, from 1, special tokens counted only among themselves. */
function rankOf(unit, units) {
  const peers = units.filter((u) => u.special === unit.special);
  return [1 + peers.filter((u) => Math.abs(u.score) > Math.abs(unit.score)).length, peers.length];
}
