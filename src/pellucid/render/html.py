"""Explanations → one HTML document, or a fragment for a notebook: HTML and CSS alone, nothing fetched, nothing run.

Every string from outside goes through `_esc`. The passage's text content is the user's text, character for character:
what is added to it (values, special tokens) stands in attributes and is drawn by the style sheet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from ..explanation import Explanation, Word
from .colour import DARK, FAINT, LIGHT, Theme, background, ink_on, strength
from .facts import (
    about,
    at_layers,
    decimals,
    differing,
    equation,
    how,
    is_complete,
    label,
    part_sums,
    percent,
    plain,
    plus_minus,
    proof,
    repeats,
    signed,
    span_of,
    strongest,
    verdict,
)
from .passage import Run, passages, peak

TOP = 10
LEGEND = (-1.0, -0.75, -0.5, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
POLICY = "default-src 'none'; style-src 'unsafe-inline'"

# Where a notebook states its own theme, that wins over the system's.
_SYSTEM_DARK = '.pellucid:not([data-jp-theme-light="true"] *, .vscode-light *)'
_NOTEBOOK_DARK = '.pellucid:is([data-jp-theme-light="false"] *, .vscode-dark *, html[theme="dark"] *)'


def page(explanations: Sequence[Explanation]) -> str:
    """A whole document that stands alone."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_esc(_title(explanations))}</title>\n<style>\n{style()}</style>\n</head>\n"
        f'<body class="pellucid page">\n<main>\n{_body(explanations, linked=True)}</main>\n</body>\n</html>\n'
    )


def fragment(explanations: Sequence[Explanation]) -> str:
    """The same in a box for a notebook: its style reaches nothing outside, and the notebook's nothing inside."""
    return f'<div class="pellucid card">\n<style>\n{style()}</style>\n{_body(explanations, linked=False)}</div>\n'


def style() -> str:
    """The style sheet, every rule under `.pellucid`, with the weight of an id so that no notebook's rule outdoes it."""
    sheet = (files("pellucid.render") / "page.css").read_text("utf-8")
    rules = (
        f".pellucid {{ {_variables(LIGHT)} }}\n{sheet}"
        f"@media screen and (prefers-color-scheme: dark) {{\n{_dark(_SYSTEM_DARK)}}}\n"
        f"@media screen {{\n{_dark(_NOTEBOOK_DARK)}}}\n"
    )
    return rules.replace(".pellucid", ".pellucid:not(#_)")


def _variables(theme: Theme) -> str:
    names = ("paper", "ink", "muted", "line", "positive", "negative")
    return " ".join(f"--{name}: {getattr(theme, name)};" for name in names)


def _dark(selector: str) -> str:
    tint = f"{selector} .tint {{ background-color: var(--d); color: var(--di); }}"
    return f"{selector} {{ color-scheme: dark; {_variables(DARK)} }}\n{tint}\n"


# ------------------------------------------------------------------------------------------------------- the parts


def _body(explanations: Sequence[Explanation], linked: bool) -> str:
    contents = _contents(explanations, linked) if len(explanations) > 1 else ""
    return contents + "".join(_article(e, i, linked) for i, e in enumerate(explanations, 1))


def _title(explanations: Sequence[Explanation]) -> str:
    if len(explanations) != 1:
        return f"{len(explanations)} explanations – Pellucid"
    return f"{_headline(explanations[0])} – Pellucid"


def _headline(e: Explanation) -> str:
    return e.prediction if e.prediction is not None else e.target.name


def _contents(explanations: Sequence[Explanation], linked: bool) -> str:
    differ, common = differing(explanations)
    texts = ["".join([e.text] if isinstance(e.text, str) else e.text[:1]) for e in explanations]
    several = len(set(texts)) > 1
    heads = ("", *(("text",) if several else ()), "prediction", "target", *differ)
    heads += ("strongest word", "output", "relative delta")
    rows = [
        (
            f'<a href="#e{i}">{i}</a>' if linked else str(i),
            *((f"<bdi>{_esc(_short(text))}</bdi>",) if several else ()),
            _esc("" if e.prediction is None else e.prediction),
            _esc(about(e)[0][1]),
            *(_esc(dict(how(e)).get(name, "")) for name in differ),
            "".join(f"<bdi>{_esc(label(w.text))}</bdi> {signed(w.score, decimals(peak(e)))}" for w in e.top(1)),
            plain(e.output, decimals(e.output)),
            f"{e.relative_delta:.2g}",
        )
        for i, (e, text) in enumerate(zip(explanations, texts, strict=True), 1)
    ]
    numbers = [k for k, name in enumerate(heads) if name in ("passes", "output", "relative delta")]
    heading = f'<p class="title" role="heading" aria-level="1">{len(explanations)} explanations</p>'
    return (
        f'<nav class="contents" aria-label="Contents">{heading}{_facts(common)}{_table(heads, rows, numbers)}</nav>\n'
    )


def _short(text: str) -> str:
    """The beginning of a text, as one line."""
    line = label(" ".join(text[:200].split()))
    return line if len(line) <= 40 else f"{line[:39]}…"


def _article(e: Explanation, number: int, linked: bool) -> str:
    anchor = f' id="e{number}"' if linked else ""
    return (
        f"<article{anchor}>\n{_header(e)}{_texts(e)}{_legend(e)}"
        f"{_ranking(e)}{_layers(e)}{_sum(e)}{_tokens(e)}{_about(e)}</article>\n"
    )


def _header(e: Explanation) -> str:
    chance = "" if e.probability is None else f' <span class="chance">{_esc(percent(e.probability))}</span>'
    kind = "Explained" if e.prediction is None else "Prediction"
    return (
        f'<header><p class="eyebrow">{kind}</p>'
        f'<p class="title" role="heading" aria-level="2"><bdi>{_esc(_headline(e))}</bdi>{chance}</p>'
        f"{_facts(about(e))}</header>\n"
    )


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    items = "".join(f"<div><dt>{_esc(k)}</dt><dd><bdi>{_esc(v)}</bdi></dd></div>" for k, v in facts)
    return f'<dl class="facts">{items}</dl>'


def _texts(e: Explanation) -> str:
    every, top = passages(e), peak(e)
    names = [f"Text {i}" for i in range(1, len(every) + 1)] if len(every) > 1 else [""]
    return "".join(
        (f'<p class="eyebrow">{name}</p>' if name else "")
        + f'<div class="passage" dir="auto" lang="">{"".join(_run(e, run, top) for run in runs)}</div>\n'
        for name, runs in zip(names, every, strict=True)
    )


def _run(e: Explanation, run: Run, top: float) -> str:
    if run.unread:
        return f'<span class="unread" title="not read">{_esc(run.text)}</span>'
    if not run.words:
        return _esc(run.text)
    t = strength(run.score, top)
    title = _note(e, run, decimals(top))
    seen = abs(t) >= FAINT
    kind = f"word{'' if run.text else ' special'}{' tint' if seen else ''}{' negative' if seen and t < 0 else ''}"
    token = "" if run.text else f' data-token="{_esc(label(run.words[0].text))}"'
    focus = f' tabindex="0" style="{_tint(t)}"' if seen else ""
    spoken = _esc(title.replace("\n", "; "))
    return (
        f'<span class="{kind}"{token}{focus} role="note" title="{_esc(title)}" aria-label="{spoken}">'
        f"{_esc(run.text)}</span>"
    )


def _note(e: Explanation, run: Run, places: int) -> str:
    """A word and its score; under it its pieces, where it has several."""
    tokens = [i for w in run.words for i in w.tokens]
    error = plus_minus(e, tokens, places)
    lines = [f"{label(run.text or run.words[0].text)}  {signed(run.score, places)}{error and f' {error}'}"]
    pieces = [f"{label(e.shown(i))}  {signed(float(e.scores[i]), places)}" for i in tokens]
    return "\n".join(lines + (pieces if len(pieces) > 1 else []))


def _tint(t: float) -> str:
    """Background and ink on light paper and on dark, for the style sheet to choose from."""
    light, dark = background(t, LIGHT), background(t, DARK)
    return f"--l:{light};--li:{ink_on(light)};--d:{dark};--di:{ink_on(dark)}"


def _legend(e: Explanation) -> str:
    top = peak(e)
    places = decimals(top)
    swatches = "".join(f'<span class="tint" style="{_tint(t)}"></span>' for t in LEGEND)
    ends = (f"{signed(-top, places)} lowers the output", "0", f"{signed(top, places)} raises it")
    return (
        f'<div class="legend" role="img" aria-label="Colour scale: {_esc(", ".join(ends))}">'
        f'<div class="swatches">{swatches}</div>'
        f'<div class="ends">{"".join(f"<span>{_esc(end)}</span>" for end in ends)}</div></div>\n'
    )


def _ranking(e: Explanation) -> str:
    words, again, places = e.top(TOP), repeats(e), decimals(peak(e))
    low, high = span_of(words)
    top = max((abs(w.score) for w in words), default=0.0)
    unit = max(low, high) / top if top else 0.0
    rows = "".join(_bar(w, again.get(w.tokens), low, unit, places, plus_minus(e, w.tokens, places)) for w in words)
    kind = "bars" if e.error is None else "bars estimated"
    return f'<p class="eyebrow">Strongest words</p>\n<ol class="{kind}">{rows}</ol>\n' if words else ""


def _bar(word: Word, repeat: int | None, low: float, unit: float, places: int, error: str) -> str:
    width = abs(word.score) * unit
    left = low - width if word.score < 0 else low
    which = "" if repeat is None else f" <small>{repeat}</small>"
    sign = "negative" if word.score < 0 else "positive"
    place = f"left:{left:.2%};width:{width:.2%}"
    return (
        f'<li><span class="name"><bdi>{_esc(label(word.text))}</bdi>{which}</span>'
        f'<span class="track" aria-hidden="true"><span class="bar {sign}" style="{place}"></span>'
        f'<span class="axis" style="left:{low:.2%}"></span></span>'
        f"{_number(word.score, signed(word.score, places))}{error and f'<small>{_esc(error)}</small>'}</li>"
    )


def _layers(e: Explanation) -> str:
    """What counted most at the output of each layer."""
    places = decimals(peak(e))
    rows = [(str(i), _strongest(at), signed(at.delta, places)) for i, at in enumerate(at_layers(e), 1)]
    table = _table(("layer", "strongest words", "residual"), rows, numbers=(2,))
    return f'<p class="eyebrow">Layer by layer</p>\n{table}\n' if rows else ""


def _strongest(e: Explanation) -> str:
    places = decimals(peak(e))
    words = (f"<bdi>{_esc(label(w.text))}</bdi> {signed(w.score, places)}" for w in strongest(e, special=True))
    return " &ensp; ".join(words)


def _number(value: float, shown: str) -> str:
    """As it is written, with every digit behind it."""
    return f'<data value="{value!r}" title="{value!r}">{shown}</data>'


def _sum(e: Explanation) -> str:
    terms = [f'<span class="term">{_number(t.value, t.shown)} <span>{t.name}</span></span>' for t in equation(e)]
    signs = ("", *(f'<span class="sign"> {sign} </span>' for sign in "++="))
    line = "".join(f'<span class="step">{sign}{term}</span>' for sign, term in zip(signs, terms, strict=True))
    kind = "verdict" if is_complete(e) else "verdict caution"
    return (
        f'<p class="eyebrow">The sum</p>\n<p class="sum">{line}</p>\n'
        f'<p class="{kind}">{_esc(verdict(e))}</p>\n{_notes(e)}{_facts(proof(e))}\n{_parts(e)}'
    )


def _notes(e: Explanation) -> str:
    items = "".join(f"<li>{_esc(note)}</li>" for note in e.notes)
    return f'<ul class="notes">{items}</ul>\n' if items else ""


def _parts(e: Explanation) -> str:
    told = part_sums(e)
    return f'<p class="eyebrow">Parts of the embedding</p>\n<p class="verdict">{_esc(told)}</p>\n' if told else ""


def _tokens(e: Explanation) -> str:
    heads = ["#", "token", "id", "characters", "score"] + ([] if e.error is None else ["±"])
    errors = [] if e.error is None else [(repr(float(s)),) for s in e.error]
    rows = [
        (str(i), f"<bdi>{_esc(label(e.shown(i)))}</bdi>", str(t.id), "–".join(map(str, t.span or ())), repr(float(s)))
        for i, (t, s) in enumerate(zip(e.tokens, e.scores, strict=True))
    ]
    rows = [row + more for row, more in zip(rows, errors or [()] * len(rows), strict=True)]
    return _details(f"All {len(rows)} tokens", _table(heads, rows, numbers=(0, 2, 3, 4, 5)))


def _about(e: Explanation) -> str:
    rows = [(_esc(str(k)), f"<bdi>{_esc(str(v))}</bdi>") for k, v in e.meta.items()]
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
