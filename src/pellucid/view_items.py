"""The units of a text, such as its words, as a person is shown them."""

from __future__ import annotations

from collections.abc import Sequence

from .number_text import plus_minus, signed
from .tokens import Word
from .view import Item


def with_score(places: int, item: Item, score: float, error: float | None) -> Item:
    """An item with another score, written to so many decimal places."""
    told = (signed(score, places), error, plus_minus(error, places))
    return Item(item.text, item.repeat, score, *told, item.span, item.segment, item.special, item.tokens)


def items_of(units: Sequence[Word]) -> tuple[Item, ...]:
    """The units without scores; those of equal text are numbered."""
    counts: dict[str, int] = {}
    for unit in units:
        counts[unit.text] = counts.get(unit.text, 0) + 1
    seen: dict[str, int] = {}
    found: list[Item] = []
    for unit in units:
        seen[unit.text] = seen.get(unit.text, 0) + 1
        repeat = seen[unit.text] if counts[unit.text] > 1 else None
        found.append(Item(unit.text, repeat, 0.0, "", None, "", unit.span, unit.segment, unit.special, unit.tokens))
    return tuple(found)
