"""Softmax and its kin through the logarithmic mean, and fused attention, which is a softmax between two products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import GraphMismatch, UnsupportedOperation
from .linear import dropout
from .lockstep import Grads
from .nodes import avg, input_of, is_fed, same, wide
from .recording import INPUT


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
    u += 1e-30  # 0/0 becomes 1, and no other value moves
    return torch.exp(log_p).add_(torch.exp(log_p0)).mul_(0.5).mul_(torch.tanh(u).div_(u))


def through_softmax(g: Tensor, l: Tensor, dim: int) -> Tensor:  # noqa: E741
    """gz = ℓ⊙g − (ℓ/Σℓ)·Σ ℓg, the softmax's own derivative with ℓ for p."""
    lg = l * g
    return lg.sub_(l * (lg.sum(dim, keepdim=True) / l.sum(dim, keepdim=True).clamp_min(1e-38)))


def _log_softmax_of(n: Any, dim: int) -> Tensor:
    if INPUT in n.metadata:
        return torch.log_softmax(input_of(n).to(wide(n._saved_result).dtype), dim)
    return torch.log(wide(n._saved_result))


def softmax(n: Any, n0: Any, g: Grads) -> Grads:
    """p = softmax(z)."""
    dim = n._saved_dim if n._saved_dim < 2**63 else n._saved_dim - 2**64
    log_p, log_p0 = _log_softmax_of(n, dim), _log_softmax_of(n0, dim)
    if INPUT not in n.metadata and not torch.equal(log_p == -torch.inf, log_p0 == -torch.inf):
        input_of(n)  # a probability underflowed and its logit is out of reach: the error that says so
    return (through_softmax(wide(g[0]), log_mean(log_p, log_p0), dim),)


def log_softmax(n: Any, n0: Any, g: Grads) -> Grads:
    """gz = g − (ℓ/Σℓ)·Σg."""
    dim = n._saved_dim if n._saved_dim < 2**63 else n._saved_dim - 2**64
    l = log_mean(wide(n._saved_result), wide(n0._saved_result))  # noqa: E741
    return (g[0] - l * (wide(g[0]).sum(dim, keepdim=True) / l.sum(dim, keepdim=True)),)


def logsumexp(n: Any, n0: Any, g: Grads) -> Grads:
    """Δ ln Σeᶻ = Σ (ℓ/Σℓ)·Δz."""
    gy, (y, y0) = g[0], (wide(n._saved_result), wide(n0._saved_result))
    if not n._saved_keepdim:
        for dim in sorted(d % input_of(n).ndim for d in n._saved_dim):
            gy, y, y0 = gy.unsqueeze(dim), y.unsqueeze(dim), y0.unsqueeze(dim)
    l = log_mean(input_of(n) - y, input_of(n0) - y0)  # noqa: E741
    return (gy * l / l.sum(tuple(n._saved_dim), keepdim=True),)


_BLOCK = 1 << 22  # elements of one attention block: queries × keys over batch and heads


def attention(n: Any, n0: Any, g: Grads) -> Grads:
    """Fused attention: its two products and its softmax, recomputed block by block of queries from q, k, v."""
    if getattr(n, "_saved_dropout_p", 0.0):
        return dropout(n, n0, g)
    if any(is_fed(n, k) for k in range(3, len(n.next_functions))):
        raise UnsupportedOperation(
            f"{n.name()} has an attention bias that depends on the input. Use attn_implementation='eager'.", n.name()
        )
    (q, k, v, mask), (q0, k0, v0, mask0) = _attention_inputs(n), _attention_inputs(n0)
    if not same(mask, mask0):
        raise GraphMismatch("The attention masks of input and baseline differ. Use the same mask for both.")
    gy = wide(g[0])
    scale = n._saved_scale if n._saved_scale is not None else q.shape[-1] ** -0.5
    kept = (
        torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril() if n._saved_is_causal else None
    )
    k_avg, v_avg = avg(k, k0).mul_(scale), avg(v, v0)
    kt, kt0 = (k * scale).mT, (k0 * scale).mT
    gq, gk, gv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    rows = max(1, _BLOCK // max(1, q.shape[0] * q.shape[1] * k.shape[-2]))
    for i in range(0, q.shape[-2], rows):
        block = slice(i, i + rows)
        z, z0 = q[..., block, :] @ kt, q0[..., block, :] @ kt0
        for logits in (z, z0):
            if mask is not None:
                logits += mask[..., block, :]
            if kept is not None:
                logits.masked_fill_(~kept[block], -torch.inf)
        log_p, log_p0 = (torch.log_softmax(logits, -1).nan_to_num_(-torch.inf) for logits in (z, z0))
        l, gb = log_mean(log_p, log_p0), gy[..., block, :]  # noqa: E741
        gv += avg(log_p.exp_(), log_p0.exp_()).mT @ gb
        gz = through_softmax(gb @ v_avg.mT, l, -1)
        gq[..., block, :] = gz @ k_avg
        gk += gz.mT @ avg(q[..., block, :], q0[..., block, :])
    gk *= scale
    return (
        _to_groups(gq, n._saved_query),
        _to_groups(gk, n._saved_key),
        _to_groups(gv, n._saved_value),
        *(None for _ in n.next_functions[3:]),
    )


def _attention_inputs(n: Any) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    q, k, v = wide(n._saved_query), wide(n._saved_key), wide(n._saved_value)
    mask = getattr(n, "_saved_attn_mask", None)
    mask = getattr(n, "_saved_attn_bias", None) if mask is None else mask
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -torch.inf)
    if mask is not None:
        mask = wide(mask).expand(*mask.shape[:-2], q.shape[-2], k.shape[-2])
    repeat = lambda t: t if t.shape[1] == q.shape[1] else t.repeat_interleave(q.shape[1] // t.shape[1], 1)
    return q, repeat(k), repeat(v), mask


def _to_groups(m: Tensor, like: Tensor) -> Tensor:
    """Grouped-query attention: heads that share a key sum their multipliers."""
    return m if m.shape[1] == like.shape[1] else m.unflatten(1, (like.shape[1], -1)).sum(2)
