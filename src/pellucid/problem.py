"""`Problem`: the function, the input and the baseline that a method is given.

A `Problem` is a function f, an input x and a baseline x0: *which elements of x, compared with x0, made f(x) what it
is?* An `Attribution` is the answer, with the number that proves it: `delta = f(x) - f(x0) - sum(values)`. A Problem may
ask for several targets at once. It then has one Attribution for each, and they share every forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from .errors import CutGraph, NonFiniteOutput, UnknownTarget
from .randomness import Draws, Outputs

Tensors: TypeAlias = tuple[Tensor, ...]
Arguments: TypeAlias = tuple[Any, ...]
"""What a function takes besides its inputs: tensors, nests of them, and anything else."""
Function: TypeAlias = Callable[..., Outputs]
"""`(*x, *args) -> outputs`."""
Select: TypeAlias = Callable[[Outputs, Tensor], Tensor]
"""`(outputs, rows) -> one scalar per row`, where `rows` (n,) says which row of the Problem each output belongs to."""

Rows: TypeAlias = tuple[Shaped[Tensor, "rows ..."], ...]
"""The inputs of a function, rows first."""

PER_ROW = {"rows": "per row"}
"""The metadata of a Problem's field that holds something for each row: `taken` indexes it."""
SHARED = {"rows": "shared"}
"""The metadata of a Problem's field that is the same for all rows: `taken` keeps it as it is."""
BY_ROWS = {"rows": "by rows"}
"""The metadata of a Problem's field that refers to rows by their numbers: `taken` translates the numbers."""


@dataclass(frozen=True)
class Seen:
    """A tensor that f computed on its way, rows first.

    kind: "layer" or "attention".
    dims: how many of its leading dimensions its contributions keep; the dimensions after them are summed.
    """

    kind: str
    value: Float[Tensor, "rows ..."]
    dims: int


@dataclass
class Found:
    """What has been found about a function while it ran, shared by all Problems about the function.

    mixes_halves: the graph of a batch that holds x and x0 does not keep the two apart, so they go one by one. packed:
    it ran on another number of rows than the user gave. loses: a pass of it that takes a gradient made a value without
    one of a value that has one. cuts: notes on its paths that carry no gradient; None where nobody has looked.
    varies: it gave two answers to one input. among: what it returned for one row among other numbers of rows than the
    user gave, and a call that returns it for this row alone.
    """

    mixes_halves: bool = False
    packed: bool = False
    loses: bool = False
    cuts: tuple[str, ...] | None = None
    varies: bool = False
    among: tuple[Outputs, Callable[[], Outputs]] | None = None


@dataclass(frozen=True)
class Problem:
    """f at x compared with f at x0, for many independent rows at once.

    Examples:
        >>> x, x0 = torch.tensor([[2.0, 3.0]]), torch.tensor([[0.0, 1.0]])
        >>> problem = Problem(lambda x: x.square(), (x,), (x0,), lambda outputs: lambda out, rows: out.sum(-1))
        >>> (attribution,) = pellucid.METHODS["deeplift"].solve(problem)
        >>> attribution.values[0], attribution.output - attribution.baseline_output
        (tensor([[4., 8.]]), tensor([12.]))

    f: `(*x, *args) -> outputs`, rows first. Each row of the outputs depends on the same row of the inputs only.
    x, x0: the input and the baseline, each a tuple of tensors (rows, …).
    target: `outputs at x -> Select`, or a tuple of them for several targets. It is asked once, at x, so that the target
        is fixed before any path is walked.
    args: what else f takes. A tensor whose first dimension is `rows` is indexed together with the rows.
    mask: (rows, positions), true where a position belongs to the row and false where it is padding; None where all
        positions belong to their rows.
    groups: for each input an int64 tensor (rows, …) of a prefix of the input's shape, with the number of the group that
        a position is in. Numbers count from 0 in each row, through all inputs; −1 marks a position that is never
        removed. None: every element is a group of its own.
    without: `(args, keep) -> outputs`, f at x with only the positions `keep` (n, positions) left and the others
        deleted; None where removing a group puts it to its baseline.
    watch: makes a context that collects the tensors inside f that are asked for too, in the order in which f computes
        them.
    source: (rows,) the input, counted from 0, that a row is about. It is set where several rows share an x, because it
        is compared with several baselines; the target is then asked with the outputs at the inputs, one row for each
        input. None: each row has an input of its own.
    resumed: `(x, rows, first, outputs at x) -> outputs`, as the method `outputs` with one input, but f need not compute
        what comes before position first[i] of x[i], where x[i] equals the input of its row: it is computed once for a
        row. None where f cannot share it.
    model: what f runs, where it is known that the rows of a batch do not influence each other, so that x and x0 may
        share a batch. None for any other function.
    layers: the layers that f calls, where it is known: its graph may be cut there, where it is too large.
    token_of: (rows, positions) the column of the token that a position's score belongs to; None where the positions are
        the tokens.
    own_tokens: (rows, tokens) true where a token belongs to the row, where the positions are not the tokens.
    notes: short sentences about what a reader of the answer must know.
    elements: how many numbers a row takes inside f, for the size of a batch; None: as many as in x.
    draws: whether f has been found to draw random numbers, shared by all Problems that are made from this one. Each
        pass begins with the state that torch's generators have, and leaves that state.
    found: what else has been found about f, shared likewise; by `explain` between all calls with one model.
    """

    f: Function = field(metadata=SHARED)
    x: Rows = field(metadata=PER_ROW)
    x0: Rows = field(metadata=PER_ROW)
    target: Callable[[Outputs], Select | tuple[Select, ...]] = field(metadata=BY_ROWS)
    args: Arguments = field(default=(), metadata=PER_ROW)
    mask: Bool[Tensor, "rows positions"] | None = field(default=None, metadata=PER_ROW)
    groups: tuple[Int[Tensor, "rows ..."], ...] | None = field(default=None, metadata=PER_ROW)
    without: Callable[[Arguments, Tensor], Outputs] | None = field(default=None, metadata=SHARED)
    watch: Callable[[], AbstractContextManager[list[Seen]]] | None = field(default=None, metadata=SHARED)
    source: Int[Tensor, " rows"] | None = field(default=None, metadata=BY_ROWS)
    resumed: Callable[[Tensor, Tensor, Tensor, Outputs], Outputs] | None = field(default=None, metadata=BY_ROWS)
    model: object = field(default=None, metadata=SHARED)
    layers: tuple[nn.Module, ...] = field(default=(), metadata=SHARED)
    token_of: Int[Tensor, "rows positions"] | None = field(default=None, metadata=PER_ROW)
    own_tokens: Bool[Tensor, "rows tokens"] | None = field(default=None, metadata=PER_ROW)
    notes: tuple[str, ...] = field(default=(), metadata=SHARED)
    elements: int | None = field(default=None, metadata=SHARED)
    draws: Draws = field(default_factory=Draws, compare=False, metadata=SHARED)
    found: Found = field(default_factory=Found, compare=False, metadata=SHARED)

    @property
    def tokens(self) -> Tensor | None:
        """(rows, tokens), true where a token belongs to the row and false where it is padding."""
        return self.mask if self.token_of is None else self.own_tokens

    @property
    def rows(self) -> int:
        return self.x[0].shape[0]

    @cached_property
    def numbers(self) -> Int[Tensor, " rows"]:
        """The number of each row."""
        with torch._C.DisableTorchFunction():  # a pass that is recorded need not record this
            return torch.arange(self.rows, device=self.x[0].device)

    def drawn(self, x: Tensors, rows: Tensor | None = None) -> Outputs:
        """As `outputs`, with whatever random numbers the pass draws, of which nothing is noted."""
        return self.f(*x, *(self.args if rows is None else self.args_of(rows)))

    def outputs(self, x: Tensors, rows: Tensor | None = None) -> Outputs:
        """f at the points `x`, where x[i] belongs to row rows[i] of the Problem; None: one point for each row."""
        whole = lambda: self.drawn(x, rows)
        one = lambda i: self.f(*(t[i : i + 1] for t in x), *self.args_of(self._row(rows, i)))
        with torch._C.DisableTorchFunction():
            n, device = x[0].shape[0], x[0].device
        return self.draws.passed(whole, one, n, device, lambda: self._is_apart(rows))

    def deleted(self, rows: Tensor, keep: Tensor) -> Outputs:
        """f at x of row rows[i] with only the positions keep[i] left, for `rows` (n,) and `keep` (n, positions)."""
        assert self.without is not None
        run = self.without
        one = lambda i: run(self.args_of(rows[i : i + 1]), keep[i : i + 1])
        whole = lambda: run(self.args_of(rows), keep)
        return self.draws.passed(whole, one, len(rows), keep.device, lambda: self._is_apart(rows))

    def _row(self, rows: Tensor | None, i: int) -> Tensor:
        return torch.tensor([i], device=self.x[0].device) if rows is None else rows[i : i + 1]

    def _is_apart(self, rows: Tensor | None) -> bool:
        """Whether each of the rows, run by itself, is what it would be alone: it has no padding, and no tensors inside
        f are collected."""
        whole = self.mask is None or bool((self.mask if rows is None else self.mask[rows]).all())
        return whole and self.watch is None

    def selects(self, outputs: Outputs) -> tuple[Select, ...]:
        """The targets, fixed by the outputs at x."""
        found = self.target(outputs)
        return found if isinstance(found, tuple) else (found,)

    def watching(self) -> AbstractContextManager[list[Seen]]:
        """A context that collects the tensors inside f; an empty list where none are asked for."""
        return nullcontext([]) if self.watch is None else self.watch()

    def value(
        self, outputs: Outputs, select: Select, rows: Int[Tensor, " n"] | None = None, place: Place = "path"
    ) -> Float[Tensor, " n"]:
        """The value of one target (n,) in `outputs`. place: where the points of the outputs are, for an error.

        Raises NonFiniteOutput where the value is NaN or infinite, UnknownTarget where it is a complex number.
        """
        rows = self.numbers if rows is None else rows
        scalars = select(outputs, rows)
        with torch._C.DisableTorchFunction():
            return finite(scalars, place, rows.shape[0] - self.rows)

    def both(self) -> tuple[tuple[Shaped[Tensor, "points ..."], ...], Int[Tensor, " points"]]:
        """The points of one batch, the x of each input and then all x0, and the row that each point belongs to."""
        rows, first = self.numbers, self.firsts()
        ends = lambda t, t0: torch.cat((t if first is None else t[first], t0))
        return tuple(map(ends, self.x, self.x0)), ends(rows, rows)

    def at(self, x: Tensors) -> Problem:
        """The same Problem with other inputs, one for each row. Its targets must be `fixed`.

        `source` and `resumed` are about the inputs that were there before, and are gone.
        """
        return replace(self, x=x, source=None, resumed=None)

    def against(self, rows: Tensor, x0: Tensors) -> Problem:
        """Row rows[i] compared with x0[i], so that an input may have any number of baselines; each row at least once.

        `resumed` is gone: it reads the outputs at x by row, and there is now one row of them for each input.
        """
        source = rows if self.source is None else self.source[rows]
        return replace(self.taken(rows), x0=x0, source=source, resumed=None)

    def firsts(self) -> Int[Tensor, " inputs"] | None:
        """The first row (inputs,) of each input; None where each row has an input of its own."""
        if self.source is None:
            return None
        firsts = np.unique(self.source.cpu().numpy(), return_index=True)[1]
        return torch.from_numpy(firsts).to(self.source.device)

    def fixed(self, *selects: Select) -> Problem:
        """The same Problem with its targets already chosen."""
        return replace(self, target=lambda outputs: selects)

    def repeated(self, n: int) -> Problem:
        """Each row n times, next to each other. The targets must be `fixed`."""
        return self.taken(torch.arange(self.rows, device=self.x[0].device).repeat_interleave(n))

    def taken(self, rows: Tensor) -> Problem:
        """A Problem about these rows (n,), in any number and order. The targets must be `fixed`.

        Each of its rows has an input of its own, so `source` is None. All other fields are kept: those per row are
        indexed, and functions that take the numbers of rows get them translated.
        """

        def target(outputs: Outputs) -> tuple[Select, ...]:
            return tuple(lambda out, which, select=s: select(out, rows[which]) for s in self.selects(outputs))

        per_row = [f.name for f in fields(self) if f.metadata == PER_ROW]
        indexed = {name: picked(getattr(self, name), rows, self.rows) for name in per_row}
        return replace(self, target=target, source=None, resumed=self._resumed_for(rows), **indexed)

    def _resumed_for(self, rows: Tensor) -> Callable[[Tensor, Tensor, Tensor, Outputs], Outputs] | None:
        """`resumed` for a Problem about these rows (n,), whose outputs at x have n rows."""
        run = self.resumed
        if run is None or self.source is not None:
            return None
        place = torch.zeros(self.rows, dtype=torch.long, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)  # where a row's output at x is found
        return lambda x, which, first, outputs: run(x, rows[which], first, picked(outputs, place, len(rows)))

    def args_of(self, rows: Tensor) -> Arguments:
        """What else f takes for these rows."""
        if not self.args:
            return ()
        with torch._C.DisableTorchFunction():  # a pass that is recorded need not record this
            return picked(self.args, rows, self.rows)


def finite(scalars: Shaped[Tensor, " rows"], place: Place = "path", inputs: int = 0) -> Float[Tensor, " rows"]:
    """`scalars` unchanged. Raises NonFiniteOutput where one of them is NaN or infinite, UnknownTarget where they are
    complex numbers. inputs: how many of "both" are at the input."""
    if scalars.is_complex():
        raise UnknownTarget(
            "The function's output for the target is a complex number; expected a real one, which a change can be "
            "divided among. Choose a part of it: target=lambda out: out.real[:, 0], or .abs()."
        )
    if not scalars.is_floating_point():  # truth values, or the number of a class
        scalars = scalars.double()
    if all(map(math.isfinite, scalars.flatten().tolist())):
        return scalars
    unfit = ~torch.isfinite(scalars.detach())
    if unfit.any():
        row = int(unfit.nonzero()[0, 0])
        if place == "both":
            place, row = ("baseline", row - inputs) if row >= inputs else ("input", row)
        raise NonFiniteOutput(
            f"The output for the target is {scalars[int(unfit.nonzero()[0, 0])].item()} {_PLACES[place][0]}, in row "
            f"{row}; expected a finite number. {_PLACES[place][1]}"
        )
    return scalars


Place: TypeAlias = Literal["input", "baseline", "both", "path"]
"""Where points are: at the input, at the baseline, one half at each (first the inputs), or on the path between them."""
_PLACES = {
    "input": (
        "at the input",
        "Check the input and the weights for NaN, or use float32 if the model overflows in half precision.",
    ),
    "baseline": (
        "at the baseline",
        "The function has no value there (0/0, log 0): choose another baseline, such as a mean or a small number.",
    ),
    "path": (
        "at the baseline, or between it and the input",
        "The function has no value there (0/0, log 0): choose another baseline, such as a mean or a small number.",
    ),
}


def attached(scalars: Tensor) -> Tensor:
    """`scalars` unchanged, or CutGraph where autograd has nothing to follow."""
    if not scalars.requires_grad:
        raise CutGraph(
            "The output does not depend on the input through autograd. A forward function must return what the model "
            "computed: return `out[:, 1]`, not `torch.tensor(out[0][1])`, and do not call .detach(), .item() or "
            ".numpy(), or use torch.no_grad(), on the way."
        )
    return scalars


def detached(outputs: Outputs) -> Outputs:
    """`outputs` with every tensor detached from its graph."""
    return mapped(Tensor.detach, outputs)


def by_row(t: Shaped[Tensor, "rows ..."]) -> Shaped[Tensor, "rows elements"]:
    """(rows, …) → (rows, elements), also where a row is a single number: (rows,) → (rows, 1)."""
    return t.unsqueeze(-1).flatten(1)


def picked(tree: Outputs, rows: Tensor | slice, n: int) -> Outputs:
    """A nest with these rows of each tensor that has n rows; everything else in the nest stays."""
    return mapped(lambda t: t[rows] if t.ndim and t.shape[0] == n else t, tree)


def mapped(change: Callable[[Tensor], Tensor], tree: Outputs) -> Outputs:
    """A nest with `change` applied to each tensor. Mappings become dicts, and a named tuple keeps its names."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, dict):
        return {k: mapped(change, v) for k, v in tree.items()}
    if isinstance(tree, (tuple, list)):
        each = [mapped(change, v) for v in tree]
        make = getattr(tree, "_make", tuple)
        return each if isinstance(tree, list) else make(each)
    return tree
