"""Methods that look at the gradient at the input. Their scores do not add up; the residual says by how much."""

from __future__ import annotations

import torch
from torch import Tensor

from ..problem import Attribution, Problem, Tensors, solved
from .evaluate import start, value_at_x0


def saliency(problem: Problem, signed: bool = False) -> Attribution:
    """|∂f/∂x|, whose norm over the hidden dimension is a token's score (Simonyan et al. 2014, 1312.6034).

    signed: keep the sign, and sum over the hidden dimension instead.
    """
    first = start(problem)
    return solved(
        first.gradient if signed else tuple(g.abs() for g in first.gradient),
        first.y,
        value_at_x0(problem, first.select),
        passes=2,
        status="exact",
        reduction="sum" if signed else "norm",
        outputs=first.outputs,
    )


def input_x_gradient(problem: Problem) -> Attribution:
    """(x − x0)·∂f/∂x; with a zero baseline, input × gradient (Shrikumar et al. 2016, 1605.01713)."""
    first = start(problem)
    values = tuple(g * (a - b) for g, a, b in zip(first.gradient, problem.x, problem.x0, strict=True))
    y0 = value_at_x0(problem, first.select)
    return solved(values, first.y, y0, passes=2, status="exact", outputs=first.outputs)


def noisy(problem: Problem, samples: int, noise: float, seed: int) -> Tensors:
    """x with Gaussian noise, (rows·samples, …): σ is `noise` times the range of a row's own values.

    Sample k of a row has the same noise whatever its batch mates and padding: the generator is seeded by (seed, k),
    and its numbers fill the positions from the first.
    """
    result = []
    for t in problem.x:
        own = torch.ones_like(t, dtype=torch.bool)
        if problem.mask is not None and problem.mask.shape == t.shape[: problem.mask.ndim]:
            own = problem.mask.bool().view(*problem.mask.shape, *[1] * (t.ndim - problem.mask.ndim)).expand_as(t)
        high = t.masked_fill(~own, -torch.inf).flatten(1).amax(1)
        low = t.masked_fill(~own, torch.inf).flatten(1).amin(1)
        sigma = ((high - low) * noise).view(-1, *[1] * (t.ndim - 1))
        draws = torch.stack([_normal(t[0].shape, seed * 1_000_003 + k) for k in range(samples)]).to(t)
        result.append((t.unsqueeze(1) + sigma.unsqueeze(1) * draws * own.unsqueeze(1)).flatten(0, 1))
    return tuple(result)


def _normal(shape: torch.Size, seed: int) -> Tensor:
    count = -(-shape.numel() // 16) * 16  # torch draws 16 at a time: a longer draw then begins with the shorter one
    draw = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    return draw[: shape.numel()].view(shape)
