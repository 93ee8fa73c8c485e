// The text in colour: words, tokens, sentences or spans drawn by hand; one word read out in full.

const levelOf = (passage, level) => passage[level] ?? passage.words;
const scoreOf = (v, tokens) => tokens.reduce((sum, t) => sum + v.tokens[t].score, 0);
const total = (v) => v.tokens.reduce((sum, t) => sum + Math.abs(t.score), 0);

// One line on a run: its score, share of all influence, rank among the words, and its pieces.
const told = (v, run) => {
  const item = v.words.findIndex((w) => w.tokens.length === run.tokens.length && w.tokens.every((t, i) => t === run.tokens[i]));
  const rank = v.ranking.indexOf(item);
  const all = total(v);
  const weight = run.tokens.reduce((sum, t) => sum + Math.abs(v.tokens[t].score), 0);
  const pieces = run.tokens.length > 1 && run.tokens.length <= 12
    ? ` · pieces ${run.tokens.map((t) => `${named(v.tokens[t].text)} ${signed(v.tokens[t].score, v.places)}`).join(", ")}` : "";
  return `${named(run.label || run.text)} ${signed(run.score, v.places)}${run.error ? ` ± ${unsigned(run.error, v.places)}` : ""}` +
    `${all ? ` · ${percent(weight / all)} of all influence` : ""}${rank >= 0 ? ` · rank ${rank + 1} of ${v.ranking.length}` : ""}${pieces}`;
};

const drawText = (v, state, api) => {
  const level = state.level;
  const peak = state.peak ?? (level === "words" ? v.peak : v.peaks[level]) ?? v.peak;
  const say = el("p.readout", { "aria-live": "polite" }, "\u00a0");
  const runs = [];
  const spanOf = (run, passage) => {
    if (run.unread) return el("span.unread", { title: "not read by the model" }, run.text);
    if (!run.tokens.length) return document.createTextNode(run.text);
    if (!run.text && run.special && !state.special) return null;
    const t = strengthOf(run.score, peak);
    const seen = Math.abs(t) >= Math.max(0.02, state.threshold);
    const sign = run.text && run.text.trim() ? null : visible(run.text) || run.label;
    const node = el(`span.run${seen ? ".tint" : ""}${seen && t < 0 ? ".negative" : ""}${run.text ? "" : ".special"}`, {
      role: "button", tabIndex: runs.length ? -1 : 0, "aria-label": `${named(run.label || run.text)}, ${signed(run.score, v.places)}`,
      "aria-pressed": String(state.pinned.join() === run.tokens.join()), "data-score": String(run.score),
      style: seen ? tint(t) : {}, "data-sign": sign,
      onpointerenter: () => api.highlight(run.tokens), onpointerleave: () => api.highlight(null),
      onfocus: () => api.highlight(run.tokens), onblur: () => api.highlight(null),
      onclick: () => api.pin(run.tokens),
      onkeydown: (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (step) { event.preventDefault(); move(runs.findIndex((r) => r.node === node) + step); }
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); api.pin(run.tokens); }
      },
    }, run.text);
    runs.push({ node, run, passage });
    return node;
  };
  const move = (i) => {
    const next = runs[Math.max(0, Math.min(runs.length - 1, i))];
    runs.forEach((r) => (r.node.tabIndex = r === next ? 0 : -1));
    next?.node.focus();
  };
  const texts = v.passages.map((passage) => [
    v.passages.length > 1 ? el("p.eyebrow", {}, passage.role[0].toUpperCase() + passage.role.slice(1)) : null,
    el("div.passage", { dir: "auto", lang: "", "data-segment": String(passage.segment), onpointerup: () => selected(passage) },
      levelOf(passage, level).map((run) => spanOf(run, passage))),
  ]);
  const selected = (passage) => {
    const chosen = api.root.getSelection?.() ?? document.getSelection();
    if (!chosen || chosen.isCollapsed) return;
    const held = runs.filter((r) => r.passage === passage && chosen.containsNode(r.node, true));
    const tokens = held.flatMap((r) => r.run.tokens);
    if (held.length > 1) { chosen.removeAllRanges(); api.span(tokens, held.map((r) => r.run.label || r.run.text).join(" ")); }
  };
  const drawn = state.spans.map((span, i) =>
    el("li", { onpointerenter: () => api.highlight(span.tokens), onpointerleave: () => api.highlight(null) },
      el("bdi", {}, span.name), ` ${signed(scoreOf(v, span.tokens), v.places)} `,
      el("button.small", { type: "button", "aria-label": `Remove the span ${span.name}`, onclick: () => api.unspan(i) }, "×")));
  const heaviest = v.tokens.reduce((best, t) => (Math.abs(t.score) > Math.abs(best.score) ? t : best), v.tokens[0] ?? { score: 0 });
  const hidden = v.tokens.filter((t) => t.special);
  const carried = hidden.reduce((sum, t) => sum + t.score, 0);
  const remark = !state.special && heaviest.special && heaviest.score !== 0
    ? el("p.remark", {}, `The special token ${heaviest.text} carries the most weight (${signed(heaviest.score, v.places)}). `,
        el("button.link", { type: "button", onclick: () => api.set({ special: true }) }, "Show special tokens")) : null;
  const controls = el("div.controls", {},
    choices("What is coloured", [["tokens", "tokens"], ["words", "words"], ["sentences", "sentences"]], level, (level) => api.set({ level })),
    el("label", {}, el("input", { type: "checkbox", checked: state.special, onchange: (e) => api.set({ special: e.target.checked }) }),
      ` special tokens${hidden.length ? ` (${signed(carried, v.places)})` : ""}`),
    el("label", {}, "hide weak ", el("input", { type: "range", min: 0, max: 0.9, step: 0.05, value: state.threshold, "aria-label": "Leave scores below this share of the strongest uncoloured", onchange: (e) => api.set({ threshold: Number(e.target.value) }) })));
  const node = el("div.text", {}, texts, say, remark, drawn.length ? el("ul.spans", { "aria-label": "Spans drawn by hand" }, drawn) : null, controls);
  node.highlight = (tokens) => {
    const held = tokens ?? (state.pinned.length ? state.pinned : null);
    const set = new Set(held ?? []);
    let first = null;
    for (const r of runs) {
      const on = r.run.tokens.some((t) => set.has(t));
      r.node.classList.toggle("on", on);
      if (on) first ??= r.run;
    }
    const known = held && { tokens: [...held], score: scoreOf(v, held), label: held.map((t) => v.tokens[t].text).join(" ") };
    say.textContent = held ? told(v, first && first.tokens.length >= held.length ? first : known) : "\u00a0";
  };
  return node;
};

// The strongest words as bars about a common zero.
const drawRanking = (v, state, api) => {
  const words = (state.special
    ? v.words.map((_, i) => i).sort((a, b) => Math.abs(v.words[b].score) - Math.abs(v.words[a].score))
    : v.ranking).slice(0, state.more ? 100 : 10).map((i) => v.words[i]);
  if (!words.length) return null;
  const low = Math.max(0, ...words.map((w) => -w.score));
  const unit = 100 / (low + Math.max(0, ...words.map((w) => w.score)) || 1);
  const rows = words.map((w) => {
    const width = Math.abs(w.score) * unit;
    const left = (w.score < 0 ? low + w.score : low) * unit;
    const row = el("li", { onpointerenter: () => api.highlight(w.tokens), onpointerleave: () => api.highlight(null) },
      el("button.name", { type: "button", onclick: () => api.pin(w.tokens), onfocus: () => api.highlight(w.tokens), onblur: () => api.highlight(null) },
        el("bdi", {}, named(w.text)), w.repeat ? el("small", {}, ` ${w.repeat}`) : null),
      el("span.track", { "aria-hidden": "true" }, el(`span.bar.${w.score < 0 ? "negative" : "positive"}`, { style: { left: `${left}%`, width: `${width}%` } }), el("span.axis", { style: { left: `${low * unit}%` } })),
      el("data", { value: String(w.score) }, w.written, w.error_written ? el("small", {}, ` ${w.error_written}`) : null));
    row.tokens = w.tokens;
    return row;
  });
  const more = v.ranking.length > 10 ? el("button.link", { type: "button", onclick: () => api.set({ more: !state.more }) }, state.more ? "fewer" : `all ${v.ranking.length} words`) : null;
  const node = section("Strongest words", null, el("ol.bars", {}, rows), more);
  node.highlight = (tokens) => {
    const set = new Set(tokens ?? []);
    rows.forEach((row) => row.classList.toggle("on", row.tokens.some((t) => set.has(t))));
  };
  return node;
};
