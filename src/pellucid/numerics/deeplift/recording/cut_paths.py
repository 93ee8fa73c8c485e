"""Finds where a value that depends on the input loses its gradient: at a `detach`, `.data`, `no_grad` or `.item()`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ...torch_calls import Args, Kwargs, TorchFunction, Value, name_of
from .code_location import place_of

READ_OUT = frozenset(
    "item tolist numpy __float__ __int__ __index__ __complex__ __bool__ __contains__ __repr__ __format__".split()
) | {"is_nonzero", "equal", "allclose"}
"""Calls that read numbers out of a tensor, or what follows from them."""
_DETACH = frozenset({"detach", "detach_", "data"})
_SHAPED = ("_like", "new_")


class Cut(NamedTuple):
    """A value without a gradient that was made of one with a gradient.

    how: the call that made it. place: where in the model's code.
    asked: whether the code asked for it, as by `detach`; false for operations whose result never has a gradient, such
        as a comparison or a cast to integers.
    """

    how: str
    place: str
    value: Tensor
    asked: bool


class Cutting(TorchFunctionMode):
    """Collects the cuts of a forward pass.

    A tensor that requires a gradient is one that depends on the input: inside `recorder.forward_pass` no other does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cuts: list[Cut] = []

    def __torch_function__(
        self, func: TorchFunction, types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> Value:
        out = func(*args, **(kwargs or {}))
        name = _named(func)
        fed = [a for a in _tensors((*args, *(kwargs or {}).values())) if a.requires_grad]
        if fed and not takes_a_shape(name):
            made = [fed[0]] if name in READ_OUT else [t for t in _tensors(out) if not t.requires_grad]
            if made:
                asked = name in READ_OUT or name in _DETACH or not torch.is_grad_enabled()
                how = name if name in READ_OUT or name in _DETACH or not asked else "no_grad"
                self.cuts.append(Cut(how, place_of(sys._getframe(1)), made[0].detach().clone(), asked))
        return out


def takes_a_shape(name: str) -> bool:
    """Whether a function takes a tensor for its shape, and not for its numbers."""
    return any(part in name for part in _SHAPED)


def _named(func: TorchFunction) -> str:
    name = name_of(func)
    return "data" if func == _DATA else name


_DATA = Tensor.data.__get__  # type: ignore[attr-defined]


def _tensors(values: Value) -> list[Tensor]:
    each = values if isinstance(values, (tuple, list)) else (values,)
    return [
        t for v in each for t in ([v] if isinstance(v, Tensor) else _tensors(v) if type(v) in (tuple, list) else [])
    ]


def cuts(*passes: Callable[[], Value]) -> tuple[list[Cut], Value]:
    """The cuts of the first of two forward passes whose values differ from those of the second, and the first pass's
    result.

    Of each place one cut is returned; and only cuts that the code asked for, if there are any. Where the two passes do
    not cut at the same places, all cuts of the first count.
    """
    found, returned = [], []
    for run in passes:
        with torch.enable_grad(), Cutting() as mode:
            returned.append(run())
        found.append(mode.cuts)
    here, there = found
    if [c[:2] for c in here] == [c[:2] for c in there]:
        differs = lambda a, b: a.shape != b.shape or not torch.equal(a, b)
        here = [a for a, b in zip(here, there, strict=True) if differs(a.value, b.value)]
    here = [c for c in here if c.asked] or here
    return list({c[:2]: c for c in here}.values()), returned[0]
