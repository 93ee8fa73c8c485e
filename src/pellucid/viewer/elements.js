// Elements: outside strings enter the page only as text nodes and attribute values, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, listeners (`on`), data of its own (`own`) and children. */
function h(name, attributes = {}, ...children) {
  return dress(document.createElement(name), attributes, children);
}

/** The same for SVG. */
function s(name, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, name), attributes, children);
}

function dress(element, { on = {}, own = {}, style = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  for (const [name, value] of Object.entries(style)) element.style.setProperty(name, value);
  Object.assign(element, own);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c]/g;
const SIGNS = { "\n": "⏎", "\t": "⇥", " ": "␣" };

/** A token or word as one line: white space that is all there is gets a sign, control characters are written out. */
function label(text) {
  const shown = text.trim() ? text : [...text].map((c) => SIGNS[c] ?? c).join("");
  return shown.replace(HIDDEN, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0")).toWellFormed?.() ?? shown;
}

/** Outside text whose direction does not reach what stands around it. */
function bdi(text) {
  return h("bdi", {}, label(text));
}

function button(text, attributes, ...more) {
  return h("button", { type: "button", ...attributes }, text, ...more);
}

/** One of several: a row of buttons of which one is pressed. options: [value, text] pairs. */
function choice(name, options, chosen, choose) {
  const buttons = options.map(([value, text]) =>
    button(text, { "aria-pressed": String(value === chosen), "data-key": `${name}:${value}`, on: { click: () => choose(value) } }),
  );
  return h("div", { class: "choice", role: "group", "aria-label": name }, buttons);
}

function toggle(text, pressed, choose, title = null) {
  return button(text, { class: "toggle", title, "aria-pressed": String(pressed), "data-key": `toggle:${text}`, on: { click: () => choose(!pressed) } });
}

/** A drop-down list. options: [value, text] pairs. */
function menu(name, options, chosen, choose) {
  const items = options.map(([value, text]) => h("option", { value, selected: String(value) === String(chosen) }, label(text)));
  const list = h("select", { "aria-label": name, "data-key": `menu:${name}`, on: { change: (event) => choose(event.target.value) } }, items);
  return h("label", { class: "menu" }, h("span", {}, name), list);
}

function section(title, ...content) {
  return h("section", { "data-picture": title, "aria-label": title }, h("h3", {}, title), ...content);
}

/** A term with an explanation that shows on hover, on focus and on tap. */
function term(text, explanation) {
  return h("span", { class: "explained", tabindex: "0", role: "note", "aria-label": `${text}: ${explanation}`, "data-tip": explanation }, text);
}
