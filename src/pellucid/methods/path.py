"""The method integrated gradients, to a tolerance or by a fixed rule (Sundararajan et al. 2017, 1703.01365).

A tensor h inside the model takes part with its conductance, ∫ ∂f/∂h · dh/dt dt (Dhamdhere et al. 2018, 1805.12233),
computed from the same passes.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from ..attribution import Attributions, contributed, solved
from ..engine.passes import Evaluation, along_path, values_at_ends
from ..engine.token_sums import unit_scores, unit_values
from ..errors import InputError
from ..numerics.quadrature.fixed import QUADRATURES
from ..numerics.quadrature.interpolation import LEAST
from ..problem import Problem, Seen
from ..status import Status
from .adaptive import to_tolerance


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
    max_passes: the budget of a row; one that has used it up is "tolerance_not_met". Time is in proportion to the
        passes, and any continuous function converges with enough of them: 97 are plenty for a transformer, a small
        network of ReLUs or steep sigmoids may want 400 for 1 %, and 2,000 for 0.1 %.
    """
    if n_steps is not None or rule is not None:
        return _fixed(problem, 50 if n_steps is None else n_steps, rule or "gauss_legendre")
    if not tol > 0 or max_passes < LEAST:
        raise InputError(
            f"integrated_gradients got tol={tol!r}, max_passes={max_passes!r}; expected a tolerance above 0 and at "
            f"least {LEAST} passes, which the first error estimate needs."
        )
    return to_tolerance(problem, tol, max_passes)


def internal_influence(problem: Problem, n_steps: int = 50, rule: str = "gauss_legendre") -> Attributions:
    """∫₀¹ ∂f/∂x(x0 + t·(x − x0)) dt, the mean gradient on the path, without the difference (Leino et al. 2018,
    1802.03788).

    A token's score is the norm over the hidden dimension, as in `saliency`: before a layer norm a gradient's elements
    add up to 0. A tensor h inside the model takes part with ∫₀¹ ∂f/∂h dt. n_steps, rule: as in `integrated_gradients`.
    """
    return _fixed(problem, n_steps, rule, "internal_influence")


def _fixed(problem: Problem, n_steps: int, rule: str, name: str = "integrated_gradients") -> Attributions:
    """Integrated gradients by a fixed number of points, or the mean gradient in their place."""
    if n_steps < 1 or rule not in QUADRATURES:
        raise InputError(
            f"{name} got n_steps={n_steps!r}, rule={rule!r}; expected n_steps of at least 1 and a rule "
            f"among {', '.join(QUADRATURES)}."
        )
    weighed = name == "integrated_gradients"
    outputs, selects, y, y0 = values_at_ends(problem)
    n = n_steps if problem.watch is None or not weighed else n_steps + 1
    table, device = QUADRATURES[rule](n), problem.x[0].device
    rows = torch.arange(problem.rows, device=device).repeat_interleave(n)
    t, w = (torch.from_numpy(column).to(device).repeat(problem.rows) for column in (table.nodes, table.weights))
    units = problem if weighed else replace(problem, mask=None)  # every element, where a sum over them says nothing
    change = [a - b if weighed else torch.ones_like(a) for a, b in zip(problem.x, problem.x0, strict=True)]
    total, inside = torch.zeros(0), _Steps(problem.rows) if weighed else _Means(problem.rows)
    for i, found in along_path(problem, selects, rows, t):
        scores = unit_scores(units, found.gradients, tuple(d[rows[i]] for d in change))
        total = total if total.numel() else scores.new_zeros(len(selects), problem.rows, scores.shape[-1])
        total.index_add_(1, rows[i], scores * w[i].view(-1, 1))
        inside.add(rows[i], w[i], found)
    return tuple(
        solved(
            unit_values(units, total[k]),
            y[k],
            y0[k],
            passes=n + 2,
            status=Status.FIXED_STEPS,
            reduction="sum" if weighed else "norm",
            outputs=outputs,
            inside=tuple((kind, c[k]) for kind, c in zip(inside.kinds, inside.total, strict=True)),
        )
        for k in range(len(selects))
    )


class _Inside:
    """The sums of each row and each tensor h inside f, added up batch by batch.

    kinds: of each tensor. total: (targets, rows, …) of each.
    """

    def __init__(self, rows: int):
        self.rows, self.kinds, self.total = rows, list[str](), list[Tensor]()

    def added(self, k: int, seen: Seen, rows: Int[Tensor, " points"], each: Tensor) -> None:
        """Adds what tensor k has at points (targets, points, …) to their rows."""
        if k == len(self.total):
            self.kinds.append(seen.kind)
            self.total.append(each.new_zeros(len(each), self.rows, *each.shape[2:]))
        self.total[k].index_add_(1, rows, each)


class _Means(_Inside):
    """Σ wₖ·∂f/∂h(tₖ)."""

    def add(self, rows: Int[Tensor, " points"], weights: Tensor, found: Evaluation) -> None:
        for k, (s, g) in enumerate(zip(found.seen, found.inside, strict=True)):
            w = weights.to(s.value.dtype).view(-1, *[1] * (s.value.ndim - 1)).expand_as(s.value)
            self.added(k, s, rows, torch.stack([contributed(gt, w, s) for gt in g]))


class _Steps(_Inside):
    """Σ ∂f/∂h(tₖ)·(h(tₖ₊₁) − h(tₖ)). Only the last point of a batch is kept, for the first step of the next batch."""

    last: tuple[Tensor, list[Tensor], list[Tensor]] | None = None

    def add(self, rows: Int[Tensor, " points"], _weights: Tensor, found: Evaluation) -> None:
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
            self.added(k, s, rows[own], each[:, own])
