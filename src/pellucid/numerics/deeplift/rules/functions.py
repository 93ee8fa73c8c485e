"""Rebuilds an operation as a Python function from what its autograd node saved.

`composed.composed` and `composed.polynomial` make rules of them by running them again.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from ..metadata import OVERWRITTEN
from ..nodes import Node, dimension, is_fed
from .composed import Function, Values

Read: TypeAlias = tuple[Function, Values]
"""An operation as a function, and the inputs that it was run on."""


def prod(n: Node) -> Read:
    """Π x, over everything or along a dimension: of degree N."""
    if n.name() == "ProdBackward0":
        return torch.prod, (n._saved_self,)
    return lambda x: torch.prod(x, dimension(n._saved_dim), n._saved_keepdim), (n._saved_self,)


def cumprod(n: Node) -> Read:
    """Π x up to each place: of degree N."""
    return lambda x: torch.cumprod(x, dimension(n._saved_dim)), (n._saved_self,)


def prod_degree(n: Node) -> int:
    """N, the number of elements that are multiplied."""
    x = n._saved_self
    return x.numel() if n.name() == "ProdBackward0" else x.shape[dimension(n._saved_dim)] if x.ndim else 1


def convolution(n: Node) -> Read:
    """x * w + b."""
    how = (n._saved_stride, n._saved_padding, n._saved_dilation, n._saved_transposed, n._saved_output_padding)
    x, w = n._saved_input, n._saved_weight
    b = torch.zeros(tuple(n._saved_bias_sym_sizes_opt), dtype=w.dtype, device=w.device) if is_fed(n, 2) else None
    return lambda x, w, b: torch.ops.aten.convolution(x, w, b, *how, n._saved_groups), (x, w, b)


def trilinear(n: Node) -> Read:
    """Σ over some dimensions of a·b·c, as in `torch.nn.Bilinear`: of degree 3."""
    how = (n._saved_expand1, n._saved_expand2, n._saved_expand3, n._saved_sumdim)
    return lambda a, b, c: torch.ops.aten._trilinear(a, b, c, *how), (n._saved_i1, n._saved_i2, n._saved_i3)


def lerp(n: Node) -> Read:
    """a + w·(b − a)."""
    return torch.lerp, (n._saved_self, n._saved_end, n._saved_weight)


# ------------------------------------------------------------------------------------------------------ composed


def glu(n: Node) -> Read:
    """a·σ(b), the two halves of x."""
    a_b = lambda x: x.chunk(2, dimension(n._saved_dim))
    return lambda x: a_b(x)[0] * torch.sigmoid(a_b(x)[1]), (n._saved_self,)


def clamp(n: Node) -> Read:
    """min(max(x, low), high), with bounds that are tensors."""

    def run(x: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
        x = x if low is None else torch.maximum(x, low)
        return x if high is None else torch.minimum(x, high)

    return run, (n._saved_self, n._saved_min, n._saved_max)


def clamp_one(n: Node) -> Read:
    """max(x, low), or min(x, high), with a bound that is a tensor."""
    if n.name() == "ClampMinBackward1":
        return torch.maximum, (n._saved_self, n._saved_min)
    return torch.minimum, (n._saved_self, n._saved_max)


def norm(n: Node) -> Read:
    """(Σ|x|ᵖ)^(1/p); for p = ±∞ the largest or smallest |x|, for p = 0 how many are not 0."""
    p = getattr(n, "_saved_ord" if n.name().startswith("Linalg") else "_saved_p")
    x = n._saved_self
    dims = tuple(dimension(d) for d in getattr(n, "_saved_dim", None) or range(x.ndim))
    keep = getattr(n, "_saved_keepdim", False)
    return lambda x: p_norm(x, float(2 if p is None else p), dims, keep), (x,)


def p_norm(x: Tensor, p: float, dims: tuple[int, ...], keep: bool) -> Tensor:
    """The p-norm over `dims`, for every p that PyTorch takes."""
    if p == 2:
        return torch.linalg.vector_norm(x, 2, dims, keep)
    if p == 1:
        return x.abs().sum(dims, keep)
    if abs(p) == float("inf"):
        return x.abs().amax(dims, keep) if p > 0 else x.abs().amin(dims, keep)
    if p == 0:
        return x.abs().sign().sum(dims, keep)
    return x.abs().pow(p).sum(dims, keep).pow(1 / p)


def cdist(n: Node) -> Read:
    """The norm of every difference."""
    p = float(getattr(n, "_saved_p", 2.0))
    return lambda a, b: p_norm(a.unsqueeze(-2) - b.unsqueeze(-3), p, (-1,), False), (n._saved_x1, n._saved_x2)


def pdist(n: Node) -> Read:
    """The norm of the difference of every pair of rows."""
    i, j = torch.triu_indices(len(n._saved_self), len(n._saved_self), 1).to(n._saved_self.device)
    return lambda x: p_norm(x[i] - x[j], float(n._saved_p), (-1,), False), (n._saved_self,)


def dist(n: Node) -> Read:
    """The norm of the difference."""
    whole = lambda t: p_norm(t, float(n._saved_p), tuple(range(t.ndim)), False)
    return lambda a, b: whole(a - b), (n._saved_self, n._saved_other)


def logcumsumexp(n: Node) -> Read:
    """ln Σeᶻ up to each place."""

    def run(z: Tensor) -> Tensor:
        if not z.ndim:
            return z
        z = z.movedim(dimension(n._saved_dim), -1)
        later = torch.ones(z.shape[-1], z.shape[-1], dtype=torch.bool, device=z.device).triu(1)
        upto = z.unsqueeze(-2).expand(*z.shape, z.shape[-1]).masked_fill(later, -torch.inf)
        return upto.logsumexp(-1).movedim(-1, dimension(n._saved_dim))

    return run, (n._saved_self,)


def extremes(n: Node) -> Read:
    """The smallest and the largest."""
    keep = n._saved_keepdim
    if n._saved_dim is None:
        return lambda x: (x.amin(), x.amax()), (n._saved_self,)
    dim = dimension(n._saved_dim)
    return lambda x: (x.amin(dim, keep), x.amax(dim, keep)), (n._saved_self,)


def spread_and_mean(n: Node) -> Read:
    """The variance, or its root, and the mean."""
    x = n._saved_self
    dims = tuple(dimension(d) for d in n._saved_dim or range(x.ndim))
    find, keep = torch.var if n.name() == "VarMeanBackward0" else torch.std, n._saved_keepdim
    return lambda x: (find(x, dims, correction=n._saved_correction, keepdim=keep), x.mean(dims, keep)), (x,)


def addcdiv(n: Node) -> Read:
    """c + value·a/b."""
    b = n._saved_tensor2
    return lambda c, a, b: c + n._saved_value * a / b, (torch.zeros_like(b), n._saved_tensor1, b)


def multi_margin(n: Node) -> Read:
    """Σᵢ max(0, margin − x_t + xᵢ)ᵖ·w_t/N over the classes i other than the target t."""
    x, t, w = n._saved_self, n._saved_target.view(-1, 1), n._saved_weight
    others = torch.ones_like(x.view(len(t), -1)).scatter_(1, t, 0) * (1 if w is None else w[t])

    def run(x: Tensor) -> Tensor:
        x = x.view(len(t), -1)
        lacks = torch.relu(n._saved_margin - x.gather(1, t) + x)
        each = ((lacks if n._saved_p == 1 else lacks.pow(2)) * others).sum(1) / x.shape[1]
        return (each, each.mean(), each.sum())[n._saved_reduction].view(() if n._saved_reduction else (len(t),))

    return run, (x,)


def overwritten(n: Node) -> Read:
    """A tensor in which a view is overwritten by a function of itself."""
    apply, whole, at = n.metadata[OVERWRITTEN]

    def f(x: Tensor) -> Tensor:
        flat = x.flatten()
        return flat.index_put((at,), apply(flat[at])).view_as(x)

    return f, (whole,)
