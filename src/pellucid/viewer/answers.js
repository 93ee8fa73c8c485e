// Many texts: a list that can be searched, filtered and sorted. Only the rows that are in sight are in the page.

const ROW = 44; // pixels
const scrolled = new WeakMap();
const SORTS = { number: (e, i) => i, text: (e) => e.passages[0]?.text ?? "", prediction: (e) => e.headline, label: (e) => e.label ?? "", "probability, low first": (e) => e.probability ?? 0, "probability, high first": (e) => -(e.probability ?? 0) };

function answersOf(view, state, set) {
  const each = view.explanations;
  if (each.length < 2 || view.same_input) return null;
  const names = [...new Set(each.map((e) => e.headline))].sort().slice(0, 50);
  const filters = [["", "all"], ...(each.some((e) => e.label !== null) ? [["!", "wrong ones"]] : []), ...names.map((name) => [`=${name}`, name])];
  const list = h("div", { class: "rows", role: "list", "aria-label": "Texts", tabindex: "0" });
  const count = h("span", { class: "muted", role: "status" });
  let needle = state.search ?? "", rows = [];
  const fill = () => {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 6), last = Math.min(rows.length, first + Math.ceil((list.clientHeight || 352) / ROW) + 12);
    scrolled.set(view, list.scrollTop);
    list.replaceChildren(h("div", { style: { height: `${rows.length * ROW}px` } }), ...rows.slice(first, last).map((i, k) => answerRow(each[i], i, (first + k) * ROW, state, set)));
  };
  const choose = () => {
    const wanted = needle.toLowerCase(), key = SORTS[state.sort] ?? SORTS.number;
    rows = each.map((_, i) => i).filter((i) => (!state.filter || (state.filter === "!" ? each[i].label !== null && each[i].label !== each[i].prediction : each[i].headline === state.filter.slice(1))) && (!wanted || each[i].passages.some((p) => p.text.toLowerCase().includes(wanted))));
    const by = new Map(rows.map((i) => [i, key(each[i], i)]));
    rows.sort((i, j) => (by.get(i) < by.get(j) ? -1 : by.get(i) > by.get(j) ? 1 : i - j));
    count.textContent = `${rows.length} of ${each.length}`;
    fill();
  };
  list.addEventListener("scroll", fill);
  const search = h("input", { type: "search", placeholder: "Search", "aria-label": "Search the texts", "data-key": "search", value: needle, on: { input: (event) => ((needle = event.target.value), choose()), change: () => set({ search: needle }) } });
  const sort = menu("Sort by", Object.keys(SORTS).map((name) => [name, name]), state.sort, (sort) => set({ sort }));
  const filter = menu("Show", filters, state.filter, (filter) => set({ filter }));
  const top = scrolled.get(view) ?? 0;
  choose();
  queueMicrotask(() => (list.scrollTop = top));
  return h("nav", { class: "texts", "aria-label": "Texts" }, h("div", { class: "tools" }, search, sort, filter, count), list);
}

function answerRow(e, i, top, state, set) {
  const wrong = e.label !== null && e.label !== e.prediction;
  const text = e.passages.map((p) => p.text).join(" ⏎ ").slice(0, 300);
  const open = button("", { class: "answer-row", "aria-pressed": String(state.target === i), "data-key": `row:${i}`, on: { click: () => set({ target: i, pinned: null }) } }, h("span", { class: "muted" }, String(i + 1)), h("span", { class: "name" }, bdi(text)), h("span", { class: wrong ? "wrong name" : "name" }, bdi(e.headline), e.label === null ? null : h("small", {}, wrong ? " ✗ " : " ✓ ", bdi(e.label))), h("span", { class: "value" }, e.probability_written));
  return h("div", { role: "listitem", class: "row", style: { top: `${top}px` } }, open);
}
