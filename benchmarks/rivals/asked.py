"""One input of a model as the function that rivals take: embeddings to the logit that Pellucid explains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import pellucid
from pellucid.problem import Problem, Select


@dataclass(frozen=True)
class Asked:
    """x, x0: the embeddings (1, tokens, hidden) of the input and of the baseline. f: embeddings (n, tokens, hidden) to
    the explained number (n,). own: which positions are the text's tokens. select: `(outputs, rows) -> the number`.
    problem: all of this, the target fixed."""

    x: Tensor
    x0: Tensor
    f: Callable[[Tensor], Tensor]
    own: Tensor
    select: Select
    problem: Problem

    def of_tokens(self, values: Tensor) -> np.ndarray:
        """(1, tokens, hidden) summed to (tokens,)."""
        return values.detach().sum(-1)[0][self.own].double().cpu().numpy()


@contextmanager
def asked(model: pellucid.Model, item: Any, target: Any, baseline: str = "mask") -> Iterator[Asked]:
    """An input against a baseline, while the model is borrowed. The target is fixed at the input."""
    with model.borrowed():
        problem = model.problem(model.encode([item]), model.baseline(baseline), target)
        with torch.no_grad():
            (select,) = problem.selects(problem.outputs(problem.x))

        def f(x: Tensor) -> Tensor:
            rows = torch.zeros(len(x), dtype=torch.long)
            return select(problem.outputs((x,), rows), rows)

        yield Asked(problem.x[0].detach(), problem.x0[0].detach(), f, problem.tokens[0], select, problem.fixed(select))
