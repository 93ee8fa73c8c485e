"""A View → one HTML document, or a fragment for a notebook: nothing is fetched.

The document holds the View twice: as HTML and CSS that need no script, for readers without one and for paper, and as
JSON for the interactive viewer, the only script that its content-security policy lets run. The fragment has no script.
Of many explanations the HTML has the first ones whole and all of them as a table, and of a long text its sentences but
no table of its tokens, and says so: the viewer has all.

Every string from outside goes through `_esc`. The passage's text content is the user's text, character for character:
what is added to it (values, special tokens) stands in attributes and is drawn by the style sheet.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from itertools import accumulate

from ..number_text import percent, plus_minus, signed
from ..passages import Run
from ..view import ExplanationView, Fact, Item, View
from ..viewer import source
from .colour import DARK, FAINT, LIGHT, Theme, background, ink_on, strength
from .facts import NUMBERS, drawn, label, pieces_of, ranked, reach, short
from .packed import embedded

TOP = 10
MOST_TOKENS = 2_500
"""How many tokens the HTML that needs no script shows one by one, in all its explanations together."""
SOURCES = 4
"""So many sources of a sentence are named; the others are counted."""
MOST_ROWS = 500
"""How many explanations its table lists."""
STEPS = 50
"""The HTML's colours are those of strengths in steps of 1/50."""
LEGEND = (-1.0, -0.75, -0.5, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src 'sha256-{script}'"
_START = """
const read = () => { try { return JSON.parse(decodeURIComponent(location.hash.slice(1))); } catch { return {}; } };
const view = JSON.parse(document.querySelector('script[type="application/json"]').textContent);
const address = (state) => "#" + encodeURIComponent(JSON.stringify(state));
const onState = (state) => { try { history.replaceState(null, "", address(state)); } catch {} };
const viewer = mount(document.querySelector(".viewer-root"), view, { state: read(), onState });
addEventListener("hashchange", () => viewer.restore(read()));
document.documentElement.classList.add("live");
"""
"""Starts the viewer on the page's own JSON; the fragment of the page's address keeps what was selected."""

# Where a notebook states its own theme, that wins over the system's.
_SYSTEM_DARK = '.pellucid:not([data-jp-theme-light="true"] *, .vscode-light *)'
_NOTEBOOK_DARK = '.pellucid:is([data-jp-theme-light="false"] *, .vscode-dark *, html[theme="dark"] *)'


def page(view: View) -> str:
    """A whole document that stands alone."""
    script, digest = _script()
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY.format(script=digest)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_esc(_title(view))}</title>\n<style>\n{style()}</style>\n</head>\n"
        '<body class="pellucid page">\n<div class="viewer-root"></div>\n'
        f'<main class="static">\n{_body(view, linked=True)}</main>\n'
        f'<script type="application/json">{embedded(view)}</script>\n<script type="module">{script}</script>\n'
        "</body>\n</html>\n"
    )


@cache
def _script() -> tuple[str, str]:
    """The page's script, and its SHA-256 as a content-security policy writes it."""
    script = f"\n{source()}\n{_START}"
    return script, b64encode(sha256(script.encode("utf-8")).digest()).decode("ascii")


def fragment(view: View) -> str:
    """The same in a box for a notebook: its style reaches nothing outside, and the notebook's nothing inside."""
    return _card(_body(view, linked=False))


def _card(content: str) -> str:
    return f'<div class="pellucid card">\n<style>\n{style()}</style>\n{content}</div>\n'


@cache
def style() -> str:
    """The style sheet, every rule under `.pellucid`, with the weight of an id so that no notebook's rule outdoes it."""
    sheet = (files("pellucid.render") / "page.css").read_text("utf-8")
    rules = (
        f".pellucid {{ {_variables(LIGHT)} }}\n{sheet}{_tints()}"
        f"@media screen and (prefers-color-scheme: dark) {{\n{_dark(_SYSTEM_DARK)}}}\n"
        f"@media screen {{\n{_dark(_NOTEBOOK_DARK)}}}\n"
    )
    return rules.replace(".pellucid", ".pellucid:not(#_)")


def _tints() -> str:
    """A rule for each colour: background and ink on light paper and on dark, for the style sheet to choose from."""
    found = ""
    for step in range(-STEPS, STEPS + 1):
        light, dark = background(step / STEPS, LIGHT), background(step / STEPS, DARK)
        names = f"--l:{light};--li:{ink_on(light)};--d:{dark};--di:{ink_on(dark)}"
        found += f".pellucid .{_step(step)} {{ {names} }}\n"
    return found


def _tint(t: float) -> str:
    """The classes of what has the colour of a strength in −1 … 1."""
    return f"tint {_step(round(STEPS * t))}"


def _step(step: int) -> str:
    return f"{'down' if step < 0 else 'up'}{abs(step)}"


def _variables(theme: Theme) -> str:
    names = ("paper", "ink", "muted", "line", "positive", "negative")
    return " ".join(f"--{name}: {getattr(theme, name)};" for name in names)


def _dark(selector: str) -> str:
    tint = f"{selector} .tint {{ background-color: var(--d); color: var(--di); }}"
    return f"{selector} {{ color-scheme: dark; {_variables(DARK)} }}\n{tint}\n"


# ------------------------------------------------------------------------------------------------------- the parts


def _body(view: View, linked: bool) -> str:
    whole = _told_whole(view)
    contents = _contents(view, whole if linked else 0) if len(view.explanations) > 1 else ""
    rest, seen = len(view.explanations) - whole, set[tuple[str, ...]]()

    def again(v: ExplanationView) -> bool:
        text = tuple(passage.text for passage in v.passages)
        known = text in seen
        seen.add(text)
        return known

    told = f"The other {rest} are shown where JavaScript runs; the table above lists the first {MOST_ROWS}."
    left = f'<p class="verdict">{told}</p>\n' if rest else ""
    articles = "".join(_article(v, i, linked, again(v)) for i, v in enumerate(view.explanations[:whole], 1))
    return contents + _sources(view) + articles + left


def _sources(view: View) -> str:
    """For each sentence of an answer the sources that carried it most, how much all others did, and the residual."""
    found = view.sources
    if found is None:
        return ""
    rows: list[tuple[str, ...]] = []
    for v, scores in zip(view.explanations, found.scores, strict=True):
        each = [(unit, score) for unit, score in zip(found.units, scores, strict=True) if unit.cited]
        each.sort(key=lambda one: -abs(one[1]))
        named = [(unit.name, score) for unit, score in each[:SOURCES]]
        if others := each[SOURCES:]:
            named.append((f"{len(others)} more", sum(score for _, score in others)))
        named.append(("the answer itself and the template", sum(scores) - sum(score for _, score in each)))
        change = v.sum.terms[3].value - v.sum.terms[0].value
        shares = [f" ({percent(score / change)})" if change else "" for _, score in named]
        cells = [f"{_bdi(label(n))} {signed(x, v.places)}{share}" for (n, x), share in zip(named, shares, strict=True)]
        rows.append((_bdi(label(v.target.name)), " &ensp; ".join(cells), v.sum.terms[2].written))
    table = _table(("explained", "comes from", "residual"), rows, numbers=(2,))
    return f'<section class="sources"><p class="eyebrow">Sources</p>\n{table}</section>\n'


def _told_whole(view: View) -> int:
    """How many explanations, from the first, have no more than `MOST_TOKENS` together; the first in any case."""
    sizes = accumulate(len(v.tokens) for v in view.explanations)
    return max(1, sum(size <= MOST_TOKENS for size in sizes)) if view.explanations else 0


def _title(view: View) -> str:
    if len(view.explanations) != 1:
        return f"{len(view.explanations)} explanations – Pellucid"
    return f"{view.explanations[0].headline} – Pellucid"


def _contents(view: View, linked: int) -> str:
    """A row for each explanation; the first `linked` lead to their articles."""
    texts = [v.passages[0].text if v.passages else "" for v in view.explanations]
    several = len(set(texts)) > 1
    heads = ("", *(("text",) if several else ()), "prediction", "target", *view.differing)
    heads += ("strongest word", "output", "relative delta")
    rows = [
        (
            f'<a href="#e{i}">{i}</a>' if i <= linked else str(i),
            *((_bdi(short(text)),) if several else ()),
            _esc(v.prediction or ""),
            _esc(v.facts[0].value),
            *map(_esc, own),
            _words(ranked(v, 1)),
            v.output_written,
            v.sum.relative_written,
        )
        for i, (v, own, text) in enumerate(zip(view.explanations, view.own, texts[:MOST_ROWS], strict=False), 1)
    ]
    numbers = [k for k, name in enumerate(heads) if name in NUMBERS]
    heading = f'<p class="title" role="heading" aria-level="1">{len(view.explanations)} explanations</p>'
    facts = _facts(view.common)
    told = "Of each text the first explanation is printed whole; this table has all of them."
    heading += f'<p class="printed">{told}</p>' if view.same_input else ""
    return f'<nav class="contents" aria-label="Contents">{heading}{facts}{_table(heads, rows, numbers)}</nav>\n'


def _article(v: ExplanationView, number: int, linked: bool, again: bool) -> str:
    """again: whether an explanation of the same text stands before it; paper has the first of a text only."""
    anchor = (f' id="e{number}"' if linked else "") + (' class="again"' if again else "")
    return (
        f"<article{anchor}>\n{_header(v)}{_notes(v)}{_texts(v)}{_legend(v)}{_reading(v)}"
        f"{_ranking(v)}{_layers(v)}{_sum(v)}{_tokens(v)}{_about(v)}</article>\n"
    )


def _header(v: ExplanationView) -> str:
    chance = "" if v.probability is None else f' <span class="chance">{_esc(v.probability_written)}</span>'
    kind = "Explained" if v.prediction is None else "Prediction"
    true = [Fact("label", v.label)] if v.label is not None else []
    return (
        f'<header><p class="eyebrow">{kind}</p>'
        f'<p class="title" role="heading" aria-level="2">{_bdi(v.headline)}{chance}</p>'
        f"{_facts([*v.facts, *true])}</header>\n"
    )


def _facts(facts: Iterable[Fact]) -> str:
    items = "".join(f"<div><dt>{_esc(f.name)}</dt><dd{_meaning(f)}>{_bdi(f.value)}</dd></div>" for f in facts)
    return f'<dl class="facts">{items}</dl>'


def _meaning(fact: Fact) -> str:
    return f' title="{_esc(fact.meaning)}"' if fact.meaning else ""


def _texts(v: ExplanationView) -> str:
    found = ""
    for passage in v.passages:
        level, peak = (passage.sentences, v.peaks["sentences"]) if _is_long(v) else (passage.words, v.peak)
        runs = "".join(_run(v, run, peak) for run in drawn(level, peak))
        name = f'<p class="eyebrow">{_esc(passage.role)}</p>' if len(v.passages) > 1 else ""
        found += f'{name}<div class="passage" dir="auto" lang="">{runs}</div>\n'
    return found


def _is_long(v: ExplanationView) -> bool:
    return len(v.tokens) > MOST_TOKENS


def _run(v: ExplanationView, run: Run, peak: float) -> str:
    if run.unread:
        return f'<span class="unread" title="not read">{_esc(run.text)}</span>'
    if not run.tokens:
        return _esc(run.text)
    t = strength(run.score, peak)
    title = _described(v, run)
    seen = abs(t) >= FAINT
    colour = f" {_tint(t)}{' negative' if t < 0 else ''}" if seen else ""
    token = "" if run.text else f' data-token="{_esc(label(run.label))}"'
    focus = ' tabindex="0"' if seen else ""
    spoken = _esc(title.replace("\n", "; "))
    special = "" if run.text else " special"
    return (
        f'<span class="word{special}{colour}"{token}{focus} role="note" title="{_esc(title)}" aria-label="{spoken}">'
        f"{_esc(run.text)}</span>"
    )


def _described(v: ExplanationView, run: Run) -> str:
    """A word and its score; under it its pieces, where it has several."""
    error = plus_minus(run.error, v.places)
    lines = [f"{label(run.label)}  {signed(run.score, v.places)}{error and f' {error}'}"]
    pieces = [f"{label(t.text)}  {signed(t.score, v.places)}" for t in pieces_of(v, run) if not _is_long(v)]
    return "\n".join(lines + (pieces if len(pieces) > 1 else []))


def _legend(v: ExplanationView) -> str:
    peak = v.peaks["sentences"] if _is_long(v) else v.peak
    swatches = "".join(f'<span class="{_tint(t)}"></span>' for t in LEGEND)
    ends = (f"{signed(-peak, v.places)} lowers the output", "0", f"{signed(peak, v.places)} raises it")
    return (
        f'<div class="legend" role="img" aria-label="Colour scale: {_esc(", ".join(ends))}">'
        f'<div class="swatches">{swatches}</div>'
        f'<div class="ends">{"".join(f"<span>{_esc(end)}</span>" for end in ends)}</div></div>\n'
    )


def _reading(v: ExplanationView) -> str:
    """What a newcomer is told of the colours; and a remark on special tokens, where there is one."""
    remark = f'<ul class="notes"><li>{_esc(v.remark)}</li></ul>\n' if v.remark else ""
    return remark + _details("How to read it", f'<p class="verdict">{_esc(v.reading)}</p>')


def _ranking(v: ExplanationView) -> str:
    words = ranked(v, TOP)
    low, _, unit = reach(words)
    rows = "".join(_bar(w, low, unit) for w in words)
    kind = "bars" if all(t.error is None for t in v.tokens) else "bars estimated"
    return f'<p class="eyebrow">Strongest {v.unit}s</p>\n<ol class="{kind}">{rows}</ol>\n' if words else ""


def _bar(word: Item, low: float, unit: float) -> str:
    width = abs(word.score) * unit
    left = low - width if word.score < 0 else low
    which = "" if word.repeat is None else f" <small>{word.repeat}</small>"
    sign = "negative" if word.score < 0 else "positive"
    place = f"left:{left:.2%};width:{width:.2%}"
    error = f"<small>{_esc(word.error_written)}</small>" if word.error_written else ""
    return (
        f'<li><span class="name">{_bdi(label(word.text))}{which}</span>'
        f'<span class="track" aria-hidden="true"><span class="bar {sign}" style="{place}"></span>'
        f'<span class="axis" style="left:{low:.2%}"></span></span>'
        f"{_number(word.score, word.written)}{error}</li>"
    )


def _layers(v: ExplanationView) -> str:
    """What counted most at the output of each layer."""
    rows = [(str(layer.number), _words(layer.strongest), layer.written) for layer in v.layers]
    table = _table(("layer", f"strongest {v.unit}s", "residual"), rows, numbers=(2,))
    return f'<p class="eyebrow">Layer by layer</p>\n{table}\n' if rows else ""


def _words(words: Iterable[Item]) -> str:
    return " &ensp; ".join(f"{_bdi(label(w.text))} {w.written}" for w in words)


def _number(value: float, shown: str) -> str:
    """As it is written, with every digit behind it."""
    return f'<data value="{value!r}" title="{value!r}">{shown}</data>'


def _sum(v: ExplanationView) -> str:
    terms = [f'<span class="term">{_number(t.value, t.written)} <span>{t.name}</span></span>' for t in v.sum.terms]
    signs = ("", *(f'<span class="sign"> {sign} </span>' for sign in "++="))
    line = "".join(f'<span class="step">{sign}{term}</span>' for sign, term in zip(signs, terms, strict=True))
    kind = "verdict" if v.sum.complete else "verdict caution"
    return (
        f'<p class="eyebrow">The sum</p>\n<p class="sum">{line}</p>\n'
        f'<p class="{kind}">{_esc(v.sum.verdict)}</p>\n{_facts(v.proof)}\n{_parts(v)}'
    )


def _notes(v: ExplanationView) -> str:
    items = "".join(f"<li>{_esc(note)}</li>" for note in v.notes)
    return f'<ul class="notes">{items}</ul>\n' if items else ""


def _parts(v: ExplanationView) -> str:
    told = v.parts.sentence if v.parts else ""
    return f'<p class="eyebrow">Parts of the embedding</p>\n<p class="verdict">{_esc(told)}</p>\n' if told else ""


def _tokens(v: ExplanationView) -> str:
    if _is_long(v):
        return f'<p class="verdict">The {len(v.tokens)} tokens are listed where JavaScript runs.</p>\n'
    estimated = any(t.error is not None for t in v.tokens)
    heads = ["#", "token", "id", "characters", "score"] + (["±"] if estimated else [])
    rows = [
        (str(i), _bdi(label(t.text)), str(t.id), "–".join(map(str, t.span or ())), repr(t.score))
        + ((repr(t.error),) if estimated else ())
        for i, t in enumerate(v.tokens)
    ]
    return _details(f"All {len(rows)} tokens", _table(heads, rows, numbers=(0, 2, 3, 4, 5)))


def _about(v: ExplanationView) -> str:
    rows = [(_esc(name), _bdi(str(value))) for name, value in v.meta.items()]
    return _details("How it was made", _table(("what", "value"), rows)) if rows else ""


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{_esc(summary)}</summary>{content}</details>\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Cells are HTML already; `numbers` are the columns set to the right."""
    kinds = [' class="number"' if i in numbers else "" for i in range(len(heads))]
    top = "".join(f'<th scope="col"{k}>{_esc(h)}</th>' for h, k in zip(heads, kinds, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{k}>{cell}</td>' for cell, k in zip(row, kinds, strict=True))}</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _esc(text: str) -> str:
    """Text from outside, as text: nothing in it is markup. What UTF-8 cannot hold becomes a question mark."""
    return escape(text.encode("utf-8", "replace").decode("utf-8"), quote=True)


def _bdi(text: str) -> str:
    """Text from outside, whose direction does not reach what stands around it."""
    return f"<bdi>{_esc(text)}</bdi>"
