"""The rule for a choice by rank that differs between input and baseline, as that of a mixture's experts.

y = Y[i], with i the place of one of the largest scores S. With Y and S at both ends, and i0 the choice at the baseline,

    Δy = ½·ΔY[i] + ½·ΔY[i0] + (avg Y[i] − avg Y[i0]),

and the last term, the jump from one choice to the other, belongs to the scores whose order changed. Their difference
S[i] − S[i0] is positive at the input and negative at the baseline, so the multiplier of S[i] is jump / Δ(S[i] − S[i0]),
and that of S[i0] its opposite: the rescale rule for a step function of the difference.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ....errors import WITHOUT_GRADIENT, GraphMismatch
from ..lockstep import Grads, Multipliers, Step
from ..nodes import Node, avg, wide


class Chosen(torch.autograd.Function):
    """`(values, scores, index) -> values[token, index]`: what was chosen, on a graph that keeps what it was chosen by.

    Shapes: values (tokens, choices, hidden), scores (tokens, choices), index (tokens, chosen); the result (tokens,
    chosen, hidden).
    """

    @staticmethod
    def forward(
        ctx: Any,
        values: Float[Tensor, "tokens choices hidden"],
        scores: Float[Tensor, "tokens choices"],
        index: Int[Tensor, "tokens chosen"],
    ) -> Float[Tensor, "tokens chosen hidden"]:
        ctx.save_for_backward(values, scores, index)
        return _at(values, index)

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Tensor, None, None]:
        values, _, index = ctx.saved_tensors
        return _put(torch.zeros_like(values), index, g[0]), None, None


def _at(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index.unsqueeze(-1).expand(*index.shape, values.shape[-1]))


def _put(into: Tensor, index: Tensor, what: Tensor) -> Tensor:
    return into.scatter_add_(1, index.unsqueeze(-1).expand_as(what), what)


def chosen(n: Node, n0: Node) -> Step:
    """The step of `Chosen`. Raises GraphMismatch where two scores are tied: nothing tells why one was chosen."""
    (values, scores, i), (values0, scores0, i0) = n.saved_tensors, n0.saved_tensors
    mean = avg(values, values0)
    lead = wide(scores).gather(1, i) - wide(scores).gather(1, i0)
    lead0 = wide(scores0).gather(1, i) - wide(scores0).gather(1, i0)
    moved, change = i != i0, lead - lead0
    if not (torch.isfinite(change) & (change > 0))[moved].all():
        raise GraphMismatch(
            "Two choices by rank, such as those of a mixture's experts, are tied, or their scores are infinite, so "
            "that no change of the scores tells why the input takes another one than the baseline. Choose another "
            f"baseline, or {WITHOUT_GRADIENT}."
        )
    rate = torch.where(moved, 1 / torch.where(moved, change, 1.0), 0.0)

    def through(g: Grads) -> Multipliers:
        m = wide(g[0])
        to_values = _put(_put(torch.zeros_like(mean), i, m / 2), i0, m / 2)
        jump = (m * (_at(mean, i) - _at(mean, i0))).sum(-1) * rate
        to_scores = torch.zeros_like(wide(scores)).scatter_add_(1, i, jump).scatter_add_(1, i0, -jump)
        return to_values, to_scores, None

    return through
