"""LIME and Kernel SHAP in Captum's form: a linear model that is fitted to the output of random perturbations."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ..engine.surrogate_samples import asked_samples, closeness, half_present, shapley_codes, with_present
from ..errors import ArgumentError
from ..numerics.surrogates import lasso, least_squares
from .base import PerturbationAttribution
from .calls import Call, Rows, as_given, baselines_of, tupled
from .outputs import Forward, Tensors, Value, as_tensor, run
from .progress import counted
from .removal import feature_ids, per_eval

MANY = 10000
"""So many features are fitted without a warning."""


class Linear:
    """A linear model with the two methods that Captum asks of one: `fit(loader)` and `representation()`."""

    def __init__(self, solve: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        self.solve, self.slopes = solve, torch.zeros(0)

    def fit(self, train_data: DataLoader[Any], **kwargs: Any) -> None:
        x, y, w = (torch.cat(part) for part in zip(*train_data, strict=True))
        self.slopes = self.solve(x, y.reshape(-1), w.reshape(-1))

    def representation(self) -> Tensor:
        return self.slopes


class LimeBase(PerturbationAttribution):
    """A surrogate model fitted to perturbed inputs, every part of it chosen by the caller (Ribeiro et al. 2016)."""

    def __init__(
        self,
        forward_func: Forward,
        interpretable_model: Any,
        similarity_func: Callable[..., Any],
        perturb_func: Callable[..., Any],
        perturb_interpretable_space: bool,
        from_interp_rep_transform: Callable[..., Any] | None,
        to_interp_rep_transform: Callable[..., Any] | None,
    ) -> None:
        super().__init__(forward_func)
        self.interpretable_model, self.similarity_func = interpretable_model, similarity_func
        self.perturb_func, self.perturb_interpretable_space = perturb_func, perturb_interpretable_space
        self.from_interp_rep_transform = from_interp_rep_transform
        self.to_interp_rep_transform = to_interp_rep_transform
        if (from_interp_rep_transform if perturb_interpretable_space else to_interp_rep_transform) is None:
            raise ArgumentError("Found no transform between the interpretable space and the inputs; expected one.")

    @property
    def multiplies_by_inputs(self) -> bool:
        return False

    def attribute(
        self,
        inputs: Value,
        target: Value = None,
        additional_forward_args: Value = None,
        n_samples: int = 50,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Any:
        with torch.no_grad():
            return self.fitted(
                inputs, target, additional_forward_args, n_samples, perturbations_per_eval, show_progress, kwargs
            )

    def fitted(
        self, inputs: Value, target: Value, args: Value, n_samples: int, at_once: int, show: bool, kwargs: Any
    ) -> Any:
        """The representation of the surrogate model, fitted."""
        if n_samples < 1:
            raise ArgumentError(f"Found n_samples={n_samples!r}; expected at least 1.")
        rows, several = Rows(target, args, tupled(inputs)[0].shape[0]), isinstance(inputs, (tuple, list))
        call = Call(self.forward_func, inputs, tupled(inputs), (), rows)
        drawn = counted(
            islice(self._samples(inputs, kwargs), n_samples), self.get_name() if show else None, 0, n_samples
        )

        def near(code: Tensor, point: Tensors) -> Tensor:
            like = self.similarity_func(inputs, point if several else point[0], code, **kwargs)
            return like.flatten() if isinstance(like, Tensor) else torch.tensor([like])

        samples = ((code, tupled(point)) for code, point in drawn)
        x, y, w = asked_samples(call.numbers, samples, near, n_samples, at_once)
        if len(x) < n_samples:
            warnings.warn(
                f"perturb_func gave {len(x)} samples, where n_samples={n_samples} are asked for.", stacklevel=4
            )
        self.interpretable_model.fit(DataLoader(TensorDataset(x, y, w), batch_size=len(x)))
        return self.interpretable_model.representation()

    def _samples(self, inputs: Value, kwargs: Any) -> Iterator[tuple[Tensor, Value]]:
        many = self.perturb_func(inputs, **kwargs) if inspect.isgeneratorfunction(self.perturb_func) else None
        while True:
            drawn = next(many, None) if many is not None else self.perturb_func(inputs, **kwargs)
            if drawn is None:
                return
            if self.perturb_interpretable_space:
                assert self.from_interp_rep_transform is not None
                yield drawn, self.from_interp_rep_transform(drawn, inputs, **kwargs)
            else:
                assert self.to_interp_rep_transform is not None
                yield self.to_interp_rep_transform(drawn, inputs, **kwargs), drawn


def exp_kernel(distance_mode: str = "cosine", kernel_width: float = 1.0) -> Callable[..., float]:
    """exp(−d²/2w²) of the distance d between the input and a perturbed one ("cosine" or "euclidean")."""
    if distance_mode not in ("cosine", "euclidean"):
        raise ArgumentError(f"Found distance_mode={distance_mode!r}; expected 'cosine' or 'euclidean'.")

    return partial(_near, kernel_width, distance_mode == "cosine")


def _near(width: float, cosine: bool, original: Value, perturbed: Value, _code: Value, **kwargs: Any) -> float:
    return closeness(tupled(original), tupled(perturbed), width, cosine)


get_exp_kernel_similarity_function = exp_kernel


def half_of_them(original: Value, **kwargs: Any) -> Tensor:
    """Each feature present with probability a half."""
    return half_present(kwargs["num_interp_features"], tupled(original)[0].device)


def with_features(code: Tensor, original: Value, **kwargs: Any) -> Value:
    """The input where the features of `code` are present, and the baseline elsewhere."""
    base = kwargs["baselines"] if isinstance(original, (tuple, list)) else (kwargs["baselines"],)
    return as_given(with_present(code, tupled(original), base, tupled(kwargs["feature_mask"])), original)


class Lime(LimeBase):
    """A lasso fitted to the output of perturbed inputs, near the input (Ribeiro et al. 2016, 1602.04938)."""

    def __init__(
        self,
        forward_func: Forward,
        interpretable_model: Any = None,
        similarity_func: Callable[..., Any] | None = None,
        perturb_func: Callable[..., Any] | None = None,
    ) -> None:
        model = interpretable_model or Linear(partial(lasso, alpha=0.01))
        super().__init__(
            forward_func,
            model,
            similarity_func or exp_kernel(),
            perturb_func or half_of_them,
            True,
            with_features,
            None,
        )

    def attribute(
        self,
        inputs: Value,
        baselines: Value = None,
        target: Value = None,
        additional_forward_args: Value = None,
        feature_mask: Value = None,
        n_samples: int = 25,
        perturbations_per_eval: int = 1,
        return_input_shape: bool = True,
        show_progress: bool = False,
    ) -> Any:
        x = tupled(inputs)
        base = baselines_of(x, baselines)
        ids = feature_ids(feature_mask, x)
        least = min(int(t.min()) for t in ids if t.numel())
        if least:
            warnings.warn("The feature mask does not begin at 0; its numbers are shifted.", stacklevel=2)
            ids = tuple(t - least for t in ids)
        if (n := 1 + max(int(t.max()) for t in ids if t.numel())) > MANY:
            warnings.warn(f"Found {n} features, whose fit is slow and large: group them by feature_mask.", stacklevel=2)
        at_once, rows = per_eval(perturbations_per_eval), x[0].shape[0]
        kwargs = {"num_interp_features": n}
        several = isinstance(inputs, (tuple, list))

        def fit(part: Tensors, b: tuple[Value, ...], m: Tensors, goal: Value, args: Value) -> Tensor:
            given = {"baselines": b, "feature_mask": m} if several else {"baselines": b[0], "feature_mask": m[0]}
            whole = part if several else part[0]
            return self.fitted(whole, goal, args, n_samples, at_once, show_progress, {**kwargs, **given})

        with torch.no_grad():
            alone = rows == 1 or self._is_one(inputs, x, target, additional_forward_args, at_once)
            if alone:
                slopes = fit(x, base, ids, target, additional_forward_args)
                if not return_input_shape:
                    return slopes.reshape(1, -1)
                found = [_spread(slopes, m, t[:1]) for m, t in zip(ids, x, strict=True)]
                return as_given(found, inputs)
            warnings.warn("Each row is fitted by a model of its own, one after the other.", stacklevel=2)
            every = []
            for i in range(rows):
                own = lambda t, i=i: t[i : i + 1] if isinstance(t, Tensor) and t.ndim and len(t) == rows else t
                goal, args = _row_of(target, i, rows), _args_of(additional_forward_args, own)
                part, m = tuple(map(own, x)), tuple(map(own, ids))
                slopes = fit(part, tuple(map(own, base)), m, goal, args)
                each = [_spread(slopes, k, t) for k, t in zip(m, part, strict=True)]
                every.append(each if return_input_shape else [slopes.reshape(1, -1)])
            joined = [torch.cat(parts) for parts in zip(*every, strict=True)]
            return as_given(joined, inputs) if return_input_shape else joined[0]

    def _is_one(self, inputs: Value, x: Tensors, target: Value, args: Value, at_once: int) -> bool:
        """Whether the function returns one number for all rows. Raises ArgumentError for any number but 1 and rows."""
        y = as_tensor(run(self.forward_func, x, target, args))
        if y.numel() == 1:
            if at_once != 1:
                raise ArgumentError("The function returns one number for the batch; expected perturbations_per_eval=1.")
            return True
        if y.numel() != x[0].shape[0]:
            raise ArgumentError(f"Found {y.numel()} outputs for {len(x[0])} rows; expected one for each, or one.")
        return False


def _spread(slopes: Tensor, ids: Tensor, like: Tensor) -> Tensor:
    """The slope of each place's feature."""
    found = slopes.flatten().to(ids.device)[ids]
    return found.float().expand(like.shape).clone() if found.shape[0] == 1 else found.float()[:1].expand_as(like)


def _row_of(target: Value, i: int, rows: int) -> Value:
    if isinstance(target, (list, Tensor)) and (not isinstance(target, Tensor) or target.ndim) and len(target) == rows:
        return target[i : i + 1] if rows > 1 else target
    return target


def _args_of(args: Value, own: Callable[[Value], Value]) -> Value:
    return None if args is None else tuple(map(own, args if isinstance(args, tuple) else (args,)))


class KernelShap(Lime):
    """Shapley values by a weighted regression on random coalitions (Lundberg & Lee 2017, 1705.07874)."""

    def __init__(self, forward_func: Forward) -> None:
        super().__init__(forward_func, Linear(_in_one_row), certain, coalitions)


def _in_one_row(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """The slopes that fit best, (1, features): in one row, as Captum has a fit of one output."""
    return least_squares(x, y, w).unsqueeze(0)


def certain(original: Value, point: Value, code: Tensor, **kwargs: Any) -> Tensor:
    """The weight of a code: 1, and a million where all features are present, or none, whose outputs are exact."""
    return torch.tensor([1e6 if int(code.sum()) in (0, kwargs["num_interp_features"]) else 1.0])


def coalitions(original: Value, **kwargs: Any) -> Iterator[Tensor]:
    """The codes of Shapley's kernel, one after the other."""
    yield from shapley_codes(kwargs["num_interp_features"], tupled(original)[0].device)


__all__ = ["KernelShap", "Lime", "LimeBase", "get_exp_kernel_similarity_function"]
