// The strongest units as bars, and every token as a table.

function wordsOf({ v, state, links }) {
  const units = ranked(numbered(unitsOf(v, state))).filter((u) => state.special || !u.special).slice(0, 10);
  return section(`Strongest ${nameOf(v, state.level)}`, barsOf(units, (u) => writtenOf(u, v), links));
}

/** A bar for each unit from one axis, with what `write` says of it; a link where it has tokens. */
function barsOf(units, write, links) {
  const low = -Math.min(0, ...units.map((u) => u.score)), high = Math.max(0, ...units.map((u) => u.score));
  const place = (score) => (low + high ? (100 * (low + score)) / (low + high) : 0);
  const row = (u, i) => {
    const axis = h("span", { class: "axis", style: { left: `${place(0)}%` } });
    return barRow(links, u, signOf(u.score), [place(0), place(u.score)], u.score, write(u), i, axis);
  };
  return h("ol", { class: "bars" }, units.map(row));
}

function tokensOf({ v }) {
  const details = h("details", { on: { toggle } }, h("summary", { key: "all" }, `All ${v.tokens.length} tokens`));
  function toggle() {
    if (details.querySelector("table")) return;
    const line = (name, cells) => h("tr", {}, cells.map((cell, k) => h(name, { class: k ? "number" : null, scope: name === "th" ? "col" : null }, cell)));
    const rows = v.tokens.map((t, i) => line("td", [bdi(t.text), `${i}`, `${t.id}`, (t.span ?? []).join("–"), `${t.score ?? "left out"}`]));
    details.append(region("All tokens", "", h("table", {}, h("thead", {}, line("th", ["token", "#", "id", "characters", "score"])), h("tbody", {}, rows))));
  }
  return details;
}
