// The page of `pellucid app`: a form, and what the server answers drawn by the viewer.
import { call, download, quiet, role, wrong } from "./calling.js";
import { drawEdit } from "./editing.js";
import { chosen, drawChoices, drawForm, drawMenus, example, fillIn, given, model, request } from "./filling.js";
import { drawHistory, history, keep, remember } from "./keeping.js";
import { drawRuns } from "./runs.js";
import { mount } from "./viewer.js";

const DEBOUNCE = 150; // milliseconds of rest before the scores follow what is typed
const form = role("form");
let asked = 0; // the number of the newest question: what answers an older one is not shown
let shown = null; // what the picture is of: the body that asked for it, and its View
let mounted = null;
let layers = new Map(); // the layers of attention that were asked for whole, and those that are
let timer = 0;
let abort = null;

function say(error) {
  const box = role("error");
  box.hidden = !error;
  box.textContent = error ? error.message : "";
}

// ------------------------------------------------------------------------------------------------------- answers

/** Asks for a View and draws it; whether it was drawn. A newer question takes the place of this one. */
async function answer(title, body) {
  const mine = ++asked;
  abort?.abort();
  abort = new AbortController();
  busy(true);
  try {
    const { view } = await call("api/explain", body, "explain", abort.signal);
    if (mine !== asked) return false;
    draw(title, body, view);
    say(null);
    return true;
  } catch (error) {
    if (mine === asked && !quiet(error)) say(error);
    return false;
  } finally {
    if (mine === asked) busy(false);
  }
}

function draw(title, body, view) {
  const box = role("answer");
  box.hidden = false;
  box.querySelector("h2").textContent = title;
  const compares = body.models?.length > 1;
  const panel = compares && shown?.body.models?.length !== body.models.length ? { panel: "Compare" } : {};
  shown = { body, view };
  layers = new Map();
  if (mounted) {
    mounted.update(view);
    if (panel.panel) mounted.restore({ ...mounted.state(), ...panel, compared: [0, view.explanations.length / 2] });
  } else mounted = mount(box.querySelector("div"), view, { state: panel, onTarget, onPanel });
}

/** Asks for all of the attention of the layer that is looked at, where the view has only the strongest keys. */
async function onPanel(panel, { target, measure, layer }) {
  await null; // what is drawn now comes first
  const { body, view } = shown, attention = view.explanations[target]?.attention ?? view.explanations[0]?.attention ?? [];
  const m = attention[Math.min(measure, attention.length - 1)];
  if (panel !== "Attention" || typeof target !== "number" || !m || !view.explanations[target].attention) return;
  const at = Math.min(layer < 0 ? m.layer : layer, m.cells.length - 1), key = `${target} ${m.name} ${at}`;
  const few = (m.few ??= m.kept), size = Math.max(0, ...m.cells[at].map((head) => head.length));
  const kept = layers.get(key) === "whole" ? size : few;
  if (m.kept !== kept) (m.kept = kept), mounted.update(view);
  if (few >= size || layers.has(key)) return;
  layers.set(key, "asked");
  try {
    const { cells } = await call("api/attention", { ...body, explanation: target, measure: m.name, layer: at }, "attention");
    if (shown.view !== view) return;
    m.cells[at] = cells;
    layers.set(key, "whole");
    mounted.update(view);
  } catch (error) {
    layers.delete(key);
    if (!quiet(error)) say(error);
  }
}

function onTarget(name) {
  if (!shown.body.input) return say(wrong("This explanation was saved. Explain its text anew to choose another class."));
  setTarget(name);
}

function setTarget(name) {
  form.elements.target.value = name;
  drawChoices();
  explain();
}

/** The number of a new question: what was asked before it, or is about to be asked, is not shown any more. */
function newQuestion() {
  clearTimeout(timer);
  return ++asked;
}

async function explain(remembered = true) {
  const mine = newQuestion();
  const input = await given();
  if (mine !== asked) return;
  if (!Object.keys(input).length) return say(null), busy(false);
  const body = { models: chosen(), input, request: request() };
  if ((await answer(body.models.join(" and "), body)) && remembered && !model().form.some((f) => f.kind === "image")) remember(body, again);
}

function again(item) {
  fillIn(item);
  explain();
}

async function edit(kind) {
  const mine = newQuestion();
  busy(true, kind);
  try {
    const target = form.elements.target.value.trim();
    const to = model().labels.includes(target) && target !== shown?.view.explanations[0].prediction ? target : null;
    const found = await call(`api/${kind}`, { model: model().name, input: await given(), to }, kind);
    if (mine !== asked) return;
    drawEdit(found, ([text, text_pair]) => {
      drawForm({ text, text_pair });
      explain();
    });
    say(null);
  } catch (error) {
    if (mine === asked && !quiet(error)) say(error);
  } finally {
    if (mine === asked) busy(false);
  }
}

let watching = 0;

/** Tells how the newest question gets on, until it is answered. */
function busy(on, purpose = "explain") {
  clearInterval(watching);
  role("answer").classList.toggle("stale", on);
  role("stop").hidden = !on;
  role("progress").textContent = "";
  if (!on) return;
  const began = performance.now();
  watching = setInterval(async () => {
    const told = await call("api/status", undefined, purpose).catch(() => ({}));
    if (role("stop").hidden) return;
    const seconds = Math.round((performance.now() - began) / 1000);
    role("progress").textContent = told.before ? `${told.before} before this one …` : `running, ${seconds} s, runs of the model: ${told.passes ?? 0} …`;
  }, 700);
}

function stop() {
  asked++;
  abort?.abort();
  for (const purpose of ["explain", "reduce", "flip"]) call("api/cancel", {}, purpose).catch(() => {});
  busy(false);
}

// ------------------------------------------------------------------------------------------------------- files

async function open(file) {
  const mine = newQuestion();
  let document_;
  try {
    document_ = JSON.parse(await file.text());
  } catch (error) {
    busy(false);
    return say(wrong(`${file.name} is not JSON: ${error.message}. Expected what Save as JSON, save("x.json") or --json writes.`));
  }
  if (mine === asked && (await answer(file.name, { document: document_ }))) role("answer").scrollIntoView();
}

async function save(kind) {
  if (!shown) return say(wrong("There is nothing to save yet. Explain a text first."));
  try {
    const { name, content } = await call("api/export", { ...shown.body, kind }, "export");
    download(name, content);
  } catch (error) {
    if (!quiet(error)) say(error);
  }
}

// ------------------------------------------------------------------------------------------------------- beginning

function listen() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    explain();
  });
  form.addEventListener("input", (event) => {
    if (event.target.closest("[data-part]")) role("edit").hidden = true;
    if (event.target.name === "model" || event.target.matches("[data-role]")) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      drawChoices();
      explain(false);
    }, DEBOUNCE);
  });
  form.elements.model.addEventListener("change", async () => {
    const kept = await given();
    form.elements.target.value = "";
    role("edit").hidden = true;
    drawForm(kept);
    explain();
  });
  role("labels").addEventListener("click", (event) => event.target.matches("button") && setTarget(event.target.dataset.target));
  role("example").addEventListener("click", () => {
    drawForm(example());
    explain();
  });
  role("stop").addEventListener("click", stop);
  role("reduce").addEventListener("click", () => edit("reduce"));
  role("flip").addEventListener("click", () => edit("flip"));
  role("forget").addEventListener("click", () => keep([], again));
  role("open").addEventListener("change", (event) => {
    if (event.target.files[0]) open(event.target.files[0]);
    event.target.value = "";
  });
  role("export").addEventListener("change", (event) => {
    if (event.target.value) save(event.target.value);
    event.target.value = "";
  });
}

async function begin() {
  const told = await call("api/models");
  drawMenus(told);
  if (told.models.length) {
    drawForm();
    listen();
    drawHistory(history(), again);
    form.querySelector("[data-part]")?.focus();
  }
  const open = async (run, row) => (await answer(`${run}, row ${row.row}`, { run, place: row.place })) && role("answer").scrollIntoView();
  await drawRuns(told.runs, open, say);
}

begin().catch(say);
