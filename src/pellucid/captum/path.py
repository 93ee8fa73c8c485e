"""The classes that average gradients on the straight path from the baseline to the input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..engine.hooks import layer_values
from ..errors import ArgumentError
from ..numerics.quadrature.fixed import QUADRATURES
from .base import GradientAttribution, LayerAttribution, NeuronAttribution, layer_call, neuron_of, rest_of
from .calls import (
    Forward,
    Rows,
    Tensors,
    Value,
    as_given,
    delta_of,
    gradients,
    outputs_of,
    run,
    selected,
    spread,
    tupled,
)
from .gradient import layer_gradients

METHODS = {
    "gausslegendre": "gauss_legendre",
    "riemann_left": "left",
    "riemann_right": "right",
    "riemann_middle": "midpoint",
    "riemann_trapezoid": "trapezoid",
}
"""Captum's name of a quadrature, and its name in QUADRATURES."""


def nodes_of(method: str, n_steps: int) -> tuple[list[float], list[float]]:
    """The places t on the path, and their weights, which sum to 1."""
    if method not in METHODS or n_steps < 1:
        raise ArgumentError(
            f"Found method={method!r}, n_steps={n_steps!r}; expected at least 1 step and one of {', '.join(METHODS)}."
        )
    table = QUADRATURES[METHODS[method]](n_steps)
    return table.nodes.tolist(), table.weights.tolist()


def slices(n: int, rows: int, internal_batch_size: int | None, overlap: int = 0) -> Iterator[tuple[int, int]]:
    """The first and last step of each batch of at most `internal_batch_size` points."""
    each = n if internal_batch_size is None else max(1 + overlap, internal_batch_size // rows)
    i = 0
    while i < n - overlap:
        yield i, min(i + each, n)
        i += each - overlap


def rows_in(inputs: Tensors) -> int:
    return inputs[0].shape[0] if inputs[0].ndim else 1


def points_at(x: Tensors, x0: Tensors, t: list[float]) -> Tensors:
    """x0 + t·(x − x0) for all t: the rows of the first t, then those of the second."""
    found = []
    for a, b in zip(x, x0, strict=True):
        at = torch.tensor(t, dtype=a.dtype, device=a.device).view(-1, *[1] * a.ndim)
        found.append((b + at * (a - b)).flatten(0, 1).detach().requires_grad_())
    return tuple(found)


def mean_gradients(
    call: Callable[[Tensors, Rows], Value],
    x: Tensors,
    x0: Tensors,
    rows: Rows,
    n_steps: int,
    method: str,
    internal_batch_size: int | None,
    grad_kwargs: Value = None,
) -> Tensors:
    """Σₖ wₖ·∂call/∂x at x0 + tₖ·(x − x0). call: `(points, rows) → one value per point`."""
    t, w = nodes_of(method, n_steps)
    total: list[Tensor] = []
    n = rows_in(x)
    for i, j in slices(n_steps, n, internal_batch_size):
        points = points_at(x, x0, t[i:j])
        with torch.enable_grad():
            found = gradients(call(points, rows.repeated(j - i)), points, grad_kwargs)
        each = []
        for g in found:
            weight = torch.tensor(w[i:j], dtype=g.dtype, device=g.device)
            each.append(torch.tensordot(weight, g.view(j - i, n, *g.shape[1:]), 1))
        total = [a + b for a, b in zip(total, each, strict=True)] if total else each
    return tuple(total)


def integrated(mean: Tensors, x: Tensors, x0: Tensors, multiply: bool) -> Tensors:
    return tuple(g * (a - b) if multiply else g for g, a, b in zip(mean, x, x0, strict=True))


class IntegratedGradients(GradientAttribution):
    """(x − x0)·∫ ∂f/∂x along the path (Sundararajan et al. 2017, 1703.01365), by a fixed number of steps."""

    def __init__(self, forward_func: Forward, multiply_by_inputs: bool = True) -> None:
        super().__init__(forward_func)
        self._multiply_by_inputs = multiply_by_inputs

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
    ) -> Any:
        given = tupled(inputs)
        x = tuple(t.detach().reshape(1) if t.ndim == 0 else t.detach() for t in given)
        _floats(x)
        x0 = tuple(t.detach() for t in spread(x, baselines))
        rows = Rows(target, additional_forward_args, rows_in(x))
        call = lambda points, r: run(self.forward_func, points, r.target, r.args)
        mean = mean_gradients(call, x, x0, rows, n_steps, method, internal_batch_size)
        values = integrated(mean, x, x0, self._multiply_by_inputs)
        answer = as_given([v.view(t.shape) for v, t in zip(values, given, strict=True)], inputs)
        if not return_convergence_delta:
            return answer
        return answer, delta_of(self.forward_func, values, x, x0, rows)


class NeuronIntegratedGradients(NeuronAttribution):
    """Integrated gradients of a neuron."""

    def __init__(
        self, forward_func: Forward, layer: Any, device_ids: Value = None, multiply_by_inputs: bool = True
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self._multiply_by_inputs = multiply_by_inputs

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
        f = self.neuron(neuron_selector, attribute_to_neuron_input)
        return IntegratedGradients(f, self._multiply_by_inputs).attribute(
            inputs, baselines, None, additional_forward_args, n_steps, method, internal_batch_size
        )


class LayerIntegratedGradients(LayerAttribution):
    """Integrated gradients with the activations of a layer, or of several, as the input."""

    def __init__(
        self, forward_func: Forward, layer: Any, device_ids: Value = None, multiply_by_inputs: bool = True
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self._multiply_by_inputs = multiply_by_inputs

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
        given = tupled(inputs)
        base = spread(given, baselines)
        rows = Rows(target, additional_forward_args, rows_in(given))
        at_x, _ = layer_call(self, given, additional_forward_args, attribute_to_layer_input)
        at_x0, _ = layer_call(self, base, additional_forward_args, attribute_to_layer_input)
        x = tuple(t for layer in at_x for t in layer.values)
        x0 = tuple(t.expand_as(a) for a, t in zip(x, (t for layer in at_x0 for t in layer.values), strict=True))
        _floats(x)
        sizes, several = [len(layer.values) for layer in at_x], [layer.is_tuple for layer in at_x]
        f = rest_of(self.forward_func, self.layers, attribute_to_layer_input, sizes, several)

        def call(points: Tensors, r: Rows) -> Value:
            again = Rows(None, given, r_n).repeated(r.n // r_n).args if r.n > r_n else given
            return run(f, (*points, *again), r.target, r.args)

        r_n = rows.n
        mean = mean_gradients(call, x, x0, rows, n_steps, method, internal_batch_size, grad_kwargs)
        values = integrated(mean, x, x0, self._multiply_by_inputs)
        pieces = iter(values)
        each = [tuple(next(pieces) for _ in range(n)) for n in sizes]
        answer = self.as_layers([v if s else v[0] for v, s in zip(each, several, strict=True)])
        if not return_convergence_delta:
            return answer
        return answer, delta_of(self.forward_func, values, given, base, rows)


class _LayerPath(LayerAttribution):
    """What is summed over the points of the path between inputs, from the gradients at a layer."""

    def sums(
        self,
        inputs: Value,
        baselines: Value,
        rows: Rows,
        points: int,
        method: str,
        batch: Value,
        at_input: bool,
        grad_kwargs: Value,
        overlap: int,
        add: Callable[..., Tensor],
    ) -> tuple[list[list[Tensor]], list[bool]]:
        """For each layer and tensor the sum of `add(activations, gradients, weights)`, each with steps first."""
        x = tupled(inputs)
        x0 = spread(x, baselines)
        t, w = nodes_of(method, points)
        total: list[list[Tensor]] = []
        several: list[bool] = []
        for i, j in slices(points, rows.n, batch, overlap):
            at = tuple(p if a.is_floating_point() else a for p, a in zip(points_at(x, x0, t[i:j]), x, strict=True))
            r = rows.repeated(j - i)
            h, g, several = layer_gradients(self, at, r.target, r.args, at_input, grad_kwargs)
            weights = torch.tensor(w[i:j], dtype=h[0][0].dtype, device=h[0][0].device)
            steps = lambda v, n=j - i: v.view(n, -1, *v.shape[1:])
            each = [[add(steps(a), steps(b), weights) for a, b in zip(*p, strict=True)] for p in zip(h, g, strict=True)]
            plus = lambda p, q: [a + b for a, b in zip(p, q, strict=True)]
            total = [plus(p, q) for p, q in zip(total, each, strict=True)] if total else each
        return total, several


class LayerConductance(_LayerPath):
    """∫ ∂f/∂h · dh along the path between inputs, for each activation h of a layer (Dhamdhere et al. 2018)."""

    _multiply_by_inputs = True

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
        x = tupled(inputs)
        rows = Rows(target, additional_forward_args, rows_in(x))
        add = lambda h, g, w: (g[:-1] * h.diff(dim=0)).sum(0)
        found, several = self.sums(
            inputs,
            baselines,
            rows,
            n_steps + 1,
            method,
            internal_batch_size,
            attribute_to_layer_input,
            grad_kwargs,
            1,
            add,
        )
        answer = self.as_layers([tuple(v) if s else v[0] for v, s in zip(found, several, strict=True)])
        if not return_convergence_delta:
            return answer
        base = spread(x, baselines)
        deltas = [delta_of(self.forward_func, v, x, base, rows) for v in found]
        return answer, self.as_layers(deltas)


class InternalInfluence(_LayerPath):
    """The mean of ∂f/∂h along the path between inputs, for each activation h (Leino et al. 2018, 1802.03788)."""

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
        rows = Rows(target, additional_forward_args, rows_in(tupled(inputs)))
        add = lambda h, g, w: torch.tensordot(w, g, 1)
        found, several = self.sums(
            inputs, baselines, rows, n_steps, method, internal_batch_size, attribute_to_layer_input, grad_kwargs, 0, add
        )
        return self.as_layers([tuple(v) if s else v[0] for v, s in zip(found, several, strict=True)])


class NeuronConductance(NeuronAttribution):
    """The part of a neuron's conductance that each input has: (x − x0)·∫ ∂f/∂neuron · ∂neuron/∂x."""

    def __init__(
        self, forward_func: Forward, layer: Any, device_ids: Value = None, multiply_by_inputs: bool = True
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self._multiply_by_inputs = multiply_by_inputs

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
        x = tuple(t.detach() for t in tupled(inputs))
        x0 = tuple(t.detach() for t in spread(x, baselines))
        rows, n = Rows(target, additional_forward_args, rows_in(x)), rows_in(x)
        t, w = nodes_of(method, n_steps)
        total: list[Tensor] = []
        for i, j in slices(n_steps, n, internal_batch_size):
            points, r = points_at(x, x0, t[i:j]), rows.repeated(j - i)
            with torch.enable_grad():
                (h,), output = layer_values(
                    lambda p=points, r=r: outputs_of(self.forward_func, p, r.args),
                    self.layers,
                    attribute_to_neuron_input,
                )
                y = selected(output, r.target)
                kwargs = {"retain_graph": True, **(grad_kwargs or {})}
                through = neuron_of(gradients(y, h.values, kwargs), neuron_selector)
                found = gradients(neuron_of(h.values, neuron_selector), points)
            each = []
            for g in found:
                weights = torch.tensor(w[i:j], dtype=g.dtype, device=g.device)
                scaled = (g.T * through.detach().T).T if g.ndim <= 2 else g * through.view(-1, *[1] * (g.ndim - 1))
                each.append(torch.tensordot(weights, scaled.view(j - i, n, *g.shape[1:]), 1))
            total = [a + b for a, b in zip(total, each, strict=True)] if total else each
        return as_given(integrated(tuple(total), x, x0, self._multiply_by_inputs), inputs)


def _floats(x: Tensors) -> None:
    for i, t in enumerate(x):
        if not t.is_floating_point():
            raise ArgumentError(
                f"Input {i} is a tensor of {t.dtype}; expected floats, between which there is a path. For token ids "
                "use LayerIntegratedGradients(f, the embedding layer), or give embeddings as the input."
            )


__all__ = ["IntegratedGradients", "InternalInfluence", "LayerConductance", "LayerIntegratedGradients"]
__all__ += ["NeuronConductance", "NeuronIntegratedGradients", "mean_gradients", "rows_in"]
