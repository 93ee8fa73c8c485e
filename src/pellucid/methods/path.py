"""Integrated gradients, to a tolerance or by a fixed rule (Sundararajan et al. 2017, 1703.01365).

A tensor h inside the model takes part with its conductance ∫ ∂f/∂h · dh/dt dt (Dhamdhere et al. 2018, 1805.12233): the
same sweep passes all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..numerics.names import KINKED
from ..numerics.quadrature import PILOT, QUADRATURES, Stretch, interpolatory, leja, predicted, stieltjes, stretch_for
from ..problem import Attribution, Attributions, Problem, Seen, Select, Tensors, contributed, solved
from ..status import Status, combined
from .evaluate import Evaluation, along_path, start, values_at_ends
from .units import unit_scores, unit_values

Array = NDArray[np.float64]

_FIRST, _NEXT = 8, 3  # points added in the second round, and in each one after it


def integrated_gradients(
    problem: Problem,
    tol: float = 0.01,
    n_steps: int | None = None,
    rule: str | None = None,
    max_passes: int = 97,
) -> Attributions:
    """(x − x0)·∫₀¹ ∂f/∂x(x0 + t·(x − x0)) dt (Sundararajan et al. 2017, 1703.01365).

    tol: stop a row once the estimated error of its vector of scores, relative to the vector's norm, and its residual,
        relative to the change in the output, are both below it. `error` and `status` say what was reached.
    n_steps, rule: a fixed rule instead: so many points of a name in QUADRATURES ("gauss_legendre" when None). Layers
        and other tensors inside then take n_steps + 1 points and the left sum Σ ∂f/∂h(tₖ)·(h(tₖ₊₁) − h(tₖ)), as
        Captum's LayerConductance does, and agree with it; it is of first order, so `tol` gives better ones for less.
    max_passes: the budget of a row; one that has used it up is "tolerance_not_met".
    """
    if n_steps is not None or rule is not None:
        return _fixed(problem, 50 if n_steps is None else n_steps, rule or "gauss_legendre")
    least = len(PILOT) + 2 + _FIRST
    if not tol > 0 or max_passes < least:
        raise InputError(
            f"integrated_gradients got tol={tol!r}, max_passes={max_passes!r}; expected a tolerance above 0 and at "
            f"least {least} passes, which the first error estimate needs."
        )
    return _adaptive(problem, tol, max_passes)


def _fixed(problem: Problem, n_steps: int, rule: str) -> Attributions:
    if n_steps < 1 or rule not in QUADRATURES:
        raise InputError(
            f"integrated_gradients got n_steps={n_steps!r}, rule={rule!r}; expected n_steps of at least 1 and a rule "
            f"among {', '.join(QUADRATURES)}."
        )
    outputs, selects, y, y0 = values_at_ends(problem)
    n = n_steps if problem.watch is None else n_steps + 1
    table, device = QUADRATURES[rule](n), problem.x[0].device
    rows = torch.arange(problem.rows, device=device).repeat_interleave(n)
    t, w = (torch.from_numpy(column).to(device).repeat(problem.rows) for column in (table.nodes, table.weights))
    difference = _difference(problem)
    total, steps = torch.zeros(0), _Steps(problem.rows)
    for i, found in along_path(problem, selects, rows, t):
        scores = _scores(problem, difference, found, rows[i])
        total = total if total.numel() else scores.new_zeros(len(selects), problem.rows, scores.shape[-1])
        total.index_add_(1, rows[i], scores * w[i].view(-1, 1))
        steps.add(rows[i], found)
    return tuple(
        solved(
            unit_values(problem, total[k]),
            y[k],
            y0[k],
            passes=n + 2,
            status=Status.FIXED_STEPS,
            outputs=outputs,
            inside=tuple((kind, c[k]) for kind, c in zip(steps.kinds, steps.total, strict=True)),
        )
        for k in range(len(selects))
    )


class _Steps:
    """Σ ∂f/∂h(tₖ)·(h(tₖ₊₁) − h(tₖ)) of each row and each h, batch by batch: only the last point is remembered."""

    def __init__(self, rows: int):
        self.rows, self.kinds, self.total, self.last = rows, [], [], None

    def add(self, rows: Tensor, found: Evaluation) -> None:
        values, grads = [s.value for s in found.seen], list(found.inside)
        if self.last is not None:
            before, h, g = self.last
            rows = torch.cat([before, rows])
            values = [torch.cat([a, b]) for a, b in zip(h, values, strict=True)]
            grads = [torch.cat([a, b], 1) for a, b in zip(g, grads, strict=True)]
        self.last = rows[-1:], [h[-1:] for h in values], [g[:, -1:] for g in grads]
        own = (rows[1:] == rows[:-1]).nonzero().squeeze(1)
        for k, (s, h, g) in enumerate(zip(found.seen, values, grads, strict=True)):
            step = h.diff(dim=0)
            each = torch.stack([contributed(gt[:-1], step, s) for gt in g])  # (targets, n, …)
            if k == len(self.total):
                self.kinds.append(s.kind)
                self.total.append(each.new_zeros(len(each), self.rows, *each.shape[2:]))
            self.total[k].index_add_(1, rows[own], each[:, own])


@dataclass(frozen=True)
class _Row:
    """One row on its way: where it has been evaluated, what was found there, and how good the answer is by now.

    t (n,), scores (n, targets, units): the integrand of each unit's score. change (targets,): f(x) − f(x0). total
    (targets, units): the integral. error (targets, units): its estimated error. moved (targets,): by how much the last
    points changed it. caution: what the error is multiplied by, because the function has kinks.
    """

    t: Array
    scores: Array
    change: Array
    caution: float = 1.0
    stretch: Stretch = field(default_factory=lambda: Stretch(0.5, 1.0))
    weights: Array = field(default_factory=lambda: np.zeros(0))
    total: Array = field(default_factory=lambda: np.zeros(0))
    error: Array = field(default_factory=lambda: np.full((1, 1), np.inf))
    moved: Array = field(default_factory=lambda: np.zeros(1))

    def begun(self) -> _Row:
        """With a stretch around the largest integrand seen, and a first integral."""
        order = np.argsort(self.t)
        stretch = stretch_for(self.t[order], np.linalg.norm(self.scores[order], axis=(1, 2)))
        weights = interpolatory(stretch.u(self.t)) * stretch.dt(stretch.u(self.t))
        return replace(self, stretch=stretch, weights=weights, total=np.tensordot(weights, self.scores, 1))

    def more(self, n: int) -> Array:
        """The next n points."""
        return self.stretch.t(leja(self.stretch.u(self.t), n))

    def grown(self, t: Array, scores: Array) -> _Row:
        """With n more points.

        The error is what they changed in the integral, continued as a geometric series where they changed hardly less
        than the points before them did; or a twentieth of what they were off the interpolation's expectation, whichever
        is larger: that catches a peak which all other points had missed.
        """
        u, new = self.stretch.u(self.t), self.stretch.u(t)
        dt, dt_new = self.stretch.dt(u)[:, None, None], self.stretch.dt(new)[:, None, None]
        expected = predicted(u, self.scores * dt, new)
        surprise = np.sqrt(np.mean((expected - scores * dt_new) ** 2, axis=0))
        row = replace(self, t=np.append(self.t, t), scores=np.concatenate([self.scores, scores])).begun()
        change = np.abs(row.total - self.total)
        moved = np.linalg.norm(change, axis=-1)
        ratio = np.where(self.moved > 0, np.minimum(moved / np.where(self.moved > 0, self.moved, 1), 0.9), 0.9)
        series = change * np.maximum(1, ratio / (1 - ratio))[:, None]
        larger = np.linalg.norm(series, axis=-1) >= np.linalg.norm(0.05 * surprise, axis=-1)
        return replace(row, error=self.caution * np.where(larger[:, None], series, 0.05 * surprise), moved=moved)

    def within(self, tol: float) -> NDArray[np.bool_]:
        """Which targets (targets,) have their answer."""
        size, spread = np.linalg.norm(self.total, axis=-1), np.abs(self.total).sum(-1)
        scale = np.where(spread <= 100 * np.abs(self.change), np.abs(self.change), spread)
        small = np.linalg.norm(self.error, axis=-1) <= tol * size
        return small & (np.abs(self.total.sum(-1) - self.change) <= tol * scale)


@dataclass
class _Kept:
    """What was seen inside at each point of a row, in the order of its points; nothing where nothing is watched."""

    seen: tuple[Seen, ...] = ()
    values: list[Tensors] = field(default_factory=list)
    grads: list[Tensors] = field(default_factory=list)

    def add(self, found: Evaluation, i: int) -> None:
        self.seen = found.seen
        self.values.append(tuple(s.value[i] for s in found.seen))
        self.grads.append(tuple(g[:, i] for g in found.inside))

    def conductance(self, u: Array) -> list[Tensor]:
        """Σⱼₖ Aⱼₖ·gⱼ·hₖ of each tensor, (targets, …)."""
        found = []
        for s, h, g in zip(self.seen, zip(*self.values, strict=True), zip(*self.grads, strict=True), strict=True):
            points = torch.stack(h)
            slopes = torch.tensordot(torch.from_numpy(stieltjes(u)).to(points), points, 1)
            found.append(torch.stack([contributed(gt, slopes, s).sum(0) for gt in torch.stack(g, 1)]))
        return found


def _adaptive(problem: Problem, tol: float, max_passes: int) -> Attributions:
    """Every unfinished row asks for its next points, and all of them are evaluated together."""
    begin = start(problem)
    selects, y = begin.selects, begin.at_x.y
    caution = 6.0 if begin.operations & KINKED else 1.0
    n, difference = problem.rows, _difference(problem)
    kept = [_Kept() for _ in range(n)]
    every = torch.arange(n, device=y.device)
    first = _table(problem, difference, begin.at_x, every, kept)
    points = np.concatenate([[0.0], PILOT])
    values, found = _evaluate(problem, selects, difference, kept, [points] * n)
    y0 = torch.from_numpy(np.stack([v[:, 0] for v in values], 1)).to(y)
    change = (y.double() - y0.double()).cpu().numpy()
    rows = [
        _Row(np.append(1.0, points), np.concatenate([first[r : r + 1], found[r]]), change[:, r], caution).begun()
        for r in range(n)
    ]
    size = _FIRST
    while True:
        active = {r for r in range(n) if not rows[r].within(tol).all() and len(rows[r].t) + size <= max_passes}
        if not active:
            break
        asked = [rows[r].more(size) if r in active else np.zeros(0) for r in range(n)]
        _, found = _evaluate(problem, selects, difference, kept, asked)
        for r in active:
            rows[r] = rows[r].grown(asked[r], found[r])
        size = _NEXT
    kinds = [s.kind for s in begin.at_x.seen]
    inside = [kept[r].conductance(rows[r].stretch.u(rows[r].t)) for r in range(n)]
    together = [(kind, torch.stack(each, 1)) for kind, each in zip(kinds, zip(*inside, strict=True), strict=True)]
    return tuple(_answer(problem, begin.outputs, y[k], y0[k], rows, together, tol, k) for k in range(len(selects)))


def _answer(
    problem: Problem,
    outputs: object,
    y: Tensor,
    y0: Tensor,
    rows: list[_Row],
    inside: list[tuple[str, Tensor]],
    tol: float,
    k: int,
) -> Attribution:
    """The answer for target k."""
    status = [Status.CONVERGED if r.within(tol)[k] else Status.TOLERANCE_NOT_MET for r in rows]
    passes = tuple(len(r.t) for r in rows)
    answer = solved(
        unit_values(problem, torch.from_numpy(np.stack([r.total[k] for r in rows])).to(y.device)),
        y,
        y0,
        passes=max(passes),
        status=combined(status),
        outputs=outputs,
        inside=tuple((kind, c[k]) for kind, c in inside),
    )
    error = torch.from_numpy(np.stack([r.error[k] for r in rows]))
    return replace(answer, error=error, row_passes=passes, row_status=tuple(status))


def _evaluate(
    problem: Problem, selects: Sequence[Select], difference: Tensors, kept: list[_Kept], asked: list[Array]
) -> tuple[list[Array], list[Array]]:
    """The targets (targets, k) and their integrands (k, targets, units) at each row's points."""
    device = problem.x[0].device
    rows = torch.from_numpy(np.repeat(np.arange(len(asked)), [len(a) for a in asked])).to(device)
    t = torch.from_numpy(np.concatenate(asked)).to(device)
    y, scores = [], []
    for i, found in along_path(problem, selects, rows, t):
        y.append(found.y.double().cpu().numpy())
        scores.append(_table(problem, difference, found, rows[i], kept))
    ends = np.cumsum([len(a) for a in asked])[:-1]
    return np.split(np.concatenate(y, 1), ends, 1), np.split(np.concatenate(scores), ends)


def _table(problem: Problem, difference: Tensors, found: Evaluation, rows: Tensor, kept: list[_Kept]) -> Array:
    """The integrands (n, targets, units) at n points, and what was seen inside put with its row."""
    if found.seen:
        for i, r in enumerate(rows.tolist()):
            kept[r].add(found, i)
    return _scores(problem, difference, found, rows).transpose(0, 1).cpu().numpy()


def _difference(problem: Problem) -> Tensors:
    return tuple(a - b for a, b in zip(problem.x, problem.x0, strict=True))


def _scores(problem: Problem, difference: Tensors, found: Evaluation, rows: Tensor) -> Tensor:
    """The integrands (targets, n, units) at n points, in float64."""
    return unit_scores(problem, found.gradients, tuple(d[rows] for d in difference))
