// Generation: generated tokens × the context that each comes from; what was not yet there has no cell.

function generationOf(scene) {
  const { view, v, state, set } = scene;
  return view.generations.map((g) => {
    const first = view.explanations[g.explanations[0]], { tokens } = first, columns = columnsOf(first), summed = sumsOf(g, state.rows), [from, to] = state.rows;
    const names = g.explanations.map((i) => view.explanations[i].target.name), value = (r, c) => (g.scores[r] ?? summed)[c];
    const rows = [...names, ...(summed ? [`rows ${from + 1}–${to + 1} together`] : [])];
    const picture = heatmap(scene, { name: "Generated tokens by context", rows, columns, value, explanations: g.explanations });
    const made = g.explanations.map((i, r) => {
      const { step } = view.explanations[i].meta;
      return [i, g.until[r] > g.rows[r] ? names[r] : tokens[g.rows[r]].text, step ? `${percent(step.probability)}${step.rank > 1 ? ` #${step.rank}` : ""}` : ""];
    });
    return section(view.generations.length > 1 ? `Generation, ${g.method}, ${g.baseline} baseline` : "Generation", chosenOf("Generated tokens", made, state, set), rivalsOf(v), rowsSummed(g, state, set), picture, madeBy(g, names, v, state, columns));
  });
}

function rivalsOf(v) {
  const { step } = v.meta;
  if (!step) return;
  const told = par("muted", bdi(v.tokens[v.target.position].text), ` has probability ${percent(step.probability)}, rank ${step.rank} at its place. The strongest there:`);
  return div("rivals", told, group("Strongest tokens at its place", "classes", step.strongest.map(([name, chance], i) => classRow(name, chance, i + 1 === step.rank))));
}

function rowsSummed(g, state, set) {
  if (g.rows.length < 2) return;
  const pick = (name, k) => menu(name, g.rows.map((_, i) => [i, i + 1]), state.rows[k] ?? 0, (x) => set({ rows: k ? [Math.min(state.rows[0] ?? 0, x), x] : [x, Math.max(state.rows[1] ?? 0, x)] }));
  return div("tools", pick("Sum of steps", 0), pick("to", 1));
}

/** Per column the sum of some rows; null where the column was there for none of them. */
function sumsOf(g, rows) {
  if (!(rows[1] > rows[0] && rows[1] < g.scores.length)) return;
  const own = g.scores.slice(rows[0], rows[1] + 1);
  return own[0].map((_, c) => (own.every((row) => row[c] === null) ? null : sum(own.map((row) => row[c]))));
}

function madeBy(g, names, v, state, columns) {
  if (!state.pinned.length) return par("muted", "Pin a word of the text to see which generated tokens it made.");
  const at = [...columns.keys()].filter((c) => columns[c].tokens.some((t) => state.pinned.includes(t)));
  const sums = g.scores.map((row) => at.some((c) => row[c] != null) && [sum(at.map((c) => row[c]))]), peak = largest(sums.flat());
  return group(`What the pinned ${v.kept ? "sentence" : "word"} made`, "steps", sums.map((made, r) => made && chipOf("made", made[0], peak, v.places, bdi(names[r]), ` ${signed(made[0], 2)}`)));
}
