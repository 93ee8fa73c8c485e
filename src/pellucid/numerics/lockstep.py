"""Exact DeepLIFT: walk two autograd graphs together and carry multipliers instead of gradients.

A multiplier m of a node's input satisfies  Σ m·Δinput = Σ g·Δoutput  for the incoming multiplier g, where Δ is the
difference between the two forward passes (summation-to-delta; Shrikumar et al. 2017, 1704.02685). Rules that each
satisfy it compose to one that does, whatever lies between. This file knows no rule; `rules.py` knows nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from ..errors import CutGraph, GraphMismatch, UnsupportedOperation

Grads = tuple[Any, ...]
"""One tensor for each output (or input) of a node, None where nothing flows."""
Rule = Callable[[Any, Any, Grads], Grads]
"""`(node, its partner, multipliers of the outputs) -> multipliers of the inputs`."""

LEAF = "torch::autograd::AccumulateGrad"


def walk(
    y: Tensor, y0: Tensor, g: Tensor, x: Sequence[Tensor], x0: Sequence[Tensor], rules: Mapping[str, Rule]
) -> list[Tensor]:
    """The multipliers of `x` for the change `y - y0`, weighted by `g` (like `y`).

    `x` and `x0` are the leaves that the two forward passes started from. Raises UnsupportedOperation, GraphMismatch
    or CutGraph.
    """
    order = _pairs(y, y0, x, x0)
    arrived: dict[Any, list[Tensor | None]] = {node: [None] * len(node._input_metadata) for node, _ in order}
    found: dict[int, Tensor] = {}
    _arrive(arrived, torch.autograd.graph.get_gradient_edge(y), g)
    with torch.no_grad():
        for node, node0 in order:
            grads, name = tuple(arrived.pop(node)), node.name()
            if all(grad is None for grad in grads):
                continue
            if name == LEAF:
                found[id(node.variable)] = cast(Tensor, grads[0])
                continue
            if name not in rules:
                raise UnsupportedOperation(_no_rule(name), name)
            for edge, grad in zip(node.next_functions, rules[name](node, node0, grads), strict=True):
                if grad is not None and edge[0] in arrived:
                    _arrive(arrived, edge, grad)
    return [found[id(leaf)] if id(leaf) in found else torch.zeros_like(leaf) for leaf in x]


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


def _arrive(arrived: dict[Any, list[Tensor | None]], edge: Any, grad: Tensor) -> None:
    """Adds to what an output of a node has received, in that output's shape and type, as the autograd engine does."""
    node, k = edge[0], edge[1]
    meta = node._input_metadata[k]
    if grad.shape != meta.shape:
        grad = grad.sum_to_size(meta.shape)
    if grad.dtype != meta.dtype:
        grad = grad.to(meta.dtype)
    before = arrived[node][k]
    arrived[node][k] = grad if before is None else before + grad


def _pairs(y: Tensor, y0: Tensor, x: Sequence[Tensor], x0: Sequence[Tensor]) -> list[tuple[Any, Any]]:
    """The nodes between `y` and `x` with their partners in the baseline's graph, each before those it feeds on."""
    leaves = {id(leaf): id(leaf0) for leaf, leaf0 in zip(x, x0, strict=True)}
    root: Any = torch.autograd.graph.get_gradient_edge(y).node
    partner: dict[Any, Any] = {root: torch.autograd.graph.get_gradient_edge(y0).node}
    reaches: dict[Any, bool] = {}
    finished: list[Any] = []
    stack = [(root, _edges(root, partner[root]))]
    while stack:  # depth first, without recursion: a graph may be thousands of nodes deep
        node, edges = stack[-1]
        edge = next(edges, None)
        if edge is None:
            stack.pop()
            if node.name() == LEAF:
                reaches[node] = id(node.variable) in leaves
                if reaches[node] and leaves[id(node.variable)] != id(partner[node].variable):
                    raise GraphMismatch(_differ(node, partner[node], "they start from different inputs"))
            else:
                reaches[node] = any(reaches[n] for n, _ in node.next_functions if n is not None)
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
