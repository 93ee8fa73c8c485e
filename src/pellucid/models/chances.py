"""Whether a baseline makes the explained class as probable as the input does, from passes that a method made anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from ..problem import Attribution, Problem, detached, mapped

if TYPE_CHECKING:
    from .encoding import Encoding
    from .model import Model
    from .tasks import Goal

_CHEAP = 8
"""Passes of a method beside which one more is no cost worth mentioning."""


def heard(problem: Problem) -> tuple[Problem, list[Any]]:
    """The same Problem, and a list that what `f` returned at the baseline is put into, once a method asks for that."""
    kept: list[Any] = []

    def f(*given: Any) -> Any:
        outputs = problem.f(*given)
        pairs, n, rows = list(zip(given, problem.x0, strict=False)), problem.rows, len(given[0])
        either = not kept and rows in (n, 2 * n)  # x0 alone, or x above x0
        if either and all(torch.equal(point[-n:].detach(), x0) for point, x0 in pairs):
            kept.append(detached(mapped(lambda t: t[-n:] if t.ndim and len(t) == rows else t, outputs)))
        return outputs

    return replace(problem, f=f), kept


def as_probable(
    model: Model,
    batch: Sequence[Encoding],
    target: Any,
    output: str,
    goals: Sequence[Goal],
    problem: Problem,
    answers: Sequence[Attribution],
    kept: list[Any],
) -> list[list[bool]]:
    """For each goal and row, whether the class that the model predicts is as probable at the baseline as at the input.

    Only of a class that has a probability: not of a contrast, a function, or a number.
    """
    none = [[False] * problem.rows for _ in goals]
    classes = [isinstance(aim and aim.index, int) for goal in goals for aim in goal.targets]
    if callable(target) or problem.without is not None or not any(classes):
        return none
    if output != "logit":
        kept, chances = [None], goals
    else:
        if not kept and answers[0].passes >= _CHEAP:
            with torch.no_grad():
                kept.append(problem.outputs(problem.x0))
        chances = model.goals(batch, target, "probability", answers[0].outputs) if kept else ()
    if not kept:
        return none
    every = torch.arange(problem.rows, device=answers[0].output.device)
    inputs = every // (problem.rows // len(batch))
    found = []
    for goal, chance, answer in zip(goals, chances, answers, strict=True):
        at_x, at_x0 = answer.output, answer.baseline_output
        if output == "logit":
            at_x = chance.select(answers[0].outputs, inputs.unique())[inputs]
            at_x0 = chance.select(kept[0], inputs)
        higher = (at_x0 >= at_x).tolist()
        shown = [_is_shown(goal, i, target) for i in inputs.tolist()]
        found.append([a and b for a, b in zip(higher, shown, strict=True)])
    return found


def _is_shown(goal: Goal, i: int, target: Any) -> bool:
    """Whether a row's goal is a class that the model predicts, with a probability."""
    aim, (prediction, probability) = goal.targets[i], goal.predictions[i]
    return (
        aim is not None
        and isinstance(aim.index, int)
        and probability is not None
        and (target is None or aim.name == prediction)
    )
