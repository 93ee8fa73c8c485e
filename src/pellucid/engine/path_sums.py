"""Sums over fixed points of the straight path from baselines to inputs: Σₖ wₖ·g(x0 + tₖ·(x − x0)), batch by batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..numerics.quadrature.fixed import Quadrature
from ..problem import Tensors


@dataclass(frozen=True)
class Points:
    """Some points of the path, each with all rows: first the rows at the first point, then those at the second.

    at: (points · rows, …) for each input. n: how many points. weights: their weights (n,).
    """

    at: Tensors
    n: int
    weights: Sequence[float]

    def alone(self) -> Iterator[Points]:
        """Each point by itself."""
        rows = len(self.at[0]) // self.n
        for k, weight in enumerate(self.weights):
            yield Points(tuple(t[k * rows : (k + 1) * rows] for t in self.at), 1, [weight])

    def reach_first_only(self, gradients: Sequence[Tensor]) -> bool:
        """Whether only the first of several points has a gradient: the function then returns one number for all of its
        rows, that of the first, and each point is to go alone."""
        rest = [self.by_point(g)[1:] for g in gradients]
        return self.n > 1 and not any(bool(t.any()) for t in rest) and any(bool(g.any()) for g in gradients)

    def by_point(self, values: Tensor) -> Tensor:
        """(points · rows, …) → (points, rows, …)."""
        return values.view(self.n, -1, *values.shape[1:])

    def summed(self, values: Tensor) -> Tensor:
        """Σ weights·values over the points: (points · rows, …) → (rows, …). In float32 at least: half precision would
        round each sum."""
        wide = values.to(torch.promote_types(values.dtype, torch.float32))
        return torch.tensordot(wide.new_tensor(self.weights), self.by_point(wide), 1)


def path_points(
    x: Tensors, x0: Tensors, table: Quadrature, most: int | None = None, shared: int = 0
) -> Iterator[Points]:
    """The points of a quadrature on the path from x0 to x.

    most: how many rows a batch has at most; None for one batch. shared: how many points a batch begins with that the
    batch before ended with.
    """
    t, n = table.nodes.tolist(), len(table.nodes)
    rows = x[0].shape[0] if x[0].ndim else 1
    each = n if most is None else max(1 + shared, most // rows)
    if most is not None and most < (1 + shared) * rows:
        warnings.warn(f"A batch of at most {most} rows is too small: each has {each * rows} rows.", stacklevel=2)
    for i in range(0, n - shared, each - shared):
        at = tuple(_between(a, b, t[i : i + each]) for a, b in zip(x, x0, strict=True))
        yield Points(at, len(t[i : i + each]), table.weights[i : i + each].tolist())


def _between(x: Tensor, x0: Tensor, t: Sequence[float]) -> Tensor:
    """x0 + t·(x − x0), (points · rows, …), in floating point for integers too."""
    if not x.is_floating_point():
        x, x0 = (a.to(torch.get_default_dtype()) for a in (x, x0))
    at = x.new_tensor(t).view(-1, *[1] * x.ndim)
    return (x0 + at * (x - x0)).reshape(-1, *x.shape[1:]).detach()


def path_sum(points: Iterator[Points], part: Callable[[Points], Sequence[Tensor]]) -> Tensors:
    """The sum over all batches of points of the tensors that `part` makes of one."""
    total: list[Tensor] = []
    for batch in points:
        found = part(batch)
        total = [a + b for a, b in zip(total, found, strict=True)] if total else list(found)
    return tuple(total)
