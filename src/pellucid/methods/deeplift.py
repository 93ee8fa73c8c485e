"""DeepLIFT (Shrikumar et al. 2017, 1704.02685), exact for every operation in `numerics.deeplift.rules.table.RULES`.

m·(x − x0) with the multipliers m of the lockstep walk, so that  Σ values = f(x) − f(x0)  to float precision. The walk
passes every tensor between input and output, so m·(h − h0) of any of them comes with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

from ..engine.passes import batch_size
from ..errors import GraphError, GraphMismatch, InputError, UnsupportedOperation
from ..numerics.deeplift.lockstep import NotHalved, Rule, walk
from ..numerics.deeplift.paired_batch import HALVES
from ..numerics.deeplift.recording.expert_routing import routed_apart
from ..numerics.deeplift.recording.recorder import forward_pass, located
from ..numerics.deeplift.rules.table import NOTED, RULES
from ..numerics.deeplift.unsupported import keeping
from ..problem import Attributions, Problem, Seen, Select, Tensors, attached, contributed, detached, picked, solved
from ..randomness import RandomDraws
from ..status import Status

GROWTH = math.log(0.4) / math.log(0.5)
"""The k-th of K cuts is at (k/K)^GROWTH: two segments meet at 0.4."""
_TARGETS = 8
"""Targets to a walk, at least."""


def deeplift(problem: Problem, segments: int = 1) -> Attributions:
    """Two forward passes, and one walk back through both: exact, whatever the number of layers.

    segments: cut the straight path from baseline to input into so many parts, and add up the parts' attributions.
        Exact for any number, at one more pass each; with more of them the scores tend to integrated gradients. The
        parts grow towards the input: two of them meet at 0.4, where the input is about to be told from the baseline,
        so that what it changes lies in one part (docs/idea.md).
    """
    if not isinstance(segments, int) or segments < 1:
        raise InputError(f"deeplift got segments={segments!r}; expected a whole number of at least 1.")
    found = _together(problem) if segments == 1 else None
    outputs, kinds, y, y0, totals = found or _one_by_one(problem, segments)
    n = len(problem.x)
    return tuple(
        solved(
            tuple(total[:n]),
            y[t],
            y0[t],
            passes=segments + 1,
            status=Status.EXACT,
            outputs=outputs,
            inside=tuple(zip(kinds, total[n:], strict=True)),
        )
        for t, total in enumerate(totals)
    )


_Found = tuple[Any, list[str], Tensors, Tensors, list[list[Tensor]]]
"""What f returned at x, the kinds of what is inside, the targets at x and at x0, and for each target what the inputs
contributed, and then the tensors inside."""


def _one_by_one(problem: Problem, segments: int) -> _Found:
    """A pass at each end of each segment, and a walk through the graphs of two."""
    outputs, selects, upper = _pass(problem, 1.0)
    output, kinds = tuple(y.detach() for y in upper.y), [s.kind for s in upper.seen]
    totals: list[list[Tensor]] = [[] for _ in selects]
    for k in range(segments - 1, -1, -1):
        _, _, lower = _pass(problem, (k / segments) ** GROWTH, selects)
        for t, found in enumerate(_walked(problem, upper, lower, RULES)):
            totals[t] = [a + b for a, b in zip(totals[t], found, strict=True)] if totals[t] else found
        upper = lower  # a graph lives only while it is walked
    return outputs, kinds, output, tuple(y.detach() for y in upper.y), totals


_APART: WeakSet[Any] = WeakSet()
"""Models whose graph cannot be read by halves."""


def _together(problem: Problem) -> _Found | None:
    """One pass of x and x0, and a walk through its graph; None where that does not hold the two apart."""
    if problem.model is None or problem.model in _APART or problem.draws.apart:
        return None
    points, rows = problem.both()
    x, n = tuple(t.detach().requires_grad_() for t in points), problem.rows
    with suppress(RandomDraws), forward_pass(x, NOTED), problem.watching() as seen:
        outputs = problem.outputs(x, rows)
        first = problem.firsts()
        at_inputs = picked(outputs, rows[:n] if first is None else first, len(rows))
        y = tuple(attached(problem.value(outputs, select, rows)) for select in problem.selects(at_inputs))
    if problem.draws.found:
        return None
    both = _Pass(x, y, tuple(seen))
    try:
        totals = list(_walked(problem, both, both, HALVES))
    except GraphError as error:
        if isinstance(error, (NotHalved, UnsupportedOperation)):
            _APART.add(problem.model)
        return None
    upper, lower = (tuple(v.detach()[half] for v in y) for half in (slice(n), slice(n, None)))
    return detached(at_inputs), [s.kind for s in seen], upper, lower, totals


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


def _walked(problem: Problem, upper: _Pass, lower: _Pass, rules: Mapping[str, Rule]) -> Iterator[list[Tensor]]:
    """For each target what the inputs contributed between two passes, and then the tensors inside. Where the two are
    one, between the halves of its rows.

    As many targets share a walk as rows share a batch, and at least a few: next to two graphs, what is carried through
    them is small."""
    n, at_once, halves = len(upper.x), max(_TARGETS, batch_size(problem) // problem.rows), upper is lower
    change = lambda a, b: torch.sub(*(a.detach().chunk(2) if halves else (a.detach(), b.detach())))

    def reached(k: int, multipliers: list[Tensor]) -> list[Tensor]:
        if k < n:
            dx = change(upper.x[k], lower.x[k])
            return [m * dx for m in multipliers]
        a, b = upper.seen[k - n], lower.seen[k - n]
        dh = change(a.value, b.value)
        return [contributed(m, dh, a) for m in multipliers]

    for t in range(0, len(upper.y), at_once):
        y, y0 = upper.y[t : t + at_once], lower.y[t : t + at_once]
        weights, inside = [torch.ones_like(v[: problem.rows]) for v in y], [s.value for s in upper.seen]
        try:
            with keeping():
                found = walk(y, y0, weights, upper.x, lower.x, rules, inside, reached, halves)
        except UnsupportedOperation as error:
            raise error if halves else located(error, lambda: problem.outputs(upper.x)) from None
        except GraphMismatch as error:
            passes = (lambda at=at: problem.outputs(at.x) for at in (upper, lower))
            raise error if halves else routed_apart(error, *passes) from None
        yield from found
