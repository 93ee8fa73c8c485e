"""Arguments in Captum's form: inputs, baselines, targets and what else a function takes; and calls with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ..errors import ArgumentError, CutGraph

Value: TypeAlias = Any
Tensors: TypeAlias = tuple[Tensor, ...]
Forward: TypeAlias = Callable[..., Value]


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


def more_args(args: Value) -> tuple[Value, ...]:
    """`additional_forward_args` as a tuple."""
    return () if args is None else args if isinstance(args, tuple) else (args,)


def floats(inputs: Tensors) -> Tensors:
    """The inputs as leaves of a new graph. Raises ArgumentError where one of them has no gradient."""
    for i, t in enumerate(inputs):
        if not (t.is_floating_point() or t.is_complex()):
            raise ArgumentError(
                f"Input {i} is a tensor of {t.dtype}, which has no gradient; expected floats. For token ids take the "
                "layer form of the method with the embedding layer, such as LayerIntegratedGradients(f, "
                "model.get_input_embeddings()), or give embeddings as the input."
            )
    return tuple(t.detach().requires_grad_() for t in inputs)


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
            fits = b.ndim <= t.ndim and all(m in (1, n) for m, n in sizes)
        else:
            fits = isinstance(b, (int, float))
        if not fits:
            what = tuple(b.shape) if isinstance(b, Tensor) else type(b).__name__
            raise ArgumentError(
                f"The baseline of input {i} is {what}; expected a number, or a tensor like the input "
                f"{tuple(t.shape)}, or one that spreads to it."
            )
    return found


def spread(inputs: Tensors, baselines: Value) -> Tensors:
    """A baseline tensor like each input."""
    return tuple(
        (b if b.shape == t.shape else b.expand_as(t)).to(t.dtype) if isinstance(b, Tensor) else torch.full_like(t, b)
        for t, b in zip(inputs, baselines_of(inputs, baselines), strict=True)
    )


def outputs_of(f: Forward, inputs: Sequence[Value], args: Value = None) -> Value:
    """What the function returns: a tensor, or the first tensor of a tuple, a list or a ModelOutput (its logits)."""
    found = f(*inputs, *more_args(args))
    return first_tensor(found)


def first_tensor(found: Value) -> Value:
    """The logits of a mapping, the first tensor of a sequence, and anything else as it is."""
    if isinstance(found, Mapping):
        named = [found[k] for k in ("logits", "start_logits") if k in found]
        rest = (v for k, v in found.items() if k != "loss" and isinstance(v, Tensor))
        return next(iter(named), None) if named else next(rest, found)
    if isinstance(found, (tuple, list)):
        return next((t for t in found if isinstance(t, Tensor)), found)
    return found


def selected(output: Value, target: Value) -> Value:
    """The values of the target in an output: one for each row, where the target names one element of a row.

    target: as in Captum. An index; a tuple of indices; a tensor or a list with one index, or one for each row; a list
        with a tuple for each row; None for the whole output. Raises ArgumentError.
    """
    if target is None or not isinstance(output, Tensor):
        return output
    rows = output.shape[0] if output.ndim else 1
    if isinstance(target, Tensor):
        if target.numel() == 1:
            return _column(output, (int(target.item()),))
        target = target.tolist() if target.ndim == 1 else [tuple(t) for t in target.tolist()]
    if isinstance(target, (int, bool)) or (hasattr(target, "item") and not isinstance(target, (list, tuple))):
        return _column(output, (int(target),))
    if isinstance(target, tuple):
        return _column(output, target)
    if not isinstance(target, list):
        raise ArgumentError(f"Found target={target!r}; expected an index, a tuple of indices, or one for each row.")
    if len(target) == 1:
        return _column(output, target[0] if isinstance(target[0], tuple) else (int(target[0]),))
    if len(target) != rows:
        raise ArgumentError(f"Found {len(target)} targets for {rows} rows; expected one target, or one for each row.")
    each = [tuple(t) if isinstance(t, (tuple, list)) else (int(t),) for t in target]
    if any(len(t) != output.ndim - 1 for t in each):
        raise ArgumentError(
            f"Found target={target!r} for an output {tuple(output.shape)}; expected {output.ndim - 1} indices a row."
        )
    _fits(output, each)
    index = torch.tensor(each, device=output.device).T
    return output[(torch.arange(rows, device=output.device), *index)]


def _column(output: Tensor, target: tuple[Value, ...]) -> Tensor:
    if len(target) > output.ndim - 1:
        raise ArgumentError(
            f"Found target={target!r} for an output {tuple(output.shape)}; expected at most {output.ndim - 1} indices."
        )
    _fits(output, [target])
    return output[(slice(None), *target)]


def _fits(output: Tensor, targets: Sequence[tuple[Value, ...]]) -> None:
    for target in targets:
        for i, n in zip(target, output.shape[1:], strict=False):
            if isinstance(i, int) and not -n <= i < n:
                raise ArgumentError(f"Found target={target!r} for an output {tuple(output.shape)}; no such element.")


def run(f: Forward, inputs: Sequence[Value], target: Value = None, args: Value = None) -> Value:
    """The target's values at the inputs."""
    return selected(outputs_of(f, inputs, args), target)


def one_per_row(y: Value) -> Tensor:
    """The values that a gradient is taken of. Raises ArgumentError where a row has several, CutGraph where none has a
    graph."""
    if not isinstance(y, Tensor):
        raise ArgumentError(f"The forward function returned a {type(y).__name__}; expected a tensor.")
    if y.ndim and y[0].numel() != 1:
        raise ArgumentError(
            f"The target has {tuple(y.shape)} values; expected one for each row. Name one with target=index."
        )
    if not y.requires_grad:
        raise CutGraph(
            "The output does not depend on the input through autograd: it was detached, by torch.tensor(...), .item(), "
            ".detach() or torch.no_grad(). Return what the model computed: out[:, 1], not torch.tensor(out[0][1])."
        )
    return y


def gradients(y: Value, of: Sequence[Tensor], grad_kwargs: Mapping[str, Any] | None = None) -> Tensors:
    """∂(Σ y)/∂of. Raises CutGraph where one of them is not used in the graph."""
    y = one_per_row(y)
    given = dict(grad_kwargs or {})
    fill = given.pop("materialize_grads", False)
    allow = given.pop("allow_unused", False) or fill
    found = torch.autograd.grad(y.sum(), of, allow_unused=True, **given)
    if not allow and any(g is None for g in found):
        i = next(i for i, g in enumerate(found) if g is None)
        raise CutGraph(
            f"Tensor {i} (shape {tuple(of[i].shape)}) was not used in the graph of the output, so it has no gradient. "
            "Leave it out of the inputs and give it in additional_forward_args, or use it in the forward function; of "
            "a layer, take one that the target depends on."
        )
    return tuple(torch.zeros_like(t) if g is None else g for t, g in zip(of, found, strict=True))


@dataclass(frozen=True)
class Rows:
    """What else a call takes besides the inputs, for any number of copies of its rows."""

    target: Value
    args: Value
    n: int

    def repeated(self, times: int, interleaved: bool = False) -> Rows:
        """Each row `times` times: all rows after each other, or (interleaved) a row's copies next to each other."""

        def copies(t: Value) -> Value:
            if isinstance(t, Tensor) and t.ndim and t.shape[0] == self.n and self.n * times > 1:
                return t.repeat_interleave(times, 0) if interleaved else t.repeat(times, *[1] * (t.ndim - 1))
            return t

        target = self.target
        if isinstance(target, Tensor) and target.numel() > 1:
            target = copies(target)
        elif isinstance(target, list) and len(target) > 1:
            target = [t for t in target for _ in range(times)] if interleaved else target * times
        args = None if self.args is None else tuple(map(copies, more_args(self.args)))
        return Rows(target, args, self.n * times)


def delta_of(f: Forward, values: Sequence[Tensor], x: Sequence[Value], x0: Sequence[Value], rows: Rows) -> Tensor:
    """Σ values − (f(x) − f(x0)), for each row: Captum's convergence delta."""
    with torch.no_grad():
        at_x = run(f, x, rows.target, rows.args)
        at_x0 = run(f, x0, rows.target, rows.args)
    each = lambda t: t.reshape(t.shape[0], -1).sum(1) if t.ndim else t.reshape(1)
    return (sum_of_rows([v.double() for v in values]) - (each(at_x).double() - each(at_x0).double())).to(
        values[0].dtype
    )


def sum_of_rows(values: Sequence[Tensor]) -> Tensor:
    """Σ over all values of each row, over all tensors."""
    return torch.stack([t.reshape(t.shape[0], -1).sum(1) for t in values]).sum(0)
