"""Forward passes of a Problem that keep their graphs, and the walk from one of them to another.

What DeepLIFT and the methods that are made of it share: a pass at a point, the contributions between two passes, and
what is done where a mixture of experts routes the points apart, or where the graphs take too much memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from ..attribution import contributed
from ..engine.experts import Routes, experts_of
from ..engine.memory import AT_ONCE, batch_size, check_room, evenly, out_of_memory
from ..errors import GraphError, GraphMismatch, UnsupportedOperation
from ..numerics.deeplift.lockstep import walk
from ..numerics.deeplift.paired_batch import paired_rules
from ..numerics.deeplift.pairs import Pairs
from ..numerics.deeplift.recording.expert_routing import RoutedApart, routed_apart
from ..numerics.deeplift.recording.recorder import forward_pass, located
from ..numerics.deeplift.rules.table import NOTED, RULES
from ..numerics.deeplift.unsupported import keeping
from ..problem import Outputs, Place, Problem, Seen, Select, Tensors, attached, detached, picked
from . import stretches

_HALF = 0.03
"""What two orders of adding up may differ by in half precision, relative to the output."""

Routing: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Makes the context that each of the passes runs in."""


class Walked(NamedTuple):
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


@dataclass(frozen=True)
class Pass:
    """One forward pass with its graph: the leaves, each target's value (rows,), and the tensors inside f.

    pairs: the rows of a paired batch.
    """

    x: Tensors
    y: Tensors
    seen: tuple[Seen, ...]
    pairs: Pairs | None = None

    def of(self, targets: Sequence[int]) -> Pass:
        """The same pass, for some of its targets, by number."""
        return replace(self, y=tuple(self.y[t] for t in targets))


def pass_at(
    problem: Problem, x: Tensors, place: Place, selects: tuple[Select, ...] = ()
) -> tuple[Outputs, tuple[Select, ...], Pass]:
    """The forward pass at a point, and the targets.

    place: where the point is, for an error. selects: the targets, which the pass at x has fixed; empty for that pass
        itself.
    """
    x = tuple(v.detach().requires_grad_() for v in x)
    with forward_pass(x, NOTED) as recording, problem.watching() as seen:
        outputs = problem.outputs(x)
        problem.found.loses |= recording.loses
        rows = problem.firsts()
        at_inputs = outputs if rows is None else picked(outputs, rows, problem.rows)
        selects = selects or problem.selects(at_inputs)
        y = [problem.value(outputs, select, place=place) for select in selects]
    return detached(at_inputs), selects, Pass(x, tuple(map(attached, y)), tuple(seen))


def laid_out(t: Tensor, like: Tensor) -> Tensor:
    """`t` with the strides of `like`: by its strides PyTorch chooses which operation a reshape or a mean becomes, and
    both passes must run the same operations."""
    if t.is_contiguous() and like.is_contiguous():
        return t
    form = torch.empty_like(like)
    return t if t.stride() == form.stride() else form.copy_(t)


def walked(
    problem: Problem, upper: Pass, lower: Pass, weights: Sequence[Tensor] = (), weighed: bool = True
) -> Iterator[list[Tensor]]:
    """For each target, the contributions of the inputs between two forward passes, and then those of the tensors
    inside.

    upper, lower: the pass at the end of a segment that is nearer to x, and that at the other end. Of a paired batch,
        which is both, the change is between the two halves of its rows.
    weights: for each target, of each row (rows,), with what its change counts; empty: 1. weighed: contributions m·Δ of
        the inputs; else their multipliers m.

    As many targets share a walk as rows share a batch, and at least a few: what is carried through two graphs is small
    beside the graphs.
    """
    n, pairs = len(upper.x), upper.pairs
    rules = paired_rules(pairs) if pairs else RULES
    at_once = len(upper.y)
    if at_once > AT_ONCE:
        at_once = evenly(at_once, max(AT_ONCE, batch_size(problem) // problem.rows))
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
        g = weights[t : t + at_once] or [v.new_ones(min(v.shape[0], problem.rows)) for v in y]
        inside = [s.value for s in upper.seen]
        try:
            with keeping():
                found = walk(y, y0, g, upper.x, lower.x, rules, inside, reached, pairs)
        except UnsupportedOperation as error:
            raise error if pairs else located(error, lambda: problem.outputs(upper.x)) from None
        except GraphMismatch as error:
            passes = (lambda at=at: problem.outputs(at.x) for at in (upper, lower))
            raise error if pairs else routed_apart(error, *passes) from None
        yield from found


def routed(problem: Problem, walk_all: Callable[[Routing], Walked]) -> Walked:
    """What `walk_all` finds; with all experts of a mixture where it sends the input to other experts than the baseline.

    The outputs are then compared with those of the model as it is. Raises GraphMismatch where they differ, or where the
    mixture is none of those that can be run so.
    """
    try:
        return walk_all(nullcontext)
    except RoutedApart:
        experts, routes = experts_of(problem.model), Routes()
        if not experts:
            raise
        with suppress(GraphError, UnsupportedOperation):  # the first error says what to do
            found = walk_all(lambda: routes.following(experts))
            if _is_own(problem, found):
                return found
        raise


def _is_own(problem: Problem, found: Walked) -> bool:
    """Whether the values of the targets at x and at x0 are those of the model as it is, to rounding."""
    _, selects, upper = pass_at(problem, problem.x, "input")
    _, _, lower = pass_at(problem, problem.x0, "baseline", selects)
    own, own0 = (tuple(v.detach() for v in at.y) for at in (upper, lower))
    rounding = min(64 * torch.finfo(found.y[0].dtype).eps, _HALF)
    off = [(a.detach() - b).abs() for a, b in zip((*found.y, *found.y0), (*own, *own0), strict=True)]
    sizes = [torch.maximum(b.abs(), b0.abs()) for b, b0 in zip(own, own0, strict=True)]
    return all(bool((one <= rounding * size).all()) for one, size in zip(off, 2 * sizes, strict=True))


def within_memory(problem: Problem, points: int, whole: Callable[[], Walked], by_layer: Callable[[], Walked]) -> Walked:
    """What `whole` finds by whole graphs; what `by_layer` finds layer by layer, where the graphs take more memory than
    there is. (Of several rows fewer are tried first.)

    points: whose passes are kept at once. by_layer: may raise NotInStretches where the layers do not account for all of
        the change, and RoutedApart where a mixture sends the points to different experts; whole graphs are then used.
    """

    def cut() -> Walked | None:
        with suppress(stretches.NotInStretches, RoutedApart):
            return by_layer()
        return None

    large = stretches.is_large(problem)
    if large:
        check_room(problem, points)
        if found := cut():
            return found
    try:
        return whole()
    except RuntimeError as error:
        if large or problem.rows > 1 or not stretches.can_cut(problem) or not out_of_memory(error):
            raise
        ran_out = error.with_traceback(None)  # its frames hold the graphs
    if (found := cut()) is None:
        raise ran_out
    return found
