// The colour scale, as in render/colour.py: from the paper to blue (raises the output) or vermilion (lowers it) along
// strength^0.75 in OKLab, where the strength is |score| / peak.

const THEMES = {
  light: { paper: "#fdfcfa", ink: "#1d2126", muted: "#656b73", line: "#e4e1db", raised: "#f4f2ee", positive: "#0f62b4", negative: "#bf4a0d" },
  dark: { paper: "#15181c", ink: "#e6e4df", muted: "#979da6", line: "#2d3239", raised: "#1d2126", positive: "#57a5f2", negative: "#f08a4b" },
};
/** The style sheet's variables: each colour for light paper and for dark. */
const PALETTE = Object.fromEntries(Object.entries(THEMES.light).map(([name, light]) => [`--${name}`, `light-dark(${light}, ${THEMES.dark[name]})`]));
const INKS = ["#ffffff", "#101317", "#000000"];
const FAINT = 0.02; // a strength below this is left without colour
const HEADS = ["#2f7fd0", "#cf5a1d", "#2a8a5f", "#8a4fb0", "#b58900", "#c2417c", "#4f7f8f", "#7a6a52"];

const toLinear = (colour) =>
  [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16) / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
const LMS = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]];
const RGB = [[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965], [-0.0041960863, -0.7034186147, 1.707614701]];
const times = (matrix, vector) => matrix.map((row) => sum(row.map((x, i) => x * vector[i])));

const strength = (score, peak) => peak ? Math.max(-1, Math.min(1, score / peak)) : 0;

/** [background, ink] of a strength in −1 … 1. */
function tintOf(theme, t) {
  const { paper, positive, negative } = THEMES[theme];
  const mix = Math.min(1, Math.abs(t)) ** 0.75;
  const [start, stop] = [paper, t >= 0 ? positive : negative].map((colour) => times(LMS, toLinear(colour)).map(Math.cbrt));
  const linear = times(RGB, start.map((a, i) => ((1 - mix) * a + mix * stop[i]) ** 3)).map((c) => Math.max(0, Math.min(1, c)));
  const back = "#" + linear.map((c) => Math.round(255 * (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055)).toString(16).padStart(2, "0")).join("");
  return [back, INKS.find((ink) => contrast(ink, back) >= 4.5)];
}

function contrast(a, b) {
  const [low, high] = [a, b].map((colour) => times([[0.2126, 0.7152, 0.0722]], toLinear(colour))[0]).sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

const TINTS = new Map();

/** The tint, remembered for steps of 1/200. */
function tint(theme, t) {
  const key = `${theme}${Math.round(200 * t)}`;
  if (!TINTS.has(key)) TINTS.set(key, tintOf(theme, Math.round(200 * t) / 200));
  return TINTS.get(key);
}

/** The style of a strength, for light paper and for dark. */
function tinted(t) {
  const [background, color] = tint("light", t).map((light, i) => `light-dark(${light}, ${tint("dark", t)[i]})`);
  return { background, color };
}
