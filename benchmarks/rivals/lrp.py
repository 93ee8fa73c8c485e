"""AttnLRP, CP-LRP, GIM and LibraGrad as rivals to compare with: gradient × input of a model with changed gradients.

The rules of Achtibat et al. (2024, arXiv:2402.05602) and of Ali et al. (2022, arXiv:2202.07304), in the form in which
the gradient computes them: the size that a norm divides by is a constant, and an activation function is a factor. In
AttnLRP a product of two activations gives half of its relevance to each; in CP-LRP the attention probabilities are
constants too. GIM (Edin et al. 2025, arXiv:2505.17630) shares as AttnLRP does, keeps the slopes of activation
functions, and takes that of the softmax at twice its temperature; the gradient is times x − x0. LibraGrad (Mehri et al.
2025, arXiv:2411.16760) changes the gradients as CP-LRP does, so that those of a number f say all of it (*FullGrad
completeness*, of which its "FullGrad" is the attribution):

    f = Σ x·∂f/∂x + Σ b·∂f/∂b    b: biases and position embeddings, each at a token's place in the text, or behind all

The outputs of the model stay as they are. For BERT and Llama and their kin. Not methods of Pellucid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

import pellucid

from .asked import asked
from .gradients import gradient_x_input


def share(x: Tensor, part: float) -> Tensor:
    """x, through which a part of the gradient goes."""
    return part * x + ((1 - part) * x).detach()


def as_factor(function: Callable[[Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """x · (function(x)/x), the second factor a constant."""
    return lambda self, x: x * torch.where(x == 0, 0.0, function(x) / x).detach()


def rms_norm(self: Any, x: Tensor) -> Tensor:
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon).detach())


def layer_norm(self: Any, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    size = (centred.pow(2).mean(-1, keepdim=True) + self.eps).sqrt().detach()
    return centred / size * self.weight + self.bias


def shared_gate(self: Any, x: Tensor) -> Tensor:
    """A gated MLP, whose two factors have half of the gradient each."""
    return self.down_proj(share(self.act_fn(self.gate_proj(x)) * self.up_proj(x), 0.5))


def gated(self: Any, x: Tensor) -> Tensor:
    gate = self.gate_proj(x)
    factor = torch.where(gate == 0, 0.0, self.act_fn(gate) / gate).detach()
    return self.down_proj(share(gate * factor * self.up_proj(x), 0.5))


def shared(attention: Callable[..., Any], of_query: float, of_value: float) -> Callable[..., Any]:
    """softmax(q·k) · v, through which these parts of the gradient go to q, to k and to v."""

    def forward(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Any:
        return attention(module, share(q, of_query), share(k, of_query), share(v, of_value), *args, **kwargs)

    return forward


class _Softened(torch.autograd.Function):
    """softmax(z) over the last dimension, whose gradient is that of a softmax at twice the temperature."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return z.softmax(-1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        soft = (z / 2).softmax(-1)
        return soft * (g - (g * soft).sum(-1, keepdim=True))


def softened(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **kwargs: Any) -> Any:
    """Attention with the softmax of GIM."""
    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    scale = kwargs.get("scaling") or q.shape[-1] ** -0.5
    z = q @ k.transpose(2, 3) * scale
    if mask is not None:
        z = z.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else z + mask
    elif getattr(module, "is_causal", False):
        z = z.masked_fill(torch.ones(z.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
    return (_Softened.apply(z) @ v).transpose(1, 2).contiguous(), None


NORMS = ((LlamaRMSNorm, "forward", rms_norm), (nn.LayerNorm, "forward", layer_norm))
FACTORS = (
    (LlamaMLP, "forward", gated),
    (GELUActivation, "forward", as_factor(nn.functional.gelu)),
    (nn.GELU, "forward", as_factor(nn.functional.gelu)),
    (nn.Tanh, "forward", as_factor(torch.tanh)),
)


@contextmanager
def changed(
    of_query: float, of_value: float, functions: Sequence[Any] = FACTORS, instead: Callable[..., Any] | None = None
) -> Iterator[None]:
    """Within, gradients are those of the rules. functions: what stands in the place of the activation functions.
    instead: an attention function in the place of the model's own."""
    original = ALL_ATTENTION_FUNCTIONS.get_interface
    attention = lambda *names: shared(instead or original(*names), of_query, of_value)
    with ExitStack() as stack:
        for owner, name, other in (*NORMS, *functions, (ALL_ATTENTION_FUNCTIONS, "get_interface", attention)):
            stack.enter_context(patch.object(owner, name, other))
        yield


def attnlrp_gradients() -> Any:
    """Within, gradient × input is AttnLRP."""
    return changed(0.25, 0.5)


def attnlrp(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    with attnlrp_gradients():
        return gradient_x_input(model, item, target)


def cp_lrp(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    with changed(0.0, 1.0):
        return gradient_x_input(model, item, target)


def gim(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    with changed(0.25, 0.5, [(LlamaMLP, "forward", shared_gate)], softened), asked(model, item, target) as given:
        x = given.x.requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(given.f(x).sum(), x)
        return given.of_tokens(slope * (x - given.x0))


def libragrad(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    with changed(0.0, 1.0), asked(model, item, target) as given, offsets(model) as added:
        places = given.x.shape[1]
        at_tokens = [part for part in full_gradient(given.f, given.x, added) if part.shape[1:2] == (places,)]
        return given.of_tokens(sum(part.sum(-1, keepdim=True) for part in at_tokens if part.ndim == 3))


def full_gradient(f: Callable[[Tensor], Tensor], x: Tensor, added: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """x·∂f/∂x, and b·∂f/∂b for each offset b that f adds, in the shape of what it is added to."""
    x = x.requires_grad_()
    with torch.enable_grad():
        y = f(x).sum()
        sums, offset = zip((x, x), *added, strict=True)
        slopes = torch.autograd.grad(y, sums, allow_unused=True)
    return [(g * b).detach() for g, b in zip(slopes, offset, strict=True) if g is not None]


@contextmanager
def offsets(model: pellucid.Model) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Within, each output of a module that adds something of its own (a bias, a position embedding), and that."""
    added: list[tuple[Tensor, Tensor]] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> Any:
        if isinstance(module, nn.Embedding) and module is not model.embedding:
            output = output.detach().requires_grad_()
            added.append((output, output.detach()))
        elif isinstance(bias := getattr(module, "bias", None), Tensor) and output.requires_grad:
            added.append((output, bias.detach()))
        return output

    handle = nn.modules.module.register_module_forward_hook(note)
    try:
        yield added
    finally:
        handle.remove()
