"""The probability of the explained class at the baseline, compared with that at the input.

A baseline that is as probable as the input is a poor one, and a reader is told. No further pass is made for it: what
the model returned at the baseline is kept when a method asks for it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import torch

from ..attribution import Attribution
from ..problem import Problem, by_row, detached, mapped, picked
from ..randomness import joined
from ..types import Target
from .net import Outputs
from .tasks import Goal
from .text.encoding import Encoding


class NamesGoals(Protocol):
    """What tells the goals of a batch from its outputs: a Model, or the pipeline in it."""

    def goals(
        self, encodings: Sequence[Encoding], target: Target, output: str | None, outputs: Outputs, /
    ) -> list[Goal]: ...


_PLACES = 16
"""So many elements of a point are looked at before all of it is."""


def heard(problem: Problem) -> tuple[Problem, dict[int, Outputs]]:
    """The same Problem, and a dict that fills, while a method runs, with what `f` returned at the baseline of each row.

    A point is a row's baseline where it and all else that `f` was given are equal.
    """
    kept: dict[int, Outputs] = {}
    own = _tensors((*problem.x0, *problem.args))

    def f(*given: Outputs) -> Outputs:
        outputs = problem.f(*given)
        if len(kept) == problem.rows or given[0].shape[1:] != problem.x0[0].shape[1:]:
            return outputs
        with torch._C.DisableTorchFunction():  # what is compared here is no part of f
            here = _baselines_among(_tensors(given), own, len(given[0]), problem.rows, kept)
            if here:
                points = torch.tensor(list(here.values()), device=given[0].device)
                mine = detached(picked(outputs, points, len(given[0])))
                kept.update({row: picked(mine, slice(i, i + 1), len(here)) for i, row in enumerate(here)})
        return outputs

    return replace(problem, f=f), kept


def _alike(given: list[torch.Tensor], own: list[torch.Tensor], points: int, rows: int) -> torch.Tensor:
    """Whether a point may be a row's baseline, (points, rows): a few elements of all that `f` was given are equal."""
    same = torch.ones(points, rows, dtype=torch.bool, device=given[0].device)
    for a, b in zip(given, own, strict=False):
        if a.ndim and b.ndim and (len(a), len(b), a.shape[1:]) == (points, rows, b.shape[1:]):
            step = max(1, b[0].numel() // _PLACES)
            same &= (by_row(a.detach())[:, None, ::step] == by_row(b)[:, ::step]).all(2)
    return same


def _baselines_among(
    given: list[torch.Tensor], own: list[torch.Tensor], points: int, rows: int, known: Container[int]
) -> dict[int, int]:
    """The first point at which `f` was given what it gets at a row's baseline, for each row where there is one.

    All rows are compared at once, each with its next candidate: on a GPU a comparison costs what a layer costs.
    known: rows that are not looked for.
    """
    candidates: dict[int, list[int]] = {}
    for point, row in _alike(given, own, points, rows).nonzero().tolist():
        if row not in known:
            candidates.setdefault(row, []).append(point)
    found: dict[int, int] = {}
    while candidates:
        pairs = [(each.pop(0), row) for row, each in candidates.items()]
        equal = _equal(given, own, *torch.tensor(pairs, device=given[0].device).T)
        found |= {row: point for (point, row), same in zip(pairs, equal, strict=True) if same}
        candidates = {row: each for row, each in candidates.items() if each and row not in found}
    return found


def _equal(given: list[torch.Tensor], own: list[torch.Tensor], at: torch.Tensor, rows: torch.Tensor) -> list[bool]:
    """Whether what `f` was given for a point is what it gets for a row, for each point of `at` and each of `rows`."""
    pairs = [(a.detach(), b) for a, b in zip(given, own, strict=False) if a.ndim and b.ndim]
    same = torch.ones(len(at), dtype=torch.bool, device=at.device)
    for a, b in pairs:
        same &= (by_row(a[at]) == by_row(b[rows])).all(1) if a.shape[1:] == b.shape[1:] else False
    return same.tolist()


def _tensors(tree: Outputs) -> list[torch.Tensor]:
    """Every tensor of a nest, in order."""
    found: list[torch.Tensor] = []
    mapped(lambda t: found.append(t) or t, tree)
    return found


def as_probable(
    model: NamesGoals,
    batch: Sequence[Encoding],
    target: Target,
    output: str | None,
    goals: Sequence[Goal],
    problem: Problem,
    answers: Sequence[Attribution],
    kept: Mapping[int, Outputs],
) -> list[list[bool]]:
    """For each goal and row, whether the class that the model predicts is as probable at the baseline as at the input,
    or a contrast of two as large.

    Only of classes that have a probability: not of a function, or a number.
    """
    inputs = torch.arange(problem.rows, device=answers[0].output.device) // (problem.rows // len(batch))
    if callable(target) or problem.without is not None:
        return [[False] * problem.rows for _ in goals]
    pairs = list(zip(goals, answers, strict=True))
    contrasts = [
        [is_as_large(goal, i, x, x0) for i, x, x0 in zip(inputs.tolist(), *ends, strict=True)]
        for goal, ends in ((goal, (a.output.tolist(), a.baseline_output.tolist())) for goal, a in pairs)
    ]
    if not any(is_shown(goal, i, target) for goal in goals for i in range(len(batch))):
        return contrasts
    if output == "logit":
        if len(kept) < problem.rows:
            return contrasts
        chances = model.goals(batch, target, "probability", answers[0].outputs)
    found = []
    for k, (goal, answer) in enumerate(pairs):
        at_x, at_x0 = answer.output, answer.baseline_output
        if output == "logit":
            at_x = chances[k].select(answers[0].outputs, inputs.unique())[inputs]
            at_x0 = _selected(chances[k], [kept[row] for row in range(problem.rows)], inputs)
        higher = (at_x0 >= at_x).tolist()
        shown = [is_shown(goal, i, target) for i in inputs.tolist()]
        found.append([a and b for a, b in zip(higher, shown, strict=True)])
    return found


def _selected(goal: Goal, each: Sequence[Outputs], inputs: torch.Tensor) -> torch.Tensor:
    """A goal's number for each of some outputs of one row, about these inputs: at once where they have one shape; what
    a task reads may be as wide as its batch needs."""
    if len({tuple(t.shape for t in _tensors(one)) for one in each}) == 1:
        return goal.select(joined(each), inputs)
    return torch.cat([goal.select(one, inputs[row : row + 1]) for row, one in enumerate(each)])


def is_as_large(goal: Goal, i: int, at_x: float, at_x0: float) -> bool:
    """Whether a row's goal is a contrast of two classes that is for the first at the input, and as much so at the
    baseline. One that is for the second asks what speaks against the prediction, and a baseline has less of that."""
    aim, (_, probability) = goal.targets[i], goal.predictions[i]
    contrast = aim is not None and isinstance(aim.index, tuple) and probability is not None
    return contrast and 0 < at_x <= at_x0


def is_shown(goal: Goal, i: int, target: Target) -> bool:
    """Whether a row's goal is a class that the model predicts, with a probability."""
    aim, (prediction, probability) = goal.targets[i], goal.predictions[i]
    return (
        aim is not None
        and isinstance(aim.index, int)
        and probability is not None
        and (target is None or aim.name == prediction)
    )
