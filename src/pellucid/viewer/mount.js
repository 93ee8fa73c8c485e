// mount(root, view, options): draws a View into a shadow root, so that no style gets in or out, and lets a person explore.

const START = { index: 0, level: "words", special: false, threshold: 0, scale: "own", spans: [], pinned: [], more: false, compare: null, attention: null, layer: null, heads: null, query: "", only: "", sort: "order", both: false };

// The explanations of each input, in order: those whose texts are equal stand together where the view is of one input.
const inputsOf = (view) => {
  if (view.same_input) return [view.explanations.map((_, i) => i)];
  const groups = [], seen = new Map();
  view.explanations.forEach((v, i) => {
    const key = JSON.stringify(v.passages.map((p) => p.text)) + (v.task === "text-generation" ? i : "");
    const near = seen.get(key);
    if (near && near.at(-1) === i - 1) near.push(i);
    else { const members = [i]; seen.set(key, members); groups.push(members); }
  });
  return groups;
};

export function mount(root, view, options = {}) {
  const shadow = root.shadowRoot ?? root.attachShadow({ mode: "open" });
  const dark = globalThis.matchMedia?.("(prefers-color-scheme: dark)");
  let state = { ...START, ...options.state };
  let parts = [], groups = inputsOf(view), queued = 0;

  const isDark = () => {
    const told = root.closest("[data-jp-theme-light], [data-theme], .vscode-dark, .vscode-light");
    if (told?.dataset.jpThemeLight) return told.dataset.jpThemeLight === "false";
    if (told?.dataset.theme) return told.dataset.theme === "dark";
    if (told) return told.classList.contains("vscode-dark");
    return Boolean(dark?.matches);
  };
  const theme = () => (isDark() ? "dark" : "light");
  const kept = () => { const { query, only, sort, scroll, peak, ...rest } = state; return rest; };
  const api = {
    root: shadow,
    set(change, focus) {
      state = { ...state, ...change };
      if ("index" in change) options.onTarget?.(view.explanations[state.index]?.target.name);
      options.onState?.(kept());
      draw(focus);
    },
    highlight(tokens) {
      cancelAnimationFrame(queued);
      queued = requestAnimationFrame(() => parts.forEach((part) => part.highlight?.(tokens ?? (state.pinned.length ? state.pinned : null))));
    },
    pin(tokens) { state.pinned = state.pinned.join() === tokens.join() ? [] : [...tokens]; options.onState?.(kept()); api.highlight(null); },
    span(tokens, name) { api.set({ spans: [...state.spans, { tokens, name }] }); },
    unspan(i) { api.set({ spans: state.spans.filter((_, k) => k !== i) }); },
    link: options.link ? () => options.link(kept()) : null,
  };

  const draw = (focus) => {
    const had = shadow.activeElement;
    const path = had?.getAttribute("aria-label") ?? had?.textContent;
    if (!view.explanations.length) { body.replaceChildren(el("p", {}, "There is nothing to show.")); return; }
    state.index = Math.min(Math.max(0, state.index | 0), view.explanations.length - 1);
    const members = groups.find((m) => m.includes(state.index));
    const answer = members.length === 2 && members.map((i) => view.explanations[i].target.name.split(" ")[0]).join() === "start,end";
    const v = answer && state.both ? summed(view, members) : view.explanations[state.index];
    state.peak = state.scale === "shared" ? Math.max(...members.map((i) => (state.level === "words" ? view.explanations[i].peak : view.explanations[i].peaks[state.level] ?? view.explanations[i].peak))) : null;
    const g = view.generations.find((x) => x.explanations.includes(state.index));
    const list = groups.length > 1 ? drawList(view, groups, state, api) : null;
    const tabs = g ? null : drawTabs(view, state, api, members);
    if (tabs && answer) tabs.append(el("label", {}, el("input", { type: "checkbox", checked: state.both, onchange: (e) => api.set({ both: e.target.checked }) }), " start and end together"));
    const made = g ? drawGeneration(view, g, state, api, theme) : null;
    const layers = drawLayers(v, state, api, theme), inner = drawParts(v, state, api, theme), attention = drawAttention(v, state, api, theme);
    const pictures = [["generation", made], ["layers", layers], ["parts", inner], ["attention", attention]].filter(([, n]) => n?.picture).map(([name, n]) => [name, n.picture]);
    parts = [options.heading === false ? null : drawHeader(view, state, api), tabs, made, drawText(v, state, api), drawImage(v), drawRanking(v, state, api), drawSum(v, state, api), layers, inner, attention,
      drawCompare(view, v, state, api), drawTakeaway(view, v, state, api, pictures)].filter(Boolean);
    body.className = `body ${theme()}`;
    body.replaceChildren(...(list ? [list] : []), el("article", {}, parts));
    list?.ready();
    if (focus === "tab") body.querySelector('[role="tab"][aria-selected="true"]')?.focus();
    else if (path) [...body.querySelectorAll("button, input, select, [role=button]")].find((n) => (n.getAttribute("aria-label") ?? n.textContent) === path)?.focus({ preventScroll: true });
    if (state.pinned.length) api.highlight(null);
  };

  const body = el("div.body");
  const sheet = new CSSStyleSheet(); // which a policy against inline styles lets pass
  sheet.replaceSync(STYLE);
  shadow.adoptedStyleSheets = [sheet];
  shadow.replaceChildren(body);
  draw();
  const repaint = () => draw();
  dark?.addEventListener?.("change", repaint);
  return {
    update(next) { view = next; groups = inputsOf(view); state.pinned = []; state.spans = []; draw(); },
    state: kept,
    restore(saved) { state = { ...START, ...saved }; draw(); },
    destroy() { dark?.removeEventListener?.("change", repaint); shadow.replaceChildren(); },
  };
}
