"""Checks of attributions that are no ranking of methods: infidelity and max-sensitivity (Yeh et al. 2019, 1901.09392).

Both say how an attribution behaves near an input. Neither says whether it is right: a constant has no sensitivity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ..engine.memory import batched
from ..engine.passes import value_at_x
from ..errors import InputError
from ..problem import Problem, Tensors

Perturb: TypeAlias = Callable[[Tensors], Tensors]
"""`inputs (points, …) -> perturbed inputs (points, …)`, at random."""
Solve: TypeAlias = Callable[[Problem], Tensors]
"""`problem -> values`, like its inputs, for one target."""


def infidelity(
    problem: Problem, values: Tensors, perturb: Perturb, samples: int = 10, scaled: bool = False
) -> Float[Tensor, "targets rows"]:
    """E[(Σ values · d − (f(x) − f(x − d)))²] over perturbations d, where x − d is what `perturb` makes of x.

    values: of one attribution, like x; its unit is that of a gradient: for scores that sum to the change in the output,
    divide by x − x0. scaled: the values are multiplied by the number that makes the mean least, so that only their
    direction counts. Returns it for each target and row, in squares of f's unit; 0 is best.
    Raises InputError where values and inputs do not have the same shapes, and for fewer samples than 1.

        infidelity(problem, gradient, lambda x: (x[0] + 0.1 * torch.randn_like(x[0]),))
    """
    _check(problem, values, samples)
    _, selects, y = value_at_x(problem)
    rows = torch.arange(problem.rows, device=y[0].device).repeat_interleave(samples)
    x = tuple(t.detach()[rows] for t in problem.x)
    moved = perturb(x)
    said = sum(((a - b) * v[rows].to(a.dtype)).flatten(1).sum(1) for a, b, v in zip(x, moved, values, strict=True))

    def at_moved(i: slice) -> Tensors:
        outputs = problem.outputs(tuple(t[i] for t in moved), rows[i])
        return tuple(problem.value(outputs, s, rows[i]) for s in selects)

    with torch.no_grad():
        found = [torch.cat(each) for each in zip(*batched(problem, len(rows), at_moved), strict=True)]
    each_target: list[Tensor] = []
    for before, after in zip(y, found, strict=True):
        change = (before[rows] - after).view(-1, samples).double()
        claim = torch.as_tensor(said).view(-1, samples).double()
        if scaled:
            size = claim.square().sum(1, keepdim=True)
            claim = claim * torch.where(size > 0, (claim * change).sum(1, keepdim=True) / size, 0.0)
        each_target.append((claim - change).square().mean(1))
    return torch.stack(each_target)


def max_sensitivity(
    problem: Problem, solve: Solve, perturb: Perturb | None = None, samples: int = 10, radius: float = 0.02
) -> Float[Tensor, " rows"]:
    """max over perturbed inputs x' of |solve(x') − solve(x)| / |solve(x)|, Euclidean norms, for each row; 0 is best.

    perturb: None for uniform noise of at most `radius` in each element, in the unit of x. The target is fixed at x. The
    norm of the change itself where solve(x) is 0.
    Raises InputError for fewer samples than 1.
    """
    _check(problem, problem.x, samples)
    _, selects, _ = value_at_x(problem)
    fixed = problem.fixed(*selects)
    rows = torch.arange(problem.rows, device=problem.x[0].device)
    own = _flat(solve(fixed))
    size = own.norm(dim=1)
    size = torch.where(size == 0, torch.ones_like(size), size)
    worst = torch.zeros_like(size)
    noise = perturb or (lambda x: tuple(t + radius * (2 * torch.rand_like(t) - 1) for t in x))
    for _ in range(samples):
        moved = noise(tuple(t.detach() for t in fixed.x))
        found = _flat(solve(fixed.taken(rows).at(moved)))
        worst = torch.maximum(worst, (found - own).norm(dim=1) / size)
    return worst


def _flat(values: Tensors) -> Float[Tensor, "rows elements"]:
    return torch.cat([v.detach().flatten(1) for v in values], 1)


def _check(problem: Problem, values: Tensors, samples: int) -> None:
    shapes, expected = [tuple(v.shape) for v in values], [tuple(t.shape) for t in problem.x]
    if shapes != expected:
        raise InputError(f"Found values of shapes {shapes}; expected those of the inputs: {expected}.")
    if samples < 1:
        raise InputError(f"Found samples={samples}; expected 1 or more.")
