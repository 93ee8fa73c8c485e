"""Integrated gradients, to a tolerance or by a fixed rule (Sundararajan et al. 2017, 1703.01365)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..numerics.quadrature import PILOT, QUADRATURES, Stretch, interpolatory, leja, predicted, stretch_for
from ..numerics.rules import KINKED
from ..problem import Attribution, Problem, Select, Tensors, solved
from .evaluate import along_path, start, value_at_x, value_at_x0

Array = NDArray[np.float64]

_FIRST, _NEXT = 8, 4  # points added in the second round, and in each one after it


def integrated_gradients(
    problem: Problem,
    tol: float = 0.01,
    n_steps: int | None = None,
    rule: str | None = None,
    max_passes: int = 97,
) -> Attribution:
    """(x − x0)·∫₀¹ ∂f/∂x(x0 + t·(x − x0)) dt (Sundararajan et al. 2017, 1703.01365).

    tol: stop a row once the estimated error of its vector of scores, relative to the vector's norm, and its residual,
        relative to the change in the output, are both below it. `error` and `status` say what was reached.
    n_steps, rule: a fixed rule instead: so many points of a name in QUADRATURES ("gauss_legendre" when None).
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


def _fixed(problem: Problem, n_steps: int, rule: str) -> Attribution:
    if n_steps < 1 or rule not in QUADRATURES:
        raise InputError(
            f"integrated_gradients got n_steps={n_steps!r}, rule={rule!r}; expected n_steps of at least 1 and a rule "
            f"among {', '.join(QUADRATURES)}."
        )
    outputs, select, y = value_at_x(problem)
    y0 = value_at_x0(problem, select)
    table, device = QUADRATURES[rule](n_steps), problem.x[0].device
    rows = torch.arange(problem.rows, device=device).repeat_interleave(n_steps)
    t, w = (torch.from_numpy(column).to(device).repeat(problem.rows) for column in (table.nodes, table.weights))
    mean = [torch.zeros_like(a) for a in problem.x]
    for i, _, grads in along_path(problem, select, rows, t):
        for total, g in zip(mean, grads, strict=True):
            total.index_add_(0, rows[i], g * w[i].to(g.dtype).view(-1, *[1] * (g.ndim - 1)))
    values = tuple(m * (a - b) for m, a, b in zip(mean, problem.x, problem.x0, strict=True))
    return solved(values, y, y0, passes=n_steps + 2, status="fixed_steps", outputs=outputs)


@dataclass(frozen=True)
class _Row:
    """One row on its way: where it has been evaluated, what was found there, and how good the answer is by now.

    t (n,), scores (n, units): the integrand of each unit's score. total (units,): the integral. error (units,): its
    estimated error. moved: by how much the last points changed it. caution: what the error is multiplied by, because
    the function has kinks.
    """

    t: Array
    scores: Array
    change: float
    caution: float = 1.0
    stretch: Stretch = field(default_factory=lambda: Stretch(0.5, 1.0))
    weights: Array = field(default_factory=lambda: np.zeros(0))
    total: Array = field(default_factory=lambda: np.zeros(0))
    error: Array = field(default_factory=lambda: np.full(1, np.inf))
    moved: float = 0.0

    def begun(self) -> _Row:
        """With a stretch around the largest integrand seen, and a first integral."""
        order = np.argsort(self.t)
        stretch = stretch_for(self.t[order], np.linalg.norm(self.scores[order], axis=1))
        weights = interpolatory(stretch.u(self.t)) * stretch.dt(stretch.u(self.t))
        return replace(self, stretch=stretch, weights=weights, total=weights @ self.scores)

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
        expected = predicted(u, self.scores * self.stretch.dt(u)[:, None], new)
        surprise = np.sqrt(np.mean((expected - scores * self.stretch.dt(new)[:, None]) ** 2, axis=0))
        row = replace(self, t=np.append(self.t, t), scores=np.concatenate([self.scores, scores])).begun()
        moved = float(np.linalg.norm(row.total - self.total))
        ratio = min(moved / self.moved, 0.9) if self.moved > 0 else 0.9
        error = max(np.abs(row.total - self.total) * max(1, ratio / (1 - ratio)), 0.05 * surprise, key=np.linalg.norm)
        return replace(row, error=self.caution * error, moved=moved)

    def within(self, tol: float) -> bool:
        size, spread = np.linalg.norm(self.total), np.abs(self.total).sum()
        scale = abs(self.change) if spread <= 100 * abs(self.change) else spread
        return bool(np.linalg.norm(self.error) <= tol * size and abs(self.total.sum() - self.change) <= tol * scale)


def _adaptive(problem: Problem, tol: float, max_passes: int) -> Attribution:
    """Every unfinished row asks for its next points, and all of them are evaluated together."""
    begin = start(problem)
    select, y, at_x = begin.select, begin.y, begin.gradient
    caution = 6.0 if begin.operations & KINKED else 1.0
    n, device = problem.rows, problem.x[0].device
    difference = tuple(a - b for a, b in zip(problem.x, problem.x0, strict=True))
    gradients: list[list[Tensors]] = [[tuple(g[r] for g in at_x)] for r in range(n)]
    first = _scores(problem, difference, at_x, torch.arange(n, device=device))
    points = np.concatenate([[0.0], PILOT])
    values, found = _evaluate(problem, select, difference, gradients, [points] * n)
    y0 = torch.tensor([v[0] for v in values], dtype=y.dtype, device=device)
    change = (y.double() - y0.double()).tolist()
    rows = [
        _Row(np.append(1.0, points), np.concatenate([first[r : r + 1], found[r]]), change[r], caution).begun()
        for r in range(n)
    ]
    size = _FIRST
    while True:
        active = {r for r in range(n) if not rows[r].within(tol) and len(rows[r].t) + size <= max_passes}
        if not active:
            break
        asked = [rows[r].more(size) if r in active else np.zeros(0) for r in range(n)]
        _, found = _evaluate(problem, select, difference, gradients, asked)
        for r in active:
            rows[r] = rows[r].grown(asked[r], found[r])
        size = _NEXT
    means = [_combined(rows[r].weights, gradients[r]) for r in range(n)]
    answer = solved(
        tuple(torch.stack([m[k] for m in means]) * d for k, d in enumerate(difference)),
        y,
        y0,
        passes=max(len(r.t) for r in rows),
        status="converged" if all(r.within(tol) for r in rows) else "tolerance_not_met",
        outputs=begin.outputs,
    )
    return replace(
        answer,
        error=torch.from_numpy(np.stack([r.error for r in rows])),
        row_passes=tuple(len(r.t) for r in rows),
        row_status=tuple("converged" if r.within(tol) else "tolerance_not_met" for r in rows),
    )


def _evaluate(
    problem: Problem, select: Select, difference: Tensors, gradients: list[list[Tensors]], asked: list[Array]
) -> tuple[list[Array], list[Array]]:
    """The target (k,) and the integrand of its scores (k, units) at each row's points; gradients are kept in order."""
    device = problem.x[0].device
    rows = torch.from_numpy(np.repeat(np.arange(len(asked)), [len(a) for a in asked])).to(device)
    t = torch.from_numpy(np.concatenate(asked)).to(device)
    y, scores = [], []
    for i, values, grads in along_path(problem, select, rows, t):
        y.append(values.double().cpu().numpy())
        scores.append(_scores(problem, difference, grads, rows[i]))
        for k, r in enumerate(rows[i].tolist()):
            gradients[r].append(tuple(g[k] for g in grads))
    ends = np.cumsum([len(a) for a in asked])[:-1]
    return np.split(np.concatenate(y), ends), np.split(np.concatenate(scores), ends)


def _scores(problem: Problem, difference: Tensors, grads: Tensors, rows: Tensor) -> Array:
    """(n, units): what each position, or without positions each element, has at these points."""
    parts = [(g * d[rows]).double() for g, d in zip(grads, difference, strict=True)]
    if problem.mask is not None:
        parts = [p.flatten(problem.mask.ndim).sum(-1) if p.ndim > problem.mask.ndim else p for p in parts]
    return torch.cat([p.flatten(1) for p in parts], 1).cpu().numpy()


def _combined(weights: Array, gradients: list[Tensors]) -> Tensors:
    return tuple(
        torch.einsum("n,n...->...", torch.from_numpy(weights).to(g[0]), torch.stack(g))
        for g in zip(*gradients, strict=True)
    )
