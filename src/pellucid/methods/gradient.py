"""The methods that look at the gradient at the input only: saliency, input × gradient, guided backpropagation,
deconvolution.

Their scores do not add up to the change in the output; the residual says by how much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..attribution import Attributions, solved
from ..engine.passes import start, value_at_x0
from ..engine.relu_gradients import ReluRule, change_relus, deconvolved, guided
from ..problem import Problem, by_row
from ..status import Status


def saliency(problem: Problem, signed: bool = False) -> Attributions:
    """|∂f/∂x|, whose norm over the hidden dimension is a token's score (Simonyan et al. 2014, 1312.6034).

    signed: keep the sign, and sum over the hidden dimension instead.
    """
    return _of_gradient(problem, lambda g, a, b: g if signed else g.abs(), "sum" if signed else "norm")


def input_x_gradient(problem: Problem) -> Attributions:
    """(x − x0)·∂f/∂x; with a zero baseline, input × gradient (Shrikumar et al. 2016, 1605.01713)."""
    return _of_gradient(problem, lambda g, a, b: g * (a - b), "sum")


def guided_backprop(problem: Problem) -> Attributions:
    """The gradient that passes a ReLU only where it is positive, and the ReLU's input too (Springenberg et al. 2014,
    1412.6806). A token's score is the norm over the hidden dimension. A note says where the function has no ReLU."""
    return _of_relus(problem, guided)


def deconvolution(problem: Problem) -> Attributions:
    """As `guided_backprop`, the gradient that passes a ReLU only where it is positive, whatever the ReLU's input
    (Zeiler & Fergus 2013, 1311.2901)."""
    return _of_relus(problem, deconvolved)


def _of_relus(problem: Problem, rule: ReluRule) -> Attributions:
    found: list[int] = []
    answers = _of_gradient(problem, lambda g, a, b: g, "norm", lambda y: found.append(change_relus(y, rule)))
    return answers if any(found) else tuple(replace(a, notes=(*a.notes, NO_RELU)) for a in answers)


NO_RELU = (
    "The function has no ReLU, which is all that this method changes, so these are the gradients that saliency takes."
)
"""The note on an answer of `guided_backprop` or `deconvolution` about a function without a ReLU."""


def _of_gradient(
    problem: Problem,
    score: Callable[[Tensor, Tensor, Tensor], Tensor],
    reduction: str,
    prepare: Callable[[Tensor], object] | None = None,
) -> Attributions:
    """A method whose values are `score(gradient, x, x0)`, with the gradient at x. prepare: see `start`."""
    first = start(problem, prepare)
    y0 = value_at_x0(problem, first.selects)
    return tuple(
        solved(
            tuple(score(g[t], a, b) for g, a, b in zip(first.at_x.gradients, problem.x, problem.x0, strict=True)),
            first.at_x.y[t],
            y0[t],
            passes=2,
            status=Status.CLOSED_FORM,
            reduction=reduction,
            outputs=first.outputs,
        )
        for t in range(len(y0))
    )


def noisy(
    problem: Problem, rows: Int[Tensor, " points"], draws: Int[Tensor, " points"], noise: float, seed: int
) -> tuple[Float[Tensor, "points ..."], ...]:
    """The inputs of `rows` with Gaussian noise, whose σ is `noise` times the range of a row's own values.

    draws: the number of the noise that each point gets. A draw of a row is the same noise whatever else is in the
    batch: the generator is seeded by (seed, draw), and its numbers fill the positions from the first.
    """
    result = []
    numbers, which = draws.unique(return_inverse=True)
    for whole in problem.x:
        t = whole[rows]
        own = torch.ones_like(t, dtype=torch.bool)
        if problem.mask is not None and problem.mask.shape == whole.shape[: problem.mask.ndim]:
            mask = problem.mask[rows]
            own = mask.bool().view(*mask.shape, *[1] * (t.ndim - mask.ndim)).expand_as(t)
        high = by_row(t.masked_fill(~own, -torch.inf)).amax(1)
        low = by_row(t.masked_fill(~own, torch.inf)).amin(1)
        sigma = ((high - low) * noise).view(-1, *[1] * (t.ndim - 1))
        drawn = torch.stack([_normal(t[0].shape, seed * 1_000_003 + k) for k in numbers.tolist()]).to(t)
        result.append(t + sigma * drawn[which] * own)
    return tuple(result)


def _normal(shape: torch.Size, seed: int) -> Tensor:
    count = -(-shape.numel() // 16) * 16  # torch draws 16 at a time: a longer draw then begins with the shorter one
    draw = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    return draw[: shape.numel()].view(shape)
