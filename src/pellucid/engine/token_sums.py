"""Where a score stands: at a position where the Problem has positions, else at an element of the input."""

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
    """gradient × difference (targets, n, units) in float64, summed over what comes after the positions.

    gradients: one per input, (targets, n, …). differences: one per input, (n, …).
    """
    dims = _dims(problem)
    parts = [
        (g * d).flatten(dims + 1).sum(-1, dtype=torch.float64) if 0 < dims < d.ndim else (g * d).double()
        for g, d in zip(gradients, differences, strict=True)
    ]
    return torch.cat([p.unsqueeze(-1).flatten(2) for p in parts], -1)


def unit_values(problem: Problem, total: Float[Tensor, "rows units"]) -> tuple[Float[Tensor, "rows ..."], ...]:
    """Each unit's number (rows, units) in the shapes of its inputs, as far as they were not summed."""
    dims = _dims(problem)
    shapes = [t.shape[1:dims] if 0 < dims < t.ndim else t.shape[1:] for t in problem.x]
    parts = total.split([s.numel() for s in shapes], 1)
    return tuple(
        p.reshape(len(p), *s).to(torch.float64 if dims else t.dtype)
        for p, s, t in zip(parts, shapes, problem.x, strict=True)
    )


def _dims(problem: Problem) -> int:
    """How many leading dimensions a unit's place has; 0 where every element is a unit."""
    return 0 if problem.mask is None else problem.mask.ndim
