"""The rule of `torch.where` and `masked_fill`, which take one of two values, a or b, by a condition.

Where the condition is the same for input and baseline, the operation is linear in a and b. Where it flips, a rule
exists
only if the condition, a and b are all computed from one value x, element by element: `where(x > 0, x, exp(x) - 1)` is a
function of x written in two pieces, and x gets Δy/Δx as from any function of one value.
"""

from __future__ import annotations

import torch

from ..lockstep import Grads, Multipliers, Step
from ..metadata import BRANCH
from ..nodes import Node, is_fed, same, wide
from ..recording.conditions import CONDITIONS
from .linear import linear

_ELEMENTWISE = frozenset(
    f"{name}Backward{i}"
    for name in """
        Add Sub Rsub Neg Mul Div Pow Minimum Maximum Where Clone ToCopy Abs Relu Exp Exp2 Expm1 Log Log1P Sqrt Rsqrt
        Reciprocal Sigmoid Tanh Silu Gelu Softplus LogSigmoid Erf Sin Cos Clamp ClampMin ClampMax LeakyRelu Elu
    """.split()
    for i in range(2)
)


def chosen(n: Node, n0: Node) -> Step:
    """y = a where x > t, and b elsewhere. The node of `masked_fill` has b before a.

    Where x and x0 are on the same side of t, the one of a and b that is taken gets g. On different sides the change of
    y cannot be told apart into what a and what b did. But if both are functions of x, element by element, then however
    a and b share Δy, what reaches x is Δy/Δx: here they share it as Δy·(Δa, Δb)/(Δa² + Δb²), which stays small. Raises
    GraphMismatch where a or b is computed from anything else.
    """
    c, c0 = (getattr(m, CONDITIONS[n.name()]) for m in (n, n0))
    if same(c, c0) or not (_in_pieces(n) and _in_pieces(n0)):
        return linear(n, n0)
    (a, b), (a0, b0) = ([wide(v) for v in m.metadata[BRANCH][2:]] for m in (n, n0))
    da, db = a - a0, b - b0
    dy = torch.where(c, a, b) - torch.where(c0, a0, b0)
    size = torch.maximum(da.abs(), db.abs()).expand_as(dy)
    flips, still = c != c0, size == 0
    filled = n.name() != "WhereBackward0"
    fed = [is_fed(n, k) for k in range(len(n.next_functions))]
    fed = [*fed, False][1::-1] if filled else fed
    constant = all(it or same(v, v0) for it, v, v0 in zip(fed, (a, b), (a0, b0), strict=True))
    if not constant or bool((flips & still & (dy != 0)).any()):
        return linear(n, n0)
    size = size.masked_fill(still, 1.0)
    u, v = da / size, db / size
    share = (dy / size / (u * u + v * v)).masked_fill(still, 0.0)
    m = [torch.where(flips, share * w, own.to(share)) for w, own in ((u, c), (v, ~c))]

    def through(g: Grads) -> Multipliers:
        to_a, to_b = (wide(g[0]) * each for each in m)
        return (to_b, to_a)[: len(n.next_functions)] if filled else (to_a, to_b)

    return through


def _in_pieces(n: Node) -> bool:
    """Whether both values that a node takes one of are computed from x alone, element by element, where x is the value
    that its condition compares."""
    decides, place = n.metadata.get(BRANCH, (None, 0))[:2]
    if decides is None:
        return False
    shape = decides._input_metadata[place].shape
    seen, stack = {n}, list(n.next_functions)
    while stack:
        node, k = stack.pop()
        if node is None or node in seen or (node is decides and k == place):
            continue
        if node.name() not in _ELEMENTWISE or list(node._input_metadata[k].shape) != list(shape):
            return False
        seen.add(node)
        stack.extend(node.next_functions)
    return True
