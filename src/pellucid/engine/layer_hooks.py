"""Reads what layers take in or give out, and puts other values in their place, by hooks that are always removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModel
from ..numerics.torch_calls import Args, Value


@dataclass(frozen=True)
class Activations:
    """The tensors that a layer took in or gave out. call: the number of the call of the layer, from 1."""

    values: tuple[Tensor, ...]
    call: int = 1

    @property
    def is_tuple(self) -> bool:
        """Whether they are several; one in a tuple is that one, as Captum has it."""
        return len(self.values) > 1


class LayerHooks:
    """A context in which the activations of layers can be read, in any number of passes.

    at_input: what the layers take in, else what they give out. first: other hooks on the layers are shown what is put
    in too; what they change of it is not kept.
    """

    def __init__(self, layers: Sequence[nn.Module], at_input: bool, first: bool = False):
        self._layers, self._at_input, self._orders = layers, at_input, (True, False) if first else (False,)
        self._keep: Callable[[nn.Module, Value], Value] | None = None

    def __enter__(self) -> LayerHooks:
        of = lambda layer: layer.register_forward_pre_hook if self._at_input else layer.register_forward_hook
        self._handles = [of(layer)(self._hook, prepend=order) for layer in self._layers for order in self._orders]
        return self

    def _hook(self, module: nn.Module, *given: Value) -> Value:
        return self._keep and self._keep(module, given[-1])

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def values(
        self,
        run: Callable[[], Value],
        leaves: bool = False,
        cut: Callable[[tuple[Tensor, ...]], None] | None = None,
        put: Sequence[tuple[Tensor, ...]] = (),
    ) -> tuple[list[Activations], Value]:
        """The activations of each layer during `run`, those of the last call where there are several, and what `run`
        returns.

        leaves: activations without a graph become leaves that require a gradient. cut: those with a graph do too, and
        what made them is no part of the output's graph; `cut` is shown them as they were made. put: for each layer the
        tensors that take the place of its own, in all its calls.

        Raises UnsupportedModel where a layer is not called, and where checkpointing would run it again.
        """
        found: dict[nn.Module, Activations] = {}
        instead = dict(zip(self._layers, put, strict=True)) if put else {}

        def keep(module: nn.Module, given: Value) -> Value:
            several = isinstance(given, (tuple, list))
            whole = own = tuple(given) if several else (given,)
            if module in instead:
                new = iter(instead[module])
                whole = own = tuple([next(new, t) if isinstance(t, Tensor) else t for t in whole])
            call = found[module].call + 1 if module in found else 1
            followed = torch.is_grad_enabled()
            if followed and (cut or instead) and _is_run_again():
                raise UnsupportedModel(
                    f"The layer {type(module).__name__} is inside of a block that checkpointing runs again, without "
                    "what is put in here; expected no checkpointing: call gradient_checkpointing_disable(), or .eval()."
                )
            with torch._C.DisableTorchFunction():  # a pass that is recorded need not record copies
                if cut and followed:
                    cut(tuple([t for t in whole if isinstance(t, Tensor)]))
                if followed and (leaves or cut):
                    own = [t.detach().clone().requires_grad_() if _begins(t, bool(cut)) else t for t in whole]
                elif not followed:  # the model goes on with the tensor, and may change it in place
                    own = [t.clone() if isinstance(t, Tensor) else t for t in whole]
                tensors = tuple([t for t in own if isinstance(t, Tensor)])
                if not tensors:
                    raise UnsupportedModel(
                        f"The layer {type(module).__name__} {'takes in' if self._at_input else 'gives out'} a "
                        f"{type(given).__name__}; expected a tensor or a tuple of tensors. Name a layer inside of it."
                    )
                found[module] = Activations(tensors, call)
                if not (followed or module in instead):
                    return None
                passed = [
                    t.clone() if isinstance(t, Tensor) and (t.requires_grad or module in instead) else w
                    for t, w in zip(own, whole, strict=True)
                ]
            return getattr(given, "_make", type(given))(passed) if several else passed[0]

        self._keep = keep
        try:
            output = run()
        finally:
            self._keep = None
        _require_called(self._layers, found)
        return [found[layer] for layer in self._layers], output


def layer_values(
    run: Callable[[], Value], layers: Sequence[nn.Module], at_input: bool, leaves: bool = False
) -> tuple[list[Activations], Value]:
    """As `LayerHooks.values`, in one pass."""
    with LayerHooks(layers, at_input) as hooks:
        return hooks.values(run, leaves=leaves)


def _is_run_again() -> bool:
    """Whether checkpointing runs this part of a forward pass again where its saved tensors are asked for."""
    saving: Any = torch._C._autograd._top_saved_tensors_default_hooks(False)  # pyright: ignore[reportAttributeAccessIssue]
    return saving is not None and saving[0].__module__ == "torch.utils.checkpoint"


def _begins(t: Value, cut: bool) -> bool:
    """Whether a graph is to begin at a tensor: one of floats, without a graph or cut off from it."""
    return isinstance(t, Tensor) and t.is_floating_point() and (cut or not t.requires_grad)


def _require_called(layers: Sequence[nn.Module], called: Value) -> None:
    for layer in layers:
        if layer not in called:
            raise UnsupportedModel(
                f"The layer {type(layer).__name__} was not called in the forward pass; expected a layer of the model "
                "that the forward function runs."
            )


@contextmanager
def with_changed_outputs(
    modules: Sequence[nn.Module], change: Callable[[nn.Module, tuple[Any, ...], Any], Any]
) -> Iterator[None]:
    """Lets each module give out `change(module, what it took in, what it gave out)` inside.

    What a module took in is kept as it was, also where the module works in place.
    """
    kept: dict[nn.Module, list[Args]] = {m: [] for m in modules}

    def enter(module: nn.Module, args: Args) -> Value:
        kept[module].append(args)
        return tuple(t.clone() if isinstance(t, Tensor) else t for t in args)

    def leave(module: nn.Module, _args: Args, output: Value) -> Value:
        return change(module, kept[module].pop(), output)

    handles = [m.register_forward_pre_hook(enter) for m in kept]
    handles += [m.register_forward_hook(leave) for m in kept]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
