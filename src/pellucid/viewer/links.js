// Links: an element that stands for tokens; pointing at one lights all elements of the same tokens, in every picture.

class Links {
  constructor(onPoint) {
    this.elements = new Map(); // token → elements
    this.lit = new Set();
    this.onPoint = onPoint;
  }

  /** Registers an element as standing for tokens. */
  add(element, tokens) {
    element.pellucidTokens = tokens;
    for (const token of tokens) {
      if (!this.elements.has(token)) this.elements.set(token, new Set());
      this.elements.get(token).add(element);
    }
    return element;
  }

  /** Forgets what is no longer in the page. */
  forget() {
    for (const set of this.elements.values()) for (const element of set) if (!element.isConnected) set.delete(element);
  }

  /** Lights the elements of these tokens; none where tokens is empty. */
  light(tokens, source = null) {
    for (const element of this.lit) element.classList.remove("lit");
    this.lit.clear();
    for (const token of tokens) {
      for (const element of this.elements.get(token) ?? []) {
        element.classList.add("lit");
        this.lit.add(element);
      }
    }
    this.onPoint(tokens, source);
  }

  /** Listens on the whole picture: hover and focus light, leaving goes back to what is pinned. */
  listen(root, pinned, pin) {
    const linked = (event) => event.target.closest?.(".link");
    root.addEventListener("pointerover", (event) => {
      const element = linked(event);
      if (element) this.light(element.pellucidTokens, element);
    });
    root.addEventListener("pointerout", (event) => linked(event) && !event.relatedTarget?.closest?.(".link") && this.light(pinned()));
    root.addEventListener("focusin", (event) => linked(event) && this.light(linked(event).pellucidTokens, linked(event)));
    root.addEventListener("focusout", (event) => linked(event) && this.light(pinned()));
    root.addEventListener("click", (event) => linked(event) && pin(linked(event)));
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape") pin(null);
      const element = linked(event);
      if (!element) return;
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        pin(element);
      }
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step || event.shiftKey) return;
      const all = [...element.closest("[data-picture]").querySelectorAll(".link")];
      const next = all[all.indexOf(element) + step];
      if (!next) return;
      event.preventDefault();
      moveTab(element, next);
      next.focus();
    });
  }
}

/** One element of a group is in the order of the tab key, and the arrow keys move from there. */
function moveTab(from, to) {
  from.tabIndex = -1;
  to.tabIndex = 0;
}
