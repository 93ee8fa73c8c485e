"""Spearman's correlation: how far two sets of numbers are in the same order."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

Numbers = Float[np.ndarray, " n"]


def rank_correlation(a: Numbers, b: Numbers) -> float:
    """Pearson's correlation of the ranks, −1 to 1; 0 where one of the two does not vary.

    rank_correlation(np.array([1.0, 2.0, 9.0]), np.array([0.1, 0.2, 0.3]))    # 1.0
    """
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    size = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / size if size > 0 else 0.0


def _ranks(values: Numbers) -> Numbers:
    """From 1; equal values have the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]
