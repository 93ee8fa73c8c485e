"""How far two explanations of the same text agree: by their ranks, and by their strongest word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .words import Piece


@dataclass(frozen=True)
class Agreement:
    """Of so many rows. correlation: the mean of Spearman's rank correlation of their words' scores. low: what nine rows
    in ten exceed. first: the share of the rows whose word with the highest score is the same."""

    rows: int
    correlation: float
    low: float
    first: float


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation, equal values with the mean of their ranks; NaN where one has a single value.

    Examples:
        >>> rank_correlation([1, 2, 3], [10, 20, 15])
        0.5
    """
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size else float("nan")


def _ranks(values: Sequence[float]) -> np.ndarray:
    _, where, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[where]


@dataclass
class Agreeing:
    """Counts how two explanations agree while the rows go by."""

    correlations: list[float] = field(default_factory=list)
    first: int = 0

    def add(self, a: Sequence[Piece], b: Sequence[Piece]) -> None:
        """Takes down one text; its words are those that both explanations have."""
        pairs = shared(a, b)
        if len(pairs) < 2:
            return
        mine, other = [p.score for p, _ in pairs], [q.score for _, q in pairs]
        self.correlations.append(rank_correlation(mine, other))
        self.first += int(np.argmax(mine)) == int(np.argmax(other))

    def found(self) -> Agreement:
        """What was counted."""
        some = np.array(self.correlations or [np.nan])
        some = some[~np.isnan(some)] if not np.isnan(some).all() else some
        rows = len(self.correlations)
        return Agreement(rows, float(some.mean()), float(np.quantile(some, 0.1)), self.first / rows if rows else 0.0)


def shared(a: Sequence[Piece], b: Sequence[Piece]) -> list[tuple[Piece, Piece]]:
    """The words at the same characters in both, in the order of the text."""
    there = {(p.segment, p.span): p for p in b}
    return [(p, there[p.segment, p.span]) for p in a if (p.segment, p.span) in there]
