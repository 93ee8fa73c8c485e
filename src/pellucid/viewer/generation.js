// Generation: which tokens each generated token comes from. A row is a generated token, a column a token of the context;
// what was not yet there when a token was generated has no cell.

function generationOf(view, v, state, set, links, theme) {
  return view.generations.map((g, k) => {
    const tokens = view.explanations[g.explanations[0]].tokens;
    const summed = sumsOf(g, state.rows);
    const rows = [...g.explanations.map((i) => stepName(view.explanations[i])), ...(summed ? [`rows ${state.rows[0] + 1}–${state.rows[1] + 1} together`] : [])];
    const value = (r, c) => (r < g.scores.length ? (g.scores[r][c] ?? null) : summed[c]);
    const peak = Math.max(g.peak, summed ? largest(summed) : 0);
    const picture = heatmap({
      name: "Generated tokens by context", rows, columns: tokens.map((t) => t.text), value, peak, theme, chosen: g.explanations.indexOf(state.target),
      tell: (r, c) => told(rows[r], tokens[c], value(r, c), v.places),
      point: (r, c) => links.light([c]),
      choose: (r) => r < g.explanations.length && set({ target: g.explanations[r], pinned: null }),
    });
    return section(view.generations.length > 1 ? `Generation, ${g.method}, ${g.baseline} baseline` : "Generation", stepsOf(view, g, state, set), rowsSummed(g, state, set), ...picture, madeBy(view, g, v, state, links));
  });
}

function told(row, token, value, digits) {
  return value === null ? [bdi(token.text), " was not yet there when ", bdi(row), " was generated."] : [bdi(token.text), " → ", bdi(row), ": ", h("strong", {}, signed(value, digits))];
}

const stepName = (e) => e.target.name;

/** The generated tokens as buttons: choosing one colours the text by what made it. */
function stepsOf(view, g, state, set) {
  const buttons = g.explanations.map((i) => {
    const e = view.explanations[i];
    const chance = e.meta.step_probability ?? e.probability;
    return button(bdi(e.tokens[e.target.position]?.text ?? e.target.name), { class: "made", "aria-pressed": String(state.target === i), "data-key": `made:${i}`, title: chance === null ? null : `probability ${percent(chance)}`, on: { click: () => set({ target: i, pinned: null }) } });
  });
  return h("div", { class: "steps", role: "group", "aria-label": "Generated tokens" }, buttons);
}

/** Sums over a stretch of the continuation: from a row to a row. */
function rowsSummed(g, state, set) {
  if (g.rows.length < 2) return null;
  const names = g.rows.map((_, i) => [i, String(i + 1)]);
  const [a, b] = state.rows ?? [0, 0];
  return h("div", { class: "tools" }, menu("Sum of steps", names, a, (x) => set({ rows: [Number(x), Math.max(b, Number(x))] })), menu("to", names, b, (x) => set({ rows: [Math.min(a, Number(x)), Number(x)] })));
}

/** Per column, the sum of the scores of some rows; null where the column was there for none of them. */
function sumsOf(g, rows) {
  if (!rows || rows[1] <= rows[0] || rows[1] >= g.scores.length) return null;
  const own = g.scores.slice(rows[0], rows[1] + 1);
  return own[0].map((_, c) => (own.every((row) => row[c] === null) ? null : sum(own.map((row) => row[c]))));
}

/** What the token that is pinned went on to make: its score in every later step, as bars. */
function madeBy(view, g, v, state, links) {
  if (!state.pinned) return h("p", { class: "muted" }, "Pin a word of the text to see which generated tokens it made.");
  const made = g.scores.map((row, r) => ({ r, score: state.pinned.some((c) => row[c] !== null && row[c] !== undefined) ? sum(state.pinned.map((c) => row[c])) : null })).filter((m) => m.score !== null);
  const peak = largest(made.map((m) => m.score));
  return h("div", { class: "steps", "aria-label": "What the pinned word made" }, made.map((m) => h("span", { class: "tint made", style: tinted(strength(m.score, peak)), title: signed(m.score, v.places) }, bdi(stepName(view.explanations[g.explanations[m.r]])), ` ${signed(m.score, 2)}`)));
}
