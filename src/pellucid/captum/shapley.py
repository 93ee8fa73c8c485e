"""Shapley values in Captum's form, by orders of the features: a random sample of them, or all."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..engine.entering import asked_in_orders, mean_gains
from ..errors import ArgumentError
from ..problem import Tensors
from .base import PerturbationAttribution
from .calls import Call, as_given
from .outputs import Value
from .progress import counted
from .removal import answered_later, feature_ids, per_eval


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
        call = Call.of(self.forward_func, inputs, baselines, target, additional_forward_args)
        ids, at_once = feature_ids(feature_mask, call.x), per_eval(perturbations_per_eval)
        n, name = players_in(ids), self.get_name() if show_progress else None
        with torch.no_grad():
            empty = call.numbers(call.x0)
            _check(call, empty, ids, at_once)
            orders = counted(self.orders(n, n_samples), name, total=self.how_many(n, n_samples))
            asked = asked_in_orders(call.numbers, call.x, call.x0, ids, orders, at_once)
            return as_given(mean_gains(call.x, empty, asked), inputs)

    def attribute_future(
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
        """As `attribute`, a future, for a forward function that returns futures. All its calls are made at once."""
        call = Call.of(self.forward_func, inputs, baselines, target, additional_forward_args)
        ids, at_once = feature_ids(feature_mask, call.x), per_eval(perturbations_per_eval)
        with torch.no_grad():
            empty = call.later(call.x0)
            orders = self.orders(players_in(ids), n_samples)
            asked = list(asked_in_orders(call.later, call.x, call.x0, ids, orders, at_once))

        def finish(y: Tensor, each: list[Any]) -> Any:
            _check(call, y, ids, at_once)
            return as_given(mean_gains(call.x, y, each), inputs)

        return answered_later(empty, asked, finish)

    def orders(self, n: int, n_samples: int) -> Iterator[tuple[int, ...]]:
        if n_samples < 1:
            raise ArgumentError(f"Found n_samples={n_samples!r}; expected at least 1.")
        for _ in range(n_samples):
            yield tuple(torch.randperm(n).tolist())

    def how_many(self, n: int, n_samples: int) -> int:
        return n_samples


def players_in(ids: Tensors) -> int:
    """How many features there are: one more than the largest number."""
    return 1 + max(int(t.max()) for t in ids if t.numel())


def _check(call: Call, empty: Tensor, ids: Tensors, at_once: int) -> None:
    """Raises ArgumentError where a function of one number for the batch cannot be asked like that."""
    one = not empty.ndim or (call.rows.n > 1 and empty.numel() == 1)
    if one and at_once > 1:
        raise ArgumentError("The function returns one number for the batch; expected perturbations_per_eval=1 with it.")
    if call.rows.n > 1 and empty.numel() == 1 and any(t.shape[0] > 1 for t in ids):
        raise ArgumentError("The function returns one number for the batch; expected one feature mask for all rows.")


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
        self._warn(inputs, feature_mask)
        given = (target, additional_forward_args, feature_mask, 1, perturbations_per_eval, show_progress)
        return super().attribute(inputs, baselines, *given)

    def attribute_future(
        self,
        inputs: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        feature_mask: Value = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        """As `attribute`, a future, for a forward function that returns futures. All its calls are made at once."""
        self._warn(inputs, feature_mask)
        given = (target, additional_forward_args, feature_mask, 1, perturbations_per_eval, show_progress)
        return super().attribute_future(inputs, baselines, *given)

    def _warn(self, inputs: Value, feature_mask: Value) -> None:
        n = players_in(feature_ids(feature_mask, Call.of(self.forward_func, inputs).x))
        if n >= 10:
            warnings.warn(f"Found {n} features, which have {math.factorial(n)} orders: use a sample.", stacklevel=3)

    def orders(self, n: int, n_samples: int) -> Iterator[tuple[int, ...]]:
        yield from itertools.permutations(range(n))

    def how_many(self, n: int, n_samples: int) -> int:
        return math.factorial(n)
