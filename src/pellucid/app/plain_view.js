// A plain drawing of a View, for where the viewer is not installed: mount(root, view, options) as the viewer has it.
const SHEET = `
:host { display: block; }
.text { font-size: 1.2rem; line-height: 2; white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext; }
.word { border-radius: 4px; padding: 0.1em 0; }
.word:focus-visible { outline: 2px solid; }
.head { font-size: 1.25rem; font-weight: 600; margin: 0; unicode-bidi: isolate; overflow-wrap: anywhere; }
.facts, .verdict, .told, li { font-size: 0.9rem; opacity: 0.85; margin: 0.4rem 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: 0.95rem; width: 100%; }
td { padding: 0.15rem 0.8rem 0.15rem 0; } td:last-child { text-align: end; font-variant-numeric: tabular-nums; }
article + article { border-top: 1px solid #8884; margin-top: 1rem; padding-top: 1rem; }`;

const make = (name, className, text = "") => {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text;
  return node;
};

function drawn(v) {
  const article = make("article", "");
  const name = v.prediction ?? v.headline;
  article.append(make("p", "head", `${name}${v.probability_written ? ` ${v.probability_written}` : ""}`));
  article.append(make("p", "facts", v.facts.map((f) => `${f.name} ${f.value}`).join(" · ")));
  const told = make("p", "told", "\u00a0");
  for (const passage of v.passages) {
    const line = make("div", "text");
    line.dir = "auto";
    for (const run of passage.words) {
      const word = make("span", run.tokens.length ? "word" : "", run.text);
      if (run.tokens.length && run.text) {
        const strength = v.peak ? Math.min(1, Math.abs(run.score) / v.peak) : 0;
        const hue = run.score < 0 ? "211 90% 50%" : "24 95% 50%";
        word.style.backgroundColor = `hsl(${hue} / ${(0.65 * strength).toFixed(3)})`;
        word.tabIndex = 0;
        word.dataset.score = String(run.score);
        const say = () => (told.textContent = `${run.label || run.text}  ${run.score.toFixed(v.places)}`);
        word.addEventListener("pointerenter", say);
        word.addEventListener("focus", say);
      }
      line.append(word);
    }
    article.append(line);
  }
  const table = document.createElement("table");
  table.setAttribute("aria-label", "Strongest words");
  for (const i of v.ranking.slice(0, 8)) {
    const row = table.insertRow();
    row.insertCell().append(make("bdi", "", v.words[i].text));
    row.insertCell().textContent = v.words[i].written;
  }
  article.append(told, table);
  article.append(make("p", "verdict", v.sum.terms.map((t) => `${t.name} ${t.written}`).join(" · ") + `. ${v.sum.verdict}`));
  const notes = make("ul", "notes");
  for (const note of v.notes) notes.append(make("li", "", note));
  if (v.notes.length) article.append(notes);
  return article;
}

export function mount(root, view, options = {}) {
  const shadow = root.shadowRoot ?? root.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(SHEET);
  shadow.adoptedStyleSheets = [sheet];
  const update = (next) => shadow.replaceChildren(...next.explanations.map(drawn));
  update(view);
  return { update, state: () => ({}), restore: () => {}, destroy: () => shadow.replaceChildren() };
}
