"""The method DeepLIFT (Shrikumar et al. 2017, 1704.02685), exact for every operation that has a rule.

The values are m·(x − x0), with the multipliers m of the lockstep walk (`numerics/deeplift/lockstep.py`), so that their
sum is f(x) − f(x0) to float precision. The walk passes every tensor h between input and output, so the contributions
m·(h − h0) of a layer or of attention come with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from ..attribution import Attributions, solved
from ..engine.rows import near
from ..errors import GraphError, InputError, PellucidError, UnsupportedOperation
from ..numerics.deeplift.lockstep import NotHalved, depends_on
from ..numerics.deeplift.pairs import EVEN, Pairs
from ..numerics.deeplift.recording.expert_routing import RoutedApart
from ..numerics.deeplift.recording.recorder import forward_pass
from ..numerics.deeplift.rules.table import NOTED
from ..problem import Outputs, Problem, Select, Tensors, attached, detached, picked
from ..randomness import RandomDraws, kept
from ..status import Status
from . import stretches
from .graphs import Pass, Routing, Walked, laid_out, pass_at, routed, walked, within_memory

GROWTH = math.log(0.4) / math.log(0.5)
"""The k-th of K cuts is at (k/K)^GROWTH: two segments meet at 0.4."""
_FEW = 128
"""Numbers of an input for which the steps of Python take longer than those of the processor: one graph is then walked
faster than two, although f runs once more on x alone."""


def deeplift(problem: Problem, segments: int = 1) -> Attributions:
    """Two forward passes, and one walk back through both: exact, whatever the number of layers.

    segments: into how many parts the straight path from baseline to input is cut; the parts' attributions are added up.
        The scores are exact for any number of parts, each of which costs one more pass, and tend to integrated
        gradients with more of them. The parts grow towards the input: two of them meet at 0.4 (docs/idea.md).
    """
    if not isinstance(segments, int) or segments < 1:
        raise InputError(f"deeplift got segments={segments!r}; expected a whole number of at least 1.")
    whole = lambda: routed(problem, partial(_one_by_one, problem, segments))
    found = within_memory(
        problem,
        segments + 1,
        lambda: (_together(problem) if segments == 1 else None) or whole(),
        lambda: _in_stretches(problem, segments),
    )
    n = len(problem.x)
    answers = (
        solved(
            tuple(total[:n]),
            found.y[t],
            found.y0[t],
            passes=segments + 1,
            status=Status.EXACT,
            outputs=found.outputs,
            inside=tuple(zip(found.kinds, total[n:], strict=True)),
        )
        for t, total in enumerate(found.totals)
    )
    return tuple(replace(answer, row_passes=found.row_passes) for answer in answers)


def multipliers(problem: Problem, known: Tensors = ()) -> tuple[Tensors, Tensors]:
    """The multipliers m of the inputs, for which Σ m·(x − x0) = f(x) − f(x0), of a Problem with one target.

    Where an element of x equals that of x0 its multiplier is the limit, and tells what a change would bring.

    known: the target's values at x, and at x0, as far as f has run on each alone; returned with those that were needed.
    """
    few = sum(t.numel() for t in problem.x) <= _FEW
    if few and (found := _proven_halves(problem, known)):
        return found
    _, selects, upper = pass_at(problem, problem.x, "input")
    _, _, lower = pass_at(problem, _cut(problem, 0, 1), "baseline", selects)
    (found,) = walked(problem, upper, lower, weighed=False)
    return tuple(found), (upper.y[0].detach(), lower.y[0].detach())


Inside: TypeAlias = Callable[[Tensors], tuple[Tensors, Outputs]]
"""`x -> (tensors inside f, which are leaves of its graph; what f returns)`."""


def multipliers_inside(problem: Problem, run: Inside) -> tuple[Tensors, Tensors, Tensors] | None:
    """The multipliers of tensors inside f, and these tensors at x and at x0; None where the target depends on x in
    another way too, or may.

    problem: with one target. run: f, with those tensors.
    """
    ends = [tuple(t.detach().requires_grad_() for t in x) for x in (problem.x, problem.x0)]
    passes: list[Pass] = []

    def alone() -> bool:
        """Makes the passes, and tells whether nothing goes another way."""
        for x in ends:
            inside, outputs = run(x)
            y = tuple(problem.value(outputs, select) for select in problem.selects(outputs))
            with torch._C.DisableTorchFunction():  # a pass that is recorded need not record this
                if recording.loses or depends_on(y, x):
                    return False
            passes.append(Pass(inside, y, ()))
        return True

    try:
        with forward_pass((*ends[0], *ends[1]), NOTED) as recording:
            is_alone, draws = kept(alone, ends[0][0].device)
        if draws or not is_alone:
            return None
        upper, lower = passes
        (m,) = walked(problem, upper, lower, weighed=False)
    except PellucidError:  # the rest of f, by itself, says what is wrong
        return None
    inside, inside0 = (tuple(t.detach() for t in at.x) for at in (upper, lower))
    change = sum((g * (a - b)).sum() for g, a, b in zip(m, inside, inside0, strict=True))
    return (tuple(m), inside, inside0) if near(lower.y[0].detach().sum() + change, upper.y[0].detach().sum()) else None


def _proven_halves(problem: Problem, known: Tensors) -> tuple[Tensors, Tensors] | None:
    """As `multipliers`, by a paired batch; None where f is not known to treat each row of it by itself.

    That is known where each value that depends on the input is in the graph, whose rules keep the halves apart, and
    where f alone has the value at x that it has in the paired batch; also at x0, where f takes a size or a shape, which
    tells how many rows there are.
    """
    if problem.draws.apart or problem.source is not None:
        return None

    def passes() -> tuple[list[Outputs], Select, Pass]:
        alone = [] if known else [problem.drawn(problem.x)]
        _, (select,), both = _paired(problem, problem.drawn, alone)
        if both.measures and len(known) < 2:
            alone.append(problem.drawn(problem.x0))
        return alone, select, both

    try:
        with torch.set_grad_enabled(False):
            (alone, select, both), draws = kept(passes, problem.x[0].device)
            if draws or both.loses or both.y[0].shape[0] != 2 * problem.rows:
                return None
            ends = (*known, *[select(out, problem.numbers) for out in alone])
            if not all(a.shape == b.shape and near(a, b) for a, b in zip(EVEN.cut(both.y[0]), ends, strict=False)):
                return None
            (found,) = walked(problem, both, both, weighed=False)
    except Exception:  # of a function that takes no other number of rows; two passes say what else is wrong
        return None
    return tuple(found), ends


def _one_by_one(problem: Problem, segments: int, routing: Routing) -> Walked:
    """One forward pass at each end of a segment, and a walk through the two graphs of each segment."""
    with routing():
        outputs, selects, upper = pass_at(problem, problem.x, "input")
    output, kinds = tuple(y.detach() for y in upper.y), [s.kind for s in upper.seen]
    totals: list[list[Tensor]] = [[] for _ in selects]
    for k in range(segments - 1, -1, -1):
        with routing():
            _, _, lower = pass_at(problem, _cut(problem, k, segments), "path" if k else "baseline", selects)
        for t, found in enumerate(walked(problem, upper, lower)):
            totals[t] = [a + b for a, b in zip(totals[t], found, strict=True)] if totals[t] else found
        upper = lower  # a graph lives only while it is walked
    return Walked(outputs, kinds, output, tuple(y.detach() for y in upper.y), totals)


def _in_stretches(problem: Problem, segments: int) -> Walked:
    """As `_one_by_one`, layer by layer. Raises NotInStretches, RoutedApart."""
    outputs, selects, upper = stretches.cut_pass(problem, problem.x, "input")
    points, y = [upper], tuple(v.detach() for v in upper.y)
    for k in range(segments - 1, -1, -1):
        x = _cut(problem, k, segments)
        points.append(stretches.cut_pass(problem, x, "path" if k else "baseline", selects)[2])
    totals = stretches.contributions(points)
    return Walked(outputs, [], y, tuple(v.detach() for v in points[-1].y), totals)


def _cut(problem: Problem, k: int, segments: int) -> Tensors:
    """The k-th of the cuts of the path from x0 to x, of which number 0 is x0, laid out as x is."""
    t = (k / segments) ** GROWTH
    at = lambda a, b: laid_out(torch.lerp(b, a, t) if k else b, a)
    return tuple(at(a, b) for a, b in zip(problem.x, problem.x0, strict=True))


def walks_by_layer(problem: Problem) -> bool:
    """Whether the layers of a model account for all of the change, tried on a Problem."""
    try:
        _in_stretches(problem, 1)
    except (stretches.NotInStretches, RoutedApart):
        return False
    return True


def _together(problem: Problem) -> Walked | None:
    """One forward pass of x and x0 as a paired batch, and a walk through its graph; None where the graph does not keep
    the two apart, which is found once for a model."""
    if problem.model is None or problem.found.mixes_halves or problem.draws.apart:
        return None
    try:
        at_inputs, _, both = _paired(problem, problem.outputs)
    except RandomDraws:
        return None
    if problem.draws.found:
        return None
    assert both.pairs is not None
    try:
        totals = list(walked(problem, both, both))
    except GraphError as error:
        if isinstance(error, (NotHalved, UnsupportedOperation)):
            problem.found.mixes_halves = True
        return None
    ends = [both.pairs.cut(v.detach()) for v in both.y]
    passes = None
    if (first := problem.firsts()) is not None:
        passes = tuple((1 + torch.isin(problem.numbers, first).int()).tolist())
    return Walked(
        detached(at_inputs),
        [s.kind for s in both.seen],
        tuple(y for y, _ in ends),
        tuple(y0 for _, y0 in ends),
        totals,
        passes,
    )


def _paired(
    problem: Problem, run: Callable[[Tensors, Tensor], Outputs], at_x: Sequence[Outputs] = ()
) -> tuple[Outputs, tuple[Select, ...], Pass]:
    """The pass of x and x0 as one batch, in which an input with several baselines is once: what f returns at the
    inputs, the targets, and the pass.

    run: f, as `Problem.outputs`. at_x: what f returns at the inputs alone, where it is known.
    """
    points, rows = problem.both()
    x, inputs = tuple(t.detach().requires_grad_() for t in points), len(rows) - problem.rows
    pairs = EVEN if problem.source is None else Pairs(inputs, problem.rows, problem.source)
    with forward_pass(x, NOTED) as recording, problem.watching() as seen:
        outputs = run(x, rows)
        measures, problem.found.loses = recording.measures, problem.found.loses or recording.loses
        with torch._C.DisableTorchFunction():
            at_inputs = at_x[0] if at_x else picked(outputs, slice(inputs), len(rows))
        selects = problem.selects(at_inputs)
        y = [problem.value(outputs, select, rows, "both") for select in selects]
    return at_inputs, selects, Pass(x, tuple(map(attached, y)), tuple(seen), pairs, recording.loses, measures)
