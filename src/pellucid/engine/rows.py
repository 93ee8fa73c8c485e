"""Rows of a batch: whether a function gives each row the output that it has alone, and takes any number of rows.

Methods evaluate many points in one batch, so both must hold. An answer is compared with what the function returns for
one row by itself.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from ..attribution import Attribution
from ..errors import InputError, PellucidError, shortened
from ..problem import Found, Function, Outputs, Problem, Tensors
from .memory import out_of_memory

WITHIN = 1e-4
"""Two outputs of one row that differ by less, relative to their size, differ by rounding: a function of float64 numbers
may compute a part of them in float32."""
WITHIN_HALF = 0.05
"""The same of outputs in half precision."""


@dataclass(frozen=True)
class AnyCount:
    """A function whose failure on another number of rows than the user gave is an InputError that says what to do.

    f: the user's function. rows: how many rows the user gave. found: is told when f is called with another number.
    """

    f: Function
    rows: int
    found: Found

    def __call__(self, *x: Tensor) -> Outputs:
        n = x[0].shape[0]
        if n == self.rows:
            return self.f(*x)
        self.found.packed = True
        try:
            out = self.f(*x)
        except (RuntimeError, ValueError) as error:
            if isinstance(error, PellucidError) or (isinstance(error, RuntimeError) and out_of_memory(error)):
                raise
            raise self._tied(n, f"{type(error).__name__}: {shortened(str(error).strip(), 120)}") from error
        followed = isinstance(out, Tensor) and (out.requires_grad or not torch.is_grad_enabled())
        if followed and out.ndim and out.shape[0] == self.rows:
            raise self._tied(n, f"it returned the shape {tuple(out.shape)}")
        return out

    def _tied(self, n: int, found: str) -> InputError:
        return InputError(
            f"The function takes {self.rows} rows, and not {n}: {found}. Expected a function of any number of rows. If "
            "it holds a tensor with a value for each row, pass that as an argument of its own, which is cut with the "
            "rows: attribute(f, x, x0, args=(y,)) for f(x, y)."
        )


def near(a: Tensor, b: Tensor) -> bool:
    """Whether outputs differ by no more than rounding, relative to the largest of them."""
    if torch.equal(a, b):
        return True
    within = WITHIN if torch.finfo(a.dtype).eps < 1e-4 else WITHIN_HALF
    return torch.dist(a, b, torch.inf).item() <= within * (torch.linalg.vector_norm(b, torch.inf).item() or 1.0)


def mixed(problem: Problem, answer: Attribution) -> float:
    """How far the first and the last row's outputs in the answer are from those that the rows have alone, relative to
    their size, at the input, and at the baseline where f ran on other numbers of rows than the user gave; 0 where that
    is rounding, where f draws at random or never gives one answer twice, or where f takes no single row."""
    if problem.draws.apart:
        return 0.0
    select = problem.selects(answer.outputs)[0]

    def alone(x: Tensors, row: int) -> Tensor:
        which = torch.tensor([row % problem.rows], device=x[0].device)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of a standard deviation of one number
            return select(problem.outputs(tuple(t[which] for t in x), which), which).double()

    ends = [(problem.x, answer.output, row) for row in ((0, -1) if len(answer.output) > 1 else (-1,))]
    if problem.found.packed and problem.source is None:  # of a sample of baselines the output is the mean
        ends.append((_removed(problem), answer.baseline_output, -1))
    furthest = 0.0
    for x, found, row in ends:
        try:
            y, own = alone(x, row), found[row].double()
            off = float((y - own).abs().max()) / (float(own.abs().max()) or 1.0)
            off = off if off == off else 1.0
            within = WITHIN if torch.finfo(found.dtype).eps < 1e-4 else WITHIN_HALF
            if off > within and torch.equal(y.nan_to_num(), alone(x, row).nan_to_num()):
                furthest = max(furthest, off)
        except InputError:
            return 0.0
    return furthest


def _removed(problem: Problem) -> Tensors:
    """x with every group at its baseline: elements of no group stay as they are in x."""
    if problem.groups is None:
        return problem.x0
    stays = [
        (g < 0).reshape(*g.shape, *[1] * (t.ndim - g.ndim)) for g, t in zip(problem.groups, problem.x, strict=True)
    ]
    return tuple(torch.where(s, t, t0) for s, t, t0 in zip(stays, problem.x, problem.x0, strict=True))


def not_rowwise(off: float) -> InputError:
    """The error where a function mixes the rows that it is given."""
    return InputError(
        f"The function's output in one row differs by {off:.2g} of its size from the one that this row has alone; "
        "expected a function that gives each row the output that it has alone, because scores are of one row. To "
        "explain one output of the whole batch, make the batch one row: "
        "attribute(lambda x: f(x[0])[:1], x[None], target=…)."
    )
