"""Quadrature on [0, 1] as data: a rule is a name, its nodes and its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Quadrature:
    """∫₀¹ h(t) dt ≈ Σ weights·h(nodes); the weights sum to 1."""

    name: str
    nodes: NDArray[np.float64]
    weights: NDArray[np.float64]


@cache
def gauss_legendre(n: int) -> Quadrature:
    """Exact for polynomials up to degree 2n − 1 (Golub & Welsch 1969)."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return Quadrature("gauss_legendre", (nodes + 1) / 2, weights / 2)


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
    "trapezoid": trapezoid,
    "midpoint": midpoint,
}
