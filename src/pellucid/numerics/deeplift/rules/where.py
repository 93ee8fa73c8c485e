"""A choice between two values by a third that both are made of: one function of that third, written in pieces."""

from __future__ import annotations

from typing import Any

import torch

from ..lockstep import Grads
from ..metadata import BRANCH
from ..nodes import is_fed, same, wide
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


def chosen(n: Any, n0: Any, g: Grads) -> Grads:
    """y = a where x > t, and b elsewhere: linear in a and b where x and x0 are on the same side. The node of
    `masked_fill` has b before a.

    On different sides there is no telling what the change of a and what that of b did. But if both are functions of x,
    value by value, then so is y, and whatever they share Δy by, x gets Δy/Δx, as from any function with a kink: here
    Δy·(Δa, Δb)/(Δa² + Δb²), which is small. Raises GraphMismatch where a or b is made of anything else.
    """
    c, c0 = (getattr(m, CONDITIONS[n.name()]) for m in (n, n0))
    if same(c, c0) or not (_in_pieces(n) and _in_pieces(n0)):
        return linear(n, n0, g)
    (a, b), (a0, b0) = ([wide(v) for v in m.metadata[BRANCH][2:]] for m in (n, n0))
    da, db, gy = a - a0, b - b0, wide(g[0])
    dy = torch.where(c, a, b) - torch.where(c0, a0, b0)
    size = torch.maximum(da.abs(), db.abs()).expand_as(dy)
    flips, still = c != c0, size == 0
    filled = n.name() != "WhereBackward0"
    fed = [is_fed(n, k) for k in range(len(n.next_functions))]
    fed = [*fed, False][1::-1] if filled else fed
    constant = all(it or same(v, v0) for it, v, v0 in zip(fed, (a, b), (a0, b0), strict=True))
    if not constant or bool((flips & still & (dy != 0)).any()):
        return linear(n, n0, g)
    size = size.masked_fill(still, 1.0)
    u, v = da / size, db / size
    share = (dy / size / (u * u + v * v)).masked_fill(still, 0.0)
    to_a, to_b = (gy * torch.where(flips, share * w, own.to(gy)) for w, own in ((u, c), (v, ~c)))
    return (to_b, to_a)[: len(n.next_functions)] if filled else (to_a, to_b)


def _in_pieces(n: Any) -> bool:
    """Whether what a node chooses from is made of nothing but the value that decides, value by value."""
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
