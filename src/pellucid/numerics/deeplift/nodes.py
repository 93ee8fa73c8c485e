"""Reading a node of an autograd graph: its saved tensors, the notes of the recording, and which inputs have a gradient.

What a rule needs to know of a node is asked here, so that a formula stays a formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ...errors import GraphError, UnsupportedOperation
from .metadata import INPUT, OUTPUT


@runtime_checkable
class Node(Protocol):
    """One operation in an autograd graph, as `tensor.grad_fn` is.

    `node._saved_<name>` is what autograd saved of the operation under that name (an argument, the result, an index);
    each operation saves something else, so such an attribute has no type of its own.
    """

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """For each input of the operation the node that computed it and which output of that node it is; `(None, 0)`
        for an input without a gradient."""
        ...

    @property
    def metadata(self) -> dict[str, Any]:
        """The notes that a recording of the forward pass left on the node, under the names in `metadata.py`."""
        ...

    def name(self) -> str:
        """The name that autograd gives to the operation, such as "MulBackward0"."""
        ...

    def __call__(self, *g: Tensor | None) -> Tensor | tuple[Tensor | None, ...] | None:
        """The gradients of the operation's inputs, from those of its outputs."""
        ...

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def node_of(t: Tensor) -> Node | None:
    """The node of the operation that computed a tensor; None for one that autograd has no graph of."""
    node: Any = t.grad_fn
    return node


_SAVED: dict[str, tuple[str, ...]] = {}


def constants(n: Node) -> tuple[str, ...]:
    """The names of the saved attributes in which a linear operation keeps its constants (a mask, an index, a weight).

    Strides are left out, and so is the operation's input, which autograd keeps for its shape only."""
    if n.name() not in _SAVED:
        keeps = (a for a in dir(n) if a.startswith("_saved_") and not a.endswith("_strides"))
        _SAVED[n.name()] = tuple(
            a for a in keeps if a not in ("_saved_self", "_saved_input", "_saved_src", "_saved_source")
        )
    return _SAVED[n.name()]


def same(a: object, b: object) -> bool:
    """Whether two saved values (tensors, numbers, names, or tuples of these) are equal; NaN equals NaN."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        alias = a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
        return alias or torch.equal(a, b)
    if type(a) is tuple and a and type(a[0]) is int:  # sizes, which most nodes keep
        return a == b
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(same(i, j) for i, j in zip(a, b, strict=True))
    return type(a) is type(b) and bool(a == b or a != a)  # a NaN fill value equals itself


def input_of(n: Node) -> Tensor:
    """The operation's input, a real number: saved by autograd, noted during the forward pass, or inverted from the
    result."""
    return real(n, _input_of(n))


def real(n: Node, x: Tensor) -> Tensor:
    """`x` unchanged. Raises UnsupportedOperation where it is complex."""
    if x.is_complex():
        raise UnsupportedOperation(
            f"{n.name()} of complex numbers has no rule; of those only linear operations, products, quotients and the "
            "absolute value have one. Use real and imaginary parts, or method='integrated_gradients'.",
            n.name(),
        )
    return x


def _input_of(n: Node) -> Tensor:
    if (noted := n.metadata.get(INPUT)) is not None:
        source, version = noted
        if source._version != version:
            raise GraphError(
                f"The input of {n.name()} was overwritten by an in-place operation after it was used, and its rule "
                "needs it. Replace the in-place operation (`x += y` by `x = x + y`)."
            )
        return wide(source)
    for name in ("_saved_self", "_saved_input"):
        if isinstance(saved := getattr(n, name, None), Tensor):
            return wide(saved)
    if len(own := getattr(n, "saved_tensors", ())) == 1:  # a custom autograd function that keeps one tensor
        return wide(own[0])
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


def result_of(n: Node) -> Tensor | None:
    """The operation's result, where it was noted and has not been overwritten since."""
    result, version = n.metadata.get(OUTPUT, (None, 0))
    return wide(result) if result is not None and result._version == version else None


_INVERSE: dict[str, Callable[[Tensor], Tensor]] = {
    "TanhBackward0": torch.atanh,
    "SigmoidBackward0": torch.logit,
    "ExpBackward0": torch.log,
}


def together(n: Node, n0: Node) -> Sequence[Node]:
    """Two nodes; of the equal halves of one node of a paired batch that node, so that what is computed of both runs
    once. `apart` takes the tensors apart again."""
    both = getattr(n, "both", None)
    return (n, n0) if both is None else (both,)


def apart(both: Sequence[Tensor]) -> Sequence[Tensor]:
    """The tensor of the input and that of the baseline, from those of the nodes that `together` returned."""
    return both if len(both) == 2 else both[0].chunk(2)


def inputs_of(n: Node, n0: Node) -> Sequence[Tensor]:
    """The inputs of an operation whose result has the rows of its input, as `input_of`: of a node and of its
    partner."""
    return apart([input_of(m) for m in together(n, n0)])


def dimension(d: int) -> int:
    """A dimension as it was given: autograd shows a negative one as an unsigned number."""
    return d if d < 2**63 else d - 2**64


def unreduced(t: Tensor, dims: Sequence[int], ndim: int, keepdim: bool) -> Tensor:
    """The result of a reduction over `dims` of a tensor with `ndim` dimensions, as if it had been asked to keep them.

    keepdim: whether it was asked to, so that nothing is left to do.
    """
    if not keepdim and ndim:  # of a single number there is nothing to reduce
        for d in sorted(d % ndim for d in dims):
            t = t.unsqueeze(d)
    return t


def wide(t: Tensor) -> Tensor:
    """The tensor in float32 where it is float16 or bfloat16; any other tensor unchanged."""
    return t.float() if t.dtype in (torch.float16, torch.bfloat16) else t


def avg(a: Tensor, b: Tensor) -> Tensor:
    """(a + b)/2, in float32 at least."""
    return torch.lerp(wide(a), wide(b), 0.5)


def is_fed(n: Node, k: int) -> bool:
    """Whether input k of the operation has a gradient, and so may differ between input and baseline."""
    return n.next_functions[k][0] is not None
