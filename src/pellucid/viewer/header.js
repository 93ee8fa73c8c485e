// The header: what was predicted, the true label, every target to choose from, the classes and their probabilities.

function headerOf(view, v, state, set, options) {
  const chance = v.probability === null ? null : h("span", { class: "chance" }, v.probability_written);
  const heading = h("p", { class: "title", role: "heading", "aria-level": "2" }, bdi(v.headline), chance);
  const kind = v.prediction === null ? "Explained" : "Prediction";
  return h("header", {}, options.heading === false ? null : [h("p", { class: "eyebrow" }, kind), heading], truth(v), factsOf(v), classes(v, view, set, options), targets(view, state, set));
}

function truth(v) {
  if (v.label === null) return null;
  const right = v.label === v.prediction;
  const told = right ? "as predicted" : "not what was predicted";
  return h("p", { class: `truth ${right ? "right" : "wrong"}` }, h("span", { "aria-hidden": "true" }, right ? "✓ " : "✗ "), "true label ", h("strong", {}, bdi(v.label)), h("span", { class: "muted" }, ` – ${told}`));
}

function factsOf(v) {
  return h("dl", { class: "facts" }, v.facts.map((fact) => h("div", {}, h("dt", {}, fact.name), h("dd", {}, bdi(fact.value)))));
}

/** All classes with their probabilities: a bar each; one that is explained, or that the page can ask for, is a button. */
function classes(v, view, set, options) {
  const known = Object.entries(v.probabilities ?? {});
  if (known.length < 2) return null;
  const shown = known.sort((a, b) => b[1] - a[1]).slice(0, 12);
  const row = ([name, p]) => {
    const at = view.explanations.findIndex((e) => e.target.name === name);
    const content = [h("span", { class: "name" }, bdi(name)), h("span", { class: "meter" }, h("span", { style: { width: `${100 * p}%` } })), h("span", { class: "value" }, percent(p))];
    const can = at >= 0 || options.onTarget;
    const choose = () => (at >= 0 ? set({ target: at, pinned: null }) : options.onTarget(name));
    const now = String(v.target.name === name);
    return can ? h("button", { type: "button", class: "class", "aria-pressed": now, "data-key": `class:${name}`, on: { click: choose } }, content) : h("div", { class: "class", "aria-current": now }, content);
  };
  const rest = known.length - shown.length;
  return h("div", { class: "classes", role: "group", "aria-label": "Classes and their probabilities" }, shown.map(row), rest ? h("p", { class: "muted" }, `… and ${rest} more`) : null);
}

/** A tab for each explanation of the same input; "both" where there are a start and an end. */
function targets(view, state, set) {
  const each = view.explanations;
  if (each.length < 2 || !view.same_input) return null;
  if (view.generations.length && each.length > 8) return null; // the matrix below is their list
  const differing = view.differing.filter((name) => name !== "target" && name !== "passes");
  const name = (e, i) => [e.target.name + (e.place ? ` at ${e.place}` : ""), ...differing.map((n) => view.own[i][view.differing.indexOf(n)])].join(" · ");
  const options = each.map((e, i) => [i, label(name(e, i))]);
  if (answers(each)) options.push(["both", "both"]);
  const scale = choice("Colour scale", [["each", "own scale"], ["one", "one scale"]], state.scale, (scale) => set({ scale }));
  const pick = options.length > 12 ? menu("Target", options, state.target, (i) => set({ target: Number(i) || 0, pinned: null })) : choice("Target", options, state.target, (target) => set({ target, pinned: null }));
  return h("div", { class: "targets" }, pick, scale);
}

/** Whether the explanations are of an answer's start and its end, by one method. */
function answers(each) {
  return each.length === 2 && each[0].task === "question-answering" && each[0].method === each[1].method && each[0].tokens.length === each[1].tokens.length;
}
