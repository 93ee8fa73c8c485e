"""DeepLIFT (Shrikumar et al. 2017, 1704.02685), exact for every operation in `numerics.rules.RULES`.

m·(x − x0) with the multipliers m of the lockstep walk, so that  Σ values = f(x) − f(x0)  to float precision.
"""

from __future__ import annotations

import torch

from ..errors import UnsupportedOperation
from ..numerics.lockstep import walk
from ..numerics.recording import forward_pass, located
from ..numerics.rules import NOTED, RULES
from ..problem import Attribution, Problem, attached, solved


def deeplift(problem: Problem) -> Attribution:
    """Two forward passes and one walk back through both: exact, whatever the number of layers."""
    x = tuple(t.detach().requires_grad_() for t in problem.x)
    x0 = tuple(t.detach().requires_grad_() for t in problem.x0)
    with forward_pass(x, NOTED):
        outputs = problem.outputs(x)
        select = problem.target(outputs)
        rows = torch.arange(problem.rows, device=x[0].device)
        y = problem.value(outputs, select, rows)
    with forward_pass(x0, NOTED):
        y0 = problem.value(problem.outputs(x0), select, rows)
    try:
        multipliers = walk(attached(y), attached(y0), torch.ones_like(y), x, x0, RULES)
    except UnsupportedOperation as error:
        raise located(error, lambda: problem.outputs(x)) from None
    values = tuple(m * (a - b) for m, a, b in zip(multipliers, problem.x, problem.x0, strict=True))
    return solved(values, y, y0, passes=2, status="exact", outputs=outputs)
