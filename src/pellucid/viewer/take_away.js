// To take away: each picture as SVG or PNG, the scores as CSV, all data as JSON, and the address that restores the view.

function takeAway({ view, v }, box) {
  const pictures = [...box.querySelectorAll("[data-picture]")];
  let chosen = pictures[0];
  const list = menu("Picture", pictures.map((picture) => [picture, picture.dataset.picture]), chosen, (picture) => (chosen = picture));
  const act = (text, click) => button(text, { class: "plain", key: `take:${text}`, click });
  const link = act("Link", async () => {
    link.textContent = await navigator.clipboard.writeText(location.href).then(() => "Copied", () => "See address");
  });
  const file = (suffix, type, content) => act(suffix.toUpperCase(), async () => save(suffix, type, await content()));
  const files = [file("svg", "image/svg+xml", () => svgOf(chosen)), file("png", "image/png", () => pngOf(chosen)), file("csv", "text/csv", () => csvOf(v)), file("json", "application/json", () => jsonOf(view))];
  return group("Take away", "tools actions", list, files, link);
}

function csvOf(v) {
  const quoted = (text) => `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`; // no spreadsheet takes it for a formula
  const rows = v.tokens.map((t) => [quoted(t.text), t.id, ...(t.span ?? ["", ""]), t.special, t.segment, t.score].join(","));
  return ["token,id,start,end,special,segment,score", ...rows].join("\r\n");
}

const jsonOf = (view) => JSON.stringify({ ...view, packed: undefined, explanations: view.explanations.map(({ pieces, scores, errors, single, cuts, depths, kept, ...e }) => ({ ...e, left: kept?.count })) });

function save(suffix, type, content) {
  const href = URL.createObjectURL(new Blob([content], { type }));
  h("a", { href, download: `pellucid.${suffix}` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10000);
}

/** A section of the page as an SVG document: boxes, words and drawings where they stand. */
function svgOf(element) {
  const frame = element.getBoundingClientRect(), [width, height] = [frame.width + 24, frame.height + 24].map(Math.ceil);
  const place = (box) => ({ x: box.left - frame.left + 12, y: box.top - frame.top + 12, width: box.width, height: box.height });
  const root = s("svg", { xmlns: SVG, viewBox: `0 0 ${width} ${height}`, width, height });
  const add = (name, attributes, ...content) => root.append(s(name, attributes, content));
  add("rect", { width, height, fill: getComputedStyle(element.closest(".viewer")).backgroundColor });
  const write = (text, x, y, how) => add("text", { x, y, fill: how.color, "font-family": how.fontFamily, "font-size": how.fontSize, "font-weight": how.fontWeight }, text.replace(HIDDEN, "�").toWellFormed());
  const words = (node, how) => {
    const range = document.createRange();
    for (const { 0: word, index } of node.data.matchAll(/\S+/g)) {
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const { x, y, width, height } = place(range.getBoundingClientRect());
      if (width) write(word, x, y + height * 0.76, how);
    }
  };
  const walk = (node) => {
    if (node.nodeType === 3) return words(node, getComputedStyle(node.parentElement));
    if (node.nodeType !== 1 || node.matches(".tools, .readout, details:not([open])")) return;
    const how = getComputedStyle(node), at = place(node.getBoundingClientRect());
    if (how.display === "none") return;
    if (node.matches("svg")) return root.append(drawingOf(node, at));
    if (node.matches("canvas")) return add("image", { ...at, href: node.toDataURL() });
    if (how.backgroundColor !== "rgba(0, 0, 0, 0)") for (const box of node.getClientRects()) add("rect", { ...place(box), rx: 3, fill: how.backgroundColor, opacity: how.opacity });
    if (node.dataset.token) write(node.dataset.token, at.x, at.y + 14, getComputedStyle(node, "::before"));
    node.childNodes.forEach(walk);
  };
  walk(element);
  return new XMLSerializer().serializeToString(root);
}

/** A copy of a drawing whose styles are attributes of its own. */
function drawingOf(svg, at) {
  const copy = svg.cloneNode(true), [from, to] = [svg, copy].map((e) => [e, ...e.querySelectorAll("*")]);
  from.forEach((e, i) => ["fill", "stroke", "font-size", "font-family"].forEach((name) => to[i].setAttribute(name, getComputedStyle(e).getPropertyValue(name))));
  return dress(copy, at, [...copy.childNodes]);
}

async function pngOf(element) {
  const image = h("img", { src: `data:image/svg+xml,${encodeURIComponent(svgOf(element))}` });
  await image.decode();
  const canvas = h("canvas", { width: 2 * image.width, height: 2 * image.height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
