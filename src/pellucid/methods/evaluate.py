"""Evaluations of a Problem, packed: any number of (row, point) pairs, as many to a batch as is fast and fits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..numerics.recording import forward_pass
from ..problem import Problem, Select, Tensors, attached

_BATCH = 1 << 20
"""Elements of the input to a batch. Measured on a CPU: more is no faster per row, fewer is."""


def value_at_x(problem: Problem) -> tuple[Any, Select, Tensor]:
    """`f(x)`, the target it fixes, and the target's value (rows,)."""
    with torch.no_grad():
        outputs = problem.outputs(problem.x)
        select = problem.target(outputs)
        return outputs, select, problem.value(outputs, select)


def value_at_x0(problem: Problem, select: Select) -> Tensor:
    """The target's value at the baseline (rows,)."""
    with torch.no_grad():
        return problem.value(problem.outputs(problem.x0), select)


def gradient_at(problem: Problem, select: Select, x: Tensors, rows: Tensor) -> Tensors:
    """∂f/∂x at points `x` (n, …), where `x[i]` belongs to row `rows[i]`. No parameter's gradient is computed."""
    leaves = tuple(t.detach().requires_grad_() for t in x)
    with forward_pass(leaves, {}):
        y = attached(problem.value(problem.outputs(leaves, rows), select, rows))
    grads = torch.autograd.grad(y.sum(), leaves, allow_unused=True)
    return tuple(torch.zeros_like(t) if g is None else g for t, g in zip(leaves, grads, strict=True))


def batches(problem: Problem, n: int) -> Iterator[slice]:
    """Cuts n evaluations into batches."""
    each = max(1, _BATCH // max(1, max(t[0].numel() for t in problem.x)))
    for i in range(0, n, each):
        yield slice(i, min(i + each, n))
