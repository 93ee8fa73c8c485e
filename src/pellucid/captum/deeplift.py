"""DeepLIFT in Captum's form: over the input, a layer or a neuron, against one baseline or a distribution."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.layer_hooks import Activations, LayerHooks
from ..errors import ArgumentError, CutGraph, UnsupportedModel
from ..methods.deeplift import Made, multipliers, multipliers_inside
from ..problem import Arguments
from .base import (
    LayerCall,
    ScaledGradientAttribution,
    ScaledLayerAttribution,
    ScaledNeuronAttribution,
    in_parts,
    layer_call,
    layer_call_at,
)
from .calls import Call, copies, in_the_type_taken, tupled
from .noise import distribution
from .outputs import Forward, Tensors, Value, outputs_of

Custom = Callable[..., Any]
"""`(multipliers[, inputs[, baselines]]) → attributions`."""


def lifted(call: Call, multiply: bool, custom: Custom | None, known: Tensors = ()) -> tuple[Tensors, Tensors]:
    """The attributions of DeepLIFT, exact, and the values at x and x0, as far as they are known."""
    m, known = multipliers(call.moving().problem(), known)
    return weighed(call, m, multiply, custom), known


def weighed(call: Call, m: Tensors, multiply: bool, custom: Custom | None) -> Tensors:
    """The attributions that multipliers make."""
    return call.times_change(m, multiply) if custom is None else _customised(custom, (m, call.x, call.x0))


def _customised(custom: Custom, given: tuple[Tensors, Tensors, Tensors]) -> Tensors:
    """What the function makes of the multipliers, the inputs and the baselines, of which it is given as many as it has
    parameters. Raises ArgumentError."""
    if not callable(custom) or not 1 <= (n := len(signature(custom).parameters)) <= len(given):
        raise ArgumentError(
            f"Found custom_attribution_func={custom!r}; expected a function of the multipliers, or of the multipliers "
            "and the inputs, or of both and the baselines."
        )
    return tupled(custom(*given[:n]))


class _Layers:
    """A function with the tensors of layers inside it, as `multipliers_inside` asks for them.

    found: what each layer had in the latest pass.
    """

    def __init__(self, f: Forward, hooks: LayerHooks) -> None:
        self._f, self._hooks, self.found = f, hooks, list[Activations]()

    def at(self, x: Tensors, args: Arguments) -> tuple[Tensors, Value]:
        return self._pass(x, args, leaves=True)

    def __call__(
        self, x: Tensors, args: Arguments, made: Made = lambda made: None, put: Tensors = ()
    ) -> tuple[Tensors, Value]:
        each = in_parts(put, [len(layer.values) for layer in self.found]) if put else ()
        return self._pass(x, args, cut=made, put=each)

    def _pass(self, x: Tensors, args: Arguments, **how: Any) -> tuple[Tensors, Value]:
        """Raises UnsupportedModel where a layer is called more than once, or has other tensors than of floats."""
        self.found, y = self._hooks.values(lambda: outputs_of(self._f, (*copies(x), *args)), **how)
        tensors = tuple([t for layer in self.found for t in layer.values])
        with torch._C.DisableTorchFunction():  # a pass that is recorded need not record this
            if any([layer.call > 1 for layer in self.found]) or not all([t.is_floating_point() for t in tensors]):
                raise UnsupportedModel("A layer is called several times, or has tensors that are not of floats.")
        return tensors, y


def of_layer(
    self: ScaledLayerAttribution, outer: Call, at_input: bool, custom: Custom | None
) -> tuple[LayerCall, Tensors]:
    """The rest of the network from the layer on, and the layer's attributions."""
    with LayerHooks(self.layers, at_input) as hooks:
        layers = _Layers(self.forward_func, hooks)
        found = multipliers_inside(outer.problem(), layers)
    if found:
        layer = layer_call_at(self, outer, layers.found, found.x, found.x0, at_input, found.outputs)
        return layer, weighed(layer.call, found.m, self._multiply_by_inputs, custom)
    layer = layer_call(self, outer, at_input)
    return layer, lifted(layer.call, self._multiply_by_inputs, custom, layer.known[:1])[0]


def paired(call: Call, baselines: Value) -> tuple[Call, int]:
    """Each row compared with each baseline of a distribution, and how many baselines there are."""
    base = distribution(baselines, call.given)
    rows, n = call.x[0].shape[0], base[0].shape[0]
    if len(base) != len(call.x) or any(b.shape[1:] != t.shape[1:] for b, t in zip(base, call.x, strict=True)):
        raise ArgumentError("Found baselines of other shapes than the inputs; expected rows like those of each input.")
    own = in_the_type_taken(call.f, call.x, base, call.rows.args)
    x = tuple(t.repeat_interleave(n, 0) for t in own)
    base = tuple(b.to(t.dtype) if t.is_floating_point() else b for t, b in zip(own, base, strict=True))
    x0 = tuple(b.detach().repeat(rows, *[1] * (b.ndim - 1)) for b in base)
    return Call(call.f, call.given, x, x0, call.rows.repeated(n, True)), n


def _mean(values: Tensors, call: Call, n: int) -> list[Tensor]:
    """The mean over the n baselines of each input. Raises ArgumentError where a layer does not have a row for each pair
    of them."""
    if found := [len(v) for v in values if len(v) != call.rows.n]:
        raise ArgumentError(
            f"The layer has {found[0]} rows for {call.rows.n // n} inputs with {n} baselines each; expected one for "
            "each pair, of which the mean is taken. Ask for one baseline at a time (LayerDeepLift)."
        )
    return [v.view(-1, n, *v.shape[1:]).mean(1) for v in values]


class DeepLift(ScaledGradientAttribution):
    """DeepLIFT (Shrikumar et al. 2017, 1704.02685): m·(x − x0), which sums to f(x) − f(x0) to float precision.

    eps: taken, and not needed.
    """

    asks_gradient_func = False

    def __init__(self, model: nn.Module, multiply_by_inputs: bool = True, eps: float = 1e-10) -> None:
        super().__init__(model, multiply_by_inputs)
        self.model, self.eps = model, eps

    def attribute(
        self,
        inputs: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: Custom | None = None,
    ) -> Any:
        call = Call.of(self.forward_func, inputs, baselines, target, additional_forward_args)
        values, known = lifted(call, self._multiply_by_inputs, custom_attribution_func)
        return call.answer(values, return_convergence_delta, known)


class DeepLiftShap(DeepLift):
    """The mean of DeepLIFT over a distribution of baselines (Lundberg & Lee 2017, 1705.07874)."""

    def attribute(
        self,
        inputs: Value,
        baselines: Value,
        target: Value = None,
        additional_forward_args: Value = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: Custom | None = None,
    ) -> Any:
        call, n = paired(Call.of(self.forward_func, inputs, None, target, additional_forward_args), baselines)
        values, known = lifted(call, self._multiply_by_inputs, custom_attribution_func)
        answer = call.answer(_mean(values, call, n))
        return (answer, call.delta(values, known)) if return_convergence_delta else answer


class LayerDeepLift(ScaledLayerAttribution):
    """DeepLIFT over the activations of a layer."""

    def __init__(self, model: nn.Module, layer: Any, multiply_by_inputs: bool = True) -> None:
        super().__init__(model, layer, None, multiply_by_inputs)
        self.model = model

    def attribute(
        self,
        inputs: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: Custom | None = None,
        grad_kwargs: Value = None,
    ) -> Any:
        outer = Call.of(self.forward_func, inputs, baselines, target, additional_forward_args)
        try:
            layer, values = of_layer(self, outer, attribute_to_layer_input, custom_attribution_func)
        except CutGraph:
            if not any((grad_kwargs or {}).get(k) for k in ("materialize_grads", "allow_unused")):
                raise
            layer = layer_call(self, outer, attribute_to_layer_input)
            values = tuple(map(torch.zeros_like, layer.call.x))
        return layer.answer(values, return_convergence_delta)


class LayerDeepLiftShap(LayerDeepLift):
    """The mean of `LayerDeepLift` over a distribution of baselines."""

    def attribute(
        self,
        inputs: Value,
        baselines: Value,
        target: Value = None,
        additional_forward_args: Value = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: Custom | None = None,
    ) -> Any:
        outer, n = paired(Call.of(self.forward_func, inputs, None, target, additional_forward_args), baselines)
        layer, values = of_layer(self, outer, attribute_to_layer_input, custom_attribution_func)
        answer = layer.answer(_mean(values, outer, n))
        return (answer, layer.delta(values)) if return_convergence_delta else answer


class NeuronDeepLift(ScaledNeuronAttribution):
    """DeepLIFT of a neuron."""

    method: type[DeepLift] = DeepLift

    def __init__(self, model: nn.Module, layer: Any, multiply_by_inputs: bool = True) -> None:
        super().__init__(model, layer, None, multiply_by_inputs)

    def attribute(
        self,
        inputs: Value,
        neuron_selector: Value,
        baselines: Value = None,
        additional_forward_args: Value = None,
        attribute_to_neuron_input: bool = False,
        custom_attribution_func: Custom | None = None,
    ) -> Any:
        with self.neuron(neuron_selector, attribute_to_neuron_input) as f:
            return self.method(f, self._multiply_by_inputs).attribute(
                inputs,
                baselines,
                additional_forward_args=additional_forward_args,
                custom_attribution_func=custom_attribution_func,
            )


class NeuronDeepLiftShap(NeuronDeepLift):
    """The mean of `NeuronDeepLift` over a distribution of baselines."""

    method = DeepLiftShap


__all__ = ["DeepLift", "DeepLiftShap", "LayerDeepLift", "LayerDeepLiftShap", "NeuronDeepLift", "NeuronDeepLiftShap"]
