"""AttnLRP of Llama-like decoders, as a rival to compare with: gradient × input of a model with changed gradients.

The rules of Achtibat et al. (2024, arXiv:2402.05602), in the form in which the gradient computes them: the size that a
norm divides by is a constant, an activation function is a factor, and a product of two activations gives half of its
relevance to each. The outputs of the model stay as they are. Not a method of Pellucid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm


def share(x: Tensor, part: float) -> Tensor:
    """x, through which a part of the gradient goes."""
    return part * x + ((1 - part) * x).detach()


def norm(self: Any, x: Tensor) -> Tensor:
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon).detach())


def gated(self: Any, x: Tensor) -> Tensor:
    gate = self.gate_proj(x)
    factor = torch.where(gate == 0, 0.0, self.act_fn(gate) / gate).detach()
    return self.down_proj(share(gate * factor * self.up_proj(x), 0.5))


def shared(attention: Callable[..., Any]) -> Callable[..., Any]:
    """softmax(q·k) · v: half of v's product for v, a quarter for q and for k."""

    def forward(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Any:
        return attention(module, share(q, 0.25), share(k, 0.25), share(v, 0.5), *args, **kwargs)

    return forward


@contextmanager
def attnlrp() -> Iterator[None]:
    """Within, `input_x_gradient` gives AttnLRP."""
    original = ALL_ATTENTION_FUNCTIONS.get_interface
    with (
        patch.object(LlamaRMSNorm, "forward", norm),
        patch.object(LlamaMLP, "forward", gated),
        patch.object(ALL_ATTENTION_FUNCTIONS, "get_interface", lambda *names: shared(original(*names))),
    ):
        yield
