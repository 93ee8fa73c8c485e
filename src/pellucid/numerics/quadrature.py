"""Quadrature on [0, 1]: fixed rules as tables, and an adaptive one that reuses every evaluation.

The gradient along a path is often large in one narrow place: layer norm turns the direction of an embedding over a
short stretch between its baseline and itself. A polynomial needs many points to follow that, so the adaptive rule first
changes the variable, t = c + s·sinh(a + (b − a)·u), which spreads the stretch out around its centre c with width s
(Johnston and Elliott, Int. J. Numer. Meth. Engng 62, 2005). Then it adds Leja points in u, each where the product of
the distances to those already there is largest: any number of points is a good set, and contains all earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Quadrature:
    """∫₀¹ h(t) dt ≈ Σ weights·h(nodes); the weights sum to 1."""

    name: str
    nodes: Array
    weights: Array


@cache
def gauss_legendre(n: int) -> Quadrature:
    """Exact for polynomials up to degree 2n − 1 (Golub & Welsch 1969)."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return Quadrature("gauss_legendre", (nodes + 1) / 2, weights / 2)


@cache
def clenshaw_curtis(n: int) -> Quadrature:
    """The extrema of a Chebyshev polynomial, ends included; 2n − 1 points contain these n (Clenshaw & Curtis 1960)."""
    nodes = np.array([0.5]) if n == 1 else (1 - np.cos(np.pi * np.arange(n) / (n - 1))) / 2
    return Quadrature("clenshaw_curtis", nodes, interpolatory(nodes))


@cache
def trapezoid(n: int) -> Quadrature:
    """n equally spaced points, the ends included and halved."""
    weights = np.full(n, 1.0)
    weights[[0, -1]] = 0.5
    return Quadrature("trapezoid", np.linspace(0, 1, n), weights / weights.sum())


@cache
def midpoint(n: int) -> Quadrature:
    """The middles of n equal parts."""
    return Quadrature("midpoint", (np.arange(n) + 0.5) / n, np.full(n, 1 / n))


QUADRATURES: dict[str, Callable[[int], Quadrature]] = {
    "gauss_legendre": gauss_legendre,
    "clenshaw_curtis": clenshaw_curtis,
    "trapezoid": trapezoid,
    "midpoint": midpoint,
}

# ------------------------------------------------------------------------------------------------------- adaptive

PILOT = np.array([0.05, 0.13, 0.22, 0.32, 0.43, 0.56, 0.75])
"""Where the integrand is first looked at, besides both ends: denser where embeddings leave their baseline."""
_CANDIDATES = (1 - np.cos(np.pi * np.arange(201) / 200)) / 2


@dataclass(frozen=True)
class Stretch:
    """The change of variable t = c + s·sinh(a + (b − a)·u) of [0, 1] onto itself, slow around c over a width s."""

    centre: float
    width: float

    @property
    def ends(self) -> tuple[float, float]:
        return float(np.arcsinh(-self.centre / self.width)), float(np.arcsinh((1 - self.centre) / self.width))

    def t(self, u: Array) -> Array:
        a, b = self.ends
        return np.clip(self.centre + self.width * np.sinh(a + (b - a) * u), 0.0, 1.0)

    def u(self, t: Array) -> Array:
        a, b = self.ends
        return np.clip((np.arcsinh((t - self.centre) / self.width) - a) / (b - a), 0.0, 1.0)

    def dt(self, u: Array) -> Array:
        """dt/du."""
        a, b = self.ends
        return self.width * (b - a) * np.cosh(a + (b - a) * u)


def stretch_for(t: Array, size: Array) -> Stretch:
    """A Stretch around the largest of `size` at the points `t`: the peak A/((t − c)² + w²) through three neighbours.

    1/size is then a parabola, whose vertex is c and whose value there gives w. Both are rounded, so that the last
    digits of a batch do not move the points of a row.
    """
    i = int(np.clip(np.argmax(size), 1, len(t) - 2))
    near = slice(i - 1, i + 2)
    a, b, c = np.polyfit(t[near], 1 / (size[near] + 1e-300 + 1e-12 * size.max()), 2)
    if not np.isfinite([a, b, c]).all() or a <= 0:
        return Stretch(float(t[i]), 0.15)
    centre = -b / (2 * a)
    width = np.sqrt(max(c / a - centre**2, 1e-4))
    return Stretch(
        round(float(np.clip(centre, 0, 1)) * 64) / 64, 2 ** (round(4 * np.log2(np.clip(width, 0.03, 1))) / 4)
    )


def leja(u: Array, n: int) -> Array:
    """The next n points after `u`, each where the product of the distances to all before it is largest."""
    product = np.log(np.abs(_CANDIDATES[:, None] - u) + 1e-300).sum(1)
    found = []
    for _ in range(n):
        found.append(_CANDIDATES[np.argmax(product)])
        product = product + np.log(np.abs(_CANDIDATES - found[-1]) + 1e-300)
    return np.array(found)


def interpolatory(u: Array, most: float = 2.0) -> Array:
    """Weights on [0, 1] for any nodes: exact for the highest degree at which Σ|weights| stays below `most`."""
    for degree in range(len(u) - 1, -1, -1):
        weights = np.linalg.lstsq(legendre.legvander(2 * u - 1, degree).T, np.eye(degree + 1)[0], rcond=None)[0]
        if np.abs(weights).sum() <= most:
            return weights
    return np.full(len(u), 1 / len(u))


def stieltjes(u: Array) -> Array:
    """A (n, n) with  ∫₀¹ p dq ≈ Σⱼₖ Aⱼₖ·p(uⱼ)·q(uₖ)  for two functions known at the same nodes.

    Both are their least-squares polynomials of the highest degree that n Leja points determine well.
    """
    degree = max(1, min(len(u) - 1, int(0.8 * len(u))))
    fit = np.linalg.pinv(legendre.legvander(2 * u - 1, degree))
    table = gauss_legendre(degree + 1)
    at = 2 * table.nodes - 1
    slopes = 2 * legendre.legvander(at, degree - 1) @ legendre.legder(np.eye(degree + 1))
    return (legendre.legvander(at, degree) @ fit).T @ (table.weights[:, None] * (slopes @ fit))


def predicted(u: Array, values: Array, at: Array) -> Array:
    """The polynomial through `values` (n, …) at `u`, evaluated at other points: what an interpolation expects there."""
    degree = len(u) - 1
    flat = values.reshape(len(u), -1)
    coefficients = np.linalg.lstsq(legendre.legvander(2 * u - 1, degree), flat, rcond=None)[0]
    return (legendre.legvander(2 * at - 1, degree) @ coefficients).reshape(len(at), *values.shape[1:])
