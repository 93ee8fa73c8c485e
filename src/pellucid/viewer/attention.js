// Attention: lines from queries to keys for the heads of a layer, and all heads of all layers as thumbnails. Besides the
// probabilities there is what they contributed to this answer, the norms of what they move, and rollout.

function attentionOf(v, state, set, links, theme) {
  const measures = v.attention, m = measures[Math.min(state.measure, measures.length - 1)];
  const [layer, heads] = selected(m, state), count = m.cells[layer].length, every = [...Array(count).keys()];
  const pick = menu("Shown", measures.map((x, i) => [i, x.name]), measures.indexOf(m), (measure) => set({ measure }));
  const layers = menu("Layer", m.cells.map((_, i) => [i, String(i + 1)]), layer, (layer) => set({ layer }));
  const swatch = (head) => button(String(head + 1), {
    style: { "--head": HEADS[head % HEADS.length] }, named: `head ${head + 1}`, pressed: heads.includes(head), key: `head:${head}`,
    click: () => set({ heads: heads.includes(head) ? heads.filter((x) => x !== head) : [...heads, head] }),
  });
  const all = button(heads.length === count ? "none" : "all heads", { class: "plain", key: "all-heads", click: () => set({ heads: heads.length === count ? [] : every }) });
  const swatches = count < 2 ? null : [group("Heads", "choice heads", every.map(swatch)), all];
  const kept = m.kept < v.tokens.length ? `Each query keeps its ${m.kept} strongest ${m.kept === 1 ? "key" : "keys"} of ${v.tokens.length} here, in steps of 1/127 of the largest.` : "Values are in steps of 1/127 of the largest.";
  const told = par("muted", `${m.told} ${kept} Point at a token to see what it attends to, and what attends to it.`);
  return [section("Attention", div("tools", pick, layers, swatches), told, lines(v, m, layer, heads)), m.cells.length * count > 1 ? modelView(v, m, layer, heads, set, theme) : null];
}

/** The layer and the heads that were chosen; where none were, the layer and the head with the largest sum of sizes. */
function selected(m, state) {
  const weight = (layer, head) => sum([...pairsOf(m, layer, head)].map(([, , x]) => Math.abs(x)));
  const best = (count, weigh) => [...Array(count).keys()].reduce((a, b) => (weigh(b) > weigh(a) ? b : a), 0);
  const strongest = (layer) => best(m.cells[layer].length, (head) => weight(layer, head));
  const layer = Math.min(state.layer < 0 ? best(m.cells.length, (i) => weight(i, strongest(i))) : state.layer, m.cells.length - 1);
  return [layer, (state.heads[0] === -1 ? [strongest(layer)] : state.heads).filter((head) => head < m.cells[layer].length)];
}

/** The pairs (query, key, value) of a head, from the flat list key, step, key, step, … of each query. */
function* pairsOf(m, layer, head) {
  const queries = m.cells[layer][head];
  for (let q = 0; q < queries.length; q++) for (let i = 0; i < queries[q].length; i += 2) yield [q, queries[q][i], (queries[q][i + 1] * m.peak) / 127];
}

function lines(v, m, layer, heads) {
  const size = 20, height = size * v.tokens.length + 30, gap = 250, left = 150, width = 2 * left + gap, middle = left + gap / 2;
  const y = (i) => 34 + i * size;
  const every = heads.flatMap((head) => [...pairsOf(m, layer, head)].map((pair) => [...pair, head])).sort((a, b) => Math.abs(b[2]) - Math.abs(a[2]));
  const most = every.length ? Math.abs(every[0][2]) : 1;
  const paths = every.slice(0, 1500).map(([q, k, x, head]) => s("path", {
    d: `M${left + 6} ${y(q) - 4}C${middle} ${y(q) - 4} ${middle} ${y(k) - 4} ${left + gap - 6} ${y(k) - 4}`, stroke: m.cells[layer].length < 2 ? "currentColor" : HEADS[head % HEADS.length],
    "stroke-opacity": (Math.abs(x) / most) ** 0.7, "stroke-width": 0.6 + 2.6 * (Math.abs(x) / most), "stroke-dasharray": x < 0 ? "4 3" : null, fill: "none", "data-q": q, "data-k": k,
  }));
  const start = `Dashed lines are negative.${every.length > 1500 ? ` The 1500 strongest of ${every.length} lines are drawn.` : ""}`, read = readout(start);
  const show = (side, i) => {
    for (const path of paths) path.classList.toggle("off", i !== null && Number(path.dataset[side]) !== i);
    if (i === null) return read.replaceChildren(start);
    const total = new Map(), [own, other] = side === "q" ? [0, 1] : [1, 0];
    for (const pair of every) if (pair[own] === i) total.set(pair[other], (total.get(pair[other]) ?? 0) + pair[2]);
    const best = [...total].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, 5);
    const tell = ([j, x], n) => [n ? ", " : "", bdi(v.tokens[j].text), ` ${signed(x, m.peak < 0.1 ? 4 : 3)}${v.tokens[i].segment === v.tokens[j].segment ? "" : " (other text)"}`];
    read.replaceChildren(bdi(v.tokens[i].text), side === "q" ? " attends to " : " is attended to by ", ...best.flatMap(tell));
  };
  const name = (side, anchor, x) => (t, i) => {
    const [on, off] = [() => show(side, i), () => show(side, null)], named = `${side === "q" ? "query" : "key"} ${label(t.text)}`;
    return s("text", { x, y: y(i), "text-anchor": anchor, order: i, role: "button", class: `attending segment${t.segment % 2}`, named, on: { pointerenter: on, pointerleave: off, focus: on, blur: off, click: on, keydown: along } }, label(t.text).slice(0, 18));
  };
  const heading = [["queries", left, "end"], ["keys", left + gap, "start"]].map(([text, x, anchor]) => s("text", { x, y: 12, "text-anchor": anchor, class: "small muted-ink" }, text));
  const drawn = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "chart lines", named: `${m.name}, layer ${layer + 1}`, role: "group" }, heading, paths, v.tokens.map(name("q", "end", left)), v.tokens.map(name("k", "start", left + gap)));
  return [region("Lines from queries to keys", "tall", drawn), read];
}

/** Arrow keys go up and down among the tokens of a side. */
function along(event) {
  const to = event.target[{ ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key]];
  if (!to?.matches(".attending")) return;
  event.preventDefault();
  to.focus();
}

const THUMBS = new WeakMap(); // of a measure, the thumbnails of all heads, painted once for a theme

function thumbsOf(v, m, theme) {
  const { painted, canvases } = THUMBS.get(m) ?? {}, size = v.tokens.length, side = `${Math.min(56, Math.max(34, 3 * size))}px`;
  if (painted === theme) return canvases;
  const made = m.cells.map((each, layer) => each.map((_, head) => {
    const canvas = h("canvas", { width: size, height: size, style: { width: side, height: side }, "aria-hidden": "true" }), context = canvas.getContext("2d");
    for (const [q, k, x] of pairsOf(m, layer, head)) {
      context.fillStyle = tint(theme, strength(x, m.peak))[0];
      context.fillRect(k, q, 1, 1);
    }
    return canvas;
  }));
  THUMBS.set(m, { painted: theme, canvases: made });
  return made;
}

function modelView(v, m, layer, heads, set, theme) {
  const one = (canvas, at, head) => button(canvas, { class: "thumb", named: `layer ${at + 1}, head ${head + 1}`, pressed: at === layer && heads.includes(head), key: `thumb:${at}:${head}`, click: () => set({ layer: at, heads: [head] }) });
  const rows = thumbsOf(v, m, theme).map((each, at) => div("thumbs", span("muted", String(at + 1)), each.map((canvas, head) => one(canvas, at, head))));
  return section("All heads", par("muted", "Layers down, heads across; in each, queries down and keys across. Choose one to see its lines."), region("Heads of all layers", "", rows));
}
