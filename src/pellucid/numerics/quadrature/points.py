"""The evaluated points of a batch of rows, and what every quadrature rule that adds points has in common.

Integrated gradients of a row are ∫₀¹ g(t) dt, where g(t) are the integrands of its scores, and their sum over the
scores is dy/dt. A *rule* is an estimate of that integral from any set of points: it has the `points` that it is made
from, and `total` and `error` (rows, targets, units), where the norm of `error` is the estimated error of `total`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """The points t at which rows were evaluated, in the order of their evaluation, and the results.

    scores: the integrand of each score. y: the targets' values.
    """

    t: Float[np.ndarray, "rows points"]
    scores: Float[np.ndarray, "rows points targets units"]
    y: Float[np.ndarray, "rows points targets"]

    @property
    def n(self) -> int:
        return self.t.shape[1]

    def joined(self, new: Points) -> Points:
        """These points, and then the new points of each row."""
        both = zip((self.t, self.scores, self.y), (new.t, new.scores, new.y), strict=True)
        return Points(*(np.concatenate(pair, 1) for pair in both))

    def only(self, rows: NDArray[np.int64]) -> Points:
        return Points(self.t[rows], self.scores[rows], self.y[rows])

    def sorted(self) -> Points:
        """The same points in order, from 0 to 1."""
        order = np.argsort(self.t, 1, kind="stable")
        rows = np.arange(len(order))[:, None]
        return Points(self.t[rows, order], self.scores[rows, order], self.y[rows, order])


@runtime_checkable
class Rule(Protocol):
    """An estimate of ∫₀¹ g(t) dt for each row of a batch, which can take more points."""

    @property
    def points(self) -> Points: ...

    @property
    def total(self) -> Float[np.ndarray, "rows targets units"]: ...

    @property
    def error(self) -> Float[np.ndarray, "rows targets units"]: ...

    def grown(self, new: Points) -> Rule:
        """The rule with more points of each row."""
        ...

    def only(self, rows: NDArray[np.int64]) -> Rule:
        """The rule of these rows, by their numbers in the batch."""
        ...

    def wants(self, most: int) -> int:
        """How many points each row takes next; 0 where `most`, which may be added, are too few."""
        ...

    def more(self, n: int) -> Float[np.ndarray, "rows new"]:
        """The next n points of each row."""
        ...

    def paired(
        self, row: int, target: int, gradients: Float[Tensor, "points ..."], values: Float[Tensor, "points ..."]
    ) -> tuple[Float[Tensor, "pairs ..."], Float[Tensor, "pairs ..."]]:
        """Two tensors (pairs, …) whose product, summed over the pairs, is ∫ gradient·dh for a tensor h inside f.

        gradients, values: the gradient at h and the value of h at each of the row's points.
        """
        ...
