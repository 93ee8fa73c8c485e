"""Softmax and its kin through the logarithmic mean, and fused attention, which is a softmax between two products."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from ....errors import GraphMismatch, UnsupportedOperation
from ..lockstep import Grads, Step, in_two_steps
from ..metadata import INPUT
from ..nodes import apart, avg, dimension, input_of, is_fed, same, stacked, wide
from .linear import dropout

_TINY = 1e-30


def log_mean(log_p: Tensor, log_p0: Tensor) -> Tensor:
    """ℓ = (p − p0)/(ln p − ln p0), the logarithmic mean, as avg(p, p0)·tanh(u)/u with u = (ln p − ln p0)/2.

    No quotient of small differences is left, and a probability that underflows still counts through its logarithm.
    (Logarithmic mean Divisia index; Ang, Energy Policy 2004.)
    """
    u = (log_p - log_p0).mul_(0.5)
    if not torch.isfinite(u).all():
        masked, masked0 = log_p == -torch.inf, log_p0 == -torch.inf
        if not torch.equal(masked, masked0):
            raise GraphMismatch(
                "A softmax masks (−inf) other positions for the input than for the baseline, so its change is "
                "infinite. Use the same mask for both."
            )
        u.masked_fill_(masked, 0.0)
    u += _TINY  # 0/0 becomes 1, and no other value moves
    return torch.exp(log_p).add_(torch.exp(log_p0)).mul_(0.5).mul_(torch.tanh(u).div_(u))


def through_softmax(g: Tensor, l: Tensor, total: Tensor, dim: int) -> Tensor:  # noqa: E741
    """gz = ℓ⊙g − (ℓ/Σℓ)·Σ ℓg, the softmax's own derivative with ℓ for p. total: Σℓ."""
    lg = l * g
    return lg.sub_(l * (lg.sum(dim, keepdim=True) / total))


def _log_softmax_of(n: Any, dim: int) -> Tensor:
    if INPUT in n.metadata:
        return torch.log_softmax(input_of(n).to(wide(n._saved_result).dtype), dim)
    return torch.log(wide(n._saved_result))


@in_two_steps
def softmax(n: Any, n0: Any) -> Step:
    """p = softmax(z):  gz = ℓ⊙g − (ℓ/Σℓ)·Σℓg, with ℓ the logarithmic mean of p and p0."""
    dim = dimension(n._saved_dim)
    log_p, log_p0 = _log_softmax_of(n, dim), _log_softmax_of(n0, dim)
    if INPUT not in n.metadata and not torch.equal(log_p == -torch.inf, log_p0 == -torch.inf):
        input_of(n)  # a probability underflowed and its logit is out of reach: the error that says so
    l = log_mean(log_p, log_p0)  # noqa: E741
    total = l.sum(dim, keepdim=True).clamp_min(1e-38)
    return lambda g: (through_softmax(wide(g[0]), l, total, dim),)


@in_two_steps
def log_softmax(n: Any, n0: Any) -> Step:
    """gz = g − (ℓ/Σℓ)·Σg."""
    dim = dimension(n._saved_dim)
    l = log_mean(wide(n._saved_result), wide(n0._saved_result))  # noqa: E741
    share = l.div_(l.sum(dim, keepdim=True))
    return lambda g: (g[0] - share * wide(g[0]).sum(dim, keepdim=True),)


def logsumexp(n: Any, n0: Any, g: Grads) -> Grads:
    """Δ ln Σeᶻ = Σ (ℓ/Σℓ)·Δz."""
    z, z0 = input_of(n), input_of(n0)
    dims = tuple(dimension(d) for d in n._saved_dim)
    gy, (y, y0) = g[0], (wide(n._saved_result), wide(n0._saved_result))
    if not n._saved_keepdim:
        for dim in sorted(d % z.ndim for d in dims):
            gy, y, y0 = gy.unsqueeze(dim), y.unsqueeze(dim), y0.unsqueeze(dim)
    l = log_mean(z - y, z0 - y0)  # noqa: E741
    return (gy * l / l.sum(dims, keepdim=True),)


_BLOCK = 1 << 19
"""Elements of one attention block, queries × keys over rows and heads: what stays in cache while it is worked on."""
_NEVER = -1e30
"""A logit that no other reaches: its probability is 0, and unlike −inf it leaves no NaN in a difference."""


@in_two_steps
def attention(n: Any, n0: Any) -> Step:
    """Fused attention: its two products and its softmax, recomputed block by block of queries from q, k, v."""
    if getattr(n, "_saved_dropout_p", 0.0):
        return dropout.begin(n, n0)
    if any(is_fed(n, k) for k in range(3, len(n.next_functions))):
        raise UnsupportedOperation(
            f"{n.name()} has an attention bias that depends on the input. Use attn_implementation='eager'.", n.name()
        )
    mask = _mask_of(n)
    if not same(mask, _mask_of(n0)):
        raise GraphMismatch("The attention masks of input and baseline differ. Use the same mask for both.")
    query, key, value = n._saved_query, n._saved_key, n._saved_value
    groups = query.shape[1] // key.shape[1]
    repeat = lambda t: t.contiguous() if groups == 1 else t.repeat_interleave(groups, 1)
    scale = n._saved_scale if n._saved_scale is not None else query.shape[-1] ** -0.5
    q = [wide(t).contiguous() * scale for t in stacked(n, n0, "_saved_query")]
    k = [repeat(wide(t)) for t in stacked(n, n0, "_saved_key")]
    q_avg, k_avg, v_avg = avg(*apart(q)), avg(*apart(k)), repeat(avg(value, n0._saved_value))
    shape = q_avg.shape[-2], k_avg.shape[-2]
    like: dict[str, Any] = {"dtype": q_avg.dtype, "device": q_avg.device}
    if n._saved_is_causal:
        later = torch.ones(shape, dtype=torch.bool, device=q_avg.device).triu(1)
        mask = torch.zeros(shape, **like).masked_fill_(later, _NEVER)
    elif mask is not None:
        mask = wide(mask) if mask.dtype != torch.bool else torch.zeros(mask.shape, **like)
        mask = mask.masked_fill(_hidden(n), _NEVER)
    mask = None if mask is None else mask.expand(*q_avg.shape[:-2], *shape)
    lse = _saved_normalisers(n, n0, q)
    blocks = list(_blocks(q_avg.shape[0], q_avg.shape[1], *shape))
    only = _means(q, k, mask, lse) if len(blocks) == 1 else None  # for all targets; longer texts have no room for it
    if only is None:
        q, k, lse = apart(q), apart(k), lse and apart(lse)

    def through(g: Grads) -> Grads:
        gy = wide(g[0]).contiguous()
        if only is not None:
            gq, gk, gv = _products(only, gy, q_avg, k_avg, v_avg)
        else:
            gq, gk, gv = torch.empty_like(q_avg), torch.zeros_like(k_avg), torch.zeros_like(v_avg)
            for heads, block in blocks:
                of = lambda both, at: [t[at] for t in both]
                means = _means(of(q, block), of(k, heads), None if mask is None else mask[block], of(lse, block))
                gq[block], to_k, to_v = _products(means, gy[block], q_avg[block], k_avg[heads], v_avg[heads])
                gk[heads] += to_k
                gv[heads] += to_v
        gq *= scale
        found = (_to_groups(m, heads) for m, heads in ((gq, query), (gk, key), (gv, value)))
        return *found, *(None for _ in n.next_functions[3:])

    return through


def _means(
    q: Sequence[Tensor], k: Sequence[Tensor], mask: Tensor | None, lse: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """The arithmetic and the logarithmic mean of the attention probabilities softmax(q·kᵀ + mask) of the two passes,
    and the latter's sum over the keys.

    lse: of both passes ln Σ eᶻ over the keys, or nothing where it is not known."""
    both = [a @ b.mT for a, b in zip(q, k, strict=True)]
    log_p, log_p0 = apart(both)
    lowest = math.log(torch.finfo(log_p.dtype).tiny) + 8  # exp() is slow near the smallest number, and what meets it
    if mask is not None:
        log_p += mask
        log_p0 += mask
    for logits, whole in zip(both, lse or [torch.logsumexp(z, -1, keepdim=True) for z in both], strict=True):
        logits -= whole
    u = torch.sub(log_p, log_p0).mul_(0.5).add_(_TINY)
    for logits in both:
        logits.clamp_(min=lowest).exp_()
    p = torch.threshold_(log_p.lerp_(log_p0, 0.5), 2 * math.exp(lowest), 0.0)
    l = torch.tanh(u, out=log_p0).div_(u).mul_(p)  # noqa: E741
    return p, l, l.sum(-1, keepdim=True).clamp_min_(_TINY)


def _products(
    means: tuple[Tensor, Tensor, Tensor], g: Tensor, q_avg: Tensor, k_avg: Tensor, v_avg: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The multipliers of the queries, of the keys and of the values, with the `_means` of the probabilities."""
    p, weight, total = means
    gz = g @ v_avg.mT
    gz.sub_(torch.mul(weight, gz).sum(-1, keepdim=True).div_(total)).mul_(weight)
    return gz @ k_avg, gz.mT @ q_avg, p.mT @ g


def _blocks(rows: int, heads: int, queries: int, keys: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """(rows, heads) and (rows, heads, queries) of blocks with about _BLOCK logits each: whole heads where they fit."""
    some_queries = min(queries, max(1, _BLOCK // keys))
    some_heads = min(heads, max(1, _BLOCK // (some_queries * keys)))
    some_rows = min(rows, max(1, _BLOCK // (some_queries * keys * some_heads)))
    for r in range(0, rows, some_rows):
        for h in range(0, heads, some_heads):
            at = slice(r, r + some_rows), slice(h, h + some_heads)
            for i in range(0, queries, some_queries):
                yield at, (*at, slice(i, i + some_queries))


def _mask_of(n: Any) -> Tensor | None:
    mask = getattr(n, "_saved_attn_mask", None)
    return getattr(n, "_saved_attn_bias", None) if mask is None else mask


def _hidden(n: Any) -> Tensor:
    mask = cast(Tensor, _mask_of(n))
    return ~mask if mask.dtype == torch.bool else mask == -torch.inf


def _saved_normalisers(n: Any, n0: Any, q: Sequence[Tensor]) -> Sequence[Tensor]:
    """Of both passes ln Σ eᶻ over the keys (…, queries, 1), where the kernel kept it in that shape, else nothing."""
    if not hasattr(n, "_saved_logsumexp"):
        return ()
    found = stacked(n, n0, "_saved_logsumexp")
    fits = all(lse.shape == each.shape[:-1] and math.isfinite(lse.sum()) for lse, each in zip(found, q, strict=True))
    return [wide(lse).unsqueeze(-1) for lse in found] if fits else ()


def _to_groups(m: Tensor, like: Tensor) -> Tensor:
    """Grouped-query attention: heads that share a key sum their multipliers."""
    return m if m.shape[1] == like.shape[1] else m.unflatten(1, (like.shape[1], -1)).sum(2)
