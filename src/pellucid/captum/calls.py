"""Arguments in Captum's form: inputs, baselines, targets and what else a function takes; and calls with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..errors import ArgumentError
from ..problem import Problem
from .outputs import (
    Forward,
    GradientFunc,
    Tensors,
    Value,
    as_tensor,
    compute_gradients,
    first_tensor,
    more_args,
    one_per_row,
    outputs_of,
    run,
)
from .targets import selected


def tupled(value: Value) -> Tensors:
    """One tensor, or a tuple or list of tensors, as a tuple."""
    found = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    for i, t in enumerate(found):
        if not isinstance(t, Tensor):
            raise ArgumentError(f"Input {i} is a {type(t).__name__}; expected a tensor, or a tuple of tensors.")
    return found


def as_given(values: Sequence[Value], given: Value) -> Value:
    """The values as a tuple where the inputs were given as a tuple, and the only one of them otherwise."""
    return tuple(values) if isinstance(given, (tuple, list)) else values[0]


def one_or_all(values: Sequence[Value]) -> Value:
    """The only value, or all of them where there are several."""
    return values[0] if len(values) == 1 else values


def floats(inputs: Tensors) -> Tensors:
    """The inputs as leaves of a new graph. Raises ArgumentError where one of them has no gradient."""
    for i, t in enumerate(inputs):
        if not (t.is_floating_point() or t.is_complex()):
            raise without_floats(i, t)
    return tuple(t.detach().requires_grad_() for t in inputs)


def without_floats(i: int, t: Tensor) -> ArgumentError:
    """The error of a method that needs the gradient of an input that is no float."""
    return ArgumentError(
        f"Input {i} is a tensor of {t.dtype}, which has no gradient; expected floats. For token ids take the "
        "layer form of the method with the embedding layer, such as LayerIntegratedGradients(f, "
        "model.get_input_embeddings()), or give embeddings as the input."
    )


def baselines_of(inputs: Tensors, baselines: Value) -> tuple[Value, ...]:
    """A baseline (a tensor or a number) for each input; zeros where none is given. Raises ArgumentError."""
    if baselines is None:
        return tuple(torch.zeros_like(t) if t.ndim else 0 for t in inputs)
    found = tuple(baselines) if isinstance(baselines, (tuple, list)) else (baselines,)
    if len(found) != len(inputs):
        raise ArgumentError(f"Found {len(found)} baselines for {len(inputs)} inputs; expected one for each input.")
    for i, (t, b) in enumerate(zip(inputs, found, strict=True)):
        if isinstance(b, Tensor):
            sizes = zip(reversed(b.shape), reversed(t.shape), strict=False)
            fits = b.shape == t.shape or (b.ndim <= t.ndim and all(m in (1, n) for m, n in sizes))
        else:
            fits = isinstance(b, (int, float))
        if not fits:
            what = tuple(b.shape) if isinstance(b, Tensor) else type(b).__name__
            raise ArgumentError(
                f"The baseline of input {i} is {what}; expected a number, or a tensor like the input "
                f"{tuple(t.shape)}, or one that spreads to it."
            )
    return found


def in_the_type_taken(f: Forward, inputs: Tensors, baselines: Sequence[Value], args: Value) -> Tensors:
    """The inputs in their own type; in that of wider baselines where the function takes those only, as one of float32
    takes no float16."""
    both = [(t, b) for t, b in zip(inputs, baselines, strict=True) if isinstance(b, Tensor)]
    if not any(
        t.dtype != b.dtype and t.is_floating_point() and t.dtype != torch.promote_types(t.dtype, b.dtype)
        for t, b in both
    ):
        return inputs
    try:
        with torch.no_grad():
            outputs_of(f, inputs, args)
    except RuntimeError:
        wide = lambda t, b: t.to(torch.promote_types(t.dtype, b.dtype)) if isinstance(b, Tensor) else t
        return tuple(map(wide, inputs, baselines))
    return inputs


def _like(t: Tensor, b: Value) -> Tensor:
    """A baseline as a tensor like the input; of an input of integers in the type that holds both."""
    kind = t.dtype if t.is_floating_point() else torch.result_type(t, b)
    if not isinstance(b, Tensor):
        return torch.full_like(t, b, dtype=kind)
    return (b if b.shape == t.shape else b.expand_as(t)).to(t.device, kind)


def rows_in(inputs: Sequence[Tensor]) -> int:
    """How many rows the inputs have; a number without dimensions is one row."""
    return inputs[0].shape[0] if inputs[0].ndim else 1


@dataclass(frozen=True)
class Rows:
    """What else a call takes besides the inputs, for any number of copies of its rows."""

    target: Value
    args: Value
    n: int

    def repeated(self, times: int, interleaved: bool = False) -> Rows:
        """Each row `times` times: all rows after each other, or (interleaved) a row's copies next to each other."""

        args = None
        if self.args is not None:
            args = tuple(self._copies(t, times, interleaved) for t in more_args(self.args))
        return Rows(self.target_of(times, interleaved), args, self.n * times)

    def target_of(self, times: int, interleaved: bool = False) -> Value:
        """The target of so many copies of the rows. Raises ArgumentError where there are several targets, and another
        number than there are rows."""
        target = self.target.tolist() if isinstance(self.target, np.ndarray) else self.target
        several = isinstance(target, list) or (isinstance(target, Tensor) and target.ndim > 0)
        if not several or len(target) == 1:
            return target
        if times > 1 and len(target) != self.n:
            raise ArgumentError(
                f"Found {len(target)} targets for {self.n} rows; expected one target, or one for each row."
            )
        if isinstance(target, Tensor):
            return self._copies(target, times, interleaved)
        return [t for t in target for _ in range(times)] if interleaved else target * times

    def _copies(self, t: Value, times: int, interleaved: bool) -> Value:
        if isinstance(t, Tensor) and t.ndim and t.shape[0] == self.n and self.n * times > 1:
            return t.repeat_interleave(times, 0) if interleaved else t.repeat(times, *[1] * (t.ndim - 1))
        return t


def delta_of(values: Sequence[Tensor], at_x: Tensor, at_x0: Tensor, rows: Rows) -> Tensor:
    """Σ values − (f(x) − f(x0)), for each row: Captum's convergence delta. In float32 at least: the steps of half
    precision would hide it. One number for all rows where the values have others, as those of positions have."""
    by_row = all([len(v) == rows.n for v in values])
    each = lambda t: t.reshape(rows.n, -1).sum(1) if by_row and t.ndim and len(t) == rows.n else t.sum().reshape(1)
    total = torch.stack([each(v.double()) for v in values]).sum(0) - (each(at_x).double() - each(at_x0).double())
    return total.to(torch.promote_types(values[0].dtype, torch.float32))


def sum_of_rows(values: Sequence[Tensor]) -> Tensor:
    """Σ over all values of each row, over all tensors."""
    return torch.stack([t.reshape(t.shape[0], -1).sum(1) for t in values]).sum(0)


@dataclass(frozen=True)
class Call:
    """A function at inputs that are compared with baselines, in Captum's form: what each of its classes begins with.

    given: the inputs as the user gave them, a tensor or a tuple. x, x0: the inputs and the baselines, a tuple of
    tensors each. rows: the target and what else the function takes.
    """

    f: Forward
    given: Value
    x: Tensors
    x0: Tensors
    rows: Rows

    @classmethod
    def of(cls, f: Forward, inputs: Value, baselines: Value = None, target: Value = None, args: Value = None) -> Call:
        """Raises ArgumentError where the inputs are no tensors, or the baselines do not fit them."""
        x = tuple([t.detach() for t in tupled(inputs)])
        if baselines is None:
            x0 = tuple(map(torch.zeros_like, x))
        else:
            base = baselines_of(x, baselines)
            x = in_the_type_taken(f, x, base, args)
            x0 = tuple([_like(t, b).detach() for t, b in zip(x, base, strict=True)])
        return cls(f, inputs, x, x0, Rows(target, args, rows_in(x)))

    def values(self, points: Sequence[Tensor], copies: int = 1) -> Value:
        """The target's values at points, the rows of the inputs `copies` times."""
        r = self.rows.repeated(copies) if copies > 1 else self.rows
        return run(self.f, points, r.target, r.args)

    def gradients(self, points: Tensors, copies: int = 1, by: GradientFunc = compute_gradients) -> Tensors:
        """The gradients of the target's values at points, the rows of the inputs `copies` times."""
        r = self.rows.repeated(copies) if copies > 1 else self.rows
        return tupled(by(self.f, points, r.target, r.args))

    def numbers(self, points: Sequence[Tensor], copies: int = 1) -> Tensor:
        """As `values`, of a function that may return a number in place of a tensor."""
        return as_tensor(self.values(points, copies))

    def later(self, points: Sequence[Tensor], copies: int = 1) -> Value:
        """As `numbers`, a future of a function that returns futures."""
        r = self.rows.repeated(copies) if copies > 1 else self.rows
        found = self.f(*points, *more_args(r.args))
        if not isinstance(found, torch.Future):
            raise ArgumentError(f"The forward function returned a {type(found).__name__}; expected a torch.Future.")
        return found.then(lambda done: as_tensor(selected(first_tensor(done.value()), r.target)))

    def problem(self) -> Problem:
        """The same as a Problem, which the methods of the core solve."""

        def select(out: Value, which: Tensor) -> Tensor:
            with torch._C.DisableTorchFunction():  # a pass that is recorded need not record that elements are taken
                n = which.shape[0]
                y = selected(out, self.rows.target_of(n // self.rows.n))
                y = in_a_row(one_per_row(y) if y.requires_grad else y, n)
                if (found := y.numel()) not in (1, n):
                    raise ArgumentError(
                        f"The function returns {found} values for {n} rows; expected one for each, or one."
                    )
                return y

        def f(*given: Value) -> Value:
            return outputs_of(self.f, (*copies(given[: len(self.x)]), *given[len(self.x) :]))

        return Problem(f, self.x, self.x0, lambda outputs: select, more_args(self.rows.args))

    def moving(self) -> Call:
        """The same call for a method that moves the inputs from x0 to x: whole numbers become floats.

        Raises ArgumentError where the function does not take floats in their place, as it does not for token ids.
        """
        if all(t.is_floating_point() or t.is_complex() for t in self.x):
            return self
        real = lambda t: t if t.is_floating_point() or t.is_complex() else t.to(torch.get_default_dtype())
        moved = replace(self, x=tuple(map(real, self.x)), x0=tuple(map(real, self.x0)))
        try:
            with torch.no_grad():
                outputs_of(moved.f, moved.x, moved.rows.args)
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            i = next(i for i, t in enumerate(self.x) if real(t) is not t)
            raise without_floats(i, self.x[i]) from error
        return moved

    def times_change(self, values: Tensors, multiply: bool = True) -> Tensors:
        """The values times x − x0; as they are where `multiply` is false."""
        return tuple(v * (a - b) if multiply else v for v, a, b in zip(values, self.x, self.x0, strict=True))

    def delta(self, values: Sequence[Tensor], known: Tensors = ()) -> Tensor:
        """Σ values − (f(x) − f(x0)), for each row: Captum's convergence delta. known: f(x), and f(x0), as far as they
        are known."""
        with torch.no_grad():
            at_x, at_x0 = (*known, *map(self.values, (self.x, self.x0)[len(known) :]))
        return delta_of(values, at_x, at_x0, self.rows)

    def answer(self, values: Sequence[Tensor], with_delta: bool = False, known: Tensors = ()) -> Value:
        """The values in the form of the inputs, and their delta where it is asked for. known: as `delta`."""
        found = as_given(
            [v.reshape(t.shape) if not t.ndim else v for v, t in zip(values, self.x, strict=True)], self.given
        )
        return (found, self.delta(values, known)) if with_delta else found


def copies(x: Sequence[Tensor]) -> Tensors:
    """Tensors that a function may change in place, as it may not those that a gradient is taken of."""
    with torch._C.DisableTorchFunction():  # a pass that is recorded need not record this
        return tuple([t.clone() for t in x])


def in_a_row(y: Tensor, rows: int) -> Tensor:
    """The values of a target (rows,), where there is one for each row."""
    return y.reshape(-1) if y.ndim != 1 and y.numel() == rows else y
