"""DeepLIFT through one forward pass instead of two: rules for a batch whose rows are those of x, then those of x0.

Each tensor in the graph of such a batch holds its value at x in the first half of its rows, and its value at x0 in the
second half; a multiplier has the rows of one half. So each node is its own partner, and the rules of `rules/table.py`
get its two halves as two nodes. An input that is compared with several baselines is in the batch once (`pairs.py`).

The input has these two halves by construction. Each rule here checks that its operation keeps them apart, so all
tensors between input and output have them too. Where an operation mixes the halves, or has no rule in `HALVES`, the two
forward passes run one by one instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from ...errors import GraphMismatch
from .lockstep import LEAF, Grads, Multipliers, NotHalved, Rule, Step, graph_of
from .metadata import INPUT
from .nodes import Node, dimension, is_fed
from .operation_names import ATTENTION, HOOKED
from .pairs import EVEN, Pairs
from .rules.linear import Backward, gradients, matrix_gradients, unchanged
from .rules.table import RULES

Shape: TypeAlias = Sequence[int]
Check: TypeAlias = Callable[[Pairs, Node], bool]
"""`(pairs, node) -> whether its result has two halves as its input has, and the rows of x and those of x0 stay
apart`."""
PairedBackward: TypeAlias = Callable[[Pairs, Node, Grads], Multipliers]


class Half:
    """A node as it would be if only half of the batch had gone through the model.

    pairs: the rows of the batch. whole: its node. shape: that of its result. which: 0 for the half of x, 1 for that of
    x0. kept: the halves of the saved tensors by name, shared by both halves, so that each tensor is cut once.
    """

    def __init__(self, pairs: Pairs, whole: Node, shape: Shape, which: int, kept: dict[str, Sequence[Any]]):
        self.pairs, self.whole, self._shape, self._which, self._kept = pairs, whole, shape, which, kept

    def name(self) -> str:
        return self.whole.name()

    @property
    def both(self) -> Node | None:
        """The node that holds this half and the other, where they are its first and its last rows."""
        return self.whole if self.pairs.input_of is None else None

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        return self.whole.next_functions

    def __getattr__(self, name: str) -> Any:
        if name not in self._kept:
            value = getattr(self.whole, name)
            self._kept[name] = self._cut(value, name) if isinstance(value, Tensor) else (value, value)
        found = self.__dict__[name] = self._kept[name][self._which]
        return found

    def __call__(self, *g: Tensor | None) -> Tensor | tuple[Tensor | None, ...] | None:
        found = _twice(self.pairs, self.whole, cast(Grads, g), self._which)
        first, *others = found
        return found if others else first

    @property
    def metadata(self) -> dict[str, Any]:
        noted = self.whole.metadata
        if INPUT not in noted:
            return noted
        source, version = noted[INPUT]
        if INPUT not in self._kept:
            self._kept[INPUT] = self._cut(source, INPUT)
        return {INPUT: (self._kept[INPUT][self._which], version)}

    def _cut(self, t: Tensor, name: str) -> Sequence[Tensor]:
        """A tensor's two halves where it has the rows of the result; else the whole tensor for both."""
        by_rows = (t.ndim == len(self._shape) or name == "_saved_logsumexp") and t.shape[0] == self._shape[0]
        return self.pairs.cut(t) if by_rows else (t, t)


@dataclass(frozen=True)
class PairedRule:
    """A Rule of a batch of such pairs, in which a node is its own partner.

    keeps: whether the operation keeps the two halves, and keeps them apart. step: its Step where it does.
    """

    keeps: Check
    step: Callable[[Pairs, Node], Step]

    def __call__(self, pairs: Pairs, n: Node, _: Node) -> Step:
        """Raises NotHalved where the halves do not stay apart, and where the rule of single graphs is no longer the one
        that this one is made of."""
        name = n.name()
        if RULES.get(name) is not _BUILT_IN.get(name):
            raise NotHalved(f"The rule of {name} was replaced by another, for single graphs.")
        if not self.keeps(pairs, n):
            raise _mixed(name)
        return self.step(pairs, n)


def _mixed(name: str) -> NotHalved:
    return NotHalved(f"{name} may mix what belongs to x and what belongs to x0.")


def _shape(n: Node) -> Shape:
    """The shape of a node's result, which has halves: the walk has seen to that."""
    return n._input_metadata[0].shape


def _each(name: str, keeps: Check) -> PairedRule:
    """The rule that the table has under this name, applied to the two halves of a node."""

    def halved(pairs: Pairs, n: Node) -> Step:
        shape = _shape(n)
        kept: dict[str, Sequence[Any]] = {}
        return RULES[name](Half(pairs, n, shape, 0, kept), Half(pairs, n, shape, 1, kept))

    return PairedRule(keeps, halved)


def _twice(pairs: Pairs, n: Node, g: Grads, which: int = 1) -> Multipliers:
    """The gradient of a node that can only be called with all rows: it is called with `g` for both halves, and one half
    of the answer is taken. An input with several baselines has no gradient for each of them: the half of the baselines
    is taken, and the rules that call a node have compared its constants."""
    both = cast(Grads, tuple(None if t is None else pairs.filled(t) for t in g))
    half = which if pairs.input_of is None else 1
    return tuple(None if m is None else pairs.cut(m)[half] for m in gradients(n, both))


def _half_of_input(pairs: Pairs, n: Node) -> Shape:
    """The shape of half of the operation's input."""
    if (half := pairs.half(n._saved_self_sym_sizes)) is None:
        raise NotHalved(f"The input of {n.name()} has the sizes {n._saved_self_sym_sizes}, so it has no halves.")
    return half


def _in_order(pairs: Pairs, n: Node, g: Grads) -> Multipliers:
    """The backward of a change of shape."""
    return (g[0].reshape(_half_of_input(pairs, n)),)


def _summed(pairs: Pairs, n: Node, g: Grads) -> Multipliers:
    """The backward of a broadcast."""
    return (g[0].sum_to_size(_half_of_input(pairs, n)),)


def _selected(pairs: Pairs, n: Node, g: Grads) -> Multipliers:
    """The backward of `t[..., index]`."""
    shape, dim = _half_of_input(pairs, n), dimension(n._saved_dim)
    if shape[dim] == 1:  # there is no other element
        return (g[0].unsqueeze(dim),)
    m = g[0].new_zeros(shape)
    m.select(dim, dimension(n._saved_index)).copy_(g[0])
    return (m,)


def _convolved(pairs: Pairs, n: Node, g: Grads) -> Multipliers:
    """The backward of a convolution with constant weights; of what was convolved it reads the shape only."""
    how = (n._saved_stride, n._saved_padding, n._saved_dilation, n._saved_transposed, n._saved_output_padding)
    x, only_x = n._saved_input[: len(g[0])], [True, False, False]
    m = torch.ops.aten.convolution_backward(g[0], x, n._saved_weight, None, *how, n._saved_groups, only_x)
    return m[0], None, None


def _linear(keeps: Check, backward: PairedBackward | None = None, alone: Backward = gradients) -> PairedRule:
    """The rule of a linear operation whose constants are the same for both halves: its gradient is its multiplier.

    alone: what has the gradients, where the rows of a half are enough.
    """

    if backward is None:
        return PairedRule(keeps, lambda pairs, n: partial(alone, n))
    return PairedRule(keeps, lambda pairs, n: partial(backward, pairs, n))


def _given(constant: str, keeps: Check) -> PairedRule:
    """The rule of an operation that is linear as long as a constant, saved under this name, is the same for both
    halves. The constant may differ from row to row."""

    def linear(pairs: Pairs, n: Node) -> Step:
        shape, t = _shape(n), getattr(n, constant)
        by_rows = isinstance(t, Tensor) and t.ndim == len(shape) and t.shape[0] == shape[0]
        if by_rows and not torch.equal(*pairs.cut(t)):  # two passes will say what differs
            raise GraphMismatch(f"{n.name()} has another {constant} for x than for x0.")
        return partial(_twice, pairs, n) if by_rows else partial(gradients, n)

    return PairedRule(keeps, linear)


def _takes_apart(pairs: Pairs, n: Node) -> bool:
    """Whether an index takes the rows of each half from the same half, and by the same numbers."""
    (first, *others), rows = n._saved_indices, n._saved_self_sym_sizes[:1]
    if first is None:
        return True
    if pairs.half(first.shape) is None or pairs.half(rows) is None:
        return False
    a, b = pairs.cut(first)
    if first.dtype == torch.bool:
        return torch.equal(a, b)
    of_x, of_x0 = pairs.cut(torch.arange(rows[0], device=first.device))
    place = b - of_x0[0]  # in the half of the baselines
    if bool(((place < 0) | (b >= rows[0])).any()) or not torch.equal(of_x[place], a):
        return False
    given = [t for t in others if t is not None and t.ndim >= first.ndim and len(t) > 1]
    return all(t.ndim == first.ndim and torch.equal(*pairs.cut(t)) for t in given)


def _product(name: str, left: str, right: str) -> PairedRule:
    """The rule of a product: where one factor is a constant, that of a linear operation.

    left, right: the names of the saved attributes that hold the factors.
    """
    both = _each(name, _rows_first)
    one = _given(right, _rows_first), _given(left, _rows_first)
    of = lambda n: both if is_fed(n, 0) and is_fed(n, 1) else one[is_fed(n, 1)]
    return PairedRule(_rows_first, lambda pairs, n: of(n).step(pairs, n))


def _always(pairs: Pairs, n: Node) -> bool:
    """True, for an operation that leaves the first dimension as it is, such as one on one element at a time."""
    return True


def _divides(pairs: Pairs, n: Node) -> bool:
    """Whether the rows of the result fall into halves, of an operation that keeps all elements in their order."""
    return pairs.half(_shape(n)) is not None


def _rows_first(pairs: Pairs, n: Node) -> bool:
    """Whether every input has the rows of the result, and is not broadcast along them."""
    shape = _shape(n)
    fed = [node._input_metadata[nr].shape for node, nr in n.next_functions if node is not None]
    return all([len(f) == len(shape) and f[0] == shape[0] for f in fed])


def _beside(*names: str) -> Check:
    """The check of an operation along dimensions: whether none of those that the attributes `names` hold is the
    first."""

    def keeps(pairs: Pairs, n: Node) -> bool:
        node, nr = next((node, nr) for node, nr in n.next_functions if node is not None)
        ndim = max(len(_shape(n)), len(node._input_metadata[nr].shape))
        for name in names:
            dims = getattr(n, name)
            for d in dims if isinstance(dims, tuple) else (dims,):
                if d is None or not dimension(d) % ndim:
                    return False
            if dims == ():  # all dimensions
                return False
        return True

    return keeps


def _only(place: int) -> Check:
    """The check of a product of the rows with one matrix: whether the input with this number is the only one that
    depends on the input of the whole function."""
    return lambda pairs, n: [k for k, (node, _) in enumerate(n.next_functions) if node is not None] == [place]


def _both(*checks: Check) -> Check:
    return lambda pairs, n: all([keeps(pairs, n) for keeps in checks])


def _stays_first(pairs: Pairs, n: Node) -> bool:
    return dimension(n._saved_dims[0]) % len(_shape(n)) == 0


def _norm(pairs: Pairs, n: Node) -> bool:
    return len(n._saved_normalized_shape) < len(_shape(n)) and _only(0)(pairs, n)


def _in_evaluation(pairs: Pairs, n: Node) -> bool:
    return not n._saved_training and _only(0)(pairs, n)


_VALUES = """
    Gelu Silu Mish LogSigmoid Sigmoid Tanh Exp Log Log1P Erf Sqrt Rsqrt Reciprocal Pow Relu Abs LeakyRelu Elu Hardtanh
    Hardswish Softplus
""".split()
_LINEAR: dict[str, PairedRule] = {
    **dict.fromkeys(["View", "UnsafeView", "ReshapeAlias", "Squeeze"], _linear(_divides, _in_order)),
    **dict.fromkeys(["Neg", "ToCopy"], _linear(_always)),
    **dict.fromkeys(["Clone", "Alias"], _linear(_always, alone=unchanged)),
    **dict.fromkeys(["Add", "Sub"], _linear(_rows_first)),
    **dict.fromkeys(["Unsqueeze", "Cat", "Stack"], _linear(_beside("_saved_dim"))),
    "Select": _linear(_beside("_saved_dim"), _selected),
    **dict.fromkeys(["Slice", "Split", "SplitWithSizes", "Unbind"], _linear(_beside("_saved_dim"), _twice)),
    "Index": PairedRule(_takes_apart, lambda pairs, n: partial(_twice, pairs, n)),
    "Expand": _linear(_rows_first, _summed),
    "Transpose": _linear(_beside("_saved_dim0", "_saved_dim1")),
    "Permute": _linear(_stays_first),
    "Addmm": _linear(_only(1), alone=matrix_gradients),
    "Mm": _linear(_only(0), alone=matrix_gradients),
    "MaskedFill": _given("_saved_mask", _rows_first),
    "Gather": _given("_saved_index", _both(_rows_first, _beside("_saved_dim"))),
}

_PAIRED: Mapping[str, PairedRule] = {
    **{f"{name}Backward0": rule for name, rule in _LINEAR.items()},
    **{f"{name}Backward1": _linear(_always) for name in ("Add", "Sub", "Mul", "Div")},
    **{f"{name}Backward1": _linear(_beside("_saved_dim"), _twice) for name in ("Sum", "Mean")},
    "SqueezeBackward1": _linear(_beside("_saved_dim"), _in_order),
    **{name: _each(name, _always) for name in (f"{v}Backward0" for v in _VALUES)},
    **{name: _each(name, _rows_first) for name in (f"{a}Backward0" for a in ATTENTION)},
    **{name: _each(name, _beside("_saved_dim")) for name in (f"{s}SoftmaxBackward0" for s in ("", "Safe", "Log"))},
    **{name: _each(name, _rows_first) for name in (f"MaxPool{d}DWithIndicesBackward0" for d in (2, 3))},
    **{f"{name}Backward0": _linear(_rows_first, _twice) for name in ("AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D")},
    HOOKED: _linear(_always, alone=unchanged),
    "ConvolutionBackward0": _linear(_only(0), _convolved),
    "NativeBatchNormBackward0": _each("NativeBatchNormBackward0", _in_evaluation),
    "NativeLayerNormBackward0": _each("NativeLayerNormBackward0", _norm),
    "MulBackward0": _product("MulBackward0", "_saved_self", "_saved_other"),
    "DivBackward0": _product("DivBackward0", "_saved_self", "_saved_other"),
    "BmmBackward0": _product("BmmBackward0", "_saved_self", "_saved_mat2"),
}


def halved(made: Sequence[Tensor]) -> None:
    """Raises NotHalved where one of the operations that made tensors from a batch of pairs, in which each input has one
    baseline, may mix the halves."""
    for n in graph_of(*made):
        if (name := n.name()) != LEAF and ((rule := _PAIRED.get(name)) is None or not rule.keeps(EVEN, n)):
            raise _mixed(name)


def paired_rules(pairs: Pairs) -> Mapping[str, Rule]:
    """The rules of a batch of such pairs, by autograd's name of the node."""
    return HALVES if pairs is EVEN else {name: partial(rule, pairs) for name, rule in _PAIRED.items()}


HALVES: Mapping[str, Rule] = {name: partial(rule, EVEN) for name, rule in _PAIRED.items()}
"""The rules of a batch in which each input has one baseline."""
_BUILT_IN = dict(RULES)
