// A heat map: rows × columns on a canvas, each cell pointed at with the mouse, a finger or the arrow keys.

/**
 * rows: names. columns: units. value(r, c): a number, or null for what was not yet there, which is left blank. ends: what
 * is written of each row's residual. explanations: of each row the number of its explanation, which is chosen by it.
 */
function heatmap({ view, v, state, set, links, theme }, { name, rows, columns, value, ends, explanations = [...view.explanations.keys()] }) {
  const width = Math.max(2, Math.min(34, Math.floor(760 / columns.length))), height = Math.max(4, Math.min(24, Math.floor(560 / rows.length)));
  const named = `${name}: ${rows.length} rows, ${columns.length} columns. Arrow keys move from cell to cell.`;
  const style = { width: `${width * columns.length}px`, height: `${height * rows.length}px` };
  const on = { pointermove: cell, click: (event) => (cell(event), choose()), keydown };
  const canvas = h("canvas", { order: 0, role: "img", named, key: `heat:${name}`, width: 2 * width * columns.length, height: 2 * height * rows.length, style, on });
  const read = readout("Point at a cell."), context = canvas.getContext("2d"), texts = columns.map((u) => u.name ?? u.label), each = [...columns.keys()];
  const peak = largest(rows.flatMap((_, r) => each.map((c) => value(r, c))));
  const dye = (r, c) => {
    const x = value(r, c);
    context.clearRect(2 * c * width, 2 * r * height, 2 * width, 2 * height);
    if (x === null) return;
    context.fillStyle = tint(theme, strength(x, peak))[0];
    context.fillRect(2 * c * width, 2 * r * height, 2 * width - (width > 6 ? 2 : 0), 2 * height - (height > 6 ? 2 : 0));
  };
  const outline = (r, c, w) => context.strokeRect(2 * c * width + 1, 2 * r * height + 1, w * 2 * width - 3, 2 * height - 3);
  const frame = () => explanations.includes(state.target) && outline(explanations.indexOf(state.target), 0, columns.length);
  const choose = () => explanations[at?.[0]] !== undefined && set({ target: explanations[at[0]] });
  let at = null;
  const move = (r, c) => {
    if (!(rows[r] && columns[c]) || String(at) === String([r, c])) return;
    if (at) dye(...at);
    at = [r, c];
    const x = value(r, c), told = x === null ? [" was not yet there when ", bdi(rows[r]), " was generated."] : [" → ", bdi(rows[r]), ": ", strong(signed(x, v.places)), ends && ` · residual of the row ${ends[r]}`];
    fill(read, [bdi(texts[c]), told]);
    links.light(columns[c].tokens);
    frame();
    outline(r, c, 1);
  };
  function cell(event) {
    const { top, left } = canvas.getBoundingClientRect();
    move(Math.floor((event.clientY - top) / height), Math.floor((event.clientX - left) / width));
  }
  function keydown(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Enter: null, " ": null }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    if (step) move(...(at ? [at[0] + step[0], at[1] + step[1]] : [0, 0]));
    else choose();
  }
  rows.forEach((_, r) => each.forEach((c) => dye(r, c)));
  Object.assign(context, { lineWidth: 2, strokeStyle: THEMES[theme].ink });
  frame();
  const names = (kind, axis, texts, size) => h("div", { class: kind, style: { [`grid-template-${axis}`]: `repeat(${texts.length}, ${size}px)` } }, texts.map((text) => span("", bdi(text))));
  const side = (texts) => (texts && height >= 12 ? names("side-names", "rows", texts, height) : h("span"));
  return [div("scroll heat", side(rows), canvas, side(ends), width >= 14 && [h("span"), names("top-names", "columns", texts, width)]), read];
}
