// Links: an element that stands for tokens; pointing at one lights all elements of the same tokens, in every picture. Its
// `pellucidPoint(on)` does what else is to be done.

class Links {
  elements = new Map(); // token → elements
  lit = [];

  constructor(onPoint) {
    this.onPoint = onPoint;
  }

  add(element, tokens) {
    element.pellucidTokens = tokens;
    for (const token of tokens) this.elements.set(token, [...(this.elements.get(token) ?? []), element]);
    return element;
  }

  light(tokens) {
    const light = (on) => this.lit.forEach((element) => element.classList.toggle("lit", on));
    light(false);
    this.lit = tokens.flatMap((token) => this.elements.get(token) ?? []);
    light(true);
    this.onPoint(tokens);
  }

  /** Listens on the whole picture: hover and focus light, leaving goes back to what is pinned. */
  listen(root, pinned, pin) {
    const linked = (element) => element?.closest?.(".link");
    const on = (names, act) => names.forEach((name) => root.addEventListener(name, (event) => linked(event.target) && act(linked(event.target), event)));
    on(["pointerover", "focusin"], (element) => (this.light(element.pellucidTokens), element.pellucidPoint?.(true)));
    on(["pointerout", "focusout"], (element, event) => (element.pellucidPoint?.(false), linked(event.relatedTarget) || this.light(pinned())));
    on(["click"], pin);
    root.addEventListener("keydown", (event) => event.key === "Escape" && pin(null));
    on(["keydown"], (element, event) => {
      if (["Enter", " "].includes(event.key)) return event.preventDefault(), pin(element);
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const all = step && !event.shiftKey ? [...element.closest("[data-picture]").querySelectorAll(".link")] : [];
      const next = all[all.indexOf(element) + step];
      if (!next) return;
      event.preventDefault();
      element.tabIndex = -1; // one element of a picture is in the order of the tab key
      next.tabIndex = 0;
      next.focus();
    });
  }
}
