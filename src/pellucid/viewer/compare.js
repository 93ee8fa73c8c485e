// Two explanations side by side: their units aligned by a diff, on one scale, the difference in a third row.

function compareOf(view, state, set) {
  const each = view.explanations;
  if (each.length < 2) return null;
  const names = each.map((e, i) => [i, [`${i + 1}: ${e.target.name}`, ...view.differing.filter((n) => n !== "target").map((n) => view.own[i][view.differing.indexOf(n)]), view.same_input ? "" : e.passages[0]?.text.slice(0, 30) ?? ""].filter(Boolean).join(" · ")]);
  const [i, j] = state.compared;
  const [a, b] = [each[i], each[j]].map((e) => unitsOf(e, state).filter((u) => state.special || !u.special));
  const rows = aligned(a, b);
  const both = rows.filter(([x, y]) => x && y);
  const peak = largest(rows.flat().map((u) => u?.score ?? 0));
  const change = (x, y) => (y?.score ?? 0) - (x?.score ?? 0);
  const chip = (unit, score) => h("span", { class: `chip${unit === undefined ? " absent" : " tint"}`, style: unit === undefined ? {} : tinted(strength(score, peak)), title: unit === undefined ? "not there" : signed(score, each[i].places) }, unit === undefined ? "·" : bdi(unit));
  const columns = rows.map(([x, y]) => h("span", { class: "pair", tabindex: "0", role: "note", "aria-label": `${label((x ?? y).label)}: ${x ? signed(x.score, 3) : "not there"}, ${y ? signed(y.score, 3) : "not there"}, difference ${signed(change(x, y), 3)}` }, chip(x?.label, x?.score), chip(y?.label, y?.score), chip(signed(change(x, y), 2), change(x, y))));
  const pick = (name, k) => menu(name, names, state.compared[k], (value) => set({ compared: k ? [i, Number(value)] : [Number(value), j] }));
  const rho = rankCorrelation(both.map(([x]) => x.score), both.map(([, y]) => y.score));
  const told = `${both.length} of ${rows.length} units are in both. Rank correlation of their scores: ${rho === null ? "none, for want of differences" : rho.toFixed(3)}. One colour scale, to ${plain(peak, each[i].places)}.`;
  return section("Compare", h("div", { class: "tools" }, pick("First", 0), pick("Second", 1)), h("p", { class: "muted" }, told), h("div", { class: "pairs" }, h("span", { class: "pair names" }, h("span", {}, "first"), h("span", {}, "second"), h("span", {}, "difference")), columns));
}

/** Pairs of units with the same label, in order (longest common subsequence); what has no partner stands alone. */
function aligned(a, b) {
  const best = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--) best[i][j] = a[i].label === b[j].label ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
  const found = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i].label === b[j].label) found.push([a[i++], b[j++]]);
    else if (j >= b.length || (i < a.length && best[i + 1][j] >= best[i][j + 1])) found.push([a[i++], undefined]);
    else found.push([undefined, b[j++]]);
  }
  return found;
}

/** Spearman's: the correlation of ranks, ties sharing the mean of theirs; null where one side has no order. */
function rankCorrelation(x, y) {
  const ranks = (values) => values.map((v) => sum(values.map((w) => (w < v ? 1 : w === v ? 0.5 : 0))));
  const centred = (values) => values.map((v) => v - sum(values) / values.length);
  const [p, q] = [centred(ranks(x)), centred(ranks(y))];
  const size = Math.sqrt(sum(p.map((v) => v * v)) * sum(q.map((v) => v * v)));
  return size ? sum(p.map((v, i) => v * q[i])) / size : null;
}
