// The viewer: one state, drawn anew where it changes. What is pointed at is lit without drawing anything again.

const START = { target: 0, level: "words", spans: [], from: [], special: true, threshold: 0, scale: "each", pinned: [], panel: "", rows: [], layer: -1, heads: [-1], measure: 0, compared: [0, 1], opacity: 0.6, grid: true, sort: "number", filter: "", search: "" };

/**
 * Draws a View into a shadow root of an element.
 *
 * view: the parsed JSON of `View.to_dict()`, or of a page. options: `state` to begin with, `onState(state)` whenever it
 * changes, `onTarget(name)` where a class is chosen that the view does not explain, `heading: false` for no headline,
 * `css` for the style sheet where it is not a part of the module. Returns { update(view), state(), restore(state),
 * destroy() }.
 */
export function mount(root, view, options = {}) {
  const shadow = root.shadowRoot ?? root.attachShadow({ mode: "open" });
  const box = div("viewer"), below = div("panels");
  shadow.replaceChildren(h("style", {}, options.css ?? STYLE), box);
  let whole = unpacked(view), state = { ...START, ...valid(options.state) }, detail = null, shown = null;
  const links = new Links((tokens) => detail?.replaceChildren(...detailOf(shown, state, tokens)));
  const themes = watchTheme(root, box, () => draw());

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
    detail = h("div", { class: "detail", role: "status", "aria-live": "polite" });
    box.replaceChildren(...(shown ? [...pictures(whole, shown, state, set, links, options, detail), below] : [par("muted", "There is no explanation to show.")]));
    if (shown) first ? setTimeout(look) : look();
    for (const summary of box.querySelectorAll("details > summary")) if (open.includes(summary.textContent)) summary.parentElement.open = true;
    if (key) box.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
    links.light(state.pinned);
  }

  /** What is looked at under the text, and what can be taken away: the text itself does not wait for them. */
  function look() {
    below.replaceChildren(...panelOf(whole, shown, state, set, links, box.dataset.theme), tokensOf(shown));
    below.append(takeAway(whole, shown, box));
  }

  function pin(element) {
    if (!element) return state.pinned.length && set({ pinned: [] });
    if (state.level === "spans" && element.pellucidRun) return set(spanned(state, element));
    const tokens = element.pellucidTokens, same = String(state.pinned) === String(tokens);
    set({ pinned: same ? [] : [...tokens] });
  }

  links.listen(box, () => state.pinned, pin);
  drawSpans(box, () => state, set);
  draw(true);
  return {
    update(next) {
      whole = unpacked(next);
      draw();
    },
    state: () => structuredClone(state),
    restore(saved) {
      state = { ...START, ...valid(saved) };
      draw();
    },
    destroy() {
      themes.disconnect();
      shadow.replaceChildren();
    },
  };
}

/** Only what a state has, of the kind that it has it: what comes from an address is not trusted. */
function valid(given) {
  const kind = (x) => (Array.isArray(x) ? (x.flat(9).every(Number.isFinite) ? "numbers" : "") : typeof x);
  const fits = ([name, value]) => name in START && (kind(value) === kind(START[name]) || (name === "target" && value === "both"));
  const found = Object.fromEntries(Object.entries(given ?? {}).filter(fits));
  return LEVELS.some(([level]) => level === found.level) ? found : { ...found, level: START.level };
}

/** The state within what the view has. */
function settled(view, state) {
  const each = view.explanations, target = state.target === "both" && view.both ? "both" : Math.max(0, Math.min(each.length - 1, Math.trunc(state.target) || 0));
  const tokens = each[target === "both" ? 0 : target]?.tokens.length ?? 0;
  return { ...state, target, pinned: state.pinned.filter((t) => t < tokens) };
}

function pictures(view, v, state, set, links, options, detail) {
  const above = [answersOf(view, state, set), headerOf(view, v, state, set, options), toolsOf(state, set), textOf(view, v, state, set, links), detail, imageOf(v, state, set, links)];
  return [...above, div("columns", sumOf(v, state, links), wordsOf(v, state, links))].filter(Boolean);
}

/** What can be looked into under the text, one at a time: the first, unless there is nothing but what one could add. */
function panelOf(view, v, state, set, links, theme) {
  const panels = [
    view.generations.length && ["Generation", () => generationOf(view, v, state, set, links, theme)],
    (v.layers.length || v.parts) && ["Layers and parts", () => insideOf(v, state, links, theme)],
    v.attention.length && ["Attention", () => attentionOf(v, state, set, links, theme)],
    ["Compare", () => compareOf(view, state, set)],
  ].filter(Boolean);
  const open = panels.find(([name]) => name === state.panel) ?? (panels.length > 1 || view.same_input && view.explanations.length > 1 ? panels[0] : null);
  return [choice("Look inside", panels.map(([name]) => [name, name]), open?.[0], (panel) => set({ panel })), ...[open?.[1]()].flat(3)].filter(Boolean);
}

/** Light or dark as the notebook says, or else as the system says. */
function watchTheme(root, box, redraw) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const set = () => {
    const light = root.closest('[data-jp-theme-light="true"], .vscode-light, html[theme="light"], [data-theme="light"]');
    const dark = root.closest('[data-jp-theme-light="false"], .vscode-dark, html[theme="dark"], [data-theme="dark"], .dark');
    box.dataset.theme = light ? "light" : dark || system.matches ? "dark" : "light";
  };
  const changed = () => {
    const before = box.dataset.theme;
    set();
    if (before !== box.dataset.theme) redraw();
  };
  const observer = new MutationObserver(changed);
  for (const element of [document.documentElement, document.body]) observer.observe(element, { attributes: true, attributeFilter: ["class", "theme", "data-theme", "data-jp-theme-light"] });
  system.addEventListener("change", changed);
  set();
  return { disconnect: () => (observer.disconnect(), system.removeEventListener("change", changed)) };
}

/** Spans are drawn over the text with the mouse as well: from the token pressed to the token let go. */
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
