"""The classes that replace features and look at the output: ablation, occlusion, permutation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..engine.removal import (
    Asked,
    Feature,
    Losses,
    Replace,
    asked_without,
    features_of,
    losses,
    permuted,
    put_to,
    windows_of,
)
from ..errors import ArgumentError
from .base import LayerAttribution, NeuronAttribution, PerturbationAttribution, layer_call
from .calls import Call, Rows, as_given, baselines_of, rows_in, tupled
from .outputs import Forward, Tensors, Value
from .progress import counted


def feature_ids(mask: Value, inputs: Tensors) -> Tensors:
    """The numbers of the features, (1 or rows, …) for each input; each element its own feature where none is given."""
    if mask is None:
        found, start = [], 0
        for t in inputs:
            n = t[0].numel() if len(t) else math.prod(t.shape[1:])
            found.append(torch.arange(start, start + n, device=t.device).view(1, *t.shape[1:]))
            start += n
        return tuple(found)
    given = tuple(mask) if isinstance(mask, (tuple, list)) else (mask,)
    if len(given) != len(inputs):
        raise ArgumentError(f"Found {len(given)} feature masks for {len(inputs)} inputs; expected one for each.")
    found = []
    for i, (m, t) in enumerate(zip(given, inputs, strict=True)):
        wide = m.reshape(*[1] * (t.ndim - m.ndim), *m.shape).to(t.device)
        if wide.ndim != t.ndim or any(a not in (1, b) for a, b in zip(wide.shape, t.shape, strict=True)):
            raise ArgumentError(
                f"The feature mask of input {i} has the shape {tuple(m.shape)}, and the input {tuple(t.shape)}; "
                "expected the input's shape, or one that spreads to it."
            )
        found.append(wide)
    return tuple(found)


def per_eval(n: Value) -> int:
    if not isinstance(n, int) or n < 1:
        raise ArgumentError(f"Found perturbations_per_eval={n!r}; expected a whole number of at least 1.")
    return n


def plain_call(f: Forward, inputs: Value, target: Value, args: Value) -> Call:
    """A call whose baselines are looked at elsewhere."""
    x = tuple(t.detach() for t in tupled(inputs))
    return Call(f, inputs, x, x, Rows(target, args, rows_in(x)))


def answered_later(whole: Value, asked: Sequence[tuple[Any, ...]], finish: Callable[[Tensor, list[Any]], Any]) -> Any:
    """A future of `finish(whole, asked)`, where the last of each tuple in `asked`, and `whole`, are futures still."""
    every = torch.futures.collect_all([whole, *(one[-1] for one in asked)])
    return every.then(lambda _: finish(whole.value(), [(*one[:-1], one[-1].value()) for one in asked]))


class FeatureAblation(PerturbationAttribution):
    """What the output loses where a feature is replaced by its baseline.

    use_weights: whether a place that several features cover has the mean of their losses (float32), not the sum.
    """

    use_weights = False
    _min_examples_per_batch_grouped = 0

    def attribute(
        self,
        inputs: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        feature_mask: Value = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Any:
        call = plain_call(self.forward_func, inputs, target, additional_forward_args)
        features = features_of(feature_ids(feature_mask, call.x))
        replace = self.replacing(call.x, baselines)
        return self.without(call, features, replace, perturbations_per_eval, show_progress)

    def attribute_future(
        self,
        inputs: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        feature_mask: Value = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Any:
        """As `attribute`, a future, for a forward function that returns futures. All its calls are made at once."""
        call = plain_call(self.forward_func, inputs, target, additional_forward_args)
        features = features_of(feature_ids(feature_mask, call.x))
        n, least = per_eval(perturbations_per_eval), self._min_examples_per_batch_grouped
        with torch.no_grad():
            whole = call.later(call.x)
            asked = list(asked_without(call.later, call.x, features, self.replacing(call.x, baselines), n, least))
        return answered_later(whole, asked, lambda y, each: as_given(self.scores(losses(call.x, y, each)), inputs))

    def replacing(self, x: Tensors, baselines: Value) -> Replace:
        return put_to(baselines_of(x, baselines))

    def without(self, call: Call, features: list[Feature], replace: Replace, at_once: Value, show: bool) -> Any:
        """What is made of the losses without each feature."""
        n, name = per_eval(at_once), self.get_name() if show else None
        with torch.no_grad():
            whole = call.numbers(call.x)
            asked = asked_without(call.numbers, call.x, features, replace, n, self._min_examples_per_batch_grouped)
            batches: Iterator[Asked] = counted(asked, name, 1, math.ceil(len(features) / n))
            return as_given(self.scores(losses(call.x, whole, batches)), call.given)

    def scores(self, found: Losses) -> list[Tensor]:
        return found.means() if self.use_weights else found.total


class FeaturePermutation(FeatureAblation):
    """What the output loses where a feature comes from another row of the batch (Breiman 2001)."""

    _min_examples_per_batch_grouped = 2

    def __init__(self, forward_func: Forward, perm_func: Callable[[Tensor, Tensor], Tensor] = permuted) -> None:
        super().__init__(forward_func)
        self.perm_func = perm_func

    def replacing(self, x: Tensors, baselines: Value) -> Replace:
        return lambda i, t, mask: self.perm_func(t, mask)

    def attribute(
        self,
        inputs: Value,
        target: Value = None,
        additional_forward_args: Value = None,
        feature_mask: Value = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Any:
        given = (additional_forward_args, feature_mask, perturbations_per_eval, show_progress)
        return super().attribute(inputs, None, target, *given)

    def attribute_future(
        self,
        inputs: Value,
        target: Value = None,
        additional_forward_args: Value = None,
        feature_mask: Value = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Any:
        """As `attribute`, a future, for a forward function that returns futures."""
        given = (additional_forward_args, feature_mask, perturbations_per_eval, show_progress)
        return super().attribute_future(inputs, None, target, *given)


class Occlusion(FeatureAblation):
    """The mean loss over all windows that cover a place (Zeiler & Fergus 2013, 1311.2901)."""

    use_weights = True

    def attribute(
        self,
        inputs: Value,
        sliding_window_shapes: Value,
        strides: Value = None,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        call = plain_call(self.forward_func, inputs, target, additional_forward_args)
        windows = windows_of(call.x, _windows(sliding_window_shapes, call.x), _strides(strides, call.x))
        return self.without(call, windows, self.replacing(call.x, baselines), perturbations_per_eval, show_progress)

    def attribute_future(self, *args: Any, **kwargs: Any) -> Any:
        return PerturbationAttribution.attribute_future(self)


def _windows(shapes: Value, x: Tensors) -> list[tuple[int, ...]]:
    given = [shapes] if isinstance(shapes, tuple) and all(isinstance(s, int) for s in shapes) else shapes
    fits = (
        isinstance(given, (tuple, list))
        and len(given) == len(x)
        and all(
            isinstance(s, tuple) and len(s) == t.ndim - 1 and all(n > 0 for n in s)
            for s, t in zip(given, x, strict=True)
        )
    )
    if not fits:
        raise ArgumentError(
            f"Found sliding_window_shapes={shapes!r}; expected for each input a tuple of one size for each dimension "
            "after the first."
        )
    return list(given)


def _strides(strides: Value, x: Tensors) -> list[tuple[int, ...]]:
    if strides is None:
        return [(1,) * (t.ndim - 1) for t in x]
    one = len(x) == 1 and not (isinstance(strides, tuple) and strides and isinstance(strides[0], tuple))
    given = [strides] if one else strides
    if isinstance(given, int) or len(given) != len(x):
        raise ArgumentError(f"Found strides={strides!r} for {len(x)} inputs; expected one for each input.")
    found = [(s,) * (t.ndim - 1) if isinstance(s, int) else tuple(s) for s, t in zip(given, x, strict=True)]
    if any(len(s) != t.ndim - 1 or any(n < 1 for n in s) for s, t in zip(found, x, strict=True)):
        raise ArgumentError(f"Found strides={strides!r}; expected a positive one for each dimension after the first.")
    return found


class LayerFeatureAblation(LayerAttribution, PerturbationAttribution):
    """What the output loses where parts of a layer's activations are replaced."""

    def attribute(
        self,
        inputs: Value,
        layer_baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        layer_mask: Value = None,
        attribute_to_layer_input: bool = False,
        perturbations_per_eval: int = 1,
    ) -> Any:
        outer = Call.of(self.forward_func, inputs, None, target, additional_forward_args)
        given = {"feature_mask": layer_mask, "perturbations_per_eval": perturbations_per_eval}
        return self._by(FeatureAblation, outer, attribute_to_layer_input, baselines=layer_baselines, **given)

    def _by(self, method: type[Any], outer: Call, at_input: bool, **given: Any) -> Any:
        layer = layer_call(self, outer, at_input, with_baselines=False)
        target, args = layer.call.rows.target, layer.call.rows.args
        found = method(layer.call.f).attribute(layer.call.x, target=target, additional_forward_args=args, **given)
        return layer.answer(found)


class LayerFeaturePermutation(LayerFeatureAblation):
    """What the output loses where parts of a layer's activations come from another row."""

    def attribute(
        self,
        inputs: Value,
        target: Value = None,
        additional_forward_args: Value = None,
        layer_mask: Value = None,
        perturbations_per_eval: int = 1,
    ) -> Any:
        outer = Call.of(self.forward_func, inputs, None, target, additional_forward_args)
        given = {"feature_mask": layer_mask, "perturbations_per_eval": perturbations_per_eval}
        return self._by(FeaturePermutation, outer, False, **given)


class NeuronFeatureAblation(NeuronAttribution, PerturbationAttribution):
    """What a neuron loses where a feature is replaced by its baseline."""

    _multiply_by_inputs = True

    def attribute(
        self,
        inputs: Value,
        neuron_selector: Value,
        baselines: Value = None,
        additional_forward_args: Value = None,
        feature_mask: Value = None,
        attribute_to_neuron_input: bool = False,
        perturbations_per_eval: int = 1,
    ) -> Any:
        with self.neuron(neuron_selector, attribute_to_neuron_input) as f:
            return FeatureAblation(f).attribute(
                inputs, baselines, None, additional_forward_args, feature_mask, perturbations_per_eval
            )


__all__ = ["FeatureAblation", "FeaturePermutation", "LayerFeatureAblation", "LayerFeaturePermutation", "Occlusion"]
__all__ += ["NeuronFeatureAblation"]
