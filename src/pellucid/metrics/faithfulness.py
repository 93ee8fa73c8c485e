"""Measures how faithful scores are, from the values of f while groups of the input are removed.

Each metric is a row of METRICS, and reads an `Evidence`. Raw areas do not compare across models; `normalised_area`
does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from ..errors import InputError
from .ranks import rank_correlation

Curve = Float[np.ndarray, " players+1"]
Scores = Float[np.ndarray, " players"]
BINS = (0.01, 0.05, 0.1, 0.2, 0.5)
"""The shares of the groups that ERASER removes or keeps."""


@dataclass(frozen=True)
class Evidence:
    """What is known of one method's scores for one text, in the units of f.

    most: the removal curve v, v[k] = f with the first k groups removed, of the order most relevant first. least: the
        same of the order least relevant first. steepest, flattest: the curves of the best and the worst order that a
        search found; None without a search.
    scores: of the groups. kept: sets of groups (sets, players) that f was asked for, drawn at random, the same for all
        methods. of_kept: f with these groups present and all others removed (sets,).
    """

    most: Curve
    least: Curve
    steepest: Curve | None = None
    flattest: Curve | None = None
    scores: Scores | None = None
    kept: Bool[np.ndarray, "sets players"] | None = None
    of_kept: Float[np.ndarray, " sets"] | None = None

    @property
    def reversed(self) -> Evidence:
        """What is known of the reverse ranking: the same two curves hold it."""
        scores = None if self.scores is None else -self.scores
        return replace(self, most=self.least, least=self.most, scores=scores)


@dataclass(frozen=True)
class Metric:
    """A measure of one method's scores for a text.

    measure: from the evidence to a number; None where the evidence lacks what the metric reads. better: the direction
        that is better. formula, paper: where it comes from.
    """

    measure: Callable[[Evidence], float | None]
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


def insertion_area(reverse: Curve) -> float:
    """The mean of f over n steps in which the groups are put back, most relevant first, into an input without any.

    reverse: the removal curve of the order *least* relevant first, which is the insertion curve read from its end.
    """
    return float(np.mean(reverse[:-1])) if len(reverse) > 1 else float(reverse[0])


def area_between(v: Curve, reverse: Curve) -> float:
    """The area of least relevant first minus that of most relevant first: 0 on average for a random ranking."""
    return area(reverse) - area(v)


def normalised_area(v: Curve, steepest: Curve, flattest: Curve) -> float:
    """NAOPC: where the area of v stands between the worst order (0) and the best order (1).

    NaN where all orders have one area. Below 0 or above 1 where the search for the orders missed the extremes.
    """
    span = area(flattest) - area(steepest)
    return (area(flattest) - area(v)) / span if span > 0 else math.nan


def top_drop(v: Curve, k: int) -> float:
    """What f loses when the k most relevant groups are removed; all of them where there are no more than k."""
    return float(v[0] - v[min(k, len(v) - 1)])


def linear_datamodeling_score(
    scores: Scores, kept: Bool[np.ndarray, "sets players"], of_kept: Float[np.ndarray, " sets"]
) -> float:
    """LDS: Spearman's correlation of f, with random sets of groups kept, with the sum of the scores of those sets.

        linear_datamodeling_score(np.array([2.0, 1.0]), np.eye(2, dtype=bool), np.array([0.9, 0.1]))    # 1.0

    0 where one of the two does not vary.
    """
    return rank_correlation(kept @ scores, of_kept)


def _normalised(e: Evidence) -> float | None:
    if e.steepest is None or e.flattest is None:
        return None
    return normalised_area(e.most, e.steepest, e.flattest)


def _lds(e: Evidence) -> float | None:
    if e.scores is None or e.kept is None or e.of_kept is None:
        return None
    return linear_datamodeling_score(e.scores, e.kept, e.of_kept)


def _counts(v: Curve, bins: Sequence[float]) -> list[int]:
    wrong = [b for b in bins if not 0 < b <= 1]
    if wrong or not bins:
        raise InputError(f"bins={list(bins)}: each is a share of the groups, above 0 and at most 1; give at least one")
    n = len(v) - 1
    return [min(n, max(1, math.ceil(b * n - 1e-9))) for b in bins]


METRICS: dict[str, Metric] = {
    "comprehensiveness": Metric(
        lambda e: comprehensiveness(e.most), "higher", "mean over q of v[0] − v[⌈qn⌉]", "arXiv 1911.03429"
    ),
    "sufficiency": Metric(
        lambda e: sufficiency(e.least), "lower", "mean over q of v[0] − r[n − ⌈qn⌉]", "arXiv 1911.03429"
    ),
    "deletion": Metric(lambda e: area(e.most), "lower", "mean of v[1] … v[n]", "arXiv 1806.07421"),
    "insertion": Metric(lambda e: insertion_area(e.least), "higher", "mean of r[0] … r[n − 1]", "arXiv 1806.07421"),
    "area between": Metric(
        lambda e: area_between(e.most, e.least),
        "higher",
        "mean of r[1] … r[n] − mean of v[1] … v[n]",
        "arXiv 2402.05602",
    ),
    "normalised area": Metric(
        _normalised,
        "higher",
        "(mean of w[1] … w[n] − mean of v[1] … v[n]) / (mean of w[1] … w[n] − mean of b[1] … b[n])",
        "arXiv 2408.08137",
    ),
    "top-1 drop": Metric(lambda e: top_drop(e.most, 1), "higher", "v[0] − v[1]", "arXiv 2409.00729"),
    "top-3 drop": Metric(lambda e: top_drop(e.most, 3), "higher", "v[0] − v[3]", "arXiv 2409.00729"),
    "LDS": Metric(_lds, "higher", "Spearman's ρ of f(S) and Σ of the scores in S, over random S", "arXiv 2409.00729"),
}
"""v: the removal curve, most relevant group first. r: the same, least relevant first. b, w: of the best and the worst
order that a search found. n: the number of groups."""
