"""Checks of a rule that need no other rule to be right: for the tests here, and for whoever adds an operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .lockstep import Rule, walk
from .recording.recorder import forward_pass
from .rules.table import NOTED, RULES


def multipliers(
    f: Callable[..., Tensor],
    x: tuple[Tensor, ...],
    x0: tuple[Tensor, ...],
    g: Tensor,
    rules: Mapping[str, Rule] = RULES,
) -> list[Tensor]:
    """The multipliers of `x` for `Σ g·(f(x) − f(x0))`, by one walk."""
    x = tuple(t.detach().requires_grad_() for t in x)
    x0 = tuple(t.detach().requires_grad_() for t in x0)
    with forward_pass(x, NOTED):
        y = f(*x)
    with forward_pass(x0, NOTED):
        y0 = f(*x0)
    return walk([y], [y0], [g], x, x0, rules)[0]


def summation_error(f: Callable[..., Tensor], x: tuple[Tensor, ...], x0: tuple[Tensor, ...], seed: int = 0) -> float:
    """|Σ m·Δx − Σ g·Δf| for a random g, relative to the size of its terms: 0 up to rounding if the rule is exact.

    Examples:
        >>> summation_error(torch.tanh, (torch.tensor([3.0]).double(),), (torch.tensor([-1.0]).double(),)) < 1e-15
        True
    """
    dy = (f(*x) - f(*x0)).detach()
    g = torch.randn(dy.shape, generator=torch.Generator().manual_seed(seed), dtype=dy.dtype)
    terms = [m * (a - b) for m, a, b in zip(multipliers(f, x, x0, g), x, x0, strict=True)]
    inside, outside = sum(t.sum() for t in terms), (g * dy).sum()
    size = sum(t.abs().sum() for t in terms) + (g * dy).abs().sum()
    return float((inside - outside).abs() / size) if size else 0.0


def limit_error(f: Callable[..., Tensor], x: tuple[Tensor, ...], step: float = 1e-5, seed: int = 0) -> float:
    """How far the multipliers for a baseline `step` away are from the gradient, relative to it: of order `step`."""
    generator = torch.Generator().manual_seed(seed)
    x0 = tuple(t + step * torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in x)
    leaves = tuple(t.detach().requires_grad_() for t in x)
    y = f(*leaves)
    g = torch.randn(y.shape, generator=generator, dtype=y.dtype)
    grads = torch.autograd.grad(y, leaves, g, allow_unused=True)
    found = multipliers(f, x, x0, g)
    pairs = [(m, torch.zeros_like(m) if grad is None else grad) for m, grad in zip(found, grads, strict=True)]
    return max(float((m - grad).norm() / (grad.norm() + 1e-12)) for m, grad in pairs)
