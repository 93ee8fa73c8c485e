"""Rules for layer, group and batch norm, and for the statistics that they are made of: variance and vector norm.

A normalisation is a product of a centred vector c = x − mean(x) and the inverse of its size, s = 1/σ.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ....errors import WITHOUT_GRADIENT, GraphMismatch, UnsupportedOperation
from ..lockstep import Grads, Multipliers, Step
from ..nodes import Node, avg, dimension, input_of, is_fed, same, unreduced, wide
from .inverses import EXTREME, normalised

_EXTREME_RATIO = (1 + EXTREME) ** 2 / (4 * EXTREME)
"""The ratio of `_means` where one of s and s0 is EXTREME times the other."""


def _means(s: Tensor, s0: Tensor) -> tuple[Tensor, Tensor]:
    """The harmonic mean 2·s·s0/(s + s0), and how many times as large avg(s, s0) is."""
    arithmetic = avg(s, s0)
    harmonic = s * s0 / arithmetic
    return harmonic, arithmetic / harmonic


def layer_norm(n: Node, n0: Node) -> Step:
    """y = w·c·s + b, with c = x − mean(x) and s = 1/σ.

    gc = g·w·avg(s, s0) − (2c̄/N)·(s²s0²/(s+s0))·Σ g·w·c̄ and gx = gc − mean(gc), with c̄ = avg(c, c0). That is layer
    norm's own derivative at c̄, with the arithmetic mean of s and s0 outside and their harmonic mean inside: so one
    call of the fused backward kernel with the harmonic mean, times the ratio of the two, computes it.
    """
    harmonic, ratio = _means(n._saved_result2, n0._saved_result2)
    x, mean = avg(n._saved_input, n0._saved_input), avg(n._saved_result1, n0._saved_result1)
    weight, shape = _mean_weight(n, n0), n._saved_normalized_shape
    bias = None if n._saved_bias is None else wide(n._saved_bias)
    extreme = ratio.numel() and ratio.amax().item() > _EXTREME_RATIO
    normal = lambda k: (wide(k._saved_input) - k._saved_result1) * k._saved_result2

    def through(g: Grads) -> Multipliers:
        gy = wide(g[0])
        if extreme:
            m = _between_extremes(n, n0, gy if weight is None else gy * weight)
        else:
            m, _, _ = torch.ops.aten.native_layer_norm_backward(
                gy.contiguous(), x, shape, mean, harmonic, weight, bias, [True, False, False]
            )
            m *= ratio
        return m, *_to_affine(n, g[0], normal, n0)

    return through


def _between_extremes(n: Node, n0: Node, g: Tensor) -> Tensor:
    """The multiplier of x in a layer norm where the input or the baseline is (almost) constant, and its s huge."""
    c, c0 = (wide(k._saved_input) - k._saved_result1 for k in (n, n0))
    dims = tuple(range(-len(n._saved_normalized_shape), 0))
    return _centred_product(c, c0, n._saved_result2, n0._saved_result2, g, dims)


def _centred_product(c: Tensor, c0: Tensor, s: Tensor, s0: Tensor, g: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The multiplier of x in c·s, with c = x − mean(x) and s = 1/σ over `dims`."""
    to_c, to_s = normalised(c, c0, s, s0)
    to_v = -(s * s0 / (s + s0)) * s * s0 * (g * to_s).mean(dims, keepdim=True)
    m = g * to_c + to_v * (c + c0)
    return m - m.mean(dims, keepdim=True)


def group_norm(n: Node, n0: Node) -> Step:
    """As `layer_norm`, over the channels of a group."""
    harmonic, ratio = _means(n._saved_result2, n0._saved_result2)
    size, channels, area, groups = n._saved_N, n._saved_C, n._saved_HxW, n._saved_group
    each = lambda t: t.view(size, groups, 1)
    x, weight = avg(n._saved_input, n0._saved_input), _mean_weight(n, n0)
    mean = avg(n._saved_result1, n0._saved_result1)
    extreme = ratio.numel() and ratio.amax().item() > _EXTREME_RATIO
    centred = lambda k: wide(k._saved_input).reshape(size, groups, -1) - each(k._saved_result1)
    normal = lambda k: (centred(k) * each(k._saved_result2)).view(x.shape)

    def through(g: Grads) -> Multipliers:
        if extreme:
            gy = wide(g[0]) if weight is None else wide(g[0]) * weight.view(1, -1, *(1,) * (g[0].ndim - 2))
            c, c0 = centred(n), centred(n0)
            m = _centred_product(c, c0, each(n._saved_result2), each(n0._saved_result2), gy.reshape(c.shape), (-1,))
            m = m.view(x.shape)
        else:
            m, _, _ = torch.ops.aten.native_group_norm_backward(
                g[0].contiguous(), x, mean, harmonic, weight, size, channels, area, groups, [True, False, False]
            )
            m = (m.view(size, groups, -1) * each(ratio)).view(m.shape)
        return m, *_to_affine(n, g[0], normal, n0, channels=1)

    return through


def batch_norm(n: Node, n0: Node) -> Step:
    """Batch norm in evaluation mode, which is affine, because its statistics are constants (1502.03167).

    Instance norm is batch norm in training mode on one row: each channel is normalised by itself, as by a group norm.
    """
    if n._saved_training and n._saved_input.shape[0] > 1:
        raise UnsupportedOperation(
            "Batch norm in training mode mixes the rows of a batch, so no row has an attribution of its own. "
            "Call .eval() on a model in training mode; a call of F.batch_norm takes training=self.training.",
            n.name(),
        )
    at = lambda t: t.view(1, -1, *(1,) * (n._saved_input.ndim - 2))
    weight = _mean_weight(n, n0)
    weighed = lambda g: g if weight is None else g * at(weight)
    if n._saved_training:
        dims = (0, *range(2, n._saved_input.ndim))
        c, c0 = (wide(k._saved_input) - at(k._saved_result1) for k in (n, n0))
        to_x = lambda g: _centred_product(c, c0, at(n._saved_result2), at(n0._saved_result2), weighed(g), dims)
        normal = lambda k: (k._saved_input - at(k._saved_result1)) * at(k._saved_result2)
    else:
        for name in ("_saved_running_mean", "_saved_running_var"):
            if not same(getattr(n, name), getattr(n0, name)):
                raise GraphMismatch(f"{n.name()} used other statistics for the input than for the baseline.")
        inverse = at((n._saved_running_var + n._saved_eps).rsqrt())
        to_x = lambda g: weighed(g) * inverse
        normal = lambda k: (k._saved_input - at(k._saved_running_mean)) * inverse
    return lambda g: (to_x(g[0]), *_to_affine(n, g[0], normal, n0, channels=1))


def _mean_weight(n: Node, n0: Node) -> Tensor | None:
    """The weight: a constant, or, where it depends on the input, the mean of its two values."""
    if n._saved_weight is None:
        return None
    if is_fed(n, 1):
        return avg(n._saved_weight, n0._saved_weight)
    if not same(n._saved_weight, n0._saved_weight):
        raise GraphMismatch(
            f"The weight of {n.name()} differs between input and baseline, but carries no gradient: no attribution "
            f"could add up. Choose a baseline that leads to the same one, or {WITHOUT_GRADIENT}."
        )
    return wide(n._saved_weight)


def _to_affine(
    n: Node, g: Tensor, normal: Callable[[Node], Tensor], n0: Node, channels: int = -1
) -> tuple[Tensor | None, Tensor | None]:
    """The multipliers of weight and bias in h·w + b, where they depend on the input; else None.

    normal: the h of a node. channels: which dimension w and b belong to.
    """
    to_weight = (g * avg(normal(n), normal(n0))).movedim(channels, -1) if is_fed(n, 1) else None
    return to_weight, (g.movedim(channels, -1) if is_fed(n, 2) else None)


def _centred_average(n: Node, n0: Node) -> tuple[Tensor, tuple[int, ...], int]:
    c = avg(input_of(n), input_of(n0))
    dims = tuple(dimension(d) for d in n._saved_dim or range(c.ndim))
    count = 1
    for d in dims:
        count *= c.shape[d]
    return c - c.mean(dims, keepdim=True), dims, count


def variance(n: Node, n0: Node) -> Step:
    """The variance v, Δv = Σ 2c̄·Δc/(N − correction); and its root, Δσ = Δv/(σ + σ0), or 0 where both are 0."""
    c, dims, count = _centred_average(n, n0)
    correction = 1 if n._saved_correction is None else n._saved_correction
    m = c * (2 / (count - correction))
    if n.name() == "StdBackward0":
        size = unreduced(n._saved_result + n0._saved_result, dims, c.ndim, n._saved_keepdim)
        m = (m / size).masked_fill_(size == 0, 0.0)
    return lambda g: (unreduced(g[0], dims, c.ndim, n._saved_keepdim) * m,)


def vector_norm(n: Node, n0: Node) -> Step:
    """The 2-norm:  Δ‖x‖ = Σ (x + x0)·Δx/(‖x‖ + ‖x0‖)."""
    x, x0 = input_of(n), input_of(n0)
    dims = tuple(dimension(d) for d in getattr(n, "_saved_dim", None) or range(x.ndim))
    keepdim = getattr(n, "_saved_keepdim", False)
    size = unreduced(wide(n._saved_result) + wide(n0._saved_result), dims, x.ndim, keepdim)
    m = (x + x0) / size.clamp_min(torch.finfo(x.dtype).tiny)
    return lambda g: (unreduced(g[0], dims, x.ndim, keepdim) * m,)
