"""Methods that follow the straight path from the baseline to the input."""

from __future__ import annotations

import torch

from ..errors import InputError
from ..numerics.quadrature import QUADRATURES
from ..problem import Attribution, Problem, solved
from .evaluate import batches, gradient_at, value_at_x, value_at_x0


def integrated_gradients(problem: Problem, n_steps: int = 50, rule: str = "gauss_legendre") -> Attribution:
    """(x − x0)·∫₀¹ ∂f/∂x(x0 + t·(x − x0)) dt (Sundararajan et al. 2017, 1703.01365), by a fixed quadrature.

    n_steps: points on the path. rule: a name in `numerics.quadrature.QUADRATURES`.
    """
    if n_steps < 1 or rule not in QUADRATURES:
        raise InputError(
            f"integrated_gradients got n_steps={n_steps!r}, rule={rule!r}; expected n_steps of at least 1 and a rule "
            f"among {', '.join(QUADRATURES)}."
        )
    outputs, select, y = value_at_x(problem)
    y0 = value_at_x0(problem, select)
    table, device = QUADRATURES[rule](n_steps), problem.x[0].device
    rows = torch.arange(problem.rows, device=device).repeat_interleave(n_steps)
    t = torch.from_numpy(table.nodes).to(device).repeat(problem.rows)
    w = torch.from_numpy(table.weights).to(device).repeat(problem.rows)
    mean = [torch.zeros_like(a) for a in problem.x]
    for i in batches(problem, len(rows)):
        points = tuple(
            torch.lerp(b[rows[i]], a[rows[i]], _like(t[i], a)) for a, b in zip(problem.x, problem.x0, strict=True)
        )
        for total, g in zip(mean, gradient_at(problem, select, points, rows[i]), strict=True):
            total.index_add_(0, rows[i], g * _like(w[i], g))
    values = tuple(m * (a - b) for m, a, b in zip(mean, problem.x, problem.x0, strict=True))
    return solved(values, y, y0, passes=n_steps + 2, status="fixed_steps", outputs=outputs)


def _like(column: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return column.to(t.dtype).view(-1, *[1] * (t.ndim - 1))
