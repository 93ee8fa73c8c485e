"""Draws a Comparison on a terminal."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from rich.console import Group, RenderableType
from rich.text import Text

from .summary_text import mistakes_table, table

Comparison: TypeAlias = Any
"""As `comparison` has it, which draws itself by this file."""


def facts(c: Comparison) -> list[tuple[str, str]]:
    """What two runs have in common and where they differ, as pairs of a name and a sentence."""
    found = [
        ("rows in both", f"{c.rows:,}; only in the first {c.alone[0]:,}, only in the second {c.alone[1]:,}"),
        ("same prediction", f"{c.same:,} of {c.rows:,} ({c.same / c.rows:.1%})"),
    ]
    if not math.isnan(c.accuracy[0]):
        found += [
            ("accuracy", f"{c.accuracy[0]:.1%} before, {c.accuracy[1]:.1%} after"),
            ("right and wrong", f"{c.mended:,} mended, {c.broken:,} broken (p = {c.p:.2g}, McNemar's test)"),
        ]
    a = c.agreement
    if a.rows:
        said = f"rank correlation of words {a.correlation:.2f} on average, above {a.low:.2f} in nine rows of ten"
        found.append(("scores", f"{said}; the same first word in {a.first:.0%} of {a.rows:,} rows"))
    return found


def draw(c: Comparison) -> RenderableType:
    """The Comparison from its counts down to single texts."""
    parts: list[RenderableType] = [Text(f"{c.models[0]} (before) and {c.models[1]} (after)", "bold")]
    parts += [Text(f"{name:<16} {said}") for name, said in facts(c)]
    for name, drivers in c.drivers.items():
        if drivers:
            shown = table(f"words whose push to {name} changed", "word", "before", "after", "change", "95 %", "docs")
            for d in drivers:
                before, after = c.means[name, d.word]
                numbers = (f"{before:+.2f}", f"{after:+.2f}", f"{d.mean:+.2f}", f"{d.low:+.2f} … {d.high:+.2f}")
                shown.add_row(Text(d.word), *numbers, f"{d.documents:,}")
            parts += [Text(""), shown]
    if c.changed:
        shown = mistakes_table(
            "texts whose prediction changed (words: towards the first prediction)",
            "row",
            "label",
            "before",
            "after",
            "text",
        )
        for r in c.changed[:8]:
            words = ", ".join(f"{w} {v:+.2f}" for w, v in r.words)
            text = Text(r.text[:200]).append(f"  {words}", "dim")
            then, now = (f"{name} {p:.2f}" for name, p in (r.before, r.after))
            shown.add_row(str(r.row), Text(r.label or "–"), Text(then), Text(now), text)
        parts += [Text(""), shown]
    return Group(*parts)
