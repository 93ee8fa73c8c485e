"""Exact DeepLIFT: walk two autograd graphs together and carry multipliers instead of gradients.

A multiplier m of a node's input satisfies  Σ m·Δinput = Σ g·Δoutput  for the incoming multiplier g, where Δ is the
difference between the two forward passes (summation-to-delta; Shrikumar et al. 2017, 1704.02685). Rules that each
satisfy it compose to one that does, whatever lies between. This file knows no rule; `rules/` knows nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from ...errors import WITHOUT_GRADIENT, CutGraph, GraphError, GraphMismatch, UnsupportedOperation
from .nodes import Node, node_of
from .pairs import Pairs
from .unsupported import OPAQUE

Grads: TypeAlias = tuple[Tensor, ...]
"""The multipliers of a node's outputs. Of a node with several outputs, None stands where nothing arrived."""
Multipliers: TypeAlias = tuple[Tensor | None, ...]
"""The multipliers of a node's inputs; None for an input that gets none."""
Step: TypeAlias = Callable[[Grads], Multipliers]
"""`multipliers of the outputs -> multipliers of the inputs`, between two nodes. The walk calls it once per
target, and a `JointStep` once for all of them."""
Rule: TypeAlias = Callable[[Node, Node], Step]
"""`(node, its partner in the baseline's graph) -> Step`: what all targets share is computed before the Step returns."""
Arrived: TypeAlias = dict[int, list[Any]]
"""For each target that reached a node, by number, the multipliers of its outputs as Grads, while they arrive."""
Reached: TypeAlias = Callable[[int, list[Tensor]], Sequence[Tensor]]
"""`(which tensor, its multiplier for each target) -> what to keep of each`."""
Edge: TypeAlias = tuple[Node, int]
"""A node, and the number of one of its outputs."""
Graph: TypeAlias = dict[Node, tuple[tuple[Node | None, int], ...]]
"""The nodes of a graph, each after those it feeds on, with the edges that it is fed by."""
ShapeOf: TypeAlias = Callable[[Sequence[int]], tuple[int, ...] | None]
"""`shape of a tensor -> shape of its multipliers`: that of a half; None where it has no halves."""


@dataclass(frozen=True)
class JointStep:
    """A Step that the walk calls once for all targets, for a rule that shares what is too large to be kept between two
    calls.

    through: `multipliers of the outputs, for each target -> multipliers of the inputs, for each target`.
    """

    through: Callable[[Sequence[Grads]], Iterable[Multipliers]]

    def __call__(self, g: Grads) -> Multipliers:
        (m,) = self.through([g])
        return m


LEAF = "torch::autograd::AccumulateGrad"
"""Autograd's name of the node at which a graph begins: an input."""


def walk(
    y: Sequence[Tensor],
    y0: Sequence[Tensor],
    g: Sequence[Tensor],
    x: Sequence[Tensor],
    x0: Sequence[Tensor],
    rules: Mapping[str, Rule],
    inside: Sequence[Tensor] = (),
    reached: Reached = lambda which, multipliers: multipliers,
    halves: Pairs | None = None,
) -> list[list[Tensor]]:
    """Returns, for each target, the multipliers of the inputs `x` and then of the tensors `inside`.

    y, y0, g: one element for each target: its values at the input and at the baseline, and the weights (like `y`) with
        which the change `y - y0` is explained.
    x, x0: the leaves that the two forward passes started from.
    rules: the rule of each operation, by autograd's name of its node.
    inside: tensors that the first forward pass computed on its way. One that a target does not depend on, like such an
        input, has multipliers of zero.
    reached: turns the multipliers of one tensor into what is kept of them, as soon as the walk has them all.
    halves: one graph holds both forward passes, as the two halves of a batch (`y0` is `y`, and `x0` is `x`), which are
        these rows. Multipliers then have the rows of a half, and `rules` are those of `paired_batch.py`.

    Raises UnsupportedOperation, GraphMismatch or CutGraph.
    """
    tensors = (*x, *inside)
    roots = _edges_of(y)
    graph = _ordered([root for root, _ in roots])
    leaf_of = {id(node.variable): node for node, feeds in graph.items() if not feeds and node.name() == LEAF}
    starts = [(leaf_of.get(id(t)) or node_of(t), t.output_nr) for t in tensors]
    begins = {leaf_of[id(t)]: t0 for t, t0 in zip(x, x0, strict=True) if id(t) in leaf_of}
    if halves:
        if len(begins) < len(leaf_of):
            raise NotHalved("The output depends on a leaf that is none of those that the walk goes to.")
        partner, order = {}, [*graph][::-1]
    else:
        partner, order = _partners(graph, roots, _edges_of(y0), begins), _between(graph, begins)[::-1]
        if not {root for root, _ in roots} <= {*order}:
            raise CutGraph(
                "The output does not depend on the input through autograd: its graph never reaches the input. "
                "Check that the forward function uses the tensor it is given, and does not detach it."
            )
    shape_of = halves.half if halves else tuple
    metas = {node: node._input_metadata for node in order}
    arrived: dict[Node, Arrived] = {node: {} for node in order}
    wanted: dict[Node, list[tuple[int, int]]] = {}
    for k, (node, nr) in enumerate(starts):
        if node in metas:
            wanted.setdefault(node, []).append((k, nr))
    found: dict[int, Sequence[Tensor]] = {}
    zeros = lambda k: tensors[k].new_zeros(shape_of(tensors[k].shape) or ())
    with torch.set_grad_enabled(False):
        for t, ((root, nr), weight) in enumerate(zip(roots, g, strict=True)):
            _arrive(arrived[root], t, metas[root], nr, weight, shape_of)
        for node in order:
            here = arrived.pop(node)
            for k, nr in wanted.get(node, ()):
                ms = [here[t][nr] if t in here else None for t in range(len(y))]
                found[k] = reached(k, [zeros(k) if m is None else m for m in ms])
            if not here or (name := node.name()) == LEAF:
                continue
            if name not in rules:
                raise UnsupportedOperation(OPAQUE.get(name) or _no_rule(name), name)
            feeds, step = graph[node], rules[name](node, partner.get(node, node))
            incoming = map(tuple, here.values())
            outgoing = step.through([*incoming]) if isinstance(step, JointStep) else map(step, incoming)
            for t, multipliers in zip(here, outgoing, strict=True):
                for (to, nr), m in zip(feeds, multipliers, strict=True):
                    if m is not None and to in arrived:
                        _arrive(arrived[to], t, metas[to], nr, m, shape_of)
            del step, outgoing  # what they hold is freed before the next rule computes
        for k in range(len(tensors)):
            if k not in found:
                found[k] = reached(k, [zeros(k) for _ in y])
    return [[found[k][t] for k in range(len(tensors))] for t in range(len(y))]


def _edges_of(tensors: Sequence[Tensor]) -> list[Edge]:
    """For each tensor the node that computed it (for a leaf its own), and which output of the node it is."""
    return [(node_of(t) or _leaf_of(t), t.output_nr) for t in tensors]


def _leaf_of(t: Tensor) -> Node:
    """The node at which a leaf's graph begins: what a view of the leaf is made of."""
    with torch.enable_grad():
        return cast(Node, t.view_as(t).grad_fn).next_functions[0][0]  # pyright: ignore[reportReturnType]


class NotHalved(GraphError):
    """A paired batch in which the rows of the input cannot be told from those of the baseline. It never reaches a user:
    the two forward passes then run one by one."""


def depends_on(y: Sequence[Tensor], leaves: Sequence[Tensor]) -> list[int]:
    """Which of the leaves, by number, the tensors `y` were computed from."""
    begins = [*y, *(node.variable for node in graph_of(*y) if node.name() == LEAF)]
    own = set(map(id, begins))
    return [k for k, leaf in enumerate(leaves) if id(leaf) in own]


def operations(y: Tensor) -> frozenset[str]:
    """The autograd names of all operations that `y` was made by."""
    return frozenset(node.name() for node in graph_of(y))


def graph_of(*y: Tensor) -> set[Node]:
    """All nodes of the autograd graph of the tensors `y`, and of those that are leaves none."""
    seen = {node for t in y if (node := node_of(t)) is not None}
    stack = [*seen]
    while stack:
        for node, _ in stack.pop().next_functions:
            if node is not None and node not in seen:
                seen.add(node)
                stack.append(node)
    return seen


def _ordered(roots: Sequence[Node]) -> Graph:
    """As `graph_of`, from the nodes that the graph ends at; each node after those it feeds on."""
    graph: Graph = {}
    met: Graph = {}
    stack = [*roots[::-1]]
    while stack:  # depth first, without recursion: a graph may be thousands of nodes deep
        node = stack[-1]
        if node in met:
            graph.setdefault(node, met[node])
            stack.pop()
            continue
        met[node] = feeds = node.next_functions
        for n, _ in reversed(feeds):
            if n is not None and n not in met:
                stack.append(n)
    return graph


def _between(graph: Graph, begins: Container[Node]) -> list[Node]:
    """The nodes of a graph that are computed from those at which it begins, and these, in order."""
    found: dict[Node, None] = {}
    for node, feeds in graph.items():
        if node in begins or any([n in found for n, _ in feeds]):
            found[node] = None
    return [*found]


def _arrive(here: Arrived, target: int, metas: Sequence[Any], nr: int, m: Tensor, shape_of: ShapeOf) -> None:
    """Adds to what an output of a node has received, in that output's shape and type, as the autograd engine does."""
    meta = metas[nr]
    shape, dtype = shape_of(meta.shape), meta.dtype
    if m.shape != shape:
        if shape is None:
            raise NotHalved("A tensor between input and output has no halves.")
        m = m.sum_to_size(shape)
    if m.dtype != dtype:
        m = m.to(dtype)
    grads = here.get(target)
    if grads is None:
        grads = here[target] = [None] * len(metas)
    before = grads[nr]
    grads[nr] = m if before is None else before + m


def _partners(
    graph: Graph, roots: Sequence[Edge], roots0: Sequence[Edge], begins: Mapping[Node, Tensor]
) -> dict[Node, Node]:
    """For each node of a graph its partner in the baseline's graph. Raises GraphMismatch where the two graphs are not
    the same operations.

    begins: for each node at which the input's graph begins the leaf of the baseline's.
    """
    partner: dict[Node, Node] = {}

    def pair(node: Node, node0: Node) -> None:
        if partner.setdefault(node, node0) is not node0:
            raise GraphMismatch(_differ(node, node0, "the same value is used at different places"))

    for (root, _), (root0, _) in zip(roots, roots0, strict=True):
        pair(root, root0)
    for node in reversed(graph):
        node0, feeds = partner[node], graph[node]
        feeds0 = node0.next_functions
        if node.name() != node0.name() or len(feeds) != len(feeds0):
            raise GraphMismatch(_differ(node, node0, "the operations are not the same"))
        if node in begins and node0.variable is not begins[node]:
            raise GraphMismatch(_differ(node, node0, "they start from different inputs"))
        for (n, k), (n0, k0) in zip(feeds, feeds0, strict=True):
            if n is not None and n0 is not None and k == k0:
                pair(n, n0)
            elif n is not n0 or k != k0:
                raise GraphMismatch(_differ(node, node0, "one of them has an input that carries no gradient"))
    return partner


def _differ(node: Node, node0: Node, why: str) -> str:
    return (
        f"The forward passes on the input and on the baseline differ ({node.name()} against {node0.name()}): {why}. "
        "DeepLIFT compares the two step by step, so the function must run the same operations on both. Choose a "
        f"baseline that takes the same branch, or use {WITHOUT_GRADIENT}."
    )


def _no_rule(name: str) -> str:
    return (
        f"DeepLIFT has no rule for the operation {name!r}, so its attribution would not add up. "
        "Use method='integrated_gradients', which needs no rules, or add a rule: "
        f"pellucid.extend.rule({name!r}, rule) (help(pellucid.extend) shows how)."
    )
