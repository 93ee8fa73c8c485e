"""Exact DeepLIFT: walk two autograd graphs together and carry multipliers instead of gradients.

A multiplier m of a node's input satisfies  Σ m·Δinput = Σ g·Δoutput  for the incoming multiplier g, where Δ is the
difference between the two forward passes (summation-to-delta; Shrikumar et al. 2017, 1704.02685). Rules that each
satisfy it compose to one that does, whatever lies between. This file knows no rule; `rules/` knows nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from ...errors import WITHOUT_GRADIENT, CutGraph, GraphError, GraphMismatch, UnsupportedOperation
from .nodes import Node
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
Meta: TypeAlias = tuple[tuple[int, ...] | None, torch.dtype]
"""The shape and type of one output of a node; the shape of a half is None where a tensor has no halves."""


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
    with torch.enable_grad():  # a leaf's node is found by a view of the leaf
        edges = _edges_of((*y, *tensors))
        roots, starts, seen = edges[: len(y)], edges[len(y) : -len(inside) or None], edges[len(y) + len(x) :]
        roots0, starts0 = (roots, starts) if halves else (_edges_of(y0), _edges_of(x0))
    leaves = {start: start0 for (start, _), (start0, _) in zip(starts, starts0, strict=True)}
    order = _pairs([(root, root0) for (root, _), (root0, _) in zip(roots, roots0, strict=True)], leaves)
    shape_of = halves.half if halves else tuple
    metas = {node: [(shape_of(meta.shape), meta.dtype) for meta in node._input_metadata] for node, _ in order}
    arrived: dict[Node, Arrived] = {node: {} for node in metas}
    wanted: dict[Node, list[tuple[int, int]]] = {}
    for k, (node, nr) in enumerate((*starts, *seen)):
        if node in metas:
            wanted.setdefault(node, []).append((k, nr))
    found: dict[int, Sequence[Tensor]] = {}
    zeros = lambda k: tensors[k].new_zeros(shape_of(tensors[k].shape) or ())
    with torch.set_grad_enabled(False):
        for t, ((root, nr), weight) in enumerate(zip(roots, g, strict=True)):
            _arrive(arrived[root], t, metas[root], nr, weight)
        for node, node0 in order:
            here = arrived.pop(node)
            for k, nr in wanted.get(node, ()):
                ms = [here[t][nr] if t in here else None for t in range(len(y))]
                found[k] = reached(k, [zeros(k) if m is None else m for m in ms])
            if not here or (name := node.name()) == LEAF:
                continue
            if name not in rules:
                raise UnsupportedOperation(OPAQUE.get(name) or _no_rule(name), name)
            feeds, step = node.next_functions, rules[name](node, node0)
            incoming = map(tuple, here.values())
            outgoing = step.through([*incoming]) if isinstance(step, JointStep) else map(step, incoming)
            for t, multipliers in zip(here, outgoing, strict=True):
                for (to, nr), m in zip(feeds, multipliers, strict=True):
                    if m is not None and to in arrived:
                        _arrive(arrived[to], t, metas[to], nr, m)
            del step, outgoing  # what they hold is freed before the next rule computes
        for k in range(len(tensors)):
            if k not in found:
                found[k] = reached(k, [zeros(k) for _ in y])
    return [[found[k][t] for k in range(len(tensors))] for t in range(len(y))]


def _edges_of(tensors: Sequence[Tensor]) -> list[tuple[Node, int]]:
    """For each tensor the node that computed it (for an input its leaf), and which output of the node it is."""
    return [(cast(Node, t.grad_fn or _leaf_of(t)), t.output_nr) for t in tensors]


def _leaf_of(t: Tensor) -> Node | None:
    """The node at which a leaf's graph begins: what a view of the leaf is made of. None without a gradient."""
    view = t.view_as(t).grad_fn
    return None if view is None else cast(Node | None, view.next_functions[0][0])


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
    seen = {cast(Node, t.grad_fn) for t in y if t.grad_fn is not None}
    stack = list(seen)
    while stack:
        for node, _ in stack.pop().next_functions:
            if node is not None and node not in seen:
                seen.add(node)
                stack.append(node)
    return seen


def _arrive(here: Arrived, target: int, metas: Sequence[Meta], nr: int, m: Tensor) -> None:
    """Adds to what an output of a node has received, in that output's shape and type, as the autograd engine does."""
    shape, dtype = metas[nr]
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


def _pairs(roots: Iterable[tuple[Node, Node]], leaves: Mapping[Node, Node]) -> list[tuple[Node, Node]]:
    """The nodes between the roots and the leaves with their partners in the baseline's graph, each before those it
    feeds on."""
    partner: dict[Node, Node] = {}
    reaches: dict[Node, bool] = {}
    finished: list[tuple[Node, Node]] = []
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
    root: Node,
    partner: dict[Node, Node],
    reaches: dict[Node, bool],
    finished: list[tuple[Node, Node]],
    leaves: Mapping[Node, Node],
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


def _edges(node: Node, node0: Node) -> Iterator[tuple[Node, Node]]:
    """The nodes that two partners feed on, in pairs. Raises GraphMismatch where the two are not the same operation."""
    feeds = node.next_functions
    if node is node0:
        return iter([(n, n) for n, _ in feeds if n is not None])
    feeds0 = node0.next_functions
    if node.name() != node0.name() or len(feeds) != len(feeds0):
        raise GraphMismatch(_differ(node, node0, "the operations are not the same"))
    found: list[tuple[Node, Node]] = []
    for (n, k), (n0, k0) in zip(feeds, feeds0, strict=True):
        if n is not None and n0 is not None and k == k0:
            found.append((n, n0))
        elif n is not n0 or k != k0:
            raise GraphMismatch(_differ(node, node0, "one of them has an input that carries no gradient"))
    return iter(found)


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
