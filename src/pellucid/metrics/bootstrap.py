"""How sure a mean over texts is: percentile intervals by resampling the texts (Efron 1979).

Two methods are compared on the same resampled texts, text by text (paired): most of the spread is between texts, and
falls out of the difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 2000
LEVEL = 0.95

Draws = Int[np.ndarray, "resamples texts"]


@dataclass(frozen=True)
class Interval:
    """A mean, and the ends of its interval at LEVEL."""

    mean: float
    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        return self.low <= 0 <= self.high


def draws(texts: int, seed: int = 0, resamples: int = RESAMPLES) -> Draws:
    """The texts of each resample, by number: as many as there are, with repetition."""
    return np.random.default_rng(seed).integers(0, texts, (resamples, texts))


def interval(values: Float[np.ndarray, " texts"], drawn: Draws) -> Interval:
    """The mean of a value over the texts with its interval; of a difference of two methods, the paired interval.

        interval(np.array([1.0, 1.0]), draws(2))    # Interval(mean=1.0, low=1.0, high=1.0)

    Texts whose value is NaN, where a metric has none, are left out; NaN where no text has a value.
    """
    own = values[~np.isnan(values)]
    if not len(own):
        return Interval(math.nan, math.nan, math.nan)
    here = drawn if len(own) == len(values) else draws(len(own), len(own), len(drawn))
    low, high = np.quantile(own[here].mean(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(own.mean()), float(low), float(high))
