"""DeepLIFT (Shrikumar et al. 2017, 1704.02685), exact for every operation in `numerics.rules.RULES`.

m·(x − x0) with the multipliers m of the lockstep walk, so that  Σ values = f(x) − f(x0)  to float precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, UnsupportedOperation
from ..numerics.lockstep import walk
from ..numerics.recording import forward_pass, located
from ..numerics.rules import NOTED, RULES
from ..problem import Attribution, Problem, Select, Tensors, attached, detached, solved


def deeplift(problem: Problem, segments: int = 1) -> Attribution:
    """Two forward passes and one walk back through both: exact, whatever the number of layers.

    segments: cut the straight path from baseline to input into so many parts, and add up the parts' attributions.
        Exact for any number, at one more pass each; with more of them the scores tend to integrated gradients.
    """
    if not isinstance(segments, int) or segments < 1:
        raise InputError(f"deeplift got segments={segments!r}; expected a whole number of at least 1.")
    x = _leaves(problem.x)
    with forward_pass(x, NOTED):
        outputs = problem.outputs(x)
        select = problem.target(outputs)
        y = attached(problem.value(outputs, select))
    upper, output, answer = y, y.detach(), detached(outputs)
    del y, outputs  # a graph lives only while it is walked
    values = tuple(torch.zeros_like(t) for t in x)
    for k in range(segments - 1, -1, -1):
        x0, lower = _forward(problem, select, k / segments)
        try:
            multipliers = walk(upper, lower, torch.ones_like(upper), x, x0, RULES)
        except UnsupportedOperation as error:
            raise located(error, lambda at=x: problem.outputs(at)) from None
        values = tuple(v + m * (a - b).detach() for v, m, a, b in zip(values, multipliers, x, x0, strict=True))
        x, upper = x0, lower
    return solved(values, output, upper.detach(), passes=segments + 1, status="exact", outputs=answer)


def _leaves(x: Tensors) -> Tensors:
    return tuple(t.detach().requires_grad_() for t in x)


def _forward(problem: Problem, select: Select, t: float) -> tuple[Tensors, Tensor]:
    """The pass at x0 + t·(x − x0): its leaves and the target's value (rows,), with their graph."""
    at: Callable[[Any, Any], Any] = lambda a, b: torch.lerp(b, a, t) if t else b
    x = _leaves(tuple(at(a, b) for a, b in zip(problem.x, problem.x0, strict=True)))
    with forward_pass(x, NOTED):
        return x, attached(problem.value(problem.outputs(x), select))
