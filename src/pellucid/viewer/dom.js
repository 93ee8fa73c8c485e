// Elements, numbers and colours: what every picture is made of.

// An element: text is set as text, never as markup. "on…" are listeners, "data-…"/"aria-…" attributes, the rest properties.
const el = (name, props = {}, ...children) => {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag || "div");
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
    else if (key in node && !key.includes("-")) node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
};

const SVG = "http://www.w3.org/2000/svg";
const svg = (tag, props = {}, ...children) => {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
};

const unsigned = (value, places) => value.toFixed(places).replace("-", "−");
const signed = (value, places) => {
  const written = unsigned(value, places);
  if (/^[−0.]*$/.test(written)) return value === 0 ? "0" : `${value < 0 ? "−" : "+"}${Math.abs(value).toExponential(0)}`;
  return value > 0 ? `+${written}` : written;
};
const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.001 ? 2 : 1)}%`;

// Characters that have no look of their own, as signs; a control character as its code.
const visible = (text) =>
  text
    .replace(/ /g, "␣").replace(/\r?\n/g, "↵").replace(/\t/g, "⇥")
    .replace(/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (c) => `⟨${c.codePointAt(0).toString(16)}⟩`);
const named = (text) => (text.trim() === text && text !== "" && !/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/u.test(text) ? text : visible(text));

// The colour scale of render/colour.py: from the paper to a hue along strength^0.75, in OKLab.
const THEMES = {
  light: { paper: "#fdfcfa", positive: "#0f62b4", negative: "#bf4a0d" },
  dark: { paper: "#15181c", positive: "#57a5f2", negative: "#f08a4b" },
};
const LMS = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]];
const RGB = [[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965], [-0.0041960863, -0.7034186147, 1.707614701]];
const times = (m, v) => m.map((row) => row.reduce((sum, c, i) => sum + c * v[i], 0));
const linear = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255).map((s) => (s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4));
const encoded = (c) => Math.round(255 * (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055));
const luminance = (rgb) => 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
const mixed = new Map();
const colour = (strength, theme) => {
  const t = Math.max(-1, Math.min(1, Math.round(strength * 100) / 100));
  const key = `${t}${theme}`;
  if (!mixed.has(key)) {
    const { paper, positive, negative } = THEMES[theme];
    const [start, stop] = [paper, t < 0 ? negative : positive].map((c) => times(LMS, linear(c)).map(Math.cbrt));
    const share = Math.abs(t) ** 0.75;
    const rgb = times(RGB, start.map((s, i) => ((1 - share) * s + share * stop[i]) ** 3)).map((c) => Math.min(1, Math.max(0, c)));
    const ink = ["#ffffff", "#101317", "#000000"].find((c) => contrast(luminance(linear(c)), luminance(rgb)) >= 4.5);
    mixed.set(key, { fill: `rgb(${rgb.map(encoded).join(" ")})`, ink });
  }
  return mixed.get(key);
};
// Fill and ink for both papers, as custom properties; the style sheet picks by theme.
const tint = (strength) => {
  const [l, d] = [colour(strength, "light"), colour(strength, "dark")];
  return { "--l": l.fill, "--li": l.ink, "--d": d.fill, "--di": d.ink };
};
// The largest |number| of a table.
const largest = (rows) => rows.reduce((top, row) => row.reduce((best, x) => (x === null ? best : Math.max(best, Math.abs(x))), top), 0);
const strengthOf = (score, peak) => (peak > 0 ? Math.max(-1, Math.min(1, score / peak)) : 0);

const section = (title, about, ...content) =>
  el("section", { "aria-label": title }, el("h2", {}, title), about ? el("p.about", {}, about) : null, content);
const choices = (label, options, value, pick) =>
  el("div.choices", { role: "group", "aria-label": label },
    options.map(([key, text]) => el("button", { type: "button", "aria-pressed": String(key === value), onclick: () => pick(key) }, text)));
