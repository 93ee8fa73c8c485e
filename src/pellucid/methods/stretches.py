"""DeepLIFT layer by layer, in the memory of one layer's graphs instead of all of them.

The forward passes keep what goes from layer to layer. The walk then goes from the last layer to the first: it runs a
layer's call again at both ends of a segment, walks these two graphs, and drops them. The multipliers of what a layer
was given are those of what the layer before it gave, so the scores are those of the whole graph, to rounding.

It is checked, layer by layer: the call gives again what it gave before, and Σ m·Δ of what goes in is Σ m·Δ of what
comes out. Where that does not hold (a layer that reads something it is not given, that draws at random, or that is
changed in place), the whole graph is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from ..engine.layer_calls import LayerCall, cut_at
from ..engine.memory import AT_ONCE, evenly, free_on, graph_size, most_for_a_graph
from ..errors import GraphError
from ..numerics.deeplift.lockstep import depends_on, walk
from ..numerics.deeplift.recording.recorder import forward_pass
from ..numerics.deeplift.rules.table import NOTED, RULES
from ..numerics.deeplift.unsupported import keeping
from ..problem import Outputs, Place, Problem, Select, Tensors, attached, detached, picked
from ..randomness import RandomDraws

_CARRIED = 1 << 30
"""Bytes of multipliers inside a layer that are carried at once, for several targets; less where less is free."""
_WIDEST = 8
"""How many times the size of what a layer gives are the multipliers of one target inside it, about."""
_ROUNDED = 1 / 32
"""What two runs of a layer may differ by, relative to the largest number, where a type keeps few digits."""


class NotInStretches(Exception):
    """The layers of a model do not account for all of its change. It never reaches a user: the whole graph is used."""


@dataclass
class CutPass:
    """A forward pass that is cut at its layers. x: its leaves. y: each target's value (rows,). calls: of the layers."""

    x: Tensors
    y: Tensors
    calls: list[LayerCall] = field(default_factory=list)

    def of(self, targets: Sequence[int]) -> CutPass:
        """The same pass, for some of its targets, by number, with calls that may be used up."""
        return CutPass(self.x, tuple(self.y[t] for t in targets), [*self.calls])


def can_cut(problem: Problem) -> bool:
    """Whether the passes may be cut at layers: nothing inside them is watched, and no row goes alone."""
    return problem.watch is None and bool(problem.layers) and not problem.draws.apart


def is_large(problem: Problem) -> bool:
    """Whether the graphs of both passes as a whole would take too much of the memory that is free."""
    return can_cut(problem) and graph_size(problem) > most_for_a_graph(problem.x[0].device)


def cut_pass(
    problem: Problem, x: Tensors, place: Place, selects: tuple[Select, ...] = ()
) -> tuple[Outputs, tuple[Select, ...], CutPass]:
    """The forward pass at x, cut at its layers, and the targets. selects: the targets, once they are fixed. Raises
    NotInStretches."""
    x = tuple(t.detach().requires_grad_() for t in x)
    with _not_in_stretches(), forward_pass(x, NOTED) as recording, cut_at(problem.layers, recording) as cut:
        outputs = problem.outputs(x)
        rows = problem.firsts()
        at_inputs = outputs if rows is None else picked(outputs, rows, problem.rows)
        selects = selects or problem.selects(at_inputs)
        y = tuple(attached(problem.value(outputs, select, place=place)) for select in selects)
    if cut.leaks:
        raise NotInStretches("Something reads what a layer made and did not give back.")
    if problem.draws.found or torch.is_autocast_enabled(x[0].device.type):
        raise NotInStretches("It draws at random, or runs under autocast.")
    return detached(at_inputs), selects, CutPass(x, y, cut.calls)


def contributions(points: Sequence[CutPass], weights: Sequence[Tensor] = ()) -> list[list[Tensor]]:
    """For each target the contributions m·Δ of the inputs, summed over the segments between neighbouring points, of
    which the first is x and the last x0. The calls of the points are used up. Raises NotInStretches.

    weights: for each target, of each row (rows,), with what its change counts; empty: 1.
    """
    calls = [[c.layer for c in p.calls] for p in points]
    if any(c != calls[0] for c in calls) or not calls[0]:
        raise NotInStretches("The passes do not call the same layers.")
    found: list[list[Tensor]] = []
    with _not_in_stretches(), keeping():
        segments = [_Segment(a, b) for a, b in pairwise(points)]
        for segment in segments:
            segment.begin(weights or [torch.ones_like(y) for y in segment.upper.y])
        while points[0].calls:
            _through_layer(points, segments)
        of_targets = zip(*(s.at_inputs() for s in segments), strict=True)
        found = [list(map(_total, zip(*each, strict=True))) for each in of_targets]
    return found


def _total(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum(0) if len(parts) > 1 else parts[0]


@dataclass
class _Segment:
    """Two neighbouring points of the path. multipliers: of each leaf of the pass `upper`, one for each target, as far
    as they have arrived."""

    upper: CutPass
    lower: CutPass
    multipliers: dict[int, list[Tensor]] = field(default_factory=dict)

    def begin(self, weights: Sequence[Tensor]) -> None:
        """From the targets to the output of the last layer, and to whatever else they are made of, some targets at a
        time: each has multipliers of all logits. weights: of each target."""
        at_once = evenly(len(weights), AT_ONCE)
        for t in range(0, len(weights), at_once):
            some = slice(t, t + at_once)
            self.arrive(self.upper.y[some], self.lower.y[some], weights[some], range(len(weights))[some])

    def arrive(self, y: Sequence[Tensor], y0: Sequence[Tensor], g: Sequence[Tensor], targets: Sequence[int]) -> None:
        """Carries multipliers g of y, one for each of the targets, to the leaves that y is computed from."""
        leaves, leaves0 = _leaves(self.upper), _leaves(self.lower)
        own = depends_on(y, leaves)
        if not own:
            return
        some, some0 = [leaves[k] for k in own], [leaves0[k] for k in own]
        for t, found in zip(targets, walk(y, y0, g, some, some0, RULES), strict=True):
            for leaf, m in zip(some, found, strict=True):
                mine = self.multipliers.setdefault(id(leaf), [torch.zeros(()).to(m)] * len(self.upper.y))
                mine[t] = m if mine[t].ndim == 0 else mine[t] + m

    def at_inputs(self) -> Iterator[list[Tensor]]:
        """For each target the contributions of the inputs."""
        for t in range(len(self.upper.y)):
            pairs = zip(self.upper.x, self.lower.x, strict=True)
            yield [self.of(a)[t].detach() * (a - b).detach() for a, b in pairs]

    def of(self, leaf: Tensor) -> list[Tensor]:
        """The multipliers of a leaf, for each target."""
        return self.multipliers.get(id(leaf)) or [torch.zeros_like(leaf)] * len(self.upper.y)


def _leaves(p: CutPass) -> list[Tensor]:
    return [*p.x, *(t for call in p.calls for t in call.outputs)]


def _through_layer(points: Sequence[CutPass], segments: Sequence[_Segment]) -> None:
    """Takes the last call off each point, and carries the multipliers of its outputs to the leaves before it."""
    calls = [p.calls[-1] for p in points]
    upper = _again(calls[0])
    for k, segment in enumerate(segments, 1):
        lower = _again(calls[k])
        arrived = [segment.multipliers.pop(id(t), None) for t in calls[k - 1].outputs]
        own = segment.upper.calls.pop()
        given, given0 = own.inputs, calls[k].inputs
        for targets, found in _carried(upper, lower, arrived, len(segment.upper.y)):
            for i, (a, b) in enumerate(zip(given, given0, strict=True)):
                segment.arrive([a] * len(targets), [b] * len(targets), [each[i] for each in found], targets)
        upper = lower
    points[-1].calls.pop()


_Graph = tuple[Tensors, Tensors]
"""The leaves of a layer's call, and its outputs."""


def _again(call: LayerCall) -> _Graph:
    """A call with its graph. Raises NotInStretches where it does not give what it gave before."""
    found = call.again(NOTED)
    if found is None or not all(_near(a, b) for a, b in zip(found[1], call.outputs, strict=True)):
        raise NotInStretches(f"{type(call.layer).__name__} does not give again what it gave.")
    return found


def _near(a: Tensor, b: Tensor) -> bool:
    """Whether two outputs of one call differ by no more than rounding."""
    if a.shape != b.shape:
        return False
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max()) <= min(1024 * torch.finfo(a.dtype).eps, _ROUNDED) * float(b.abs().max())


def _carried(
    upper: _Graph, lower: _Graph, arrived: Sequence[list[Tensor] | None], targets: int
) -> Iterator[tuple[range, list[list[Tensor]]]]:
    """The multipliers of what a layer was given, for some targets at a time, from those of what it gave (None for an
    output that nothing was computed from)."""
    (x, y), (x0, y0) = upper, lower
    apiece = _WIDEST * max(t.numel() * t.element_size() for t in y)
    fitting = min(_CARRIED, free_on(y[0].device) // 8) // max(1, apiece)
    at_once = evenly(targets, max(1, min(AT_ONCE, fitting)))
    used = [k for k, m in enumerate(arrived) if m is not None and y[k].requires_grad]
    for t in range(0, targets, at_once):
        some = range(t, min(t + at_once, targets))
        roots = [(k, j) for k in used for j in some]
        weights = [arrived[k][j] for k, j in roots]  # pyright: ignore[reportOptionalSubscript]
        weights = [torch.zeros_like(y[k]) if g.ndim == 0 else g for g, (k, _) in zip(weights, roots, strict=True)]
        pairs = [y[k] for k, _ in roots], [y0[k] for k, _ in roots]
        found = walk(*pairs, weights, x, x0, RULES) if roots else []
        each = [
            [_sum([m[i] for m, (_, of) in zip(found, roots, strict=True) if of == j], x[i]) for i in range(len(x))]
            for j in some
        ]
        for n, j in enumerate(some):
            _check(each[n], x, x0, [(g, y[k], y0[k]) for g, (k, of) in zip(weights, roots, strict=True) if of == j])
        yield some, each


def _sum(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    return sum(parts[1:], start=parts[0]) if parts else torch.zeros_like(like)


def _check(m: Sequence[Tensor], x: Tensors, x0: Tensors, out: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
    """Raises NotInStretches where what goes into a layer does not explain the change of what comes out of it."""
    terms = [*zip(m, x, x0, strict=True)]
    dot = lambda g, a, b: (g * (a - b).detach()).flatten(1)
    inward, outward = ([dot(*term) for term in some] for some in (terms, out))
    total = lambda some: torch.stack([t.double().sum(1) for t in some]).sum(0) if some else torch.zeros(())
    size = lambda some: torch.stack([t.abs().double().sum(1) for t in some]).sum(0) if some else torch.zeros(())
    most = 1e-3 if x[0].dtype in (torch.float32, torch.float64) else 0.2
    off = (total(inward) - total(outward)).abs() > most * torch.maximum(size(inward), size(outward))
    if bool(off.any()):
        raise NotInStretches("A layer changes by more than what it is given.")


@contextmanager
def _not_in_stretches() -> Iterator[None]:
    """Inside, the errors of a pass that cannot be cut become NotInStretches: a change in place of what a layer gave, a
    number drawn at random, graphs that differ."""
    try:
        yield
    except (RandomDraws, GraphError) as error:
        raise NotInStretches(str(error)) from error
    except RuntimeError as error:
        if "in-place operation" not in str(error):
            raise
        raise NotInStretches(str(error)) from error
