// The history: what was asked in this browser, newest first.
import { role } from "./calling.js";
import { written } from "./filling.js";

const KEPT = 30;
const NAME = "pellucid-history";

/** What is remembered; nothing where the store is forbidden, or holds what this page did not write. */
export function history() {
  try {
    const kept = JSON.parse(localStorage.getItem(NAME) ?? "[]");
    return Array.isArray(kept) ? kept.filter((item) => item && typeof item.input === "object") : [];
  } catch {
    return [];
  }
}

/** Remembers a question; the same one is moved to the front. */
export function remember(item, again) {
  const same = (other) => JSON.stringify([other.models, other.input]) === JSON.stringify([item.models, item.input]);
  keep([item, ...history().filter((other) => !same(other))].slice(0, KEPT), again);
}

/** Remembers these questions and no others. */
export function keep(items, again) {
  try {
    localStorage.setItem(NAME, JSON.stringify(items));
  } catch {
    // a full or forbidden store: the history is only of this page then
  }
  drawHistory(items, again);
}

/** again: what a click on a question does. */
export function drawHistory(items, again) {
  const box = role("history");
  box.hidden = !items.length;
  const rows = items.map((item) => {
    const row = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = Object.values(item.input ?? {}).map(written).join(" · ");
    button.addEventListener("click", () => again(item));
    row.append(button);
    return row;
  });
  box.querySelector("ol").replaceChildren(...rows);
}
