// Inside the model: scores at each layer, a token's course over the layers, and the parts of the embedding.

const drawLayers = (v, state, api, theme) => {
  if (!v.layers.length) return null;
  const columns = v.tokens.map((t) => named(t.text));
  const values = v.layers.map((l) => l.scores);
  const peaks = v.layers.map((l) => Math.max(...l.scores.map(Math.abs)));
  const shared = Math.max(...peaks);
  const course = el("div.course");
  const map = heatmap({
    label: "Layers by tokens", values, peak: state.scale === "shared" ? shared : peaks, rows: v.layers.map((l) => `layer ${l.number}`), columns, theme, places: v.places,
    readout: (i, j, s) => `layer ${v.layers[i].number} · ${columns[j]} ${signed(s, v.places)} · residual of the layer ${v.layers[i].written}`,
    onHover: (i, j) => { api.highlight(j === null ? null : [j]); if (j !== null) show(j); }, onPick: (i, j) => api.pin([j]),
  });
  const show = (j) => {
    const at = values.map((row) => row[j]);
    const top = Math.max(shared, 1e-12), step = 560 / Math.max(1, at.length - 1);
    const y = (s) => 60 - (50 * s) / top;
    const line = svg("svg", { viewBox: "0 0 600 120", role: "img", "aria-label": `Scores of ${columns[j]} at each layer: ${at.map((s) => signed(s, v.places)).join(", ")}` },
      svg("line", { x1: 20, x2: 580, y1: 60, y2: 60, class: "axisline" }),
      svg("polyline", { points: at.map((s, i) => `${20 + i * step},${y(s)}`).join(" "), class: "courseline" }),
      ...values.map((row, i) => {
        const sorted = [...row].sort((a, b) => a - b), q = (p) => sorted[Math.round(p * (sorted.length - 1))];
        return svg("line", { x1: 20 + i * step, x2: 20 + i * step, y1: y(q(0.25)), y2: y(q(0.75)), class: "quartiles" });
      }),
      ...at.map((s, i) => svg("circle", { cx: 20 + i * step, cy: y(s), r: 4, class: s < 0 ? "negative" : "positive" })));
    course.replaceChildren(el("p.eyebrow", {}, "Course of ", el("bdi", {}, columns[j]), " over the layers (thick: half of all tokens lie there)"), line);
  };
  if (v.ranking.length) show(v.words[v.ranking[0]].tokens[0]);
  const entropy = v.layers.map((l) => {
    const all = l.scores.reduce((sum, s) => sum + Math.abs(s), 0) || 1;
    return -l.scores.reduce((sum, s) => { const p = Math.abs(s) / all; return p ? sum + p * Math.log2(p) : sum; }, 0);
  });
  const rows = v.layers.map((l, i) => el("tr", {}, el("td.number", {}, String(l.number)), el("td", {}, l.strongest.slice(0, 4).map((w) => [el("bdi", {}, named(w.text)), ` ${w.written}   `])), el("td.number", {}, entropy[i].toFixed(2)), el("td.number", {}, l.written)));
  const node = section("Layer by layer", "Each row is complete by itself: its scores add up to the same change in the output.", map, course,
    el("details", {}, el("summary", {}, "Strongest words, entropy and residual of each layer"), el("div.scroll", {}, el("table", {}, el("thead", {}, el("tr", {}, ["layer", "strongest", "entropy (bits)", "residual"].map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, rows)))));
  node.picture = map;
  return node;
};

const drawParts = (v, state, api, theme) => {
  if (!v.parts) return null;
  const names = Object.keys(v.parts.scores);
  const values = names.map((n) => v.parts.scores[n]);
  const columns = v.tokens.map((t) => named(t.text));
  const map = heatmap({ label: "Parts of the embedding by tokens", values, peak: largest(values), rows: names.map((n) => `${n} ${signed(v.parts.sums[n], v.places)}`), columns, theme, places: v.places, onHover: (i, j) => api.highlight(j === null ? null : [j]) });
  const node = section("Parts of the embedding", v.parts.sentence || null, map);
  node.picture = map;
  return node;
};

const drawImage = (v) => {
  if (!v.grid) return null;
  const [rows, columns] = v.grid;
  const patches = v.tokens.filter((t) => !t.special).slice(0, rows * columns);
  const grid = el("div.patches", { role: "img", "aria-label": `Scores of ${rows} by ${columns} patches`, style: { "grid-template-columns": `repeat(${columns}, 1fr)` } },
    patches.map((t) => el("span.tint", { title: `${t.text} ${signed(t.score, v.places)}`, style: tint(strengthOf(t.score, v.peaks.tokens)) })));
  return section("Patches", null, grid);
};
