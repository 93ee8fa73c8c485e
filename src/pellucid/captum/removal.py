"""The classes that replace features and look at the output: ablation, occlusion, permutation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError
from .base import LayerAttribution, NeuronAttribution, PerturbationAttribution, layer_call, rest_of
from .calls import Forward, Rows, Tensors, Value, as_given, baselines_of, more_args, run, tupled
from .progress import counted

Masks = tuple[Tensor | None, ...]
"""For each input where a feature is, (1 or rows, …); None for an input without the feature."""
Replace = Callable[[int, Tensor, Tensor], Tensor]
"""`(number of the input, input, mask) → input without the feature`."""


@dataclass(frozen=True)
class Features:
    """Features of the inputs, each a function that makes its masks, so that they need not be kept."""

    masks: Sequence[Callable[[], Masks]]

    @staticmethod
    def of(ids: Tensors) -> Features:
        """Equal numbers, in any of the inputs, are one feature."""
        each = [set(t.unique().tolist()) for t in ids]
        every = sorted(set().union(*each))
        masks = lambda k: tuple(t == k if k in own else None for t, own in zip(ids, each, strict=True))
        return Features([lambda k=k: masks(k) for k in every])


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


def as_tensor(y: Value) -> Tensor:
    """An output as a tensor. Raises ArgumentError where it is neither a tensor nor a number."""
    if isinstance(y, torch.Future):
        y = y.wait()
    if isinstance(y, (int, float)):
        return torch.tensor(y, dtype=torch.float32 if isinstance(y, int) else torch.float64)
    if not isinstance(y, Tensor):
        raise ArgumentError(f"The forward function returned {y!r}; expected a tensor, an int or a float.")
    return y


def per_eval(n: Value) -> int:
    if not isinstance(n, int) or n < 1:
        raise ArgumentError(f"Found perturbations_per_eval={n!r}; expected a whole number of at least 1.")
    return n


def changes(
    f: Forward,
    x: Tensors,
    rows: Rows,
    features: Features,
    replace: Replace,
    at_once: int,
    name: str | None = None,
    least: int = 0,
) -> tuple[list[Tensor], list[Tensor]]:
    """What the output loses without each feature, written where the feature is, and how often each place was replaced.

    (outputs, …) for each input, where outputs are all numbers that f returns.

    at_once: how many features share a call. name: shown with the progress, which is not shown without. least: a
    feature of an input with fewer rows is skipped.
    """
    whole = as_tensor(run(f, x, rows.target, rows.args))
    flat = whole.reshape(1, -1)
    kind = flat.dtype if flat.is_floating_point() else torch.float32
    total = [torch.zeros((flat.numel(), *t.shape[1:]), dtype=kind, device=t.device) for t in x]
    count = [torch.zeros_like(t) for t in total]
    for masks in counted(list(_batches(features, at_once)), name, more=1):
        own = [t for i, t in enumerate(x) if any(m[i] is not None for m in masks)]
        if any(len(t) < least for t in own):
            warnings.warn(f"A feature was skipped: its input has fewer than {least} rows.", stacklevel=2)
            continue
        if all(t.numel() == 0 for t in own):
            continue
        k = len(masks)
        points = []
        for i, t in enumerate(x):
            each = [t if (own_mask := m[i]) is None else replace(i, t, own_mask) for m in masks]
            points.append(each[0] if k == 1 else torch.cat(each))
        r = rows.repeated(k) if k > 1 else rows
        y = as_tensor(run(f, points, r.target, r.args))
        if at_once > 1 and (not y.ndim or not whole.ndim or len(y) != k * len(whole)):
            raise ArgumentError(
                f"The output has the shape {tuple(y.shape)} for {k} copies of a batch, and {tuple(whole.shape)} for "
                "one; expected one that grows with the batch. Use perturbations_per_eval=1."
            )
        lost = flat - y.reshape(k, -1)
        for j, m in enumerate(masks):
            for i, t in enumerate(total):
                if (own_mask := m[i]) is not None and x[i].numel():
                    where = own_mask.to(kind)
                    t += lost[j].to(t.device).view(-1, *[1] * (t.ndim - 1)) * where
                    count[i] += where
    return total, count


def _batches(features: Features, at_once: int) -> Iterator[list[Masks]]:
    for i in range(0, len(features.masks), at_once):
        yield [make() for make in features.masks[i : i + at_once]]


def to_baseline(x: Tensors, baselines: Value) -> Replace:
    """Replaces a feature by the baseline."""
    base = baselines_of(x, baselines)

    def replace(i: int, t: Tensor, mask: Tensor) -> Tensor:
        b = base[i]
        wide = b.to(t) if isinstance(b, Tensor) else torch.full((), b, dtype=t.dtype, device=t.device)
        return torch.where(mask, wide, t)

    return replace


class FeatureAblation(PerturbationAttribution):
    """What the output loses where a feature is replaced by its baseline."""

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
        x = tupled(inputs)
        n = per_eval(perturbations_per_eval)
        features = Features.of(feature_ids(feature_mask, x))
        rows = Rows(target, additional_forward_args, x[0].shape[0] if x[0].ndim else 1)
        name = self.get_name() if show_progress else None
        with torch.no_grad():
            replace = self.replacing(x, baselines)
            found, _ = changes(
                self.forward_func, x, rows, features, replace, n, name, self._min_examples_per_batch_grouped
            )
        return as_given(found, inputs)

    def replacing(self, x: Tensors, baselines: Value) -> Replace:
        return to_baseline(x, baselines)

    def attribute_future(self, *args: Any, **kwargs: Any) -> Any:
        """As `attribute`, where the forward function returns futures; a future too."""
        return in_future(self, args, kwargs)


def in_future(method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A future with the method's answer, for a forward function that returns futures."""
    f = method.forward_func

    def waited(*given: Value) -> Value:
        y = f(*given)
        return y.wait() if isinstance(y, torch.Future) else y

    found: Any = torch.futures.Future()
    method.forward_func = waited
    try:
        found.set_result(method.attribute(*args, **kwargs))
    finally:
        method.forward_func = f
    return found.then(lambda done: done.value())


def permuted(x: Tensor, mask: Tensor) -> Tensor:
    """The feature of each row from another row, by a random permutation that is not the identity."""
    n = len(x)
    if n < 2:
        raise ArgumentError("Found one row; expected several, among which a feature can be permuted.")
    order = torch.randperm(n)
    while torch.equal(order, torch.arange(n)):
        order = torch.randperm(n)
    return torch.where(mask.bool(), x[order.to(x.device)], x)


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
        return super().attribute(
            inputs, None, target, additional_forward_args, feature_mask, perturbations_per_eval, show_progress
        )


class Occlusion(FeatureAblation):
    """The mean loss over all windows that cover a place (Zeiler & Fergus 2013, 1311.2901)."""

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
        x = tupled(inputs)
        shapes = _windows(sliding_window_shapes, x)
        steps = _strides(strides, x)
        masks: list[Callable[[], Masks]] = []
        for i, (t, window, step) in enumerate(zip(x, shapes, steps, strict=True)):
            free = [a - b for a, b in zip(t.shape[1:], window, strict=True)]
            if any(n < 0 for n in free) or any(n and s > w for n, s, w in zip(free, step, window, strict=True)):
                raise ArgumentError(
                    f"Found the window {window} and the strides {step} for input {i}, {tuple(t.shape[1:])}; expected a "
                    "window that fits into the input, and strides that are no larger than it."
                )
            counts = [math.ceil(n / s) + 1 for n, s in zip(free, step, strict=True)]
            for k in range(math.prod(counts)):
                masks.append(lambda i=i, t=t, k=k, c=counts, w=window, s=step: _window_at(len(x), i, t, k, c, w, s))
        rows = Rows(target, additional_forward_args, x[0].shape[0])
        name = self.get_name() if show_progress else None
        with torch.no_grad():
            found, count = changes(
                self.forward_func,
                x,
                rows,
                Features(masks),
                to_baseline(x, baselines),
                per_eval(perturbations_per_eval),
                name,
            )
        return as_given([t.float() / c for t, c in zip(found, count, strict=True)], inputs)

    def attribute_future(self, *args: Any, **kwargs: Any) -> Any:
        return PerturbationAttribution.attribute_future(self)


def _window_at(
    n: int, i: int, t: Tensor, k: int, counts: list[int], window: tuple[int, ...], step: tuple[int, ...]
) -> Masks:
    """The masks of the k-th window of input i, the first dimension fastest; the last windows may be cut off."""
    where: list[slice] = []
    for count, size, by in zip(counts, window, step, strict=True):
        start = k % count * by
        where.append(slice(start, start + size))
        k //= count
    mask = torch.zeros((1, *t.shape[1:]), dtype=torch.bool, device=t.device)
    mask[(slice(None), *where)] = True
    return tuple(mask if j == i else None for j in range(n))


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


class LayerFeatureAblation(LayerAttribution):
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
        return self._over_layer(
            FeatureAblation,
            tupled(inputs),
            target,
            additional_forward_args,
            attribute_to_layer_input,
            baselines=layer_baselines,
            feature_mask=layer_mask,
            perturbations_per_eval=perturbations_per_eval,
        )

    def _over_layer(
        self, method: type[Any], x: Tensors, target: Value, args: Value, at_input: bool, **given: Any
    ) -> Any:
        (h,), _ = layer_call(self, x, args, at_input)
        f = rest_of(self.forward_func, self.layers, at_input, [len(h.values)], [h.is_tuple])
        found = method(f).attribute(h.values, target=target, additional_forward_args=(*x, *more_args(args)), **given)
        return found if h.is_tuple else found[0]


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
        given = {"feature_mask": layer_mask, "perturbations_per_eval": perturbations_per_eval}
        return self._over_layer(FeaturePermutation, tupled(inputs), target, additional_forward_args, False, **given)


class NeuronFeatureAblation(NeuronAttribution):
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
        f = self.neuron(neuron_selector, attribute_to_neuron_input)
        return FeatureAblation(f).attribute(
            inputs, baselines, None, additional_forward_args, feature_mask, perturbations_per_eval
        )


__all__ = ["FeatureAblation", "FeaturePermutation", "LayerFeatureAblation", "LayerFeaturePermutation", "Occlusion"]
__all__ += ["NeuronFeatureAblation"]
