"""Explanations of one input as one table: a row for each word, a column for each explanation, and its sum."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from ..number_text import signed
from ..view import ExplanationView, View
from .colour import strength
from .facts import name, visible
from .screen import BOLD, DIM, Bar, Screen

TOP = 12
NAMES = 24  # cells of a word
BARS = 30  # cells of a column that has room for bars, without its number
OWN = ("passes", "status")  # what stands in rows of its own


def fits(view: View, screen: Screen) -> bool:
    """Whether the explanations stand beside each other on this terminal."""
    words = min(NAMES, max((len(name(w)) for w in view.explanations[0].words), default=0))
    return words + sum(2 + _width(i, view) for i in range(len(view.explanations))) <= screen.width


def column_names(view: View) -> list[tuple[str, ...]]:
    """What tells each explanation from the others: its target, how probable that is, and all of method, baseline and
    model that differ."""
    targets = [v.facts[0].value for v in view.explanations]
    chances = [v.chance_written for v in view.explanations]
    several = len(set(targets)) > 1
    names: list[tuple[str, ...]] = []
    for i, own in enumerate(view.own):
        told = [value for fact, value in zip(view.differing, own, strict=True) if fact not in OWN]
        target = [targets[i], *([f"probability {chances[i]}"] if all(chances) else [])]
        names.append(tuple([*(target if several else []), *told]) or (str(i + 1),))
    return names


def _width(i: int, view: View) -> int:
    v = view.explanations[i]
    cells = [len(w.written) + (1 + len(w.error_written) if w.error_written else 0) for w in v.words]
    return max([*cells, *map(len, column_names(view)[i]), *(len(value) for _, value in _proof(v))])


def aligned(view: View, screen: Screen) -> Table:
    """The table. Bars are drawn where every column has room for one."""
    each = view.explanations
    table = Table.grid(padding=(0, 2))
    table.add_column(max_width=NAMES, overflow="ellipsis", no_wrap=True)
    widest = max(_width(i, view) for i in range(len(each)))
    room = (screen.width - NAMES) // len(each) - widest - 4
    bars = room >= 8
    for _ in each:
        if bars:
            table.add_column(width=min(BARS, room))
        table.add_column(justify="right", no_wrap=True)
    for line in zip(*column_names(view), strict=True):
        table.add_row("", *_cells([Text(visible(part), DIM) for part in line], bars))
    order = _strongest(each)
    for row in order:
        cells = [_score(v, row, screen) for v in each]
        drawn = [_bar(v, row, order, screen, room) for v in each]
        shown = [cell for pair in zip(drawn, cells, strict=True) for cell in pair] if bars else cells
        table.add_row(Text(name(each[0].words[row])), *shown)
    for title, values in _sums(each, order):
        table.add_row(Text(title, DIM), *_cells([Text(v, BOLD if title == "output" else "") for v in values], bars))
    return table


def _cells(cells: list[Text], bars: bool) -> list[Text]:
    return [part for cell in cells for part in (Text(""), cell)] if bars else cells


def _strongest(each: tuple[ExplanationView, ...]) -> list[int]:
    """The words that are strong in any column, by the colour that they have there, strongest first."""
    rows = [i for i, word in enumerate(each[0].words) if not word.special or any(v.words[i].score for v in each)]
    return sorted(rows, key=lambda i: -max(abs(strength(v.words[i].score, v.peak)) for v in each))[:TOP]


def _score(v: ExplanationView, row: int, screen: Screen) -> Text:
    word = v.words[row]
    text = Text().append(word.written, screen.style(strength(word.score, v.peak)))
    return text.append(f" {word.error_written}", DIM) if word.error_written else text


def _bar(v: ExplanationView, row: int, order: list[int], screen: Screen, room: int) -> Bar:
    scores = [v.words[i].score for i in order]
    low, high = max([0.0, *(-s for s in scores)]), max([0.0, *scores])
    whole = low + high
    share, left = (v.words[row].score / whole, low / whole) if whole else (0.0, 0.0)
    return Bar(share, left, min(BARS, room), screen.positive, screen.negative)


def _sums(each: tuple[ExplanationView, ...], order: list[int]) -> list[tuple[str, list[str]]]:
    """The rows under the words: what the others come to, the terms of each sum, and what it is worth."""
    others = len(each[0].words) - len(order)
    rest = [signed(v.sum.terms[1].value - sum(v.words[i].score for i in order), v.places) for v in each]
    rows = [(f"{others} others", rest)] if others else []
    rows += [(t.name, [v.sum.terms[k].written for v in each]) for k, t in enumerate(each[0].sum.terms)]
    return rows + [(title, [dict(_proof(v)).get(title, "") for v in each]) for title, _ in _proof(each[0])]


def _proof(v: ExplanationView) -> list[tuple[str, str]]:
    return [(fact.name, fact.value) for fact in v.proof[:3]]
