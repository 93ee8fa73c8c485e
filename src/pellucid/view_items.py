"""The units of a text, such as its words, with the sums of their scores: what a ranking is of."""

from __future__ import annotations

from collections.abc import Sequence

from .number_text import plus_minus, signed
from .tokens import Array, Explained, Word
from .view import Item


def with_score(places: int, item: Item, score: float, error: float | None) -> Item:
    """An item with another score, written to so many decimal places."""
    told = (signed(score, places), error, plus_minus(error, places))
    return Item(item.text, item.repeat, score, *told, item.span, item.segment, item.special, item.tokens)


def items_of(units: Sequence[Word], e: Explained, scores: Array, places: int) -> tuple[Item, ...]:
    """The units with the sums of these scores. e.error: only where the scores are the explanation's own."""
    counts: dict[str, int] = {}
    for unit in units:
        counts[unit.text] = counts.get(unit.text, 0) + 1
    seen: dict[str, int] = {}
    found: list[Item] = []
    for unit in units:
        seen[unit.text] = seen.get(unit.text, 0) + 1
        score = unit.score if scores is e.scores else float(scores[list(unit.tokens)].sum())
        error = None if e.error is None or scores is not e.scores else float(e.error[list(unit.tokens)].sum())
        repeat = seen[unit.text] if counts[unit.text] > 1 else None
        told = (signed(score, places), error, plus_minus(error, places))
        found.append(Item(unit.text, repeat, score, *told, unit.span, unit.segment, unit.special, unit.tokens))
    return tuple(found)


def peak_of(units: Sequence[Word], scores: Sequence[float]) -> float:
    """The largest |score|; special tokens count only where there is nothing else."""
    own = [abs(s) for unit, s in zip(units, scores, strict=True) if not unit.special]
    return max(own or map(abs, scores), default=0.0)


def ranking(items: Sequence[Item], special: bool = False) -> tuple[int, ...]:
    own = [i for i, item in enumerate(items) if special or not item.special]
    return tuple(sorted(own, key=lambda i: -abs(items[i].score)))
