"""Integrated gradients to a tolerance: each row is evaluated at more points, until its own estimated error is small
enough.

A row begins with one polynomial through its points (`numerics.quadrature.interpolation`), which needs the fewest points
for the smooth peak that transformers have. A composite rule (`numerics.quadrature.composite`), which converges for any
function, takes over where it makes more of the same points. Rows with the same rule and the same number of points form
a batch, and the points that all batches ask for are evaluated together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..attribution import Attribution, Attributions, contributed, solved
from ..engine.passes import Evaluation, Start, along_path, start
from ..engine.token_sums import unit_scores, unit_values
from ..numerics.deeplift.operation_names import KINKED
from ..numerics.quadrature.composite import Composite, Table, cubic, step
from ..numerics.quadrature.interpolation import MOST, PILOT, Interpolation
from ..numerics.quadrature.points import Array, Points, Rule
from ..problem import Problem, Tensors
from ..status import Status, combined

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

_SETTLED = 41
"""Points from which on a composite rule may take over; most texts need fewer."""


@dataclass(frozen=True)
class _Goal:
    """What a row has to reach.

    tol: the tolerance. change: f(x) − f(x0).
    """

    tol: float
    change: Float[np.ndarray, "rows targets"]

    def reached(self, rule: Rule, rows: Int[np.ndarray, " rows"]) -> Bool[np.ndarray, "rows targets"]:
        """Which targets of these rows are done: their estimated error is within the tolerance of the scores, and their
        residual within that of the change, or of Σ|scores| where nothing changed.
        """
        change, size = np.abs(self.change[rows]), np.abs(rule.total).sum(-1)
        scale = np.where(change > 0, change, size)
        small = _size(rule.error) <= self.tol * _size(rule.total)
        return small & (np.abs(rule.total.sum(-1) - self.change[rows]) <= self.tol * scale)


@dataclass(frozen=True)
class _Batch:
    """Some rows, by their numbers, and the quadrature rule that estimates their integrals."""

    rows: Index
    rule: Rule

    def only(self, which: Mask) -> _Batch:
        return self if which.all() else _Batch(self.rows[which], self.rule.only(which.nonzero()[0]))

    def divided(self, table: Table, goal: _Goal) -> list[_Batch]:
        """The batch, divided by the rule that goes on.

        The composite rule takes a row over where it is done or has a tenth of the error, or where the polynomial may
        not take more points.
        """
        n = self.rule.points.n
        if not isinstance(self.rule, Interpolation) or n < _SETTLED:
            return [self]
        other = _Batch(self.rows, Composite.of(self.rule.points, table))
        better = _every(10 * _size(other.rule.error) <= _size(self.rule.error))
        taken = better | _every(goal.reached(other.rule, self.rows)) | (n >= MOST)
        return [b for b in (self.only(~taken), other.only(taken)) if len(b.rows)]


@dataclass(frozen=True)
class _End:
    """The result of a row: its scores and their errors, which targets are within the tolerance, and how many passes it
    took.

    inside: the contributions of each tensor inside f that was asked for, (targets, …).
    """

    total: Float[np.ndarray, "targets units"]
    error: Float[np.ndarray, "targets units"]
    within: Bool[np.ndarray, " targets"]
    passes: int
    inside: Tensors


def to_tolerance(problem: Problem, tol: float, max_passes: int) -> Attributions:
    """The method `integrated_gradients`, where no number of steps is given. The parameters are the same."""
    begin = start(problem)
    table, caution = (step, 6.0) if begin.operations & KINKED else (cubic, 1.0)
    sweep = _Sweep(problem, begin)
    points = sweep.first()
    goal = _Goal(tol, points.y[:, 0] - points.y[:, 1])
    batches = [_Batch(np.arange(problem.rows), Interpolation.through(points, caution))]
    ends: dict[int, _End] = {}
    while batches:
        going, asked = [], []
        for batch in [part for b in batches for part in b.divided(table, goal)]:
            n = batch.rule.wants(max_passes - batch.rule.points.n)
            enough = goal.reached(batch.rule, batch.rows)
            over = _every(enough) | (n == 0)
            for i in over.nonzero()[0]:
                ends[int(batch.rows[i])] = sweep.ended(batch, int(i), enough[i])
            if not over.all():
                going.append(batch.only(~over))
                asked.append(going[-1].rule.more(n))
        new = sweep.at([b.rows for b in going], asked)
        batches = [_Batch(b.rows, b.rule.grown(p)) for b, p in zip(going, new, strict=True)]
    return _answers(problem, begin, points.y[:, 1], [ends[r] for r in range(problem.rows)])


def _size(values: Array) -> Array:
    """The norm of each vector of scores."""
    return np.linalg.norm(values, axis=-1)


def _every(which: Mask) -> Mask:
    """(rows,) true for the rows in which it is true of all targets."""
    return np.asarray(which.all(1))


@dataclass
class _Kept:
    """The values and gradients of the tensors inside f at each point of a row, in the order of the points."""

    values: list[Tensors] = field(default_factory=list)
    grads: list[Tensors] = field(default_factory=list)

    def add(self, found: Evaluation, i: int) -> None:
        self.values.append(tuple(s.value[i] for s in found.seen))
        self.grads.append(tuple(g[:, i] for g in found.inside))


class _Sweep:
    """Evaluates a Problem along its path, and keeps the values of the tensors inside f until a row is done."""

    def __init__(self, problem: Problem, begin: Start):
        self.problem, self.begin = problem, begin
        self.difference = tuple(a - b for a, b in zip(problem.x, problem.x0, strict=True))
        self.kept = [_Kept() for _ in range(problem.rows)]

    def first(self) -> Points:
        """Both ends of each row, x first, and the few points between them that every row begins with."""
        rows = np.arange(self.problem.rows)
        y, scores = self._table(self.begin.at_x, torch.from_numpy(rows).to(self.problem.x[0].device))
        at_x = Points(np.ones((len(rows), 1)), scores[:, None], y[:, None])
        return at_x.joined(*self.at([rows], [np.tile([0.0, *PILOT], (len(rows), 1))]))

    def at(self, rows: Sequence[Index], t: Sequence[Array]) -> list[Points]:
        """The evaluations of each batch of rows at its points t (rows, points), all of them packed together."""
        device = self.problem.x[0].device
        if not rows:
            return []
        which = torch.from_numpy(np.concatenate([np.repeat(r, p.shape[1]) for r, p in zip(rows, t, strict=True)]))
        which, places = which.to(device), torch.from_numpy(np.concatenate([p.ravel() for p in t])).to(device)
        found = [self._table(e, which[i]) for i, e in along_path(self.problem, self.begin.selects, which, places)]
        ends = np.cumsum([p.size for p in t])[:-1]
        y, scores = (np.split(np.concatenate(each), ends) for each in zip(*found, strict=True))
        shaped = lambda values, p: values.reshape(*p.shape, *values.shape[1:])
        return [Points(p, shaped(s, p), shaped(v, p)) for p, s, v in zip(t, scores, y, strict=True)]

    def _table(
        self, found: Evaluation, rows: Int[Tensor, " points"]
    ) -> tuple[Float[np.ndarray, "points targets"], Float[np.ndarray, "points targets units"]]:
        """The targets and their integrands at each point."""
        if found.seen:
            for i, r in enumerate(rows.tolist()):
                self.kept[r].add(found, i)
        scores = unit_scores(self.problem, found.gradients, tuple(d[rows] for d in self.difference))
        return found.y.double().T.cpu().numpy(), scores.transpose(0, 1).cpu().numpy()

    def ended(self, batch: _Batch, i: int, enough: Mask) -> _End:
        """The result of row i of the batch."""
        rule, kept = batch.rule, self.kept[batch.rows[i]]
        inside = []
        for k, seen in enumerate(self.begin.at_x.seen):
            values = torch.stack([v[k] for v in kept.values])
            grads = torch.stack([g[k] for g in kept.grads], 1)  # (targets, n, …)
            each = (contributed(*rule.paired(i, j, g, values), seen).sum(0) for j, g in enumerate(grads))
            inside.append(torch.stack(list(each)))
        self.kept[batch.rows[i]] = _Kept()
        return _End(rule.total[i], rule.error[i], enough, rule.points.n, tuple(inside))


def _answers(problem: Problem, begin: Start, y0: Array, ends: Sequence[_End]) -> Attributions:
    """The Attribution of each target."""
    y, passes = begin.at_x.y, tuple(e.passes for e in ends)
    kinds = [s.kind for s in begin.at_x.seen]
    inside = [torch.stack(rows, 1) for rows in zip(*(e.inside for e in ends), strict=True)]  # (targets, rows, …)
    total, error = (
        torch.from_numpy(np.stack(each, 1)) for each in zip(*((e.total, e.error) for e in ends), strict=True)
    )

    def answer(k: int) -> Attribution:
        status = tuple(Status.CONVERGED if e.within[k] else Status.TOLERANCE_NOT_MET for e in ends)
        found = solved(
            unit_values(problem, total[k].to(y.device)),
            y[k],
            torch.from_numpy(y0[:, k]).to(y),
            passes=max(passes),
            status=combined(status),
            outputs=begin.outputs,
            inside=tuple((kind, c[k]) for kind, c in zip(kinds, inside, strict=True)),
        )
        return replace(found, error=error[k], row_passes=passes, row_status=status)

    return tuple(answer(k) for k in range(len(begin.selects)))
