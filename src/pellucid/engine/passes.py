"""Runs a function forward and backward in batches: at the input, at the baseline, and at points between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..numerics.deeplift.lockstep import operations
from ..numerics.deeplift.recording.recorder import forward_pass
from ..numerics.deeplift.recording.training_calls import Steady
from ..numerics.deeplift.unsupported import checked, keeping
from ..problem import Outputs, Problem, Seen, Select, Tensors, attached, detached, picked
from ..randomness import RandomDraws
from .memory import batch_size, batched

Scalars: TypeAlias = tuple[Float[Tensor, " rows"], ...]
"""The value of each target, a number for each row."""


def value_at_x(problem: Problem) -> tuple[Outputs, tuple[Select, ...], Scalars]:
    """The outputs of f at each input, the targets that they fix, and each target's value (rows,)."""
    with torch.no_grad(), Steady():
        x, rows = _inputs(problem)
        outputs = problem.outputs(x, rows)
        selects = problem.selects(outputs)
        y = tuple(problem.value(outputs, s, rows, "input") for s in selects)
    return outputs, selects, y if problem.source is None else tuple(v[problem.source] for v in y)


def value_at_x0(problem: Problem, selects: Sequence[Select]) -> Scalars:
    """The value of each target at the baseline (rows,)."""
    every = torch.arange(problem.rows, device=problem.x0[0].device)

    def evaluate(i: slice) -> Tensors:
        whole = i == slice(0, problem.rows)
        outputs = problem.outputs(tuple(t[i] for t in problem.x0), None if whole else every[i])
        return tuple(problem.value(outputs, s, every[i], "baseline") for s in selects)

    with torch.no_grad():
        return tuple(map(torch.cat, zip(*batched(problem, problem.rows, evaluate), strict=True)))


def values_at_ends(problem: Problem) -> tuple[Outputs, tuple[Select, ...], Scalars, Scalars]:
    """As `value_at_x`, and then the values at the baseline. One pass holds both, where it fits and each row has its own
    x."""
    if problem.source is not None or problem.draws.apart or 2 * problem.rows > batch_size(problem):
        outputs, selects, y = value_at_x(problem)
        return outputs, selects, y, value_at_x0(problem, selects)
    points, rows = problem.both()
    with torch.no_grad(), Steady():
        try:
            outputs = problem.outputs(points, rows)
        except RandomDraws:  # now it is known
            return values_at_ends(problem)
        at_x = picked(outputs, rows[: problem.rows], len(rows))
        selects = problem.selects(at_x)
        ends = [problem.value(outputs, s, rows, "both").chunk(2) for s in selects]
    return at_x, selects, tuple(y for y, _ in ends), tuple(y0 for _, y0 in ends)


@dataclass(frozen=True)
class Evaluation:
    """The result of one forward pass at n points and of a backward pass for each target.

    y: the targets' values. gradients: ∂y/∂x, one per input. seen: the tensors inside f that were asked for, (points,
    …), detached. inside: ∂y/∂seen.
    """

    y: Float[Tensor, "targets points"]
    gradients: tuple[Float[Tensor, "targets points ..."], ...]
    seen: tuple[Seen, ...] = ()
    inside: tuple[Float[Tensor, "targets points ..."], ...] = ()


@dataclass(frozen=True)
class Start:
    """The result of the pass at x: f's outputs, the targets that they fix, values and gradients, and the operations
    that ran."""

    outputs: Outputs
    selects: tuple[Select, ...]
    at_x: Evaluation
    operations: frozenset[str]


def start(problem: Problem, prepare: Callable[[Tensor], object] | None = None) -> Start:
    """As `value_at_x`, with the gradients from the same pass.

    prepare: is given each target's values before gradients are taken of them.
    """
    x, rows = _inputs(problem)
    leaves = _leaves(x)
    with forward_pass(leaves, {}) as recording, problem.watching() as seen:
        outputs = problem.outputs(leaves, rows)
        problem.found.loses |= recording.loses
        selects = problem.selects(outputs)
        y = [attached(problem.value(outputs, s, rows, "input")) for s in selects]
    made_by = checked(frozenset[str]().union(*(operations(v) for v in y)))
    if prepare is not None:
        for v in y:
            prepare(v)
    found = _evaluated(y, leaves, seen)
    return Start(detached(outputs), selects, found if rows is None else _of_rows(found, problem.source), made_by)


def gradient_at(
    problem: Problem,
    selects: Sequence[Select],
    x: tuple[Float[Tensor, "points ..."], ...],
    rows: Int[Tensor, " points"],
) -> Evaluation:
    """The targets and their gradients at points x (points, …), where x[i] belongs to row rows[i]."""
    leaves = _leaves(x)
    with forward_pass(leaves, {}) as recording, problem.watching() as seen:
        outputs = problem.outputs(leaves, rows)
        problem.found.loses |= recording.loses
        y = [attached(problem.value(outputs, s, rows)) for s in selects]
    return _evaluated(y, leaves, seen)


def along_path(
    problem: Problem, selects: Sequence[Select], rows: Int[Tensor, " points"], t: Float[Tensor, " points"]
) -> Iterator[tuple[slice, Evaluation]]:
    """The targets and their gradients at x0 + t·(x − x0), batch by batch, with the slice of the points in each batch.

    rows, t: the row and the place of each point.
    """

    def evaluate(i: slice) -> tuple[slice, Evaluation]:
        points = tuple(
            torch.lerp(b[rows[i]], a[rows[i]], t[i].to(a.dtype).view(-1, *[1] * (a.ndim - 1)))
            for a, b in zip(problem.x, problem.x0, strict=True)
        )
        return i, gradient_at(problem, selects, points, rows[i])

    return batched(problem, len(rows), evaluate)


def _inputs(problem: Problem) -> tuple[Tensors, Tensor | None]:
    """Each input once, and the first row that is about it; None for the rows where each row has an input of its own."""
    rows = problem.firsts()
    return problem.x if rows is None else tuple(t[rows] for t in problem.x), rows


def _of_rows(found: Evaluation, rows: Tensor | None) -> Evaluation:
    """An evaluation at each input, as one for each row: rows that share an input share its values."""
    return Evaluation(
        found.y[:, rows],
        tuple(g[:, rows] for g in found.gradients),
        tuple(replace(s, value=s.value[rows]) for s in found.seen),
        tuple(g[:, rows] for g in found.inside),
    )


def _leaves(x: Tensors) -> Tensors:
    return tuple(t.detach().requires_grad_() for t in x)


def _evaluated(y: Sequence[Tensor], leaves: Tensors, seen: Sequence[Seen]) -> Evaluation:
    """One backward pass per target, through the graph of one forward pass."""
    of = (*leaves, *(s.value for s in seen))
    with keeping():
        grads = [
            torch.autograd.grad(v, of, torch.ones_like(v), allow_unused=True, retain_graph=k + 1 < len(y))
            for k, v in enumerate(y)
        ]
    together = [
        torch.stack([torch.zeros_like(t) if g is None else g for g in each])
        if len(y) > 1 or each[0] is None
        else each[0].unsqueeze(0)
        for t, each in zip(of, zip(*grads, strict=True), strict=True)
    ]
    values = torch.stack([v.detach() for v in y])
    kept = tuple(replace(s, value=s.value.detach()) for s in seen)
    return Evaluation(values, tuple(together[: len(leaves)]), kept, tuple(together[len(leaves) :]))
