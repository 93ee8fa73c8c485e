"""The classes that look at gradients at the input only, and those that read a layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..engine.layer_hooks import layer_values
from ..engine.relu_gradients import ReluRule, change_relus, deconvolved, guided
from ..errors import ArgumentError
from .base import GradientAttribution, LayerAttribution, NeuronAttribution, ScaledLayerAttribution, activations
from .calls import as_given, floats, tupled
from .outputs import Forward, GradientFunc, Tensors, Value, compute_gradients, gradients, outputs_of
from .targets import selected


def input_gradients(
    f: Forward,
    inputs: Tensors,
    target: Value,
    args: Value,
    rule: ReluRule | None = None,
    by: GradientFunc = compute_gradients,
) -> Tensors:
    """∂target/∂inputs, the inputs as leaves. rule: another rule than the gradient's at ReLUs."""

    def changed(*given: Value) -> Value:
        y = outputs_of(f, given)
        if rule is not None and isinstance(y, Tensor):
            change_relus(y, rule)
        return y

    return tupled(by(f if rule is None else changed, floats(inputs), target, args))


def layer_gradients(
    self: Any, inputs: Tensors, target: Value, args: Value, at_input: bool, grad_kwargs: Value = None
) -> tuple[list[Tensors], list[Tensors], list[bool]]:
    """The activations of each layer and ∂target/∂activations, and whether each came as a tuple."""
    leaves = tuple(t.detach().requires_grad_() if t.is_floating_point() else t for t in inputs)
    with torch.enable_grad():
        found, output = layer_values(
            lambda: outputs_of(self.forward_func, leaves, args), self.layers, at_input, leaves=True
        )
        flat = [t for layer in found for t in layer.values]
        grads = iter(gradients(selected(output, target), flat, grad_kwargs))
    return (
        [tuple(t.detach() for t in layer.values) for layer in found],
        [tuple(next(grads) for _ in layer.values) for layer in found],
        [layer.is_tuple for layer in found],
    )


class Saliency(GradientAttribution):
    """∂f/∂x, its absolute value unless abs=False."""

    def attribute(
        self, inputs: Value, target: Value = None, abs: bool = True, additional_forward_args: Value = None
    ) -> Any:
        given = (self.forward_func, tupled(inputs), target, additional_forward_args)
        found = input_gradients(*given, by=self.gradient_func)
        return as_given([g.abs() if abs else g for g in found], inputs)


class InputXGradient(GradientAttribution):
    """x · ∂f/∂x."""

    _multiply_by_inputs = True

    def attribute(self, inputs: Value, target: Value = None, additional_forward_args: Value = None) -> Any:
        x = tupled(inputs)
        found = input_gradients(self.forward_func, x, target, additional_forward_args, by=self.gradient_func)
        return as_given([t.detach() * g for t, g in zip(x, found, strict=True)], inputs)


class GuidedBackprop(GradientAttribution):
    """The gradient that passes a ReLU only where both it and the input are positive (Springenberg et al. 2014)."""

    rule: ReluRule = staticmethod(guided)

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.model = model
        if not isinstance(model, nn.Module):
            raise ArgumentError(f"Found a {type(model).__name__}; expected an nn.Module, whose ReLUs are changed.")

    def attribute(self, inputs: Value, target: Value = None, additional_forward_args: Value = None) -> Any:
        given = (self.forward_func, tupled(inputs), target, additional_forward_args)
        return as_given(input_gradients(*given, self.rule, self.gradient_func), inputs)


class Deconvolution(GuidedBackprop):
    """The gradient that passes a ReLU only where it is positive, whatever the input (Zeiler & Fergus 2013)."""

    rule = staticmethod(deconvolved)


class NeuronGradient(NeuronAttribution, GradientAttribution):
    """∂neuron/∂x."""

    rule: ReluRule | None = None

    def attribute(
        self,
        inputs: Value,
        neuron_selector: Value,
        additional_forward_args: Value = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        with self.neuron(neuron_selector, attribute_to_neuron_input) as f:
            return as_given(input_gradients(f, tupled(inputs), None, additional_forward_args, self.rule), inputs)


class NeuronGuidedBackprop(NeuronGradient):
    """`GuidedBackprop` of a neuron."""

    rule = staticmethod(guided)

    def __init__(self, model: nn.Module, layer: Any, device_ids: list[int] | None = None) -> None:
        super().__init__(model, layer, device_ids)


class NeuronDeconvolution(NeuronGuidedBackprop):
    """`Deconvolution` of a neuron."""

    rule = staticmethod(deconvolved)


class LayerActivation(LayerAttribution):
    """The activations of a layer."""

    def attribute(
        self, inputs: Value, additional_forward_args: Value = None, attribute_to_layer_input: bool = False
    ) -> Any:
        found, _ = activations(self, tupled(inputs), additional_forward_args, attribute_to_layer_input)
        return self.as_layers([f.values if f.is_tuple else f.values[0] for f in found])


class LayerGradientXActivation(ScaledLayerAttribution):
    """h · ∂f/∂h for the activations h of a layer; ∂f/∂h alone where multiply_by_inputs=False."""

    def __init__(
        self,
        forward_func: Forward,
        layer: Any,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, multiply_by_inputs)

    def has_convergence_delta(self) -> bool:
        return False

    def attribute(
        self,
        inputs: Value,
        target: Value = None,
        additional_forward_args: Value = None,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Value = None,
    ) -> Any:
        values, grads, several = layer_gradients(
            self, tupled(inputs), target, additional_forward_args, attribute_to_layer_input, grad_kwargs
        )
        times = lambda h, g: h * g if self._multiply_by_inputs else g
        each = [tuple(map(times, h, g)) for h, g in zip(values, grads, strict=True)]
        return self.as_layers([v if s else v[0] for v, s in zip(each, several, strict=True)])


__all__ = ["Deconvolution", "GuidedBackprop", "InputXGradient", "LayerActivation"]
__all__ += ["LayerGradientXActivation", "NeuronDeconvolution", "NeuronGradient", "NeuronGuidedBackprop", "Saliency"]
__all__ += ["input_gradients", "layer_gradients"]
