"""Draws a Summary as one HTML page that stands alone: no network, no script, every outside string escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, TypeAlias

Driver: TypeAlias = Any
Summary: TypeAlias = Any
"""As `summary` has them, which draws itself by this file."""

_STYLE = """
:root{color-scheme:light dark;--ink:light-dark(#1c2733,#e6e9ee);--soft:light-dark(#5d6b7a,#9aa7b5);
--line:light-dark(#dde3ea,#313b47);--for:#2b7bba;--against:#c8553d}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}table{border-collapse:collapse;width:100%}
td,th{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top;font-weight:400}
th{color:var(--soft);font-size:.85rem}td:first-child,th:first-child,.text{text-align:left}
svg{width:16rem;height:1.2rem;display:block}.note{color:var(--soft);font-size:.9rem}
details{font-size:.9rem}summary{cursor:pointer}.wide{overflow-x:auto}
mark{background:color-mix(in srgb,var(--for) 30%,transparent);
color:inherit}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(s: Summary) -> str:
    """The page of a Summary."""
    title = f"What {s.model} goes by"
    accuracy = "" if math.isnan(s.accuracy) else f", accuracy {s.accuracy:.1%}"
    parts = [f"<h1>{escape(title)}</h1><p>{s.rows:,} rows{accuracy}</p>"]
    for name, drivers in s.drivers.items():
        parts.append(_drivers(s, name, drivers))
    if s.drivers:
        parts.append(
            "<p class=note>A dot is the mean of a word's score over the documents that have it (at least "
            f"{s.support}); the line is its 95 % interval by a bootstrap over documents. Size is the mean of |score|; "
            "others is the mean in the other classes; z says how far the labels of the texts with the word lean to the "
            "class. Only words are shown that do more than ordinary words do (three deviations of their means, at a "
            "false discovery rate of 5 %).</p>"
        )
    if s.removals:
        rows = [[r.word, r.target, f"{r.flips} of {r.texts}", f"{r.control} of {r.texts}"] for r in s.removals]
        heads = ["word", "class", "changed without it", "changed without another word"]
        parts += ["<h2>Predictions that change when a word is removed</h2>", _table(heads, rows)]
    parts += [*_wrong(s), *_trust(s)]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{_POLICY}"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def _drivers(s: Summary, name: str, drivers: Sequence[Driver]) -> str:
    if not drivers:
        return f"<h2>{escape(name)}</h2><p>No word stands out.</p>"
    most = max(max(abs(d.low), abs(d.high)) for d in drivers) or 1.0
    rows = "".join(_driver(s, d, most) for d in sorted(drivers, key=lambda d: -d.mean))
    heads = "<tr><th>word</th><th></th><th>mean</th><th>size</th><th>documents</th><th>others</th><th>z</th></tr>"
    return f"<h2>What drives {escape(name)}</h2><div class=wide><table>{heads}{rows}</table></div>"


def _driver(s: Summary, d: Driver, most: float) -> str:
    at = lambda v: 120 + 110 * max(-1.0, min(1.0, v / most))
    colour = "var(--for)" if d.mean > 0 else "var(--against)"
    said = escape(f"{d.word}: {d.mean:+.3f}, from {d.low:+.3f} to {d.high:+.3f}")
    picture = (
        f'<svg viewBox="0 0 240 18" role=img aria-label="{said}"><line x1=120 x2=120 y1=0 y2=18 stroke="var(--line)" />'
        f'<line x1="{at(d.low):.1f}" x2="{at(d.high):.1f}" y1=9 y2=9 stroke="{colour}" stroke-width=2 />'
        f'<circle cx="{at(d.mean):.1f}" cy=9 r=4 fill="{colour}" /></svg>'
    )
    examples = "".join(f"<p>{_marked(s.examples[r], d.word)}</p>" for r in d.rows[:3] if r in s.examples)
    word = f"<details><summary>{escape(d.word)}</summary>{examples}</details>"
    number = lambda v: "–" if math.isnan(v) else f"{v:+.2f}"
    cells = (number(d.mean), f"{d.size:.2f}", f"{d.documents:,}", number(d.others), number(d.z))
    return f"<tr><td>{word}</td><td>{picture}</td>{''.join(f'<td>{c}</td>' for c in cells)}</tr>"


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
        parts += ["<h2>Where it is wrong</h2>", _table(["label \\ prediction", *names], rows)]
    for name, words in s.wrong_words.items():
        rows = [[w, f"{total:+.2f}", str(n)] for w, total, n in words[:10]]
        parts += [f"<h2>Words in texts wrongly called {escape(name)}</h2>", _table(["word", "sum", "texts"], rows)]
    if s.mistakes:
        told = [
            [str(m.row), m.label, f"{m.prediction} {m.probability:.2f}", _strongest(m.words), m.text]
            for m in s.mistakes
        ]
        parts += ["<h2>The most confident mistakes</h2>", _table(["row", "label", "prediction", "words", "text"], told)]
    if s.slices:
        rows = [
            [k, f"{v['rows']:,.0f}", f"{v['accuracy']:.3f}", f"{v['probability']:.3f}", f"{v['failures']:,.0f}"]
            for k, v in s.slices.items()
        ]
        parts += ["<h2>Slices</h2>", _table(["slice", "rows", "accuracy", "probability", "failures"], rows)]
    return parts


def _strongest(words: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{w} {v:+.2f}" for w, v in words)


def _trust(s: Summary) -> list[str]:
    rows = [[f"relative residual, {q} of rows at most", f"{v:.1e}"] for q, v in s.deltas.items()]
    rows += [[f"status {name}", f"{n:,}"] for name, n in s.statuses.items()]
    rows += [[f"failure {name}", f"{n:,}"] for name, n in s.failures.items()]
    rows += [["scores cancel", f"{s.cancelling:,}"]]
    rows += [[f"half of all scores on {kind}", f"{n:,}"] for kind, (n, _) in s.hangs.items()]
    rows += [[note, f"{n:,}"] for note, n in s.notes.items()]
    return ["<h2>How far it can be trusted</h2>", _table(["", "rows"], rows)]
