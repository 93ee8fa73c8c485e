"""What every method solves and what every method answers.

A `Problem` is a function, a point and a baseline: *which parts of x, compared with x0, made f what it is?*
An `Attribution` is the answer, with the number that proves it: `delta = f(x) - f(x0) - sum(values)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .errors import CutGraph, NonFiniteOutput

Tensors = tuple[Tensor, ...]
Select = Callable[[Any, Tensor], Tensor]
"""`(outputs, rows) -> one scalar per row`, where `rows` (n,) says which row of the Problem each output belongs to."""


@dataclass(frozen=True)
class Problem:
    """`f` at `x` compared with `f` at `x0`, for many independent rows at once.

    f: `(*x, *args) -> outputs`, rows first; each row of the output depends on that row of the input only.
    x, x0: tuples of float tensors (rows, ...), the input and the baseline.
    target: `outputs at x -> Select`. It is asked once, at `x`, so the target is fixed before any path is walked.
    args: what else `f` takes. A tensor whose first dimension is `rows` is indexed together with the rows.
    mask: (rows, positions), true where a position is the row's own and false where it is padding; None for all.
    groups: one per input, int64 (rows, …) of a prefix of its shape: which group of its row, from 0, each position is
        in, and −1 where it stays as it is. Numbered through all inputs. None: every element is a group of its own.
    without: `(args, keep) -> outputs`, f at x with only the positions `keep` (n, positions) left and the others
        deleted; None where removing a group puts it to its baseline.
    """

    f: Callable[..., Any]
    x: Tensors
    x0: Tensors
    target: Callable[[Any], Select]
    args: tuple[Any, ...] = ()
    mask: Tensor | None = None
    groups: Tensors | None = None
    without: Callable[[tuple[Any, ...], Tensor], Any] | None = None

    @property
    def rows(self) -> int:
        return self.x[0].shape[0]

    def outputs(self, x: Tensors, rows: Tensor | None = None) -> Any:
        """`f` at `x`, where `x[i]` belongs to row `rows[i]` of the Problem (None: one each, in order)."""
        return self.f(*x, *(self.args if rows is None else self.args_of(rows)))

    def value(self, outputs: Any, select: Select, rows: Tensor | None = None) -> Tensor:
        """The target's value (n,) in `outputs`, checked to be one finite number per row."""
        rows = torch.arange(self.rows, device=self.x[0].device) if rows is None else rows
        return finite(select(outputs, rows))

    def at(self, x: Tensors) -> Problem:
        """The same Problem with another input."""
        return replace(self, x=x)

    def fixed(self, select: Select) -> Problem:
        """The same Problem with its target already chosen."""
        return replace(self, target=lambda outputs: select)

    def repeated(self, n: int) -> Problem:
        """Every row n times, next to each other."""
        rows = torch.arange(self.rows, device=self.x[0].device).repeat_interleave(n)

        def target(outputs: Any) -> Select:
            select = self.target(outputs)
            return lambda out, which: select(out, rows[which])

        return Problem(
            self.f,
            tuple(t[rows] for t in self.x),
            tuple(t[rows] for t in self.x0),
            target,
            self.args_of(rows),
            None if self.mask is None else self.mask[rows],
            None if self.groups is None else tuple(g[rows] for g in self.groups),
            self.without,
        )

    def args_of(self, rows: Tensor) -> tuple[Any, ...]:
        """What else `f` takes for these rows."""

        def of_rows(a: Any) -> Any:
            if isinstance(a, dict):
                return {k: of_rows(v) for k, v in a.items()}
            return a[rows] if isinstance(a, Tensor) and a.ndim and a.shape[0] == self.rows else a

        return tuple(of_rows(a) for a in self.args)


@dataclass(frozen=True)
class Attribution:
    """The answer to a Problem.

    values: like `x`: what each element contributed to `output - baseline_output`.
    output, baseline_output, delta: (rows,); `delta = output - baseline_output - sum(values)`, the residual.
    passes: how many times one row went through the model.
    status: "exact", "fixed_steps", "sampled" or "converged", … : how the answer was reached.
    reduction: "sum" where an element's scores add up, "norm" where only their size has a meaning.
    outputs: what `f` returned at `x`, detached.
    error: where scores are estimated, their absolute error, (rows, positions) for texts and else like the values of
        one input: the norm of a row is the estimated error of its vector of scores.
    row_passes, row_status: where rows stop by themselves, each row's own; `passes` and `status` are then the worst.
    """

    values: Tensor | Tensors
    output: Tensor
    baseline_output: Tensor
    delta: Tensor
    passes: int
    status: str
    reduction: str = "sum"
    outputs: Any = None
    error: Tensor | Tensors | None = None
    row_passes: tuple[int, ...] | None = None
    row_status: tuple[str, ...] | None = None


def solved(
    values: Tensors,
    output: Tensor,
    baseline_output: Tensor,
    *,
    passes: int,
    status: str,
    outputs: Any,
    reduction: str = "sum",
) -> Attribution:
    """An Attribution with its residual, summed in float64 so that the proof adds no rounding of its own.

    Raises NonFiniteOutput where a value is NaN or infinite: an infinite gradient, or a model that computes NaN for
    padding.
    """
    if not all(torch.isfinite(v).all() for v in values):
        raise NonFiniteOutput(
            "The model's output is finite, but its gradient is NaN or infinite somewhere, so no attribution exists. "
            "Look for 0/0, sqrt(0) or a softmax with everything masked in its forward pass, or use another baseline."
        )
    total = torch.stack([v.double().flatten(1).sum(1) for v in values]).sum(0)
    output, baseline_output = output.detach(), baseline_output.detach()
    delta = output.double() - baseline_output.double() - total
    return Attribution(values, output, baseline_output, delta, passes, status, reduction, detached(outputs))


def finite(scalars: Tensor) -> Tensor:
    """`scalars` unchanged, or NonFiniteOutput where one of them is NaN or infinite."""
    if not torch.isfinite(scalars.detach()).all():
        row = int((~torch.isfinite(scalars.detach())).nonzero()[0, 0])
        raise NonFiniteOutput(
            f"The model's output for the target is {scalars[row].item()} in row {row}; a finite number was expected. "
            "Check the weights for NaN, or load the model in float32 if it overflows in half precision."
        )
    return scalars


def attached(scalars: Tensor) -> Tensor:
    """`scalars` unchanged, or CutGraph where autograd has nothing to follow."""
    if not scalars.requires_grad:
        raise CutGraph(
            "The output does not depend on the input through autograd. A forward function must return what the model "
            "computed: return `out[:, 1]`, not `torch.tensor(out[0][1])`, and do not call .detach(), .item() or "
            ".numpy(), or use torch.no_grad(), on the way."
        )
    return scalars


def detached(outputs: Any) -> Any:
    """`outputs` with every tensor detached from its graph; tuples, lists and mappings keep their type."""
    if isinstance(outputs, Tensor):
        return outputs.detach()
    if isinstance(outputs, dict):
        return {k: detached(v) for k, v in outputs.items()}
    if isinstance(outputs, (tuple, list)):
        return tuple(detached(v) for v in outputs)
    return outputs
