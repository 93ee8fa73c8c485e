"""How many rows go through a function together, and what happens where memory runs out.

A batch is as large as is fast and fits. Where it does not fit after all, it is halved and tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from ..errors import OutOfMemory
from ..problem import Problem

T = TypeVar("T")

_BATCH = 1 << 19
"""Elements of the input to a batch on a CPU: larger batches are no faster per row (docs/performance.md)."""


def batched(problem: Problem, n: int, evaluate: Callable[[slice], T]) -> Iterator[T]:
    """Yields `evaluate(slice)` over n evaluations, cut into equal batches; where memory runs out, a batch is halved.

    Raises OutOfMemory where even one evaluation does not fit.
    """
    each = -(-n // max(1, round(n / batch_size(problem))))
    i = 0
    while i < n:
        try:
            done = evaluate(slice(i, min(i + each, n)))
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if min(each, n - i) == 1:
                raise too_large(tuple(problem.x[0].shape[1:]), problem.x[0].device) from error
            each = max(1, min(each, n - i) // 2)
            continue
        yield done
        i += each


def batch_size(problem: Problem) -> int:
    """How many rows go through together: by free memory on a GPU, by what is fast on a CPU."""
    each = problem.elements or max(t[0].numel() for t in problem.x)
    device = problem.x[0].device
    if device.type == "cuda":  # a forward pass with its graph takes some hundred times its input
        free, _ = torch.cuda.mem_get_info(device)
        return max(1, free // (400 * each * problem.x[0].element_size()))
    return max(1, _BATCH // max(1, each))


def out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or any(said in str(error) for said in _SAID)


_SAID = ("allocate memory", "out of memory", "ALLOC_FAILED")
"""What errors of CPUs and of accelerators say where memory ran out."""


def too_large(shape: tuple[int, ...], device: torch.device) -> OutOfMemory:
    """Makes the error that is raised where a single row does not fit."""
    return OutOfMemory(
        f"One row of shape {shape} does not fit into the memory of {device}; expected room for one forward and "
        "backward pass. Use a shorter text, a smaller dtype, or another device."
    )
