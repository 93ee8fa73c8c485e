"""Two forward passes as one: rules for the graph of a batch that holds x and, as many rows again, x0.

A tensor of such a graph has in the first half of dimension 0 what it would be at x, and in the second what it would be
at x0; a multiplier has the rows of one half. So a node is its own partner, and the rules of `rules.RULES` get its two
halves as two nodes.

That dimension 0 has these halves is true of the input, and each rule here checks that its operation keeps it true: so
it is of all tensors between input and output. Where one does not, or is not in `HALVES`, the passes run one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...errors import GraphMismatch
from .lockstep import Grads, NotHalved, Rule, Step, in_two_steps
from .metadata import INPUT
from .nodes import dimension, is_fed
from .operation_names import ATTENTION
from .rules.table import RULES

Shape = tuple[int, ...]
Check = Callable[[Any, Shape], bool]
"""`(node, shape of its result) -> whether the halves of its inputs are those of its result`."""


class Half:
    """A node as it would be, had only half of the batch gone through the model."""

    def __init__(self, whole: Any, shape: Shape, which: int, kept: dict[str, Sequence[Any]]):
        self.whole, self._shape, self._which, self._kept = whole, shape, which, kept

    def __getattr__(self, name: str) -> Any:
        if name not in self._kept:
            value = getattr(self.whole, name)
            self._kept[name] = self._cut(value, name) if isinstance(value, Tensor) else (value, value)
        found = self.__dict__[name] = self._kept[name][self._which]
        return found

    def __call__(self, *g: Any) -> Any:
        found: Any = _twice(self.whole, g, self._which)
        return found if len(found) > 1 else found[0]

    @property
    def metadata(self) -> dict[str, Any]:
        noted = self.whole.metadata
        if INPUT not in noted:
            return noted
        source, version = noted[INPUT]
        return {INPUT: (self._cut(source, INPUT)[self._which], version)}

    def _cut(self, t: Tensor, name: str) -> Sequence[Tensor]:
        """The halves of a tensor that has the rows of the result; others are the same for both."""
        by_rows = (t.ndim == len(self._shape) or name == "_saved_logsumexp") and t.shape[0] == self._shape[0]
        return t.chunk(2) if by_rows else (t, t)


def _checked(n: Any, keeps: Check) -> Shape:
    shape = tuple(n._input_metadata[0].shape)
    if not shape or shape[0] % 2 or not keeps(n, shape):
        raise NotHalved(f"{n.name()} may mix what belongs to x and what belongs to x0.")
    return shape


def _each(name: str, keeps: Check) -> Rule:
    """The rule of this name, for the two halves of a node."""

    @in_two_steps
    def halved(n: Any, _: Any) -> Step:
        rule: Any = RULES[name]
        shape = _checked(n, keeps)
        kept: dict[str, Sequence[Any]] = {}  # in common: what one of them cuts, it cuts for both
        halves = Half(n, shape, 0, kept), Half(n, shape, 1, kept)
        return rule.begin(*halves) if hasattr(rule, "begin") else partial(rule, *halves)

    return halved


def _called(n: Any, g: Grads) -> Grads:
    m = n(*g)
    return m if isinstance(m, tuple) else (m,)


def _twice(n: Any, g: Grads, which: int = 0) -> Grads:
    """The node's gradient where it depends on the number of rows: of all of them, and of that one half."""
    found = _called(n, tuple(None if t is None else torch.cat((t, t)) for t in g))
    return tuple(None if m is None else m.chunk(2)[which] for m in found)


def _half_of_input(n: Any) -> Shape:
    rows, *others = n._saved_self_sym_sizes
    if rows % 2:
        raise NotHalved(f"{n.name()} makes rows of what has none.")
    return rows // 2, *others


def _in_order(n: Any, g: Grads) -> Grads:
    return (g[0].reshape(_half_of_input(n)),)


def _summed(n: Any, g: Grads) -> Grads:
    return (g[0].sum_to_size(_half_of_input(n)),)


def _linear(keeps: Check, through: Callable[[Any, Grads], Grads] = _called) -> Rule:
    """A linear operation with the same constants for both halves: its gradient is its multiplier."""

    @in_two_steps
    def linear(n: Any, _: Any) -> Step:
        _checked(n, keeps)
        return partial(through, n)

    return linear


def _given(constant: str, keeps: Check) -> Rule:
    """Linear given a constant, which may differ from row to row, but not between the halves."""

    @in_two_steps
    def linear(n: Any, _: Any) -> Step:
        shape, t = _checked(n, keeps), getattr(n, constant)
        by_rows = isinstance(t, Tensor) and t.ndim == len(shape) and t.shape[0] == shape[0]
        if by_rows and not torch.equal(*t.chunk(2)):  # two passes will say what differs
            raise GraphMismatch(f"{n.name()} has another {constant} for x than for x0.")
        return partial(_twice if by_rows else _called, n)

    return linear


def _indexed(n: Any, shape: Shape) -> bool:
    """Whether rows of each half are taken from that half, and by the same indices."""
    first, *others = n._saved_indices
    if first is None:
        return True
    if first.ndim == 0 or len(first) % 2:
        return False
    if first.dtype == torch.bool:
        return torch.equal(*first.chunk(2))
    rows, (a, b) = n._saved_self_sym_sizes[0] // 2, first.chunk(2)
    if bool(((a < 0) | (a >= rows)).any()) or not torch.equal(a + rows, b):
        return False
    given = [t for t in others if t is not None and t.ndim >= first.ndim and len(t) > 1]
    return all(t.ndim == first.ndim and torch.equal(*t.chunk(2)) for t in given)


def _product(name: str, left: str, right: str) -> Rule:
    """Linear where one of the factors is a constant."""
    both = _each(name, _rows_first)
    one = _given(right, _rows_first), _given(left, _rows_first)

    @in_two_steps
    def rule(n: Any, n0: Any) -> Step:
        chosen: Any = both if is_fed(n, 0) and is_fed(n, 1) else one[is_fed(n, 1)]
        return chosen.begin(n, n0)

    return rule


def _always(n: Any, shape: Shape) -> bool:
    """An operation on one value at a time, or one that leaves the order of all values as it is."""
    return True


def _rows_first(n: Any, shape: Shape) -> bool:
    """Whether no input is broadcast along the rows."""
    fed = [node._input_metadata[nr].shape for node, nr in n.next_functions if node is not None]
    return all(len(f) == len(shape) and f[0] == shape[0] for f in fed)


def _beside(*names: str) -> Check:
    """Works along dimensions that these attributes name, of which none is the first."""

    def keeps(n: Any, shape: Shape) -> bool:
        node, nr = next((node, nr) for node, nr in n.next_functions if node is not None)
        ndim = max(len(shape), len(node._input_metadata[nr].shape))
        found = [getattr(n, name) for name in names]
        dims = [d for each in found for d in (each if isinstance(each, tuple) else (each,))]
        return bool(dims) and all(d is not None and dimension(d) % ndim for d in dims)

    return keeps


def _only(place: int) -> Check:
    """A product of the rows with one matrix: nothing but the input at this place carries a difference."""
    return lambda n, shape: [k for k, (node, _) in enumerate(n.next_functions) if node is not None] == [place]


def _stays_first(n: Any, shape: Shape) -> bool:
    return dimension(n._saved_dims[0]) % len(shape) == 0


def _norm(n: Any, shape: Shape) -> bool:
    return len(n._saved_normalized_shape) < len(shape) and _only(0)(n, shape)


_VALUES = """
    Gelu Silu Mish LogSigmoid Sigmoid Tanh Exp Log Log1P Erf Sqrt Rsqrt Reciprocal Pow Relu Abs LeakyRelu Elu Hardtanh
    Hardswish Softplus
""".split()
_LINEAR: dict[str, Rule] = {
    **dict.fromkeys(["View", "UnsafeView", "ReshapeAlias"], _linear(_always, _in_order)),
    **dict.fromkeys(["Neg", "Clone", "ToCopy", "Alias"], _linear(_always)),
    **dict.fromkeys(["Add", "Sub"], _linear(_rows_first)),
    **dict.fromkeys(["Unsqueeze", "Cat", "Stack"], _linear(_beside("_saved_dim"))),
    **dict.fromkeys(["Select", "Slice", "Split", "SplitWithSizes", "Unbind"], _linear(_beside("_saved_dim"), _twice)),
    "Index": _linear(_indexed, _twice),
    "Expand": _linear(_rows_first, _summed),
    "Squeeze": _linear(_always, _twice),
    "Transpose": _linear(_beside("_saved_dim0", "_saved_dim1")),
    "Permute": _linear(_stays_first),
    "Addmm": _linear(_only(1)),
    "Mm": _linear(_only(0)),
    "MaskedFill": _given("_saved_mask", _rows_first),
    "Gather": _given("_saved_index", lambda n, shape: _rows_first(n, shape) and _beside("_saved_dim")(n, shape)),
}

HALVES: Mapping[str, Rule] = {
    **{f"{name}Backward0": rule for name, rule in _LINEAR.items()},
    **{f"{name}Backward1": _linear(_always) for name in ("Add", "Sub", "Mul", "Div")},
    **{f"{name}Backward1": _linear(_beside("_saved_dim"), _twice) for name in ("Squeeze", "Sum", "Mean")},
    **{name: _each(name, _always) for name in (f"{v}Backward0" for v in _VALUES)},
    **{name: _each(name, _rows_first) for name in (f"{a}Backward0" for a in ATTENTION)},
    **{name: _each(name, _beside("_saved_dim")) for name in (f"{s}SoftmaxBackward0" for s in ("", "Safe", "Log"))},
    "NativeLayerNormBackward0": _each("NativeLayerNormBackward0", _norm),
    "MulBackward0": _product("MulBackward0", "_saved_self", "_saved_other"),
    "DivBackward0": _product("DivBackward0", "_saved_self", "_saved_other"),
    "BmmBackward0": _product("BmmBackward0", "_saved_self", "_saved_mat2"),
}
