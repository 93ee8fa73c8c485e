"""Measures how faithful a ranking is, from its removal curve v (players + 1,), v[k]: f with the first k groups removed.

Each metric is a row of METRICS. Raw areas do not compare across models: `normalised_area` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from ..errors import InputError

Curve = Float[np.ndarray, " players+1"]
BINS = (0.01, 0.05, 0.1, 0.2, 0.5)
"""The shares of the groups that ERASER removes or keeps."""


@dataclass(frozen=True)
class Metric:
    """A measure of a ranking.

    measure: from the removal curve of the order most relevant first, and of the order least relevant first, to a
        number in the units of f. better: the direction that is better. formula, paper: where it comes from.
    """

    measure: Callable[[Curve, Curve], float]
    better: Literal["higher", "lower"]
    formula: str
    paper: str


def comprehensiveness(v: Curve, bins: Sequence[float] = BINS) -> float:
    """The mean fall of f when the most relevant share of the groups is removed, over `bins` (in units of f).

        comprehensiveness(np.array([4.0, 1.0, 0.0]), bins=[0.5])    # 3.0

    At least one group is removed in each bin. Raises InputError for a share outside 0 to 1.
    """
    return float(v[0] - np.mean([v[k] for k in _counts(v, bins)]))


def sufficiency(reverse: Curve, bins: Sequence[float] = BINS) -> float:
    """The mean fall of f when only the most relevant share of the groups is kept, over `bins` (in units of f).

    reverse: the removal curve of the order *least* relevant first. Raises InputError for a share outside 0 to 1.
    """
    n = len(reverse) - 1
    return float(reverse[0] - np.mean([reverse[n - k] for k in _counts(reverse, bins)]))


def area(v: Curve) -> float:
    """The mean of f over the steps 1 to n of the removal curve; f(x) where there is nothing to remove."""
    return float(np.mean(v[1:])) if len(v) > 1 else float(v[0])


def area_between(v: Curve, reverse: Curve) -> float:
    """The area of least relevant first minus that of most relevant first: 0 on average for a random ranking."""
    return area(reverse) - area(v)


def normalised_area(v: Curve, steepest: Curve, flattest: Curve) -> float:
    """NAOPC: where the area of v stands between the worst order (0) and the best order (1).

    NaN where all orders have one area. Below 0 or above 1 where the search for the orders missed the extremes.
    """
    span = area(flattest) - area(steepest)
    return (area(flattest) - area(v)) / span if span > 0 else math.nan


def _counts(v: Curve, bins: Sequence[float]) -> list[int]:
    wrong = [b for b in bins if not 0 < b <= 1]
    if wrong or not bins:
        raise InputError(f"bins={list(bins)}: each is a share of the groups, above 0 and at most 1; give at least one")
    n = len(v) - 1
    return [min(n, max(1, math.ceil(b * n - 1e-9))) for b in bins]


METRICS: dict[str, Metric] = {
    "comprehensiveness": Metric(
        lambda v, reverse: comprehensiveness(v), "higher", "mean over q of v[0] − v[⌈qn⌉]", "arXiv 1911.03429"
    ),
    "sufficiency": Metric(
        lambda v, reverse: sufficiency(reverse), "lower", "mean over q of v[0] − r[n − ⌈qn⌉]", "arXiv 1911.03429"
    ),
    "deletion": Metric(lambda v, reverse: area(v), "lower", "mean of v[1] … v[n]", "arXiv 2402.05602"),
    "area between": Metric(area_between, "higher", "mean of r[1] … r[n] − mean of v[1] … v[n]", "arXiv 2402.05602"),
}
"""v: the removal curve, most relevant group first. r: the same, least relevant first."""
