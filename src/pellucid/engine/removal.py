"""What a function's outputs lose without a feature of its inputs, for outputs of any shape and features over several
inputs.

`coalitions.py` asks for one number a row and plays games with it; here a function may return many numbers, or one for
the whole batch, and each of them is compared.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ..errors import ArgumentError
from ..problem import Tensors

Masks: TypeAlias = tuple[Tensor | None, ...]
"""For each input where a feature is, (1 or rows, …); None for an input without the feature."""
Feature: TypeAlias = Callable[[], Masks]
"""Makes the masks of a feature, so that they need not be kept."""
Replace: TypeAlias = Callable[[int, Tensor, Tensor], Tensor]
"""`(number of the input, input, mask) → input without the feature`."""
Call: TypeAlias = Callable[[Tensors, int], Tensor]
"""`(points, copies) → outputs`, where the points are the rows of the inputs, `copies` times after each other."""
Asked: TypeAlias = tuple[list[Masks], Tensor]
"""The masks of the features that share a call, and what the call returned."""


def features_of(ids: Tensors) -> list[Feature]:
    """The features of inputs whose elements are numbered: equal numbers, in any of the inputs, are one feature."""
    each = [set(t.unique().tolist()) for t in ids]
    masks = lambda k: tuple(t == k if k in own else None for t, own in zip(ids, each, strict=True))
    return [lambda k=k: masks(k) for k in sorted(set().union(*each))]


def windows_of(x: Tensors, windows: Sequence[tuple[int, ...]], strides: Sequence[tuple[int, ...]]) -> list[Feature]:
    """The features of windows that slide over each input; the last windows of a dimension may be cut off.

    windows, strides: for each input a size and a step for each dimension after the first. Raises ArgumentError.
    """
    found: list[Feature] = []
    for i, (t, window, step) in enumerate(zip(x, windows, strides, strict=True)):
        free = [a - b for a, b in zip(t.shape[1:], window, strict=True)]
        if any(n < 0 for n in free) or any(n and s > w for n, s, w in zip(free, step, window, strict=True)):
            raise ArgumentError(
                f"Found the window {window} and the strides {step} for input {i}, {tuple(t.shape[1:])}; expected a "
                "window that fits into the input, and strides that are no larger than it."
            )
        counts = [math.ceil(n / s) + 1 for n, s in zip(free, step, strict=True)]
        for k in range(math.prod(counts)):
            found.append(lambda i=i, t=t, k=k, c=counts, w=window, s=step: _window(len(x), i, t, k, c, w, s))
    return found


def _window(
    n: int, i: int, t: Tensor, k: int, counts: list[int], window: tuple[int, ...], step: tuple[int, ...]
) -> Masks:
    """The masks of the k-th window of input i, the first dimension fastest."""
    where: list[slice] = []
    for count, size, by in zip(counts, window, step, strict=True):
        start = k % count * by
        where.append(slice(start, start + size))
        k //= count
    mask = torch.zeros((1, *t.shape[1:]), dtype=torch.bool, device=t.device)
    mask[(slice(None), *where)] = True
    return tuple(mask if j == i else None for j in range(n))


def put_to(baselines: Sequence[Tensor | float]) -> Replace:
    """Replaces a feature by the baseline of its input, in the type that holds both."""

    def replace(i: int, t: Tensor, mask: Tensor) -> Tensor:
        b = baselines[i]
        return torch.where(mask, b.to(t.device) if isinstance(b, Tensor) else b, t)

    return replace


def permuted(x: Tensor, mask: Tensor) -> Tensor:
    """The feature of each row from another row, by a random permutation that is not the identity."""
    n = len(x)
    if n < 2:
        raise ArgumentError("Found one row; expected several, among which a feature can be permuted.")
    order = torch.randperm(n)
    while torch.equal(order, torch.arange(n)):
        order = torch.randperm(n)
    return torch.where(mask.bool(), x[order.to(x.device)], x)


def asked_without(
    call: Call, x: Tensors, features: Sequence[Feature], replace: Replace, at_once: int, least: int = 0
) -> Iterator[Asked]:
    """The calls without each feature, one after the other as they are asked for.

    at_once: how many features share a call. least: a feature of an input with fewer rows is skipped.
    """
    for i in range(0, len(features), at_once):
        masks = [make() for make in features[i : i + at_once]]
        own = [t for j, t in enumerate(x) if any(m[j] is not None for m in masks)]
        if any(len(t) < least for t in own):
            warnings.warn(f"A feature was skipped: its input has fewer than {least} rows.", stacklevel=2)
            continue
        if all(t.numel() == 0 for t in own):
            continue
        points = []
        for j, t in enumerate(x):
            each = [t if (mask := m[j]) is None else replace(j, t, mask) for m in masks]
            points.append(each[0] if len(masks) == 1 else torch.cat(each))
        yield masks, call(tuple(points), len(masks))


@dataclass(frozen=True)
class Losses:
    """What the outputs lose without features, written where the features are.

    total: (outputs, …) for each input, where outputs are all numbers that f returns. count: how often each place was
    replaced.
    """

    total: list[Tensor]
    count: list[Tensor]

    def means(self) -> list[Tensor]:
        """The mean loss over all features that cover a place."""
        return [t.float() / n for t, n in zip(self.total, self.count, strict=True)]


def losses(x: Tensors, whole: Tensor, asked: Iterable[Asked]) -> Losses:
    """The losses of a function whose outputs at x are `whole`, from the calls without features.

    Raises ArgumentError where a call of several copies does not return as many times the outputs.
    """
    flat = whole.reshape(1, -1)
    total = [torch.zeros((flat.numel(), *t.shape[1:]), dtype=flat.dtype, device=t.device) for t in x]
    count = [torch.zeros(t.shape, device=t.device) for t in total]
    for masks, y in asked:
        k = len(masks)
        if k > 1 and (not y.ndim or not whole.ndim or len(y) != k * len(whole)):
            raise ArgumentError(
                f"The output has the shape {tuple(y.shape)} for {k} copies of a batch, and {tuple(whole.shape)} for "
                "one; expected one that grows with the batch. Use perturbations_per_eval=1."
            )
        lost = flat - y.reshape(k, -1)
        for j, m in enumerate(masks):
            for i, t in enumerate(total):
                if (mask := m[i]) is not None and x[i].numel():
                    where = mask.to(flat.dtype)
                    t += lost[j].to(t.device).view(-1, *[1] * (t.ndim - 1)) * where
                    count[i] += where
    return Losses(total, count)
