// Attention: lines from queries to keys for the heads of a layer, and all heads of all layers as thumbnails. Besides the
// probabilities there is what they contributed to this answer, the norms of what they move, and rollout.

function attentionOf(v, state, set, links, theme) {
  const measures = v.attention ?? [];
  if (!measures.length) return [];
  const m = measures[Math.min(state.measure, measures.length - 1)];
  const [layer, heads] = selected(m, state), count = m.cells[layer].length;
  const pick = menu("Shown", measures.map((x, i) => [i, x.name]), state.measure, (i) => set({ measure: Number(i) }));
  const layers = menu("Layer", m.cells.map((_, i) => [i, String(i + 1)]), layer, (i) => set({ layer: Number(i) }));
  const toggleHead = (head) => set({ heads: heads.includes(head) ? heads.filter((x) => x !== head) : [...heads, head] });
  const swatches = count < 2 ? null : h("div", { class: "choice heads", role: "group", "aria-label": "Heads" }, [...Array(count).keys()].map((head) => button(String(head + 1), { style: { "--head": HEADS[head % HEADS.length] }, "aria-label": `head ${head + 1}`, "aria-pressed": String(heads.includes(head)), "data-key": `head:${head}`, on: { click: () => toggleHead(head) } })));
  const all = count < 2 ? null : button(heads.length === count ? "none" : "all heads", { class: "plain", "data-key": "all-heads", on: { click: () => set({ heads: heads.length === count ? [] : [...Array(count).keys()] }) } });
  const note = m.kept < v.tokens.length ? `Each query keeps its ${m.kept} strongest ${m.kept === 1 ? "key" : "keys"} of ${v.tokens.length} here, in steps of 1/127 of the largest. ` : "Values are in steps of 1/127 of the largest. ";
  return [section("Attention", h("div", { class: "tools" }, pick, layers, swatches, all), h("p", { class: "muted" }, `${m.told} ${note}Point at a token to see what it attends to, and what attends to it.`), lines(v, m, layer, heads)), m.cells.length * count > 1 ? modelView(v, m, layer, heads, set, theme) : null];
}

/** The layer and the heads that were chosen; where none were, the layer and the head with the largest sum of sizes. */
function selected(m, state) {
  const weight = (layer, head) => sum([...pairsOf(m, layer, head)].map(([, , x]) => Math.abs(x)));
  const best = (count, weigh) => [...Array(count).keys()].reduce((a, b) => (weigh(b) > weigh(a) ? b : a), 0);
  const strongest = (layer) => best(m.cells[layer].length, (head) => weight(layer, head));
  const layer = Math.min(state.layer ?? best(m.cells.length, (i) => weight(i, strongest(i))), m.cells.length - 1);
  return [layer, (state.heads ?? [strongest(layer)]).filter((head) => head < m.cells[layer].length)];
}

/** The pairs (query, key, value) of a head, from the flat list key, step, key, step, … of each query. */
function* pairsOf(m, layer, head) {
  const queries = m.cells[layer][head];
  for (let q = 0; q < queries.length; q++) for (let i = 0; i < queries[q].length; i += 2) yield [q, queries[q][i], (queries[q][i + 1] * m.peak) / 127];
}

function lines(v, m, layer, heads) {
  const size = 20, height = size * v.tokens.length + 30, gap = 250, left = 150, width = 2 * left + gap;
  const y = (i) => 34 + i * size;
  const drawn = heads.flatMap((head) => [...pairsOf(m, layer, head)].map(([q, k, x]) => [head, q, k, x])).sort((a, b) => Math.abs(b[3]) - Math.abs(a[3])).slice(0, 1500);
  const most = drawn.length ? Math.abs(drawn[0][3]) : 1;
  const paths = drawn.map(([head, q, k, x]) => s("path", { d: `M${left + 6} ${y(q) - 4}C${left + gap / 2} ${y(q) - 4} ${left + gap / 2} ${y(k) - 4} ${left + gap - 6} ${y(k) - 4}`, stroke: m.cells[layer].length < 2 ? "currentColor" : HEADS[head % HEADS.length], "stroke-opacity": (Math.abs(x) / most) ** 0.7, "stroke-width": 0.6 + 2.6 * (Math.abs(x) / most), "stroke-dasharray": x < 0 ? "4 3" : null, fill: "none", "data-q": q, "data-k": k }));
  const read = h("p", { class: "readout", role: "status", "aria-live": "polite" }, "Dashed lines are negative.");
  const crossing = (i, j) => v.tokens[i].segment !== v.tokens[j].segment;
  const show = (side, i) => {
    for (const path of paths) path.classList.toggle("off", i !== null && Number(path.dataset[side]) !== i);
    if (i === null) return read.replaceChildren("Dashed lines are negative.");
    const own = heads.flatMap((head) => [...pairsOf(m, layer, head)]).filter(([q, k]) => (side === "q" ? q : k) === i);
    const total = new Map();
    for (const [q, k, x] of own) total.set(side === "q" ? k : q, (total.get(side === "q" ? k : q) ?? 0) + x);
    const best = [...total].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, 5);
    read.replaceChildren(bdi(v.tokens[i].text), side === "q" ? " attends to " : " is attended to by ", ...best.flatMap(([j, x], n) => [n ? ", " : "", bdi(v.tokens[j].text), ` ${signed(x, m.peak < 0.1 ? 4 : 3)}${crossing(i, j) ? " (other text)" : ""}`]));
  };
  const names = (side, anchor, x) => v.tokens.map((t, i) => s("text", { x, y: y(i), "text-anchor": anchor, tabindex: i ? "-1" : "0", role: "button", class: `attending segment${t.segment % 2}`, "aria-label": `${side === "q" ? "query" : "key"} ${label(t.text)}`, on: { pointerenter: () => show(side, i), pointerleave: () => show(side, null), focus: () => show(side, i), blur: () => show(side, null), click: () => show(side, i), keydown: (event) => along(event) } }, label(t.text).slice(0, 18)));
  const heading = [["queries", left, "end"], ["keys", left + gap, "start"]].map(([text, x, anchor]) => s("text", { x, y: 12, "text-anchor": anchor, class: "small muted-ink" }, text));
  return [h("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Lines from queries to keys" }, s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "chart lines", "aria-label": `${m.name}, layer ${layer + 1}`, role: "group" }, heading, paths, names("q", "end", left), names("k", "start", left + gap))), read];
}

/** Arrow keys go up and down among the tokens of a side. */
function along(event) {
  const next = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const to = next && event.target[next];
  if (!to?.matches(".attending")) return;
  event.preventDefault();
  to.focus();
}

function modelView(v, m, layer, heads, set, theme) {
  const size = v.tokens.length, side = Math.min(56, Math.max(34, 3 * size));
  const rows = m.cells.map((each, at) => h("div", { class: "thumbs" }, h("span", { class: "muted" }, String(at + 1)), each.map((_, head) => {
    const canvas = h("canvas", { width: size, height: size, style: { width: `${side}px`, height: `${side}px` }, "aria-hidden": "true" });
    const context = canvas.getContext("2d");
    for (const [q, k, x] of pairsOf(m, at, head)) {
      context.fillStyle = tint(theme, strength(x, m.peak))[0];
      context.fillRect(k, q, 1, 1);
    }
    const chosen = at === layer && heads.includes(head);
    return button(canvas, { class: "thumb", "aria-label": `layer ${at + 1}, head ${head + 1}`, "aria-pressed": String(chosen), "data-key": `thumb:${at}:${head}`, on: { click: () => set({ layer: at, heads: [head] }) } });
  })));
  return section("All heads", h("p", { class: "muted" }, "Layers down, heads across; in each, queries down and keys across. Choose one to see its lines."), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Heads of all layers" }, rows));
}
