"""Exact DeepLIFT: walk two autograd graphs together and carry multipliers instead of gradients.

A multiplier m of a node's input satisfies  Σ m·Δinput = Σ g·Δoutput  for the incoming multiplier g, where Δ is the
difference between the two forward passes (summation-to-delta; Shrikumar et al. 2017, 1704.02685). Rules that each
satisfy it compose to one that does, whatever lies between. This file knows no rule; `rules/` knows nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from ...errors import WITHOUT_GRADIENT, CutGraph, GraphError, GraphMismatch, UnsupportedOperation
from .unsupported import OPAQUE

Grads = tuple[Any, ...]
"""One tensor for each output (or input) of a node, None where nothing flows."""
Arrived = list[Tensor | None]
Rule = Callable[[Any, Any, Grads], Grads]
"""`(node, its partner, multipliers of the outputs) -> multipliers of the inputs`."""
Step = Callable[[Grads], Grads]
"""`multipliers of the outputs -> multipliers of the inputs`: a rule between two nodes."""
Reached = Callable[[int, list[Tensor]], Sequence[Any]]
"""`(which tensor, its multiplier for each target) -> what to keep of each`."""

LEAF = "torch::autograd::AccumulateGrad"


def in_two_steps(begin: Callable[..., Step], at_once: Rule | None = None) -> Any:
    """A `Rule` written as `(node, its partner) -> (g -> m)`: a walk for several targets takes the first step once.

    at_once: both steps for one target, where they are faster together."""

    @wraps(begin)
    def rule(n: Any, n0: Any, g: Grads, **how: Any) -> Grads:
        return begin(n, n0, **how)(g) if at_once is None else at_once(n, n0, g)

    rule.begin = begin  # pyright: ignore[reportAttributeAccessIssue]
    return rule


def walk(
    y: Sequence[Tensor],
    y0: Sequence[Tensor],
    g: Sequence[Tensor],
    x: Sequence[Tensor],
    x0: Sequence[Tensor],
    rules: Mapping[str, Rule],
    inside: Sequence[Tensor] = (),
    reached: Reached = lambda which, multipliers: multipliers,
    halves: bool = False,
) -> list[list[Any]]:
    """For each target, the multipliers of `x`, and then of the tensors `inside`, for the change `y - y0`, weighted by
    `g` (like `y`).

    `y`, `y0` and `g` have an element for each target. `x` and `x0` are the leaves that the two forward passes started
    from; `inside` are tensors that the first pass computed on its way. Zeros for one that a target does not depend on.
    `reached` turns multipliers into what is kept of them, as soon as they are known. halves: one graph holds both
    passes (`y0` is `y`, `x0` is `x`), each in one half of the rows, and multipliers have the rows of a half; `rules`
    are those of `halves.py` then. Raises UnsupportedOperation, GraphMismatch or CutGraph.
    """
    edge_of = torch.autograd.graph.get_gradient_edge
    tensors = (*x, *inside)
    roots = [edge_of(t) for t in y]
    leaves = {edge_of(t).node: edge_of(t0).node for t, t0 in zip(x, x0, strict=True)}
    order = _pairs([(root.node, edge_of(t0).node) for root, t0 in zip(roots, y0, strict=True)], leaves)
    shape_of = _half_of if halves else tuple
    metas = {node: [(shape_of(meta.shape), meta.dtype) for meta in node._input_metadata] for node, _ in order}
    arrived: dict[Any, list[Arrived]] = {node: [[None] * len(meta) for _ in y] for node, meta in metas.items()}
    wanted: dict[Any, list[tuple[int, int]]] = {}
    for k, t in enumerate(tensors):
        if t.requires_grad and (edge := edge_of(t)).node in arrived:
            wanted.setdefault(edge.node, []).append((k, edge.output_nr))
    found: dict[int, Sequence[Any]] = {}
    zeros = lambda k: tensors[k].new_zeros(shape_of(tensors[k].shape) or ())
    with torch.no_grad():
        for k, (root, weight) in enumerate(zip(roots, g, strict=True)):
            _arrive(arrived[root.node][k], metas[root.node], root.output_nr, weight)
        for node, node0 in order:
            each, name = arrived.pop(node), node.name()
            for k, nr in wanted.get(node, ()):
                found[k] = reached(k, [zeros(k) if (m := grads[nr]) is None else m for grads in each])
            some = [(k, tuple(grads)) for k, grads in enumerate(each) if any(grad is not None for grad in grads)]
            if name == LEAF or not some:
                continue
            if name not in rules:
                raise UnsupportedOperation(OPAQUE.get(name) or _no_rule(name), name)
            feeds, through = node.next_functions, _through(rules[name], node, node0, [grads for _, grads in some])
            for (k, _), multipliers in zip(some, through, strict=True):
                for (to, nr), grad in zip(feeds, multipliers, strict=True):
                    if grad is not None and to in arrived:
                        _arrive(arrived[to][k], metas[to], nr, grad)
        for k in range(len(tensors)):
            if k not in found:
                found[k] = reached(k, [zeros(k) for _ in y])
    return [[found[i][k] for i in range(len(tensors))] for k in range(len(y))]


def _through(rule: Any, node: Any, node0: Any, gs: Sequence[Grads]) -> Iterable[Grads]:
    """Each target's multipliers, through a rule that begins once for all of them."""
    if len(gs) == 1 or not hasattr(rule, "begin"):
        return (rule(node, node0, g) for g in gs)
    return map(rule.begin(node, node0), gs)


class NotHalved(GraphError):
    """One graph of both passes in which what belongs to one may not be told from the other. It never reaches a user."""


def _half_of(shape: Sequence[int]) -> tuple[int, ...] | None:
    return None if not shape or shape[0] % 2 else (shape[0] // 2, *shape[1:])


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


def _arrive(grads: Arrived, metas: Sequence[tuple[tuple[int, ...] | None, Any]], nr: int, grad: Tensor) -> None:
    """Adds to what an output of a node has received, in that output's shape and type, as the autograd engine does."""
    shape, dtype = metas[nr]
    if grad.shape != shape:
        if shape is None:
            raise NotHalved("A tensor between input and output has no halves.")
        grad = grad.sum_to_size(shape)
    if grad.dtype != dtype:
        grad = grad.to(dtype)
    before = grads[nr]
    grads[nr] = grad if before is None else before + grad


def _pairs(roots: Iterable[tuple[Any, Any]], leaves: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """The nodes between the roots and the leaves with their partners in the baseline's graph, each before those it
    feeds on."""
    partner: dict[Any, Any] = {}
    reaches: dict[Any, bool] = {}
    finished: list[Any] = []
    for root, root0 in roots:
        if root not in partner:
            partner[root] = root0
            _finish(root, partner, reaches, finished, leaves)
        elif partner[root] is not root0:
            raise GraphMismatch(_differ(root, root0, "the same value is used at different places"))
        if not reaches[root]:
            raise CutGraph(
                "The output does not depend on the input through autograd: its graph never reaches the input. "
                "Check that the forward function uses the tensor it is given, and does not detach it."
            )
    return finished[::-1]


def _finish(
    root: Any, partner: dict[Any, Any], reaches: dict[Any, bool], finished: list[Any], leaves: Mapping[Any, Any]
) -> None:
    """Adds the nodes from the root on that reach a leaf, each after those it feeds on, and all of their partners."""
    reaches[root] = root in leaves
    stack = [(root, _edges(root, partner[root]))]
    while stack:  # depth first, without recursion: a graph may be thousands of nodes deep
        node, edges = stack[-1]
        for n, n0 in edges:
            if n not in partner:
                partner[n], reaches[n] = n0, n in leaves
                stack.append((n, _edges(n, n0)))
                break
            if partner[n] is not n0:
                raise GraphMismatch(_differ(n, n0, "the same value is used at different places"))
            reaches[node] = reaches[node] or reaches[n]
        else:
            stack.pop()
            if node in leaves and leaves[node] is not partner[node]:
                raise GraphMismatch(_differ(node, partner[node], "they start from different inputs"))
            if reaches[node]:
                finished.append((node, partner[node]))
                if stack:
                    reaches[stack[-1][0]] = True


def _edges(node: Any, node0: Any) -> Iterator[tuple[Any, Any]]:
    feeds = node.next_functions
    if node is node0:
        return iter([(n, n) for n, _ in feeds if n is not None])
    feeds0 = node0.next_functions
    if node.name() != node0.name() or len(feeds) != len(feeds0):
        raise GraphMismatch(_differ(node, node0, "the operations are not the same"))
    for (n, k), (n0, k0) in zip(feeds, feeds0, strict=True):
        if (n is None) != (n0 is None) or k != k0:
            raise GraphMismatch(_differ(node, node0, "one of them has an input that carries no gradient"))
    return iter([(n, n0) for (n, _), (n0, _) in zip(feeds, feeds0, strict=True) if n is not None])


def _differ(node: Any, node0: Any, why: str) -> str:
    return (
        f"The forward passes on the input and on the baseline differ ({node.name()} against {node0.name()}): {why}. "
        "DeepLIFT compares the two step by step, so the function must run the same operations on both. Choose a "
        f"baseline that takes the same branch, or use {WITHOUT_GRADIENT}."
    )


def _no_rule(name: str) -> str:
    return (
        f"DeepLIFT has no rule for the operation {name!r}, so its attribution would not add up. "
        "Use method='integrated_gradients', which needs no rules, or add a rule: "
        f"pellucid.extend.rule({name!r}, rule) (docs/idea.md shows how)."
    )
