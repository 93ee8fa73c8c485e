"""Maximum and minimum: the contenders share the change by how long each of them leads on the way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..lockstep import Grads
from ..nodes import dimension, input_of
from .linear import linear


def share(d: Tensor, d0: Tensor) -> Tensor:
    """The part of the way from baseline to input on which the first of two contenders leads, d being its lead."""
    total = d.abs() + d0.abs()
    return torch.where(total == 0, 0.5, (d.relu() + d0.relu()) / total)


def maximum(n: Any, n0: Any, g: Grads) -> Grads:
    """max(a, b) = b + relu(a − b); min(a, b) = −max(−a, −b)."""
    sign = 1 if n.name() in ("MaximumBackward0", "FmaxBackward0") else -1
    w = share(sign * (n._saved_self - n._saved_other), sign * (n0._saved_self - n0._saved_other))
    return g[0] * w, g[0] * (1 - w)


def winner(x: Tensor, x0: Tensor, i: Tensor, i0: Tensor, g: Tensor, dim: int) -> Tensor:
    """y = x[i], y0 = x0[i0], the largest (or smallest) along `dim`: i and i0 share Δy by who leads for how long."""
    d, d0 = x.gather(dim, i) - x.gather(dim, i0), x0.gather(dim, i) - x0.gather(dim, i0)
    w = torch.where(i == i0, 1.0, share(d, d0) if (d >= d0).all() else share(-d, -d0))  # d ≥ 0 ≥ d0, or the other way
    return torch.zeros_like(x).scatter_add_(dim, i, g * w).scatter_add_(dim, i0, g * (1 - w))


def extreme_along(n: Any, n0: Any, g: Grads) -> Grads:
    """max and min along a dimension, by the indices they found."""
    i, i0 = n._saved_indices, n0._saved_indices
    if torch.equal(i, i0):
        return linear(n, n0, g)
    dim = dimension(n._saved_dim)
    gy = g[0]
    if not n._saved_keepdim:
        i, i0, gy = i.unsqueeze(dim), i0.unsqueeze(dim), gy.unsqueeze(dim)
    return (winner(input_of(n), input_of(n0), i, i0, gy, dim),)


def extreme(n: Any, n0: Any, g: Grads) -> Grads:
    """amax, amin, and max or min over everything."""
    x, x0 = input_of(n), input_of(n0)
    dims = sorted(dimension(d) % max(x.ndim, 1) for d in getattr(n, "_saved_dim", ()) or range(x.ndim))
    gy = g[0]
    if not getattr(n, "_saved_keepdim", False):
        for d in dims:
            gy = gy.unsqueeze(d)
    find = torch.argmax if n.name() in ("AmaxBackward0", "MaxBackward1") else torch.argmin
    last = tuple(range(x.ndim - len(dims), x.ndim))
    at_the_end = lambda t: t.movedim(dims, last).reshape(*(s for d, s in enumerate(x.shape) if d not in dims), -1)
    a, a0 = at_the_end(x), at_the_end(x0)
    m = winner(a, a0, find(a, -1, keepdim=True), find(a0, -1, keepdim=True), at_the_end(gy), -1)
    return (m.view(x.movedim(dims, last).shape).movedim(last, dims),)


def running_extreme(n: Any, n0: Any, g: Grads) -> Grads:
    """The largest, or the smallest, so far."""
    x, x0 = input_of(n), input_of(n0)
    return (winner(x, x0, n._saved_indices, n0._saved_indices, g[0], dimension(n._saved_dim)),)


def max_pool(n: Any, n0: Any, g: Grads) -> Grads:
    """Max pooling over two or three spatial dimensions: also adaptive, also fractional."""
    start = -3 if "3D" in n.name() else -2
    flat = lambda t: t.flatten(start)
    x, x0 = n._saved_self, n0._saved_self
    return (winner(flat(x), flat(x0), flat(n._saved_result1), flat(n0._saved_result1), flat(g[0]), -1).view_as(x),)
