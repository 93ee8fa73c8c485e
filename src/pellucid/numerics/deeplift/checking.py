"""Checks that a DeepLIFT rule is right: its multipliers add up, and tend to the gradient for a baseline close to the
input.

Neither check needs another rule to be right. They serve the tests of this project, and whoever adds a rule
(`pellucid.extend`).
"""

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
    """The multipliers of the inputs x for the change `Σ g·(f(x) − f(x0))`, by one walk.

    f: a function of the inputs, made of operations that have rules. g: the weights, like f(x). rules: the table of
        rules.

    Examples:
        >>> square = lambda x: x * x
        >>> x, x0 = torch.tensor([3.0]), torch.tensor([1.0])
        >>> multipliers(square, (x,), (x0,), torch.ones(1))  # Δy/Δx = (9 − 1)/(3 − 1)
        [tensor([4.])]
    """
    x = tuple(t.detach().requires_grad_() for t in x)
    x0 = tuple(t.detach().requires_grad_() for t in x0)
    with forward_pass(x, NOTED):
        y = f(*x)
    with forward_pass(x0, NOTED):
        y0 = f(*x0)
    return walk([y], [y0], [g], x, x0, rules)[0]


def summation_error(f: Callable[..., Tensor], x: tuple[Tensor, ...], x0: tuple[Tensor, ...], seed: int = 0) -> float:
    """|Σ m·Δx − Σ g·Δf| for random weights g, relative to the size of its terms: 0 up to rounding if the rules are
    exact.

    f: a function of the inputs. x, x0: the input and the baseline. seed: of the weights.

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
    """The relative difference between the multipliers and the gradient, for a baseline `step` away: of the order of
    `step`.

    f: a function of the inputs. x: the input, in float64. seed: of the weights and of the direction of the baseline.

    Examples:
        >>> limit_error(torch.tanh, (torch.tensor([0.3]).double(),)) < 1e-4
        True
    """
    generator = torch.Generator().manual_seed(seed)
    x0 = tuple(t + step * torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in x)
    leaves = tuple(t.detach().requires_grad_() for t in x)
    y = f(*leaves)
    g = torch.randn(y.shape, generator=generator, dtype=y.dtype)
    grads = torch.autograd.grad(y, leaves, g, allow_unused=True)
    found = multipliers(f, x, x0, g)
    pairs = [(m, torch.zeros_like(m) if grad is None else grad) for m, grad in zip(found, grads, strict=True)]
    return max(float((m - grad).norm() / (grad.norm() + 1e-12)) for m, grad in pairs)
