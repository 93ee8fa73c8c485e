// The text in colours: what is written, as it is written; a unit's colour is its score, and pointing at it tells more.

function textOf(view, v, state, set, links) {
  const peak = peakOf(view, v, state);
  const units = unitsOf(v, state);
  const boxed = answerOf(view, v);
  const passages = v.passages.map((passage) => passageOf(v, passage, state, set, links, peak, boxed));
  const side = v.passages.length === 2 && v.task === "text2text-generation" ? " side" : "";
  const beyond = v.tokens.length > units.length * 50 ? null : specialRemark(units, state);
  return h("section", { class: `text${side}`, "data-picture": "Text", "aria-label": "Text" }, h("div", { class: "passages" }, passages), legend(peak, v.places), beyond);
}

function passageOf(v, passage, state, set, links, peak, boxed) {
  const runs = runsOf(passage, state).filter((run) => run.text || (state.special && run.tokens.length));
  let first = true;
  const drawn = runs.map((run) => {
    if (run.unread) return h("span", { class: "unread", title: "not read by the model" }, run.text);
    if (!run.tokens.length) return run.text;
    const t = Math.abs(run.score) >= state.threshold * peak ? strength(run.score, peak) : 0;
    const seen = Math.abs(t) >= FAINT;
    const inBox = boxed && boxed.segment === passage.segment && run.start >= boxed.start && run.end <= boxed.end && run.text;
    const kind = ["link", "unit", run.text ? "" : "special", seen ? "tint" : "", seen && t < 0 ? "negative" : "", inBox ? "answer" : "", blank(run.text) ? "blank" : ""];
    const span = h("span", {
      class: kind.filter(Boolean).join(" "), style: seen ? tinted(t) : {}, role: "button", tabindex: first ? "0" : "-1", "data-key": `text:${passage.segment}:${run.tokens[0]}`,
      "aria-label": `${label(run.label)} ${signed(run.score, v.places)}`, "data-sign": blank(run.text) ? label(run.text) : null, "data-token": run.text ? null : label(run.label),
      "aria-pressed": String(state.pinned?.includes(run.tokens[0]) ?? false), own: { pellucidRun: run, pellucidSegment: passage.segment },
    }, run.text);
    first = false;
    return links.add(span, run.tokens);
  });
  const role = v.passages.length > 1 ? h("p", { class: "eyebrow role" }, passage.role[0].toUpperCase() + passage.role.slice(1)) : null;
  return h("div", { class: "held" }, role, h("div", { class: "reading", dir: "auto", lang: "" }, drawn));
}

const blank = (text) => text !== "" && !text.trim();

/** Where the predicted answer of a question stands: from the start's token to the end's. */
function answerOf(view, v) {
  if (v.task !== "question-answering") return null;
  const places = view.explanations.filter((e) => e.task === v.task).map((e) => e.tokens[e.target.position]).filter((t) => t?.span);
  if (!places.length) return null;
  const segment = places[0].segment;
  return { segment, start: Math.min(...places.map((t) => t.span[0])), end: Math.max(...places.map((t) => t.span[1])) };
}

/** Says so where a special token carries more than any word. */
function specialRemark(units, state) {
  const most = (items) => items.reduce((a, b) => (!a || Math.abs(b.score) > Math.abs(a.score) ? b : a), null);
  const [special, own] = [most(units.filter((u) => u.special)), most(units.filter((u) => !u.special))];
  if (!special || !own || Math.abs(special.score) <= Math.abs(own.score)) return null;
  const hidden = state.special ? "" : " Special tokens are hidden now.";
  return h("p", { class: "remark" }, "The special token ", bdi(special.label), ` carries the most: ${signed(special.score)}, before `, bdi(own.label), ` with ${signed(own.score)}.${hidden}`);
}

function legend(peak, digits) {
  const steps = [-1, -0.75, -0.5, -0.25, -0.1, 0, 0.1, 0.25, 0.5, 0.75, 1];
  const ends = [`${signed(-peak, digits)} lowers the output`, "0", `${signed(peak, digits)} raises it`];
  return h("div", { class: "legend", role: "img", "aria-label": `Colour scale: ${ends.join(", ")}` }, h("div", { class: "swatches" }, steps.map((t) => h("span", { class: "tint", style: tinted(t) }))), h("div", { class: "ends" }, ends.map((end) => h("span", {}, end))));
}

/** The controls over the text. */
function toolsOf(state, set) {
  const threshold = h("label", { class: "slider" }, h("span", {}, "Threshold"), h("input", {
    type: "range", min: 0, max: 100, value: Math.round(100 * state.threshold), "aria-label": "Threshold, in percent of the strongest", "data-key": "threshold",
    on: { input: (event) => set({ threshold: event.target.value / 100 }) },
  }), h("output", {}, `${Math.round(100 * state.threshold)} %`));
  const help = state.level !== "spans" ? null : h("p", { class: "muted hint", role: "status" }, state.from ? "Now choose the last token of the span." : "Choose the first token of a span, then its last; or draw over the text. Choose a span to remove it.");
  return h("div", { class: "tools" }, choice("Unit", LEVELS, state.level, (level) => set({ level, from: null, pinned: null })), toggle("Special tokens", state.special, (special) => set({ special }), "Tokens that the tokenizer added, such as [CLS]"), threshold, help);
}

/** The state after a token was chosen while spans are drawn: the first of a span, its last, or a span to remove. */
function spanned(state, element, from = null) {
  const { pellucidRun: run, pellucidSegment: segment } = element;
  if (run.span) return { spans: state.spans.filter((span) => !run.span.every((x, i) => x === span[i])), from: null };
  const begun = from ?? state.from;
  if (!begun || begun[0] !== segment) return { from: [segment, run.start, run.end] };
  const span = [segment, Math.min(begun[1], run.start), Math.max(begun[2], run.end)];
  const apart = state.spans.filter(([s, a, b]) => s !== segment || b <= span[1] || a >= span[2]);
  return { spans: [...apart, span].sort((a, b) => a[0] - b[0] || a[1] - b[1]), from: null };
}

/** What is told of the unit that is pointed at: its score, share, rank and pieces. */
function detailOf(v, state, tokens) {
  if (!tokens.length) return [h("span", { class: "muted" }, "Point at a word, tap it, or reach it by the tab and arrow keys.")];
  const units = unitsOf(v, state);
  const unit = units.find((u) => u.tokens.includes(tokens[0])) ?? null;
  if (!unit) return [];
  const score = sum(unit.tokens.map((i) => v.tokens[i].score));
  const change = v.sum.terms[3].value - v.sum.terms[0].value;
  const [rank, of] = rankOf(unit, units);
  const pieces = unit.tokens.map((i) => v.tokens[i]);
  const error = unit.error ? ` ± ${plain(unit.error, v.places)}` : "";
  const share = change && v.sum.promised ? [h("span", {}, `${percent(score / change)} of the change`)] : [];
  return [
    h("strong", {}, bdi(unit.label)), h("span", { class: `value ${score < 0 ? "negative" : "positive"}` }, signed(score, v.places) + error), ...share,
    h("span", {}, unit.special ? "special token" : `rank ${rank} of ${of}`),
    pieces.length > 1 ? h("span", { class: "pieces" }, pieces.slice(0, 12).map((t) => h("span", {}, bdi(t.text), ` ${signed(t.score, v.places)} `)), pieces.length > 12 ? `… ${pieces.length} tokens` : null) : h("span", { class: "muted" }, "token ", bdi(pieces[0].written), ` · id ${pieces[0].id}`),
  ];
}
