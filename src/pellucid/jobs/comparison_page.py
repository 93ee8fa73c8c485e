"""Draws a Comparison as one HTML page that stands alone."""

from __future__ import annotations

from html import escape
from typing import Any, TypeAlias

from .comparison_text import facts
from .summary_page import document, dots, span_of, strongest, table

Comparison: TypeAlias = Any
"""As `comparison` has it, which draws itself by this file."""


def page(c: Comparison) -> str:
    """The page."""
    title = f"{c.models[0]} beside {c.models[1]}"
    parts = [f"<h1>{escape(title)}</h1>", table(["", ""], facts(c))]
    for name, drivers in c.drivers.items():
        if not drivers:
            continue
        across = span_of(drivers)
        heads = ["word", "", "before", "after", "change", "documents"]
        rows = [
            [
                escape(d.word),
                dots(d, across),
                *(f"{v:+.2f}" for v in c.means[name, d.word]),
                f"{d.mean:+.2f}",
                f"{d.documents:,}",
            ]
            for d in sorted(drivers, key=lambda d: -d.mean)
        ]
        parts += [f"<h2>Words whose push to {escape(name)} changed</h2>", table(heads, rows, escaped=True)]
    if c.changed:
        told = [
            [
                str(r.row),
                r.label or "–",
                *(f"{name} {p:.2f}" for name, p in (r.before, r.after)),
                strongest(r.words),
                r.text,
            ]
            for r in c.changed
        ]
        heads = ["row", "label", "before", "after", "words", "text"]
        parts += [
            "<h2>Texts whose prediction changed</h2><p class=note>Words: the change of their push to the first "
            "prediction.</p>",
            table(heads, told),
        ]
    return document(title, parts)
