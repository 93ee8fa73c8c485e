// The page of `pellucid app`: a form, and what the server answers drawn by the viewer.
import { mount } from "./viewer.js";

const DEBOUNCE = 180; // milliseconds of rest before the scores follow what is typed
const KEPT = 30;
const token = new URLSearchParams(location.search).get("token") ?? "";
const tab = crypto.getRandomValues(new Uint32Array(2)).join("-");
const role = (name) => document.querySelector(`[data-role="${name}"]`);
const form = role("form");
const views = role("views");
const slots = []; // one for each model shown: its box, its mounted view, its document
let known = { models: [], methods: [] };
let asked = 0; // the number of the newest question: what answers an older one is not shown
let timer = 0;
let abort = null;

class Told extends Error {
  constructor({ type, message }) {
    super(message);
    this.type = type;
  }
}

async function call(path, body, purpose = "", signal = undefined) {
  const headers = { authorization: `Bearer ${token}`, "x-client": purpose ? `${tab}/${purpose}` : "" };
  const how = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, { ...how, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Told({ type: "Unreachable", message: "The server does not answer. Is `pellucid app` still running?" });
  }
  const data = await answer.json();
  if (data.error) throw new Told(data.error);
  return data;
}

const model = () => known.models.find((m) => m.name === form.elements.model.value) ?? known.models[0];

// ------------------------------------------------------------------------------------------------------- the form

function field(told) {
  const label = document.createElement("label");
  label.textContent = told.label;
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

function drawForm(kept = {}) {
  role("fields").replaceChildren(...model().form.map(field));
  for (const input of parts()) {
    const value = kept[input.dataset.part];
    if (input.type !== "file" && value !== undefined) input.value = written(value);
  }
  role("reduce").hidden = role("flip").hidden = !model().edits;
  drawLabels();
}

function drawLabels() {
  const box = role("labels");
  const names = model().labels;
  box.hidden = !names.length;
  box.querySelectorAll("button").forEach((b) => b.remove());
  for (const name of names) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.title = name;
    button.setAttribute("aria-pressed", String(form.elements.target.value === name));
    button.addEventListener("click", () => {
      form.elements.target.value = form.elements.target.value === name ? "" : name;
      drawLabels();
      explain();
    });
    box.append(button);
  }
}

const parts = () => [...form.querySelectorAll("[data-part]")];

const written = (value) =>
  Array.isArray(value) ? value.map((v) => (typeof v === "string" ? v : `${v.role}: ${v.content}`)).join("\n") : value;

const dataUrl = (file) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });

async function value(input) {
  if (input.dataset.kind === "image") return input.files[0] ? dataUrl(input.files[0]) : undefined;
  const text = input.value;
  if (!text.trim()) return undefined;
  if (input.dataset.kind === "text") return text;
  const lines = text.split("\n").filter((line) => line.trim());
  if (input.dataset.kind === "lines") return lines;
  return lines.map((line) => {
    const [, who, said] = line.match(/^\s*(system|user|assistant)\s*:\s*(.*)$/i) ?? [null, "user", line];
    return { role: who.toLowerCase(), content: said };
  });
}

async function given() {
  const found = {};
  for (const input of parts()) {
    const held = await value(input);
    if (held !== undefined) found[input.dataset.part] = held;
  }
  return found;
}

function request() {
  const { method, target, baseline, detail } = form.elements;
  const found = { methods: [method.value] };
  if (target.value.trim()) found.targets = [target.value.trim()];
  if (baseline.value.trim()) found.baselines = [baseline.value.trim()];
  const inside = [...detail.selectedOptions].map((o) => o.value);
  if (inside.length) found.detail = inside;
  return found;
}

// ------------------------------------------------------------------------------------------------------- answers

function show(number, title, answer) {
  if (!slots[number]) {
    const box = document.createElement("section");
    const heading = document.createElement("h2");
    const root = document.createElement("div");
    box.append(heading, root);
    views.append(box);
    slots[number] = { box, heading, root, mounted: null };
  }
  const slot = slots[number];
  slot.heading.textContent = title;
  slot.document = answer.document;
  if (slot.mounted) slot.mounted.update(answer.view);
  else slot.mounted = mount(slot.root, answer.view, {});
}

function keepSlots(count) {
  for (const slot of slots.splice(count)) {
    slot.mounted?.destroy();
    slot.box.remove();
  }
}

function say(error) {
  const box = role("error");
  box.hidden = !error;
  box.textContent = error ? error.message : "";
}

const quiet = (error) => error.name === "AbortError" || error.type === "Outdated";

async function explain(remembered = true) {
  clearTimeout(timer);
  const mine = ++asked;
  abort?.abort();
  abort = new AbortController();
  const input = await given();
  if (!Object.keys(input).length || mine !== asked) return;
  const names = [model().name, form.elements.other.value].filter((name, i) => name || !i);
  const body = { input, request: request() };
  busy(true);
  try {
    const signal = abort.signal;
    const answers = await Promise.all(
      names.map((name, i) => call("api/explain", { ...body, model: name }, `explain-${i}`, signal)),
    );
    if (mine !== asked) return;
    keepSlots(names.length);
    answers.forEach((answer, i) => show(i, names[i], answer));
    say(null);
    if (remembered) remember({ model: model().name, input, request: body.request });
  } catch (error) {
    if (mine === asked && !quiet(error)) say(error);
  } finally {
    if (mine === asked) busy(false);
  }
}

async function edit(kind) {
  busy(true);
  try {
    const target = form.elements.target.value.trim();
    const found = await call(`api/${kind}`, { model: model().name, input: await given(), to: target || null }, kind);
    drawEdit(kind, found);
    say(null);
  } catch (error) {
    if (!quiet(error)) say(error);
  } finally {
    busy(false);
  }
}

function drawEdit(kind, found) {
  const box = role("edit");
  const line = (className, text) => {
    const p = document.createElement("p");
    p.className = className;
    p.dir = "auto";
    p.textContent = text;
    return p;
  };
  const one = (text) => (Array.isArray(text) ? text.join(" ⏎ ") : text);
  const percent = (p) => `${(100 * p).toFixed(1)}%`;
  const after = kind === "reduce" ? found.reduced : found.flipped;
  const told =
    kind === "reduce"
      ? `${found.prediction} ${percent(found.reduced_probability)}, ${percent(found.probability)} with all words. ` +
        (found.minimal ? "No fewer words keep the prediction." : "Fewer words were not found.")
      : `${found.prediction} ${percent(found.probability)} → ${found.flipped_prediction} ` +
        `${percent(found.flipped_probability)}. ` +
        (found.found
          ? found.replaced.map((r) => `${r.before} → ${r.after}`).join(", ")
          : "The prediction did not change; this came nearest.");
  box.replaceChildren(line("before", one(found.text)), line("after", one(after)), line("told", told));
  box.hidden = false;
}

let watching = 0;

function busy(on) {
  clearInterval(watching);
  views.classList.toggle("stale", on);
  role("stop").hidden = !on;
  role("progress").textContent = "";
  if (!on) return;
  const began = performance.now();
  watching = setInterval(async () => {
    const seconds = Math.round((performance.now() - began) / 1000);
    const told = await call("api/status", undefined, "explain-0").catch(() => ({}));
    if (role("stop").hidden) return;
    role("progress").textContent = told.before ? `${told.before} before this one …` : `running, ${seconds} s …`;
  }, 700);
}

function stop() {
  asked++;
  abort?.abort();
  for (const purpose of ["explain-0", "explain-1", "reduce", "flip"]) call("api/cancel", {}, purpose).catch(() => {});
  busy(false);
}

// ------------------------------------------------------------------------------------------------------- files, history

async function open(file) {
  try {
    const answer = await call("api/view", { document: JSON.parse(await file.text()) });
    asked++;
    keepSlots(1);
    show(0, file.name, answer);
    say(null);
  } catch (error) {
    const message = `${file.name} is not JSON: ${error.message}`;
    say(error instanceof Told ? error : new Told({ type: "InputError", message }));
  }
}

async function save(kind) {
  if (!slots[0]) return say(new Told({ type: "InputError", message: "There is nothing to save yet. Explain a text first." }));
  try {
    const documents = slots.map((slot) => slot.document.explanations).flat();
    const document_ = { ...slots[0].document, explanations: documents };
    const { name, content } = await call("api/export", { document: document_, kind });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content]));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (error) {
    say(error);
  }
}

const history_ = () => {
  try {
    const kept = JSON.parse(localStorage.getItem("pellucid-history") ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
};

function keep(items) {
  try {
    localStorage.setItem("pellucid-history", JSON.stringify(items.slice(0, KEPT)));
  } catch {
    // a full or forbidden store: the history is only of this page then
  }
  drawHistory(items.slice(0, KEPT));
}

function remember(item) {
  if (model().form.some((f) => f.kind === "image")) return;
  const same = (other) => JSON.stringify([other.model, other.input]) === JSON.stringify([item.model, item.input]);
  keep([item, ...history_().filter((other) => !same(other))]);
}

function drawHistory(items) {
  const box = role("history");
  box.hidden = !items.length;
  const rows = items.map((item) => {
    const row = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = Object.values(item.input ?? {}).map(written).join(" · ");
    button.addEventListener("click", () => {
      if (known.models.some((m) => m.name === item.model)) form.elements.model.value = item.model;
      form.elements.method.value = item.request?.methods?.[0] ?? "deeplift";
      form.elements.target.value = item.request?.targets?.[0] ?? "";
      form.elements.baseline.value = item.request?.baselines?.[0] ?? "";
      drawForm(item.input);
      explain();
    });
    row.append(button);
    return row;
  });
  box.querySelector("ol").replaceChildren(...rows);
}

// ------------------------------------------------------------------------------------------------------- beginning

function options(select, names, titles = []) {
  select.append(...names.map((name, i) => Object.assign(new Option(name, name), { title: titles[i] ?? "" })));
}

async function begin() {
  known = await call("api/models");
  const names = known.models.map((m) => m.name);
  options(form.elements.model, names);
  options(form.elements.other, names);
  form.elements.other.closest("label").hidden = names.length < 2;
  options(form.elements.method, known.methods.map((m) => m.name), known.methods.map((m) => m.summary));
  form.elements.method.value = "deeplift";
  drawForm();
  drawHistory(history_());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    explain();
  });
  form.addEventListener("input", (event) => {
    if (event.target.closest("[data-part]")) role("edit").hidden = true;
    if (event.target.name === "model") return;
    if (event.target.matches("[data-role]")) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      drawLabels();
      explain(false);
    }, DEBOUNCE);
  });
  form.elements.model.addEventListener("change", async () => {
    const kept = await given();
    form.elements.target.value = "";
    drawForm(kept);
    explain();
  });
  role("stop").addEventListener("click", stop);
  role("reduce").addEventListener("click", () => edit("reduce"));
  role("flip").addEventListener("click", () => edit("flip"));
  role("forget").addEventListener("click", () => keep([]));
  role("open").addEventListener("change", (event) => {
    if (event.target.files[0]) open(event.target.files[0]);
    event.target.value = "";
  });
  role("export").addEventListener("change", (event) => {
    if (event.target.value) save(event.target.value);
    event.target.value = "";
  });
  form.querySelector("[data-part]")?.focus();
}

begin().catch(say);
