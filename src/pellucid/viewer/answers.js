// Many texts: a list that can be searched, filtered and sorted. Only the rows that are in sight are in the page.

const ROW = 44; // pixels
const scrolled = new WeakMap();
const SORTS = { number: (e, i) => i, text: (e) => textsOf(e)[0] ?? "", prediction: (e) => e.headline, label: (e) => e.label ?? "", "probability, low first": (e) => e.probability ?? 0, "probability, high first": (e) => -(e.probability ?? 0) };
const isWrong = (e) => e.label !== null && e.label !== e.prediction;

function answersOf({ view, state, set }) {
  const each = view.explanations;
  if (each.length < 2 || view.same_input) return;
  const names = [...new Set(each.map((e) => e.headline))].sort().slice(0, 50);
  const filters = [["", "all"], each.some((e) => e.label !== null) && ["!", "wrong ones"], ...names.map((name) => [`=${name}`, name])].filter(Boolean);
  const list = h("div", { class: "rows", role: "list", named: "Texts", order: 0, style: { height: `min(22rem, ${ROW * each.length}px)` } });
  const count = h("span", { class: "muted", role: "status" });
  let needle = state.search, rows = [];
  const show = () => {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 6), last = first + Math.ceil((list.clientHeight || 352) / ROW) + 12;
    scrolled.set(view, list.scrollTop);
    const shown = rows.slice(first, last).map((i, k) => answerRow(each[i], i, (first + k) * ROW, state, set));
    fill(list, [h("div", { style: { height: `${rows.length * ROW}px` } }), shown]);
  };
  const passes = (e) => !state.filter || (state.filter === "!" ? isWrong(e) : e.headline === state.filter.slice(1));
  const choose = () => {
    const wanted = needle.toLowerCase(), key = SORTS[state.sort] ?? SORTS.number;
    rows = each.flatMap((e, i) => (passes(e) && textsOf(e).some((text) => text.toLowerCase().includes(wanted)) ? [[i, key(e, i)]] : []));
    rows = rows.sort(([i, a], [j, b]) => (a < b ? -1 : a > b ? 1 : i - j)).map(([i]) => i);
    count.textContent = `${rows.length} of ${each.length}`;
    show();
  };
  list.addEventListener("scroll", show);
  const on = { input: (event) => ((needle = event.target.value), choose()), change: () => set({ search: needle }) };
  const search = h("input", { type: "search", placeholder: "Search", named: "Search the texts", key: "search", value: needle, on });
  const menus = [menu("Sort by", Object.keys(SORTS), state.sort, (sort) => set({ sort })), menu("Show", filters, state.filter, (filter) => set({ filter }))];
  const top = scrolled.get(view) ?? 0;
  choose();
  queueMicrotask(() => (list.scrollTop = top));
  return h("nav", { class: "texts", named: "Texts" }, div("tools", search, menus, count), list);
}

function answerRow(e, i, top, state, set) {
  const wrong = isWrong(e), truth = e.label !== null && small(wrong ? " ✗ " : " ✓ ", bdi(e.label));
  const open = button("", { class: "answer-row", pressed: state.target === i, key: `row:${i}`, click: () => set({ target: i }) },
    span("muted", String(i + 1)), span("name", bdi(textsOf(e).join(" ⏎ ").slice(0, 300))), span(wrong ? "wrong negative name" : "name", bdi(e.headline), truth), span("value", e.probability_written));
  return h("div", { role: "listitem", class: "row", style: { top: `${top}px` } }, open);
}
