"""The classes that average gradients on the straight path from the baseline to the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..engine.layer_hooks import layer_values
from ..engine.path_sums import Points, path_points, path_sum
from ..errors import ArgumentError
from ..numerics.quadrature.fixed import QUADRATURES, Quadrature
from .base import (
    GradientAttribution,
    LayerAttribution,
    ScaledGradientAttribution,
    ScaledLayerAttribution,
    ScaledNeuronAttribution,
    layer_call,
    neuron_of,
)
from .calls import Call
from .gradient import layer_gradients
from .outputs import GradientFunc, Tensors, Value, compute_gradients, gradients, outputs_of
from .targets import selected

RULES = {
    "gausslegendre": "gauss_legendre",
    "riemann_left": "left",
    "riemann_right": "right",
    "riemann_middle": "midpoint",
    "riemann_trapezoid": "trapezoid",
}
"""Captum's name of a quadrature, and its name in QUADRATURES."""


def table_of(method: str, n: int) -> Quadrature:
    """The quadrature of n points, whose weights sum to 1."""
    if method not in RULES or n < 1:
        raise ArgumentError(
            f"Found method={method!r}, n_steps={n!r}; expected at least 1 step and one of {', '.join(RULES)}."
        )
    return QUADRATURES[RULES[method]](n)


def mean_gradients(call: Call, table: Quadrature, most: int | None, by: GradientFunc = compute_gradients) -> Tensors:
    """The mean of ∂f/∂x on the path from x0 to x. Raises ArgumentError where an input has no gradient."""
    call = call.moving()

    def part(points: Points) -> list[Tensor]:
        at = tuple(t.detach().requires_grad_() for t in points.at)
        found = call.gradients(at, points.n, by)
        if points.reach_first_only(found):
            return [*path_sum(points.alone(), part)]
        return [*map(points.summed, found)]

    return path_sum(path_points(call.x, call.x0, table, most), part)


class IntegratedGradients(ScaledGradientAttribution):
    """(x − x0)·∫ ∂f/∂x along the path (Sundararajan et al. 2017, 1703.01365), by a fixed number of steps."""

    def attribute(
        self,
        inputs: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        call = Call.of(self.forward_func, inputs, baselines, target, additional_forward_args)
        mean = mean_gradients(call, table_of(method, n_steps), internal_batch_size, self.gradient_func)
        return call.answer(call.times_change(mean, self._multiply_by_inputs), return_convergence_delta)


class NeuronIntegratedGradients(ScaledNeuronAttribution):
    """Integrated gradients of a neuron."""

    def attribute(
        self,
        inputs: Value,
        neuron_selector: Value,
        baselines: Value = None,
        additional_forward_args: Value = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        with self.neuron(neuron_selector, attribute_to_neuron_input) as f:
            return IntegratedGradients(f, self._multiply_by_inputs).attribute(
                inputs, baselines, None, additional_forward_args, n_steps, method, internal_batch_size
            )


class LayerIntegratedGradients(ScaledLayerAttribution):
    """Integrated gradients with the activations of a layer, or of several, as the input.

    ig: integrated gradients of the same function, over its inputs.
    """

    @property
    def ig(self) -> IntegratedGradients:
        return IntegratedGradients(self.forward_func, self._multiply_by_inputs)

    def attribute(
        self,
        inputs: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Value = None,
    ) -> Any:
        outer = Call.of(self.forward_func, inputs, baselines, target, additional_forward_args)
        layer = layer_call(self, outer, attribute_to_layer_input)
        by = partial(compute_gradients, grad_kwargs=grad_kwargs)
        mean = mean_gradients(layer.call, table_of(method, n_steps), internal_batch_size, by)
        return layer.answer(layer.call.times_change(mean, self._multiply_by_inputs), return_convergence_delta)


class _LayerPath(LayerAttribution, GradientAttribution):
    """What is summed over the points of the path between inputs, from the gradients at layers."""

    def gradients_at(
        self, call: Call, points: Points, at_input: bool, grad_kwargs: Value
    ) -> tuple[list[Tensors], list[Tensors], list[bool]]:
        """As `layer_gradients`, at points of the path."""
        r = call.rows.repeated(points.n)
        h, g, several = layer_gradients(self, points.at, r.target, r.args, at_input, grad_kwargs)
        if points.reach_first_only([t for own in g for t in own]):
            one = lambda p: layer_gradients(self, p.at, call.rows.target, call.rows.args, at_input, grad_kwargs)[:2]
            every = [one(p) for p in points.alone()]
            joined = lambda i: [
                tuple(map(torch.cat, zip(*own, strict=True))) for own in zip(*(e[i] for e in every), strict=True)
            ]
            h, g = joined(0), joined(1)
        return h, g, several

    def sums(
        self,
        call: Call,
        table: Quadrature,
        most: int | None,
        at_input: bool,
        grad_kwargs: Value,
        add: Callable[[Points, Tensor, Tensor], Tensor],
        shared: int = 0,
    ) -> tuple[list[Tensors], list[bool]]:
        """For each layer the sums of `add(points, activations, gradients)` of its tensors, and whether they came as a
        tuple."""
        form: list[tuple[int, bool]] = []

        def part(points: Points) -> Sequence[Tensor]:
            h, g, several = self.gradients_at(call, points, at_input, grad_kwargs)
            form[:] = [(len(own), is_tuple) for own, is_tuple in zip(h, several, strict=True)]
            return [add(points, a, b) for own in zip(h, g, strict=True) for a, b in zip(*own, strict=True)]

        total = iter(path_sum(path_points(call.x, call.x0, table, most, shared), part))
        return [tuple(next(total) for _ in range(n)) for n, _ in form], [is_tuple for _, is_tuple in form]


class LayerConductance(_LayerPath):
    """∫ ∂f/∂h · dh along the path between inputs, for each activation h of a layer (Dhamdhere et al. 2018)."""

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Value = None,
    ) -> Any:
        table_of(method, n_steps)  # of which there may be none
        call = Call.of(self.forward_func, inputs, baselines, target, additional_forward_args).moving()

        def add(points: Points, h: Tensor, g: Tensor) -> Tensor:
            return (points.by_point(g)[:-1] * points.by_point(h).diff(dim=0)).sum(0)

        table = table_of(method, n_steps + 1)
        found, several = self.sums(
            call, table, internal_batch_size, attribute_to_layer_input, grad_kwargs, add, shared=1
        )
        answer = self.as_layers([v if s else v[0] for v, s in zip(found, several, strict=True)])
        return (answer, self.as_layers([call.delta(v) for v in found])) if return_convergence_delta else answer


class InternalInfluence(_LayerPath):
    """The mean of ∂f/∂h along the path between inputs, for each activation h (Leino et al. 2018, 1802.03788)."""

    _multiply_by_inputs = False

    def attribute(
        self,
        inputs: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Value = None,
    ) -> Any:
        call = Call.of(self.forward_func, inputs, baselines, target, additional_forward_args).moving()
        table, add = table_of(method, n_steps), lambda points, h, g: points.summed(g)
        found, several = self.sums(call, table, internal_batch_size, attribute_to_layer_input, grad_kwargs, add)
        return self.as_layers([v if s else v[0] for v, s in zip(found, several, strict=True)])


class NeuronConductance(ScaledNeuronAttribution):
    """The part of a neuron's conductance that each input has: (x − x0)·∫ ∂f/∂neuron · ∂neuron/∂x."""

    def attribute(
        self,
        inputs: Value,
        neuron_selector: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        n_steps: int = 50,
        method: str = "riemann_trapezoid",
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
        grad_kwargs: Value = None,
    ) -> Any:
        call = Call.of(self.forward_func, inputs, baselines, target, additional_forward_args).moving()

        def part(points: Points) -> list[Tensor]:
            at, r = tuple(t.requires_grad_() for t in points.at), call.rows.repeated(points.n)
            with torch.enable_grad():
                (h,), output = layer_values(
                    lambda: outputs_of(self.forward_func, at, r.args), self.layers, attribute_to_neuron_input
                )
                kwargs = {"retain_graph": True, **(grad_kwargs or {})}
                through = neuron_of(gradients(selected(output, r.target), h.values, kwargs), neuron_selector)
                found = gradients(neuron_of(h.values, neuron_selector), at)
            return [points.summed(g * _wide(through, g)) for g in found]

        total = path_sum(path_points(call.x, call.x0, table_of(method, n_steps), internal_batch_size), part)
        return call.answer(call.times_change(total, self._multiply_by_inputs))


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.detach().view(-1, *[1] * (like.ndim - 1))


__all__ = ["IntegratedGradients", "InternalInfluence", "LayerConductance", "LayerIntegratedGradients"]
__all__ += ["NeuronConductance", "NeuronIntegratedGradients"]
