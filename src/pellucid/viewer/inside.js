// Inside the model: layers × units as a heat map, one unit's course over the layers, and the parts of the embedding.

function insideOf(v, state, links, theme) {
  return [v.layers.length ? layersOf(v, state, links, theme) : null, v.layers.length ? courseOf(v, state) : null, v.parts ? partsOf(v, state, links) : null];
}

function layersOf(v, state, links, theme) {
  const units = unitsOf(v, state);
  const sums = v.layers.map((layer) => units.map((u) => sum(u.tokens.map((i) => layer.scores[i]))));
  const peak = largest(sums.flat());
  const names = v.layers.map((layer) => `layer ${layer.number}`);
  return section("Layers", h("p", { class: "muted" }, "What each unit's vector at the output of a layer contributes. Every row adds up by itself; its residual stands at its end."), ...heatmap({
    name: "Layers", rows: names, columns: units.map((u) => u.label), value: (r, c) => sums[r][c], peak, theme, ends: v.layers.map((layer) => layer.written),
    tell: (r, c) => [`${names[r]}: `, bdi(units[c].label), " ", h("strong", {}, signed(sums[r][c], v.places)), ` · residual of the layer ${v.layers[r].written}`],
    point: (r, c) => links.light(units[c].tokens),
  }));
}

/** The score of a unit after each layer, as a line, and the entropy of |scores| over all tokens of the layer. */
function courseOf(v, state) {
  const units = unitsOf(v, state);
  const unit = units.find((u) => state.pinned?.includes(u.tokens[0])) ?? [...units].sort((a, b) => Math.abs(b.score) - Math.abs(a.score))[0];
  if (!unit) return null;
  const values = v.layers.map((layer) => sum(unit.tokens.map((i) => layer.scores[i])));
  const bits = v.layers.map((layer) => entropy(layer.scores));
  const width = 620, height = 190, left = 56, step = (width - left - 60) / Math.max(1, values.length - 1);
  const high = Math.max(0, ...values), low = Math.min(0, ...values), room = high - low || 1;
  const x = (i) => left + i * step, y = (value) => 14 + ((high - value) / room) * (height - 64);
  const dots = values.map((value, i) => s("g", {}, s("circle", { cx: x(i), cy: y(value), r: 4, class: value < 0 ? "down" : "up" }, s("title", {}, `layer ${i + 1}: ${signed(value, v.places)}; entropy ${bits[i].toFixed(2)} bits`)), s("text", { x: x(i), y: y(value) - 8, "text-anchor": "middle", class: "small" }, values.length > 16 ? "" : signed(value, 2)), s("text", { x: x(i), y: height - 26, "text-anchor": "middle", class: "small muted-ink" }, String(i + 1)), s("text", { x: x(i), y: height - 8, "text-anchor": "middle", class: "small muted-ink" }, values.length > 16 ? "" : bits[i].toFixed(1))));
  const names = [["layer", height - 26], ["entropy", height - 8]].map(([text, at]) => s("text", { x: 0, y: at, class: "small muted-ink" }, text));
  const line = s("polyline", { points: values.map((value, i) => `${x(i)},${y(value)}`).join(" "), class: "line" });
  const picture = s("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": `Course of ${label(unit.label)} over ${values.length} layers: ${values.map((value) => signed(value, 2)).join(", ")}` }, s("line", { x1: left, x2: width - 50, y1: y(0), y2: y(0), class: "rule" }), line, dots, names);
  return section("Course over the layers", h("p", { class: "muted" }, bdi(unit.label), ": its contribution at the output of each layer. Pin another word to see its course. Entropy, in bits, says over how many tokens a layer spreads its contributions."), picture);
}

/** −Σ p·log2 p of p = |score| / Σ|score|. */
function entropy(scores) {
  const total = sum(scores.map(Math.abs));
  return total ? -sum(scores.map((x) => Math.abs(x) / total).filter((p) => p).map((p) => p * Math.log2(p))) : 0;
}

function partsOf(v, state, links) {
  const groups = Object.entries(v.parts.scores).map(([name, scores]) => {
    const best = scores.map((score, i) => [score, i]).sort((a, b) => Math.abs(b[0]) - Math.abs(a[0])).slice(0, 5);
    const chips = best.map(([score, i], k) => links.add(h("li", { class: "link", tabindex: k ? "-1" : "0" }, bdi(v.tokens[i].text), h("data", { value: score }, ` ${signed(score, v.places)}`)), [i]));
    return h("div", {}, h("p", {}, h("strong", {}, name), ` ${signed(v.parts.sums[name], v.places)}`), h("ol", { class: "chips" }, chips));
  });
  return section("Parts of the embedding", h("div", { class: "parts" }, groups), v.parts.sentence ? h("p", { class: "verdict" }, v.parts.sentence) : null);
}
