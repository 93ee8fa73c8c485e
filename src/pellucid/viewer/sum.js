// The sum, first in words, then as a waterfall from the baseline's output to the input's, then the four numbers.

const MOST = 8; // units with a step of their own

function sumOf(v, state, links) {
  const units = unitsOf(v, state).sort((a, b) => Math.abs(b.score) - Math.abs(a.score));
  const own = units.filter((u) => !u.special);
  const named = own.slice(0, MOST).filter((u) => u.score);
  const others = own.slice(named.length);
  const special = units.filter((u) => u.special);
  const [base, , left, out] = v.sum.terms;
  const steps = [
    { name: `${v.baseline} baseline`, whole: base.value, written: base.written },
    ...named.map((u) => ({ unit: u, name: u.label, change: u.score })),
    ...(others.length ? [{ name: `${others.length} other ${others.length === 1 ? "one" : "ones"}`, change: sum(others.map((u) => u.score)) }] : []),
    ...(special.length ? [{ name: "special tokens", change: sum(special.map((u) => u.score)) }] : []),
    { name: "residual", change: left.value },
    { name: "output", whole: out.value, written: out.written },
  ];
  return section("The sum", inWords(v, named, others, special), waterfall(steps, v, links), equation(v), verdictOf(v), standing(v), howToRead(v));
}

function inWords(v, named, others, special) {
  const [base, , , out] = v.sum.terms;
  const list = named.slice(0, 3).map((u, i) => [i ? ", " : "", h("strong", {}, bdi(u.label)), ` ${signed(u.score, v.places)}`]);
  const rest = named.length + others.length + special.length - list.length;
  return h("p", { class: "lead" }, `With the ${v.baseline} baseline in place of the words the output is ${base.written}. The words that are there move it to ${out.written}`, list.length ? [": ", list, rest > 0 ? `, and ${rest} more.` : "."] : ".");
}

function waterfall(steps, v, links) {
  let at = 0;
  const placed = steps.map((step) => {
    const from = step.whole === undefined ? at : 0;
    at = step.whole === undefined ? at + (step.change ?? 0) : (step.whole ?? 0);
    return { ...step, from, to: at };
  });
  const ends = placed.flatMap((step, i) => (step.whole === undefined ? [step.from, step.to] : [step.to]));
  const low = Math.min(...ends), high = Math.max(...ends);
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  const where = (x) => (100 * (x - low + room)) / (high - low + 2 * room);
  const rows = placed.map((step) => {
    const total = step.whole !== undefined;
    const [a, b] = total ? [where(step.to), where(step.to)] : [Math.min(where(step.from), where(step.to)), Math.max(where(step.from), where(step.to))];
    const sign = total ? "total" : step.change < 0 ? "negative" : "positive";
    const value = total ? step.written : signed(step.change, v.places);
    const bar = h("span", { class: `bar ${sign}`, style: { left: `${a}%`, width: total ? "3px" : `max(1px, ${b - a}%)` } });
    const row = h("li", { class: `${total ? "whole" : ""}${step.unit ? " link" : ""}`, tabindex: step.unit ? "-1" : null }, h("span", { class: "name" }, bdi(step.name)), h("span", { class: "track", "aria-hidden": "true" }, bar), h("data", { value: total ? step.whole : step.change }, value));
    return step.unit ? links.add(row, step.unit.tokens) : row;
  });
  const first = rows.find((row) => row.classList.contains("link"));
  if (first) first.tabIndex = 0;
  return h("ol", { class: "bars waterfall" }, rows);
}

function equation(v) {
  const signs = ["", " + ", " + ", " = "];
  return h("p", { class: "equation" }, v.sum.terms.map((t, i) => h("span", { class: "step" }, h("span", { class: "sign" }, signs[i]), h("span", { class: "term" }, h("data", { value: t.value, title: t.value }, t.written), h("span", {}, t.name)))));
}

function verdictOf(v) {
  const notes = v.notes.length ? h("ul", { class: "notes" }, v.notes.map((note) => h("li", {}, bdi(note)))) : null;
  return [h("p", { class: v.sum.complete ? "verdict" : "verdict caution" }, v.sum.verdict), notes];
}

/** Relative delta, passes and status, each with what it means. */
function standing(v) {
  const means = {
    "relative delta": "The residual over the change in the output. About 1e-7 is what rounding leaves.",
    passes: "How many times the model was run on a row, forward or forward and backward.",
    status: `${v.status.message} The scores come from ${v.status.obtained}.`,
  };
  return h("dl", { class: "facts" }, v.proof.map((fact) => h("div", {}, h("dt", {}, fact.name), h("dd", {}, means[fact.name] ? term(fact.value, means[fact.name]) : fact.value))));
}

function howToRead(v) {
  const start = `The output is compared with what the model says when the text is replaced by the ${v.baseline} baseline.`;
  return h("details", {}, h("summary", { "data-key": "how" }, "How to read it"), h("p", { class: "verdict" }, `${start} Each score says by how much one unit of the text moves the output, up (blue) or down (orange). Baseline, scores and residual together are the output, so a small residual proves that nothing was left out.`));
}
