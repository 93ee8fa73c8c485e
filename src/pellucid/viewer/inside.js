// Inside the model: layers × units as a heat map, one unit's course over the layers, and the parts of the embedding.

function insideOf(scene) {
  const { layers, parts } = scene.v;
  return [layers.length && [layersOf(scene), courseOf(scene)], parts && partsOf(scene)];
}

function layersOf(scene) {
  const { layers } = scene.v, columns = unitsOf(scene.v, scene.state), value = (r, c) => sumAt(layers[r], columns[c]);
  const picture = heatmap(scene, { name: "Layers", rows: layers.map((layer) => `layer ${layer.number}`), columns, value, ends: layers.map((layer) => layer.written), explanations: [] });
  return section("Layers", par("muted", "What each unit's vector at the output of a layer contributes. Every row adds up by itself; its residual stands at its end."), picture);
}

const LEFT = 76, RIGHT = 580, WIDTH = 620; // of a chart

/** A unit's score after each layer as a line; its elements as boxes, where they are known; and both entropies. */
function courseOf({ v, state }) {
  const units = unitsOf(v, state), unit = units.find((u) => state.pinned.includes(u.tokens[0])) ?? ranked(units)[0];
  if (!unit) return;
  const { layers } = v, few = layers.length <= 16, [token] = ranked(unit.tokens, (i) => v.tokens[i].score), all = (of) => layers.map(of);
  const values = all((layer) => sumAt(layer, unit)), y = scaled(values, 22, 136), boxes = layers[0].quantiles[token] && all((layer) => layer.quantiles[token]);
  const x = (i) => LEFT + (i + 0.5) * ((RIGHT - LEFT) / layers.length);
  const write = (x, y, text, more) => s("text", { x, y, class: "small muted-ink", ...more }, text), middle = { "text-anchor": "middle" };
  const across = (name, y, texts) => [write(0, y, name), texts.map((text, i) => (few || i % 4 === 0) && write(x(i), y, text, middle))];
  const line = s("polyline", { points: values.map((value, i) => `${x(i)},${y(value)}`).join(" "), class: "line" });
  const dot = (value, i) => [s("circle", { cx: x(i), cy: y(value), r: 4, class: signOf(value) }), few && write(x(i), y(value) - 8, signed(value, 2), { ...middle, class: "small" })];
  const upper = [rule(y(0)), line, values.map(dot), across("layer", 160, all((layer) => `${layer.number}`)), across("spread, bits", 178, all((layer) => bits(layer.spread)))];
  const lower = boxes && [boxed(boxes, x, 200, 320), write(0, 210, "elements"), across("entropy, bits", 346, all((layer) => bits(layer.entropy[token])))];
  const named = `Course of ${label(unit.label)} over ${layers.length} layers: ${values.map((value) => signed(value, 2)).join(", ")}`;
  const told = !boxes ? layers[0].quantiles.length && " Boxes of the strongest tokens only are here." : [" Boxes: quartiles, least and largest of the hidden elements of ", bdi(v.tokens[token].text), " that add up to it; their entropy."];
  const lead = par("muted", bdi(unit.label), ": its contribution at the output of each layer; pin another word to see its course. Spread: over how many tokens a layer's contributions go.", told);
  return section("Course over the layers", lead, region("Course over the layers", "", s("svg", { viewBox: `0 0 ${WIDTH} ${boxes ? 360 : 190}`, class: "chart", role: "img", named }, upper, lower)));
}

/** From values, 0 among them, to heights between two. */
function scaled(values, top, bottom) {
  const high = Math.max(0, ...values), low = Math.min(0, ...values), room = high - low || 1;
  return (value) => top + ((high - value) / room) * (bottom - top);
}

const sumAt = (layer, unit) => sum(unit.tokens.map((i) => layer.scores[i]));
const bits = (x) => x?.toFixed(1) ?? "–";
const rule = (y) => s("line", { x1: LEFT, x2: RIGHT, y1: y, y2: y, class: "rule" });

/** A box for each five numbers: least, lower quartile, median, upper quartile, largest. */
function boxed(boxes, x, top, bottom) {
  const y = scaled(boxes.flat(), top, bottom), wide = Math.min(13, (x(1) - x(0)) * 0.3);
  const one = (five, i) => {
    const [least, lower, middle, upper, most] = five.map(y), line = (half, y1, y2, kind) => s("line", { x1: x(i) - half, x2: x(i) + half, y1, y2, class: kind });
    const box = s("rect", { x: x(i) - wide, width: 2 * wide, y: upper, height: Math.max(1, lower - upper), class: "middle" });
    return s("g", { class: "box" }, s("title", {}, `layer ${i + 1}: ${five.map((q) => signed(q, 4)).join(", ")}`), line(0, least, most, "line"), [least, most].map((at) => line(wide / 2, at, at, "line")), box, line(wide, middle, middle, "line median"));
  };
  return [rule(y(0)), boxes.map(one)];
}

function partsOf({ v, links }) {
  const groups = Object.entries(v.parts.scores).map(([name, scores]) => {
    const best = ranked(scores.keys(), (i) => scores[i]).slice(0, 5);
    const chip = (i, k) => links.add(h("li", { class: "link", order: k }, bdi(v.tokens[i].text), h("data", { value: scores[i] }, signed(scores[i], v.places))), [i]);
    return div("", par("", strong(name), ` ${signed(v.parts.sums[name], v.places)}`), h("ol", { class: "chips" }, best.map(chip)));
  });
  return section("Parts of the embedding", div("parts", groups), v.parts.sentence && par("verdict", v.parts.sentence));
}
