"""Fixed quadrature rules on [0, 1], such as Gauss–Legendre, as tables of nodes and weights; and the weights of any
nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float
from numpy.polynomial import legendre
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Quadrature:
    """A fixed rule, ∫₀¹ h(t) dt ≈ Σ weights·h(nodes). The weights sum to 1."""

    name: str
    nodes: Float[np.ndarray, " points"]
    weights: Float[np.ndarray, " points"]


@cache
def gauss_legendre(n: int) -> Quadrature:
    """The nodes that are exact for polynomials up to degree 2n − 1 (Golub & Welsch 1969)."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return Quadrature("gauss_legendre", (nodes + 1) / 2, weights / 2)


@cache
def clenshaw_curtis(n: int) -> Quadrature:
    """The extrema of a Chebyshev polynomial, ends included. 2n − 1 points contain these n (Clenshaw & Curtis 1960)."""
    nodes = np.array([0.5]) if n == 1 else (1 - np.cos(np.pi * np.arange(n) / (n - 1))) / 2
    return Quadrature("clenshaw_curtis", nodes, interpolatory(nodes))


@cache
def trapezoid(n: int) -> Quadrature:
    """n equally spaced points, ends included; the ends have half the weight."""
    weights = np.full(n, 1.0)
    weights[[0, -1]] = 0.5
    return Quadrature("trapezoid", np.linspace(0, 1, n), weights / weights.sum())


@cache
def midpoint(n: int) -> Quadrature:
    """The middles of n equal parts."""
    return Quadrature("midpoint", (np.arange(n) + 0.5) / n, np.full(n, 1 / n))


@cache
def left(n: int) -> Quadrature:
    """The left ends of n equal parts."""
    return Quadrature("left", np.arange(n) / n, np.full(n, 1 / n))


@cache
def right(n: int) -> Quadrature:
    """The right ends of n equal parts."""
    return Quadrature("right", np.arange(1, n + 1) / n, np.full(n, 1 / n))


QUADRATURES: dict[str, Callable[[int], Quadrature]] = {
    "gauss_legendre": gauss_legendre,
    "clenshaw_curtis": clenshaw_curtis,
    "trapezoid": trapezoid,
    "midpoint": midpoint,
    "left": left,
    "right": right,
}


def interpolatory(u: Float[np.ndarray, "*batch points"], most: float = 2.0) -> Float[np.ndarray, "*batch points"]:
    """Weights on [0, 1] for any nodes (…, n): exact for the highest degree at which Σ|weights| stays below `most`.

    With V = QR, where column k of V is the Legendre polynomial of degree k at the nodes, the shortest weights that are
    exact to degree d are Σₖ≤d zₖ·(column k of Q), where Rᵀz = (1, 0, …): all degrees come from one factorisation.
    """
    n = u.shape[-1]
    q, r = np.linalg.qr(legendre.legvander(2 * u - 1, n - 1))
    diagonal = np.abs(np.diagonal(r, axis1=-2, axis2=-1))
    r = r + np.eye(n) * np.where(diagonal < 1e-14, 1e-14, 0)[..., None, :]  # nodes that are the same
    z = np.linalg.solve(r.swapaxes(-1, -2), np.broadcast_to(np.eye(n)[:, :1], (*r.shape[:-1], 1)))
    weights = np.cumsum(q * z.swapaxes(-1, -2), -1)  # (…, n, degrees)
    fine = np.abs(weights).sum(-2) <= most
    degree = n - 1 - np.argmax(fine[..., ::-1], -1)
    return np.take_along_axis(weights, degree[..., None, None], -1)[..., 0].astype(np.float64, copy=False)


def lagrange(
    nodes: Float[np.ndarray, "*batch points"], at: Float[np.ndarray, "*batch at"]
) -> Float[np.ndarray, "*batch at points"]:
    """The values at points `at` of the polynomials that are 1 at one of the nodes and 0 at the others."""
    own = np.eye(nodes.shape[-1], dtype=bool)
    nodes = nodes[..., None, :]
    apart = np.where(own, 1, nodes.swapaxes(-1, -2) - nodes)  # xⱼ − xₗ
    away = np.where(own, 1, (at[..., None] - nodes)[..., None, :])  # x − xₗ, for each j
    return (away / apart[..., None, :, :]).prod(-1)
