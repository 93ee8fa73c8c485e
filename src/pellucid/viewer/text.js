// The text in colours, as it is written; pointing at a unit tells more.

function textOf({ view, v, state, links }) {
  if (v.grid) return;
  const peak = peakOf(view, v, state);
  const passages = v.passages.map((passage) => passageOf(v, passage, state, links, peak, view.answer ?? []));
  const side = v.passages.length > 1 && v.task === "text2text-generation" ? " side" : "";
  const hidden = state.special ? "" : " Special tokens are hidden now.";
  const how = h("details", {}, h("summary", { key: "how" }, "How to read it"), par("verdict", v.reading));
  const remark = v.remark && par("remark", bdi(v.remark), hidden);
  return h("section", { class: `text${side}`, "data-picture": "Text", named: "Text" }, div("passages", passages), left(v), legend(peak, v.places), remark, how);
}

function left({ kept, places }) {
  if (kept?.count) return par("muted left", `Left out of this page: ${kept.count} tokens, each of at most ${plain(kept.largest, places)}, ${signed(kept.sum, places)} together. Every sentence has its whole score.`);
}

function passageOf(v, passage, state, links, peak, [segment, from, to]) {
  let order = 0;
  const drawn = runsIn(v, passage, state).map((run) => {
    const [kind, title] = run.unread ? ["unread", "not read by the model"] : run.tokens.length && isLater(v, run) ? ["muted later", "not yet there"] : run.score === null ? ["muted later", "left out of this page"] : [];
    if (kind || !run.tokens.length) return kind ? h("span", { class: kind, title }, run.text) : run.text;
    const t = Math.abs(run.score) >= state.threshold * peak ? strength(run.score, peak) : 0;
    const seen = Math.abs(t) >= FAINT, blank = run.text !== "" && !run.text.trim();
    const inBox = run.text && segment === passage.segment && run.start >= from && run.end <= to;
    const kinds = { special: !run.text, tint: seen, negative: seen && t < 0, answer: inBox, blank };
    const unit = h("span", {
      class: ["link unit", ...Object.keys(kinds).filter((name) => kinds[name])].join(" "), style: seen ? tinted(t) : {}, role: "button", order: order++,
      key: `text:${passage.segment}:${run.tokens[0]}`, named: `${label(run.label)} ${signed(run.score, v.places)}`,
      "data-sign": blank ? label(run.text) : null, "data-token": run.text ? null : label(run.label),
      pressed: state.pinned.includes(run.tokens[0]), own: { pellucidRun: run, pellucidSegment: passage.segment },
    }, run.text);
    return links.add(unit, run.tokens);
  });
  const role = v.passages.length > 1 && par("eyebrow role", passage.role);
  return div("held", role, h("div", { class: "reading", dir: "auto", lang: "" }, drawn));
}

/** The runs of a text that are drawn; an image is one, whose patches are drawn apart. */
function runsIn(v, passage, state) {
  const maps = v.maps.filter((map) => map.segment === passage.segment), score = maps.reduce((sum, map) => sum + map.score, 0);
  if (maps.length) return [{ text: "", label: `${passage.text} ${signed(score, v.places)}`, tokens: maps.flatMap((map) => map.tokens), score }];
  return runsOf(passage, state).filter((run) => run.text || (state.special && run.tokens.length));
}

function legend(peak, digits) {
  const steps = [-1, -0.75, -0.5, -0.25, -0.1, 0, 0.1, 0.25, 0.5, 0.75, 1].map((t) => chipOf("", t * peak, peak, digits));
  const ends = [`${signed(-peak, digits)} lowers the output`, "0", `${signed(peak, digits)} raises it`];
  return h("div", { class: "legend", role: "img", named: `Colour scale: ${ends.join(", ")}` }, div("swatches", steps), div("ends", ends.map((end) => span("", end))));
}

function toolsOf({ v, state, set }) {
  const told = state.from.length ? "Now choose the last token of the span." : "Choose a span's first token, then its last, or draw over the text; choose a span to remove it.";
  const hint = state.level === "spans" && h("p", { class: "muted hint", role: "status" }, told);
  const special = toggle("Special tokens", state.special, (special) => set({ special }));
  const threshold = slider("Threshold", "Threshold, in percent of the strongest", state.threshold, (threshold) => set({ threshold }));
  return div("tools", choice("Unit", levelsOf(v), state.level, (level) => set({ level, from: [], pinned: [] })), special, threshold, hint);
}

/** The state after a token was chosen for a span: its first, its last, or a span to remove. */
function spanned(state, element, from = state.from) {
  const { pellucidRun: run, pellucidSegment: segment } = element;
  if (run.span) return { spans: state.spans.filter((own) => !run.span.every((x, i) => x === own[i])), from: [] };
  if (from[0] !== segment) return { from: [segment, run.start, run.end] };
  const made = [segment, Math.min(from[1], run.start), Math.max(from[2], run.end)];
  const apart = state.spans.filter(([other, a, b]) => other !== segment || b <= made[1] || a >= made[2]);
  return { spans: [...apart, made].sort((a, b) => a[0] - b[0] || a[1] - b[1]), from: [] };
}

/** What is told of the unit that is pointed at: its score, share, rank and pieces. */
function detailOf(v, state, tokens) {
  if (!tokens.length) return [span("muted", "Point at a word, tap it, or reach it by the tab and arrow keys.")];
  const units = unitsOf(v, state), unit = units.find((u) => u.tokens.includes(tokens[0]));
  if (!unit) return [];
  const { score } = unit, change = changeOf(v);
  const [rank, of] = rankOf(unit, units), pieces = unit.tokens.map((i) => v.tokens[i]), known = pieces.filter((t) => t.score !== null).slice(0, 12);
  const value = span(`value ${signOf(score)}`, writtenOf(unit, v));
  const share = change && v.sum.promised && span("", `${percent(score / change)} of the change`);
  const several = pieces.length > known.length && `… ${pieces.length} tokens`;
  const made = pieces.length > 1 ? span("pieces", known.map((t) => span("", bdi(t.text), ` ${signed(t.score, v.places)} `)), several) : span("muted", `token id ${pieces[0].id}`);
  return [strong(bdi(unit.label)), value, share, span("", unit.special ? "special token" : !v.kept && `rank ${rank} of ${of}`), made];
}
