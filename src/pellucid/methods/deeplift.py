"""The method DeepLIFT (Shrikumar et al. 2017, 1704.02685), exact for every operation that has a rule.

The values are m·(x − x0), with the multipliers m of the lockstep walk (`numerics/deeplift/lockstep.py`), so that their
sum is f(x) − f(x0) to float precision. The walk passes every tensor h between input and output, so the contributions
m·(h − h0) of a layer or of attention come with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from ..attribution import Attributions, solved
from ..engine.rows import near
from ..errors import WITHOUT_GRADIENT, GraphError, GraphMismatch, InputError, UnsupportedOperation
from ..numerics.deeplift.lockstep import NotHalved, depends_on
from ..numerics.deeplift.paired_batch import halved
from ..numerics.deeplift.pairs import EVEN, Pairs
from ..numerics.deeplift.recording.expert_routing import RoutedApart
from ..numerics.deeplift.recording.recorder import forward_pass
from ..numerics.deeplift.rules.table import NOTED
from ..problem import Arguments, Outputs, Problem, Select, Tensors, attached, detached, picked
from ..randomness import RandomDraws, kept
from ..status import Status
from . import stretches
from .graphs import Pass, Routing, Walked, laid_out, pass_at, routed, walked, within_memory

GROWTH = math.log(0.4) / math.log(0.5)
"""The k-th of K cuts is at (k/K)^GROWTH: two segments meet at 0.4."""
_LOST = 1e-3
"""What is missing at least of an output, relative to it, where a part of it was lost; rounding is less."""
_FEW = 256
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
    if halves := _proven_halves(problem, known):
        return halves.m, halves.y
    _, selects, upper = pass_at(problem, problem.x, "input")
    _, _, lower = pass_at(problem, _cut(problem, 0, 1), "baseline", selects)
    (found,) = walked(problem, upper, lower, weighed=False)
    y, y0 = (end.y[0].detach() for end in (upper, lower))
    m = Multipliers(tuple(found), problem.x, problem.x0, (), (y, y0))
    if problem.found.loses and _misses_some(m):
        raise GraphMismatch(
            "The scores do not add up, because the output depends on values that were made without a gradient "
            "(an argmax, a comparison, a detached tensor) and differ between input and baseline. Choose a baseline "
            f"that leads to the same ones, or {WITHOUT_GRADIENT}."
        )
    return m.m, m.y


Made: TypeAlias = Callable[[Tensors], None]
"""Is shown the tensors inside f with the graph of what made them, which is cut off behind them."""


@runtime_checkable
class Inside(Protocol):
    """A function f with tensors inside it."""

    def __call__(self, x: Tensors, args: Arguments, made: Made = ..., put: Tensors = ()) -> tuple[Tensors, Outputs]:
        """The tensors inside f, leaves of its graph where gradients are on, and what f returns.

        made: is shown these tensors. put: what takes their place.
        """
        ...

    def at(self, x: Tensors, args: Arguments) -> tuple[Tensors, Outputs]:
        """The tensors inside f as they are, and what f returns."""
        ...


class Multipliers(NamedTuple):
    """The multipliers m of tensors of f, inside or its inputs.

    x, x0: the tensors at x and at x0. outputs, y: what f returned, and the target's values, at x and at x0, as far as
    it ran on each alone.
    """

    m: Tensors
    x: Tensors
    x0: Tensors
    outputs: tuple[Outputs, ...]
    y: Tensors

    @property
    def change(self) -> float:
        """Σ m·(x − x0)."""
        return sum([(m * (a - b)).sum().item() for m, a, b in zip(self.m, self.x, self.x0, strict=True)])


def _misses_some(found: Multipliers) -> bool:
    """Whether Σ m·(x − x0) is off the change of the output by more than rounding."""
    y, y0 = found.y
    rounding = max(_LOST, 32 * torch.finfo(y.dtype).eps) * max(y.abs().sum(), y0.abs().sum())
    return bool(abs(found.change - (y - y0).sum().item()) > rounding)


def multipliers_inside(problem: Problem, run: Inside) -> Multipliers | None:
    """The multipliers of tensors inside f that go from their values at x0 to those at x, while all else in f is as at
    x; None where f draws at random, a pass fails, or the contributions do not add up.

    problem: with one target.
    """
    if halves := _proven_halves(problem, inside=run):
        return halves
    try:
        (upper, lower, outputs), draws = kept(lambda: _ends(problem, run), problem.x[0].device)
        (m,) = walked(problem, upper, lower, weighed=False)
    except Exception:  # the rest of f, by itself, says what is wrong
        return None
    x, x0 = (tuple(t.detach() for t in end.x) for end in (upper, lower))
    y, y0 = (end.y[0].detach() for end in (upper, lower))
    found = Multipliers(tuple(m), x, x0, tuple(map(detached, outputs)), (y, y0))
    return found if not draws and near(y0.sum() + found.change, y.sum()) else None


def _ends(problem: Problem, run: Inside) -> tuple[Pass, Pass, tuple[Outputs, ...]]:
    """The pass at x, that with the tensors inside as they are at x0, and what f returned at x and at x0."""
    followed = _followed(problem.x)
    x, x0 = (tuple([t.detach().requires_grad_(followed) for t in ts]) for ts in (problem.x, problem.x0))

    def walks(points: Tensors, put: Tensors = ()) -> tuple[Pass, Outputs]:
        inside, out = run(points, problem.args, put=put)
        return Pass(inside, (attached(problem.value(out, problem.selects(out)[0])),), ()), out

    def alone(end: Pass, points: Tensors) -> bool:
        """Whether the target depends on the points by way of the tensors inside alone."""
        with torch._C.DisableTorchFunction():  # a pass that is recorded need not record this
            return followed and not recording.loses and not depends_on(end.y, points)

    with forward_pass((*x, *x0), NOTED) as recording:
        upper, out = walks(x)
        if not recording.double and torch.float64 in [t.dtype for t in upper.x]:
            recording.double = True  # of which ids tell nothing
            upper, out = walks(x)
        if alone(upper, x):
            lower, out0 = walks(x0)
            if alone(lower, x0):
                return upper, lower, (out, out0)
        inside, out0 = run.at(x0, problem.args)
        out0 = detached(out0)
        return upper, walks(x, tuple([t.detach() for t in inside]))[0], (out, out0)


def _followed(x: Tensors) -> bool:
    """Whether autograd follows what depends on the inputs, as it does from no id."""
    return all([t.is_floating_point() for t in x])


class _Halves(NamedTuple):
    """What `_proven_halves` compares.

    alone: the tensors and the outputs of f at x, and then at x0, as far as it ran on each alone. tensors, y: those of
    the paired batch, and the target's values there (2·rows,).
    """

    alone: tuple[tuple[Tensors, Outputs], ...]
    select: Select
    tensors: Tensors
    y: Tensor


def _proven_halves(problem: Problem, known: Tensors = (), inside: Inside | None = None) -> Multipliers | None:
    """The multipliers of the inputs, or of tensors inside f, by a paired batch; None where x has many numbers, or where
    f is not known to treat each row of the batch by itself.

    That is known where each value that depends on the input is in the graph, whose rules keep the halves apart, and
    where f alone has the values at x that it has in the paired batch. Where f takes a size or a shape, which tells how
    many rows there are, or other arguments, whose values are in no graph, the same is asked at x0.
    """
    few = sum([t.numel() for t in problem.x]) <= _FEW
    if not few or not _followed(problem.x) or problem.draws.apart or problem.source is not None:
        return None
    try:
        with torch.set_grad_enabled(False):
            ran, draws = kept(lambda: _halves(problem, known, inside), problem.x[0].device)
            if draws or ran is None:
                return None
            alone, select, tensors, y = ran
            ends = (*known, *[select(out, problem.numbers) for _, out in alone])
            x, x0 = zip(*[EVEN.cut(t.detach()) for t in tensors], strict=True) if inside else (problem.x, problem.x0)
            same = [*zip(EVEN.cut(y), ends, strict=False)]  # at x0 only where f ran there alone
            for half, (own, _) in zip((x, x0), alone if inside else (), strict=False):
                same += zip(half, own, strict=True)
            if not all(a.shape == b.shape and near(a, b) for a, b in same):
                return None
            both = Pass(tensors, (y,), (), EVEN)
            (m,) = walked(problem, both, both, weighed=False)
    except Exception:  # of a function that takes no other number of rows; two passes say what else is wrong
        return None
    return Multipliers(tuple(m), x, x0, tuple([out for _, out in alone]), ends)


def _halves(problem: Problem, known: Tensors, inside: Inside | None) -> _Halves | None:
    """Runs f at x alone unless its value there is known, on the paired batch, and at x0 alone where that must be
    compared too; None where the graph of the batch may not hold all that depends on x."""
    run = inside or (lambda x, args, made: (x, problem.f(*x, *args)))
    at_x = None if known else run(problem.x, problem.args, halved)
    points, rows = problem.both()
    x = tuple([t.requires_grad_() for t in points])
    with forward_pass(x, NOTED) as recording:
        tensors, outputs = run(x, problem.args_of(rows), halved)
        with torch._C.DisableTorchFunction():
            first = at_x[1] if at_x else picked(outputs, slice(problem.rows), len(rows))
        (select,) = problem.selects(first)
        y = problem.value(outputs, select, rows, "both")
    if recording.loses or attached(y).shape[0] != len(rows):
        return None
    unseen = recording.measures or problem.args  # the values of args are not in the graph
    at_x0 = run(problem.x0, problem.args, halved) if unseen and len(known) < 2 else None
    return _Halves(tuple([end for end in (at_x, at_x0) if end is not None]), select, tensors, y)


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
    if (passed := _paired(problem)) is None:
        return None
    at_inputs, _, both = passed
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


def _paired(problem: Problem) -> tuple[Outputs, tuple[Select, ...], Pass] | None:
    """The pass of x and x0 as one batch, in which an input with several baselines is once: what f returns at the
    inputs, the targets, and the pass; None where f draws random numbers."""
    points, rows = problem.both()
    x, inputs = tuple(t.detach().requires_grad_() for t in points), len(rows) - problem.rows
    pairs = EVEN if problem.source is None else Pairs(inputs, problem.rows, problem.source)
    with suppress(RandomDraws), forward_pass(x, NOTED) as recording, problem.watching() as seen:
        outputs = problem.outputs(x, rows)
        problem.found.loses |= recording.loses
        with torch._C.DisableTorchFunction():
            at_inputs = picked(outputs, slice(inputs), len(rows))
        selects = problem.selects(at_inputs)
        y = [problem.value(outputs, select, rows, "both") for select in selects]
    if problem.draws.found:
        return None
    return at_inputs, selects, Pass(x, tuple(map(attached, y)), tuple(seen), pairs)
