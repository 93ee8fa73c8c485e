"""Statistics of words over documents: intervals, tests, and what the labels say by themselves.

- The interval of a mean is the studentised bootstrap (Efron 1979; Hall 1988, "Theoretical comparison of bootstrap
  confidence intervals"): documents are drawn with replacement, and the quantiles of t* = (mean* − mean) / se* take the
  place of Student's. Each quantile is the mean of the equal-tailed one, which is right where scores are skewed, and of
  the symmetric one (Hall 1988, "On symmetric bootstrap confidence intervals"), which is right where tails are heavy.
- The test of a mean is Student's t after Hall's transformation (1992, "On the removal of skewness by
  transformation"): without it, skewed scores of 25 documents give several times as many false discoveries as said.
- False discoveries are controlled by Benjamini and Hochberg (1995).
- z says how far the share of a label among the texts with a word is from its share among all texts (Gardner et al.
  2021, "Competency Problems", 2104.08646).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DRAWS = 999
MANY = 10_000
"""Documents from which on the bootstrap is Student's interval to three digits, which is then taken."""
_MOST_SKEW = 2.0
"""A larger skewness of a few documents' scores is an outlier's, and would undo the transformation."""


def interval(values: Floats, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """The interval of the mean of documents' values by the studentised bootstrap.

    Examples:
        >>> low, high = interval(np.arange(30.0))
        >>> low < 14.5 < high
        True
    """
    low, high = intervals(values[None], level, draws, seed)
    return float(low[0]), float(high[0])


def intervals(values: Floats, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> tuple[Floats, Floats]:
    """The interval of the mean of each row, which share the draws. values: (rows, documents)."""
    count, n = values.shape
    if n < 2:
        return np.full(count, -math.inf), np.full(count, math.inf)
    mean, se = values.mean(1), values.std(1, ddof=1) / math.sqrt(n)
    if n >= MANY:
        far = _normal_quantile(level) * se
        return mean - far, mean + far
    t = _studentised(values - mean[:, None], draws, seed)
    low, high = np.quantile(t, [(1 - level) / 2, (1 + level) / 2], axis=0, method="weibull")
    both = np.quantile(np.abs(t), level, axis=0, method="weibull")
    return mean - (high + both) / 2 * se, mean - (low - both) / 2 * se


def _studentised(centred: Floats, draws: int, seed: int) -> Floats:
    """t* of each draw and row: (draws, rows). centred: values minus the mean of their row."""
    rng, n = np.random.default_rng(seed), centred.shape[1]
    parts: list[Floats] = []
    for start in range(0, draws, size := max(1, 2_000_000 // n)):
        drawn = rng.integers(n, size=(min(size, draws - start), n))
        drawn += n * np.arange(len(drawn))[:, None]
        times = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
        apart = times @ centred.T / n
        variance = np.maximum(times @ (centred.T**2) / n - apart**2, 0) / (n - 1)
        spread = np.sqrt(variance)
        some = spread > 1e-9 * np.abs(centred).max(initial=0)
        parts.append(np.where(some, apart / np.where(some, spread, 1), np.sign(apart) * 1e3))
    return np.concatenate(parts)


def _normal_quantile(level: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf((1 + level) / 2)


def p_values(means: Floats, errors: Floats, skews: Floats, counts: NDArray[np.int64], margin: float = 0.0) -> Floats:
    """Of the test that each mean is within `margin` of 0, two-sided. errors: standard errors of the means. skews: the
    skewness of the values. counts: of documents, at least two."""
    sign, n = np.where(means < 0, -1.0, 1.0), counts.astype(np.float64)
    beyond = np.abs(means) - margin
    far = np.where(beyond > 0, np.inf, -np.inf)
    t = sign * np.divide(beyond, errors, out=far, where=errors > 0)
    t = np.clip(t, -1e6, 1e6)
    g = np.clip(skews, -_MOST_SKEW, _MOST_SKEW)
    t = t + g * t**2 / (3 * np.sqrt(n)) + g**2 * t**3 / (27 * n) + g / (6 * np.sqrt(n))
    return np.minimum(2 * student_tail(sign * t, n - 1), 1.0)


def student_tail(t: Floats, df: Floats) -> Floats:
    """P(T > t) of Student's t: half of the regularised incomplete beta function at df / (df + t²).

    Examples:
        >>> student_tail(np.array([2.228139]), np.array([10.0])).round(5).tolist()
        [0.025]
    """
    half = _incomplete_beta(df / 2, df / (df + t**2)) / 2
    return np.where(t >= 0, half, 1 - half)


def _incomplete_beta(a: Floats, x: Floats) -> Floats:
    """I_x(a, 1/2) by its continued fraction (Abramowitz and Stegun 26.5.8), on the side where it converges fast."""
    b = np.full_like(a, 0.5)
    front = np.array([math.lgamma(v + 0.5) - math.lgamma(v) for v in a.tolist()]) - math.lgamma(0.5)
    with np.errstate(divide="ignore"):
        front = np.exp(front + a * np.log(x) + b * np.log1p(-x))
    turned = x >= (a + 1) / (a + b + 2)
    p, q, y = np.where(turned, b, a), np.where(turned, a, b), np.where(turned, 1 - x, x)
    fraction = np.zeros_like(a)
    for m in range(200, 0, -1):
        even = m * (q - m) * y / ((p + 2 * m - 1) * (p + 2 * m))
        odd = -(p + m) * (p + q + m) * y / ((p + 2 * m) * (p + 2 * m + 1))
        fraction = even / (1 + odd / (1 + fraction))
    first = -(p + q) * y / (p + 1)
    found = front / p / (1 + first / (1 + fraction))
    return np.where(turned, 1 - found, found)


def discovered(p: Floats, rate: float = 0.05) -> NDArray[np.bool_]:
    """Which hypotheses are rejected so that at most `rate` of the rejections are false in expectation.

    Examples:
        >>> discovered(np.array([0.001, 0.02, 0.04, 0.9])).tolist()
        [True, True, False, False]
    """
    order = np.argsort(p)
    within = p[order] <= rate * np.arange(1, len(p) + 1) / max(1, len(p))
    last = int(np.flatnonzero(within)[-1]) + 1 if within.any() else 0
    found = np.zeros(len(p), dtype=bool)
    found[order[:last]] = True
    return found


def label_z(with_label: int, texts: int, share: float) -> float:
    """z = (p̂ − p₀) / √(p₀(1 − p₀) / n): of `texts` texts with a word, `with_label` have the label, whose share among
    all texts is p₀; NaN where all texts, or none, have it.

    Examples:
        >>> round(float(label_z(60, 100, 0.5)), 12)
        2.0
    """
    if not texts or not 0 < share < 1:
        return math.nan
    return (with_label / texts - share) / math.sqrt(share * (1 - share) / texts)
