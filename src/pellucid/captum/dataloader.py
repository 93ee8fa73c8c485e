"""A removal method over all batches of a data loader: what a number about the whole data loses without a feature."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from typing import Any

import torch
from torch import Tensor

from ..engine.removal import put_to
from ..errors import ArgumentError
from .base import Attribution
from .calls import as_given, baselines_of
from .outputs import Tensors, Value, first_tensor
from .removal import FeatureAblation, feature_ids

Reduce = Callable[[Any, Any, Any], Any]
"""`(what was gathered, the output of a batch, the batch) → what is gathered now`."""


class InputRole:
    """What an element of a batch is for: it is attributed to, only given to the function, or kept from it."""

    need_attr = 0
    need_forward = 1
    no_forward = 2


def _joined(gathered: Tensor | None, output: Tensor, _batch: Value) -> Tensor:
    return output if gathered is None else torch.cat([gathered, output])


class DataLoaderAttribution(Attribution):
    """Feature ablation of what is gathered over a data loader, such as an accuracy."""

    def __init__(self, attr_method: Any) -> None:
        if type(attr_method) is not FeatureAblation:
            raise ArgumentError(f"Found {type(attr_method).__name__} as the method; expected FeatureAblation.")
        super().__init__(attr_method.forward_func)
        self.attr_method = copy(attr_method)
        self.attr_method.forward_func = self._gathered

    def attribute_future(self, *args: object, **kwargs: object) -> Any:
        raise NotImplementedError("DataLoaderAttribution has no attribute_future; expected a call of attribute.")

    def _gathered(
        self,
        present: Tensor,
        loader: Iterable[Any],
        roles: tuple[int, ...],
        baselines: tuple[Value, ...],
        ids: Tensors,
        reduce: Reduce,
        to_metric: Callable[[Any], Tensor] | None,
    ) -> Tensor:
        """The metric without the features that are 0 in each row of `present` (perturbations, features)."""
        gathered: list[Any] = [None] * len(present)
        replace = put_to(baselines)
        for batch in loader:
            for k, features in enumerate(present):
                new = iter(
                    t if bool(features[m].all()) else replace(i, t, features[m] == 0)
                    for i, (t, m) in enumerate(zip(_of_role(batch, roles), ids, strict=True))
                )
                whole = tuple(
                    next(new) if role == InputRole.need_attr else t for t, role in zip(batch, roles, strict=True)
                )
                given = (t for t, role in zip(whole, roles, strict=True) if role != InputRole.no_forward)
                gathered[k] = reduce(gathered[k], first_tensor(self.forward_func(*given)), whole)
        found = [to_metric(g) if to_metric else g for g in gathered]
        for y in found:
            if not isinstance(y, Tensor):
                raise ArgumentError(f"What was gathered is a {type(y).__name__}; expected a tensor, from to_metric.")
        return torch.stack(found)

    def attribute(
        self,
        dataloader: Any,
        input_roles: tuple[int, ...] | None = None,
        baselines: Value = None,
        feature_mask: Value = None,
        reduce: Reduce | None = None,
        to_metric: Callable[[Any], Tensor] | None = None,
        perturbations_per_pass: int = 1,
        show_progress: bool = False,
        return_input_shape: bool = True,
    ) -> Any:
        batch = next(iter(dataloader))
        several = isinstance(batch, (tuple, list))
        first = tuple(batch) if several else (batch,)
        roles = tuple(input_roles) if input_roles else (InputRole.need_attr,) * len(first)
        if len(roles) != len(first) or InputRole.need_attr not in roles:
            raise ArgumentError(
                f"Found input_roles={roles!r} for batches of {len(first)}; expected a role for each, one of them 0."
            )
        x = _of_role(first, roles)
        base = (0,) * len(x) if baselines is None else baselines_of(x, baselines)
        ids = feature_ids(feature_mask, x)
        for t in (*base, *ids):
            if isinstance(t, Tensor) and t.shape[0] != 1:
                raise ArgumentError(
                    f"Found a baseline or a feature mask with {t.shape[0]} rows; expected one, for all batches."
                )
        features = torch.ones(1, 1 + max(int(t.max()) for t in ids), device=x[0].device)
        args = (dataloader if several else _Tupled(dataloader), roles, base, ids, reduce or _joined, to_metric)
        found = self.attr_method.attribute(
            features,
            additional_forward_args=args,
            perturbations_per_eval=perturbations_per_pass,
            show_progress=show_progress,
        )
        if not return_input_shape:
            return found
        wide = [found[:, m.reshape(-1).long()].reshape(len(found), *m.shape[1:]) for m in ids]
        each = [v.expand(len(found), *t.shape[1:]) for v, t in zip(wide, x, strict=True)]
        return as_given(each, first if several else first[0])


class _Tupled:
    """A loader of single tensors as one of tuples, as often as it is asked."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader

    def __iter__(self) -> Any:
        return ((one,) for one in self.loader)


def _of_role(batch: Iterable[Any], roles: tuple[int, ...]) -> Tensors:
    """The elements of a batch that are attributed to."""
    return tuple(t for t, role in zip(batch, roles, strict=True) if role == InputRole.need_attr)
