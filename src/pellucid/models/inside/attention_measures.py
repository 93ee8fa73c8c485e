"""Attention measures (rollout, norms, attention × gradient): how a model attends. They explain no output.

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
from .own_sequences import Layout, by_sequence, in_blocks

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
def attending(layers: Sequence[nn.Module], tell: Callable[[int, Attention], None]) -> Iterator[None]:
    """Inside, `tell` is called with the number of a layer and the first attention in each call of it, in which the text
    attends to itself.

    Raises UnsupportedModel where a layer computes no attention that can be seen.
    """
    inside = told = False
    now = 0

    def enter(layer: int, _args: object) -> None:
        nonlocal inside, told, now
        inside, told, now = True, False, layer

    def leave(layer: int, _output: Outputs) -> None:
        nonlocal inside
        if not told:
            raise UnsupportedModel(
                f"No attention could be seen in layer {layer} ({type(layers[layer]).__name__}): it calls neither a "
                "softmax over (rows, heads, queries, keys) nor scaled_dot_product_attention. Leave out 'heads' and "
                f"{', '.join(map(repr, MEASURES))}."
            )
        inside = False

    def first(found: Attention) -> None:
        nonlocal told
        if inside and not told:
            told = True
            tell(now, found)

    with hooks.read(layers, leave, enter), Attending(first):
        yield


def measured(
    layers: Sequence[nn.Module],
    problem: Problem,
    detail: frozenset[str],
    layout: Layout,
    goal: Goal | None = None,
) -> list[Fields]:
    """For each row the fields of its Explanation that are measured at the input, for the row's own tokens.

    layout: how these stand in the network. goal: what "attention_x_gradient" takes the gradient of.
    """
    own = cast(Tensor, problem.tokens)
    found: list[Fields] = [{} for _ in own]
    asked = detail & MEASURES.keys()
    if not asked:
        return found
    calls: list[tuple[int, Attention]] = []
    x = tuple(t.detach().requires_grad_() for t in problem.x)
    graph = forward_pass(x, {}) if "attention_x_gradient" in asked else torch.no_grad()
    with graph, attending(layers, lambda layer, found: calls.append((layer, found))):
        outputs = problem.outputs(x)
        y = goal and problem.value(outputs, goal.select)
    names = ", ".join(map(repr, sorted(asked)))
    sequences = by_sequence(calls, layout, names)
    grads: list[list[Attention]] = []
    if y is not None and y.requires_grad:
        each = torch.autograd.grad(y.sum(), [a.probabilities for _, a in calls])
        slopes = [(layer, Attention(g)) for (layer, _), g in zip(calls, each, strict=True)]
        grads = by_sequence(slopes, layout, names)
    for i, mine in enumerate(own):
        wheres = [part.nonzero().squeeze(1) for part in mine.split(layout.widths)]
        p = _of_row(sequences, i, wheres)
        measures: dict[str, Tensor] = {}
        if "attentions" in asked:
            found[i]["attentions"] = p.double().cpu().numpy()
        if "norms" in asked:
            measures |= _norms(sequences, i, wheres)
        if "rollout" in asked:
            measures["rollout"] = _rollout(p)
        if grads:
            measures["attention_x_gradient"] = p * _of_row(grads, i, wheres)
        if measures:
            found[i]["measures"] = {k: v.double().cpu().numpy() for k, v in measures.items()}
    return found


def _of_row(sequences: Sequence[Sequence[Attention]], row: int, wheres: Sequence[Tensor]) -> Tensor:
    """(layers, heads, tokens, tokens): the probabilities among a row's own tokens. wheres: their places in each
    sequence."""
    own = lambda a, where: a.probabilities.detach()[row][:, where][..., where]
    return in_blocks(
        [torch.stack([own(a, where) for a in mine]) for mine, where in zip(sequences, wheres, strict=True)]
    )


def _rollout(p: Tensor) -> Tensor:
    """(layers, tokens, tokens): the product of (mean over heads + identity)/2 up to each layer."""
    eye = torch.eye(p.shape[-1], dtype=p.dtype, device=p.device)
    each = (p.mean(1) + eye) / 2
    rolled = [each[0]]
    for layer in each[1:]:
        rolled.append(layer @ rolled[-1])
    return torch.stack(rolled)


def _norms(sequences: Sequence[Sequence[Attention]], row: int, wheres: Sequence[Tensor]) -> dict[str, Tensor]:
    """‖f(x)‖ (layers, heads, keys), ‖αf(x)‖ (layers, heads, queries, keys) and ‖Σαf(x)‖ (layers, queries, keys), where
    f(x) is what a head makes of a key: its value through its part of the output projection."""
    each = [_norms_within(mine, row, where) for mine, where in zip(sequences, wheres, strict=True)]
    of, weighted, total = zip(*each, strict=True)
    return {"norm_f": torch.cat(of, -1), "norm_af": in_blocks(weighted), "norm_sum_af": in_blocks(total)}


def _norms_within(attentions: Sequence[Attention], row: int, where: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The norms among a row's own tokens of one sequence, as `_norms` has them."""
    of, weighted, total = [], [], []
    for layer, found in enumerate(attentions):
        if found.values is None or found.projection is None:
            raise UnsupportedModel(
                f"The values or the output projection of the attention in layer {layer} could not be seen, so the "
                "norms of its vectors are unknown. Ask for detail=('attentions',)."
            )
        p = found.probabilities.detach()[row][:, where][..., where]
        f = found.values.detach()[row][:, where] @ found.projection.to(found.values.dtype)  # (heads, keys, hidden)
        size = f.norm(dim=-1)
        of.append(size)
        weighted.append(p * size.unsqueeze(1))
        sums = [torch.einsum("hk,hkd->kd", p[:, q], f).norm(dim=-1) for q in range(len(where))]
        total.append(torch.stack(sums))
    return torch.stack(of), torch.stack(weighted), torch.stack(total)
