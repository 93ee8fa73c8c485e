// A generation as a matrix: generated tokens × all tokens that were there; each row adds up by itself.

const drawGeneration = (view, g, state, api, theme) => {
  const v = view.explanations[g.explanations[0]];
  const pieces = view.explanations[g.explanations[g.explanations.length - 1]].tokens;
  const columns = pieces.map((t) => named(t.text));
  const rows = g.explanations.map((e, k) => columns[g.rows[k]] ?? view.explanations[e].target.name);
  const own = g.scores.map((row) => Math.max(0, ...row.filter((s) => s !== null).map(Math.abs)));
  const map = heatmap({
    label: "Which tokens each generated token comes from", values: g.scores, peak: state.scale === "shared" ? g.peak : own, rows, columns, theme,
    readout: (i, j, score) => {
      const e = view.explanations[g.explanations[i]];
      return score === null ? `${columns[j]} was not there yet when ${rows[i]} was generated`
        : `${columns[j]} → ${rows[i]} ${signed(score, v.places)}${e.chance_written ? ` · probability of ${rows[i]} ${e.chance_written}` : ""}`;
    },
    onHover: (i, j) => { light(i, j); },
    onPick: (i) => api.set({ index: g.explanations[i] }),
  });
  const active = g.explanations.indexOf(state.index);
  // The text itself: click a generated token to see what made it, point at a source token to see what it made.
  const words = pieces.map((t, j) => {
    const row = g.rows.indexOf(j);
    const score = active >= 0 ? g.scores[active][j] : null;
    const t0 = score === null ? 0 : strengthOf(score, state.scale === "shared" ? g.peak : own[active]);
    const node = el(`span.run${Math.abs(t0) > 0.02 ? ".tint" : ""}${row >= 0 ? ".made" : ""}${row === active && row >= 0 ? ".chosen" : ""}`, {
      style: Math.abs(t0) > 0.02 ? tint(t0) : {}, role: "button", tabIndex: 0, "aria-label": `${columns[j]}${score === null ? "" : `, ${signed(score, v.places)}`}`,
      onpointerenter: () => light(null, j), onpointerleave: () => light(null, null),
      onclick: () => row >= 0 && api.set({ index: g.explanations[row] }),
      onkeydown: (e) => { if (e.key === "Enter" && row >= 0) api.set({ index: g.explanations[row] }); },
    }, t.text.replace(/\n/g, "↵\n"));
    return node;
  });
  const light = (i, j) => words.forEach((node, k) => {
    const row = g.rows.indexOf(k);
    const score = j !== null && row >= 0 ? g.scores[row][j] : i !== null ? g.scores[i][k] : null;
    node.style.setProperty("--under", score === null || score === undefined ? "transparent" : score < 0 ? "var(--negative)" : "var(--positive)");
    node.style.setProperty("--weight", String(score === null || score === undefined ? 0 : Math.round(6 * Math.abs(strengthOf(score, g.peak)))));
  });
  const steps = el("table", {}, el("thead", {}, el("tr", {}, ["generated", "probability", "output", "strongest source"].map((h) => el("th", { scope: "col" }, h)))),
    el("tbody", {}, g.explanations.map((e, k) => {
      const x = view.explanations[e];
      const w = x.words[x.ranking[0]];
      return el("tr", {}, el("td", {}, el("button.link", { type: "button", onclick: () => api.set({ index: e }) }, el("bdi", {}, rows[k]))), el("td.number", {}, x.chance_written || ""), el("td.number", {}, x.output_written), el("td", {}, w ? [el("bdi", {}, named(w.text)), ` ${w.written}`] : ""));
    })));
  const node = section("What made each generated token", "Click a generated token to colour what made it; point at any token to underline what it made. Tokens that were not there yet are left empty.",
    el("div.passage.continuation", { dir: "auto" }, words), map, el("details", {}, el("summary", {}, `All ${rows.length} steps`), el("div.scroll", {}, steps)));
  node.picture = map;
  return node;
};
