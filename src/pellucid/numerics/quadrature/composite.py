"""A quadrature rule for functions of any smoothness: gaps between points, and more points in the gaps with large
errors.

    ∫₀¹ g(t) dt = Σ over gaps of h·ḡ,   the mean ḡ over a gap being Σₖ weightsₖ·g(tₖ) over the points next to it

Every point that was evaluated takes part, so the rule converges for functions of any smoothness, at a cost in
proportion to the number of points. g is the integrand of each score, and its sum over the scores is the derivative of a
function y that is known at the same points. So the part of y's change over a gap that the rule does not explain is a
known error, and not an estimate. A table of means is embedded: it gives the mean of each gap, and an estimate of that
mean's error.

- `cubic`, for smooth functions: the cubic through the four nearest points, of order 4 (Gill and Miller, Comput. J. 15,
  1972). The estimated error is its difference from the trapezoid.
- `step`, for functions with kinks, whose gradient jumps: g has its value at the gap's left end up to some place, and
  from there on its value at the right end. y's change tells the place, which makes a gap with one jump exact for any
  number of scores. Two jumps in a gap cannot be told from one, so the estimated error is half of the jump.

New points go to the gaps whose error is largest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from .fixed import lagrange
from .points import Array, Points

_PARTS = 8
"""Into how many parts a gap is cut at most, at a time."""
_GROWTH = 6
"""A round adds one point for so many there are, so that all rounds together cost in proportion to the points."""
_BLOCK = 1 << 22
"""Numbers of as many rows as are looked at together: what a rule needs of its own is little beside the scores."""
_WILD = 2.0
"""Σ|weights| from which on they are not used: rounding grows with them."""
_NARROW = 2.0**-40
"""A gap that is not cut further: rounding of the points themselves is near."""


@dataclass(frozen=True)
class Means:
    """The mean of the integrand g over each gap, as a weighted sum over the points next to the gap.

    near: which points, by their numbers in order. weights: Σₖ weightsₖ·g(tₖ) is the mean. doubt: Σₖ doubtₖ·g(tₖ) is the
    estimated error of the mean.
    """

    near: Int[np.ndarray, "gaps k"]
    weights: Float[np.ndarray, "rows gaps targets k"]
    doubt: Float[np.ndarray, "rows gaps targets k"]


Table = Callable[[Array, Array, Array], Means]
"""`(t, dy/dt, y) -> Means` at points in order: (rows, n), (rows, n, targets) twice."""


def step(
    t: Float[np.ndarray, "rows points"],
    slope: Float[np.ndarray, "rows points targets"],
    y: Float[np.ndarray, "rows points targets"],
) -> Means:
    """The table of means for functions with kinks: one jump of g in each gap, at the place that y's change tells."""
    i = np.arange(t.shape[1] - 1)
    mean = np.diff(y, axis=1) / np.maximum(np.diff(t, axis=1), 1e-300)[..., None]
    jump = slope[:, :-1] - slope[:, 1:]
    share = np.where(jump == 0, 0.5, np.clip((mean - slope[:, 1:]) / np.where(jump == 0, 1, jump), 0, 1))
    half = np.full_like(share, 0.5)
    return Means(np.stack([i, i + 1], 1), np.stack([share, 1 - share], -1), np.stack([half, -half], -1))


def cubic(
    t: Float[np.ndarray, "rows points"],
    slope: Float[np.ndarray, "rows points targets"],
    y: Float[np.ndarray, "rows points targets"],
) -> Means:
    """The table of means for smooth functions: the cubic through the gap's ends and their neighbours, integrated
    exactly.

    Where the points are spaced so unevenly that its weights, and rounding with them, grow, the mean is the trapezoid's.
    """
    i = np.arange(t.shape[1] - 1)
    near = np.clip(i - 1, 0, t.shape[1] - 4)[:, None] + np.arange(4)
    middle, half = (t[:, 1:] + t[:, :-1]) / 2, np.diff(t, axis=1) / 2
    gauss = np.stack([middle + half * s / np.sqrt(3) for s in (-1, 1)], -1)
    trapezoid = ((near == i[:, None]) | (near == i[:, None] + 1)) / 2
    weights = lagrange(t[:, near], gauss).mean(-2)  # (rows, gaps, 4)
    doubt = weights - trapezoid
    weights = np.where(np.abs(weights).sum(-1, keepdims=True) <= _WILD, weights, trapezoid)
    each = lambda w: np.broadcast_to(w[:, :, None], (*w.shape[:2], slope.shape[-1], 4))
    return Means(near, each(weights), each(doubt))


@dataclass(frozen=True)
class Composite:
    """The composite rule for each row of a batch (`points.Rule`).

    gaps: the error of each gap, relative to the norm of the scores.
    """

    points: Points
    table: Table
    means: Means
    total: Float[np.ndarray, "rows targets units"]
    error: Float[np.ndarray, "rows targets units"]
    gaps: Float[np.ndarray, "rows gaps"]

    @classmethod
    def of(cls, points: Points, table: Table) -> Composite:
        each = max(1, _BLOCK // points.scores[0].size)
        blocks = [np.arange(i, min(i + each, len(points.t))) for i in range(0, len(points.t), each)]
        means, *found = zip(*(_judged(points.only(rows), table) for rows in blocks), strict=True)
        weights, doubt = (np.concatenate(w) for w in ([m.weights for m in means], [m.doubt for m in means]))
        return cls(points, table, Means(means[0].near, weights, doubt), *map(np.concatenate, found))

    def only(self, rows: NDArray[np.int64]) -> Composite:
        means = Means(self.means.near, self.means.weights[rows], self.means.doubt[rows])
        arrays = (a[rows] for a in (self.total, self.error, self.gaps))
        return Composite(self.points.only(rows), self.table, means, *arrays)

    def grown(self, new: Points) -> Composite:
        return Composite.of(self.points.joined(new), self.table)

    def wants(self, most: int) -> int:
        return min(most, self.points.n // _GROWTH)

    def more(self, n: int) -> Float[np.ndarray, "rows new"]:
        """The new points: each gap gets as many as its error is worth, as parties win seats by their votes
        (D'Hondt)."""
        rows, gaps = self.gaps.shape
        quotients = (self.gaps[..., None] / np.arange(1, _PARTS)).reshape(rows, -1)
        won = np.zeros_like(quotients)
        np.put_along_axis(won, np.argsort(-quotients, 1, kind="stable")[:, :n], 1, 1)
        won = won.reshape(rows, gaps, -1)  # a gap's k seats are its first k
        t = np.sort(self.points.t, 1)
        place = np.cumsum(won, -1) / (won.sum(-1, keepdims=True) + 1)
        return (t[:, :-1, None] + place * np.diff(t, axis=1)[..., None])[won > 0].reshape(rows, n)

    def paired(
        self, row: int, target: int, gradients: Float[Tensor, "points ..."], values: Float[Tensor, "points ..."]
    ) -> tuple[Float[Tensor, "pairs ..."], Float[Tensor, "pairs ..."]]:
        """The mean gradient over each gap, and the change of the tensor over the gap."""
        order = torch.from_numpy(np.argsort(self.points.t[row], kind="stable")).to(values.device)
        weights = torch.from_numpy(self.means.weights[row, :, target].copy()).to(values)
        near = order[torch.from_numpy(self.means.near).to(values.device)]
        shape = (-1, *[1] * (values.ndim - 1))
        means = reduce(torch.add, (weights[:, k].view(shape) * gradients[near[:, k]] for k in range(near.shape[1])))
        return means, values[order].diff(dim=0)


def _judged(points: Points, table: Table) -> tuple[Means, Array, Array, Array]:
    """The means, and as in `Composite` total, error and gaps. What is left of y's change is a part of the error, shared
    by the scores in proportion to their squares."""
    ordered = points.sorted()
    t, g, y = ordered.t, ordered.scores, ordered.y
    slope, h = g.sum(-1), np.diff(t, axis=1)[..., None]
    means = table(t, slope, y)
    left = np.diff(y, axis=1) - h * _combined(means.near, means.weights, slope)  # (rows, gaps, targets)
    doubt = (h[..., None] * _combined(means.near, means.doubt[..., None, :], g)) ** 2  # (rows, gaps, targets, units)
    weights = np.zeros_like(slope)
    for k in range(means.near.shape[1]):
        np.add.at(weights.swapaxes(0, 1), means.near[:, k], (h * means.weights[..., k]).swapaxes(0, 1))
    total = np.einsum("rnt,rntu->rtu", weights, g)
    size = np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-300)
    error = np.sqrt(doubt.sum(1) + (left**2).sum(1)[..., None] * (total / size) ** 2)
    gaps = np.sqrt(doubt.sum(-1) + left**2) / size.swapaxes(1, 2)
    return means, total, error, np.where(h[..., 0] > _NARROW, gaps.max(-1), 0)


def _combined(near: NDArray[np.int64], weights: Array, g: Array) -> Array:
    """Σₖ weightsₖ·g(tₖ) of each gap, for g (rows, n, …) and weights (rows, gaps, …, k)."""
    return reduce(np.add, (weights[..., k] * g[:, near[:, k]] for k in range(near.shape[1])))
