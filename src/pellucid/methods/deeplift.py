"""DeepLIFT (Shrikumar et al. 2017, 1704.02685), exact for every operation in `numerics.rules.RULES`.

m·(x − x0) with the multipliers m of the lockstep walk, so that  Σ values = f(x) − f(x0)  to float precision. The walk
passes every tensor between input and output, so m·(h − h0) of any of them comes with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, UnsupportedOperation
from ..numerics.lockstep import walk
from ..numerics.opaque import keeping
from ..numerics.recording import forward_pass, located
from ..numerics.rules import NOTED, RULES
from ..problem import (
    Attribution,
    Attributions,
    Problem,
    Seen,
    Select,
    Tensors,
    attached,
    by_row,
    contributed,
    detached,
    picked,
    solved,
)
from .evaluate import batch_size

_OFF = "tolerance_not_met"
_TARGETS = 8
"""Targets to a walk, at least."""


def deeplift(problem: Problem, segments: int = 1) -> Attributions:
    """Two forward passes, and one walk back through both: exact, whatever the number of layers.

    segments: cut the straight path from baseline to input into so many parts, and add up the parts' attributions.
        Exact for any number, at one more pass each; with more of them the scores tend to integrated gradients.
    """
    if not isinstance(segments, int) or segments < 1:
        raise InputError(f"deeplift got segments={segments!r}; expected a whole number of at least 1.")
    outputs, selects, upper = _pass(problem, 1.0)
    output, kinds = tuple(y.detach() for y in upper.y), [s.kind for s in upper.seen]
    totals: list[list[Tensor]] = [[] for _ in selects]
    for k in range(segments - 1, -1, -1):
        _, _, lower = _pass(problem, k / segments, selects)
        for t, found in enumerate(_walked(problem, upper, lower)):
            totals[t] = [a + b for a, b in zip(totals[t], found, strict=True)] if totals[t] else found
        upper = lower  # a graph lives only while it is walked
    n = len(problem.x)
    return tuple(
        _proven(
            solved(
                tuple(total[:n]),
                output[t],
                upper.y[t].detach(),
                passes=segments + 1,
                status="exact",
                outputs=outputs,
                inside=tuple(zip(kinds, total[n:], strict=True)),
            ),
            problem.x[0].dtype,
        )
        for t, total in enumerate(totals)
    )


def _proven(answer: Attribution, dtype: torch.dtype) -> Attribution:
    """Exact only where the residual is rounding: at most √ε of the numbers that are added up. A model that draws at
    random, or computes a part without a gradient, leaves more."""
    y, y0 = answer.output.double(), answer.baseline_output.double()
    sums = torch.stack([by_row(v).double().abs().sum(1) for v in answer.values])
    largest = torch.maximum(torch.maximum(y.abs(), y0.abs()), sums.sum(0))
    rounding = max(torch.finfo(d).eps for d in (dtype, answer.output.dtype)) ** 0.5
    off = (answer.delta.abs() > rounding * largest).tolist()
    if not any(off):
        return answer
    return replace(answer, status=_OFF, row_status=tuple(_OFF if o else answer.status for o in off))


@dataclass(frozen=True)
class _Pass:
    """One forward pass with its graph: the leaves, each target's value (rows,), and the tensors inside."""

    x: Tensors
    y: Tensors
    seen: tuple[Seen, ...]


def _pass(problem: Problem, t: float, selects: tuple[Select, ...] = ()) -> tuple[Any, tuple[Select, ...], _Pass]:
    """The pass at x0 + t·(x − x0). At x the targets are found; elsewhere they are given."""
    at = lambda a, b: _laid_out(a if t == 1 else b if t == 0 else torch.lerp(b, a, t), a)
    x = tuple(at(a, b).detach().requires_grad_() for a, b in zip(problem.x, problem.x0, strict=True))
    with forward_pass(x, NOTED), problem.watching() as seen:
        outputs = problem.outputs(x)
        rows = problem.firsts()
        at_inputs = outputs if rows is None else picked(outputs, rows, problem.rows)
        selects = selects or problem.selects(at_inputs)
        y = tuple(attached(problem.value(outputs, select)) for select in selects)
    return detached(at_inputs), selects, _Pass(x, y, tuple(seen))


def _laid_out(t: Tensor, like: Tensor) -> Tensor:
    """`t`, in memory as `like` is: PyTorch chooses by strides which operations a view, a copy or a mean is."""
    form = torch.empty_like(like)
    return t if t.stride() == form.stride() else form.copy_(t)


def _walked(problem: Problem, upper: _Pass, lower: _Pass) -> Iterator[list[Tensor]]:
    """For each target what the inputs contributed between two passes, and then the tensors inside.

    As many targets share a walk as rows share a batch, and at least a few: next to two graphs, what is carried through
    them is small."""
    n, at_once = len(upper.x), max(_TARGETS, batch_size(problem) // problem.rows)

    def reached(k: int, multipliers: list[Tensor]) -> list[Tensor]:
        if k < n:
            change = (upper.x[k] - lower.x[k]).detach()
            return [m * change for m in multipliers]
        a, b = upper.seen[k - n], lower.seen[k - n]
        change = (a.value - b.value).detach()
        return [contributed(m, change, a) for m in multipliers]

    for t in range(0, len(upper.y), at_once):
        y, y0 = upper.y[t : t + at_once], lower.y[t : t + at_once]
        weights, inside = [torch.ones_like(v) for v in y], [s.value for s in upper.seen]
        try:
            with keeping():
                found = walk(y, y0, weights, upper.x, lower.x, RULES, inside, reached)
        except UnsupportedOperation as error:
            raise located(error, lambda: problem.outputs(upper.x)) from None
        yield from found
