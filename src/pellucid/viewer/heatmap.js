// A heat map: rows × columns on a canvas, each cell pointed at with the mouse, a finger or the arrow keys.

/**
 * rows, columns: names. value(r, c): a number, or null where there is none, which is left blank. peak: what full colour
 * means. tell(r, c): a sentence on a cell. point(r, c), choose(r, c): what else happens.
 */
function heatmap({ name, rows, columns, value, peak, tell, point = () => {}, choose = () => {}, ends = null, theme, chosen = null }) {
  const width = Math.max(2, Math.min(34, Math.floor(760 / columns.length))), height = Math.max(4, Math.min(24, Math.floor(560 / rows.length)));
  const canvas = h("canvas", { tabindex: "0", role: "img", "aria-label": `${name}: ${rows.length} rows, ${columns.length} columns. Arrow keys move from cell to cell.`, "data-key": `heat:${name}`, width: 2 * width * columns.length, height: 2 * height * rows.length, style: { width: `${width * columns.length}px`, height: `${height * rows.length}px` } });
  const read = h("p", { class: "readout", role: "status", "aria-live": "polite" }, "Point at a cell.");
  let at = null;
  const paint = () => {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    for (let r = 0; r < rows.length; r++) {
      for (let c = 0; c < columns.length; c++) {
        const x = value(r, c);
        if (x === null) continue;
        context.fillStyle = tint(theme, strength(x, peak))[0];
        context.fillRect(2 * c * width, 2 * r * height, 2 * width - (width > 6 ? 2 : 0), 2 * height - (height > 6 ? 2 : 0));
      }
    }
    const outline = (r, c, w) => context.strokeRect(2 * c * width + 1, 2 * r * height + 1, w * 2 * width - 3, 2 * height - 3);
    context.lineWidth = 2;
    context.strokeStyle = theme === "dark" ? "#e6e4df" : "#1d2126";
    if (chosen !== null && rows[chosen] !== undefined) outline(chosen, 0, columns.length);
    if (at) outline(at[0], at[1], 1);
  };
  const move = (r, c) => {
    if (r < 0 || c < 0 || r >= rows.length || c >= columns.length || (at && at[0] === r && at[1] === c)) return;
    at = [r, c];
    read.replaceChildren(...[tell(r, c)].flat());
    point(r, c);
    paint();
  };
  const cell = (event) => {
    const box = canvas.getBoundingClientRect();
    return [Math.floor(((event.clientY - box.top) / box.height) * rows.length), Math.floor(((event.clientX - box.left) / box.width) * columns.length)];
  };
  canvas.addEventListener("pointermove", (event) => move(...cell(event)));
  canvas.addEventListener("click", (event) => (move(...cell(event)), choose(...at)));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step || event.key === "Enter" || event.key === " ") event.preventDefault();
    if (step) move(...(at ? [at[0] + step[0], at[1] + step[1]] : [0, 0]));
    else if (at && (event.key === "Enter" || event.key === " ")) choose(...at);
  });
  const named = height >= 12, side = (texts) => h("div", { class: "side-names", style: { "grid-template-rows": `repeat(${rows.length}, ${height}px)` } }, texts.map((text) => h("span", {}, bdi(text))));
  const top = width >= 14 ? h("div", { class: "top-names", style: { "grid-template-columns": `repeat(${columns.length}, ${width}px)` } }, columns.map((text) => h("span", {}, bdi(text)))) : null;
  paint();
  return [h("div", { class: "scroll heat" }, named ? side(rows) : h("span"), canvas, named && ends ? side(ends) : h("span"), top ? [h("span"), top] : null), read];
}
