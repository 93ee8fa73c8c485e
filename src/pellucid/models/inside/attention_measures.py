"""Attention measures: how a model attends to one input, and what is made of it. None is an attribution to an output.

A layer's attention is the first softmax over (rows, heads, queries, keys) in each of its calls: the text attending to
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from ...engine import hooks
from ...errors import UnsupportedModel
from ...numerics.attention.parts import Attending, Attention
from ...numerics.deeplift.recording.recorder import forward_pass
from ...problem import Problem
from ..net import Outputs
from ..tasks import Goal

Fields: TypeAlias = dict[str, Any]
"""Fields of an Explanation, by name."""

MEASURES = {
    "attentions": "the attention probabilities (layers × heads × queries × keys)",
    "norms": "‖f(x)‖, ‖αf(x)‖ and ‖Σαf(x)‖ (Kobayashi et al. 2020, 2004.10102)",
    "rollout": "attention rolled out over the layers (Abnar & Zuidema 2020, 2005.00928)",
    "attention_x_gradient": "attention times its gradient (Barkan et al. 2021)",
}
"""What is measured at the input alone. It says how a model attends; it is no attribution to an output."""


@contextmanager
def attending(layers: Sequence[nn.Module], tell: Callable[[Attention], None]) -> Iterator[None]:
    """Inside, `tell` is called with the first attention in each call of a layer, in which the text attends to itself.

    Raises UnsupportedModel where a layer computes no attention that can be seen.
    """
    inside = told = False

    def enter(_layer: int, _args: object) -> None:
        nonlocal inside, told
        inside, told = True, False

    def leave(layer: int, _output: Outputs) -> None:
        nonlocal inside
        if not told:
            raise UnsupportedModel(
                f"No attention could be seen in layer {layer} ({type(layers[layer]).__name__}): it calls neither a "
                "softmax over (rows, heads, queries, keys) nor scaled_dot_product_attention. Ask for "
                "detail=('layers',)."
            )
        inside = False

    def first(found: Attention) -> None:
        nonlocal told
        if inside and not told:
            told = True
            tell(found)

    with hooks.read(layers, leave, enter), Attending(first):
        yield


def measured(
    layers: Sequence[nn.Module], problem: Problem, detail: frozenset[str], goal: Goal | None = None
) -> list[Fields]:
    """For each row the fields of its Explanation that are measured at the input, for the row's own tokens.

    goal: what "attention_x_gradient" takes the gradient of.
    """
    own = cast(Tensor, problem.tokens)
    found: list[Fields] = [{} for _ in own]
    asked = detail & MEASURES.keys()
    if not asked:
        return found
    attentions: list[Attention] = []
    x = tuple(t.detach().requires_grad_() for t in problem.x)
    graph = forward_pass(x, {}) if "attention_x_gradient" in asked else torch.no_grad()
    with graph, attending(layers, attentions.append):
        outputs = problem.outputs(x)
        y = goal and problem.value(outputs, goal.select)
    every = [a.probabilities for a in attentions]
    grads = () if y is None or not y.requires_grad else torch.autograd.grad(y.sum(), every)
    for i, mine in enumerate(own):
        where = mine.nonzero().squeeze(1)
        p = torch.stack([a.probabilities.detach()[i][:, where][..., where] for a in attentions])
        measures: dict[str, Tensor] = {}
        if "attentions" in asked:
            found[i]["attentions"] = p.double().cpu().numpy()
        if "norms" in asked:
            measures |= _norms(attentions, p, i, where)
        if "rollout" in asked:
            measures["rollout"] = _rollout(p)
        if grads:
            g = torch.stack([g[i][:, where][..., where] for g in grads])
            measures["attention_x_gradient"] = p * g
        if measures:
            found[i]["measures"] = {k: v.double().cpu().numpy() for k, v in measures.items()}
    return found


def _rollout(p: Tensor) -> Tensor:
    """(layers, tokens, tokens): the product of (mean over heads + identity)/2 up to each layer."""
    eye = torch.eye(p.shape[-1], dtype=p.dtype, device=p.device)
    each = (p.mean(1) + eye) / 2
    rolled = [each[0]]
    for layer in each[1:]:
        rolled.append(layer @ rolled[-1])
    return torch.stack(rolled)


def _norms(attentions: Sequence[Attention], p: Tensor, row: int, where: Tensor) -> dict[str, Tensor]:
    """‖f(x)‖ (layers, heads, keys), ‖αf(x)‖ (layers, heads, queries, keys) and ‖Σαf(x)‖ (layers, queries, keys), where
    f(x) is what a head makes of a key: its value through its part of the output projection."""
    of, weighted, total = [], [], []
    for layer, found in enumerate(attentions):
        if found.values is None or found.projection is None:
            raise UnsupportedModel(
                f"The values or the output projection of the attention in layer {layer} could not be seen, so the "
                "norms of its vectors are unknown. Ask for detail=('attentions',)."
            )
        f = found.values.detach()[row][:, where] @ found.projection.to(found.values.dtype)  # (heads, keys, hidden)
        size = f.norm(dim=-1)
        of.append(size)
        weighted.append(p[layer] * size.unsqueeze(1))
        sums = [torch.einsum("hk,hkd->kd", p[layer][:, q], f).norm(dim=-1) for q in range(len(where))]
        total.append(torch.stack(sums))
    return {"norm_f": torch.stack(of), "norm_af": torch.stack(weighted), "norm_sum_af": torch.stack(total)}
