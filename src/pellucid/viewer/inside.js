// Inside the model: layers × units as a heat map, one unit's course over the layers, and the parts of the embedding.

function insideOf(v, state, links, theme) {
  return [v.layers.length ? [layersOf(v, state, links, theme), courseOf(v, state)] : null, v.parts ? partsOf(v, links) : null];
}

function layersOf(v, state, links, theme) {
  const units = unitsOf(v, state), names = v.layers.map((layer) => `layer ${layer.number}`);
  const sums = v.layers.map((layer) => units.map((u) => sum(u.tokens.map((i) => layer.scores[i]))));
  const picture = heatmap({
    name: "Layers", rows: names, columns: units.map((u) => u.label), value: (r, c) => sums[r][c], peak: largest(sums.flat()), theme, ends: v.layers.map((layer) => layer.written),
    tell: (r, c) => [`${names[r]}: `, bdi(units[c].label), " ", strong(signed(sums[r][c], v.places)), ` · residual of the layer ${v.layers[r].written}`],
    point: (r, c) => links.light(units[c].tokens),
  });
  return section("Layers", par("muted", "What each unit's vector at the output of a layer contributes. Every row adds up by itself; its residual stands at its end."), picture);
}

const CHART = { width: 620, left: 76, right: 40 };

/** A unit's score after each layer as a line; its elements as boxes, where they are known; and both entropies. */
function courseOf(v, state) {
  const units = unitsOf(v, state), unit = units.find((u) => state.pinned.includes(u.tokens[0])) ?? ranked(units)[0];
  if (!unit) return null;
  const { layers } = v, token = ranked(unit.tokens.map((i) => ({ i, score: v.tokens[i].score })))[0].i;
  const values = layers.map((layer) => sum(unit.tokens.map((i) => layer.scores[i])));
  const boxes = layers.every((layer) => layer.quantiles?.length) ? layers.map((layer) => layer.quantiles[token]) : null;
  const x = (i) => CHART.left + (i + 0.5) * ((CHART.width - CHART.left - CHART.right) / layers.length);
  const few = layers.length <= 16, height = boxes ? 360 : 190;
  const note = (i, y, text, kind = "muted-ink") => s("text", { x: x(i), y, "text-anchor": "middle", class: `small ${kind}` }, text);
  const named = (y, text) => s("text", { x: 0, y, class: "small muted-ink" }, text);
  const across = (name, y, texts) => [named(y, name), texts.map((text, i) => (few || i % 4 === 0 ? note(i, y, text) : null))];
  const y = scaled(values, 22, 136);
  const line = s("polyline", { points: values.map((value, i) => `${x(i)},${y(value)}`).join(" "), class: "line" });
  const dots = values.map((value, i) => [s("circle", { cx: x(i), cy: y(value), r: 4, class: value < 0 ? "down" : "up" }), few ? note(i, y(value) - 8, signed(value, 2), "") : null]);
  const spread = (scores) => entropy(scores).toFixed(1);
  const upper = [rule(y(0)), line, dots, across("layer", 160, layers.map((layer) => String(layer.number))), across("spread, bits", 178, layers.map((layer) => spread(layer.scores)))];
  const lower = boxes ? [boxed(boxes, x, 200, 320), named(210, "elements"), across("entropy, bits", 346, layers.map((layer) => layer.entropy[token].toFixed(1)))] : null;
  const told = `Course of ${label(unit.label)} over ${values.length} layers: ${values.map((value) => signed(value, 2)).join(", ")}`;
  const boxTold = boxes ? ["Boxes: the hidden elements of the token ", bdi(v.tokens[token].text), ", whose sum its contribution is: the middle half, the median, and whiskers from the least to the largest. Entropy: over how many elements it is spread. "] : "";
  const lead = [bdi(unit.label), ": its contribution at the output of each layer. Pin another word to see its course. Spread: over how many tokens a layer spreads its contributions. ", boxTold];
  return section("Course over the layers", par("muted", lead), s("svg", { viewBox: `0 0 ${CHART.width} ${height}`, class: "chart", role: "img", "aria-label": told }, upper, lower));
}

/** From values, 0 among them, to heights between two. */
function scaled(values, top, bottom) {
  const high = Math.max(0, ...values), low = Math.min(0, ...values), room = high - low || 1;
  return (value) => top + ((high - value) / room) * (bottom - top);
}

const rule = (y) => s("line", { x1: CHART.left, x2: CHART.width - CHART.right, y1: y, y2: y, class: "rule" });

/** A box for each five numbers: least, lower quartile, median, upper quartile, largest. */
function boxed(boxes, x, top, bottom) {
  const y = scaled(boxes.flat(), top, bottom), wide = Math.min(26, (x(1) - x(0)) * 0.6 || 26);
  const line = (i, half, a, b, kind) => s("line", { x1: x(i) - half, x2: x(i) + half, y1: y(a), y2: y(b), class: kind });
  const one = ([least, lower, middle, upper, most], i) => s("g", { class: "box" },
    s("title", {}, `layer ${i + 1}: ${[least, lower, middle, upper, most].map((q) => signed(q, 4)).join(", ")}`), line(i, 0, least, most, "line"), line(i, wide / 4, least, least, "line"), line(i, wide / 4, most, most, "line"),
    s("rect", { x: x(i) - wide / 2, width: wide, y: y(upper), height: Math.max(1, y(lower) - y(upper)), class: "middle" }), line(i, wide / 2, middle, middle, "median"));
  return [rule(y(0)), boxes.map(one)];
}

/** −Σ p·log2 p of p = |score| / Σ|score|. */
function entropy(scores) {
  const total = sum(scores.map(Math.abs)), shares = scores.map((x) => Math.abs(x) / total).filter((share) => share > 0);
  return total ? -sum(shares.map((share) => share * Math.log2(share))) : 0;
}

function partsOf(v, links) {
  const groups = Object.entries(v.parts.scores).map(([name, scores]) => {
    const best = ranked(scores.map((score, i) => ({ score, i }))).slice(0, 5);
    const chips = best.map(({ score, i }, k) => links.add(h("li", { class: "link", order: k }, bdi(v.tokens[i].text), h("data", { value: score }, ` ${signed(score, v.places)}`)), [i]));
    return div("", par("", strong(name), ` ${signed(v.parts.sums[name], v.places)}`), h("ol", { class: "chips" }, chips));
  });
  return section("Parts of the embedding", div("parts", groups), v.parts.sentence ? par("verdict", v.parts.sentence) : null);
}
