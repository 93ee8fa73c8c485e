"""What every method solves and what every method answers.

A `Problem` is a function, a point and a baseline: *which parts of x, compared with x0, made f what it is?*
An `Attribution` is the answer, with the number that proves it: `delta = f(x) - f(x0) - sum(values)`. A Problem may ask
for several targets at once, and has one Attribution for each: they share every forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .errors import CutGraph, NonFiniteOutput
from .randomness import Draws
from .status import Status, combined, graded

Tensors = tuple[Tensor, ...]
Select = Callable[[Any, Tensor], Tensor]
"""`(outputs, rows) -> one scalar per row`, where `rows` (n,) says which row of the Problem each output belongs to."""


@dataclass(frozen=True)
class Seen:
    """A tensor that `f` computed on its way, rows first. kind: "layer" or "attention". dims: how many of its dimensions
    its contributions keep; those after them are summed."""

    kind: str
    value: Tensor
    dims: int


@dataclass(frozen=True)
class Problem:
    """`f` at `x` compared with `f` at `x0`, for many independent rows at once.

    f: `(*x, *args) -> outputs`, rows first; each row of the output depends on that row of the input only.
    x, x0: tuples of float tensors (rows, ...), the input and the baseline.
    target: `outputs at x -> Select`, or a tuple of them for several targets. It is asked once, at `x`, so the target is
        fixed before any path is walked.
    args: what else `f` takes. A tensor whose first dimension is `rows` is indexed together with the rows.
    mask: (rows, positions), true where a position is the row's own and false where it is padding; None for all.
    groups: one per input, int64 (rows, …) of a prefix of its shape: which group of its row, from 0, each position is
        in, and −1 where it stays as it is. Numbered through all inputs. None: every element is a group of its own.
    without: `(args, keep) -> outputs`, f at x with only the positions `keep` (n, positions) left and the others
        deleted; None where removing a group puts it to its baseline.
    watch: a context that collects, in the order in which `f` computes them, the tensors inside that are also asked for.
    source: (rows,) where rows share their x, because it is compared with several baselines: which of the inputs, from
        0, a row is about. The target is then asked with the outputs at those inputs, one row each. None: a row each.
    resumed: `(x, rows, first, outputs at x) -> outputs`, as `outputs` with one input, where x[i] is like its row's own
        x before its position first[i]: what is before it is computed once for a row. None where it cannot be shared.
    model: what `f` runs, where rows are known to pass through it without a look at each other, so that x and x0 may
        share a batch. None for any other function.
    token_of: (rows, positions) the token, by its column, that each position's score belongs to; None where the
        positions are the tokens.
    own_tokens: (rows, tokens) which tokens are a row's own, where the positions are not the tokens.
    notes: short sentences about what a reader of the answer must know.
    elements: how many numbers a row takes inside `f`, where x does not tell; those of x where None.
    draws: whether `f` has been found to draw random numbers; shared by all Problems that are made from this one. Each
        pass begins with the state that torch's generators have, and leaves it.
    """

    f: Callable[..., Any]
    x: Tensors
    x0: Tensors
    target: Callable[[Any], Select | tuple[Select, ...]]
    args: tuple[Any, ...] = ()
    mask: Tensor | None = None
    groups: Tensors | None = None
    without: Callable[[tuple[Any, ...], Tensor], Any] | None = None
    watch: Callable[[], AbstractContextManager[list[Seen]]] | None = None
    source: Tensor | None = None
    resumed: Callable[[Tensor, Tensor, Tensor, Any], Any] | None = None
    model: Any = None
    token_of: Tensor | None = None
    own_tokens: Tensor | None = None
    notes: tuple[str, ...] = ()
    elements: int | None = None
    draws: Draws = field(default_factory=Draws, compare=False)

    @property
    def tokens(self) -> Tensor | None:
        """(rows, tokens), true where a token is the row's own and false where it is padding."""
        return self.mask if self.token_of is None else self.own_tokens

    @property
    def rows(self) -> int:
        return self.x[0].shape[0]

    def outputs(self, x: Tensors, rows: Tensor | None = None) -> Any:
        """`f` at `x`, where `x[i]` belongs to row `rows[i]` of the Problem (None: one each, in order)."""
        whole = lambda: self.f(*x, *(self.args if rows is None else self.args_of(rows)))
        one = lambda i: self.f(*(t[i : i + 1] for t in x), *self.args_of(self._row(rows, i)))
        return self.draws.passed(whole, one, len(x[0]), x[0].device, lambda: self._is_apart(rows))

    def deleted(self, rows: Tensor, keep: Tensor) -> Any:
        """`without` of the positions `keep` (n, positions) of row `rows[i]`."""
        assert self.without is not None
        run = self.without
        one = lambda i: run(self.args_of(rows[i : i + 1]), keep[i : i + 1])
        whole = lambda: run(self.args_of(rows), keep)
        return self.draws.passed(whole, one, len(rows), keep.device, lambda: self._is_apart(rows))

    def _row(self, rows: Tensor | None, i: int) -> Tensor:
        return torch.tensor([i], device=self.x[0].device) if rows is None else rows[i : i + 1]

    def _is_apart(self, rows: Tensor | None) -> bool:
        """Whether a row by itself would run as it does alone: no padding with it, and nothing inside to collect."""
        whole = self.mask is None or bool((self.mask if rows is None else self.mask[rows]).all())
        return whole and self.watch is None

    def selects(self, outputs: Any) -> tuple[Select, ...]:
        """The targets, fixed by the outputs at `x`."""
        found = self.target(outputs)
        return found if isinstance(found, tuple) else (found,)

    def watching(self) -> AbstractContextManager[list[Seen]]:
        """What is collected inside; nothing where nothing is asked for."""
        return nullcontext([]) if self.watch is None else self.watch()

    def value(self, outputs: Any, select: Select, rows: Tensor | None = None) -> Tensor:
        """The target's value (n,) in `outputs`, checked to be one finite number per row."""
        rows = torch.arange(self.rows, device=self.x[0].device) if rows is None else rows
        return finite(select(outputs, rows))

    def both(self) -> tuple[Tensors, Tensor]:
        """x and then x0 as the points of one batch, and which row each point belongs to."""
        rows = torch.arange(self.rows, device=self.x[0].device)
        return tuple(torch.cat(ends) for ends in zip(self.x, self.x0, strict=True)), torch.cat((rows, rows))

    def at(self, x: Tensors) -> Problem:
        """The same Problem with other inputs, its targets `fixed`."""
        return replace(self, x=x, source=None, resumed=None)

    def against(self, rows: Tensor, x0: Tensors) -> Problem:
        """Row `rows[i]` compared with `x0[i]`, so an input with any number of baselines; every row at least once."""
        source = rows if self.source is None else self.source[rows]
        return replace(self.taken(rows), x0=x0, source=source)

    def firsts(self) -> Tensor | None:
        """The first row (inputs,) of each input; None where every row has its own."""
        if self.source is None:
            return None
        own = self.source.tolist()
        return torch.tensor([own.index(i) for i in range(max(own) + 1)], device=self.source.device)

    def fixed(self, *selects: Select) -> Problem:
        """The same Problem with its targets already chosen."""
        return replace(self, target=lambda outputs: selects)

    def repeated(self, n: int) -> Problem:
        """Every row n times, next to each other, its targets `fixed`."""
        return self.taken(torch.arange(self.rows, device=self.x[0].device).repeat_interleave(n))

    def taken(self, rows: Tensor) -> Problem:
        """Any rows in any number and order, each with an input of its own, its targets `fixed`."""

        def target(outputs: Any) -> tuple[Select, ...]:
            return tuple(lambda out, which, select=s: select(out, rows[which]) for s in self.selects(outputs))

        of_rows = lambda t: None if t is None else t[rows]
        return replace(
            self,
            x=tuple(t[rows] for t in self.x),
            x0=tuple(t[rows] for t in self.x0),
            target=target,
            args=self.args_of(rows),
            mask=of_rows(self.mask),
            groups=None if self.groups is None else tuple(g[rows] for g in self.groups),
            source=None,
            resumed=None,
            token_of=of_rows(self.token_of),
            own_tokens=of_rows(self.own_tokens),
        )

    def args_of(self, rows: Tensor) -> tuple[Any, ...]:
        """What else `f` takes for these rows."""

        return picked(self.args, rows, self.rows)


@dataclass(frozen=True)
class Attribution:
    """The answer to a Problem, for one of its targets.

    values: like `x`: what each element contributed to `output - baseline_output`. Where the Problem has a mask they may
        be summed over what comes after the positions: (rows, positions).
    output, baseline_output, delta: (rows,); `delta = output - baseline_output - sum(values)`, the residual.
    passes: how many times one row went through the model.
    status: a member of `Status`: how the answer was obtained, and whether it adds up.
    reduction: "sum" where an element's scores add up, "norm" where only their size has a meaning.
    outputs: what `f` returned at `x`, detached.
    error: where scores are estimated, their absolute error, (rows, positions) for texts and else like the values of
        one input: the norm of a row is the estimated error of its vector of scores.
    inside: for each tensor that was watched its kind, and what its elements contributed, in its first `Seen.dims`
        dimensions.
    row_passes, row_status: where they differ from row to row, each row's own; `passes` is then the largest, `status`
        the one that says least.
    notes: short sentences about what a reader must know.
    """

    values: Tensor | Tensors
    output: Tensor
    baseline_output: Tensor
    delta: Tensor
    passes: int
    status: Status
    reduction: str = "sum"
    outputs: Any = None
    error: Tensor | Tensors | None = None
    row_passes: tuple[int, ...] | None = None
    row_status: tuple[Status, ...] | None = None
    inside: tuple[tuple[str, Tensor], ...] = ()
    notes: tuple[str, ...] = ()


Attributions = tuple[Attribution, ...]
"""One for each target of a Problem."""


def solved(
    values: Tensors,
    output: Tensor,
    baseline_output: Tensor,
    *,
    passes: int,
    status: Status,
    outputs: Any,
    reduction: str = "sum",
    inside: tuple[tuple[str, Tensor], ...] = (),
) -> Attribution:
    """An Attribution with its residual, summed in float64 so that the proof adds no rounding of its own.

    status: how the scores were obtained. `Status.EXACT` is a claim, and holds only for the rows whose residual is
    rounding of the change in the output (`status.graded`).

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


def with_status(answer: Attribution, claimed: Sequence[Status]) -> Attribution:
    """The same answer with a status for each row; "exact" is kept where the row's residual says so."""
    statuses = list(claimed)
    if Status.EXACT in statuses:
        y, y0 = answer.output.double(), answer.baseline_output.double()
        values = answer.values if isinstance(answer.values, tuple) else (answer.values,)
        size = torch.stack([by_row(v).double().abs().sum(1) for v in values]).sum(0)
        largest = torch.maximum(torch.maximum(y.abs(), y0.abs()), size)
        dtype = max((v.dtype for v in (*values, answer.output)), key=lambda d: torch.finfo(d).eps)
        precision, rounding = str(dtype).removeprefix("torch."), torch.finfo(dtype).eps ** 0.5
        rows = zip(statuses, *(t.tolist() for t in (answer.delta, y - y0, size, largest)), strict=True)
        statuses = [
            graded(delta, change, much, most, precision, rounding) if s is Status.EXACT else s
            for s, delta, change, much, most in rows
        ]
    differ = len(set(statuses)) > 1
    return replace(answer, status=combined(statuses), row_status=tuple(statuses) if differ else None)


def contributed(m: Tensor, change: Tensor, seen: Seen) -> Tensor:
    """m·change, both like `seen.value`, with the dimensions that nobody asked for summed; in float64."""
    if seen.value.ndim == seen.dims:
        return (m * change).double()
    return torch.linalg.vecdot(m.flatten(seen.dims), change.flatten(seen.dims)).double()


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
    """`outputs` with every tensor detached from its graph."""
    return mapped(Tensor.detach, outputs)


def by_row(t: Tensor) -> Tensor:
    """(rows, …) → (rows, elements), also where a row is a single number: (rows,) → (rows, 1)."""
    return t.unsqueeze(-1).flatten(1)


def picked(tree: Any, rows: Tensor, n: int) -> Any:
    """These rows of every tensor that has `n`; what else there is stays."""
    return mapped(lambda t: t[rows] if t.ndim and t.shape[0] == n else t, tree)


def mapped(change: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Every tensor of a nest changed; mappings become dicts, a named tuple keeps its names."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, dict):
        return {k: mapped(change, v) for k, v in tree.items()}
    if isinstance(tree, (tuple, list)):
        each = [mapped(change, v) for v in tree]
        make = getattr(tree, "_make", tuple)
        return each if isinstance(tree, list) else make(each)
    return tree
