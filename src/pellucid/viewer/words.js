// The strongest units as bars, and every token as a table.

function wordsOf(v, state, links) {
  const units = unitsOf(v, state).filter((u) => state.special || !u.special).sort((a, b) => Math.abs(b.score) - Math.abs(a.score)).slice(0, 10);
  const low = Math.max(0, ...units.map((u) => -u.score)), high = Math.max(0, ...units.map((u) => u.score));
  const unit = low + high ? 100 / (low + high) : 0, zero = low * unit;
  const rows = units.map((u, i) => {
    const width = Math.abs(u.score) * unit;
    const bar = h("span", { class: `bar ${u.score < 0 ? "negative" : "positive"}`, style: { left: `${u.score < 0 ? zero - width : zero}%`, width: `${width}%` } });
    const error = u.error ? h("small", {}, ` ± ${plain(u.error, v.places)}`) : null;
    return links.add(h("li", { class: "link", tabindex: i ? "-1" : "0" }, h("span", { class: "name" }, bdi(u.label)), h("span", { class: "track", "aria-hidden": "true" }, bar, h("span", { class: "axis", style: { left: `${zero}%` } })), h("data", { value: u.score }, signed(u.score, v.places), error)), u.tokens);
  });
  return section(`Strongest ${state.level}`, h("ol", { class: "bars" }, rows));
}

function tokensOf(v) {
  const details = h("details", { class: "all" }, h("summary", { "data-key": "all" }, `All ${v.tokens.length} tokens`));
  details.addEventListener("toggle", () => {
    if (details.querySelector("table")) return;
    const head = h("tr", {}, ["#", "token", "id", "characters", "score"].map((name) => h("th", { scope: "col" }, name)));
    const rows = v.tokens.map((t, i) => h("tr", {}, [String(i), bdi(t.text), String(t.id), (t.span ?? []).join("–"), String(t.score)].map((cell, k) => h("td", { class: k === 1 ? null : "number" }, cell))));
    details.append(h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "All tokens" }, h("table", {}, h("thead", {}, head), h("tbody", {}, rows))));
  });
  return details;
}
