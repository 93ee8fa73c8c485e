"""A quadrature rule for smooth functions: one polynomial through all points, in a variable that spreads out a narrow
peak.

The gradient along a path is often large in one narrow place: layer norm turns the direction of an embedding over a
short part of the path between its baseline and itself. A polynomial needs many points to follow that, so the rule first
changes the variable, t = c + s·sinh(a + (b − a)·u), which spreads the peak out around its centre c with width s
(Johnston and Elliott, Int. J. Numer. Meth. Engng 62, 2005). Then it adds Leja points in u, each where the product of
the distances to
the points before it is largest: any number of points is a good set, and contains all smaller ones.

Everything is computed for all rows at once, in a time that the number of points bounds: `MOST`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from numpy.polynomial import legendre
from numpy.typing import NDArray
from torch import Tensor

from .fixed import gauss_legendre, interpolatory, lagrange
from .points import Array, Points

PILOT = np.array([0.05, 0.13, 0.22, 0.32, 0.43, 0.56, 0.75])
"""Where the integrand is first looked at, besides both ends: denser where embeddings leave their baseline."""
_FIRST, _NEXT = 8, 3
"""Points that are added to the first ones and both ends, and those of each round after that."""
LEAST = len(PILOT) + 2 + _FIRST
"""Points of the first error estimate."""
MOST = 95
"""Points after which a polynomial is not what the function wants."""
_CANDIDATES = (1 - np.cos(np.pi * np.arange(201) / 200)) / 2


@dataclass(frozen=True)
class Stretch:
    """The change of variable t = c + s·sinh(a + (b − a)·u), which maps [0, 1] onto itself and is slow around c over a
    width s.

    centre, width: c and s of each row.
    """

    centre: Float[np.ndarray, "rows 1"]
    width: Float[np.ndarray, "rows 1"]

    @property
    def ends(self) -> tuple[Array, Array]:
        return np.arcsinh(-self.centre / self.width), np.arcsinh((1 - self.centre) / self.width)

    def t(self, u: Float[np.ndarray, "rows points"]) -> Float[np.ndarray, "rows points"]:
        a, b = self.ends
        return np.clip(self.centre + self.width * np.sinh(a + (b - a) * u), 0.0, 1.0)

    def u(self, t: Float[np.ndarray, "rows points"]) -> Float[np.ndarray, "rows points"]:
        a, b = self.ends
        return np.clip((np.arcsinh((t - self.centre) / self.width) - a) / (b - a), 0.0, 1.0)

    def dt(self, u: Float[np.ndarray, "rows points"]) -> Float[np.ndarray, "rows points"]:
        """dt/du."""
        a, b = self.ends
        return self.width * (b - a) * np.cosh(a + (b - a) * u)


def stretch_for(t: Float[np.ndarray, "rows points"], size: Float[np.ndarray, "rows points"]) -> Stretch:
    """The Stretch for each row around its largest integrand: the peak A/((t − c)² + w²) through three neighbouring
    points.

    t: the points, in order. size: the size of the integrand at each.

    1/size is a parabola, whose vertex is c and whose value there gives w. Both are rounded, so that the last digits of
    a batch do not move the points of a row.
    """
    i = np.clip(np.argmax(size, 1), 1, t.shape[1] - 2)[:, None]
    floor = 1e-300 + 1e-12 * size.max(1, keepdims=True)
    near = lambda v: [np.take_along_axis(v, i + k, 1) for k in (-1, 0, 1)]
    (x0, x1, x2), (y0, y1, y2) = near(t), near(1 / (size + floor))
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)  # divided differences
    a = (right - left) / (x2 - x0)
    ok = np.isfinite(a) & (a > 0)
    a = np.where(ok, a, 1)
    centre = np.where(ok, (x0 + x1) / 2 - left / (2 * a), x1)
    least = y1 - a * (x1 - centre) ** 2
    width = np.sqrt(np.maximum(np.where(ok, least / a, 1), 1e-4))
    centre = np.where(ok, np.round(np.clip(centre, 0, 1) * 64) / 64, centre)
    return Stretch(centre, np.where(ok, 2 ** (np.round(4 * np.log2(np.clip(width, 0.03, 1))) / 4), 0.15))


def leja(u: Float[np.ndarray, "rows points"], n: int) -> Float[np.ndarray, "rows new"]:
    """The next n points after `u`, each where the product of the distances to all points before it is largest."""
    rows = np.arange(len(u))
    product = np.log(np.abs(_CANDIDATES[:, None] - u[:, None]) + 1e-300).sum(-1)  # (rows, candidates)
    found = []
    for _ in range(n):
        found.append(_CANDIDATES[np.argmax(product, 1)])
        product = product + np.log(np.abs(_CANDIDATES - found[-1][rows, None]) + 1e-300)
    return np.stack(found, 1)


def stieltjes(u: Float[np.ndarray, " points"]) -> Float[np.ndarray, "points points"]:
    """The matrix A with  ∫₀¹ p dq ≈ Σⱼₖ Aⱼₖ·p(uⱼ)·q(uₖ)  for two functions p and q that are known at the same nodes.

    Both are replaced by their least-squares polynomials of the highest degree that n Leja points determine well.
    """
    degree = max(1, min(len(u) - 1, int(0.8 * len(u))))
    fit = np.linalg.pinv(legendre.legvander(2 * u - 1, degree))
    table = gauss_legendre(degree + 1)
    at = 2 * table.nodes - 1
    slopes = 2 * legendre.legvander(at, degree - 1) @ legendre.legder(np.eye(degree + 1))
    return (legendre.legvander(at, degree) @ fit).T @ (table.weights[:, None] * (slopes @ fit))


@dataclass(frozen=True)
class Interpolation:
    """The interpolatory rule for each row of a batch (`points.Rule`), after a Stretch around the largest integrand
    seen.

    The error is the larger of two. One is the change of the integral by the last points, continued as a geometric
    series where they changed it hardly less than the points before them did. The other is a twentieth of the difference
    between the
    last integrands and what the polynomial expected of them: that catches a peak which all other points had missed.

    caution: a factor of the error. moved: by how much the last points changed the integral.
    """

    points: Points
    stretch: Stretch
    total: Float[np.ndarray, "rows targets units"]
    error: Float[np.ndarray, "rows targets units"]
    moved: Float[np.ndarray, "rows targets"]
    caution: float = 1.0

    @classmethod
    def through(cls, points: Points, caution: float) -> Interpolation:
        """The rule through the first points of each row, of which no error is known yet."""
        unknown = np.full(points.scores[:, 0].shape, np.inf)
        return cls(points, *_integral(points), unknown, np.zeros(unknown.shape[:2]), caution)

    def only(self, rows: NDArray[np.int64]) -> Interpolation:
        stretch = Stretch(self.stretch.centre[rows], self.stretch.width[rows])
        total, error, moved = (a[rows] for a in (self.total, self.error, self.moved))
        return Interpolation(self.points.only(rows), stretch, total, error, moved, self.caution)

    def wants(self, most: int) -> int:
        n = _FIRST if self.points.n < LEAST else _NEXT
        return n if n <= most else 0

    def more(self, n: int) -> Float[np.ndarray, "rows new"]:
        return self.stretch.t(leja(self.u, n))

    def grown(self, new: Points) -> Interpolation:
        expected = self._expected(new.t)
        dt = self.stretch.dt(self.stretch.u(new.t))[..., None, None]
        surprise = 0.05 * np.sqrt(np.mean((expected - new.scores * dt) ** 2, 1))
        points = self.points.joined(new)
        stretch, total = _integral(points)
        change = np.abs(total - self.total)
        moved = np.linalg.norm(change, axis=-1)
        ratio = np.where(self.moved > 0, np.minimum(moved / np.where(self.moved > 0, self.moved, 1), 0.9), 0.9)
        series = change * np.maximum(1, ratio / (1 - ratio))[..., None]
        larger = np.linalg.norm(series, axis=-1) >= np.linalg.norm(surprise, axis=-1)
        error = self.caution * np.where(larger[..., None], series, surprise)
        return Interpolation(points, stretch, total, error, moved, self.caution)

    def paired(
        self, row: int, target: int, gradients: Float[Tensor, "points ..."], values: Float[Tensor, "points ..."]
    ) -> tuple[Float[Tensor, "pairs ..."], Float[Tensor, "pairs ..."]]:
        table = torch.from_numpy(stieltjes(self.u[row])).to(values)
        return gradients, torch.tensordot(table, values, 1)

    @cached_property
    def u(self) -> Array:
        return self.stretch.u(self.points.t)

    def _expected(self, t: Float[np.ndarray, "rows new"]) -> Float[np.ndarray, "rows new targets units"]:
        """The integrand at other points, as the polynomial expects it."""
        table = lagrange(self.u, self.stretch.u(t)) * self.stretch.dt(self.u)[:, None]
        return np.einsum("rmn,rntu->rmtu", table, self.points.scores, optimize=True)


def _integral(points: Points) -> tuple[Stretch, Float[np.ndarray, "rows targets units"]]:
    """The Stretch that suits the points, and the integral in its variable."""
    order = np.argsort(points.t, 1)
    size = np.sqrt(np.einsum("rntu,rntu->rn", points.scores, points.scores))
    stretch = stretch_for(*(np.take_along_axis(v, order, 1) for v in (points.t, size)))
    u = stretch.u(points.t)
    weights = interpolatory(u) * stretch.dt(u)
    return stretch, np.einsum("rn,rntu->rtu", weights, points.scores)
