// The colour scale, as in render/colour.py: from the paper to blue (raises the output) or vermilion (lowers it) along
// strength^0.75 in OKLab, where the strength is |score| / peak.

/** The style sheet's variables: each colour for light paper and for dark. */
const PALETTE = Object.fromEntries(Object.entries(THEMES.light).map(([name, light]) => [`--${name}`, `light-dark(${light}, ${THEMES.dark[name]})`]));
const hueOf = (head) => `hsl(${137 * head + 210} 55% 46%)`; // of a head of attention

const toLinear = (colour) =>
  [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16) / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
const times = (matrix, vector) => matrix.map((row) => sum(row.map((x, i) => x * vector[i])));

const strength = (score, peak) => peak ? Math.max(-1, Math.min(1, score / peak)) : 0;

/** [background, ink] of a strength in −1 … 1. */
function tintOf(theme, t) {
  const { paper, positive, negative } = THEMES[theme], mix = Math.min(1, Math.abs(t)) ** 0.75;
  const [start, stop] = [paper, t >= 0 ? positive : negative].map((colour) => times(LMS, toLinear(colour)).map(Math.cbrt));
  const linear = times(RGB, start.map((a, i) => ((1 - mix) * a + mix * stop[i]) ** 3)).map((c) => Math.max(0, Math.min(1, c)));
  const back = "#" + linear.map((c) => Math.round(255 * (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055)).toString(16).padStart(2, "0")).join("");
  return [back, INKS.find((ink) => contrast(ink, back) >= READABLE)];
}

function contrast(a, b) {
  const [low, high] = [a, b].map((colour) => times([[0.2126, 0.7152, 0.0722]], toLinear(colour))[0]).sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

const TINTS = {};

/** The tint, remembered for steps of 1/200. */
function tint(theme, t) {
  const step = Math.round(200 * t);
  return (TINTS[theme + step] ??= tintOf(theme, step / 200));
}

/** The style of a strength, for light paper and for dark. */
function tinted(t) {
  const [background, color] = tint("light", t).map((light, i) => `light-dark(${light}, ${tint("dark", t)[i]})`);
  return { background, color };
}
