// Elements: outside strings enter the page only as text nodes and attribute values, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. Some attributes have a meaning here: `on` are listeners and `click` is one, `own` are properties, `style`
 * those of the style, `key` is what the element is found by after it was drawn anew, `named` is its name for screen
 * readers, `order` its place among elements of which the tab key reaches the first and the arrow keys the others.
 */
const h = (name, attributes = {}, ...children) => dress(document.createElement(name), attributes, children);
const s = (name, attributes = {}, ...children) => dress(document.createElementNS(SVG, name), attributes, children);

function dress(element, { on = {}, click, own = {}, style = {}, key, named, pressed, order, ...attributes }, children) {
  for (const [name, value] of Object.entries({ "data-key": key, "aria-label": named, "aria-pressed": pressed, tabindex: order && -1, ...attributes })) if ((value ?? null) !== null) element.setAttribute(name, value);
  for (const [name, listener] of Object.entries(click ? { ...on, click } : on)) element.addEventListener(name, listener);
  for (const [name, value] of Object.entries(style)) element.style.setProperty(name, value);
  if (pressed) element.classList.add("on");
  Object.assign(element, own);
  return fill(element, children);
}

/** What is null, false or 0 is no child. */
function fill(element, children) {
  element.replaceChildren(...[children].flat(Infinity).filter((child) => child || child === ""));
  return element;
}

const strong = (content) => h("strong", {}, content);
const small = (...content) => h("small", {}, content);
const [div, span, par] = ["div", "span", "p"].map((name) => (kind, ...children) => h(name, { class: kind || null }, children));

const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c]/g;
const SIGNS = { "\n": "⏎", "\t": "⇥", " ": "␣" };

/** A token or word as one line: white space that is all there is gets a sign, control characters are written out. */
function label(text) {
  const signs = text.trim() ? text : [...text].map((c) => SIGNS[c] ?? c).join("");
  return signs.replace(HIDDEN, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0")).toWellFormed();
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);
const bdi = (text) => h("bdi", {}, label(text));
const button = (text, attributes, ...more) => h("button", { type: "button", ...attributes }, text, more);
const group = (named, kind, ...items) => h("div", { class: kind, role: "group", named }, items);
const labelled = (name, ...input) => h("label", { class: "menu" }, span("", name), input);
const toggle = (text, pressed, choose) => button(text, { class: "toggle", pressed, key: `toggle:${text}`, click: () => choose(!pressed) });
const section = (title, ...content) => h("section", { "data-picture": title, named: title }, h("h3", {}, title), content);
const readout = (...content) => h("p", { class: "readout", role: "status" }, content);
const term = (text, tip) => h("span", { class: "explained", order: 0, role: "note", named: `${text}: ${tip}`, "data-tip": tip }, text);

/** What is wider or higher than the page, to be scrolled with the keyboard too. */
const region = (named, kind, ...content) => h("div", { class: `scroll ${kind}`, order: 0, role: "region", named }, content);

const paired = (option) => (Array.isArray(option) ? option : [option, option]);

/** One of several options, texts or [value, text] pairs. */
function choice(name, options, chosen, choose) {
  const one = ([value, text]) => button(text, { pressed: value === chosen, key: `${name}:${value}`, click: () => choose(value) });
  return group(name, "choice", options.map(paired).map(one));
}

function menu(name, options, chosen, choose) {
  const each = options.map(paired), items = each.map(([value, text]) => h("option", { selected: value === chosen ? "" : null }, label(`${text}`)));
  const change = (event) => choose(each[event.target.selectedIndex][0]);
  return labelled(name, h("select", { named: name, key: `menu:${name}`, on: { change } }, items));
}

function slider(name, named, value, choose) {
  const percents = Math.round(100 * value), input = (event) => choose(event.target.value / 100);
  const range = h("input", { type: "range", min: 0, max: 100, value: percents, named, key: `slider:${name}`, on: { input } });
  return labelled(name, range, h("output", {}, `${percents} %`));
}

function chooser(name, named, accept, choose) {
  const change = (event) => event.target.files[0] && choose(event.target.files[0]);
  return labelled(name, h("input", { type: "file", accept, named, key: `file:${name}`, on: { change } }));
}

/** A thing in the colour of its score. */
const chipOf = (kind, score, peak, places, ...content) => h("span", { class: `tint ${kind}`, style: tinted(strength(score, peak)), title: signed(score, places) }, content);

/** A unit's name, a bar between two places in percent, and a number; a link where the unit has tokens. */
function barRow(links, { name, tokens }, kind, [from, to], number, written, order, ...marks) {
  const bar = h("span", { class: `bar ${kind}`, style: { left: `${Math.min(from, to)}%`, width: `max(1px, ${Math.abs(to - from)}%)` } });
  const track = h("span", { class: "track", "aria-hidden": "true" }, bar, marks);
  const row = [span("name", bdi(name)), track, h("data", { value: number }, written)], more = kind === "total" ? { class: "whole" } : {};
  return tokens?.length ? links.add(h("li", { class: "link", order }, row), tokens) : h("li", more, row);
}
