// Two explanations, of the view or of a page that is added: units aligned by a diff, on one scale, and their difference.

const opened = new WeakMap(); // of a view, the explanations from files

function compareOf({ view, state, set }) {
  const others = opened.get(view) ?? [], each = [...view.explanations, ...others];
  const [i, j] = state.compared.map((k, n) => each[k] ? k : Math.min(n, each.length - 1));
  const open = chooser("Add a saved page", "A page of explanations, as a file", ".html", async (file) => {
    const found = await explanationsIn(file).catch(() => null);
    if (!found) return open.append(h("span", { class: "wrong negative", role: "alert" }, "This file holds no explanation that Pellucid saved."));
    opened.set(view, [...others, ...found]);
    set({ compared: [i, each.length] });
  });
  const names = each.map((e, n) => [n, `${n + 1}: ${e.file ?? view.names[n]}${view.same_input ? "" : ` · ${textsOf(e)[0].slice(0, 30)}`}`]);
  const pick = (name, k) => menu(name, names, [i, j][k], (n) => set({ compared: k ? [i, n] : [n, j] }));
  const tools = div("tools", each.length > 1 && [pick("First", 0), pick("Second", 1)], open);
  if (each.length < 2) return section("Compare", par("muted", "Add another explanation, saved as a page, to see both on one scale."), tools);
  return section("Compare", tools, comparison(each[i], each[j], state));
}

function comparison(first, second, state) {
  const [a, b] = [first, second].map((e) => unitsOf(e, state).filter((u) => state.special || !u.special));
  const rows = aligned(a, b), both = rows.filter(([x, y]) => x && y), places = first.places;
  const peak = largest(rows.flat().map((u) => u?.score ?? 0)), rho = rankCorrelation(both);
  const told = `${both.length} of ${rows.length} units are in both. Rank correlation of their scores: ${rho === null ? "none" : rho.toFixed(3)}. One colour scale, to ${plain(peak, places)}.`;
  const written = (unit) => (unit ? signed(unit.score, 3) : "not there");
  const chip = (text, score) => chipOf("chip", score, peak, places, bdi(text));
  const side = (unit) => (unit ? chip(unit.label, unit.score) : h("span", { class: "chip absent", title: "not there" }, "·"));
  const column = ([x, y]) => {
    const change = (y?.score ?? 0) - (x?.score ?? 0);
    const named = `${label((x ?? y).label)}: ${written(x)}, ${written(y)}, difference ${signed(change, 3)}`;
    return h("span", { class: "pair", order: 0, role: "note", named }, side(x), side(y), chip(signed(change, 2), change));
  };
  return [par("muted", told), div("pairs", span("pair names", ["first", "second", "difference"].map((name) => span("", name))), rows.map(column))];
}

/** The explanations of a page that Pellucid saved. */
async function explanationsIn(file) {
  const [, data] = /<script type="application\/json">(.*?)<\/script>/s.exec(await file.text());
  return unpacked(JSON.parse(data)).explanations.map((e) => ({ ...e, file: file.name }));
}

/** Pairs of units with the same label (longest common subsequence); what has no partner stands alone. */
function aligned(a, b) {
  const best = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--) best[i][j] = a[i].label === b[j].label ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
  const found = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const both = a[i]?.label === b[j]?.label, first = both || j >= b.length || (i < a.length && best[i + 1][j] >= best[i][j + 1]);
    found.push([first ? a[i++] : undefined, both || !first ? b[j++] : undefined]);
  }
  return found;
}

/** Spearman's, of pairs of units, ties sharing the mean of their ranks; null where one side has no order. */
function rankCorrelation(pairs) {
  const [p, q] = [0, 1].map((side) => {
    const scores = pairs.map((pair) => pair[side].score); // ranks from their mean: how many are smaller, less the larger
    return scores.map((x) => sum(scores.map((y) => Math.sign(x - y))));
  });
  const product = (a, b) => sum(a.map((x, i) => x * b[i])), size = Math.sqrt(product(p, p) * product(q, q));
  return size ? product(p, q) / size : null;
}
