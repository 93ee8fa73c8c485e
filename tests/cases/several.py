"""Cases of operations that combine several elements: softmax, attention, norms, statistics, extremes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import inf

from .values import B

ONE: list[tuple[int, ...]] = [(4, 6)]
HEADS: list[tuple[int, ...]] = [(2, 3, 5, 4)] * 3

CASES: dict[str, Any] = {
    "softmax": (lambda a: a.softmax(1) + a.softmax(0) + torch.softmax(a, -1) + F.softmin(a, 1), ONE, False),
    "log_softmax": (lambda a: F.log_softmax(a, -1), ONE, False),
    "logsumexp": (lambda a: a.logsumexp(1) + a.logsumexp(1, keepdim=True).squeeze(1), ONE, False),
    "logcumsumexp": (lambda a: a.logcumsumexp(1) + a.logcumsumexp(0), ONE, False),
    "glu": (lambda a: F.glu(a), ONE, False),
    "negative_dimensions": (
        lambda a: a.logsumexp(-1) + a.logsumexp((-2, -1)) + a.var(-1) + a.norm(dim=-1) + a.amax(-1) + a.max(-1).values,
        ONE,
        False,
    ),
    "attention": (F.scaled_dot_product_attention, HEADS, False),
    "attention_causal": (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), HEADS, False),
    "attention_masked": (
        lambda q, k, v: F.scaled_dot_product_attention(
            q, k, v, attn_mask=torch.tensor([[True, True, False, True, True]])
        ),
        HEADS,
        False,
    ),
    "attention_as_parts": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=torch.eye(5, dtype=torch.bool).logical_not()),
        [(3, 5, 4)] * 3,
        False,
    ),
    "attention_grouped": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        [(2, 4, 5, 4), (2, 2, 5, 4), (2, 2, 5, 4)],
        False,
    ),
    "layer_norm": (lambda a: F.layer_norm(a, (6,), B, B), ONE, False),
    "layer_norm_plain": (lambda a: F.layer_norm(a, (2, 6)), [(3, 2, 6)], False),
    "layer_norm_weight": (lambda a, w, b: F.layer_norm(a, (6,), w, b), [(4, 6), (6,), (6,)], False),
    "group_norm": (lambda a: F.group_norm(a, 2, B, B), [(2, 6, 3)], False),
    "group_norm_weight": (lambda a, w, b: F.group_norm(a, 2, w, b), [(2, 6, 3), (6,), (6,)], False),
    "rms_norm_by_function": (lambda a: F.rms_norm(a, (6,), B), ONE, False),
    "rms_by_hand": (lambda a: a * torch.rsqrt(a.pow(2).mean(-1, keepdim=True) + 1e-6), ONE, False),
    "batch_norm_by_function": (lambda a: F.batch_norm(a, B, B.abs(), B, B), ONE, False),
    "batch_norm_weight": (lambda a, w, b: F.batch_norm(a, B, B.abs(), w, b), [(4, 6), (6,), (6,)], False),
    "instance_norm_by_function": (lambda a: F.instance_norm(a, weight=B[:3], bias=B[:3]), [(2, 3, 5)], False),
    "variance": (lambda a: a.var(1) + a.std(1) + a.var(1, correction=0, keepdim=True).squeeze(1), ONE, False),
    "variance_and_mean": (lambda a: sum(torch.std_mean(a, 1)) + sum(torch.var_mean(a, 1)), ONE, False),
    "norm": (
        lambda a: a.norm(dim=1) + torch.linalg.vector_norm(a, dim=1) + F.normalize(a, dim=1).sum(1) + a.norm(),
        ONE,
        False,
    ),
    "p_norm": (
        lambda a: sum(torch.linalg.vector_norm(a, ord=p, dim=1) for p in (0, 0.5, 1, 2.5, 3, inf, -inf)),
        ONE,
        False,
    ),
    "p_norm_of_all": (
        lambda a: a.norm(p=1) + torch.ops.aten.norm(a, 3) + torch.linalg.vector_norm(a, ord=inf),
        ONE,
        False,
    ),
    "cosine": (
        lambda a, b: (
            F.cosine_similarity(a, b, -1)
            + F.cosine_similarity(a, B, dim=1, eps=3.0)
            + F.cosine_similarity(b, a, eps=0.0)
        ),
        [(4, 6), (4, 6)],
        False,
    ),
    "normalize_1": (lambda a: F.normalize(a, dim=1, p=1), ONE, False),
    "max_along": (lambda a: a.max(1).values + a.min(1, keepdim=True).values.squeeze(1), ONE, False),
    "amax": (lambda a: a.amax(1) + a.amin(0).sum() + a.max() + a.min(), ONE, False),
    "amax_over_several": (lambda a: a.amax((0, 2)) + a.amin((0, 1), keepdim=True).sum(), [(2, 3, 4)], False),
    "extremes_of_a_number": (
        lambda a: sum(a.sum().aminmax(dim=0)) + a.mean().amin(dim=-1) + a.std().logcumsumexp(0),
        ONE,
        False,
    ),
    "aminmax": (lambda a: sum(a.aminmax(dim=1)) + sum(a.aminmax()), ONE, False),
    "running_extremes": (lambda a: a.cummax(1).values + a.cummin(0).values, ONE, False),
    "correlation": (lambda a: a.corrcoef(), ONE, False),
}
