"""Sums gradient × difference to one number for each token, or for each element where there are no tokens.

Where a Problem has a mask, a score belongs to a position (a token), and its numbers after the positions are summed.
Elsewhere each element of the input has a score of its own. Either is called a unit.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..problem import Problem


def unit_scores(
    problem: Problem,
    gradients: tuple[Float[Tensor, "targets points ..."], ...],
    differences: tuple[Float[Tensor, "points ..."], ...],
) -> Float[Tensor, "targets points units"]:
    """gradient × difference, summed for each unit, in float64.

    gradients, differences: one for each input.
    """
    dims = _dims(problem)
    parts = [
        (g * d).flatten(dims + 1).sum(-1, dtype=torch.float64) if 0 < dims < d.ndim else (g * d).double()
        for g, d in zip(gradients, differences, strict=True)
    ]
    return torch.cat([p.unsqueeze(-1).flatten(2) for p in parts], -1)


def unit_values(problem: Problem, total: Float[Tensor, "rows units"]) -> tuple[Float[Tensor, "rows ..."], ...]:
    """The number of each unit (rows, units), in the shapes of the inputs, as far as their dimensions were not
    summed."""
    dims = _dims(problem)
    shapes = [t.shape[1:dims] if 0 < dims < t.ndim else t.shape[1:] for t in problem.x]
    parts = total.split([s.numel() for s in shapes], 1)
    return tuple(
        p.reshape(len(p), *s).to(torch.float64 if dims else t.dtype)
        for p, s, t in zip(parts, shapes, problem.x, strict=True)
    )


def _dims(problem: Problem) -> int:
    """How many leading dimensions of an input name a unit; 0 where every element is a unit."""
    return 0 if problem.mask is None else problem.mask.ndim
