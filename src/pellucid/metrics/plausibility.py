"""Plausibility: how well a ranking agrees with the words that people, or whoever planted a shortcut, say decide.

Each measure is a row of PLAUSIBILITY. It says nothing about the model: a model may be right for other reasons than a
person. Where the reasons were put into the training data, it measures whether the method finds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from .removal_curves import order_of

Scores = Float[np.ndarray, " players"]
Rationale = Bool[np.ndarray, " players"]
"""Which groups were marked; at least one is."""


@dataclass(frozen=True)
class Agreement:
    """A measure of agreement, higher is better. measure: from the scores, the rationale, and how many groups are taken
    as the method's own rationale. formula, paper: where it comes from."""

    measure: Callable[[Scores, Rationale, int], float]
    formula: str
    paper: str


def token_f1(scores: Scores, rationale: Rationale, k: int) -> float:
    """F1 of the k groups with the highest scores against those that were marked.

    token_f1(np.array([0.1, 2.0, 1.0]), np.array([False, True, True]), 1)    # 0.667
    """
    hits = _hits(scores, rationale, k)
    return 2 * hits / (_taken(scores, k) + int(rationale.sum()))


def token_iou(scores: Scores, rationale: Rationale, k: int) -> float:
    """The number of groups that are both among the k highest and marked, over that of those that are one of the two."""
    hits = _hits(scores, rationale, k)
    return hits / (_taken(scores, k) + int(rationale.sum()) - hits)


def recall(scores: Scores, rationale: Rationale) -> float:
    """The share of the marked groups that are among the highest, of which as many are taken as were marked."""
    marked = int(rationale.sum())
    return _hits(scores, rationale, marked) / marked


def auprc(scores: Scores, rationale: Rationale) -> float:
    """The area under the curve of precision over recall, by trapezoids, for all thresholds of the score."""
    order = np.argsort(-scores, kind="stable")
    hits, ranked = np.cumsum(rationale[order]), scores[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # equal scores fall below a threshold together
    precision, found = hits[ends] / (ends + 1), hits[ends] / rationale.sum()
    last = int(np.argmax(found == 1))  # beyond full recall, a threshold only lowers precision
    return float(np.trapezoid(np.append(1.0, precision[: last + 1]), np.append(0.0, found[: last + 1])))


PLAUSIBILITY: dict[str, Agreement] = {
    "token F1": Agreement(token_f1, "2·|top k ∩ marked| / (k + |marked|)", "arXiv 1911.03429"),
    "token IOU": Agreement(token_iou, "|top k ∩ marked| / |top k ∪ marked|", "arXiv 1911.03429"),
    "AUPRC": Agreement(lambda s, r, k: auprc(s, r), "area of precision over recall", "arXiv 1911.03429"),
    "recall": Agreement(lambda s, r, k: recall(s, r), "|top m ∩ marked| / m, m = |marked|", "arXiv 2111.07367"),
}
"""k: the mean share of marked groups over the texts, times the text's number of groups, at least 1."""


def _taken(scores: Scores, k: int) -> int:
    return min(max(k, 1), len(scores))


def _hits(scores: Scores, rationale: Rationale, k: int) -> int:
    return int(rationale[order_of(scores)[: _taken(scores, k)]].sum())
