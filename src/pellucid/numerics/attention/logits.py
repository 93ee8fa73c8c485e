"""The logits of attention: what its softmax is taken of."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def attention_logits(
    q: Float[Tensor, "... queries size"],
    k: Float[Tensor, "... keys size"],
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
    never: float,
) -> Float[Tensor, "... queries keys"]:
    """The logits (…, queries, keys) of `scaled_dot_product_attention` with these arguments.

    never: the logit of a key that the mask hides; no logit is below it.
    """
    if enable_gqa:
        k = k.repeat_interleave(q.shape[-3] // k.shape[-3], -3)
    z = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        z = z.masked_fill(torch.ones(z.shape[-2:], dtype=torch.bool, device=z.device).triu(1), never)
    if attn_mask is not None:
        z = z.masked_fill(~attn_mask, never) if attn_mask.dtype == torch.bool else z + attn_mask.clamp(min=never)
    return z
