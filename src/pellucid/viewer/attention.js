// Attention: lines from queries to keys for the heads of a layer, and all heads of all layers as thumbnails.

const LINES = 1500; // the most that are drawn

function attentionOf(scene) {
  const { v, state, set } = scene;
  const m = v.attention[Math.min(state.measure, v.attention.length - 1)], layer = Math.min(state.layer < 0 ? m.layer : state.layer, m.cells.length - 1);
  const count = m.cells[layer].length, heads = (state.heads[0] === -1 ? [m.heads[layer]] : state.heads).filter((head) => head < count), every = [...Array(count).keys()];
  const pick = menu("Shown", v.attention.map((x, i) => [i, x.name]), v.attention.indexOf(m), (measure) => set({ measure }));
  const layers = menu("Layer", m.cells.map((_, i) => [i, i + 1]), layer, (layer) => set({ layer }));
  const swatch = (head) => button(String(head + 1), {
    style: { "--head": hueOf(head) }, named: `head ${head + 1}`, pressed: heads.includes(head), key: `head:${head}`,
    click: () => set({ heads: heads.includes(head) ? heads.filter((x) => x !== head) : [...heads, head] }),
  });
  const whole = heads.length === count, all = button(whole ? "none" : "all heads", { class: "plain", key: "all-heads", click: () => set({ heads: whole ? [] : every }) });
  const kept = m.kept < v.tokens.length ? `Each query keeps its ${m.kept} strongest of ${v.tokens.length} keys here, in` : "Values are in";
  const told = par("muted", `${m.told} ${kept} steps of 1/127 of the largest. Point at a token to see what it attends to, and what attends to it.`);
  const tools = div("tools", pick, layers, count > 1 && [group("Heads", "choice heads", every.map(swatch)), all]);
  return [section("Attention", tools, told, lines(scene, m, layer, heads)), m.cells.length * count > 1 && modelView(scene, m, layer, heads)];
}

/** The pairs [query, key, value] of a head, from the flat list key, step, key, step, … of each query. */
const pairsOf = (m, layer, head) => m.cells[layer][head].flatMap((keys, q) => keys.flatMap((key, i) => (i % 2 ? [] : [[q, key, (keys[i + 1] * m.peak) / 127]])));

function lines({ v, links }, m, layer, heads) {
  const size = 20, gap = 250, left = 150, right = left + gap, middle = left + gap / 2, width = 2 * left + gap, height = size * v.tokens.length + 30;
  const y = (i) => 34 + i * size, bend = (i) => y(i) - 4;
  const every = ranked(heads.flatMap((head) => pairsOf(m, layer, head).map((pair) => [...pair, head])), (pair) => pair[2]);
  const paths = every.slice(0, LINES).map(([q, k, x, head]) => {
    const t = Math.abs(x / every[0][2]), stroke = m.cells[layer].length < 2 ? "currentColor" : hueOf(head);
    const d = `M${left + 6} ${bend(q)}C${middle} ${bend(q)} ${middle} ${bend(k)} ${right - 6} ${bend(k)}`;
    return s("path", { d, stroke, fill: "none", "stroke-opacity": t ** 0.7, "stroke-width": 0.6 + 2.6 * t, "stroke-dasharray": x < 0 ? "4 3" : null, "data-q": q, "data-k": k });
  });
  const start = `Dashed lines are negative.${every.length > LINES ? ` The ${LINES} strongest of ${every.length} lines are drawn.` : ""}`, read = readout(start);
  const show = (side, i) => {
    for (const path of paths) path.classList.toggle("off", i !== null && Number(path.dataset["qk"[side]]) !== i);
    if (i === null) return fill(read, start);
    const total = new Map();
    for (const pair of every) if (pair[side] === i) total.set(pair[1 - side], (total.get(pair[1 - side]) ?? 0) + pair[2]);
    const best = ranked(total, ([, x]) => x).slice(0, 5);
    const tell = ([j, x], n) => [n ? ", " : "", bdi(v.tokens[j].text), ` ${signed(x, m.peak < 0.1 ? 4 : 3)}${v.tokens[i].segment === v.tokens[j].segment ? "" : " (other text)"}`];
    fill(read, [bdi(v.tokens[i].text), side ? " is attended to by " : " attends to ", best.map(tell)]);
  };
  const names = ["query", "key"].map((kind, side) => {
    const at = { x: side ? right : left, "text-anchor": side ? "start" : "end" };
    const name = (t, i) => {
      const more = { y: y(i), order: i, role: "button", class: `link attending segment${t.segment % 2}`, named: `${kind} ${label(t.text)}`, key: `${kind}:${i}`, own: { pellucidPoint: (on) => show(side, on ? i : null) } };
      return links.add(s("text", { ...at, ...more }, label(t.text).slice(0, 18)), [i]);
    };
    return [s("text", { ...at, y: 12, class: "small muted-ink" }, side ? "keys" : "queries"), v.tokens.map(name)];
  });
  const drawn = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "chart lines", named: `${m.name}, layer ${layer + 1}`, role: "group" }, paths, names);
  return [region("Lines from queries to keys", "tall", drawn), read];
}

const THUMBS = new WeakMap(); // of a measure, its thumbnails, painted once for a theme

function thumbsOf(v, m, theme) {
  const known = THUMBS.get(m), size = v.tokens.length;
  if (known?.theme === theme) return known.canvases;
  const canvases = m.cells.map((each, layer) => each.map((_, head) => {
    const canvas = h("canvas", { width: size, height: size, "aria-hidden": "true" }), context = canvas.getContext("2d");
    for (const [q, k, x] of pairsOf(m, layer, head)) {
      context.fillStyle = tint(theme, strength(x, m.peak))[0];
      context.fillRect(k, q, 1, 1);
    }
    return canvas;
  }));
  THUMBS.set(m, { theme, canvases });
  return canvases;
}

function modelView({ v, set, theme }, m, layer, heads) {
  const one = (at) => (canvas, head) => button(canvas, { class: "thumb", named: `layer ${at + 1}, head ${head + 1}`, pressed: at === layer && heads.includes(head), key: `thumb:${at}:${head}`, click: () => set({ layer: at, heads: [head] }) });
  const rows = thumbsOf(v, m, theme).map((each, at) => div("thumbs", span("muted", String(at + 1)), each.map(one(at))));
  return section("All heads", par("muted", "Layers down, heads across; in each, queries down and keys across."), region("Heads of all layers", "", rows));
}
