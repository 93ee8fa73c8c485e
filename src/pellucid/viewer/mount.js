// The viewer: one state, drawn anew where it changes. What is pointed at is lit without drawing anything again.

const START = { target: 0, level: "words", spans: [], from: null, special: true, threshold: 0, scale: "each", pinned: null, panel: null, rows: null, layer: null, heads: null, measure: 0, compared: [0, 1], opacity: 0.6, sort: "number", filter: "", search: "" };

/**
 * Draws a View into a shadow root of an element.
 *
 * view: the parsed JSON of `View.to_dict()`. options: `state` to begin with, `onState(state)` whenever it changes,
 * `onTarget(name)` where a class is chosen that the view does not explain, `heading: false` for no headline, `css` for
 * the style sheet where it is not a part of the module. Returns { update(view), state(), restore(state), destroy() }.
 */
export function mount(root, view, options = {}) {
  const shadow = root.shadowRoot ?? root.attachShadow({ mode: "open" });
  const box = h("div", { class: "viewer" });
  const sheet = h("style", {}, options.css ?? STYLE);
  shadow.replaceChildren(sheet, box);
  let state = { ...START, ...valid(options.state) };
  let detail = null;
  let shown = null;
  const links = new Links((tokens) => detail?.replaceChildren(...detailOf(shown, state, tokens)));
  const themes = watchTheme(root, box, () => draw());

  function set(change) {
    state = { ...state, ...change };
    draw();
    options.onState?.({ ...state });
  }

  function draw() {
    const key = shadow.activeElement?.getAttribute("data-key");
    const opened = new Set([...box.querySelectorAll("details[open] > summary")].map((e) => e.textContent));
    state = settled(view, state);
    links.elements.clear();
    box.replaceChildren(...pictures(view, state, set, links, options, box, (v, element) => ((shown = v), (detail = element))));
    if (shown) box.append(takeAway(view, shown, box));
    for (const summary of box.querySelectorAll("details > summary")) if (opened.has(summary.textContent)) summary.parentElement.open = true;
    if (key) box.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
    links.light(state.pinned ?? []);
  }

  function pin(element) {
    if (!element) return state.pinned && set({ pinned: null });
    if (state.level === "spans" && element.pellucidRun) return set(spanned(state, element));
    const tokens = element.pellucidTokens;
    const same = state.pinned?.length === tokens.length && state.pinned.every((t, i) => t === tokens[i]);
    set({ pinned: same ? null : [...tokens] });
  }

  links.listen(box, () => state.pinned ?? [], pin);
  drawSpans(box, () => state, set);
  draw();
  return {
    update(next) {
      view = next;
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
  const found = {};
  for (const [name, start] of Object.entries(START)) {
    const value = given?.[name];
    if (value === undefined) continue;
    const numbers = (x) => Array.isArray(x) && x.every((y) => Number.isFinite(y) || numbers(y));
    if (Array.isArray(start) ? numbers(value) : start === null ? value === null || Number.isFinite(value) || typeof value === "string" || numbers(value) : typeof value === typeof start || (name === "target" && value === "both")) found[name] = value;
  }
  if (!Array.isArray(found.pinned)) delete found.pinned;
  if (found.level && !LEVELS.some(([level]) => level === found.level)) delete found.level;
  return found;
}

/** The state within what the view has. */
function settled(view, state) {
  const each = view.explanations;
  const last = Math.max(0, each.length - 1);
  const inside = (i) => Math.max(0, Math.min(last, Math.trunc(i) || 0));
  const target = state.target === "both" && answers(each) ? "both" : inside(state.target);
  const tokens = each[target === "both" ? 0 : target]?.tokens.length ?? 0;
  const pinned = state.pinned?.filter((t) => t < tokens);
  return { ...state, target, pinned: pinned?.length ? pinned : null, compared: [inside(state.compared[0]), inside(state.compared[1] ?? 1)] };
}

function pictures(view, state, set, links, options, box, show) {
  if (!view.explanations.length) return [h("p", { class: "muted" }, "There is no explanation to show.")];
  const v = shownOf(view, state);
  const detail = h("div", { class: "detail", role: "status", "aria-live": "polite" });
  show(v, detail);
  const panels = panelsOf(view, v, state, set, links, box.dataset.theme);
  const open = panels.find(([name]) => name === state.panel) ?? panels[0];
  const inside = open ? [h("div", { class: "panels" }, panels.length > 1 ? choice("Look inside", panels.map(([name]) => [name, name]), open[0], (panel) => set({ panel })) : null, open[1]())] : [];
  const above = [answersOf(view, state, set), headerOf(view, v, state, set, options), toolsOf(state, set), textOf(view, v, state, set, links), detail, imageOf(v, state, set, links)];
  return [...above, h("div", { class: "columns" }, sumOf(v, state, links), wordsOf(v, state, links)), ...inside, tokensOf(v)].filter(Boolean);
}

/** What can be opened under the text: a name and a function that draws it, for what the view has. */
function panelsOf(view, v, state, set, links, theme) {
  return [
    view.generations.length && ["Generation", () => generationOf(view, v, state, set, links, theme)],
    (v.layers.length || v.parts) && ["Layers and parts", () => insideOf(v, state, links, theme).filter(Boolean)],
    v.attention?.length && ["Attention", () => attentionOf(v, state, set, links, theme).filter(Boolean)],
    view.explanations.length > 1 && ["Compare", () => compareOf(view, state, set)],
  ].filter(Boolean);
}

/** Light or dark as the notebook says, or else as the system says. */
function watchTheme(root, box, redraw) {
  const set = () => {
    const light = root.closest('[data-jp-theme-light="true"], .vscode-light, html[theme="light"], [data-theme="light"]');
    const dark = root.closest('[data-jp-theme-light="false"], .vscode-dark, html[theme="dark"], [data-theme="dark"], .dark');
    box.dataset.theme = light ? "light" : dark ? "dark" : matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  };
  const observer = new MutationObserver(() => (set(), redraw()));
  for (const element of [document.documentElement, document.body]) observer.observe(element, { attributes: true, attributeFilter: ["class", "theme", "data-theme", "data-jp-theme-light"] });
  const system = matchMedia("(prefers-color-scheme: dark)");
  const changed = () => (set(), redraw());
  system.addEventListener("change", changed);
  set();
  return { disconnect: () => (observer.disconnect(), system.removeEventListener("change", changed)) };
}

/** Spans are drawn over the text with the mouse as well: from the token pressed to the token let go. */
function drawSpans(box, stateOf, set) {
  let from = null;
  box.addEventListener("pointerdown", (event) => {
    const word = event.target.closest?.(".unit");
    from = stateOf().level === "spans" && event.pointerType === "mouse" ? word : null;
    if (from) event.preventDefault();
  });
  box.addEventListener("pointerup", (event) => {
    const word = event.target.closest?.(".unit");
    const { pellucidRun: run, pellucidSegment: segment } = from ?? {};
    if (from && word && word !== from && !run.span && word.pellucidSegment === segment) set(spanned(stateOf(), word, [segment, run.start, run.end]));
    from = null;
  });
}
