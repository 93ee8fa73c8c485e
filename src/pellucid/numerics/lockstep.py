"""Exact DeepLIFT: walk two autograd graphs together and carry multipliers instead of gradients.

A multiplier m of a node's input satisfies  Σ m·Δinput = Σ g·Δoutput  for the incoming multiplier g, where Δ is the
difference between the two forward passes (summation-to-delta; Shrikumar et al. 2017, 1704.02685). Rules that each
satisfy it compose to one that does, whatever lies between. This file knows no rule; `rules.py` knows nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import CutGraph, GraphMismatch, UnsupportedOperation
from .opaque import OPAQUE

Grads = tuple[Any, ...]
"""One tensor for each output (or input) of a node, None where nothing flows."""
Rule = Callable[[Any, Any, Grads], Grads]
"""`(node, its partner, multipliers of the outputs) -> multipliers of the inputs`."""

LEAF = "torch::autograd::AccumulateGrad"


def walk(
    y: Tensor,
    y0: Tensor,
    g: Tensor,
    x: Sequence[Tensor],
    x0: Sequence[Tensor],
    rules: Mapping[str, Rule],
    inside: Sequence[Tensor] = (),
) -> list[Tensor]:
    """The multipliers of `x`, and then of the tensors `inside`, for the change `y - y0`, weighted by `g` (like `y`).

    `x` and `x0` are the leaves that the two forward passes started from; `inside` are tensors that the first pass
    computed on its way. Zeros for one that `y` does not depend on. Raises UnsupportedOperation, GraphMismatch or
    CutGraph.
    """
    edge_of = torch.autograd.graph.get_gradient_edge
    edges: list[Any] = [edge_of(t) if t.requires_grad else None for t in (*x, *inside)]
    wanted = {edge.node for edge in edges if edge is not None}
    root = edge_of(y)
    order = _pairs(
        root.node, edge_of(y0).node, {edge_of(t).node: edge_of(t0).node for t, t0 in zip(x, x0, strict=True)}
    )
    metas = {node: node._input_metadata for node, _ in order}
    arrived: dict[Any, list[Tensor | None]] = {node: [None] * len(meta) for node, meta in metas.items()}
    found: dict[Any, Grads] = {}
    _arrive(arrived, metas, root, g)
    with torch.no_grad():
        for node, node0 in order:
            grads, name = tuple(arrived.pop(node)), node.name()
            if node in wanted:
                found[node] = grads
            if name == LEAF or all(grad is None for grad in grads):
                continue
            if name not in rules:
                raise UnsupportedOperation(OPAQUE.get(name) or _no_rule(name), name)
            for edge, grad in zip(node.next_functions, rules[name](node, node0, grads), strict=True):
                if grad is not None and edge[0] in arrived:
                    _arrive(arrived, metas, edge, grad)
    at = lambda edge: None if edge is None or edge.node not in found else found[edge.node][edge.output_nr]
    multipliers = [(at(edge), t) for edge, t in zip(edges, (*x, *inside), strict=True)]
    return [torch.zeros_like(t) if m is None else m for m, t in multipliers]


def operations(y: Tensor) -> frozenset[str]:
    """The autograd names of all operations that `y` was made by."""
    seen = {y.grad_fn}
    stack = [y.grad_fn]
    while stack:
        for node, _ in getattr(stack.pop(), "next_functions", ()):
            if node is not None and node not in seen:
                seen.add(node)
                stack.append(node)
    return frozenset(node.name() for node in seen if node is not None)


def _arrive(arrived: dict[Any, list[Tensor | None]], metas: Mapping[Any, Any], edge: Any, grad: Tensor) -> None:
    """Adds to what an output of a node has received, in that output's shape and type, as the autograd engine does."""
    node, k = edge[0], edge[1]
    meta = metas[node][k]
    if list(grad.shape) != meta.shape:
        grad = grad.sum_to_size(meta.shape)
    if grad.dtype != meta.dtype:
        grad = grad.to(meta.dtype)
    before = arrived[node][k]
    arrived[node][k] = grad if before is None else before + grad


def _pairs(root: Any, root0: Any, leaves: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """The nodes between the root and the leaves with their partners in the baseline's graph, each before those it feeds
    on."""
    partner: dict[Any, Any] = {root: root0}
    reaches: dict[Any, bool] = {}
    finished: list[Any] = []
    stack = [(root, _edges(root, root0))]
    while stack:  # depth first, without recursion: a graph may be thousands of nodes deep
        node, edges = stack[-1]
        edge = next(edges, None)
        if edge is None:
            stack.pop()
            reaches[node] = node in leaves or any(reaches[n] for n, _ in node.next_functions if n is not None)
            if node in leaves and leaves[node] is not partner[node]:
                raise GraphMismatch(_differ(node, partner[node], "they start from different inputs"))
            if reaches[node]:
                finished.append((node, partner[node]))
        elif edge[0] not in partner:
            partner[edge[0]] = edge[1]
            stack.append((edge[0], _edges(*edge)))
        elif partner[edge[0]] is not edge[1]:
            raise GraphMismatch(_differ(*edge, "the same value is used at different places"))
    if not reaches[root]:
        raise CutGraph(
            "The output does not depend on the input through autograd: its graph never reaches the input. "
            "Check that the forward function uses the tensor it is given, and does not detach it."
        )
    return finished[::-1]


def _edges(node: Any, node0: Any) -> Iterator[tuple[Any, Any]]:
    if node.name() != node0.name() or len(node.next_functions) != len(node0.next_functions):
        raise GraphMismatch(_differ(node, node0, "the operations are not the same"))
    for (n, k), (n0, k0) in zip(node.next_functions, node0.next_functions, strict=True):
        if (n is None) != (n0 is None) or k != k0:
            raise GraphMismatch(_differ(node, node0, "one of them has an input that carries no gradient"))
        if n is not None:
            yield n, n0


def _differ(node: Any, node0: Any, why: str) -> str:
    return (
        f"The forward passes on the input and on the baseline differ ({node.name()} against {node0.name()}): {why}. "
        "DeepLIFT compares the two step by step, so the function must run the same operations on both. Choose a "
        "baseline that takes the same branch, or use method='integrated_gradients', which needs one pass at a time."
    )


def _no_rule(name: str) -> str:
    return (
        f"DeepLIFT has no rule for the operation {name!r}, so its attribution would not add up. "
        "Use method='integrated_gradients', which needs no rules, or add one: pellucid.numerics.rules.RULES"
        f"[{name!r}] = rule (docs/idea.md shows how)."
    )
