"""The classes that add noise to inputs, or that draw from a distribution of baselines."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ArgumentError
from ..numerics.noise import MOMENTS, noisy_copies
from .base import (
    Attribution,
    GradientAttribution,
    ScaledGradientAttribution,
    ScaledLayerAttribution,
    ScaledNeuronAttribution,
    layer_call,
)
from .calls import Call, Rows, as_given, tupled
from .outputs import GradientFunc, Tensors, Value, compute_gradients

NOISE_TYPES = {"smoothgrad": "mean", "smoothgrad_sq": "square", "vargrad": "variance"}
"""Captum's name of what is made of the answers for noisy copies, and its name in MOMENTS."""


class NoiseTunnel(Attribution):
    """Another method at noisy copies of the inputs: the mean (smoothgrad), the mean square (smoothgrad_sq), or the
    variance (vargrad) of its answers (Smilkov et al. 2017, 1706.03825; Adebayo et al. 2018, 1806.10758)."""

    def __init__(self, attribution_method: Any) -> None:
        self.attribution_method = attribution_method
        super().__init__(attribution_method.forward_func)
        self.is_delta_supported = attribution_method.has_convergence_delta()
        self._multiply_by_inputs = attribution_method.multiplies_by_inputs
        self.is_gradient_method = isinstance(attribution_method, GradientAttribution)

    def has_convergence_delta(self) -> bool:
        return self.is_delta_supported

    def attribute(
        self,
        inputs: Value,
        nt_type: str = "smoothgrad",
        nt_samples: int = 5,
        nt_samples_batch_size: int | None = None,
        stdevs: Any = 1.0,
        draw_baseline_from_distrib: bool = False,
        **kwargs: Any,
    ) -> Any:
        x = tupled(inputs)
        if nt_samples < 1 or (nt_samples_batch_size is not None and nt_samples_batch_size < 1):
            raise ArgumentError(
                f"Found {nt_samples} samples, in batches of {nt_samples_batch_size}; expected at least 1 of each."
            )
        if nt_type not in NOISE_TYPES:
            raise ArgumentError(f"Found nt_type={nt_type!r}; expected one of {', '.join(NOISE_TYPES)}.")
        sigma = stdevs if isinstance(stdevs, tuple) else (stdevs,) * len(x)
        if len(sigma) != len(x) or not all(isinstance(s, float) for s in sigma):
            raise ArgumentError(f"Found stdevs={stdevs!r}; expected a float, or a tuple of one for each input.")
        for i, (t, s) in enumerate(zip(x, sigma, strict=True)):
            if s and not t.is_floating_point():
                raise ArgumentError(
                    f"Input {i} is a tensor of {t.dtype}, and noise cannot be added to ids; expected floats. Give "
                    "embeddings as the input, to a function that takes inputs_embeds, or with the embedding layer "
                    "exchanged by configure_interpretable_embedding_layer."
                )
        answers: list[Any] = []
        most = nt_samples if nt_samples_batch_size is None else min(nt_samples, nt_samples_batch_size)
        parts = [most] * (nt_samples // most) + ([nt_samples % most] if nt_samples % most else [])
        for n in parts:
            answers.append(self._answers(inputs, x, sigma, n, draw_baseline_from_distrib, kwargs))
        several = isinstance(answers[0][0], (tuple, list))
        values = []
        for each in zip(*(a[0] if several else (a[0],) for a in answers), strict=True):
            all_of = torch.cat([v.view(-1, n, *v.shape[1:]) for v, n in zip(each, parts, strict=True)], 1)
            values.append(MOMENTS[NOISE_TYPES[nt_type]](all_of))
        answer = tuple(values) if several else values[0]
        if not kwargs.get("return_convergence_delta"):
            return answer
        return answer, torch.cat([a[1] for a in answers])

    def _answers(
        self, inputs: Value, x: Tensors, sigma: tuple[float, ...], n: int, draw: bool, kwargs: dict[str, Any]
    ) -> tuple[Any, Any]:
        noisy = [noisy_copies(t, n, s) for t, s in zip(x, sigma, strict=True)]
        rows = Rows(kwargs.get("target"), kwargs.get("additional_forward_args"), x[0].shape[0]).repeated(n, True)
        given = dict(kwargs)
        if "target" in given:
            given["target"] = rows.target
        if given.get("additional_forward_args") is not None:
            given["additional_forward_args"] = rows.args
        if given.get("baselines") is not None:
            given["baselines"] = _repeated_baselines(given["baselines"], x, n, draw)
        if given.get("feature_mask") is not None:
            own = given["feature_mask"]
            wide = tuple(m.repeat_interleave(n, 0) if m.shape[0] > 1 else m for m in tupled(own))
            given["feature_mask"] = as_given(wide, own)
        found = self.attribution_method.attribute(as_given(noisy, inputs), **given)
        return found if kwargs.get("return_convergence_delta") and self.is_delta_supported else (found, None)


def _repeated_baselines(baselines: Value, x: Tensors, n: int, draw: bool) -> Value:
    """The baselines for n copies of each row; drawn at random from their rows where `draw`."""
    found = []
    for b, t in zip(baselines if isinstance(baselines, tuple) else (baselines,), x, strict=True):
        if not isinstance(b, Tensor):
            found.append(b)
        elif draw:
            found.append(b[torch.from_numpy(np.random.choice(b.shape[0], n * t.shape[0])).to(b.device)])
        else:
            found.append(b.repeat_interleave(n, 0) if b.shape[0] == t.shape[0] and b.shape[0] > 1 else b)
    return tuple(found) if isinstance(baselines, tuple) else found[0]


def distribution(baselines: Value, inputs: Value) -> Tensors:
    """A distribution of baselines as tensors, from tensors or a function. Raises ArgumentError."""
    if callable(baselines):
        code = getattr(baselines, "__code__", None)
        takes = code.co_argcount if code is not None else 0
        baselines = baselines(inputs) if takes else baselines()
    found = tuple(baselines) if isinstance(baselines, (tuple, list)) else (baselines,)
    for b in found:
        if not isinstance(b, Tensor):
            raise ArgumentError(
                f"The distribution of baselines is a {type(b).__name__}; expected a tensor, rows first, for each input."
            )
    return found


def random_gradients(call: Call, by: GradientFunc = compute_gradients) -> Tensors:
    """∂f/∂x at one random place between x0 and x for each row."""
    call = call.moving()
    t = torch.from_numpy(np.random.uniform(0.0, 1.0, call.x[0].shape[0])).to(call.x[0])
    at = tuple(_between(a, b, t).requires_grad_() for a, b in zip(call.x, call.x0, strict=True))
    return call.gradients(at, by=by)


def _between(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    at = t.to(a.dtype).view(-1, *[1] * (a.ndim - 1))
    return at * a + (1 - at) * b


class InputBaselineXGradient(ScaledGradientAttribution):
    """(x − x0)·∂f/∂x at one random place between x0 and x for each row."""

    def attribute(
        self,
        inputs: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        call = Call.of(self.forward_func, inputs, baselines, target, additional_forward_args)
        values = call.times_change(random_gradients(call, self.gradient_func), self._multiply_by_inputs)
        return call.answer(values, return_convergence_delta)


class _LayerBaselineXGradient(ScaledLayerAttribution):
    """(h − h0)·∂f/∂h at a random place between the activations at x0 and at x."""

    at_input = False

    def attribute(
        self,
        inputs: Value,
        baselines: Value,
        target: Value = None,
        additional_forward_args: Value = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        outer = Call.of(self.forward_func, inputs, baselines, target, additional_forward_args)
        layer = layer_call(self, outer, self.at_input)
        values = layer.call.times_change(random_gradients(layer.call), self._multiply_by_inputs)
        return layer.answer(values, return_convergence_delta)


def _expected(inner: Attribution, inputs: Value, baselines: Value, n_samples: int, stdevs: Any, **given: Any) -> Any:
    """The mean of a method over noisy copies of the inputs, each with a baseline drawn from the distribution."""
    return NoiseTunnel(inner).attribute(
        inputs,
        nt_samples=n_samples,
        stdevs=stdevs,
        draw_baseline_from_distrib=True,
        baselines=distribution(baselines, inputs),
        **given,
    )


class GradientShap(ScaledGradientAttribution):
    """The expected (x − x0)·∂f/∂x over random baselines and places (Lundberg & Lee 2017; Erion et al. 2019)."""

    def attribute(
        self,
        inputs: Value,
        baselines: Value,
        n_samples: int = 5,
        stdevs: Any = 0.0,
        target: Value = None,
        additional_forward_args: Value = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        given = {"target": target, "additional_forward_args": additional_forward_args}
        inner = InputBaselineXGradient(self.forward_func, self._multiply_by_inputs)
        inner.gradient_func = self.gradient_func
        delta = return_convergence_delta
        return _expected(inner, inputs, baselines, n_samples, stdevs, return_convergence_delta=delta, **given)


class NeuronGradientShap(ScaledNeuronAttribution):
    """`GradientShap` of a neuron."""

    def attribute(
        self,
        inputs: Value,
        neuron_selector: Value,
        baselines: Value,
        n_samples: int = 5,
        stdevs: Any = 0.0,
        additional_forward_args: Value = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        with self.neuron(neuron_selector, attribute_to_neuron_input) as f:
            return GradientShap(f, self._multiply_by_inputs).attribute(
                inputs, baselines, n_samples, stdevs, None, additional_forward_args
            )


class LayerGradientShap(ScaledLayerAttribution):
    """`GradientShap` over the activations of a layer."""

    def attribute(
        self,
        inputs: Value,
        baselines: Value,
        n_samples: int = 5,
        stdevs: Any = 0.0,
        target: Value = None,
        additional_forward_args: Value = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
    ) -> Any:
        given = {"target": target, "additional_forward_args": additional_forward_args}
        inner = _LayerBaselineXGradient(self.forward_func, self.layer, self.device_ids, self._multiply_by_inputs)
        inner.at_input, delta = attribute_to_layer_input, return_convergence_delta
        return _expected(inner, inputs, baselines, n_samples, stdevs, return_convergence_delta=delta, **given)


__all__ = ["GradientShap", "LayerGradientShap", "NeuronGradientShap", "NoiseTunnel"]
