"""DeepLIFT with the group that counts most set apart: the Shapley values of two players, each shared out by DeepLIFT.

For a target, let W be the group (a text's word) with the highest score of DeepLIFT, R all others, and v(S) = f with S
at x and the rest at x0. On the way from x to x0, W is removed first on one route, and last on the other:

    ½ [DeepLIFT(x → x without W) + DeepLIFT(x without W → x0)] + ½ [DeepLIFT(x → W alone) + DeepLIFT(W alone → x0)]

Each step of a route changes one of the two players only, so W's scores sum to its Shapley value, the mean of
v(W) − v(∅) and v(W, R) − v(R), and R's to the mean of v(R) − v(∅) and v(W, R) − v(W): Owen's value (1977) with the
coalitions {W} and R, in which DeepLIFT shares out what each coalition has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..attribution import Attributions, solved
from ..engine.groups import groups_of, removed
from ..problem import Outputs, Place, Problem, Select, Tensors, by_row
from ..status import Status
from . import stretches
from .graphs import Pass, Routing, Walked, laid_out, pass_at, routed, walked, within_memory

_Pass = TypeVar("_Pass", Pass, stretches.CutPass)
_Passed = Callable[[Tensors, Place, tuple[Select, ...]], tuple[Outputs, tuple[Select, ...], _Pass]]
"""`(point, where it is, targets) -> (outputs, targets, the pass there)`, as `graphs.pass_at`."""
_Between = Callable[[Sequence[_Pass], Sequence[Tensor]], list[list[Tensor]]]
"""`(neighbouring points of a route, weights) -> contributions`, as `stretches.contributions`."""


def deeplift_apart(problem: Problem) -> Attributions:
    """DeepLIFT in two parts, the group that counts most and all others: exact, four forward passes and five walks.

    The group is that with the highest score of DeepLIFT, the first of equals; each target and each baseline has its
    own. So the passes of several targets are two, and two for each group that leads for one of them. Groups are those
    of `groups`: the words of a text, the elements of any other input, unless you say otherwise. With a single group, or
    with none, the scores are DeepLIFT's. The group is chosen by comparison: where two are nearly equal, a small change
    of the input may choose the other.
    """
    problem = replace(problem, x0=removed(problem))
    whole = lambda routing: _routes(problem, partial(_passed, problem, routing), partial(_between, problem))
    cut = lambda: _routes(problem, partial(stretches.cut_pass, problem), stretches.contributions)
    found = within_memory(problem, 3, lambda: routed(problem, whole), cut)
    return tuple(
        solved(tuple(total), found.y[t], found.y0[t], passes=4, status=Status.EXACT, outputs=found.outputs)
        for t, total in enumerate(found.totals)
    )


def _routes(problem: Problem, passed: _Passed[_Pass], between: _Between[_Pass]) -> Walked:
    """The mean of both routes for each target. passed, between: how a pass is made, and how a route is walked."""
    outputs, selects, upper = passed(problem.x, "input", ())
    _, _, lower = passed(tuple(map(laid_out, problem.x0, problem.x)), "baseline", selects)
    every, groups = range(len(selects)), groups_of(problem)
    leading = _leading(between([upper.of(every), lower.of(every)], ()), groups)
    totals = [[torch.zeros_like(t) for t in problem.x] for _ in selects]

    def route(way: Tensors, targets: Sequence[int], weights: Sequence[Tensor]) -> list[list[Tensor]]:
        _, _, between_both = passed(way, "path", selects)
        return between([end.of(targets) for end in (upper, between_both, lower)], weights)

    for leaders, rows in _in_turn(leading):
        weights = [own.to(upper.y[t]) / 2 for t, own in rows.items()]
        for alone in (False, True):
            for t, found in zip(rows, route(_way(problem, groups, leaders, alone), [*rows], weights), strict=True):
                totals[t] = [a + b for a, b in zip(totals[t], found, strict=True)]
    y, y0 = (tuple(v.detach() for v in end.y) for end in (upper, lower))
    return Walked(outputs, [], y, y0, totals)


def _passed(
    problem: Problem, routing: Routing, x: Tensors, place: Place, selects: tuple[Select, ...]
) -> tuple[Outputs, tuple[Select, ...], Pass]:
    with routing():
        return pass_at(problem, x, place, selects)


def _between(problem: Problem, points: Sequence[Pass], weights: Sequence[Tensor]) -> list[list[Tensor]]:
    """As `stretches.contributions`, by whole graphs."""
    steps = [list(walked(problem, upper, lower, weights)) for upper, lower in pairwise(points)]
    total = lambda parts: torch.stack(parts).sum(0)
    return [[total(parts) for parts in zip(*of_target, strict=True)] for of_target in zip(*steps, strict=True)]


def _leading(found: Sequence[Sequence[Tensor]], groups: Tensors) -> Int[Tensor, "targets rows"]:
    """The number of the group with the highest score in each row, for each target, whose contributions `found` holds.

    A group that contributes nothing, such as a token that the target cannot see, does not lead: 0 where none does."""
    group = torch.cat([by_row(g) for g in groups], 1) + 1  # 0 for what is in none
    row = lambda values: [by_row(v.double().reshape(*g.shape, -1).sum(-1)) for v, g in zip(values, groups, strict=True)]
    scores = torch.stack([torch.cat(row(values), 1) for values in found])
    of_groups = scores.new_zeros(*scores.shape[:2], int(group.max()) + 2)
    total, size = (of_groups.scatter_add(2, group.expand_as(scores), s) for s in (scores, scores.abs()))
    return total.masked_fill(size == 0, -torch.inf)[..., 1:].argmax(2)


def _in_turn(leading: Int[Tensor, "targets rows"]) -> Iterator[tuple[Int[Tensor, " rows"], dict[int, Tensor]]]:
    """The groups (rows,) to be set apart together, one of each row, until each has been that leads for a target, and
    for which targets in which rows (rows,)."""
    left = torch.ones_like(leading, dtype=torch.bool)
    while bool(left.any()):
        leaders = leading.gather(0, left.long().argmax(0, keepdim=True))[0]  # of the first target that is left
        own = left & (leading == leaders)
        yield leaders, {t: rows for t, rows in enumerate(own) if bool(rows.any())}
        left &= ~own


def _way(problem: Problem, groups: Tensors, leaders: Int[Tensor, " rows"], alone: bool) -> Tensors:
    """x without the leading group of each row; or with that group alone, and x0 elsewhere."""
    points: list[Tensor] = []
    for x, x0, group in zip(problem.x, problem.x0, groups, strict=True):
        own: Bool[Tensor, "rows ..."] = group == leaders.view(-1, *[1] * (group.ndim - 1))
        at_x = (own == alone).view(*group.shape, *[1] * (x.ndim - group.ndim))
        points.append(laid_out(torch.where(at_x, x, x0), x))
    return tuple(points)
