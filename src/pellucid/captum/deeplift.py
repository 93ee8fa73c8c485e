"""DeepLIFT in Captum's form: over the input, a layer or a neuron, against one baseline or a distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, CutGraph
from ..methods.deeplift import multipliers
from ..problem import Problem
from .base import GradientAttribution, LayerAttribution, NeuronAttribution, layer_call, rest_of
from .calls import (
    Forward,
    Rows,
    Tensors,
    Value,
    as_given,
    delta_of,
    more_args,
    one_per_row,
    outputs_of,
    selected,
    spread,
    tupled,
)
from .noise import distribution
from .path import rows_in

Custom = Callable[..., Any]


def lifted(
    f: Forward, x: Tensors, x0: Tensors, rows: Rows, multiply: bool, custom: Custom | None, args: tuple[Value, ...]
) -> Tensors:
    """The attributions of DeepLIFT, exact; custom: `(multipliers, inputs, baselines) → attributions`."""
    select = lambda out, which: _one(selected(out, rows.target), rows.n)
    problem = Problem(lambda *given: outputs_of(f, given), x, x0, lambda outputs: select, args)
    m = multipliers(problem)
    if custom is not None:
        return tupled(custom(m, x, x0))
    return tuple(g * (a - b) if multiply else g for g, a, b in zip(m, x, x0, strict=True))


def _one(y: Tensor, rows: int) -> Tensor:
    y = one_per_row(y) if y.requires_grad else y
    return y.reshape(-1) if y.numel() == rows else y


class DeepLift(GradientAttribution):
    """DeepLIFT (Shrikumar et al. 2017, 1704.02685): m·(x − x0), which sums to f(x) − f(x0) to float precision.

    eps: taken, and not needed.
    """

    def __init__(self, model: nn.Module, multiply_by_inputs: bool = True, eps: float = 1e-10) -> None:
        super().__init__(model)
        self.model, self._multiply_by_inputs, self.eps = model, multiply_by_inputs, eps

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: Custom | None = None,
    ) -> Any:
        x = tuple(t.detach() for t in tupled(inputs))
        x0 = tuple(t.detach() for t in spread(x, baselines))
        rows = Rows(target, additional_forward_args, rows_in(x))
        args = more_args(additional_forward_args)
        values = lifted(self.forward_func, x, x0, rows, self._multiply_by_inputs, custom_attribution_func, args)
        if not return_convergence_delta:
            return as_given(values, inputs)
        return as_given(values, inputs), delta_of(self.forward_func, values, x, x0, rows)


class DeepLiftShap(DeepLift):
    """The mean of DeepLIFT over a distribution of baselines (Lundberg & Lee 2017, 1705.07874)."""

    def __init__(self, model: nn.Module, multiply_by_inputs: bool = True) -> None:
        super().__init__(model, multiply_by_inputs)

    def attribute(
        self,
        inputs: Value,
        baselines: Value,
        target: Value = None,
        additional_forward_args: Value = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: Custom | None = None,
    ) -> Any:
        x, x0, rows, n = paired(inputs, baselines, target, additional_forward_args)
        args = more_args(rows.args)
        values = lifted(self.forward_func, x, x0, rows, self._multiply_by_inputs, custom_attribution_func, args)
        answer = as_given([_mean(v, n) for v in values], inputs)
        if not return_convergence_delta:
            return answer
        return answer, delta_of(self.forward_func, values, x, x0, rows)


def paired(inputs: Value, baselines: Value, target: Value, args: Value) -> tuple[Tensors, Tensors, Rows, int]:
    """Each row with each baseline: the inputs, the baselines, what else is called, and how many baselines there are."""
    given = tuple(t.detach() for t in tupled(inputs))
    base = distribution(baselines, inputs)
    rows, n = given[0].shape[0], base[0].shape[0]
    if len(base) != len(given) or any(b.shape[1:] != t.shape[1:] for b, t in zip(base, given, strict=True)):
        raise ArgumentError("Found baselines of other shapes than the inputs; expected rows like those of each input.")
    x = tuple(t.repeat_interleave(n, 0) for t in given)
    x0 = tuple(b.detach().repeat(rows, *[1] * (b.ndim - 1)) for b in base)
    return x, x0, Rows(target, args, rows).repeated(n, True), n


def _mean(values: Tensor, n: int) -> Tensor:
    return values.view(-1, n, *values.shape[1:]).mean(1)


class LayerDeepLift(LayerAttribution):
    """DeepLIFT over the activations of a layer."""

    def __init__(self, model: nn.Module, layer: Any, multiply_by_inputs: bool = True) -> None:
        super().__init__(model, layer)
        self.model, self._multiply_by_inputs = model, multiply_by_inputs

    def has_convergence_delta(self) -> bool:
        return True

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
        x = tuple(t.detach() for t in tupled(inputs))
        x0 = tuple(t.detach() for t in spread(x, baselines))
        rows = Rows(target, additional_forward_args, rows_in(x))
        unused = bool(grad_kwargs and (grad_kwargs.get("materialize_grads") or grad_kwargs.get("allow_unused")))
        values, several = self._values(x, x0, rows, attribute_to_layer_input, custom_attribution_func, unused)
        answer = values if several else values[0]
        if not return_convergence_delta:
            return answer
        return answer, delta_of(self.forward_func, values, x, x0, rows)

    def _values(
        self, x: Tensors, x0: Tensors, rows: Rows, at_input: bool, custom: Custom | None, unused: bool = False
    ) -> tuple[Tensors, bool]:
        (h,), _ = layer_call(self, x, rows.args, at_input)
        (h0,), _ = layer_call(self, x0, rows.args, at_input)
        f = rest_of(self.forward_func, self.layers, at_input, [len(h.values)], [h.is_tuple])
        args = (*x, *more_args(rows.args))
        try:
            return lifted(f, h.values, h0.values, rows, self._multiply_by_inputs, custom, args), h.is_tuple
        except CutGraph:
            if not unused:
                raise
            return tuple(torch.zeros_like(t) for t in h.values), h.is_tuple


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
        x, x0, rows, n = paired(inputs, baselines, target, additional_forward_args)
        values, several = self._values(x, x0, rows, attribute_to_layer_input, custom_attribution_func)
        means = tuple(_mean(v, n) for v in values)
        answer = means if several else means[0]
        if not return_convergence_delta:
            return answer
        return answer, delta_of(self.forward_func, values, x, x0, rows)


class NeuronDeepLift(NeuronAttribution):
    """DeepLIFT of a neuron."""

    method: type[DeepLift] = DeepLift

    def __init__(self, model: nn.Module, layer: Any, multiply_by_inputs: bool = True) -> None:
        super().__init__(model, layer)
        self._multiply_by_inputs = multiply_by_inputs

    def attribute(
        self,
        inputs: Value,
        neuron_selector: Value,
        baselines: Value = None,
        additional_forward_args: Value = None,
        attribute_to_neuron_input: bool = False,
        custom_attribution_func: Custom | None = None,
    ) -> Any:
        f: Any = self.neuron(neuron_selector, attribute_to_neuron_input)
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
