"""How many rows go through a function together, and what happens where memory runs out.

A batch is as large as is fast and fits. Where it does not fit after all, it is halved and tried again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from ..errors import OutOfMemory
from ..problem import Problem

T = TypeVar("T")

_BATCH = 1 << 19
"""Elements of the input to a batch on a CPU: larger batches are no faster per row (docs/performance.md)."""

AT_ONCE = 16
"""Targets that share a walk through two graphs, at least where there is room for their multipliers: what they share is
then a small part of the walk."""


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
    each = problem.elements or max(math.prod(t.shape[1:]) for t in problem.x)
    device = problem.x[0].device
    if device.type == "cuda":  # a forward pass with its graph takes some hundred times its input
        free, _ = torch.cuda.mem_get_info(device)
        return max(1, free // (400 * each * problem.x[0].element_size()))
    return max(1, _BATCH // max(1, each))


def evenly(n: int, most: int) -> int:
    """The size of parts of n: as few as there can be of at most `most` each, and nearly equal.

    Examples:
        >>> evenly(10, 8), evenly(10, 16)
        (5, 10)
    """
    parts = max(1, -(-n // most))
    return max(1, -(-n // parts))


def graph_size(problem: Problem) -> int:
    """About how many bytes the graphs of two forward passes take, for all rows together, and the weights that each
    pass loads because they are offloaded (on the device "meta"), which its graph keeps."""
    x = problem.x[0]
    weights = (p for layer in problem.layers for p in layer.parameters() if p.is_meta)
    loaded = sum(p.numel() * p.element_size() for p in weights)
    return graphs_of(x.numel() * x.element_size(), len(problem.layers)) + 2 * loaded


def graphs_of(size: int, layers: int) -> int:
    """About how many bytes the graphs of two forward passes take, of an input of so many bytes.

    An estimate from shapes: a layer keeps some 24 times what it is given, which is its norms, queries, keys and values,
    and what is between its projections. It only chooses between ways to the same scores.
    """
    return 2 * 24 * max(1, layers) * size


def between_layers(problem: Problem, points: int) -> int:
    """Bytes of what goes from layer to layer at so many points, for all rows together: like x, for each layer."""
    x = problem.x[0]
    return points * len(problem.layers) * x.numel() * x.element_size()


def check_room(problem: Problem, points: int) -> None:
    """Raises OutOfMemory, before the work, where not even what goes from layer to layer fits into the memory that is
    free; for several rows torch.OutOfMemoryError, so that fewer are tried.

    points: of the path, at each of which a pass keeps what each of its layers gives, like x. The least that a walk
    layer by layer needs, so that nothing is refused that would fit.
    """
    x = problem.x[0]
    least, free = between_layers(problem, points), free_on(x.device)
    if least <= free:
        return
    told = f"{least / 1e9:.1f} GB or more for {x.shape[1]} tokens; {x.device} has {free / 1e9:.1f} GB that are free"
    if problem.rows > 1:
        raise torch.OutOfMemoryError(told)
    fitting = x.shape[1] * free // least
    fit = f"Fewer than {fitting} tokens would fit: fewer sources or a shorter text, or window={fitting // 2} where the "
    fit += "task reads documents in windows"
    raise OutOfMemory(
        f"DeepLIFT needs {told}, and expected room for them. {fit if fitting > 1 else 'No token would fit'}. Use "
        f"{'that, ' * (fitting > 1)}a smaller dtype or another device, or method='occlusion', which keeps no graph."
    )


def most_for_a_graph(device: torch.device) -> int:
    """How many bytes the graphs of a model may take as a whole: a quarter of those that are free."""
    return free_on(device) // 4


def free_on(device: torch.device) -> int:
    """Bytes that are free on a device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()


def free_memory() -> int:
    """Bytes of the machine's memory that are free, or that the system gives back when asked; very many where it does
    not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as told:
            return next(int(line.split()[1]) << 10 for line in told if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return 1 << 60


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
