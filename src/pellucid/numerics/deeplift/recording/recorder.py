"""Runs a forward pass unmodified, and notes on its autograd nodes what rules need and autograd does not keep."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ....errors import UnsupportedOperation
from ...attention.logits import attention_logits, fusable
from ...torch_calls import Args, Kwargs, TorchFunction, Value, name_of
from ..metadata import CALL, IN_PLACE, INPUT, OUTPUT, OVERWRITTEN, SLICES
from ..nodes import node_of
from .code_location import place_of
from .conditions import COMPARISONS, Compared, note_choice, remember
from .cut_paths import READ_OUT, takes_a_shape
from .inner_calls import HIDING, SHOWN, hides, run_seen
from .training_calls import TRAINING, refuse


class Recording(TorchFunctionMode):
    """Runs a forward pass unmodified, with gradients, and notes on its autograd nodes what rules need and autograd does
    not keep.

    Autograd saves only the *result* of ReLU, tanh, softmax and others, and their rules need the input: it is noted on
    the node. Parameters among the arguments are passed on detached, so that no graph is built for them, and no flag of
    theirs is touched. If the inputs are float64, a model's casts down to float32 (rotary embeddings, RMS norms) stay in
    float64, because they would round the proof away. Where such a tensor then meets one that the model made in float32,
    in an operation that takes one type alone (a matrix product), the other is read in float64 too.

    inputs: the leaves of the forward pass. noted: for each torch function whose input is noted, the name of its node.
    loses: whether a value without a gradient was made of one with a gradient (by `detach`, a comparison, `.item()`).
    measures: whether the pass asked for the size of a tensor, or made one like another, and so may depend on how many
    rows there are.
    double: whether the inputs are float64.
    """

    def __init__(self, inputs: Sequence[Tensor], noted: Mapping[str, str]):
        super().__init__()
        self.inputs = set(map(id, inputs))
        self.double = torch.float64 in [x.dtype for x in inputs]
        self.noted = noted
        self.compared: Compared = {}
        self.loses = self.measures = False

    def __enter__(self) -> Recording:
        self._gradients = torch.set_grad_enabled(True)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._gradients.__exit__(*error)

    def __torch_function__(
        self, func: TorchFunction, types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> Value:
        if func in READS:
            if func in _SIZES:
                self.measures = True
            return func(*args, **(kwargs or {}))
        bare = self._without_parameters
        kwargs = {k: v if type(v) in _CONSTANTS else bare(v) for k, v in kwargs.items()} if kwargs else {}
        args = tuple(
            [
                a.detach()
                if (kind := type(a)) is Parameter and a.requires_grad
                else a
                if kind in _CONSTANTS or (kind is Tensor and not (a.requires_grad and a.is_leaf))
                else bare(a)
                for a in args
            ]
        )
        name, in_place, plain = _of(func, self.double)
        source = args[0] if args else kwargs.get("input")
        if plain and not kwargs.get("inplace"):
            out = _widened(func, args, kwargs) if self.double else func(*args, **kwargs)
            if not self.loses and getattr(out, "requires_grad", None) is not True:
                self._note_loss(name, (*args, *kwargs.values()), out)
            if name in self.noted:
                _note(self.noted[name], out, source)
            return out
        noted = self.noted.get(name.rstrip("_"))
        in_place = in_place or kwargs.get("inplace", False)
        if self.double and name in _CASTS and isinstance(source, Tensor) and source.dtype == torch.float64:
            if name == "float":
                return source
            args, kwargs = tuple(_undemoted(a) for a in args), {k: _undemoted(v) for k, v in kwargs.items()}
        if name in TRAINING:
            refuse(name, args, kwargs)
        if name == "scaled_dot_product_attention":
            args, kwargs = fusable(*args, **kwargs)
        if name in SHOWN and self.noted:
            return SHOWN[name](*args, **kwargs)
        if hides(name, args, kwargs):
            return run_seen(name, func, args, kwargs, self.noted)
        before = source.detach().clone() if noted and in_place and isinstance(source, Tensor) else source
        overwritten = _overwritten(name, source, args, kwargs) if in_place and self.noted else None
        out = _widened(func, args, kwargs) if self.double else func(*args, **kwargs)
        if not self.loses and getattr(out, "requires_grad", None) is not True:
            self._note_loss(name, (*args, *kwargs.values()), out)
        if overwritten is not None:
            _note_overwritten(out, overwritten)
        elif noted:
            _note(noted, out, before)
        elif name in _RESULTS and self.noted:
            _note_output(out, name)
        elif name in COMPARISONS:
            remember(self.compared, out, args)
        elif name in _CHOICES:
            note_choice(self.compared, out, args)
        elif name == "scaled_dot_product_attention":
            _note_logits(out, *args, **kwargs)
        elif in_place and isinstance(source, Tensor):
            _note_call(source, name, args, kwargs)
        return out

    def _note_loss(self, name: str, given: Args, out: Value) -> None:
        """Notes what a call, of whose results one may have no gradient, took of the values that have one: themselves,
        or their shape."""
        made = out if (several := isinstance(out, (tuple, list))) else (out,)
        self.measures |= several  # how many there are may tell the rows
        if name not in READ_OUT and not any(isinstance(t, Tensor) and not t.requires_grad for t in made):
            return
        if takes_a_shape(name):
            self.measures = True
        else:
            each = (t for a in given for t in (a if type(a) in (list, tuple) else (a,)))
            self.loses = any(isinstance(t, Tensor) and t.requires_grad for t in each)

    def _without_parameters(self, a: Value) -> Value:
        if isinstance(a, Tensor):
            if not a.requires_grad or not a.is_leaf or id(a) in self.inputs:
                return a
            return a if is_functorch_wrapped_tensor(a) else a.detach()  # torch.func.grad's are no parameters
        if (kind := type(a)) is list or kind is tuple:
            return kind([item if type(item) in _CONSTANTS else self._without_parameters(item) for item in a])
        return a


_SIZES = frozenset(
    {getattr(Tensor, name).__get__ for name in ("shape", "nbytes")}
    | {getattr(Tensor, name) for name in ("size", "__len__", "numel", "nelement", "stride", "__iter__")}
    | {torch.numel}
)
READS = (
    _SIZES
    | {getattr(Tensor, name).__get__ for name in ("ndim", "dtype", "device")}
    | {getattr(Tensor, name).__set__ for name in ("data",)}
)
"""What a model asks of a tensor all the time, and what makes none: also to write a parameter anew, itself."""
_CASTS = frozenset({"float", "half", "bfloat16", "to", "type", "softmax", "log_softmax", "sum", "mean"})
_NARROW = frozenset({torch.float32})


_CONSTANTS = frozenset({int, float, bool, str, type(None), torch.dtype, torch.device})
_RESULTS = {name: "Threshold" for name in ("threshold", "threshold_", "_threshold")}
"""Torch functions whose result is noted, because the node keeps too little to have it again."""
_CHOICES = frozenset({"where", "masked_fill"})
_SPECIAL = frozenset().union(
    TRAINING, HIDING, SHOWN, _RESULTS, COMPARISONS, _CHOICES, READ_OUT, {"scaled_dot_product_attention"}
)


@cache
def _of(func: TorchFunction, double: bool) -> tuple[str, bool, bool]:
    """The name of a torch function, whether it works in place, and whether a call of it needs no attention.

    double: as in `Recording`."""
    name = name_of(func)
    in_place = name == "__setitem__" or name[-1:] == "_" != name[-2:-1]
    return name, in_place, not (in_place or name in _SPECIAL or (double and name in _CASTS))


def _undemoted(a: Value) -> Value:
    return torch.float64 if isinstance(a, torch.dtype) and a in _NARROW else a


def _widened(func: TorchFunction, args: Args, kwargs: Kwargs) -> Value:
    """What a function returns; of its arguments in float64, where it refuses float64 beside float32."""
    try:
        return func(*args, **kwargs)
    except RuntimeError:
        found = {t.dtype for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        if not {torch.float32, torch.float64} <= found:
            raise
    wide = lambda t: t.double() if t.dtype == torch.float32 else t
    args, kwargs = tree_map_only(Tensor, wide, (args, kwargs))
    return func(*args, **kwargs)


def _note(node_name: str, out: Value, source: Value) -> None:
    first = out if isinstance(out, Tensor) else next((o for o in out if isinstance(o, Tensor)), None)
    node = None if first is None else node_of(first)
    if isinstance(source, Tensor) and node is not None and node.name().startswith(node_name):
        kept = source.detach()
        node.metadata[INPUT] = (kept, kept._version)


def _note_output(out: Tensor, name: str) -> None:
    node = node_of(out)
    if node is not None and node.name().startswith(_RESULTS[name]):
        node.metadata[OUTPUT] = (out.detach(), out._version)


def _note_call(target: Tensor, name: str, args: Args, kwargs: Kwargs) -> None:
    """Notes the call of an in-place operation on a view, whose node does not tell which operation it holds."""
    node = node_of(target)
    if node is not None and node.name() != SLICES and target._is_view():
        node = node.next_functions[0][0]
    if node is not None and node.name() == SLICES:
        fed = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        plain = tuple(a.detach() if isinstance(a, Tensor) else a for a in args[1:])  # no way back to the graph: a cycle
        node.metadata[CALL] = (name, (None, *plain), fed, kwargs.get("alpha"))


def _overwritten(name: str, target: Value, args: Args, kwargs: Kwargs) -> Value:
    """For an in-place function of a single view: the function, the viewed tensor before the call, and the view's places
    in it.

    None for any other call.
    """
    more = {k: v for k, v in kwargs.items() if k not in ("input", "inplace")}
    apply = getattr(Tensor, name.rstrip("_"), None) or getattr(torch.nn.functional, name.rstrip("_"), None)
    alone = not any(isinstance(a, Tensor) for a in (*args[1:], *more.values()))
    one = isinstance(target, Tensor) and target.requires_grad and target._is_view() and alone
    if name in IN_PLACE or apply is None or not one:
        return None
    whole = cast(Tensor, target._base)
    places = torch.empty_strided(whole.size(), whole.stride(), dtype=torch.int64, device=whole.device)
    places.copy_(torch.arange(whole.numel(), device=whole.device).view(whole.shape))
    at = places.as_strided(target.size(), target.stride(), target.storage_offset() - whole.storage_offset())
    rest = args[1:]
    return lambda t: apply(t, *rest, **more), whole.detach().clone(), at


def _note_overwritten(out: Tensor, overwritten: Value) -> None:
    node = None if out._base is None else node_of(out._base)
    if node is not None and node.name() == SLICES and out.shape == overwritten[2].shape:
        node.metadata[OVERWRITTEN] = overwritten


def _note_logits(
    out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> None:
    """Notes the logits of a call of attention that no fused kernel took, on the node of the softmax inside."""
    node = node_of(out)
    while node is not None and node.name() not in ("SafeSoftmaxBackward0", "SoftmaxBackward0"):
        if "Attention" in node.name() or not node.next_functions:
            return
        node = node.next_functions[0][0]  # the product with v, and views: the softmax is on their left
    if node is None:
        return
    mask = None if attn_mask is None else attn_mask.detach()
    z = attention_logits(q.detach(), k.detach(), mask, is_causal, scale, enable_gqa, -torch.inf)
    node.metadata[INPUT] = (z, z._version)


@cache
def _keep_freed_memory() -> None:
    """Lets the C library keep up to 64 MB of what one batch's graph gives back, for the next: some 10,000 page faults a
    batch less on a CPU. It learns by itself how much to keep, from the largest block up to 32 MB that was ever freed;
    here is one, never written to."""
    torch.empty(31 << 20, dtype=torch.uint8)


def forward_pass(inputs: Sequence[Tensor], noted: Mapping[str, str]) -> Recording:
    """A context in which everything is differentiable with respect to `inputs`, and to nothing else, and is recorded.

    noted: as in `Recording`.
    """
    _keep_freed_memory()
    return Recording(inputs, noted)


class _Locating(TorchFunctionMode):
    """Looks for the place in the code that made, or first used, a node of some name."""

    def __init__(self, operation: str):
        super().__init__()
        self.operation, self.found = operation, ""

    def __torch_function__(
        self, func: TorchFunction, types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> Value:
        out = func(*args, **(kwargs or {}))
        nodes = [t.grad_fn for t in (out, *args) if isinstance(t, Tensor) and t.grad_fn is not None]
        if not self.found and any(n.name() == self.operation for n in nodes):
            self.found = place_of(sys._getframe(1))
        return out


def located(error: UnsupportedOperation, forward: Callable[[], object]) -> UnsupportedOperation:
    """The error, with the module that its operation ran in, where `forward`, which runs the pass again, lets it be
    found."""
    with torch.enable_grad(), _Locating(error.operation) as mode:
        forward()
    return UnsupportedOperation(f"{error} It ran in {mode.found}.", error.operation) if mode.found else error
