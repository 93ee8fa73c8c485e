"""Rules for maximum and minimum, of two tensors, along a dimension, or in a pooling window.

Where another element is the largest at the input than at the baseline, the two share the change: each gets the part of
the straight path from baseline to input on which it is the larger one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from ..lockstep import Grads, Multipliers, Step
from ..nodes import Node, apart, dimension, input_of, together, unreduced
from .linear import linear


def share(d: Shaped[Tensor, "*shape"], d0: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """The part of the path from baseline to input on which the first of two values is the larger one.

    d, d0: first value − second value, at the input and at the baseline.
    """
    d, d0 = d / 2, d0 / 2  # two of the largest numbers, as masks hold them, have a sum
    total = d.abs() + d0.abs()
    w = torch.where(total == 0, 0.5, (d.relu() + d0.relu()) / total)
    return torch.where(d.minimum(d0) > 0, 1.0, w)  # also where both are infinite


def maximum(n: Node, n0: Node) -> Step:
    """max(a, b) = b + relu(a − b); min(a, b) = −max(−a, −b)."""
    sign = 1 if n.name() in ("MaximumBackward0", "FmaxBackward0") else -1
    half = lambda t: sign * (t._saved_self / 2 - t._saved_other / 2)
    w = share(half(n), half(n0))
    return lambda g: (g[0] * w, g[0] * (1 - w))


def winner(
    x: Shaped[Tensor, "*shape"],
    x0: Shaped[Tensor, "*shape"],
    i: Int[Tensor, "*found"],
    i0: Int[Tensor, "*found"],
    dim: int,
) -> Callable[[Tensor], Tensor]:
    """`g -> m` of y = x[i] and y0 = x0[i0], the largest (or the smallest) elements along `dim`.

    The elements i and i0 share Δy by the part of the path on which each is the largest: with d = x[i] − x[i0] and
    d0 = x0[i] − x0[i0], which have opposite signs, i has d/(d − d0).
    """
    d, d0 = x.gather(dim, i) - x.gather(dim, i0), x0.gather(dim, i) - x0.gather(dim, i0)
    w = torch.rsub(d0.div_(d), 1).reciprocal_().nan_to_num_(0.5)  # 0/0: the two are one, or never differ

    def through(g: Tensor) -> Tensor:
        first = g * w
        return torch.zeros_like(x).scatter_add_(dim, i, first).scatter_add_(dim, i0, g - first)

    return through


def extreme_along(n: Node, n0: Node) -> Step:
    """max and min along a dimension, whose nodes save the indices of the elements found."""
    i, i0 = n._saved_indices, n0._saved_indices
    if torch.equal(i, i0):
        return linear(n, n0)
    x, x0, dim = input_of(n), input_of(n0), dimension(n._saved_dim)
    spread = lambda t: unreduced(t, (dim,), x.ndim, n._saved_keepdim)
    through = winner(x, x0, spread(i), spread(i0), dim)
    return lambda g: (through(spread(g[0])),)


def extreme(n: Node, n0: Node) -> Step:
    """amax and amin, and max or min over all elements, whose nodes save no indices."""
    x, x0 = input_of(n), input_of(n0)
    dims = sorted(dimension(d) % max(x.ndim, 1) for d in getattr(n, "_saved_dim", ()) or range(x.ndim))
    find = torch.argmax if n.name() in ("AmaxBackward0", "MaxBackward1") else torch.argmin
    last = tuple(range(x.ndim - len(dims), x.ndim))
    at_the_end = lambda t: t.movedim(dims, last).reshape(*(s for d, s in enumerate(x.shape) if d not in dims), -1)
    a, a0 = at_the_end(x), at_the_end(x0)
    to_largest = winner(a, a0, find(a, -1, keepdim=True), find(a0, -1, keepdim=True), -1)

    def through(g: Grads) -> Multipliers:
        m = to_largest(at_the_end(unreduced(g[0], dims, x.ndim, getattr(n, "_saved_keepdim", False))))
        return (m.view(x.movedim(dims, last).shape).movedim(last, dims),)

    return through


def running_extreme(n: Node, n0: Node) -> Step:
    """cummax and cummin: the largest, or the smallest, element up to each place."""
    x, x0 = input_of(n), input_of(n0)
    through = winner(x, x0, n._saved_indices, n0._saved_indices, dimension(n._saved_dim))
    return lambda g: (through(g[0]),)


def max_pool(n: Node, n0: Node) -> Step:
    """Max pooling over two or three spatial dimensions, adaptive and fractional max pooling included."""
    start = -3 if "3D" in n.name() else -2
    nodes = together(n, n0)
    x, x0 = apart([m._saved_self.flatten(start) for m in nodes])
    i, i0 = apart([m._saved_result1.flatten(start) for m in nodes])
    through, sizes = winner(x, x0, i, i0, -1), nodes[0]._saved_self.shape[start:]
    return lambda g: (through(g[0].flatten(start)).unflatten(-1, sizes),)
