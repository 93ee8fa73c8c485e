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
from ..errors import OF_A_FUNCTION, InputError, PellucidError, shortened
from ..problem import Found, Function, Outputs, Problem, Tensors, detached, picked
from .groups import removed
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
        except OF_A_FUNCTION as error:
            memory = isinstance(error, RuntimeError) and out_of_memory(error)
            beyond = isinstance(error, IndexError) and not all(t.is_floating_point() for t in x)
            if isinstance(error, PellucidError) or memory or beyond:
                raise
            raise self._tied(n, f"{type(error).__name__}: {shortened(str(error).strip(), 120)}") from error
        followed = isinstance(out, Tensor) and (out.requires_grad or not torch.is_grad_enabled())
        if followed and out.ndim and out.shape[0] == self.rows:
            raise self._tied(n, f"it returned the shape {tuple(out.shape)}")
        if n > 1:
            with torch.no_grad(), torch._C.DisableTorchFunction():
                row = torch.tensor([n // 2], device=x[0].device)
                one = detached(picked(x, row, n))
                self.found.among = detached(picked(out, row, n)), lambda: self.f(*one)
        return out

    def _tied(self, n: int, found: str) -> InputError:
        return InputError(
            f"The function takes {self.rows} rows, and not {n}: {found}. Expected a function of any number of rows. If "
            "it holds a tensor with a value for each row, pass that as an argument of its own, which is cut with the "
            "rows: attribute(f, x, x0, args=(y,)) for f(x, y)."
        )


def _within(dtype: torch.dtype) -> float:
    return WITHIN_HALF if dtype in (torch.float16, torch.bfloat16) else WITHIN


def near(a: Tensor, b: Tensor) -> bool:
    """Whether outputs differ by no more than rounding, relative to the largest of them."""
    if torch.equal(a, b):
        return True
    return torch.dist(a, b, torch.inf).item() <= _within(a.dtype) * (
        torch.linalg.vector_norm(b, torch.inf).item() or 1.0
    )


def mixed(problem: Problem, answer: Attribution) -> float:
    """How far the output of a row beside others is from the one that the row has alone, relative to its size; 0 where
    that is rounding, where f draws at random, or where f takes no single row.

    It is looked at in the first and the last row of the answer, at the input, and at the baseline where f ran on other
    numbers of rows than the user gave; of a single row in a batch with a point between input and baseline. Where f
    gives two answers to one input, `Found.varies` is set.
    """
    if problem.draws.apart:
        return 0.0
    select = problem.selects(answer.outputs)[0]

    def values(x: Tensors, rows: Tensor) -> Tensor:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of a standard deviation of one number
            return select(problem.outputs(x, rows), rows).double()

    def at(x: Tensors, row: int) -> tuple[Tensors, Tensor]:
        which = torch.tensor([row % problem.rows], device=x[0].device)
        return tuple(t[which] for t in x), which

    several, packed = len(answer.output) > 1, problem.found.packed
    ends = [(*at(problem.x, row), answer.output[row : row + 1 or None]) for row in ((0, -1) if several else (-1,))]
    if packed and problem.source is None:  # of a sample of baselines the output is the mean
        ends.append((*at(removed(problem), -1), answer.baseline_output[-1:]))
    furthest = 0.0
    try:
        if packed and not several:
            (x, row, y), between = ends[0], at(_between(problem), 0)[0]
            pair = tuple(map(torch.cat, zip(x, between, strict=True)))
            y = values(pair, row.repeat(2)).to(y.dtype)
            ends += [(x, row, y[:1]), (between, row, y[1:])]
        for x, row, found in ends:
            own = values(x, row)
            off = float((own - found.double()).abs().max()) / (float(own.abs().max()) or 1.0)
            off = off if off == off else 1.0
            if off <= _within(found.dtype):
                continue
            if torch.equal(own.nan_to_num(), values(x, row).nan_to_num()):
                furthest = max(furthest, off)
            else:
                problem.found.varies = True
        return max(furthest, _among(problem.found))
    except InputError:  # f takes no such number of rows
        return furthest


def _among(found: Found) -> float:
    """How far what f returned for a row among others is from what it returns for the row alone; 0 for rounding."""
    if found.among is None:
        return 0.0
    there, again = found.among
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = again()
    if not isinstance(there, Tensor) or not isinstance(alone, Tensor) or alone.numel() != there.numel():
        return 0.0
    a, b = alone.detach().double().view(-1), there.double().view(-1)
    off = float((a - b).nan_to_num().abs().max()) / (float(a.nan_to_num().abs().max()) or 1.0)
    if off <= _within(alone.dtype):
        return 0.0
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same = torch.equal(again().detach().double().view(-1).nan_to_num(), a.nan_to_num())
    found.varies = found.varies or not same
    return off if same else 0.0


def _between(problem: Problem) -> Tensors:
    """A point between x and x0 that is neither, where x holds numbers; x0 where it holds ids."""
    return tuple(
        torch.lerp(b, a, 0.3) if a.is_floating_point() else b for a, b in zip(problem.x, removed(problem), strict=True)
    )


def not_rowwise(off: float) -> InputError:
    """The error where a function mixes the rows that it is given."""
    return InputError(
        f"The function's output in one row differs by {off:.2g} of its size from the one that this row has alone; "
        "expected a function that gives each row the output that it has alone, because scores are of one row. To "
        "explain one output of the whole batch, make the batch one row: "
        "attribute(lambda x: f(x[0])[:1], x[None], target=…)."
    )
