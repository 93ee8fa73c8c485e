// The sum, first in words, then as a waterfall from the baseline's output to the input's, then the four numbers.

const MOST = 8; // units with a step of their own

function sumOf({ v, state, links }) {
  const units = ranked(numbered(unitsOf(v, state))), own = units.filter((u) => !u.special), special = units.filter((u) => u.special);
  const named = own.slice(0, MOST).filter((u) => u.score), others = own.slice(named.length);
  const [base, , left, out] = v.sum.terms, total = (of) => sum(of.map((u) => u.score));
  const steps = [
    { name: `${v.baseline} baseline`, whole: base.value, written: base.written },
    ...named.map((u) => ({ ...u, change: u.score })),
    others.length && { name: `${others.length} more`, change: total(others) },
    special.length && { name: "special tokens", change: total(special) },
    state.level !== "sentences" && v.kept?.count && { name: "tokens left out", change: v.kept.sum },
    { name: "residual", change: left.value },
    { name: "output", whole: out.value, written: out.written },
  ].filter(Boolean);
  return section("The sum", inWords(v, named, others.length + special.length), waterfall(steps, v, links), equation(v), par(v.sum.complete ? "verdict" : "verdict caution", v.sum.verdict), factsOf(v.proof.map(({ name, value, meaning }) => [name, meaning ? term(value, meaning) : value])));
}

function inWords(v, named, others) {
  const [base, , , out] = v.sum.terms, told = named.slice(0, 3);
  const list = told.map((u, i) => [i ? ", " : ": ", strong(bdi(u.name)), ` ${signed(u.score, v.places)}`]);
  const start = `With the ${v.baseline} baseline in place of the words the output is ${base.written}. The words that are there move it to ${out.written}`;
  return par("lead", start, list, list.length && (named.length > 3 || others) ? ", and the rest as below." : ".");
}

function waterfall(steps, v, links) {
  let at = 0;
  const placed = steps.map((step) => {
    const from = at;
    at = step.whole === undefined ? at + (step.change ?? 0) : (step.whole ?? 0);
    return { ...step, from, to: at };
  });
  const ends = placed.map((step) => step.to), low = Math.min(...ends), high = Math.max(...ends);
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  const where = (x) => (100 * (x - low + room)) / (high - low + 2 * room);
  const rows = placed.map((step, i) => {
    const { whole, change, from, to } = step, total = whole !== undefined, kind = total ? "total" : signOf(change);
    return barRow(links, step, kind, [where(total ? to : from), where(to)], total ? whole : change, total ? step.written : signed(change, v.places), i - 1);
  });
  return h("ol", { class: "bars waterfall" }, rows);
}

function equation(v) {
  const term = (t) => span("term", h("data", { value: t.value, title: t.value }, t.written), span("", t.name));
  return par("equation", v.sum.terms.map((t, i) => span("step", i && span("sign", "++="[i - 1]), term(t))));
}
