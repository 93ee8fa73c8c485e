"""Evaluations of a Problem, packed: any number of (row, point) pairs, as many to a batch as is fast and fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import OutOfMemory
from ..numerics.lockstep import operations
from ..numerics.recording import forward_pass
from ..problem import Problem, Select, Tensors, attached

T = TypeVar("T")

_BATCH = 1 << 19
"""Elements of the input to a batch on a CPU: larger batches are no faster per row (docs/performance.md)."""


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


@dataclass(frozen=True)
class Start:
    """The first pass: `f(x)`, the target it fixes, its value (rows,) and gradient at x, and the operations it ran."""

    outputs: Any
    select: Select
    y: Tensor
    gradient: Tensors
    operations: frozenset[str]


def start(problem: Problem) -> Start:
    """As `value_at_x`, with the gradient from the same pass."""
    leaves = tuple(t.detach().requires_grad_() for t in problem.x)
    with forward_pass(leaves, {}):
        outputs = problem.outputs(leaves)
        select = problem.target(outputs)
        y = attached(problem.value(outputs, select))
    return Start(outputs, select, y.detach(), _gradient(y, leaves), operations(y))


def gradient_at(problem: Problem, select: Select, x: Tensors, rows: Tensor) -> tuple[Tensor, Tensors]:
    """The target (n,) and ∂f/∂x at points `x` (n, …), where `x[i]` belongs to row `rows[i]`."""
    leaves = tuple(t.detach().requires_grad_() for t in x)
    with forward_pass(leaves, {}):
        y = attached(problem.value(problem.outputs(leaves, rows), select, rows))
    return y.detach(), _gradient(y, leaves)


def along_path(problem: Problem, select: Select, rows: Tensor, t: Tensor) -> Iterator[tuple[slice, Tensor, Tensors]]:
    """The target and its gradient at x0 + t·(x − x0), for any (row, t) pairs (n,), batch by batch."""

    def evaluate(i: slice) -> tuple[slice, Tensor, Tensors]:
        points = tuple(
            torch.lerp(b[rows[i]], a[rows[i]], t[i].to(a.dtype).view(-1, *[1] * (a.ndim - 1)))
            for a, b in zip(problem.x, problem.x0, strict=True)
        )
        return i, *gradient_at(problem, select, points, rows[i])

    return batched(problem, len(rows), evaluate)


def batched(problem: Problem, n: int, evaluate: Callable[[slice], T]) -> Iterator[T]:
    """`evaluate` over n evaluations, cut into batches; where memory runs out, a batch is halved and tried again.

    Raises OutOfMemory where even one evaluation does not fit.
    """
    each = _batch_size(problem)
    i = 0
    while i < n:
        try:
            done = evaluate(slice(i, min(i + each, n)))
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            if each == 1:
                size = tuple(problem.x[0].shape[1:])
                raise OutOfMemory(
                    f"One row of shape {size} does not fit into the memory of {problem.x[0].device}; expected room for "
                    "one forward and backward pass. Use a shorter text, a smaller dtype, or another device."
                ) from error
            each = max(1, min(each, n - i) // 2)
            continue
        yield done
        i += each


def _gradient(y: Tensor, leaves: Tensors) -> Tensors:
    grads = torch.autograd.grad(y.sum(), leaves, allow_unused=True)
    return tuple(torch.zeros_like(t) if g is None else g for t, g in zip(leaves, grads, strict=True))


def _batch_size(problem: Problem) -> int:
    """How many rows go through together: by free memory on a GPU, by what is fast on a CPU."""
    each = max(t[0].numel() for t in problem.x)
    device = problem.x[0].device
    if device.type == "cuda":  # a forward pass with its graph takes some hundred times its input
        free, _ = torch.cuda.mem_get_info(device)
        return max(1, free // (400 * each * problem.x[0].element_size()))
    return max(1, _BATCH // max(1, each))


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
