"""What the classes of Captum's form share: where x is taken (the input, a layer, a neuron) and what f is.

An attribution over the input has x = the inputs; one over a layer has x = the layer's activations and f = the rest of
the network; one over a neuron has x = the inputs and f = the neuron.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.hooks import layer_values, with_layer_values
from ..errors import ArgumentError
from .calls import Forward, Rows, Tensors, Value, delta_of, one_or_all, outputs_of, selected, spread, tupled


class Attribution:
    """What each of Captum's classes has: the forward function and the attribute methods."""

    def __init__(self, forward_func: Forward) -> None:
        self.forward_func = forward_func

    def __init_subclass__(cls) -> None:
        """Each class's attribute can be called as `attribute.__wrapped__(self, …)` too, as those who extend Captum
        do."""
        own = vars(cls).get("attribute")
        if own is not None:

            @wraps(own)
            def attribute(*args: Any, **kwargs: Any) -> Any:
                return own(*args, **kwargs)

            cls.attribute = attribute

    attribute: Callable[..., Any]

    def attribute_future(self, *args: object, **kwargs: object) -> Any:
        raise NotImplementedError(
            f"{type(self).__name__} has no attribute_future; expected a call of attribute, which waits for its answer."
        )

    @property
    def multiplies_by_inputs(self) -> bool:
        return bool(getattr(self, "_multiply_by_inputs", False))

    def has_convergence_delta(self) -> bool:
        return False

    @classmethod
    def get_name(cls) -> str:
        return "".join(c if c.islower() or not i else " " + c for i, c in enumerate(cls.__name__))

    def compute_convergence_delta(
        self,
        attributions: Value,
        start_point: Value,
        end_point: Value,
        target: Value = None,
        additional_forward_args: Value = None,
    ) -> Tensor:
        """Σ attributions − (f(end) − f(start)) for each row, as Captum has it."""
        end = tupled(end_point)
        start = spread(end, start_point)
        rows = Rows(target, additional_forward_args, end[0].shape[0] if end[0].ndim else 1)
        return delta_of(self.forward_func, tupled(attributions), end, start, rows)


class GradientAttribution(Attribution):
    """An attribution that needs gradients."""


class PerturbationAttribution(Attribution):
    """An attribution that removes features."""

    @property
    def multiplies_by_inputs(self) -> bool:
        return True


class InternalAttribution(Attribution):
    """An attribution that looks into a layer, or into several."""

    def __init__(self, forward_func: Forward, layer: Any, device_ids: list[int] | None = None) -> None:
        super().__init__(forward_func)
        self.layer, self.device_ids = layer, device_ids

    @property
    def layers(self) -> list[nn.Module]:
        return list(self.layer) if isinstance(self.layer, (list, tuple)) else [self.layer]

    def as_layers(self, values: list[Value]) -> Value:
        """The answers of all layers as the layer was given: a list for a list, the only one for one layer."""
        return values if isinstance(self.layer, (list, tuple)) else values[0]


class LayerAttribution(InternalAttribution):
    """An attribution over the activations of a layer."""

    @staticmethod
    def interpolate(layer_attribution: Tensor, interpolate_dims: Any, interpolate_mode: str = "nearest") -> Tensor:
        return nn.functional.interpolate(layer_attribution, interpolate_dims, mode=interpolate_mode)


class NeuronAttribution(InternalAttribution):
    """An attribution of a neuron of a layer to the inputs."""

    def neuron(self, selector: Value, at_input: bool) -> Forward:
        """The function from the inputs to the neuron's value."""

        def f(*inputs: Value) -> Tensor:
            (found,), _ = layer_values(lambda: self.forward_func(*inputs), self.layers[:1], at_input, stop=True)
            return neuron_of(found.values, selector)

        return f


def neuron_of(values: Tensors, selector: Value) -> Tensor:
    """The value of a neuron, one for each row, in the tensors of a layer.

    selector: an index, a tuple of indices and slices (their values are summed), or a function of the tensors.
    """
    count = len(values)
    if callable(selector):
        chosen: Any = selector(one_or_all(values))
        return chosen
    if count != 1:
        raise ArgumentError(
            f"The layer has {count} tensors; expected one, or neuron_selector=a function of the tensors."
        )
    selector = tuple(selector) if isinstance(selector, (tuple, list)) else (selector,)
    found = selected(values[0], selector)
    return found.reshape(found.shape[0], -1).sum(1) if found.ndim > 1 else found


def layer_call(self: InternalAttribution, inputs: Value, args: Value, at_input: bool) -> tuple[list[Any], Any]:
    """The activations of each layer at the inputs, without a graph, and the output there."""
    with torch.no_grad():
        return layer_values(lambda: outputs_of(self.forward_func, inputs, args), self.layers, at_input)


def rest_of(f: Forward, layers: list[nn.Module], at_input: bool, sizes: list[int], wholes: list[bool]) -> Forward:
    """The rest of the network: `(*activations of all layers, *inputs, *args) → output`."""

    def rest(*given: Value) -> Value:
        each, i = [], 0
        for n in sizes:
            each.append(tuple(given[i : i + n]))
            i += n
        with with_layer_values(layers, each, at_input, wholes) if layers else nullcontext():
            return outputs_of(f, given[i:])

    return rest


__all__ = ["Attribution", "GradientAttribution", "InternalAttribution", "LayerAttribution", "NeuronAttribution"]
__all__ += ["PerturbationAttribution", "layer_call", "neuron_of", "rest_of"]
