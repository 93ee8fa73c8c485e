"""Rules for softmax, log-softmax and logsumexp, and for fused attention, which is a softmax between two products.

All of them stand on the logarithmic mean of two probabilities, ℓ = (p − p0)/(ln p − ln p0).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ....errors import GraphMismatch, UnsupportedOperation
from ..lockstep import Grads, JointStep, Multipliers, Step
from ..metadata import INPUT
from ..nodes import Node, apart, avg, dimension, input_of, is_fed, same, together, unreduced, wide
from .block_sizes import at_once
from .linear import dropout

_TINY = 1e-30


def log_mean(log_p: Shaped[Tensor, "*shape"], log_p0: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """ℓ = (p − p0)/(ln p − ln p0), the logarithmic mean, as avg(p, p0)·tanh(u)/u with u = (ln p − ln p0)/2.

    No quotient of small differences is left, and a probability that underflows still counts through its logarithm.
    (Logarithmic mean Divisia index; Ang, Energy Policy 2004.)
    """
    u = (log_p - log_p0).mul_(0.5)
    if not math.isfinite(u.sum().item()):
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


def _log_softmax_of(n: Node, dim: int) -> Tensor:
    result = n._saved_result
    if INPUT in n.metadata:
        return torch.log_softmax(input_of(n), dim, dtype=torch.promote_types(result.dtype, torch.float32))
    return torch.log(wide(result))


def softmax(n: Node, n0: Node) -> Step:
    """p = softmax(z):  gz = ℓ⊙g − (ℓ/Σℓ)·Σℓg, with ℓ the logarithmic mean of p and p0."""
    nodes, dim = together(n, n0), dimension(n._saved_dim)
    log_p, log_p0 = apart([_log_softmax_of(m, dim) for m in nodes])
    if INPUT not in nodes[0].metadata and not torch.equal(log_p == -torch.inf, log_p0 == -torch.inf):
        input_of(n)  # a probability underflowed and its logit is out of reach: the error that says so
    l = log_mean(log_p, log_p0)  # noqa: E741
    total = l.sum(dim, keepdim=True).add_(_TINY)
    return lambda g: (through_softmax(wide(g[0]), l, total, dim),)


def log_softmax(n: Node, n0: Node) -> Step:
    """y = ln softmax(z):  gz = g − (ℓ/Σℓ)·Σg."""
    dim = dimension(n._saved_dim)
    l = log_mean(wide(n._saved_result), wide(n0._saved_result))  # noqa: E741
    share = l.div_(l.sum(dim, keepdim=True))
    return lambda g: (g[0] - share * wide(g[0]).sum(dim, keepdim=True),)


def logsumexp(n: Node, n0: Node) -> Step:
    """y = ln Σeᶻ:  Δy = Σ (ℓ/Σℓ)·Δz, with ℓ the logarithmic mean of the two softmax."""
    z, z0 = input_of(n), input_of(n0)
    dims = tuple(dimension(d) for d in n._saved_dim)
    spread = lambda t: unreduced(t, dims, z.ndim, n._saved_keepdim)
    l = log_mean(z - spread(wide(n._saved_result)), z0 - spread(wide(n0._saved_result)))  # noqa: E741
    share = l.div_(l.sum(dims, keepdim=True))
    return lambda g: (spread(g[0]) * share,)


_BLOCK = 1 << 19
"""Logits in one block of attention on a CPU, queries × keys over rows and heads: few enough to stay in its cache."""
_NEVER = -1e30
"""The logit of a key that a mask hides: its probability is 0, and unlike −inf it leaves no NaN in a difference."""


def attention(n: Node, n0: Node) -> Step:
    """Fused attention: its two products and its softmax, recomputed block by block of queries from q, k, v, once for
    all targets."""
    if getattr(n, "_saved_dropout_p", 0.0):
        return dropout(n, n0)
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
    nodes = together(n, n0)
    q = [wide(m._saved_query).contiguous() * scale for m in nodes]
    k = [repeat(wide(m._saved_key)) for m in nodes]
    q_avg, k_avg, v_avg = avg(*apart(q)), avg(*apart(k)), repeat(avg(value, n0._saved_value))
    shape = q_avg.shape[-2], k_avg.shape[-2]
    causal = bool(n._saved_is_causal)
    mask = None if mask is None or causal else mask.expand(*q_avg.shape[:-2], *shape)
    lse = _saved_normalisers(nodes, q)
    blocks = list(_blocks(at_once(_BLOCK, q_avg.device), (*q_avg.shape[:2], *shape), causal))
    whole = len(blocks) == 1 and not (causal and shape[0] < shape[1])  # else some keys are seen by no query
    if not whole:
        q, k, lse = apart(q), apart(k), lse and apart(lse)

    def through(each: Sequence[Grads]) -> Iterator[Multipliers]:
        gy = [wide(g[0]).contiguous() for g in each]
        found = [(torch.empty_like(q_avg), torch.zeros_like(k_avg), torch.zeros_like(v_avg)) for _ in each]
        for heads, block in blocks:
            of = lambda both, at: both if whole else [t[at] for t in both]
            reach = min(block[-1].stop, shape[1]) if causal else shape[1]  # no query of the block sees a later key
            keys = (*heads, slice(reach))
            means = _means(of(q, block), of(k, keys), _added(mask, causal, block, reach, q_avg), of(lse, block))
            to_each = _products(means, [g[block] for g in gy], q_avg[block], k_avg[keys], v_avg[keys])
            for (gq, gk, gv), (to_q, to_k, to_v) in zip(found, to_each, strict=True):
                gq[block] = to_q
                gk[keys] += to_k
                gv[keys] += to_v
        for gq, gk, gv in found:
            gq *= scale
            own = (_to_groups(m, heads) for m, heads in ((gq, query), (gk, key), (gv, value)))
            yield *own, *(None for _ in n.next_functions[3:])

    return JointStep(through)


def _means(
    q: Sequence[Float[Tensor, "_ heads queries size"]],
    k: Sequence[Float[Tensor, "_ heads keys size"]],
    mask: Float[Tensor, "*rows queries last_keys"] | None,
    lse: Sequence[Float[Tensor, "_ heads queries 1"]],
) -> tuple[
    Float[Tensor, "rows heads queries keys"],
    Float[Tensor, "rows heads queries keys"],
    Float[Tensor, "rows heads queries 1"],
]:
    """The arithmetic mean and the logarithmic mean of the two passes' attention probabilities, softmax(q·kᵀ + mask),
    and the sum of the logarithmic mean over the keys.

    mask: added to the logits of the last keys, as many as it has. lse: ln Σ eᶻ over the keys, of both passes; empty
    where it is not known.
    """
    both = [a @ b.mT for a, b in zip(q, k, strict=True)]
    log_p, log_p0 = apart(both)
    lowest = math.log(torch.finfo(log_p.dtype).tiny) + 8  # exp() is slow near the smallest number, and what meets it
    if mask is not None:
        log_p[..., -mask.shape[-1] :] += mask
        log_p0[..., -mask.shape[-1] :] += mask
    for logits, whole in zip(both, lse or [torch.logsumexp(z, -1, keepdim=True) for z in both], strict=True):
        logits -= whole
    u = torch.sub(log_p, log_p0).mul_(0.5).add_(_TINY)
    for logits in both:
        logits.clamp_(min=lowest).exp_()
    p = torch.threshold_(log_p.lerp_(log_p0, 0.5), 2 * math.exp(lowest), 0.0)
    l = torch.tanh(u, out=log_p0).div_(u).mul_(p)  # noqa: E741
    return p, l, l.sum(-1, keepdim=True).clamp_min_(_TINY)


def _products(
    means: tuple[Tensor, Tensor, Tensor], each: Sequence[Tensor], q_avg: Tensor, k_avg: Tensor, v_avg: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The multipliers of the queries, of the keys and of the values, from the `_means` of the probabilities, for each
    target's multipliers g of the result.

    With ℓ⊙(g·vᵀ) summed over the keys as g·(ℓ·v), which all targets share, a target reads each logit twice.
    """
    p, weight, total = means
    weighed = (weight @ v_avg).div_(total)
    values = torch.cat((v_avg, v_avg.new_ones(*v_avg.shape[:-1], 1)), -1).mT
    for g in each:
        gz = torch.cat((g, -(g * weighed).sum(-1, keepdim=True)), -1) @ values
        gz *= weight
        yield gz @ k_avg, gz.mT @ q_avg, p.mT @ g


def _blocks(size: int, shape: tuple[int, ...], causal: bool) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Cuts attention into blocks of about `size` logits each, whole heads where they fit. Each block is given as its
    slices (rows, heads) and its slices (rows, heads, queries).

    shape: rows, heads, queries, keys. causal: a block stops at the last key that its queries see. Where there are
        several blocks anyway, they are made of an eighth of the queries at most and of more heads, which saves 7 of 16
        logits.
    """
    rows, heads, queries, keys = shape
    some_queries = min(queries, max(1, size // keys))
    if causal and rows * heads * queries * keys > size:
        some_queries = min(some_queries, -(-queries // 8))
    some_heads = min(heads, max(1, size // (some_queries * keys)))
    some_rows = min(rows, max(1, size // (some_queries * keys * some_heads)))
    for r in range(0, rows, some_rows):
        for h in range(0, heads, some_heads):
            at = slice(r, r + some_rows), slice(h, h + some_heads)
            for i in range(0, queries, some_queries):
                yield at, (*at, slice(i, i + some_queries))


def _mask_of(n: Node) -> Tensor | None:
    mask = getattr(n, "_saved_attn_mask", None)
    return getattr(n, "_saved_attn_bias", None) if mask is None else mask


def _added(mask: Tensor | None, causal: bool, block: tuple[slice, ...], keys: int, like: Tensor) -> Tensor | None:
    """What is added to the logits of one block, of its first `keys` keys or of the last of these; None for nothing. The
    mask of the whole text, tokens × tokens, is never made.

    mask: (rows, heads, queries, keys), true where a key is seen, or numbers to be added. block: slices of the rows, the
    heads and the queries.
    """
    if causal:
        start, stop, _ = block[-1].indices(like.shape[-2])
        if start >= keys:
            return None
        return like.new_full((stop - start, keys - start), _NEVER).triu_(1)  # each query sees the keys up to its own
    if mask is None:
        return None
    own = mask[(*block, slice(keys))]
    if own.dtype == torch.bool:
        return like.new_zeros(own.shape).masked_fill_(~own, _NEVER)
    return wide(own).masked_fill(own == -torch.inf, _NEVER)


def _saved_normalisers(nodes: Sequence[Node], q: Sequence[Tensor]) -> Sequence[Tensor]:
    """ln Σ eᶻ over the keys (…, queries, 1), of both passes, where the kernel saved it in that shape; else empty."""
    found: list[Any] = [getattr(m, "_saved_logsumexp", None) for m in nodes]
    fits = lambda lse, q: lse is not None and lse.shape == q.shape[:-1] and math.isfinite(lse.sum())
    return [wide(lse).unsqueeze(-1) for lse in found] if all(map(fits, found, q)) else ()


def _to_groups(m: Tensor, like: Tensor) -> Tensor:
    """The sum of the multipliers of all heads that share a key, as in grouped-query attention."""
    return m if m.shape[1] == like.shape[1] else m.unflatten(1, (like.shape[1], -1)).sum(2)
