"""Reading an autograd node: what it kept, what was noted on it, and which of its inputs carry a difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import GraphError, UnsupportedOperation
from .metadata import INPUT, OUTPUT

_SAVED: dict[str, tuple[str, ...]] = {}


def constants(n: Any) -> tuple[str, ...]:
    """The names of the constants that autograd keeps on this kind of linear node: not strides, and not the input,
    which it keeps for its shape."""
    if n.name() not in _SAVED:
        keeps = (a for a in dir(n) if a.startswith("_saved_") and not a.endswith("_strides"))
        _SAVED[n.name()] = tuple(
            a for a in keeps if a not in ("_saved_self", "_saved_input", "_saved_src", "_saved_source")
        )
    return _SAVED[n.name()]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        alias = a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
        return alias or torch.equal(a, b)
    if type(a) is tuple and a and type(a[0]) is int:  # sizes, which most nodes keep
        return a == b
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(same(i, j) for i, j in zip(a, b, strict=True))
    return type(a) is type(b) and bool(a == b or a != a)  # a NaN fill value equals itself


def input_of(n: Any) -> Tensor:
    """The operation's input, a real number: saved by autograd, noted during the forward pass, or inverted from the
    result."""
    return real(n, _input_of(n))


def real(n: Any, x: Tensor) -> Tensor:
    """`x` unchanged. Raises UnsupportedOperation where it is complex."""
    if x.is_complex():
        raise UnsupportedOperation(
            f"{n.name()} of complex numbers has no rule; of those only linear operations, products, quotients and the "
            "absolute value have one. Use real and imaginary parts, or method='integrated_gradients'.",
            n.name(),
        )
    return x


def _input_of(n: Any) -> Tensor:
    for name in ("_saved_self", "_saved_input"):
        if isinstance(saved := getattr(n, name, None), Tensor):
            return wide(saved)
    if len(own := getattr(n, "saved_tensors", ())) == 1:  # a custom autograd function that keeps one tensor
        return wide(own[0])
    if INPUT in n.metadata:
        source, version = n.metadata[INPUT]
        if source._version != version:
            raise GraphError(
                f"The input of {n.name()} was overwritten by an in-place operation after it was used, and its rule "
                "needs it. Replace the in-place operation (`x += y` by `x = x + y`)."
            )
        return wide(source)
    if n.name() in _INVERSE:
        result = wide(n._saved_result)
        source = _INVERSE[n.name()](result)
        if torch.isfinite(source).all():
            return source
    raise UnsupportedOperation(
        f"The rule of {n.name()} needs the operation's input, which autograd does not keep and which could not be "
        "noted, because the call is hidden inside a compiled or fused function. Run that function uncompiled "
        "(for attention: attn_implementation='eager').",
        n.name(),
    )


def result_of(n: Any) -> Tensor | None:
    """The operation's result, where it was noted and has not been overwritten since."""
    result, version = n.metadata.get(OUTPUT, (None, 0))
    return wide(result) if result is not None and result._version == version else None


_INVERSE: dict[str, Callable[[Tensor], Tensor]] = {
    "TanhBackward0": torch.atanh,
    "SigmoidBackward0": torch.logit,
    "ExpBackward0": torch.log,
}


def stacked(n: Any, n0: Any, name: str) -> Sequence[Tensor]:
    """What two nodes kept under this name; where they are the halves of one, that of both in one piece."""
    whole = getattr(n, "whole", None)
    return (getattr(n, name), getattr(n0, name)) if whole is None else (getattr(whole, name),)


def apart(both: Sequence[Tensor]) -> Sequence[Tensor]:
    """What belongs to the one and to the other of two nodes, in `stacked` or what was made of it."""
    return both if len(both) == 2 else both[0].chunk(2)


def dimension(d: int) -> int:
    """A dimension as it was given: autograd shows a negative one as an unsigned number."""
    return d if d < 2**63 else d - 2**64


def wide(t: Tensor) -> Tensor:
    """Half precision in float32, everything else as it is."""
    return t.float() if t.dtype in (torch.float16, torch.bfloat16) else t


def avg(a: Tensor, b: Tensor) -> Tensor:
    return torch.lerp(wide(a), wide(b), 0.5)


def is_fed(n: Any, k: int) -> bool:
    return n.next_functions[k][0] is not None
