"""Shapley values in Captum's form, by orders of the features: a random sample of them, or all."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError
from .base import PerturbationAttribution
from .calls import Rows, Tensors, Value, as_given, run, spread, tupled
from .progress import counted
from .removal import as_tensor, feature_ids, in_future, per_eval


class ShapleyValueSampling(PerturbationAttribution):
    """The mean of what each feature adds on entering, over random orders of the features (Castro et al. 2009)."""

    def attribute(
        self,
        inputs: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        feature_mask: Value = None,
        n_samples: int = 25,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        x = tupled(inputs)
        at_once = per_eval(perturbations_per_eval)
        with torch.no_grad():
            return self._values(
                inputs,
                x,
                spread(x, baselines),
                Rows(target, additional_forward_args, x[0].shape[0]),
                feature_ids(feature_mask, x),
                n_samples,
                at_once,
                show_progress,
            )

    def orders(self, n: int, n_samples: int) -> Iterator[tuple[int, ...]]:
        for _ in range(n_samples):
            yield tuple(torch.randperm(n).tolist())

    def how_many(self, n: int, n_samples: int) -> int:
        return n_samples

    def _values(
        self, inputs: Value, x: Tensors, x0: Tensors, rows: Rows, ids: Tensors, samples: int, at_once: int, show: bool
    ) -> Any:
        n = 1 + max(int(t.max()) for t in ids if t.numel())
        empty = as_tensor(run(self.forward_func, x0, rows.target, rows.args))
        empty = empty if empty.ndim else empty.reshape(1)
        if at_once > 1 and (not empty.ndim or (rows.n > 1 and empty.numel() == 1)):
            raise ArgumentError(
                "The function returns one number for the batch; expected perturbations_per_eval=1 with it."
            )
        if rows.n > 1 and empty.numel() == 1 and any(t.shape[0] > 1 for t in ids):
            raise ArgumentError(
                "The function returns one number for the batch; expected one feature mask for all rows."
            )
        shape = tuple(empty.shape)
        total = [torch.zeros((*shape, *t.shape[1:]), device=t.device) for t in x]
        name = self.get_name() if show else None
        orders = counted(self.orders(n, samples), name, total=self.how_many(n, samples))
        done = 0
        for order in orders:
            done += 1
            before, now = empty, x0
            for i in range(0, n, at_once):
                part = order[i : i + at_once]
                entered = [tuple(t == k for t in ids) for k in part]
                points: list[Tensors] = []
                for masks in entered:
                    now = tuple(torch.where(m, a, b) for m, a, b in zip(masks, x, now, strict=True))
                    points.append(now)
                if not all(any(bool(m.any()) for m in masks) for masks in entered):
                    warnings.warn("A number below the largest is missing in the feature mask.", stacklevel=3)
                k = len(part)
                r = rows.repeated(k) if k > 1 else rows
                at = tuple(map(torch.cat, zip(*points, strict=True))) if k > 1 else points[0]
                y = as_tensor(run(self.forward_func, at, r.target, r.args))
                y = y if y.ndim else y.reshape(1)
                each = y.view(k, *shape)
                added = each - torch.cat([before.view(1, *shape), each[:-1]])
                before = each[-1]
                for j, masks in enumerate(entered):
                    for t, m in zip(total, masks, strict=True):
                        t += _written(added[j], m, len(shape))
        return as_given([t / done for t in total], inputs)

    def attribute_future(self, *args: Any, **kwargs: Any) -> Any:
        """As `attribute`, where the forward function returns futures; a future too."""
        return in_future(self, args, kwargs)


def _written(added: Tensor, mask: Tensor, dims: int) -> Tensor:
    """What a feature added, (outputs…), written where the mask (1 or rows, …) is true: (outputs…, …)."""
    wide = mask.view(mask.shape[0], *[1] * (dims - 1), *mask.shape[1:]).to(added.dtype)
    return added.view(*added.shape, *[1] * (mask.ndim - 1)).to(mask.device) * wide


class ShapleyValues(ShapleyValueSampling):
    """Shapley values over all orders of the features, exact."""

    def attribute(
        self,
        inputs: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        feature_mask: Value = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        n = 1 + max(int(t.max()) for t in feature_ids(feature_mask, tupled(inputs)) if t.numel())
        if n >= 10:
            warnings.warn(f"Found {n} features, which have {math.factorial(n)} orders: use a sample.", stacklevel=2)
        return super().attribute(
            inputs, baselines, target, additional_forward_args, feature_mask, 1, perturbations_per_eval, show_progress
        )

    def orders(self, n: int, n_samples: int) -> Iterator[tuple[int, ...]]:
        yield from itertools.permutations(range(n))

    def how_many(self, n: int, n_samples: int) -> int:
        return math.factorial(n)
