"""The logits of attention: what its softmax is taken of."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..torch_calls import Args, Kwargs, Value


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


def fusable(query: Tensor, key: Tensor, value: Tensor, *args: Value, **kwargs: Value) -> tuple[Args, Kwargs]:
    """The arguments of a call of `scaled_dot_product_attention` such that a fused kernel takes it.

    On a GPU no fused kernel takes grouped heads (`enable_gqa`) in float32: PyTorch then makes, and keeps, the
    probabilities of all heads, tokens × tokens. With the keys and values repeated for each head of their group the
    answer is the same.
    """
    if kwargs.get("enable_gqa") and _lacks_grouped_kernel(query):
        groups = query.shape[-3] // key.shape[-3]
        key, value = (t.repeat_interleave(groups, -3) for t in (key, value))
        kwargs = {**kwargs, "enable_gqa": False}
    return (query, key, value, *args), kwargs


def _lacks_grouped_kernel(query: Tensor) -> bool:
    return query.device.type == "cuda" and query.dtype == torch.float32
