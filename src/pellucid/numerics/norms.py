"""Normalisation: a centred vector times a statistic of itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import UnsupportedOperation
from .lockstep import Grads
from .nodes import avg, dimension, input_of, is_fed, wide


def _mean_statistics(s: Tensor, s0: Tensor) -> tuple[Tensor, Tensor]:
    """avg(s, s0), and the factor that turns it into the harmonic mean 2·s·s0/(s + s0)."""
    arithmetic = avg(s, s0)
    return arithmetic, s * s0 / (arithmetic * arithmetic)


def layer_norm(n: Any, n0: Any, g: Grads) -> Grads:
    """y = w·c·s + b, with c = x − mean(x) and s = 1/σ.

    gc = g·w·avg(s, s0) − (2c̄/N)·(s²s0²/(s+s0))·Σ g·w·c̄ and gx = gc − mean(gc), with c̄ = avg(c, c0). That is layer
    norm's own derivative at c̄, with the arithmetic mean of s and s0 outside and their harmonic mean inside: so one call
    of the fused backward kernel computes it.
    """
    if any(is_fed(n, k) for k in (1, 2)):
        raise UnsupportedOperation("A layer norm whose weight depends on the input has no rule.", n.name())
    s, factor = _mean_statistics(n._saved_result2, n0._saved_result2)
    x = avg(n._saved_input, n0._saved_input).mul_(factor)
    mean = avg(n._saved_result1, n0._saved_result1).mul_(factor)
    weight = None if n._saved_weight is None else wide(n._saved_weight)
    bias = None if n._saved_bias is None else wide(n._saved_bias)
    m, _, _ = torch.ops.aten.native_layer_norm_backward(
        wide(g[0]).contiguous(), x, n._saved_normalized_shape, mean, s, weight, bias, [True, False, False]
    )
    return m, None, None


def group_norm(n: Any, n0: Any, g: Grads) -> Grads:
    """As layer norm, over the channels of a group."""
    s, factor = _mean_statistics(n._saved_result2, n0._saved_result2)
    size, channels, area, groups = n._saved_N, n._saved_C, n._saved_HxW, n._saved_group
    spread = factor.view(size, groups, 1)
    x = avg(n._saved_input, n0._saved_input)
    x = (x.reshape(size, groups, -1) * spread).view(x.shape)
    mean = avg(n._saved_result1, n0._saved_result1) * factor
    m, _, _ = torch.ops.aten.native_group_norm_backward(
        g[0].contiguous(), x, mean, s, n._saved_weight, size, channels, area, groups, [True, False, False]
    )
    return m, None, None


def _centred_average(n: Any, n0: Any) -> tuple[Tensor, tuple[int, ...], int]:
    c = avg(n._saved_self, n0._saved_self)
    dims = tuple(dimension(d) for d in n._saved_dim or range(c.ndim))
    count = 1
    for d in dims:
        count *= c.shape[d]
    return c - c.mean(dims, keepdim=True), dims, count


def _unreduced(t: Tensor, dims: tuple[int, ...], ndim: int, keepdim: bool) -> Tensor:
    if not keepdim:
        for d in sorted(d % ndim for d in dims):
            t = t.unsqueeze(d)
    return t


def variance(n: Any, n0: Any, g: Grads) -> Grads:
    """Δv = Σ 2c̄·Δc/(N − correction); and Δσ = Δv/(σ + σ0)."""
    c, dims, count = _centred_average(n, n0)
    gy = g[0] / (n._saved_result + n0._saved_result) if n.name() == "StdBackward0" else g[0]
    correction = 1 if n._saved_correction is None else n._saved_correction
    return (_unreduced(gy, dims, c.ndim, n._saved_keepdim) * c * (2 / (count - correction)),)


def vector_norm(n: Any, n0: Any, g: Grads) -> Grads:
    """Δ‖x‖ = Σ (x + x0)·Δx/(‖x‖ + ‖x0‖)."""
    if n._saved_ord != 2:
        raise UnsupportedOperation(f"The {n._saved_ord}-norm has no rule; only the 2-norm does.", n.name())
    x, x0 = input_of(n), input_of(n0)
    dims = tuple(dimension(d) for d in getattr(n, "_saved_dim", None) or range(x.ndim))
    keepdim = getattr(n, "_saved_keepdim", False)
    size = _unreduced(wide(n._saved_result) + wide(n0._saved_result), dims, x.ndim, keepdim)
    return (_unreduced(g[0], dims, x.ndim, keepdim) * (x + x0) / size.clamp_min(torch.finfo(x.dtype).tiny),)
