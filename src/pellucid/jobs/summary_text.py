"""Draws a Summary on a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..number_text import signed
from .words import nearest_support

SHOWN = 5
"""Mistakes that the terminal shows."""
Driver: TypeAlias = Any
Summary: TypeAlias = Any
"""As `summary` has them, which draws itself by this file."""


def draw(s: Summary) -> RenderableType:
    """The Summary from what drives the classes down to how far it can be trusted."""
    head = Text(f"{s.rows:,} rows explained with {s.model}", "bold")
    if not math.isnan(s.accuracy):
        head.append(f"  accuracy {s.accuracy:.1%}", "not bold")
    parts: list[RenderableType] = [head]
    for name, drivers in s.drivers.items():
        for sign, said in ((1, f"towards {name}"), (-1, f"against {name}")):
            mine = [d for d in drivers if sign * d.mean > 0]
            if mine:
                parts += [Text(""), _drivers(mine, said)]
    for name, words in s.uncertain.items():
        if words:
            parts += [Text(""), Text.assemble((f"{name}: {not_certain(s)}", "dim"))]
            parts.append(Text("  " + ", ".join(f"{d.word} {signed(d.mean, 2)}" for d in words), "dim"))
    if any(s.drivers.values()):
        parts.append(Text(_legend(s.support), "dim"))
    if s.removals:
        parts += [Text(""), _removals(s)]
    if s.hangs:
        parts += [Text(""), _places(s), *([Text(untested(s), "dim")] if untested(s) else [])]
    if s.confusion:
        parts += [Text(""), _confusion(s)]
    if s.mistakes:
        parts += [Text(""), _mistakes(s), *_more(s)]
    if s.slices:
        parts += [Text(""), _slices(s)]
    return Group(*parts, Text(""), *_trust(s))


def not_certain(s: Summary) -> str:
    """What is said of the words of a class that has no drivers."""
    least = nearest_support(s.support)
    return (
        f"no word stands out for certain with {s.rows:,} rows; the nearest to it, of words in at least {least} "
        "documents, which may be chance:"
    )


def _legend(support: int) -> str:
    return (
        f"mean: of a word's score over the documents that have it (of a driver at least {support}; of a document with "
        "several places of the word their mean), with its 95 % interval; size: "
        "mean of |score|; z: how far the labels of the texts with the word lean to the class. Only words that do "
        "more than ordinary words do (three deviations of their means), at a false discovery rate of 5 %."
    )


def table(title: str, *columns: str) -> Table:
    """A table of a first column of words and further ones of numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k == 0 else "right", overflow="fold", header_style="dim")
    return table


def _drivers(drivers: Sequence[Driver], title: str) -> Table:
    shown = table(title, "word", "mean", "95 %", "size", "docs", "others", "z")
    for d in drivers:
        other = "–" if math.isnan(d.others) else signed(d.others, 2)
        z = "–" if math.isnan(d.z) else signed(d.z, 1)
        inside = f"{signed(d.low, 2)} … {signed(d.high, 2)}"
        shown.add_row(Text(d.word), signed(d.mean, 2), inside, f"{d.size:.2f}", f"{d.documents:,}", other, z)
    return shown


def _removals(s: Summary) -> Table:
    shown = table("predictions that changed when a word was removed", "word", "class", "changed", "another word")
    for r in s.removals:
        shown.add_row(Text(r.word), Text(r.target), f"{r.flips} of {r.texts}", f"{r.control} of {r.texts}")
    return shown


def _places(s: Summary) -> Table:
    shown = table("texts with half of the scores on one place", "place", "texts", "changed without it", "another word")
    tests = {r.word: r for r in s.places}
    for kind, (n, _) in s.hangs.items():
        r = tests.get(kind)
        tested = ("–", "–") if r is None else (f"{r.flips} of {r.texts}", f"{r.control} of {r.texts}")
        shown.add_row(kind, f"{n:,}", *tested)
    return shown


def untested(s: Summary) -> str:
    """What a dash says in the table of places; empty where there is none."""
    missing = [kind for kind in s.hangs if kind not in {r.word for r in s.places}]
    if not s.places and missing:
        return "–: not tested. --remove takes the place out of such texts and asks the model again."
    return f"–: not tested, because {' and '.join(missing)} cannot be taken out." if missing else ""


def agreed(a: Any) -> str:
    """An Agreement in words."""
    return f"rank correlation {a.correlation:.2f}, the same first word in {a.first:.0%} of {a.rows:,} rows"


def _confusion(s: Summary) -> Table:
    predictions = sorted({p for _, p in s.confusion})
    shown = table("label (down), prediction (across)", "", *predictions)
    for label in sorted({name for name, _ in s.confusion}):
        shown.add_row(Text(label), *(f"{s.confusion.get((label, p), 0):,}" for p in predictions))
    return shown


def mistakes_table(title: str, *columns: str) -> Table:
    """A table of single texts; the last column has the text."""
    shown = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in columns:
        shown.add_column(name, header_style="dim", overflow="fold", no_wrap=name != columns[-1])
    return shown


def _mistakes(s: Summary) -> Table:
    shown = mistakes_table("the most confident mistakes", "row", "label", "prediction", "text")
    for m in s.mistakes[:SHOWN]:
        strongest = ", ".join(f"{w} {signed(v, 2)}" for w, v in m.words)
        text = Text(m.text[:200]).append(f"  {strongest}", "dim")
        shown.add_row(str(m.row), Text(m.label), Text(f"{m.prediction} {m.probability:.2f}"), text)
    return shown


def _more(s: Summary) -> list[Text]:
    """How many mistakes there are beyond those shown, and how to see them."""
    if s.wrong <= SHOWN:
        return []
    told = f"{SHOWN} of {s.wrong:,} mistakes. --html FILE shows {min(len(s.mistakes), s.wrong)} of them, "
    return [Text(f'{told}pellucid app DIR all, and pellucid.open(DIR).where("label <> prediction").', "dim")]


def _slices(s: Summary) -> Table:
    shown = table("slices", "slice", "rows", "accuracy", "probability", "failures")
    for name, v in s.slices.items():
        numbers = [f"{v[k]:.3f}" for k in ("accuracy", "probability")]
        shown.add_row(Text(name), f"{v['rows']:,.0f}", *numbers, f"{v['failures']:,.0f}")
    return shown


def _trust(s: Summary) -> list[Text]:
    counted = lambda what: ", ".join(f"{n:,} {name}" for name, n in what.items()) or "none"
    quantiles = ", ".join(f"{q}: {v:.1e}" for q, v in s.deltas.items())
    found = [
        Text(f"relative residual   {quantiles}"),
        Text(f"status              {counted(s.statuses)}"),
        Text(f"failures            {counted(s.failures)}"),
        Text(f"scores cancel       in {_rows(s.cancelling)}"),
    ]
    found += [Text(f"{a}, {b}: {agreed(x)}") for (a, b), x in s.agreement.items()]
    return found + [Text(f"{_rows(n)}: {note}", "dim") for note, n in told_notes(s).items()]


def _rows(n: int) -> str:
    return f"{n:,} row{'s' * (n != 1)}"


def told_notes(s: Summary) -> dict[str, int]:
    """The notes, each kind by its first; without the cancelling of scores, which is counted apart."""
    return {note: n for note, n in s.notes.items() if "scores cancel" not in note}
