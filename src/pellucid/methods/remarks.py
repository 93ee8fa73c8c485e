"""Wraps a method so that its answers carry notes: of random draws, and of paths without a gradient."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import wraps

import torch
from torch import Tensor

from ..attribution import Attribution, Attributions, doubted, sizes
from ..engine.borrowing import undisturbed
from ..engine.memory import out_of_memory
from ..engine.passes import value_at_x, value_at_x0
from ..errors import OF_A_FUNCTION, WITHOUT_GRADIENT, PellucidError, UnsupportedOperation, shortened
from ..numerics.deeplift.recording.cut_paths import cuts
from ..numerics.deeplift.recording.recorder import forward_pass
from ..problem import Outputs, Problem, Tensors
from ..randomness import NOTE, VARIES
from ..status import Status
from .deeplift import deeplift

_OFF, _STEPS = 0.01, 20
"""A fixed rule whose residual is above this part of the change in the output is looked into, if it took so many steps:
with fewer it is inexact by itself, and two more passes would count."""
_ROWS = 8
"""How many inputs are looked at for a path that is cut."""
_PLACES = 3
"""How many places a note names, at most."""


def noting(solve: Callable[..., Attributions], by_gradients: bool) -> Callable[..., Attributions]:
    """The method with notes on its answers. It runs further passes only where scores that should add up do not, and
    once for each function in which a pass saw a value lose its gradient.

    by_gradients: whether the method takes gradients, so that a path without any is missing in its scores.
    """

    @wraps(solve)
    def noted(problem: Problem, **options: object) -> Attributions:
        with undisturbed():
            answers = _answered(solve, problem, options, by_gradients)
            notes = [NOTE] if problem.draws.found else []
            if any(_is_off(answer) for answer in answers):
                notes += _why(problem, answers)
            elif by_gradients and problem.found.loses and (cut := _cuts(problem, answers)):
                answers = tuple(doubted(answer, *cut) for answer in answers)
        if not notes:
            return answers
        return tuple(replace(a, notes=tuple(dict.fromkeys((*a.notes, *notes)))) for a in answers)

    return noted


def _answered(
    solve: Callable[..., Attributions], problem: Problem, options: Mapping[str, object], by_gradients: bool
) -> Attributions:
    with differentiated(problem) if by_gradients else nullcontext():
        return solve(problem, **options)


@contextmanager
def differentiated(problem: Problem) -> Iterator[None]:
    """Inside, f is recorded and differentiated. Raises UnsupportedOperation where f runs by itself, but not so, and
    what f raises where it does not run."""
    try:
        yield
    except OF_A_FUNCTION as error:
        memory = isinstance(error, RuntimeError) and out_of_memory(error)
        if isinstance(error, PellucidError) or memory or not _runs(problem):
            raise
        found = f"{type(error).__name__}: {shortened(str(error).strip(), 200)}"
        raise UnsupportedOperation(
            f"The function runs by itself, but not while its operations are recorded and differentiated: {found}. "
            f"Expected operations with a gradient. What runs the function as it is: {WITHOUT_GRADIENT}."
        ) from error


def _runs(problem: Problem) -> bool:
    """Whether f, called as it is, takes the input and the baseline."""
    try:
        value_at_x0(problem, value_at_x(problem)[1])
    except OF_A_FUNCTION:
        return False
    return True


def _cuts(problem: Problem, given: Attributions) -> tuple[str, ...]:
    """Notes on the paths without a gradient that change the output, kept for the Problems about the same function: most
    values that lose their gradient change nothing.

    DeepLIFT compares some of the inputs with their baselines, and with two points that have every other element of the
    baseline: a path that is cut may by chance change nothing between one pair of points.
    """
    found = problem.found
    if found.cuts is not None:
        return found.cuts
    found.cuts = ()
    fixed = replace(problem.fixed(*problem.selects(given[0].outputs)), watch=None)
    every = torch.arange(problem.rows, device=problem.x[0].device)
    some = torch.linspace(0, problem.rows - 1, min(problem.rows, _ROWS), device=every.device).long()
    together = some.repeat(3), torch.arange(3, device=every.device).repeat_interleave(len(some))
    for rows, kind in (together, *((every, torch.full_like(every, k)) for k in range(3))):  # f may take no other rows
        one = replace(fixed.taken(rows), source=None)
        points = [_partly(a, b, kind, k) for k, (a, b) in enumerate(zip(one.x, one.x0, strict=True))]
        one = replace(one, x0=tuple(points))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a function that few rows alone are too few for
                answers = deeplift(one)
        except (PellucidError, RuntimeError):
            continue
        if any(_misses(answer) for answer in answers):
            found.cuts = tuple(_why(one, answers))
        if found.cuts or rows is together[0]:
            break
    return found.cuts


def _partly(x: Tensor, x0: Tensor, kind: Tensor, shift: int) -> Tensor:
    """x0 with every other element of x, as on a chessboard: kind (rows,) is 0 for the black ones, 1 for the white ones,
    and 2 for x0 itself."""
    places = [torch.arange(n, device=x.device).view(-1, *[1] * (x.ndim - 2 - d)) for d, n in enumerate(x.shape[1:])]
    colour = (sum(places, torch.zeros_like(kind[0])) + shift) % 2
    return torch.where(colour.unsqueeze(0) == kind.view(-1, *[1] * (x.ndim - 1)), x, x0)


def _misses(answer: Attribution) -> bool:
    """Whether an exact answer leaves more over than rounding of what was added up."""
    y, y0 = answer.output.double(), answer.baseline_output.double()
    largest = torch.stack([y.abs(), y0.abs(), sizes(answer)]).amax(0)
    rounding = 256 * torch.finfo(answer.output.dtype).eps * largest
    return bool((answer.delta.abs() > torch.maximum(rounding, 1e-3 * (y - y0).abs())).any())


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
        notes.append(VARIES)
    if found:
        places = [f"{how} in {place}" if place else how for how, place, *_ in found]
        more = f", and {len(places) - _PLACES} more" if len(places) > _PLACES else ""
        notes.append(
            "A path carries no gradient, so what goes through it is in the residual and in no score: "
            f"{'; '.join(places[:_PLACES])}{more}."
        )
    return notes
