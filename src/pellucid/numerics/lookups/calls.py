"""Finds the look-ups of a function, where it turns integer inputs into floats: `table(ids)`, `weight[ids]`,
`ids.float()`.

An integer has no gradient, but what a look-up returns has one. Run on the ids of the input and on those of the
baseline, a function makes the same look-ups, and the values that they return on both sides are inputs like any other.
`Lookups` is a mode around one pass that finds the look-ups, reads their values, or puts other values in their place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ...errors import WITHOUT_GRADIENT, GraphMismatch, UnsupportedOperation
from ..torch_calls import Args, Kwargs, TorchFunction, Value, name_of


@dataclass(frozen=True)
class Call:
    """A call of a torch function with integers that were made of the input's ids.

    values: how many look-ups the call is. A call that returns floats made of ids alone is one look-up, its result. One
        that combines ids with other floats (`h * mask`) is a look-up for each of its integers, as floats. One that
        returns integers is none.
    operands: whether the look-ups are its integers, as floats.
    in_place: whether its result is its first argument, changed.
    """

    name: str
    values: int = 0
    operands: bool = False
    in_place: bool = False


@dataclass(frozen=True)
class Plan:
    """The calls of a pass that were given ids, in order, and the names of those that read ids in another way than by a
    look-up."""

    calls: tuple[Call, ...]
    others: tuple[str, ...]

    @property
    def values(self) -> int:
        """How many look-ups there are."""
        return sum(call.values for call in self.calls)


class Enough(BaseException):
    """Raised to end a pass after the last look-up."""


class Lookups(TorchFunctionMode):
    """A mode around one pass of a function, which finds its look-ups, reads their values, or puts other values in their
    place.

    ids: the integer inputs. carried: the float inputs.
    plan: the calls of an earlier pass; None to find them.
    given: for each look-up the value that it returns in this pass; None for its own.
    stop: whether to raise Enough after the last look-up.
    After the pass, `read` holds the look-ups' own values.
    """

    def __init__(
        self,
        ids: Sequence[Tensor],
        carried: Sequence[Tensor] = (),
        plan: Plan | None = None,
        given: Sequence[Tensor | None] | None = None,
        stop: bool = False,
    ):
        super().__init__()
        self.plan, self.given, self.stop = plan, given, stop
        self.calls: list[Call] = []
        self.others: list[str] = []
        self.read: list[Tensor] = []
        self.ids: dict[int, Tensor] = {}  # by where its numbers are: a view of it, or a write to it, is found again
        self.floats: dict[int, Tensor] = {}
        self.written: set[int] = set()
        for t in ids:
            self._note(self.ids, t)
        for t in carried:
            self._note(self.floats, t)

    def found(self) -> Plan:
        """The plan of the pass. Raises GraphMismatch where an earlier pass made more calls."""
        if self.plan is not None and len(self.calls) != len(self.plan.calls):
            raise _differs(self.plan.calls[len(self.calls)].name, None)
        return self.plan or Plan(tuple(self.calls), tuple(dict.fromkeys(self.others)))

    def __torch_function__(
        self, func: TorchFunction, types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> Value:
        kwargs = kwargs or {}
        name = name_of(func)
        told = args[:1] if name in _LIKE_FIRST else () if name in _SHAPE_ONLY else (args, kwargs)
        among = list(_tensors(told))
        ids = [t for t in among if not t.is_floating_point() and _place(t) in self.ids]
        if not ids:
            out = func(*args, **kwargs)
            if self.plan is None and any(_place(t) in self.floats for t in among):
                self._note_all(self.floats, _result(name, args, out), floats=True)
            return out
        if name == "embedding_bag" and kwargs.get("mode", "mean") != "max":
            with self:
                return _bag(*args, **kwargs)
        return self._found(func, name, args, kwargs, ids) if self.plan is None else self._again(func, args, kwargs, ids)

    def _found(self, func: TorchFunction, name: str, args: Args, kwargs: Kwargs, ids: list[Tensor]) -> Value:
        """Runs a call of the first pass, and finds out what kind of look-up it is."""
        both = [t for t in _tensors((args, kwargs)) if _place(t) in self.floats and _place(t) not in self.written]
        given = [i.clone() for i in ids]
        operands = bool(both) and name.strip("_") in _ARITHMETIC
        before = args[0].clone() if name in _CHOICES and both and isinstance(args[0], Tensor) else None
        out = func(*args, **kwargs)
        to = _result(name, args, out)
        _check_dense(name, to)
        in_place = isinstance(to, Tensor) and bool(args) and to is args[0]
        if not isinstance(to, Tensor) or not to.is_floating_point():
            self.calls.append(Call(name))
            if name in _ESCAPES or both:
                self.others.append(_named(name))
            elif name not in _SHAPE_ONLY:
                self._note_all(self.ids, to, floats=False)
            return out
        if before is not None:
            masks = {id(i): g.to(to.dtype) for i, g in zip(ids, given, strict=True)}
            operands = torch.equal(_CHOICES[name](*_swapped(args, masks), **_swapped(kwargs, masks)), to)
        if both and not operands:
            self.calls.append(Call(name))
            self.others.append(_named(name))
        else:
            values = [g.to(to.dtype) for g in given] if operands else [to.detach().clone()]
            self.calls.append(Call(name, len(values), operands, in_place))
            self.read += values
            if in_place and not both:
                self.written.add(_place(to))
        if both:
            self.written.discard(_place(to))
        self._note(self.floats, to)
        return out

    def _again(self, func: TorchFunction, args: Args, kwargs: Kwargs, ids: list[Tensor]) -> Value:
        """Runs a call of a later pass, with the values that are given for its look-ups."""
        assert self.plan is not None
        name, k = name_of(func), len(self.calls)
        call = self.plan.calls[k] if k < len(self.plan.calls) else None
        if call is None or call.name != name:
            raise _differs(None if call is None else call.name, name)
        self.calls.append(call)
        first = len(self.read)
        mine = [None] * call.values if self.given is None else list(self.given[first : first + call.values])
        if call.operands:
            own = [i.to(_dtype(args, kwargs)) for i in ids]
            self.read += own
            masks = {id(i): o if g is None else g for i, o, g in zip(ids, own, mine, strict=True)}
            apply = _CHOICES.get(name, func)
            out = apply(*_swapped(args, masks), **_swapped(kwargs, masks))
        elif call.values and mine[0] is not None and not call.in_place:
            self.read.append(mine[0])
            with torch.set_grad_enabled(mine[0].requires_grad):  # a table may be read without gradients of its weights
                out = mine[0].clone()  # the function may change it
        else:
            out = func(*args, **kwargs)
            to = _result(name, args, out)
            if call.values:
                self.read.append(to.detach().clone())
                if mine[0] is not None:
                    to.copy_(mine[0])
            elif name not in _SHAPE_ONLY and not (isinstance(to, Tensor) and to.is_floating_point()):
                self._note_all(self.ids, to, floats=False)
        if self.stop and call.values and len(self.read) == self.plan.values:
            raise Enough
        return out

    def _note_all(self, known: dict[int, Tensor], tree: Value, floats: bool) -> None:
        for t in _tensors(tree):
            if t.is_floating_point() == floats:
                self._note(known, t)

    def _note(self, known: dict[int, Tensor], t: Tensor) -> None:
        if t.numel():
            known[_place(t)] = t  # kept, so that nothing else comes to stand in its place


_SHAPE_ONLY = frozenset(
    "zeros_like ones_like empty_like full_like rand_like randn_like new_zeros new_ones new_empty new_full new_tensor "
    "size dim __get__ numel stride is_floating_point __len__ is_contiguous element_size data_ptr storage_offset "
    "is_complex untyped_storage nelement ndimension get_device".split()
)
"""Functions that look at a tensor's shape, type and place only."""
_LIKE_FIRST = frozenset("expand_as view_as reshape_as type_as resize_as_".split())
"""Functions of their first argument that look at the shape and type of the second."""
_ESCAPES = frozenset("item tolist numpy __bool__ __int__ __index__ __float__ __array__ __contains__ equal".split())
"""What makes of a tensor something that is none."""
_ARITHMETIC = frozenset(
    "add sub rsub mul div true_divide subtract multiply divide pow radd rmul iadd isub imul itruediv truediv rtruediv "
    "rdiv idiv addcmul maximum minimum".split()
)
"""Functions of numbers, to which an integer is the float of the same value."""


def _masked_fill(input: Tensor, mask: Tensor, value: Value) -> Tensor:
    return input * (1 - mask) + value * mask


def _where(condition: Tensor, input: Value, other: Value) -> Tensor:
    return input * condition + other * (1 - condition)


_CHOICES: dict[str, Callable[..., Tensor]] = {"masked_fill": _masked_fill, "where": _where}
"""Choices by a mask, as sums with its two values for weights; where that gives the same (not for ±infinity)."""


def _bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """`F.embedding_bag` as a look-up and a sum, so that each id has a vector of its own."""
    found = F.embedding(input, weight, None, max_norm, norm_type)
    keep = torch.ones_like(found[..., :1])
    if padding_idx is not None:
        kept = (input != padding_idx).unsqueeze(-1)
        found, keep = found * kept, keep * kept
    if per_sample_weights is not None:
        found = found * per_sample_weights.unsqueeze(-1)
    if input.ndim == 2:
        total, count = found.sum(1), keep.sum(1)
    else:
        assert offsets is not None
        starts = offsets[:-1] if include_last_offset else offsets
        bag = torch.searchsorted(starts, torch.arange(len(input), device=starts.device), right=True) - 1
        total = found.new_zeros(len(starts), found.shape[1]).index_add(0, bag, found)
        count = keep.new_zeros(len(starts), 1).index_add(0, bag, keep)
    return total / count.clamp_min(1) if mode == "mean" else total


def _tensors(tree: Value) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from _tensors(item)
    elif isinstance(tree, dict):
        yield from _tensors(list(tree.values()))


def _swapped(tree: Value, new: dict[int, Tensor]) -> Value:
    """A nest of arguments in which other tensors stand in the place of some, by their id()."""
    if isinstance(tree, Tensor):
        return new.get(id(tree), tree)
    if isinstance(tree, (tuple, list)):
        return type(tree)(_swapped(item, new) for item in tree)
    return {k: _swapped(v, new) for k, v in tree.items()} if isinstance(tree, dict) else tree


def _result(name: str, args: Args, out: Value) -> Value:
    """The tensor that a call made, or changed."""
    return args[0] if name == "__setitem__" else out


def _dtype(args: Args, kwargs: Kwargs) -> torch.dtype:
    """The type of a result that is made of floats and integers: that of the first float."""
    return next(t.dtype for t in _tensors((args, kwargs)) if t.is_floating_point())


def _place(t: Tensor) -> int:
    """Where a tensor's numbers are; of one without a storage of its own (a sparse one) what it is."""
    return 0 if not t.numel() else t.untyped_storage().data_ptr() if t.layout is torch.strided else id(t)


def _check_dense(name: str, made: Value) -> None:
    """Raises UnsupportedOperation where a call makes a sparse tensor of ids."""
    if isinstance(made, Tensor) and made.layout is not torch.strided:
        raise UnsupportedOperation(
            f"The function makes a sparse tensor of its integers, by {_named(name)}, which cannot be followed; "
            "expected look-ups in dense tensors. Use F.embedding_bag(ids, weight), or one_hot(ids).float() @ weight, "
            f"in its place, or {WITHOUT_GRADIENT}.",
            name,
        )


def _named(name: str) -> str:
    """The name of a call, and the line of the user's code that made it."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and any(part in frame.f_code.co_filename for part in ("/torch/", "numerics/lookups")):
        frame = frame.f_back
    file = "" if frame is None else f" ({frame.f_code.co_filename.rsplit('/', 1)[-1]}, line {frame.f_lineno})"
    return f"{name}{file}"


def _differs(first: str | None, second: str | None) -> GraphMismatch:
    said = lambda name: f"called {name} on them" if name else "was done with them"
    return GraphMismatch(
        f"The function {said(first)} in one pass where it {said(second)} in another (its integers, or what it makes of "
        "them); expected the same calls for the input, for the baseline and for any number of rows. A branch or a loop "
        "depends on them: use a method that needs no gradient, such as method='shapley'."
    )
