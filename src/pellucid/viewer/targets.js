// What was decided, and the explanations to choose from: targets, methods and baselines of one input.

const nameOf = (view, i) => {
  const v = view.explanations[i];
  const own = view.own[i] ?? [];
  return [v.target.name, ...own].filter(Boolean).join(" · ");
};

const drawHeader = (view, state, api) => {
  const v = view.explanations[state.index];
  const wrong = v.label !== null && v.prediction !== null && v.label !== v.prediction;
  const facts = [...v.facts, ...(v.chance_written ? [{ name: "probability", value: v.chance_written }] : [])];
  return el("header", {},
    el("p.eyebrow", {}, v.prediction === null ? "Explained" : "Prediction"),
    el("p.title", { role: "heading", "aria-level": "1" }, el("bdi", {}, v.headline), v.probability === null ? null : el("span.chance", {}, ` ${v.probability_written}`)),
    v.label === null ? null : el(`p.true${wrong ? ".wrong" : ""}`, {}, wrong ? "✗ true label " : "✓ true label ", el("b", {}, el("bdi", {}, v.label))),
    el("dl.facts", {}, facts.map((f) => el("div", {}, el("dt", {}, f.name), el("dd", {}, el("bdi", {}, f.value))))));
};

// Tabs: one for each explanation of this input; the arrow keys move between them.
const drawTabs = (view, state, api, members) => {
  if (members.length < 2) return null;
  const tabs = members.map((i) => {
    const v = view.explanations[i];
    return el("button.tab", {
      type: "button", role: "tab", "aria-selected": String(i === state.index), tabIndex: i === state.index ? 0 : -1,
      onclick: () => api.set({ index: i }, "tab"),
      onkeydown: (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        const next = members[members.indexOf(i) + (step ?? 0)];
        if (step && next !== undefined) { event.preventDefault(); api.set({ index: next }, "tab"); }
      },
    }, el("bdi", {}, nameOf(view, i)), el("small", {}, ` ${v.output_written}${v.chance_written ? ` · ${v.chance_written}` : ""}`));
  });
  const scale = choices("Scale of the colours", [["own", "own scale"], ["shared", "one scale"]], state.scale, (scale) => api.set({ scale }));
  return el("div.targets", {}, el("div.tabs", { role: "tablist", "aria-label": "What is explained" }, tabs), scale);
};

// The scores of several explanations of one text added up, such as start and end of an answer.
const summed = (view, members) => {
  const all = members.map((i) => view.explanations[i]);
  const add = (items) => items[0].map((item, k) => ({ ...item, score: items.reduce((sum, list) => sum + list[k].score, 0), written: undefined }));
  const first = all[0];
  const tokens = add(all.map((v) => v.tokens));
  const of = (item) => ({ ...item, score: item.tokens.reduce((sum, t) => sum + tokens[t].score, 0) });
  const places = first.places;
  const words = first.words.map(of).map((w) => ({ ...w, written: signed(w.score, places) }));
  const passages = first.passages.map((p) => ({ ...p, tokens: p.tokens.map(of), words: p.words.map(of), sentences: p.sentences.map(of) }));
  const ranking = [...first.ranking].sort((a, b) => Math.abs(words[b].score) - Math.abs(words[a].score));
  const top = (items) => Math.max(0, ...items.map((i) => Math.abs(i.score)));
  const terms = first.sum.terms.map((t, k) => { const value = all.reduce((sum, v) => sum + v.sum.terms[k].value, 0); return { name: t.name, value, written: k === 1 ? signed(value, places) : unsigned(value, Math.max(places, 4)) }; });
  return { ...first, tokens, words, passages, ranking, strongest: ranking.slice(0, 5), peak: top(words), peaks: { tokens: top(tokens), words: top(words), sentences: top(first.sentences.map(of)) },
    target: { ...first.target, name: all.map((v) => v.target.name).join(" + ") }, sum: { ...first.sum, terms }, layers: [], parts: null, measures: {}, heads: null, attentions: null };
};
