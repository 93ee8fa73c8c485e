// A table of numbers as coloured cells on a canvas: one mechanism for layers, generation and attention.
// Pointer or arrow keys read a cell out; `onHover(row, column)` links it to the other pictures, `onPick` is a click or Enter.

const heatmap = ({ label, values, peak, rows, columns, places = 3, theme, readout, onHover, onPick, cell = 22, colours = colour }) => {
  const wide = values[0]?.length ?? 0;
  const ratio = globalThis.devicePixelRatio || 1;
  const size = Math.max(3, Math.min(cell, Math.floor(660 / Math.max(1, wide)) || 3));
  const tall = Math.max(size, values.length > 60 ? 3 : 16);
  const canvas = el("canvas.cells", { tabIndex: 0, role: "img", "aria-label": `${label}. Arrow keys read the cells out.` });
  const mark = el("div.mark", { hidden: true });
  const say = el("p.readout", { "aria-live": "polite" }, "\u00a0");
  let at = null;

  const draw = () => {
    canvas.width = wide * size * ratio;
    canvas.height = values.length * tall * ratio;
    canvas.style.width = `${wide * size}px`;
    canvas.style.height = `${values.length * tall}px`;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    values.forEach((row, i) =>
      row.forEach((value, j) => {
        if (value === null || value === undefined) return;
        pen.fillStyle = colours(strengthOf(value, Array.isArray(peak) ? peak[i] : peak), theme()).fill;
        pen.fillRect(j * size, i * tall, size - (size > 6 ? 1 : 0), tall - (tall > 6 ? 1 : 0));
      }));
  };
  const go = (i, j) => {
    if (i < 0 || j < 0 || i >= values.length || j >= wide) return;
    at = [i, j];
    Object.assign(mark.style, { left: `${j * size}px`, top: `${i * tall}px`, width: `${size}px`, height: `${tall}px` });
    mark.hidden = false;
    const value = values[i][j];
    say.textContent = readout ? readout(i, j, value) : `${rows[i]} · ${columns[j]}: ${value === null ? "not there yet" : signed(value, places)}`;
    onHover?.(i, j);
  };
  const found = (event) => {
    const box = canvas.getBoundingClientRect();
    return [Math.floor((event.clientY - box.top) / tall), Math.floor((event.clientX - box.left) / size)];
  };
  canvas.addEventListener("pointermove", (event) => go(...found(event)));
  canvas.addEventListener("pointerleave", () => { mark.hidden = true; onHover?.(null, null); });
  canvas.addEventListener("click", (event) => { go(...found(event)); if (at) onPick?.(...at); });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) { event.preventDefault(); at ? go(at[0] + step[0], at[1] + step[1]) : go(0, 0); }
    if (event.key === "Enter" && at) onPick?.(...at);
  });
  draw();
  const names = el("div.rownames", { "aria-hidden": "true" }, tall >= 12 ? rows.map((r) => el("span", { style: { height: `${tall}px` } }, r)) : []);
  const heads = size >= 14 ? el("div.colnames", { "aria-hidden": "true" }, columns.map((c) => el("span", { style: { width: `${size}px` } }, el("bdi", {}, c)))) : null;
  const box = el("div.heatmap", {}, names, el("div.scroll", { tabIndex: -1 }, heads, el("div.canvas", {}, canvas, mark)));
  const whole = el("div", {}, box, say);
  whole.redraw = draw;
  whole.canvas = canvas;
  whole.asSvg = () => {
    const rects = values.flatMap((row, i) => row.map((v, j) => v === null || v === undefined ? "" :
      `<rect x="${j * size}" y="${i * tall}" width="${size}" height="${tall}" fill="${colours(strengthOf(v, Array.isArray(peak) ? peak[i] : peak), "light").fill}"/>`));
    return `<svg xmlns="${SVG}" width="${wide * size}" height="${values.length * tall}">${rects.join("")}</svg>`;
  };
  return whole;
};
