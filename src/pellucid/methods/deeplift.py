"""The method DeepLIFT (Shrikumar et al. 2017, 1704.02685), exact for every operation that has a rule.

The values are m·(x − x0), with the multipliers m of the lockstep walk (`numerics/deeplift/lockstep.py`), so that their
sum is f(x) − f(x0) to float precision. The walk passes every tensor h between input and output, so the contributions
m·(h − h0) of a layer or of attention come with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from ..attribution import Attributions, contributed, solved
from ..engine.experts import Routes, experts_of
from ..engine.memory import AT_ONCE, batch_size, check_room, evenly, out_of_memory
from ..engine.rows import near
from ..errors import GraphError, GraphMismatch, InputError, PellucidError, UnsupportedOperation
from ..numerics.deeplift.lockstep import NotHalved, depends_on, walk
from ..numerics.deeplift.paired_batch import paired_rules
from ..numerics.deeplift.pairs import EVEN, Pairs
from ..numerics.deeplift.recording.expert_routing import RoutedApart, routed_apart
from ..numerics.deeplift.recording.recorder import forward_pass, located
from ..numerics.deeplift.rules.table import NOTED, RULES
from ..numerics.deeplift.unsupported import keeping
from ..problem import Outputs, Place, Problem, Seen, Select, Tensors, attached, detached, picked
from ..randomness import RandomDraws, kept
from ..status import Status
from . import stretches

GROWTH = math.log(0.4) / math.log(0.5)
"""The k-th of K cuts is at (k/K)^GROWTH: two segments meet at 0.4."""
_FEW = 128
"""Numbers of an input for which the steps of Python take longer than those of the processor: one graph is then walked
faster than two, although f runs once more on x alone."""
_HALF = 0.03
"""What two orders of adding up may differ by in half precision, relative to the output."""


def deeplift(problem: Problem, segments: int = 1) -> Attributions:
    """Two forward passes, and one walk back through both: exact, whatever the number of layers.

    segments: into how many parts the straight path from baseline to input is cut; the parts' attributions are added up.
        The scores are exact for any number of parts, each of which costs one more pass, and tend to integrated
        gradients with more of them. The parts grow towards the input: two of them meet at 0.4 (docs/idea.md).
    """
    if not isinstance(segments, int) or segments < 1:
        raise InputError(f"deeplift got segments={segments!r}; expected a whole number of at least 1.")
    large = stretches.is_large(problem)
    if large:
        check_room(problem, segments + 1)
    found = _in_stretches(problem, segments) if large else None
    found = found or _whole(problem, segments, large)
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


def _whole(problem: Problem, segments: int, tried: bool) -> _Walked:
    """As `_one_by_one`, by the whole graphs; layer by layer where they take more memory than there is after all. (Of
    several rows fewer are tried first.) tried: whether that has been tried."""
    try:
        return (_together(problem) if segments == 1 else None) or _routed(problem, segments)
    except RuntimeError as error:
        if tried or problem.rows > 1 or not stretches.can_cut(problem) or not out_of_memory(error):
            raise
        ran_out = error.with_traceback(None)  # its frames hold the graphs
    if (found := _in_stretches(problem, segments)) is None:
        raise ran_out
    return found


def multipliers(problem: Problem, known: Tensors = ()) -> tuple[Tensors, Tensors]:
    """The multipliers m of the inputs, for which Σ m·(x − x0) = f(x) − f(x0), of a Problem with one target.

    Where an element of x equals that of x0 its multiplier is the limit, and tells what a change would bring.

    known: the target's values at x, and at x0, as far as f has run on each alone; returned with those that were needed.
    """
    few = sum(t.numel() for t in problem.x) <= _FEW
    if few and (found := _proven_halves(problem, known)):
        return found
    _, selects, upper = _pass(problem, 1.0)
    _, _, lower = _pass(problem, 0.0, selects)
    (found,) = _walked(problem, upper, lower, weighed=False)
    return tuple(found), (upper.y[0].detach(), lower.y[0].detach())


Inside: TypeAlias = Callable[[Tensors], tuple[Tensors, Outputs]]
"""`x -> (tensors inside f, which are leaves of its graph; what f returns)`."""


def multipliers_inside(problem: Problem, run: Inside) -> tuple[Tensors, Tensors, Tensors] | None:
    """The multipliers of tensors inside f, and these tensors at x and at x0; None where the target depends on x in
    another way too, or may.

    problem: with one target. run: f, with those tensors.
    """
    passes: list[_Pass] = []
    try:
        for x in (problem.x, problem.x0):
            leaves = tuple(t.detach().requires_grad_() for t in x)
            with forward_pass(leaves, NOTED) as recording:
                (inside, outputs), draws = kept(lambda leaves=leaves: run(leaves), leaves[0].device)
                y = tuple(problem.value(outputs, select) for select in problem.selects(outputs))
            if draws or recording.loses or depends_on(y, leaves):
                return None
            passes.append(_Pass(inside, y, ()))
        upper, lower = passes
        (found,) = _walked(problem, upper, lower, weighed=False)
    except PellucidError:  # the rest of f, by itself, says what is wrong
        return None
    inside, inside0 = (tuple(t.detach() for t in at.x) for at in passes)
    y, y0 = (at.y[0].detach() for at in passes)
    change = torch.stack([(m * (a - b)).sum() for m, a, b in zip(found, inside, inside0, strict=True)]).sum()
    return (tuple(found), inside, inside0) if near(y0.sum() + change, y.sum()) else None


def _proven_halves(problem: Problem, known: Tensors) -> tuple[Tensors, Tensors] | None:
    """As `multipliers`, by a paired batch; None where f is not known to treat each row of it by itself.

    That is known where each value that depends on the input is in the graph, whose rules keep the halves apart, and
    where f alone has the value at x that it has in the paired batch; also at x0, where f asks for sizes, and so for how
    many rows there are.
    """
    if problem.draws.apart:
        return None
    try:
        with torch.no_grad():
            at_x = () if known else (problem.outputs(problem.x),)
        if (passed := _paired(problem)) is None or passed[2].loses:
            return None
        _, (select,), both = passed
        with torch.no_grad():
            more = (*at_x, problem.outputs(problem.x0)) if both.measures and len(known) < 2 else at_x
            alone, n, y = (*known, *(select(out, problem.numbers) for out in more)), problem.rows, both.y[0]
            halves = [y[k * n : (k + 1) * n] for k in range(len(alone))]
        if len(y) != 2 * n or not all(a.shape == b.shape and near(a, b) for a, b in zip(halves, alone, strict=True)):
            return None
        (found,) = _walked(problem, both, both, weighed=False)
    except Exception:  # of a function that takes no other number of rows; two passes say what else is wrong
        return None
    return tuple(found), alone


class _Walked(NamedTuple):
    """What walks through the graphs of a Problem found.

    outputs: those of f at x. kinds: those of the tensors inside f. y, y0: each target's value at x and at x0. totals:
    for each target the contributions of the inputs and then those of the tensors inside. row_passes: as in Attribution.
    """

    outputs: Outputs
    kinds: list[str]
    y: Tensors
    y0: Tensors
    totals: list[list[Tensor]]
    row_passes: tuple[int, ...] | None = None


def _routed(problem: Problem, segments: int) -> _Walked:
    """As `_one_by_one`; with all experts of a mixture where it sends the input to other experts than the baseline.

    The outputs are then compared with those of the model as it is. Raises GraphMismatch where they differ, or where the
    mixture is none of those that can be run so.
    """
    try:
        return _one_by_one(problem, segments)
    except RoutedApart:
        experts, routes = experts_of(problem.model), Routes()
        if not experts:
            raise
        with suppress(GraphError, UnsupportedOperation):  # the first error says what to do
            found = _one_by_one(problem, segments, lambda: routes.following(experts))
            if _is_own(problem, found):
                return found
        raise


def _is_own(problem: Problem, found: _Walked) -> bool:
    """Whether the values of the targets at x and at x0 are those of the model as it is, to rounding."""
    _, selects, upper = _pass(problem, 1.0)
    _, _, lower = _pass(problem, 0.0, selects)
    own, own0 = (tuple(v.detach() for v in at.y) for at in (upper, lower))
    rounding = min(64 * torch.finfo(found.y[0].dtype).eps, _HALF)
    off = [(a.detach() - b).abs() for a, b in zip((*found.y, *found.y0), (*own, *own0), strict=True)]
    sizes = [torch.maximum(b.abs(), b0.abs()) for b, b0 in zip(own, own0, strict=True)]
    return all(bool((one <= rounding * size).all()) for one, size in zip(off, 2 * sizes, strict=True))


def _one_by_one(
    problem: Problem, segments: int, routed: Callable[[], AbstractContextManager[None]] = nullcontext
) -> _Walked:
    """One forward pass at each end of a segment, and a walk through the two graphs of each segment.

    routed: makes the context that each of the passes runs in.
    """
    with routed():
        outputs, selects, upper = _pass(problem, 1.0)
    output, kinds = tuple(y.detach() for y in upper.y), [s.kind for s in upper.seen]
    totals: list[list[Tensor]] = [[] for _ in selects]
    for k in range(segments - 1, -1, -1):
        with routed():
            _, _, lower = _pass(problem, (k / segments) ** GROWTH, selects)
        for t, found in enumerate(_walked(problem, upper, lower)):
            totals[t] = [a + b for a, b in zip(totals[t], found, strict=True)] if totals[t] else found
        upper = lower  # a graph lives only while it is walked
    return _Walked(outputs, kinds, output, tuple(y.detach() for y in upper.y), totals)


def _in_stretches(problem: Problem, segments: int) -> _Walked | None:
    """As `_one_by_one`, layer by layer; None where the layers do not account for all of the change, and where a mixture
    sends x and x0 to different experts."""
    try:
        outputs, selects, upper = stretches.cut_pass(problem, _at(problem, 1.0), "input")
        points, y = [upper], tuple(v.detach() for v in upper.y)
        for k in range(segments - 1, -1, -1):
            x = _at(problem, (k / segments) ** GROWTH)
            points.append(stretches.cut_pass(problem, x, "path" if k else "baseline", selects)[2])
        totals = stretches.contributions(points)
    except (stretches.NotInStretches, RoutedApart):
        return None
    return _Walked(outputs, [], y, tuple(v.detach() for v in points[-1].y), totals)


def _together(problem: Problem) -> _Walked | None:
    """One forward pass of x and x0 as a paired batch, and a walk through its graph; None where the graph does not keep
    the two apart, which is found once for a model."""
    if problem.model is None or problem.found.mixes_halves or problem.draws.apart:
        return None
    if (passed := _paired(problem)) is None:
        return None
    at_inputs, _, both = passed
    assert both.pairs is not None
    try:
        totals = list(_walked(problem, both, both))
    except GraphError as error:
        if isinstance(error, (NotHalved, UnsupportedOperation)):
            problem.found.mixes_halves = True
        return None
    ends = [both.pairs.cut(v.detach()) for v in both.y]
    passes = None
    if (first := problem.firsts()) is not None:
        passes = tuple((1 + torch.isin(problem.numbers, first).int()).tolist())
    return _Walked(
        detached(at_inputs),
        [s.kind for s in both.seen],
        tuple(y for y, _ in ends),
        tuple(y0 for _, y0 in ends),
        totals,
        passes,
    )


def _paired(problem: Problem) -> tuple[Outputs, tuple[Select, ...], _Pass] | None:
    """The pass of x and x0 as one batch, in which an input with several baselines is once: what f returns at the
    inputs, the targets, and the pass; None where f draws random numbers."""
    points, rows = problem.both()
    x, inputs = tuple(t.detach().requires_grad_() for t in points), len(rows) - problem.rows
    pairs = EVEN if problem.source is None else Pairs(inputs, problem.rows, problem.source)
    with suppress(RandomDraws), forward_pass(x, NOTED) as recording, problem.watching() as seen:
        outputs = problem.outputs(x, rows)
        measures, problem.found.loses = recording.measures, problem.found.loses or recording.loses
        with torch._C.DisableTorchFunction():
            at_inputs = picked(outputs, slice(inputs), len(rows))
        selects = problem.selects(at_inputs)
        y = [problem.value(outputs, select, rows, "both") for select in selects]
    if problem.draws.found:
        return None
    return at_inputs, selects, _Pass(x, tuple(map(attached, y)), tuple(seen), pairs, recording.loses, measures)


@dataclass(frozen=True)
class _Pass:
    """One forward pass with its graph: the leaves, each target's value (rows,), and the tensors inside f.

    pairs: the rows of a paired batch. loses, measures: as in `Recording`, of a paired batch.
    """

    x: Tensors
    y: Tensors
    seen: tuple[Seen, ...]
    pairs: Pairs | None = None
    loses: bool = False
    measures: bool = False


def _pass(problem: Problem, t: float, selects: tuple[Select, ...] = ()) -> tuple[Outputs, tuple[Select, ...], _Pass]:
    """The forward pass at x0 + t·(x − x0), and the targets.

    selects: the targets, which the pass at x has fixed; empty for that pass itself.
    """
    x = tuple(v.detach().requires_grad_() for v in _at(problem, t))
    with forward_pass(x, NOTED) as recording, problem.watching() as seen:
        outputs = problem.outputs(x)
        problem.found.loses |= recording.loses
        rows = problem.firsts()
        at_inputs = outputs if rows is None else picked(outputs, rows, problem.rows)
        selects = selects or problem.selects(at_inputs)
        place: Place = "input" if t == 1 else "baseline" if t == 0 else "path"
        y = [problem.value(outputs, select, place=place) for select in selects]
    return detached(at_inputs), selects, _Pass(x, tuple(map(attached, y)), tuple(seen))


def _at(problem: Problem, t: float) -> Tensors:
    """The inputs at x0 + t·(x − x0)."""
    at = lambda a, b: _laid_out(a if t == 1 else b if t == 0 else torch.lerp(b, a, t), a)
    return tuple(at(a, b) for a, b in zip(problem.x, problem.x0, strict=True))


def _laid_out(t: Tensor, like: Tensor) -> Tensor:
    """`t` with the strides of `like`: by its strides PyTorch chooses which operation a reshape or a mean becomes, and
    both passes must run the same operations."""
    if t.is_contiguous() and like.is_contiguous():
        return t
    form = torch.empty_like(like)
    return t if t.stride() == form.stride() else form.copy_(t)


def _walked(problem: Problem, upper: _Pass, lower: _Pass, weighed: bool = True) -> Iterator[list[Tensor]]:
    """For each target, the contributions of the inputs between two forward passes, and then those of the tensors
    inside.

    upper, lower: the pass at the end of a segment that is nearer to x, and that at the other end. Of a paired batch,
        which is both, the change is between the two halves of its rows. weighed: contributions m·Δ of the inputs; else
        their multipliers m.

    As many targets share a walk as rows share a batch, and at least a few: what is carried through two graphs is small
    beside the graphs.
    """
    n, pairs = len(upper.x), upper.pairs
    rules = paired_rules(pairs) if pairs else RULES
    at_once = evenly(len(upper.y), max(AT_ONCE, batch_size(problem) // problem.rows))
    change = lambda a, b: torch.sub(*(pairs.cut(a.detach()) if pairs else (a.detach(), b.detach())))

    def reached(k: int, multipliers: list[Tensor]) -> list[Tensor]:
        if k < n:
            if not weighed:
                return multipliers
            dx = change(upper.x[k], lower.x[k])
            return [m * dx for m in multipliers]
        a, b = upper.seen[k - n], lower.seen[k - n]
        dh = change(a.value, b.value)
        return [contributed(m, dh, a) for m in multipliers]

    for t in range(0, len(upper.y), at_once):
        y, y0 = upper.y[t : t + at_once], lower.y[t : t + at_once]
        weights = [v.new_ones(min(len(v), problem.rows)) for v in y]
        inside = [s.value for s in upper.seen]
        try:
            with keeping():
                found = walk(y, y0, weights, upper.x, lower.x, rules, inside, reached, pairs)
        except UnsupportedOperation as error:
            raise error if pairs else located(error, lambda: problem.outputs(upper.x)) from None
        except GraphMismatch as error:
            passes = (lambda at=at: problem.outputs(at.x) for at in (upper, lower))
            raise error if pairs else routed_apart(error, *passes) from None
        yield from found
