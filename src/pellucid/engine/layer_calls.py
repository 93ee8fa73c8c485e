"""Cuts the graph of a forward pass at its layers: each layer runs without a graph, and can be run again with one.

The graph of a pass holds every tensor between input and output. A pass that is cut holds what goes from layer to layer
alone (gradient checkpointing; Chen et al. 2016, 1604.06174). What lies between two layers, before the first and behind
the last, keeps its graph, so that nothing which goes around a layer is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..numerics.deeplift.recording.recorder import Recording, forward_pass
from ..numerics.torch_calls import Value


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


@contextmanager
def cut_at(layers: Sequence[nn.Module], recording: Recording) -> Iterator[list[LayerCall]]:
    """Inside, each call of a layer is made without a graph. Gives the calls, in order, as they are made.

    layers: modules of the model. recording: of the pass, which is told of the leaves. The layers are as before
    afterwards.
    """
    calls: list[LayerCall] = []

    def cut(layer: nn.Module, call: Callable[..., Value]) -> Callable[..., Value]:
        def run(*args: Value, **kwargs: Value) -> Value:
            given, form = pytree.tree_flatten((args, kwargs))
            inputs = tuple({id(g): g for g in given if isinstance(g, Tensor) and g.requires_grad}.values())
            inputs = tuple(t for t in inputs if not t.is_leaf or id(t) in recording.inputs)  # no parameters
            if not inputs or not torch.is_grad_enabled():
                return call(*args, **kwargs)
            versions = tuple(t._version for t in inputs)
            with torch.no_grad():
                found, out_form = pytree.tree_flatten(call(*args, **kwargs))
            found = [t.detach().requires_grad_() if _is_float(t) else t for t in found]
            outputs = _floats(found)
            recording.inputs.update(map(id, outputs))
            calls.append(LayerCall(layer, inputs, outputs, call, tuple(given), form, versions))
            return pytree.tree_unflatten(found, out_form)

        return run

    own = {layer: layer.__dict__.get("forward") for layer in layers}
    for layer in own:
        layer.forward = cut(layer, layer.forward)
    try:
        yield calls
    finally:
        for layer, before in own.items():
            if before is None:
                del layer.__dict__["forward"]
            else:
                layer.forward = before


def _is_float(t: Value) -> bool:
    return isinstance(t, Tensor) and t.is_floating_point()


def _floats(nest: Value) -> tuple[Tensor, ...]:
    """The tensors of real numbers in a nest, in order."""
    return tuple(t for t in pytree.tree_leaves(nest) if _is_float(t))
