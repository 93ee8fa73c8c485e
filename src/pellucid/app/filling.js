// The form: the parts of a task's input, the target, and how it is explained.
import { role } from "./calling.js";

const form = role("form");
let known = { models: [], methods: [] };

export const model = () => known.models.find((m) => m.name === form.elements.model.value) ?? known.models[0];
const parts = () => [...form.querySelectorAll("[data-part]")];
const checks = () => [...form.querySelectorAll("[name=detail]")];

/** Fills the menus with what the server knows. */
export function drawMenus(told) {
  known = told;
  const fill = (select, names) => select.append(...names.map((name) => new Option(name, name)));
  const names = known.models.map((m) => m.name);
  fill(form.elements.model, names);
  fill(form.elements.other, names);
  form.elements.other.closest("label").hidden = names.length < 2;
  fill(form.elements.method, known.methods.map((m) => m.name));
  form.elements.method.value = "deeplift";
  form.hidden = !names.length;
}

/** Draws the form of the chosen model's task; kept: the values of its parts. */
export function drawForm(kept = {}) {
  role("fields").replaceChildren(...model().form.map(field));
  for (const input of parts()) {
    const value = kept[input.dataset.part];
    if (input.type !== "file" && value !== undefined) input.value = written(value);
  }
  role("reduce").hidden = role("flip").hidden = !model().edits;
  role("length").hidden = !model().generates;
  role("example").hidden = !model().form.some((f) => f.example);
  drawChoices();
}

function field(told) {
  const label = document.createElement("label");
  label.textContent = told.optional ? `${told.label} (optional)` : told.label;
  const input = document.createElement(told.kind === "image" ? "input" : "textarea");
  if (told.kind === "image") {
    input.type = "file";
    input.accept = "image/*";
  } else {
    input.rows = told.kind === "text" ? 1 : 3;
    input.spellcheck = false;
    input.dir = "auto";
  }
  input.dataset.part = told.name;
  input.dataset.kind = told.kind;
  label.append(input);
  return label;
}

/** The labels as buttons, of which the target is pressed, and what the chosen method does. */
export function drawChoices() {
  const labels = model().labels;
  const values = labels.length ? ["", ...labels] : [];
  const drawn = [...role("labels").children];
  if (drawn.length !== values.length || drawn.some((b, i) => b.dataset.target !== values[i])) role("labels").replaceChildren(...values.map(chip));
  const target = form.elements.target.value.trim();
  for (const button of role("labels").children) button.setAttribute("aria-pressed", String(button.dataset.target === target));
  form.elements.target.placeholder = labels.length ? "or a − b" : "the prediction";
  const method = known.methods.find((m) => m.name === form.elements.method.value);
  role("told").textContent = method ? `${method.name}: ${method.summary}` : "";
}

function chip(value) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = button.title = value || "the prediction";
  button.dataset.target = value;
  return button;
}

/** The example of the chosen model's task as the parts of an input. */
export const example = () => Object.fromEntries(model().form.filter((f) => f.example).map((f) => [f.name, f.example]));

/** A part of an input as it is written into the form. */
export const written = (value) =>
  Array.isArray(value) ? value.map((v) => (typeof v === "string" ? v : `${v.role}: ${v.content}`)).join("\n") : String(value);

const dataUrl = (file) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });

/** What was filled in, by part. */
export async function given() {
  const found = {};
  for (const input of parts()) {
    if (input.dataset.kind === "image") {
      if (input.files[0]) found[input.dataset.part] = await dataUrl(input.files[0]);
    } else if (input.value.trim()) found[input.dataset.part] = input.value;
  }
  return found;
}

/** The fields of a Request, as the form has them. */
export function request() {
  const { method, target, baseline, tokens } = form.elements;
  const found = { methods: [method.value] };
  if (target.value.trim()) found.targets = [target.value.trim()];
  if (baseline.value.trim()) found.baselines = [baseline.value.trim()];
  if (model().generates && Number(tokens.value) >= 1) found.max_new_tokens = Math.trunc(Number(tokens.value));
  const inside = checks().filter((c) => c.checked).map((c) => c.value);
  if (inside.length) found.detail = inside;
  return found;
}

/** The models that are asked: the chosen one, and the one that it is compared with. */
export const chosen = () => [...new Set([model().name, form.elements.other.value].filter(Boolean))];

/** Puts a remembered question into the form. */
export function fillIn({ models, input, request }) {
  const [first, other] = (models ?? []).filter((name) => known.models.some((m) => m.name === name));
  if (first) form.elements.model.value = first;
  form.elements.other.value = other ?? "";
  form.elements.method.value = request?.methods?.[0] ?? "deeplift";
  form.elements.target.value = request?.targets?.[0] ?? "";
  form.elements.baseline.value = request?.baselines?.[0] ?? "";
  for (const check of checks()) check.checked = request?.detail?.includes(check.value) ?? false;
  drawForm(input ?? {});
}
