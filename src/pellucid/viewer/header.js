// The header: what was predicted, the true label, every target to choose from, the classes and their probabilities.

function headerOf(scene) {
  const { v } = scene, eyebrow = par("eyebrow", v.prediction === null ? "Explained" : "Prediction");
  const title = h("p", { class: "title", role: "heading", "aria-level": "2" }, bdi(v.headline), span("chance", v.probability_written));
  const notes = v.notes.length && h("ul", { class: "notes" }, v.notes.map((note) => h("li", {}, bdi(note))));
  return h("header", {}, eyebrow, title, truth(v), factsOf(v.facts.map((fact) => [fact.name, bdi(fact.value)])), classes(scene), targets(scene), notes);
}

function truth(v) {
  if (v.label === null) return;
  const [kind, sign, told] = isWrong(v) ? ["negative", "✗ ", "not what was predicted"] : ["positive", "✓ ", "as predicted"];
  return par(`truth ${kind}`, h("span", { "aria-hidden": "true" }, sign), "true label ", strong(bdi(v.label)), span("muted", ` – ${told}`));
}

const factsOf = (facts) => h("dl", { class: "facts" }, facts.map(([name, content]) => h("div", {}, h("dt", {}, name), h("dd", {}, content))));

/** All classes with their probabilities; one that is explained, or that the page can ask for, is a button. */
function classes({ v, view, set, options }) {
  const known = Object.entries(v.probabilities ?? {}).sort((a, b) => b[1] - a[1]);
  if (known.length < 2) return;
  const row = ([name, chance]) => {
    const at = view.explanations.findIndex((e) => e.target.name === name), pressed = v.target.name === name;
    const click = () => (at >= 0 ? set({ target: at }) : options.onTarget(name));
    return classRow(name, chance, pressed, (at >= 0 || options.onTarget) && { key: `class:${name}`, pressed, click });
  };
  const rest = known.length > 12 && par("muted", `… and ${known.length - 12} more`);
  return group("Classes and their probabilities", "classes", known.slice(0, 12).map(row), rest);
}

/** A name with its probability; asked: how it is chosen, where it can be. */
function classRow(name, share, on, asked) {
  const content = [span("name", bdi(name)), span("meter", h("span", { style: { width: `${100 * share}%` } })), span("value", percent(share))];
  return asked ? button(content, { class: "class", ...asked }) : div(`class${on ? " on" : ""}`, content);
}

/** A tab for each explanation of the same input; "both" where there are a start and an end; the entities of a text. */
function targets({ view, state, set }) {
  const each = view.explanations;
  if (each.length < 2 || !view.same_input || (view.generations.length && each.length > 8 && !view.sources)) return; // the matrix is their list
  const options = view.names.map((name, i) => [i, label(name)]);
  if (view.both) options.push(["both", "both"]);
  const entities = each[0].task === "token-classification" && view.differing.every((name) => name === "target"), among = options.length > 12 ? menu : choice;
  const pick = entities ? chosenOf("Entities", each.map((e, i) => [i, e.tokens[e.target.position]?.text ?? "", e.target.name]), state, set) : among("Target", options, state.target, (target) => set({ target }));
  return div("targets", pick, choice("Colour scale", [["each", "own scale"], ["one", "one scale"]], state.scale, (scale) => set({ scale })));
}

/** Tokens that are explained, as buttons: [explanation, text, told] of each. */
function chosenOf(named, each, state, set) {
  const one = ([i, text, told]) => button(bdi(text), { class: "made", pressed: state.target === i, key: `made:${i}`, click: () => set({ target: i }) }, told && small(bdi(told)));
  return group(named, "steps", each.map(one));
}
