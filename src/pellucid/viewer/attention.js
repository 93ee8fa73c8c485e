// Attention as lines between tokens, and as thumbnails of every head: probability, contribution to this answer, norms.

// Layers × heads × queries × keys, plain or packed: how many layers and heads there are, and one layer at a time.
const unpacked = (array) => {
  if (Array.isArray(array)) {
    const whole = Array.isArray(array[0][0][0]) ? array : array.map((layer) => [layer]);
    return { layers: whole.length, heads: whole[0].length, layer: (l) => whole[l] };
  }
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const [layers, heads, queries, keys] = array.shape;
  const values = new Int8Array(bytes(array.values).buffer);
  const index = array.keys ? new Uint16Array(bytes(array.keys).buffer) : null;
  const wide = index ? array.kept : keys;
  const row = (l, h, q) => {
    const found = new Array(keys).fill(0), base = ((l * heads + h) * queries + q) * wide;
    for (let k = 0; k < wide; k++) found[index ? index[base + k] : k] = (values[base + k] / 127) * array.peaks[l][h];
    return found;
  };
  const layer = (l) => Array.from({ length: heads }, (_, h) => Array.from({ length: queries }, (_, q) => row(l, h, q)));
  return { layers, heads, layer };
};
const KINDS = [["heads", "contribution to this answer", "What each attention probability contributed to the output: signed, and a part of the sum."],
  ["attentions", "probability", "How much each query attends to each key; whether that mattered it does not say."],
  ["norm_af", "norm of what is attended to", "The length of the vector that each key sends to each query (Kobayashi et al. 2020)."],
  ["rollout", "rollout", "Attention multiplied over the layers, residual connections included (Abnar and Zuidema 2020)."]];
const HUES = ["#0f62b4", "#bf4a0d", "#2a7d46", "#8a3fb0", "#a8780a", "#0b7c86", "#b3305c", "#5a6b1f", "#475a9c", "#93562b", "#3d8a7a", "#7a4a6b"];

const drawAttention = (v, state, api, theme) => {
  const found = Object.fromEntries(KINDS.map(([key]) => [key, v[key] ?? v.measures[key]]).filter(([, a]) => a));
  const kinds = KINDS.filter(([key]) => found[key]);
  if (!kinds.length) return null;
  const kind = kinds.some(([key]) => key === state.attention) ? state.attention : kinds[0][0];
  const array = unpacked(found[kind]);
  const layer = Math.min(state.layer ?? array.layers - 1, array.layers - 1);
  const matrices = array.layer(layer);
  const heads = array.heads;
  const picked = (state.heads ?? [...Array(heads).keys()]).filter((h) => h < heads);
  const columns = v.tokens.map((t) => named(t.text));
  const count = Math.min(columns.length, matrices[0].length);
  const sum = matrices[0].map((row, q) => row.map((_, k) => picked.reduce((s, h) => s + matrices[h][q][k], 0)));
  const peak = Math.max(1e-12, largest(sum));
  const about = kinds.find(([key]) => key === kind)[2];
  const left = found[kind].left;
  const controls = el("div.controls", {},
    choices("What is shown of attention", kinds.map(([key, name]) => [key, name]), kind, (attention) => api.set({ attention })),
    el("label", {}, "layer ", el("select", { "aria-label": "Layer", onchange: (e) => api.set({ layer: Number(e.target.value) }) }, [...Array(array.layers).keys()].map((l) => el("option", { value: l, selected: l === layer }, String(l + 1))))),
    el("div.choices", { role: "group", "aria-label": "Heads" }, [...Array(heads).keys()].map((h) => el("button.head", {
      type: "button", "aria-pressed": String(picked.includes(h)), "aria-label": `Head ${h + 1}`, style: { "--hue": HUES[h % HUES.length] },
      onclick: () => api.set({ heads: picked.includes(h) ? picked.filter((x) => x !== h) : [...picked, h] }) }, String(h + 1)))));
  const picture = count <= 64 ? drawLines(matrices, picked, columns.slice(0, count), peak, kind, api) : null;
  const map = heatmap({ label: `Queries by keys, layer ${layer + 1}`, values: sum, peak, rows: columns.map((c) => (c.length > 9 ? `${c.slice(0, 8)}…` : c)), columns, theme, cell: 18,
    readout: (i, j, s) => `${columns[i]} attends to ${columns[j]}: ${signed(s, 4)}`, onHover: (i, j) => api.highlight(j === null ? null : [i, j]) });
  // Every head of every layer as a thumbnail.
  const all = () => [...Array(array.layers).keys()].map((l) => el("div.thumbs", { role: "group", "aria-label": `Layer ${l + 1}` }, array.layer(l).map((matrix, h) => {
    const canvas = el("canvas", { width: Math.min(48, matrix[0].length), height: Math.min(48, matrix.length) });
    const pen = canvas.getContext("2d"), top = Math.max(1e-12, largest(matrix));
    const by = matrix.length / canvas.height, across = matrix[0].length / canvas.width;
    for (let i = 0; i < canvas.height; i++) for (let j = 0; j < canvas.width; j++) {
      pen.fillStyle = colour(strengthOf(matrix[Math.floor(i * by)][Math.floor(j * across)], top), theme()).fill;
      pen.fillRect(j, i, 1, 1);
    }
    return el("button.thumb", { type: "button", "aria-label": `Layer ${l + 1}, head ${h + 1}`, "aria-pressed": String(l === layer && picked.length === 1 && picked[0] === h), onclick: () => api.set({ layer: l, heads: [h] }) }, canvas);
  })));
  const node = section("Attention", about, controls, left ? el("p.remark", {}, `Only the ${found[kind].kept} strongest keys of each query are in this page; what is left out is ${percent(left)} of the whole.`) : null, picture, map,
    el("details", { ontoggle: (e) => e.target.open && e.target.childElementCount === 1 && e.target.append(...all()) }, el("summary", {}, `All ${array.layers} × ${heads} heads`)));
  node.picture = map;
  return node;
};

// Lines from queries (left) to keys (right); a hovered token shows its own lines alone.
const drawLines = (layer, picked, columns, peak, kind, api) => {
  const step = 20, tall = columns.length * step + 10;
  const lines = svg("g");
  const strongest = [];
  for (const h of picked) layer[h].forEach((row, q) => row.forEach((w, k) => { if (Math.abs(w) > 0.04 * peak) strongest.push([Math.abs(w), w, h, q, k]); }));
  strongest.sort((a, b) => b[0] - a[0]);
  for (const [size, w, h, q, k] of strongest.slice(0, 1500)) {
    lines.append(svg("path", { d: `M150 ${q * step + 15} C 250 ${q * step + 15} 290 ${k * step + 15} 390 ${k * step + 15}`, class: "line", "data-q": q, "data-k": k,
      stroke: kind === "heads" ? (w < 0 ? "var(--negative)" : "var(--positive)") : HUES[h % HUES.length], "stroke-opacity": Math.min(1, size / peak).toFixed(3), "stroke-width": (0.5 + 3 * Math.min(1, size / peak)).toFixed(2) }));
  }
  const only = (side, i) => { for (const line of lines.children) line.style.display = i === null || Number(line.dataset[side]) === i ? "" : "none"; api.highlight(i === null ? null : [i]); };
  const names = (side, x, anchor) => columns.map((c, i) => {
    const t = svg("text", { x, y: i * step + 19, "text-anchor": anchor, tabindex: 0, role: "button", "aria-label": `${side === "q" ? "From" : "To"} ${c}`, onpointerenter: () => only(side, i), onpointerleave: () => only(side, null), onfocus: () => only(side, i), onblur: () => only(side, null) });
    t.textContent = c.length > 16 ? `${c.slice(0, 15)}…` : c;
    return t;
  });
  return el("div.scroll", { tabIndex: -1 }, svg("svg", { viewBox: `0 0 540 ${tall}`, width: 540, height: tall, class: "lines", role: "group", "aria-label": "Attention lines, from queries on the left to keys on the right" }, lines, ...names("q", 142, "end"), ...names("k", 398, "start")));
};
