"""What a forward function returns, and the gradients of its target's values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..errors import ArgumentError, CutGraph
from .targets import selected

Value: TypeAlias = Any
Tensors: TypeAlias = tuple[Tensor, ...]
Forward: TypeAlias = Callable[..., Value]
GradientFunc: TypeAlias = Callable[..., Tensors]
"""`(forward function, inputs, target, more arguments of the function) → a gradient for each input`."""


def more_args(args: Value) -> tuple[Value, ...]:
    """`additional_forward_args` as a tuple."""
    return () if args is None else args if isinstance(args, tuple) else (args,)


def as_tensor(y: Value) -> Tensor:
    """An output as a tensor. Raises ArgumentError where it is neither a tensor nor a number."""
    if isinstance(y, (int, float)):
        return torch.tensor(y, dtype=torch.int64 if isinstance(y, int) else torch.float64)
    if not isinstance(y, Tensor):
        what = "a future; expected a call of attribute_future" if isinstance(y, torch.Future) else repr(y)
        raise ArgumentError(f"The forward function returned {what}; expected a tensor, an int or a float.")
    return y


def outputs_of(f: Forward, inputs: Sequence[Value], args: Value = None) -> Value:
    """What the function returns: a tensor, or the first tensor of a tuple, a list or a ModelOutput (its logits); an
    array as a tensor."""
    found = first_tensor(f(*inputs, *more_args(args)))
    if isinstance(found, (np.ndarray, np.generic)):
        return torch.tensor(found, device=next((t.device for t in inputs if isinstance(t, Tensor)), None))
    return found


def first_tensor(found: Value) -> Value:
    """The logits of a mapping, the first tensor of a sequence, and anything else as it is."""
    if isinstance(found, Tensor):
        return found
    if isinstance(found, Mapping):
        named = [found[k] for k in ("logits", "start_logits") if k in found]
        rest = (v for k, v in found.items() if k != "loss" and isinstance(v, Tensor))
        return next(iter(named), None) if named else next(rest, found)
    if isinstance(found, (tuple, list)):
        return next((t for t in found if isinstance(t, Tensor)), found)
    return found


def run(f: Forward, inputs: Sequence[Value], target: Value = None, args: Value = None) -> Value:
    """The target's values at the inputs."""
    return selected(outputs_of(f, inputs, args), target)


def one_per_row(y: Value) -> Tensor:
    """The values that a gradient is taken of. Raises ArgumentError where a row has several, CutGraph where none has a
    graph."""
    if not isinstance(y, Tensor):
        raise ArgumentError(f"The forward function returned a {type(y).__name__}; expected a tensor.")
    if math.prod(y.shape[1:]) != 1:
        raise ArgumentError(
            f"The target has {tuple(y.shape)} values; expected one for each row. Name one with target=index."
        )
    if not y.requires_grad:
        raise CutGraph(
            "The output does not depend on the input through autograd: it was detached, by torch.tensor(...), .item(), "
            ".detach(), torch.no_grad() or torch.inference_mode(), or is a whole number, as argmax gives. Return what "
            "the model computed: out[:, 1], not torch.tensor(out[0][1])."
        )
    return y


def gradients(y: Value, of: Sequence[Tensor], grad_kwargs: Mapping[str, Any] | None = None) -> Tensors:
    """∂(Σ y)/∂of. Raises CutGraph where one of them is not used in the graph."""
    y = one_per_row(y)
    given = dict(grad_kwargs or {})
    fill = given.pop("materialize_grads", False)
    allow = given.pop("allow_unused", False) or fill
    found = torch.autograd.grad(y.sum(), of, allow_unused=True, **given)
    if not allow and all(g is None for g in found):
        raise CutGraph(
            "None of the tensors that are explained was used in the graph of the output. Either the forward function "
            "makes its output anew, which begins another graph, also with requires_grad=True: return what the model "
            "computed, out[:, 1], not torch.tensor(out[0][1], requires_grad=True). Or it does not use these inputs: "
            "leave them out, or use them; of a layer, take one that the target depends on."
        )
    if not allow and any(g is None for g in found):
        i = next(i for i, g in enumerate(found) if g is None)
        raise CutGraph(
            f"Tensor {i} (shape {tuple(of[i].shape)}) was not used in the graph of the output, so it has no gradient. "
            "Leave it out of the inputs and give it in additional_forward_args, or use it in the forward function; of "
            "a layer, take one that the target depends on; of layers of which one feeds the other, ask for each alone."
        )
    return tuple(torch.zeros_like(t) if g is None else g for t, g in zip(of, found, strict=True))


def compute_gradients(
    forward_fn: Forward,
    inputs: Tensors,
    target_ind: Value = None,
    additional_forward_args: Value = None,
    grad_kwargs: Mapping[str, Any] | None = None,
) -> Tensors:
    """∂(Σ target)/∂input for each input. Raises as `gradients`."""
    with torch.enable_grad():
        return gradients(run(forward_fn, inputs, target_ind, additional_forward_args), inputs, grad_kwargs)
