"""Cuts the graph of a forward pass at its layers: each layer runs without a graph, and can be run again with one.

The graph of a pass holds every tensor between input and output. A pass that is cut holds what goes from layer to layer
alone (gradient checkpointing; Chen et al. 2016, 1604.06174). What lies between two layers, before the first and behind
the last, keeps its graph, so that nothing which goes around a layer is lost. What a layer made and did not give back
has no graph: `LayerCutting.leaks` says whether something else read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakIdKeyDictionary

from ..numerics.deeplift.recording.cut_paths import READ_OUT, takes_a_shape
from ..numerics.deeplift.recording.recorder import READS, Recording, forward_pass
from ..numerics.torch_calls import Args, Kwargs, TorchFunction, Value, name_of


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer in a pass that is cut.

    layer: the layer. inputs: the tensors that it was given and that depend on the input of the pass, with their graph
    up to the layer before. outputs: the tensors that it gave, each a leaf at which the rest of the pass begins.
    """

    layer: nn.Module
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    call: Callable[..., Value] = field(repr=False)
    given: tuple[Value, ...] = field(repr=False)
    form: Value = field(repr=False)
    versions: tuple[int, ...] = field(repr=False)

    def again(self, noted: Mapping[str, str]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None:
        """The call once more, with a graph: its inputs as leaves, and its outputs; None where the inputs have been
        changed in place since, so that the call would be another. noted: as in `Recording`."""
        if tuple(t._version for t in self.inputs) != self.versions:
            return None
        leaves = tuple(t.detach().requires_grad_() for t in self.inputs)
        own = {id(t): leaf for t, leaf in zip(self.inputs, leaves, strict=True)}
        args, kwargs = pytree.tree_unflatten([own.get(id(g), g) for g in self.given], self.form)
        with forward_pass(leaves, noted):
            outputs = _floats(self.call(*args, **kwargs))
        return (leaves, outputs) if len(outputs) == len(self.outputs) else None


_BETWEEN = -1


class LayerCutting(TorchFunctionMode):
    """A forward pass while it is cut.

    calls: of the layers, in order, as they are made. leaks: whether a value that depends on the input was read where
    its graph is not: outside the call of a layer that made it and did not give it back, or inside a call that was not
    given it.
    """

    def __init__(self, recording: Recording):
        super().__init__()
        self.calls: list[LayerCall] = []
        self.leaks = False
        self._recording = recording
        self._call, self._given = _BETWEEN, set[int]()
        self._made = WeakIdKeyDictionary()

    def __torch_function__(
        self, func: TorchFunction, types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> Value:
        out = func(*args, **(kwargs or {}))
        if func not in READS and not takes_a_shape(name := name_of(func)):
            with torch._C.DisableTorchFunction():
                read, made = _tensors((args, kwargs)), _tensors(out)
                if made or out is None or name in READ_OUT:  # others tell of a tensor what its numbers do not decide
                    self._follow(read, [*made, *_changed(read, out)])
        return out

    def _follow(self, read: Sequence[Tensor], made: Sequence[Tensor]) -> None:
        """Looks at what a function read, and notes what it made of the input inside a call, or changed."""
        places = {self._place(t) for t in read} - {None}
        self.leaks |= any(place != self._call for place in places)
        if places and self._call != _BETWEEN:
            for t in made:
                if id(t) not in self._given:
                    self._made[t] = self._call

    def run(self, layer: nn.Module, call: Callable[..., Value], args: Args, kwargs: Kwargs) -> Value:
        """A call of a layer, without a graph where it is given something that has one."""
        given, form = pytree.tree_flatten((args, kwargs))
        with torch._C.DisableTorchFunction():
            inputs = tuple({id(g): g for g in given if isinstance(g, Tensor) and self._has_graph(g)}.values())
            versions = tuple(t._version for t in inputs)
        if not inputs or not torch.is_grad_enabled():
            return call(*args, **kwargs)
        self._call, self._given = len(self.calls), set(map(id, inputs))
        try:
            with torch.no_grad():
                found, out_form = pytree.tree_flatten(call(*args, **kwargs))
        finally:
            self._call, self._given = _BETWEEN, set()
        with torch._C.DisableTorchFunction():
            for t in found:
                if isinstance(t, Tensor) and not _is_float(t):  # given back as it is; a float goes on as a leaf
                    self._made.pop(t, None)
            found = [t.detach().requires_grad_() if _is_float(t) else t for t in found]
        outputs = _floats(found)
        self._recording.inputs.update(map(id, outputs))
        self.calls.append(LayerCall(layer, inputs, outputs, call, tuple(given), form, versions))
        return pytree.tree_unflatten(found, out_form)

    def _place(self, t: Tensor) -> int | None:
        """Where the graph of a tensor is that depends on the input: the number of a call, or _BETWEEN."""
        if id(t) in self._given:
            return self._call
        return self._made.get(t, _BETWEEN if self._has_graph(t) else None)

    def _has_graph(self, t: Tensor) -> bool:
        """Whether it depends on the input, by the graph between the layers; parameters do not."""
        return t.requires_grad and (not t.is_leaf or id(t) in self._recording.inputs)


@contextmanager
def cut_at(layers: Sequence[nn.Module], recording: Recording) -> Iterator[LayerCutting]:
    """Inside, each call of a layer is made without a graph.

    layers: modules of the model. recording: of the pass, which is told of the leaves. The layers are as before
    afterwards.
    """
    passed = LayerCutting(recording)
    own = {layer: layer.__dict__.get("forward") for layer in layers}
    for layer in own:
        call = layer.forward
        layer.forward = lambda *args, layer=layer, call=call, **kwargs: passed.run(layer, call, args, kwargs)
    try:
        with passed:
            yield passed
    finally:
        for layer, before in own.items():
            if before is None:
                del layer.__dict__["forward"]
            else:
                layer.forward = before


def _tensors(nest: Value) -> list[Tensor]:
    """The tensors in a nest, in order."""
    return [t for t in pytree.tree_leaves(nest) if isinstance(t, Tensor)]


def _changed(read: Sequence[Tensor], out: Value) -> list[Tensor]:
    """What a function that returned `out` changed in place: its first tensor, and what that is a view of."""
    first = read[0] if read and (out is None or out is read[0]) else None
    return [] if first is None else [first] if first._base is None else [first, first._base]


def _is_float(t: Value) -> bool:
    return isinstance(t, Tensor) and t.is_floating_point()


def _floats(nest: Value) -> tuple[Tensor, ...]:
    """The tensors of real numbers in a nest, in order."""
    return tuple(t for t in pytree.tree_leaves(nest) if _is_float(t))
