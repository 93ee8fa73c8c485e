// Edits that matter: the fewest words that keep a prediction, and the fewest replacements that change it.
import { role } from "./calling.js";

/** Draws what was found: a sentence, the text with what was taken out and put in, and a button that takes it over. */
export function drawEdit(found, take) {
  const line = (className, ...content) => {
    const p = document.createElement("p");
    p.className = className;
    p.dir = "auto";
    p.append(...content);
    return p;
  };
  const piece = ({ text, edit }) => {
    const element = document.createElement({ gone: "del", put: "ins", kept: "strong" }[edit] ?? "span");
    element.textContent = text;
    return edit === "gone" || edit === "put" ? [element, document.createElement("wbr")] : [element];
  };
  const after = found.reduced ?? found.flipped;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Explain the edited text";
  button.addEventListener("click", () => take(Array.isArray(after) ? after : [after]));
  const box = role("edit");
  box.replaceChildren(line("told", found.sentence), ...found.pieces.map((each) => line("text", ...each.flatMap(piece))), button);
  box.hidden = false;
}
