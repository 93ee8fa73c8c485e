"""The groups of a Problem: which elements are removed together, and what is left of x without all of them."""

from __future__ import annotations

import numpy as np
import torch

from ..problem import Problem, Tensors


def groups_of(problem: Problem) -> Tensors:
    """For each input (rows, …) the group that an element is in, −1 for none: the Problem's own, or every element a
    group of its own, numbered through all inputs."""
    if problem.groups is not None:
        return problem.groups
    sizes = [t[0].numel() for t in problem.x]
    starts = np.cumsum([0, *sizes])
    return tuple(
        torch.arange(int(start), int(start) + n, device=t.device).view(1, *t.shape[1:]).expand(t.shape)
        for start, n, t in zip(starts, sizes, problem.x, strict=False)
    )


def removed(problem: Problem) -> Tensors:
    """x with every group at its baseline: elements of no group stay as they are in x."""
    if problem.groups is None:
        return problem.x0
    stays = [
        (g < 0).reshape(*g.shape, *[1] * (t.ndim - g.ndim)) for g, t in zip(problem.groups, problem.x, strict=True)
    ]
    return tuple(torch.where(s, t, t0) for s, t, t0 in zip(stays, problem.x, problem.x0, strict=True))
