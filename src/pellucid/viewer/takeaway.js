// What a person takes away: pictures as PNG and SVG, numbers as CSV and JSON, a link that restores the selection.

const save = (name, type, content) => {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = el("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
};
// A cell of a CSV: quoted where needed, and with an apostrophe before what a spreadsheet would run.
const cellOf = (value) => {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
const csvOf = (v) => ["index,token,id,start,end,special,score", ...v.tokens.map((t, i) => [i, t.text, t.id, t.span?.[0], t.span?.[1], t.special, t.score].map((x) => (typeof x === "number" ? String(x) : cellOf(x))).join(","))].join("\r\n") + "\r\n";
// The text as an SVG of coloured words, laid out in lines of about 90 characters.
const svgOf = (v) => {
  const esc = (s) => s.replace(/[\p{Cc}\uFFFE\uFFFF]/gu, " ").replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  let x = 20, y = 40, out = "";
  for (const passage of v.passages) {
    for (const run of passage.words) {
      const wide = run.text.length * 9.6;
      if (x + wide > 880 && x > 20) { x = 20; y += 32; }
      if (run.tokens.length && run.text) {
        const c = colour(strengthOf(run.score, v.peak), "light");
        out += `<rect x="${x}" y="${y - 19}" width="${wide}" height="26" rx="4" fill="${c.fill}"/><text x="${x}" y="${y}" fill="${c.ink}" textLength="${wide}" lengthAdjust="spacingAndGlyphs">${esc(run.text)}</text>`;
      }
      x += wide;
    }
    x = 20; y += 44;
  }
  return `<svg xmlns="${SVG}" width="900" height="${y}" font-family="monospace" font-size="16"><rect width="100%" height="100%" fill="#fdfcfa"/>${out}</svg>`;
};
const pngOf = (source, name) => {
  const image = new Image();
  image.onload = () => {
    const canvas = el("canvas", { width: image.width * 2, height: image.height * 2 });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(name, "image/png", blob));
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(source)}`;
};

const drawTakeaway = (view, v, state, api, pictures) => {
  const button = (text, act) => el("button", { type: "button", onclick: act }, text);
  const link = api.link ? button("Copy link", async () => { try { await navigator.clipboard.writeText(api.link()); } catch { location.href = api.link(); } }) : null;
  return section("Take away", null, el("div.controls", {},
    button("Text SVG", () => save("text.svg", "image/svg+xml", svgOf(v))), button("Text PNG", () => pngOf(svgOf(v), "text.png")),
    pictures.flatMap(([name, map]) => [button(`${name} SVG`, () => save(`${name}.svg`, "image/svg+xml", map.asSvg())), button(`${name} PNG`, () => map.canvas.toBlob((blob) => save(`${name}.png`, "image/png", blob)))]),
    button("CSV", () => save("scores.csv", "text/csv", csvOf(v))), button("JSON", () => save("view.json", "application/json", JSON.stringify(view))), link));
};
