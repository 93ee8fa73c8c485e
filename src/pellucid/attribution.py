"""An Attribution: the answer to a Problem for one of its targets, with its residual and what that residual is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import NonFiniteOutput
from .notebook import Displayed, Printed, Sheet, card
from .number_text import decimals, plain, signed
from .problem import Outputs, Seen, Tensors, by_row, detached
from .status import Status, combined, graded

if TYPE_CHECKING:
    from rich.console import RenderableType

_ROWS, _ELEMENTS, _PRINTED = 10, 8, 3
"""So many rows are shown, and so many elements of each; so many where it is printed."""
_HEADS = ("row", "output", "baseline", "sum", "delta", "largest values")


@dataclass(frozen=True)
class Attribution(Displayed, Printed):
    """The answer to a Problem, for one of its targets.

    Examples:
        >>> import torch
        >>> a = pellucid.attribute(lambda x: x.prod(-1), torch.tensor([[2.0, 3.0]]), torch.tensor([[0.0, 0.0]]))
        >>> a.values, a.output, a.delta.tolist(), a.status.value
        (tensor([[3., 3.]]), tensor([6.]), [0.0], 'exact')
        >>> print(a)
        values (1, 2) · status exact · passes 2
        <BLANKLINE>
        row  output  baseline     sum  delta  largest values
        0     6.000         0  +6.000      0  [0] +3.000   [1] +3.000
        <BLANKLINE>
        The scores add up to the change in the output; what is left over is rounding.

    values: like x: what each element contributed to `output - baseline_output`. Where the Problem has a mask they may
        be summed over the dimensions after the positions: (rows, positions).
    output, baseline_output: (rows,) the target's value at x and at x0.
    delta: (rows,) the residual, `output - baseline_output - sum(values)`.
    passes: how many times one row went through the model.
    status: how the answer was obtained, and whether it adds up.
    reduction: "sum" where the values of a token add up to its score, "norm" where only their size has a meaning.
    outputs: what f returned at x, detached.
    error: where values are estimated, their absolute error: (rows, positions) for texts, and else like the values of
        one input. The norm of a row is the estimated error of the row's vector of scores.
    inside: for each tensor inside f that was asked for, its kind and what its elements contributed, in the first
        `Seen.dims` dimensions.
    row_passes, row_status: the passes and the status of each row, where rows differ. `passes` is then the largest of
        them, and `status` the one that claims least.
    notes: short sentences about what a reader must know.
    """

    values: Float[Tensor, "rows ..."] | tuple[Float[Tensor, "rows ..."], ...]
    output: Float[Tensor, " rows"]
    baseline_output: Float[Tensor, " rows"]
    delta: Float[Tensor, " rows"]
    passes: int
    status: Status
    reduction: str = "sum"
    outputs: Outputs = None
    error: Tensor | Tensors | None = None
    row_passes: tuple[int, ...] | None = None
    row_status: tuple[Status, ...] | None = None
    inside: tuple[tuple[str, Tensor], ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """One line; `print` shows what `show` does."""
        return (
            f"Attribution({self._told()[0]}; output {_written(self.output)}, delta {float(self.delta.abs().max()):.1e})"
        )

    def __rich__(self) -> RenderableType:
        from .render.terminal import draw_attribution

        rows = [(numbers, best[:_PRINTED]) for numbers, best in self._rows()]
        return draw_attribution(self._told(), _HEADS, rows, (self.status.message, *self._rest()))

    def _sheet(self) -> Sheet:
        each = [(*numbers, "   ".join(best)) for numbers, best in self._rows()]
        facts = [fact.split(" ", 1) for fact in self._told()]
        told = (f"Attribution: {self.status.message}", *self._rest())
        return Sheet(lambda: card("Attribution", [(name, said) for name, said in facts], _HEADS, each), told=told)

    def _told(self) -> tuple[str, ...]:
        shapes = " and ".join(str(tuple(v.shape)) for v in several(self.values))
        return f"values {shapes}", f"status {self.status}", f"passes {self.passes}"

    def _rows(self) -> list[tuple[tuple[str, ...], list[str]]]:
        """The numbers and the largest values of each of the first rows, by `_HEADS`."""
        values = several(self.values)
        totals = [sum(float(v[i].double().sum()) for v in values) for i in range(min(_ROWS, len(self.output)))]
        ends = (t[: len(totals)].double().tolist() for t in (self.output, self.baseline_output, self.delta))
        found: list[tuple[tuple[str, ...], list[str]]] = []
        for i, (total, y, y0, delta) in enumerate(zip(totals, *ends, strict=True)):
            told = (plain(y, decimals(y)), plain(y0, decimals(y0)), signed(total, decimals(total)), signed(delta, 3))
            found.append(((str(i), *told), _strongest(values, i)))
        return found

    def _rest(self) -> tuple[str, ...]:
        rows = len(self.output)
        return (*self.notes, *([f"… and {rows - _ROWS} more rows of {rows}"] if rows > _ROWS else []))


def _strongest(values: Tensors, row: int) -> list[str]:
    """The elements of a row that are largest in size: the place of each in its tensor, and its value."""
    found: list[tuple[float, str]] = []
    for k, tensor in enumerate(values):
        own = tensor[row].detach().double()
        top = own.abs().flatten().topk(min(_ELEMENTS, own.numel())).indices
        for at, value in zip(top.tolist(), own.flatten()[top].tolist(), strict=True):
            place = [int(n) for n in torch.unravel_index(torch.tensor(at), own.shape)] if own.ndim else []
            name = f"{k}:" if len(values) > 1 else ""
            found.append((value, f"[{name}{','.join(map(str, place))}]" if place or name else ""))
    best = sorted(found, key=lambda element: -abs(element[0]))[:_ELEMENTS]
    return [f"{place} {signed(value, decimals(value))}".strip() for value, place in best]


def _written(outputs: Tensor) -> str:
    """The first numbers of a tensor in one line."""
    first = [plain(y, decimals(y)) for y in outputs[:4].double().tolist()]
    return f"[{', '.join(first)}{', …' if len(outputs) > 4 else ''}]"


Attributions = tuple[Attribution, ...]
"""One for each target of a Problem."""


def solved(
    values: Tensors,
    output: Tensor,
    baseline_output: Tensor,
    *,
    passes: int,
    status: Status,
    outputs: Outputs,
    reduction: str = "sum",
    inside: tuple[tuple[str, Tensor], ...] = (),
) -> Attribution:
    """Makes an Attribution and its residual, which is summed in float64 so that the sum adds no rounding of its own.

    status: how the values were obtained. `Status.EXACT` is a claim: it stays only for rows whose residual is no more
        than rounding of the change in the output (`status.graded`).
    The other parameters are the fields of an Attribution.

    Raises NonFiniteOutput where a value is NaN or infinite: an infinite gradient, or a model that computes NaN for
    padding.
    """
    if not all(torch.isfinite(v).all() for v in values):
        raise NonFiniteOutput(
            "The model's output is finite, but its gradient is NaN or infinite somewhere, so no attribution exists. "
            "Look for 0/0, sqrt(0) or a softmax with everything masked in its forward pass, or use another baseline; "
            "in float16, which overflows, use bfloat16 or float32."
        )
    total = torch.stack([by_row(v.double()).sum(1) for v in values]).sum(0)
    output, baseline_output = output.detach(), baseline_output.detach()
    delta = output.double() - baseline_output.double() - total
    answer = Attribution(
        values,
        output,
        baseline_output,
        delta,
        passes,
        status,
        reduction,
        detached(outputs),
        inside=inside,
    )
    return with_status(answer, [status] * len(delta))


def several(values: Tensor | Tensors) -> Tensors:
    """The values as a tuple, of one where there is one tensor."""
    return values if isinstance(values, tuple) else (values,)


def sizes(answer: Attribution) -> Float[Tensor, " rows"]:
    """Σ|values| of each row, in float64."""
    return torch.stack([by_row(v).double().abs().sum(1) for v in several(answer.values)]).sum(0)


def with_status(answer: Attribution, claimed: Sequence[Status]) -> Attribution:
    """The same answer with the claimed status of each row; "exact" stays only where the row's residual confirms it."""
    statuses = list(claimed)
    if Status.EXACT in statuses:
        y, y0 = answer.output.double(), answer.baseline_output.double()
        values, size = several(answer.values), sizes(answer)
        ends = torch.maximum(y.abs(), y0.abs())
        largest = torch.maximum(ends, size)
        size = torch.minimum(size, ends.clamp_min(1.0))
        dtype = max((v.dtype for v in (*values, answer.output)), key=lambda d: torch.finfo(d).eps)
        precision, rounding = str(dtype).removeprefix("torch."), torch.finfo(dtype).eps ** 0.5
        ulps = torch.finfo(answer.output.dtype).eps * ends
        rows = zip(statuses, *(t.tolist() for t in (answer.delta, y - y0, size, largest, ulps)), strict=True)
        statuses = [
            graded(delta, change, much, most, precision, rounding, ulp) if s is Status.EXACT else s
            for s, delta, change, much, most, ulp in rows
        ]
    differ = len(set(statuses)) > 1
    return replace(answer, status=combined(statuses), row_status=tuple(statuses) if differ else None)


def doubted(answer: Attribution, *notes: str) -> Attribution:
    """The answer with notes on why its scores say less than that they add up: what was to be exact, or to a tolerance,
    is inexact."""
    sure = lambda s: Status.INEXACT if s in (Status.EXACT, Status.ROUNDED, Status.CONVERGED) else s
    rows = answer.row_status and tuple(map(sure, answer.row_status))
    noted = tuple(dict.fromkeys((*answer.notes, *notes)))
    return replace(answer, status=sure(answer.status), row_status=rows, notes=noted)


def contributed(m: Tensor, change: Tensor, seen: Seen) -> Tensor:
    """m·change, both like `seen.value`, summed over the dimensions after the first `seen.dims`; in float64."""
    if seen.value.ndim == seen.dims:
        return (m * change).double()
    return torch.linalg.vecdot(m.flatten(seen.dims), change.flatten(seen.dims)).double()
