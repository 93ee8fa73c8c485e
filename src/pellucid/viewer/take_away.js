// To take away: each picture as SVG or PNG, the scores as CSV, all data as JSON, and the address that restores the view.

function takeAway(view, v, box) {
  const save = (name, type, text) => download(new Blob([text], { type }), name);
  const csv = () => ["token,id,start,end,special,segment,score", ...v.tokens.map((t) => [quoted(t.text), t.id, ...(t.span ?? ["", ""]), t.special, t.segment, t.score].join(","))].join("\r\n");
  const pictures = [...box.querySelectorAll("[data-picture]")];
  let chosen = pictures[0];
  const list = menu("Picture", pictures.map((picture) => [picture, picture.dataset.picture]), chosen, (picture) => (chosen = picture));
  const act = (text, click) => button(text, { class: "plain", key: `take:${text}`, click });
  const link = act("Link", async () => {
    link.textContent = await navigator.clipboard.writeText(location.href).then(() => "Copied", () => "See address");
  });
  const json = () => JSON.stringify({ schema_version: 1, explanations: view.explanations.map(documentOf) });
  return group("Take away", "tools actions", list, act("SVG", () => save("pellucid.svg", "image/svg+xml", svgOf(chosen))), act("PNG", () => pngOf(chosen).then((blob) => download(blob, "pellucid.png"))), act("CSV", () => save("pellucid.csv", "text/csv", csv())), act("JSON", () => save("pellucid.json", "application/json", json())), link);
}

/** An explanation as Python's `Explanation.from_dict` reads it, without its attention, which the page has in part only. */
function documentOf(v) {
  const { target, method, baseline, output, prediction, probability, passes, label, notes, meta } = v, texts = textsOf(v);
  const probabilities = Object.keys(v.probabilities).length ? v.probabilities : null;
  const tokens = v.tokens.map(({ written, id, span, special, word, segment }) => ({ text: written, id, span, special, word: special ? null : word, segment }));
  const unread = v.passages.flatMap((p) => p.tokens.filter((run) => run.unread).map((run) => [p.segment, run.start, run.end]));
  const column = (name) => v.tokens.map((t) => t[name]), error = v.tokens[0]?.error ?? null;
  return {
    text: texts.length > 1 ? texts : texts[0], tokens, scores: column("score"), target, method, baseline, output, baseline_output: v.sum.terms[0].value, delta: v.sum.terms[2].value,
    prediction, probability, adds_up: v.sum.promised, passes, status: v.status.name, error: error === null ? null : column("error"), label, probabilities, unread, notes, meta,
    layers: v.layers.length ? v.layers.map((layer) => layer.scores) : null, parts: v.parts?.scores ?? null,
  };
}

/** A field of CSV; one that a spreadsheet would take for a formula begins with an apostrophe. */
function quoted(text) {
  return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}

function download(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** A section of the page as an SVG document: boxes, words and drawings where they stand. */
function svgOf(element) {
  const frame = element.getBoundingClientRect(), [width, height] = [frame.width + 24, frame.height + 24].map(Math.ceil);
  const place = (box) => ({ x: (box.left - frame.left + 12).toFixed(1), y: (box.top - frame.top + 12).toFixed(1), width: box.width.toFixed(1), height: box.height.toFixed(1) });
  const root = s("svg", { xmlns: SVG, viewBox: `0 0 ${width} ${height}`, width, height });
  root.append(s("rect", { width, height, fill: getComputedStyle(element.closest(".viewer")).backgroundColor }));
  const write = (text, x, y, how) => root.append(s("text", { x, y, fill: how.color, "font-family": how.fontFamily, "font-size": how.fontSize, "font-weight": how.fontWeight }, text.replace(HIDDEN, "�").toWellFormed()));
  const words = (node, how) => {
    for (const match of node.data.matchAll(/\S+/g)) {
      const range = document.createRange();
      range.setStart(node, match.index);
      range.setEnd(node, match.index + match[0].length);
      const box = range.getBoundingClientRect(), at = place(box);
      if (box.width) write(match[0], at.x, Number(at.y) + box.height * 0.76, how);
    }
  };
  const walk = (node) => {
    if (node.nodeType === 3) return words(node, getComputedStyle(node.parentElement));
    if (node.nodeType !== 1 || node.matches(".tools, .readout, details:not([open])")) return;
    const how = getComputedStyle(node);
    if (how.display === "none") return;
    if (node.matches("svg")) return root.append(drawingOf(node, place(node.getBoundingClientRect())));
    if (node.matches("canvas")) return root.append(s("image", { ...place(node.getBoundingClientRect()), href: node.toDataURL() }));
    if (how.backgroundColor !== "rgba(0, 0, 0, 0)") for (const box of node.getClientRects()) root.append(s("rect", { ...place(box), rx: Math.min(4, parseFloat(how.borderRadius) || 0), fill: how.backgroundColor, opacity: how.opacity }));
    if (node.dataset.token) write(node.dataset.token, place(node.getBoundingClientRect()).x, Number(place(node.getBoundingClientRect()).y) + 14, { ...how, color: how.color, fontFamily: "monospace", fontSize: "12px", fontWeight: 400 });
    node.childNodes.forEach(walk);
  };
  walk(element);
  return new XMLSerializer().serializeToString(root);
}

/** A copy of a drawing whose styles are attributes of its own. */
function drawingOf(svg, at) {
  const copy = svg.cloneNode(true);
  const [from, to] = [svg, copy].map((e) => [e, ...e.querySelectorAll("*")]);
  from.forEach((e, i) => ["fill", "stroke", "font-size", "font-family"].forEach((name) => to[i].setAttribute(name, getComputedStyle(e).getPropertyValue(name))));
  for (const [name, value] of Object.entries(at)) copy.setAttribute(name, value);
  return copy;
}

async function pngOf(element) {
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(svgOf(element))}`;
  await image.decode();
  const canvas = h("canvas", { width: 2 * image.width, height: 2 * image.height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
