"""Wraps a method so that its answers carry notes: of random draws, and of paths without a gradient."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import wraps

import torch

from ..attribution import Attribution, Attributions
from ..errors import PellucidError
from ..numerics.deeplift.recording.cut_paths import cuts
from ..numerics.deeplift.recording.recorder import forward_pass
from ..problem import Outputs, Problem, Tensors
from ..randomness import NOTE
from ..status import Status
from .deeplift import deeplift

_OFF, _STEPS = 0.01, 20
"""A fixed rule whose residual is above this part of the change in the output is looked into, if it took so many steps:
with fewer it is inexact by itself, and two more passes would count."""
_PLACES = 3
"""How many places a note names, at most."""


def noting(solve: Callable[..., Attributions], by_slopes: bool) -> Callable[..., Attributions]:
    """The method with notes on its answers. It runs further passes only where scores that should add up do not.

    by_slopes: its scores are gradients that need not add up, so they do not tell that a path carries none. DeepLIFT
    tells it, once for each function that loses a gradient.
    """

    @wraps(solve)
    def noted(problem: Problem, **options: object) -> Attributions:
        answers = solve(problem, **options)
        notes = [NOTE] if problem.draws.found else []
        if any(_is_off(answer) for answer in answers):
            notes += _why(problem, answers)
        elif by_slopes:
            notes += _by_deeplift(problem, answers)
        if not notes:
            return answers
        return tuple(replace(a, notes=tuple(dict.fromkeys((*a.notes, *notes)))) for a in answers)

    return noted


def _by_deeplift(problem: Problem, given: Attributions) -> tuple[str, ...]:
    """The notes on DeepLIFT's answers, kept for the Problems about the same function. DeepLIFT runs where a pass for
    gradients saw a value lose its gradient: only then may a path be cut, and most that lose one change nothing."""
    found = problem.found
    if not found.loses or found.cuts is not None:
        return found.cuts or ()
    firsts = problem.firsts()
    each = torch.arange(problem.rows, device=problem.x[0].device) if firsts is None else firsts
    one = problem.fixed(*problem.selects(given[0].outputs)).taken(each)
    one, found.cuts = replace(one, watch=None, source=None), ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a function that few rows alone are too few for
            answers = deeplift(one)
    except (PellucidError, RuntimeError):
        return ()
    if any(_is_off(answer) for answer in answers):
        found.cuts = tuple(_why(one, answers))
    return found.cuts


def _is_off(answer: Attribution) -> bool:
    """Whether the scores of an answer should add up, do not, and a path without a gradient could be the reason."""
    statuses = answer.row_status or (answer.status,)
    if any(s in (Status.INEXACT, Status.TOLERANCE_NOT_MET) for s in statuses):
        return True
    change = (answer.output - answer.baseline_output).abs()
    fixed = Status.FIXED_STEPS in statuses and answer.passes >= _STEPS
    return fixed and bool((answer.delta.abs() > _OFF * change).any())


def _why(problem: Problem, answers: Attributions) -> list[str]:
    """Notes on the places where values go on without a gradient, found by running the forward pass once more."""

    def run(at: Tensors) -> Outputs:
        leaves = tuple(t.detach().requires_grad_() for t in at)
        with forward_pass(leaves, {}):
            return problem.outputs(leaves)

    try:
        found, outputs = cuts(lambda: run(problem.x), lambda: run(problem.x0))
        again = [problem.value(outputs, s).detach() for s in problem.selects(outputs)] if problem.source is None else []
    except (PellucidError, RuntimeError):
        return []
    notes = []
    rounding = lambda y: max(1e-3, 16 * torch.finfo(y.dtype).eps)
    pairs = [(y, a.output.to(y.dtype)) for y, a in zip(again, answers, strict=False)]
    if any(not torch.allclose(y, before, rtol=rounding(y), atol=1e-6) for y, before in pairs):
        notes.append(
            "The function gives different answers to the same input, so no attribution can add up: something draws at "
            "random, or keeps a state from pass to pass."
        )
    if found:
        places = [f"{how} in {place}" if place else how for how, place, *_ in found]
        more = f", and {len(places) - _PLACES} more" if len(places) > _PLACES else ""
        notes.append(
            "A path carries no gradient, so what goes through it is in the residual and in no score: "
            f"{'; '.join(places[:_PLACES])}{more}."
        )
    return notes
