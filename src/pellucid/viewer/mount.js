// The viewer: one state, drawn anew where it changes. What is pointed at is lit without drawing anything again.

const START = { target: 0, level: "words", spans: [], from: [], special: true, threshold: 0, scale: "each", pinned: [], panel: "", rows: [], layer: -1, heads: [-1], measure: 0, compared: [0, 1], opacity: 0.6, grid: true, sort: "number", filter: "", search: "" };
const LONG = 3000; // tokens

/**
 * Draws a View, the parsed JSON of `View.to_dict()` or of a page, into a shadow root of an element. options: `state` to
 * begin with, `onState(state)` when it changes, `onTarget(name)` where a class is chosen that the view does not
 * explain, `onPanel(name, state)` when a panel is drawn. Returns { update(view), state(), restore(state), destroy() }.
 */
export function mount(root, view, options = {}) {
  const shadow = root.shadowRoot ?? root.attachShadow({ mode: "open" });
  const box = h("div", { class: "viewer", style: PALETTE }), below = div("panels");
  shadow.replaceChildren(h("style", {}, STYLE), box);
  let whole = unpacked(view), state = begun(whole, options.state), detail = null, shown = null;
  const links = new Links((tokens) => detail && fill(detail, detailOf(shown, state, tokens)));
  const stopWatching = watchTheme(root, box, () => draw());

  function set(change) {
    state = { ...state, ...("target" in change && !whole.same_input ? { pinned: [] } : {}), ...change };
    draw();
    options.onState?.({ ...state });
  }

  function draw(first = false) {
    const key = shadow.activeElement?.getAttribute("data-key");
    const open = [...box.querySelectorAll("details[open] > summary")].map((e) => e.textContent);
    state = settled(whole, state);
    links.elements.clear();
    shown = whole.explanations.length ? state.target === "both" ? whole.both : whole.explanations[state.target] : null;
    detail = h("div", { class: "detail", role: "status" });
    const scene = { view: whole, v: shown, state, set, links, options, theme: box.dataset.theme };
    fill(box, shown ? [answersOf(scene), headerOf(scene), toolsOf(scene), textOf(scene), detail, imageOf(scene), div("columns", sumOf(scene), wordsOf(scene)), below] : par("muted", "There is no explanation to show."));
    if (shown) first ? setTimeout(look, 0, scene) : look(scene);
    for (const summary of box.querySelectorAll("details > summary")) summary.parentElement.open = open.includes(summary.textContent);
    if (key) box.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
    links.light(state.pinned);
  }

  const look = (scene) => fill(below, [panelOf(scene), tokensOf(scene)]).append(takeAway(scene, box));

  function pin(element) {
    const tokens = element?.pellucidTokens ?? [];
    if (state.level === "spans" && element?.pellucidRun) set(spanned(state, element));
    else if (element || state.pinned.length) set({ pinned: String(state.pinned) === String(tokens) ? [] : [...tokens] });
  }

  links.listen(box, () => state.pinned, pin);
  drawSpans(box, () => state, set);
  draw(true);
  return {
    update: (next) => ((whole = unpacked(next)), draw()),
    state: () => structuredClone(state),
    restore: (saved) => ((state = begun(whole, saved)), draw()),
    destroy: () => (stopWatching(), shadow.replaceChildren()),
  };
}

/** The state to begin with; a long text is shown as sentences, which open into words and tokens. */
const begun = (view, saved) => ({ ...START, ...(view.explanations[0]?.tokens.length > LONG && { level: "sentences" }), ...valid(saved) });

/** What a state has, of the kind that it is: an address is not trusted. */
function valid(given) {
  const kind = (x) => (Array.isArray(x) ? (x.flat(9).every(Number.isFinite) ? "numbers" : "") : typeof x);
  const fits = ([name, value]) => name in START && (kind(value) === kind(START[name]) || (name === "target" && value === "both"));
  const { level, ...found } = Object.fromEntries(Object.entries(given ?? {}).filter(fits));
  return LEVELS.includes(level) ? { ...found, level } : found;
}

/** The state within what the view has. */
function settled(view, state) {
  const each = view.explanations, target = state.target === "both" && view.both ? "both" : Math.max(0, Math.min(each.length - 1, Math.trunc(state.target) || 0));
  const tokens = each[target === "both" ? 0 : target]?.tokens.length ?? 0;
  return { ...state, ...(each[0]?.kept && state.level === "spans" && { level: "sentences" }), target, pinned: state.pinned.filter((t) => t < tokens) };
}

/** What can be looked into, one at a time. */
function panelOf(scene) {
  const { view, v, state, set, options } = scene;
  const panels = [
    view.sources && ["Sources", sourcesOf],
    view.hops && ["Hops", hopsOf],
    view.generations.length && ["Generation", generationOf],
    (v.layers.length || v.parts) && ["Layers and parts", insideOf],
    v.attention.length && ["Attention", attentionOf],
    ["Compare", compareOf],
  ].filter(Boolean);
  const first = panels.length > 1 || (view.same_input && view.explanations.length > 1) ? panels[0] : [];
  const [open, draw] = panels.find(([name]) => name === state.panel) ?? first;
  options.onPanel?.(open, state);
  return [choice("Look inside", panels.map(([name]) => name), open, (panel) => set({ panel })), draw?.(scene)];
}

/** Light or dark as the notebook says, or else as the system says. */
function watchTheme(root, box, redraw) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const set = () => {
    const said = (kind) => root.closest(`[data-jp-theme-light="${kind === "light"}"], .vscode-${kind}, [theme="${kind}"], [data-theme="${kind}"], .${kind}`);
    return (box.dataset.theme = said("light") || !(said("dark") || system.matches) ? "light" : "dark");
  };
  const changed = () => box.dataset.theme !== set() && redraw();
  const observer = new MutationObserver(changed);
  for (const element of [document.documentElement, document.body]) observer.observe(element, { attributes: true });
  system.addEventListener("change", changed);
  set();
  return () => (observer.disconnect(), system.removeEventListener("change", changed));
}

/** Spans are drawn with the mouse as well, from the token pressed to the token let go. */
function drawSpans(box, stateOf, set) {
  const unit = (event) => event.target.closest?.(".unit");
  let from = null;
  box.addEventListener("pointerdown", (event) => {
    from = stateOf().level === "spans" && event.pointerType === "mouse" ? unit(event) : null;
    if (from) event.preventDefault();
  });
  box.addEventListener("pointerup", (event) => {
    const { pellucidRun: run, pellucidSegment: segment } = from ?? {}, to = unit(event);
    if (from && to && to !== from && !run.span && to.pellucidSegment === segment) set(spanned(stateOf(), to, [segment, run.start, run.end]));
    from = null;
  });
}
