// Many texts as a list: search, filter, sort; only the rows in sight are in the document.

const HEIGHT = 34;
const drawList = (view, groups, state, api) => {
  const entries = groups.map((members) => {
    const v = view.explanations[members[0]];
    const top = v.ranking[0] === undefined ? null : v.words[v.ranking[0]];
    return { members, text: v.passages.map((p) => p.text).join(" ¦ "), prediction: v.prediction ?? v.target.name, probability: v.probability, label: v.label, word: top ? `${named(top.text)} ${top.written}` : "", wrong: v.label !== null && v.prediction !== null && v.label !== v.prediction };
  });
  const box = el("div.rows", { tabIndex: 0, role: "region", "aria-label": "Texts" });
  const inner = el("div.inner");
  const count = el("span.readout", { role: "status" });
  const open = groups.findIndex((members) => members.includes(state.index));
  let shown = [];
  const draw = () => {
    const first = Math.max(0, Math.floor(box.scrollTop / HEIGHT) - 5), last = Math.min(shown.length, first + Math.ceil((box.clientHeight || 300) / HEIGHT) + 10);
    inner.style.height = `${shown.length * HEIGHT}px`;
    inner.replaceChildren(...shown.slice(first, last).map((k, i) => {
      const e = entries[k];
      return el(`button.row${k === open ? ".on" : ""}`, { type: "button", style: { top: `${(first + i) * HEIGHT}px` }, "aria-current": k === open ? "true" : null, onclick: () => api.set({ index: e.members[0], compare: null, spans: [], pinned: [] }) },
        el("span.number", {}, String(k + 1)), el("span.what", {}, el("bdi", {}, e.text.slice(0, 200))), el("span", {}, el("bdi", {}, e.prediction)), el("span.number", {}, e.probability === null ? "" : percent(e.probability)),
        el("span", {}, e.label === null ? "" : [e.wrong ? "✗ " : "✓ ", el("bdi", {}, e.label)]), el("span.why", {}, el("bdi", {}, e.word)));
    }));
  };
  const find = () => {
    const wanted = state.query.toLowerCase();
    shown = entries.map((_, k) => k).filter((k) => (!wanted || entries[k].text.toLowerCase().includes(wanted)) && (!state.only || (state.only === "wrong" ? entries[k].wrong : entries[k].prediction === state.only)));
    const key = { order: null, probability: (k) => -(entries[k].probability ?? 0), unsure: (k) => entries[k].probability ?? 0, length: (k) => -entries[k].text.length }[state.sort];
    if (key) shown.sort((a, b) => key(a) - key(b));
    count.textContent = `${shown.length} of ${entries.length}`;
    draw();
  };
  const predictions = [...new Set(entries.map((e) => e.prediction))].slice(0, 50);
  const controls = el("div.controls", {},
    el("input", { type: "search", value: state.query, placeholder: "search", "aria-label": "Search the texts", oninput: (e) => { state.query = e.target.value; find(); } }),
    el("select", { "aria-label": "Show only", onchange: (e) => { state.only = e.target.value; find(); } }, [["", "all"], ...(entries.some((e) => e.wrong) ? [["wrong", "wrong ones"]] : []), ...predictions.map((p) => [p, p])].map(([value, text]) => el("option", { value, selected: value === state.only }, text))),
    el("select", { "aria-label": "Sort by", onchange: (e) => { state.sort = e.target.value; find(); } }, [["order", "in order"], ["probability", "surest first"], ["unsure", "least sure first"], ["length", "longest first"]].map(([value, text]) => el("option", { value, selected: value === state.sort }, text))), count);
  box.append(inner);
  box.addEventListener("scroll", () => { state.scroll = box.scrollTop; draw(); });
  const node = el("nav.list", { "aria-label": "Texts" }, controls, box);
  node.ready = () => { box.scrollTop = state.scroll ?? 0; find(); };
  return node;
};
