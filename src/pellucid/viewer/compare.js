// Two explanations beside each other on one scale, aligned by their words, with the difference and a rank correlation.

const aligned = (a, b) => {
  const n = a.length, m = b.length, best = Array.from({ length: n + 1 }, () => new Uint16Array(m + 1));
  for (let i = n - 1; i >= 0; i--) for (let j = m - 1; j >= 0; j--) best[i][j] = a[i] === b[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
  const pairs = [];
  let i = 0, j = 0;
  while (i < n || j < m) {
    if (i < n && j < m && a[i] === b[j]) pairs.push([i++, j++]);
    else if (j >= m || (i < n && best[i + 1][j] >= best[i][j + 1])) pairs.push([i++, null]);
    else pairs.push([null, j++]);
  }
  return pairs;
};
const ranks = (values) => {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]), rank = [];
  for (let i = 0; i < order.length; ) {
    let j = i;
    while (j < order.length && values[order[j]] === values[order[i]]) j++;
    for (let k = i; k < j; k++) rank[order[k]] = (i + j - 1) / 2;
    i = j;
  }
  return rank;
};
// Spearman's rank correlation; null for fewer than two pairs or a constant.
const spearman = (x, y) => {
  const [a, b] = [ranks(x), ranks(y)], mean = (x.length - 1) / 2;
  const dot = (u, w) => u.reduce((sum, r, i) => sum + (r - mean) * (w[i] - mean), 0);
  const size = Math.sqrt(dot(a, a) * dot(b, b));
  return x.length > 1 && size > 0 ? dot(a, b) / size : null;
};

const drawCompare = (view, v, state, api) => {
  if (view.explanations.length < 2) return null;
  const other = view.explanations[state.compare];
  const pick = el("label", {}, "compare with ", el("select", { "aria-label": "Compare with", onchange: (e) => api.set({ compare: e.target.value === "" ? null : Number(e.target.value) }) },
    el("option", { value: "", selected: !other }, "nothing"), view.explanations.slice(0, 500).map((x, i) => (i === state.index ? null : el("option", { value: i, selected: i === state.compare }, `${i + 1}. ${nameOf(view, i)}`)))));
  if (!other) return section("Compare", null, el("div.controls", {}, pick));
  const plain = (x) => x.words.filter((w) => !w.special);
  const [a, b] = [plain(v), plain(other)];
  const pairs = aligned(a.map((w) => w.text), b.map((w) => w.text));
  const both = pairs.filter(([i, j]) => i !== null && j !== null);
  const rho = spearman(both.map(([i]) => a[i].score), both.map(([, j]) => b[j].score));
  const peak = Math.max(v.peak, other.peak, 1e-12);
  const cell = (score) => (score === null ? el("td.absent", {}, "–") : el("td.number", {}, el("span.run.tint", { style: tint(strengthOf(score, peak)) }, signed(score, v.places))));
  const rows = pairs.map(([i, j]) => el("tr", {}, el("td", {}, el("bdi", {}, named(i === null ? b[j].text : a[i].text))), cell(i === null ? null : a[i].score), cell(j === null ? null : b[j].score), cell(i === null || j === null ? null : a[i].score - b[j].score)));
  return section("Compare", `${both.length} words in both${rho === null ? "" : ` · rank correlation ${signed(rho, 2)}`}. Both are on one scale; the last column is the first less the second.`, el("div.controls", {}, pick),
    el("div.scroll", {}, el("table.compare", {}, el("thead", {}, el("tr", {}, ["word", nameOf(view, state.index), nameOf(view, state.compare), "difference"].map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, rows))));
};
