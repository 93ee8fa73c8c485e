"""Decompositions of a forward pass into what comes from each token, with attention probabilities as constants.

DecompX (Modarressi et al. 2023, 2306.02873), for classifiers of BERT's build: every vector is kept as a sum of one
vector for each token, through attention, norms (their size a constant), activations (the factor f(z)/z) and the
classifier. A bias b is shared among the parts z_k in proportion to |b·z_k|. The parts of a logit add up to it.

ALTI (Ferrando et al. 2022, 2203.04212), for the same models: the share of token j in the attention output y_i is
max(0, ‖y_i‖₁ − ‖y_i − T_i(x_j)‖₁), normalised, and multiplied through the layers. ALTI-Logit (Ferrando et al. 2023,
2305.12535), for Llamas: what each attention layer adds to the logit of a token, handed on to the tokens of the input by
the ALTI shares of the layers before it; what MLPs add is left out.

DePass (Hong et al. 2025, 2510.18462), for Llamas: every vector is kept as a sum of one vector for each token, as in
DecompX. What a neuron of an MLP adds is shared by a softmax, at a temperature of 0.1, over what each part brings to the
neuron's gate. The parts of a logit add up to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BertForSequenceClassification, LlamaForCausalLM

import pellucid

from .asked import asked


def decompx(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    net: Any = _of_kind(model, BertForSequenceClassification)
    attention = _attention(model, item, target)
    with asked(model, item, target) as given, torch.no_grad():
        classes = net.config.num_labels
        x = net.bert.embeddings(inputs_embeds=given.x)[0]
        parts = torch.diag_embed(x.T).permute(1, 2, 0)  # (tokens, tokens it comes from, hidden)
        for layer, a in zip(net.bert.encoder.layer, attention, strict=True):
            own = layer.attention.output
            mixed = _linear(own.dense, _mixed(layer, a, parts), layer.attention.self.value.bias)
            parts = _norm(own.LayerNorm, parts + mixed)
            inner = _activated(layer.intermediate.intermediate_act_fn, _linear(layer.intermediate.dense, parts))
            parts = _norm(layer.output.LayerNorm, parts + _linear(layer.output.dense, inner))
        pooled = _activated(torch.tanh, _linear(net.bert.pooler.dense, parts[:1]))
        logits = _linear(net.classifier, pooled)[0]  # (tokens, classes)
        assert torch.allclose(logits.sum(0), net(inputs_embeds=given.x).logits[0], atol=1e-3)
        rows = torch.zeros(classes + 1, dtype=torch.long)
        told = given.select(torch.cat([torch.eye(classes), torch.zeros(1, classes)]), rows)
        return (logits @ (told[:-1] - told[-1])).double().numpy()[given.own.numpy()]


def alti(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    net: Any = _of_kind(model, BertForSequenceClassification)
    attention = _attention(model, item, target)
    with asked(model, item, target) as given, torch.no_grad():
        states = net.bert(inputs_embeds=given.x, output_hidden_states=True).hidden_states
        rolled = torch.eye(given.x.shape[1])
        for layer, a, (x,) in zip(net.bert.encoder.layer, attention, states[:-1], strict=True):
            each = _mixed(layer, a, torch.diag_embed(x.T).permute(1, 2, 0))
            each = each @ layer.attention.output.dense.weight.T + torch.diag_embed(x.T).permute(1, 2, 0)
            bias = layer.attention.self.value.bias @ layer.attention.output.dense.weight.T
            whole = each.sum(1) + bias + layer.attention.output.dense.bias
            norm = layer.attention.output.LayerNorm
            size = whole.var(-1, correction=0, keepdim=True).add(norm.eps).sqrt()
            linear = (each - each.mean(-1, keepdim=True)) / size.unsqueeze(1) * norm.weight
            rolled = _shares(norm(whole), linear) @ rolled
        return rolled[0].double().numpy()[given.own.numpy()]


def alti_logit(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    net, ids, predicted, attention = _continued(model, item, target)
    with model.borrowed(), torch.no_grad():
        states = _residual_stream(net, ids)
        readers = _readers(net, ids, predicted, states[-1])
        found, rolled = torch.zeros(ids.shape[1]), torch.eye(ids.shape[1])
        for layer, a, x in zip(net.model.layers, attention, states, strict=False):
            own = torch.diag_embed(x.T).permute(1, 2, 0)
            each = _brought(layer.self_attn, a, _rms_norm(layer.input_layernorm, own))
            for i, reads in readers.items():
                found += (each[i] @ reads) @ rolled
            rolled = _shares((each + own).sum(1), each + own) @ rolled
        return found.double().numpy()


def depass(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    net, ids, predicted, attention = _continued(model, item, target)
    with model.borrowed(), torch.no_grad():
        states = _residual_stream(net, ids)
        parts = torch.diag_embed(states[0].T).permute(1, 2, 0)  # (tokens, tokens it comes from, hidden)
        later = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).triu(1).unsqueeze(-1)
        for layer, a in zip(net.model.layers, attention, strict=True):
            parts = parts + _brought(layer.self_attn, a, _rms_norm(layer.input_layernorm, parts))
            inner, mlp = _rms_norm(layer.post_attention_layernorm, parts), layer.mlp
            share = (mlp.gate_proj(inner) / GATE_TEMPERATURE).masked_fill(later, -torch.inf).softmax(1)
            neurons = mlp.act_fn(mlp.gate_proj(inner.sum(1))) * mlp.up_proj(inner.sum(1))
            parts = parts + mlp.down_proj(share * neurons.unsqueeze(1))
        assert torch.allclose(parts.sum(1), states[-1], atol=1e-3 * float(states[-1].abs().max()))
        readers = _readers(net, ids, predicted, states[-1])
        return sum(parts[i] @ reads for i, reads in readers.items()).double().numpy()


GATE_TEMPERATURE = 0.1
"""Of DePass's softmax over the parts of a neuron's gate."""


def _continued(model: pellucid.Model, item: Any, target: Any) -> tuple[Any, Tensor, list[int], Tensor]:
    """The Llama, the ids of a prompt with its continuation, the places of the continuation's tokens, and the attention
    probabilities (layers, heads, tokens, tokens)."""
    net: Any = _of_kind(model, LlamaForCausalLM)
    e = pellucid.explain(model, item, "input_x_gradient", target, "zero", ["attentions"])
    answer = max(t.segment for t in e.tokens)
    predicted = [i for i, t in enumerate(e.tokens) if t.segment == answer and not t.special]
    return net, torch.tensor([[t.id for t in e.tokens]]), predicted, torch.tensor(e.attentions).float()


def _readers(net: Any, ids: Tensor, predicted: list[int], final: Tensor) -> dict[int, Tensor]:
    """For each place before a predicted token the vector that reads the token's logit off the last layer's output."""
    size = final.pow(2).mean(-1).add(net.model.norm.variance_epsilon).sqrt()
    return {i - 1: net.model.norm.weight * net.lm_head.weight[ids[0, i]] / size[i - 1] for i in predicted}


def _rms_norm(norm: Any, parts: Tensor) -> Tensor:
    """An RMSNorm of the sums of the parts, its size a constant."""
    size = parts.sum(1, keepdim=True).pow(2).mean(-1, keepdim=True).add(norm.variance_epsilon).sqrt()
    return parts / size * norm.weight


def _brought(attend: Any, a: Tensor, parts: Tensor) -> Tensor:
    """What attention of the probabilities a (heads, i, j) of a Llama's layer brings each token i of the parts (j, k,
    hidden): (i, k, hidden)."""
    values = attend.v_proj(parts).unflatten(-1, (-1, attend.head_dim))
    values = values.repeat_interleave(a.shape[0] // values.shape[2], 2)  # (tokens, parts, heads, head)
    return attend.o_proj(torch.einsum("hij,jkhd->ikhd", a, values).flatten(2))


def _of_kind(model: pellucid.Model, kind: type) -> Any:
    if not isinstance(model.model, kind):
        raise TypeError(f"Found {type(model.model).__name__}; expected {kind.__name__}.")
    return model.model


def _attention(model: pellucid.Model, item: Any, target: Any) -> Tensor:
    """The probabilities (layers, heads, tokens, tokens)."""
    e = pellucid.explain(model, item, "input_x_gradient", target, "zero", ["attentions"])
    return torch.tensor(e.attentions).float()


def _residual_stream(net: Any, ids: Tensor) -> list[Tensor]:
    """What goes into each layer, and what comes out of the last, before the norm: (tokens, hidden) each."""
    found: list[Tensor] = []
    hooks = [m.register_forward_pre_hook(lambda _, given: found.append(given[0][0])) for m in net.model.layers]
    hooks.append(net.model.norm.register_forward_pre_hook(lambda _, given: found.append(given[0][0])))
    try:
        net(input_ids=ids)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _mixed(layer: Any, a: Tensor, parts: Tensor) -> Tensor:
    """What attention of the probabilities a (heads, i, j) brings each token i of the parts (j, k, hidden): (i, k,
    hidden), heads side by side, without the bias of the values."""
    values = (parts @ layer.attention.self.value.weight.T).unflatten(-1, (a.shape[0], -1))
    return torch.einsum("hij,jkhd->ikhd", a, values).flatten(2)


def _linear(linear: Any, parts: Tensor, inner: Tensor | None = None) -> Tensor:
    """W·z for each part; the bias, and that of the values before it, shared among them."""
    bias = linear.bias if inner is None else linear.bias + linear.weight @ inner
    return _with_bias(parts @ linear.weight.T, bias)


def _with_bias(parts: Tensor, bias: Tensor) -> Tensor:
    shares = (parts * bias).sum(-1).abs()
    return parts + (shares / shares.sum(1, keepdim=True)).unsqueeze(-1) * bias


def _norm(norm: Any, parts: Tensor) -> Tensor:
    """A LayerNorm, its size a constant."""
    size = parts.sum(1, keepdim=True).var(-1, correction=0, keepdim=True).add(norm.eps).sqrt()
    return _with_bias((parts - parts.mean(-1, keepdim=True)) / size * norm.weight, norm.bias)


def _activated(function: Callable[[Tensor], Tensor], parts: Tensor) -> Tensor:
    whole = parts.sum(1, keepdim=True)
    return parts * torch.where(whole == 0, 0.0, function(whole) / whole)


def _shares(whole: Tensor, each: Tensor) -> Tensor:
    """ALTI's shares (i, j) of the vectors `each` (i, j, hidden) in their sums `whole` (i, hidden)."""
    near = (whole.abs().sum(-1, keepdim=True) - (whole.unsqueeze(1) - each).abs().sum(-1)).clamp(min=0)
    return near / near.sum(1, keepdim=True).clamp(min=1e-12)
