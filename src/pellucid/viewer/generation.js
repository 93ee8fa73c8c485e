// Generation: generated tokens × the context that each comes from; what was not yet there has no cell.

function generationOf({ view, v, state, set, links, theme }) {
  return view.generations.map((g) => {
    const { tokens } = view.explanations[g.explanations[0]], summed = sumsOf(g, state.rows);
    const names = g.explanations.map((i) => view.explanations[i].target.name);
    const rows = [...names, ...(summed ? [`rows ${state.rows[0] + 1}–${state.rows[1] + 1} together`] : [])];
    const value = (r, c) => (r < names.length ? (g.scores[r][c] ?? null) : summed[c]);
    const picture = heatmap({
      name: "Generated tokens by context", rows, columns: tokens.map((t) => t.text), value, peak: Math.max(g.peak, summed ? largest(summed) : 0), theme, chosen: g.explanations.indexOf(state.target),
      tell: (r, c) => [bdi(tokens[c].text), value(r, c) === null ? [" was not yet there when ", bdi(rows[r]), " was generated."] : [" → ", bdi(rows[r]), ": ", strong(signed(value(r, c), v.places))]],
      point: (r, c) => links.light([c]),
      choose: (r) => r < names.length && set({ target: g.explanations[r] }),
    });
    const made = g.explanations.map((i, r) => {
      const e = view.explanations[i], step = e.meta.step;
      return [i, e.tokens[g.rows[r]].text, step ? `${percent(step.probability)}${step.rank > 1 ? ` #${step.rank}` : ""}` : null];
    });
    return section(view.generations.length > 1 ? `Generation, ${g.method}, ${g.baseline} baseline` : "Generation", chosenOf("Generated tokens", made, state, set), rivalsOf(v), rowsSummed(g, state, set), picture, madeBy(g, names, v, state));
  });
}

function rivalsOf(v) {
  const { step } = v.meta;
  if (!step) return null;
  const row = ([name, chance], i) => div(`class${i + 1 === step.rank ? " on" : ""}`, meter(name, chance));
  const told = par("muted", bdi(v.tokens[v.target.position].text), ` has probability ${percent(step.probability)}, rank ${step.rank} at its place. The strongest there:`);
  return div("rivals", told, group("Strongest tokens at its place", "classes", step.strongest.map(row)));
}

function rowsSummed(g, state, set) {
  if (g.rows.length < 2) return null;
  const names = g.rows.map((_, i) => [i, i + 1]), [a = 0, b = 0] = state.rows;
  return div("tools", menu("Sum of steps", names, a, (x) => set({ rows: [x, Math.max(b, x)] })), menu("to", names, b, (x) => set({ rows: [Math.min(a, x), x] })));
}

/** Per column the sum of some rows; null where the column was there for none of them. */
function sumsOf(g, rows) {
  if (!(rows[1] > rows[0] && rows[1] < g.scores.length)) return null;
  const own = g.scores.slice(rows[0], rows[1] + 1);
  return own[0].map((_, c) => (own.every((row) => row[c] === null) ? null : sum(own.map((row) => row[c]))));
}

function madeBy(g, names, v, state) {
  if (!state.pinned.length) return par("muted", "Pin a word of the text to see which generated tokens it made.");
  const made = g.scores.flatMap((row, r) => (state.pinned.some((c) => row[c] != null) ? [[names[r], sum(state.pinned.map((c) => row[c]))]] : []));
  const peak = largest(made.map(([, score]) => score));
  const one = ([name, score]) => chipOf("made", score, peak, v.places, bdi(name), ` ${signed(score, 2)}`);
  return group("What the pinned word made", "steps", made.map(one));
}
