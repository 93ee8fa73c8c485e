"""Draws a Summary as one HTML page that stands alone: no network, no script, every outside string escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, TypeAlias

from ..number_text import signed
from .summary_text import agreed, not_certain, told_notes, untested

Driver: TypeAlias = Any
Summary: TypeAlias = Any
"""As `summary` has them, which draws itself by this file."""

_STYLE = """
:root{color-scheme:light dark;--ink:light-dark(#1c2733,#e6e9ee);--soft:light-dark(#5d6b7a,#9aa7b5);
--line:light-dark(#dde3ea,#313b47);--for:#2b7bba;--against:#c8553d}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}table{border-collapse:collapse;width:100%}
td,th{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;font-weight:400}
th{color:var(--soft);font-size:.85rem}.r{text-align:right;white-space:nowrap}summary{white-space:nowrap}
svg{width:15rem;height:1.2rem;display:block}.note{color:var(--soft);font-size:.9rem}
details{font-size:.9rem}summary{cursor:pointer}.wide{overflow-x:auto;
background:linear-gradient(90deg,Canvas 30%,transparent),linear-gradient(90deg,transparent,Canvas 70%) 100% 0,
linear-gradient(90deg,#8886,transparent),linear-gradient(90deg,transparent,#8886) 100% 0;background-repeat:no-repeat;
background-size:2.5rem 100%,2.5rem 100%,.7rem 100%,.7rem 100%;background-attachment:local,local,scroll,scroll}
.uncertain{opacity:65%}
mark{background:color-mix(in srgb,var(--for) 30%,transparent);
color:inherit}
"""
HEADS = ("word", "", "mean", "size", "documents", "others", "z")
"""The columns of drivers."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(s: Summary) -> str:
    """The page of a Summary."""
    title = f"What {s.model} goes by"
    accuracy = "" if math.isnan(s.accuracy) else f", accuracy {s.accuracy:.1%}"
    parts = [f"<h1>{escape(title)}</h1><p>{s.rows:,} rows{accuracy}</p>"]
    for name, drivers in s.drivers.items():
        parts.append(_drivers(s, name, drivers))
    if any(s.drivers.values()):
        parts.append(
            "<p class=note>A word opens its examples. The large dot is the mean of its score over the documents that "
            f"have it (of a driver at least {s.support}), the line the mean's 95 % interval by a bootstrap over "
            "documents, and a small dot the score of one document, the mean over the word's places in it. Size is the "
            "mean of |score|; "
            "others is the mean in the other classes; z says how far the labels of the texts with the word lean to the "
            "class. Only words are shown that do more than ordinary words do (three deviations of their means, at a "
            "false discovery rate of 5 %).</p>"
        )
    if s.removals:
        rows = [[r.word, r.target, f"{r.flips} of {r.texts}", f"{r.control} of {r.texts}"] for r in s.removals]
        heads = ["word", "class", "changed without it", "changed without another word"]
        parts += ["<h2>Predictions that change when a word is removed</h2>", table(heads, rows)]
    parts += [*_places(s), *_wrong(s), *_trust(s)]
    return document(title, parts)


def document(title: str, parts: Iterable[str]) -> str:
    """A page of parts that are escaped already."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{_POLICY}"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


_NUMBER = re.compile(r"[+−–-]?[\d,.e+-]*( of [\d,]+)?%?")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], escaped: bool = False) -> str:
    """A table; a column is to the right where its first cell is a number. escaped: whether its cells are HTML."""
    given = [list(row) for row in rows]
    right = [bool(_NUMBER.fullmatch(cell)) for cell in given[0]] if given else [False] * len(heads)
    cell = (lambda text: text) if escaped else escape
    mark = lambda name, k, text: f"<{name}{' class=r' if right[k] else ''}>{text}</{name}>"
    head = "".join(mark("th", k, escape(h)) for k, h in enumerate(heads))
    body = "".join("<tr>" + "".join(mark("td", k, cell(c)) for k, c in enumerate(row)) + "</tr>" for row in given)
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def _drivers(s: Summary, name: str, drivers: Sequence[Driver]) -> str:
    if not drivers:
        if not (words := s.uncertain.get(name)):
            return f"<h2>{escape(name)}</h2><p>No word stands out.</p>"
        of_scores = [0.0, *(x for d in words for x in d.scores)]  # an interval of few documents may be endless
        rows = [_driver(s, d, (min(of_scores), max(of_scores))) for d in sorted(words, key=lambda d: -d.mean)]
        told = escape(not_certain(s)[0].upper() + not_certain(s)[1:])
        return f"<h2>{escape(name)}</h2><p>{told}</p><div class=uncertain>{table(HEADS, rows, escaped=True)}</div>"
    across = span_of(drivers)
    rows = [_driver(s, d, across) for d in sorted(drivers, key=lambda d: -d.mean)]
    return f"<h2>What drives {escape(name)}</h2>{table(HEADS, rows, escaped=True)}"


def span_of(drivers: Sequence[Driver]) -> tuple[float, float]:
    """The scores at the two edges of a picture that has all drivers, and 0."""
    values = [v for d in drivers for v in (0.0, d.mean, *d.scores)]
    values += [v for d in drivers for v in (d.low, d.high) if math.isfinite(v)]
    return min(values), max(values)


def dots(d: Driver, across: tuple[float, float]) -> str:
    """The scores of some documents as faint dots, their mean as a dot, and its interval as a line. across: the scores
    at the two edges."""
    low, high = across
    at = lambda v: 6 + 228 * max(0.0, min(1.0, (v - low) / ((high - low) or 1.0)))
    colour = "var(--for)" if d.mean > 0 else "var(--against)"
    said = escape(f"{d.word}: {signed(d.mean, 3)}, from {signed(d.low, 3)} to {signed(d.high, 3)}")
    each = "".join(f'<circle cx="{at(v):.1f}" cy={5 + 8 * (k % 2)} r=1.6 />' for k, v in enumerate(d.scores))
    return (
        f'<svg viewBox="0 0 240 18" role=img aria-label="{said}"><line x1="{at(0):.1f}" x2="{at(0):.1f}" y1=0 y2=18 '
        f'stroke="var(--line)" />'
        f'<g fill="var(--soft)" opacity=".55">{each}</g>'
        f'<line x1="{at(d.low):.1f}" x2="{at(d.high):.1f}" y1=9 y2=9 stroke="{colour}" stroke-width=2 />'
        f'<circle cx="{at(d.mean):.1f}" cy=9 r=4 fill="{colour}" /></svg>'
    )


def _driver(s: Summary, d: Driver, across: tuple[float, float]) -> list[str]:
    """The cells of a driver."""
    examples = "".join(f"<p>{_marked(s.examples[r], d.word)}</p>" for r in d.rows[:3] if r in s.examples)
    word = f"<details><summary>{escape(d.word)}</summary>{examples}</details>"
    number = lambda v: "–" if math.isnan(v) else signed(v, 2)
    numbers = [number(d.mean), f"{d.size:.2f}", f"{d.documents:,}", number(d.others), number(d.z)]
    return [word, dots(d, across), *numbers]


def _marked(text: str, word: str) -> str:
    """A text with the first place of a word marked, and what stands around it."""
    at = text.casefold().find(word)
    if at < 0 or len(text.casefold()) != len(text):
        return escape(text[:300])
    start, end = max(0, at - 150), at + len(word) + 150
    before, after = (
        ("…" if start else "") + text[start:at],
        text[at + len(word) : end] + ("…" if end < len(text) else ""),
    )
    return f"{escape(before)}<mark>{escape(text[at : at + len(word)])}</mark>{escape(after)}"


def _wrong(s: Summary) -> list[str]:
    parts: list[str] = []
    if s.confusion:
        names = sorted({p for _, p in s.confusion})
        labels = sorted({name for name, _ in s.confusion})
        rows = [[label, *(f"{s.confusion.get((label, p), 0):,}" for p in names)] for label in labels]
        parts += ["<h2>Where it is wrong</h2>", table(["label \\ prediction", *names], rows)]
    for name, words in s.wrong_words.items():
        rows = [[w, signed(total, 2), str(n)] for w, total, n in words[:10]]
        parts += [f"<h2>Words in texts wrongly called {escape(name)}</h2>", table(["word", "sum", "texts"], rows)]
    if s.mistakes:
        told = [
            [str(m.row), m.label, f"{m.prediction} {m.probability:.2f}", strongest(m.words), m.text] for m in s.mistakes
        ]
        parts += [
            f"<h2>The most confident of {s.wrong:,} mistakes</h2>",
            table(["row", "label", "prediction", "words", "text"], told),
        ]
    if s.slices:
        rows = [
            [k, f"{v['rows']:,.0f}", f"{v['accuracy']:.3f}", f"{v['probability']:.3f}", f"{v['failures']:,.0f}"]
            for k, v in s.slices.items()
        ]
        parts += ["<h2>Slices</h2>", table(["slice", "rows", "accuracy", "probability", "failures"], rows)]
    return parts


def _places(s: Summary) -> list[str]:
    """Texts whose decision hangs on one place, and what became of predictions without it."""
    if not s.hangs:
        return []
    tests = {r.word: r for r in s.places}
    rows: list[list[str]] = []
    for kind, (n, some) in s.hangs.items():
        r = tests.get(kind)
        found = ["–", "–"] if r is None else [f"{r.flips} of {r.texts}", f"{r.control} of {r.texts}"]
        example = next((s.examples[row] for row in some if row in s.examples), "")
        rows.append([kind, f"{n:,}", *found, example[:200]])
    heads = ["half of the scores on", "texts", "changed without it", "changed without another word", "a text"]
    told = [f"<p class=note>{escape(dash)}</p>"] if (dash := untested(s)) else []
    return ["<h2>Texts that hang on one place</h2>", table(heads, rows), *told]


def strongest(words: Sequence[tuple[str, float]]) -> str:
    """Words with their numbers."""
    return ", ".join(f"{w} {signed(v, 2)}" for w, v in words)


def _trust(s: Summary) -> list[str]:
    rows = [[f"relative residual, {q} of rows at most", f"{v:.1e}"] for q, v in s.deltas.items()]
    rows += [[f"status {name}", f"{n:,}"] for name, n in s.statuses.items()]
    rows += [[f"failure {name}", f"{n:,}"] for name, n in s.failures.items()]
    rows += [["scores cancel", f"{s.cancelling:,}"]]
    rows += [[f"agreement of {a} and {b}", agreed(x)] for (a, b), x in s.agreement.items()]
    rows += [[note, f"{n:,}"] for note, n in told_notes(s).items()]
    return ["<h2>How far it can be trusted</h2>", table(["", "rows"], rows)]
