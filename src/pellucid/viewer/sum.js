// The sum as a waterfall, in words first; and what the words of the proof mean.

const STEPS = 7;
const drawSum = (v, state, api) => {
  const [baseline, contributions, residual, output] = v.sum.terms;
  const strongest = v.ranking.slice(0, STEPS).map((i) => v.words[i]);
  const rest = contributions.value - strongest.reduce((sum, w) => sum + w.score, 0);
  const parts = [...strongest.map((w) => ({ name: named(w.text), value: w.score, tokens: w.tokens }))];
  if (v.words.length > strongest.length) parts.push({ name: "all the rest", value: rest, tokens: null });
  let level = baseline.value;
  const steps = [{ name: "baseline", from: 0, to: baseline.value, whole: true }];
  for (const p of parts) { steps.push({ ...p, from: level, to: level + p.value }); level += p.value; }
  steps.push({ name: "output", from: 0, to: output.value, whole: true });
  const moving = steps.flatMap((s) => (s.whole ? [s.to] : [s.from, s.to]));
  const low = Math.min(...moving), high = Math.max(...moving), range = high - low || 1;
  const x = (value) => 4 + (92 * (value - low)) / range;
  const rows = steps.map((s) => {
    const from = s.whole ? low : s.from;
    const [a, b] = [x(Math.min(from, s.to)), x(Math.max(from, s.to))];
    const kind = s.whole ? "whole" : s.to < s.from ? "negative" : "positive";
    return el("li", s.tokens ? { onpointerenter: () => api.highlight(s.tokens), onpointerleave: () => api.highlight(null) } : {},
      el("span.name", {}, el("bdi", {}, s.name)),
      el("span.track", { "aria-hidden": "true" }, el(`span.bar.${kind}`, { style: { left: `${a}%`, width: `${Math.max(0.4, b - a)}%` } })),
      el("data", { value: String(s.whole ? s.to : s.value) }, s.whole ? unsigned(s.to, v.places) : signed(s.value, v.places)));
  });
  const up = strongest.filter((w) => w.score > 0).slice(0, 3).map((w) => named(w.text));
  const down = strongest.filter((w) => w.score < 0).slice(0, 2).map((w) => named(w.text));
  const list = (words) => words.map((w, i) => [i ? (i === words.length - 1 ? " and " : ", ") : "", el("q", {}, el("bdi", {}, w))]).flat();
  const sentence = el("p.lead", {}, `With the ${v.baseline || "baseline"} baseline in place of the text, the output for `, el("b", {}, el("bdi", {}, v.target.name)), ` is ${baseline.written}. `,
    up.length ? [...list(up), up.length > 1 ? " raise it most" : " raises it most"] : "No word raises it", down.length ? ["; ", ...list(down), down.length > 1 ? " lower it" : " lowers it"] : "", `. Together the words lead to ${output.written}.`);
  const four = el("p.four", {}, v.sum.terms.map((t, i) => [el("span.term", {}, el("data", { value: String(t.value) }, t.written), el("small", {}, t.name)), i < 3 ? el("span.sign", {}, ["+", "+", "="][i]) : null]));
  const proof = el("dl.facts", {}, [{ name: "status", value: v.status.name, about: v.status.message }, ...v.proof.filter((f) => f.name !== "status").map((f) => ({ ...f, about: MEANING[f.name] }))]
    .map((f) => el("div", {}, el("dt", {}, f.about ? el("button.term-of", { type: "button", title: f.about, "aria-label": `${f.name}: ${f.about}` , onclick: (e) => explainInPlace(e.target, f.about) }, f.name) : f.name), el("dd", {}, el("bdi", {}, f.value)))));
  const node = section("The sum", null, sentence, el("ol.bars.waterfall", {}, rows), four, el(`p.verdict${v.sum.complete ? "" : ".caution"}`, {}, v.sum.verdict),
    v.notes.length ? el("ul.notes", {}, v.notes.map((n) => el("li", {}, n))) : null, proof,
    el("details", {}, el("summary", {}, "How to read this"), el("p", {},
      "Pellucid compares the model's output on your text with its output on a baseline, the same text with its words replaced. Each word's score is its part of the difference: blue words raise the output, orange words lower it. The scores, with a residual that shows how exact they are, add up to the difference.")));
  return node;
};

const MEANING = {
  "relative delta": "The residual as a share of the change in the output: what the scores leave unexplained.",
  passes: "How many times a text of this length went through the model to get the answer.",
  residual: "The change in the output less the sum of the scores.",
};
const explainInPlace = (button, about) => {
  const holder = button.closest("dl");
  const old = holder.nextElementSibling?.classList.contains("remark") ? holder.nextElementSibling : null;
  if (old) old.remove();
  if (old?.textContent !== about) holder.after(el("p.remark", { role: "status" }, about));
};
