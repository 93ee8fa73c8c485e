"""What each feature of a function's inputs adds on entering, in given orders of the features: Shapley values by orders.

For outputs of any shape and features over several inputs; `coalitions.py` has the games of one number a row.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from ..problem import Tensors
from .removal import Call

Step: TypeAlias = tuple[bool, list[Tensors], Tensor]
"""Whether an order begins, the masks of the features that enter one after the other, and the outputs as each has
entered."""


def asked_in_orders(
    call: Call, x: Tensors, x0: Tensors, ids: Tensors, orders: Iterable[Sequence[int]], at_once: int
) -> Iterator[Step]:
    """The calls as features enter, one after the other as they are asked for.

    ids: the number of each element's feature, (1 or rows, …) for each input. orders: permutations of the numbers.
    at_once: how many features that enter one after the other share a call.
    """
    for order in orders:
        now = x0
        for i in range(0, len(order), at_once):
            entered = [tuple(t == k for t in ids) for k in order[i : i + at_once]]
            points: list[Tensors] = []
            for masks in entered:
                now = tuple(torch.where(m, a, b) for m, a, b in zip(masks, x, now, strict=True))
                points.append(now)
            if not all(any(bool(m.any()) for m in masks) for masks in entered):
                warnings.warn("A number below the largest is missing in the feature mask.", stacklevel=3)
            at = tuple(map(torch.cat, zip(*points, strict=True))) if len(points) > 1 else points[0]
            yield i == 0, entered, call(at, len(points))


def mean_gains(x: Tensors, empty: Tensor, asked: Iterable[Step]) -> list[Tensor]:
    """What each feature adds on entering, the mean over the orders, written where the feature is: (outputs…, …) for
    each input.

    empty: the outputs with no feature, (rows, …) or one number for the batch.
    """
    first = empty if empty.ndim else empty.reshape(1)
    shape, done, before = tuple(first.shape), 0, first
    total = [torch.zeros((*shape, *t.shape[1:]), device=t.device) for t in x]
    for begins, entered, y in asked:
        done += begins
        each = y.reshape(len(entered), *shape)
        added = each - torch.cat([(first if begins else before).view(1, *shape), each[:-1]])
        before = each[-1]
        for gain, masks in zip(added, entered, strict=True):
            for t, m in zip(total, masks, strict=True):
                t += _written(gain, m, len(shape))
    return [t / max(done, 1) for t in total]


def _written(added: Tensor, mask: Tensor, dims: int) -> Tensor:
    """What a feature added, (outputs…), written where the mask (1 or rows, …) is true: (outputs…, …)."""
    wide = mask.view(mask.shape[0], *[1] * (dims - 1), *mask.shape[1:]).to(added.dtype)
    return added.view(*added.shape, *[1] * (mask.ndim - 1)).to(mask.device) * wide
