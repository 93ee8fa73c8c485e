// The strongest units as bars, and every token as a table.

function wordsOf({ v, state, links }) {
  const units = ranked(numbered(unitsOf(v, state))).filter((u) => state.special || !u.special).slice(0, 10);
  const low = -Math.min(0, ...units.map((u) => u.score)), high = Math.max(0, ...units.map((u) => u.score));
  const place = (score) => (low + high ? (100 * (low + score)) / (low + high) : 0);
  const rows = units.map((u, i) => {
    const written = [signed(u.score, v.places), u.error ? h("small", {}, ` ± ${plain(u.error, v.places)}`) : null];
    const axis = h("span", { class: "axis", style: { left: `${place(0)}%` } });
    const more = { class: "link", order: i };
    return links.add(barRow(u.name, u.score < 0 ? "negative" : "positive", [place(0), place(u.score)], u.score, written, more, axis), u.tokens);
  });
  return section(`Strongest ${nameOf(v, state.level)}`, h("ol", { class: "bars" }, rows));
}

function tokensOf({ v }) {
  const details = h("details", {}, h("summary", { key: "all" }, `All ${v.tokens.length} tokens`));
  details.addEventListener("toggle", () => {
    if (details.querySelector("table")) return;
    const heads = ["#", "token", "id", "characters", "score"].map((name) => h("th", { scope: "col" }, name));
    const cells = (t, i) => [String(i), bdi(t.text), String(t.id), (t.span ?? []).join("–"), String(t.score)];
    const rows = v.tokens.map((t, i) => h("tr", {}, cells(t, i).map((cell, k) => h("td", { class: k === 1 ? null : "number" }, cell))));
    details.append(region("All tokens", "", h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows))));
  });
  return details;
}
