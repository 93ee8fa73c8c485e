"""A choice between two values by a third that both are made of: one function of that third, written in pieces."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .linear import linear
from .lockstep import Grads
from .nodes import is_fed, same, wide
from .notes import BRANCH

COMPARISONS = frozenset(f"{under}{name}{under}" for name in ("gt", "ge", "lt", "le") for under in ("", "__"))

_ELEMENTWISE = frozenset(
    f"{name}Backward{i}"
    for name in """
        Add Sub Rsub Neg Mul Div Pow Minimum Maximum Where Clone ToCopy Abs Relu Exp Exp2 Expm1 Log Log1P Sqrt Rsqrt
        Reciprocal Sigmoid Tanh Silu Gelu Softplus LogSigmoid Erf Sin Cos Clamp ClampMin ClampMax LeakyRelu Elu
    """.split()
    for i in range(2)
)

Compared = dict[int, tuple[Tensor, Tensor]]
"""By its id, a condition and the value that it came from by a comparison with constants."""


def remember(compared: Compared, condition: Any, args: tuple[Any, ...]) -> None:
    """Notes which value a comparison was of."""
    fed = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
    if isinstance(condition, Tensor) and len(fed) == 1 and fed[0].shape == condition.shape:
        compared[id(condition)] = condition, fed[0]


def note_choice(compared: Compared, out: Any, args: tuple[Any, ...]) -> None:
    """Notes on the node of a call of `where` the value that decided, and the two that it chose from."""
    known = [compared[id(a)] for a in args if id(a) in compared]
    values = [a for a in args if not (isinstance(a, Tensor) and a.dtype == torch.bool)]
    node: Any = getattr(out, "grad_fn", None)
    if len(known) == 1 and len(values) == 2 and node is not None and node.name() == "WhereBackward0":
        edge = torch.autograd.graph.get_gradient_edge(known[0][1])
        a, b = (torch.as_tensor(v, device=out.device).detach() for v in values)
        node.metadata[BRANCH] = edge.node, edge.output_nr, a, b


def chosen(n: Any, n0: Any, g: Grads) -> Grads:
    """y = a where x > t, and b elsewhere: linear in a and b where x and x0 are on the same side.

    On different sides there is no telling what the change of a and what that of b did. But if both are functions of x,
    value by value, then so is y, and whatever they share Δy by, x gets Δy/Δx, as from any function with a kink: here
    Δy·(Δa, Δb)/(Δa² + Δb²), which is small. Raises GraphMismatch where a or b is made of anything else.
    """
    c, c0 = n._saved_condition, n0._saved_condition
    if same(c, c0) or not (_in_pieces(n) and _in_pieces(n0)):
        return linear(n, n0, g)
    (a, b), (a0, b0) = ([wide(v) for v in m.metadata[BRANCH][2:]] for m in (n, n0))
    da, db, gy = a - a0, b - b0, wide(g[0])
    dy = torch.where(c, a, b) - torch.where(c0, a0, b0)
    size = torch.maximum(da.abs(), db.abs()).expand_as(dy)
    flips, still = c != c0, size == 0
    constant = all(is_fed(n, k) or same(v, v0) for k, (v, v0) in enumerate(((a, a0), (b, b0))))
    if not constant or bool((flips & still & (dy != 0)).any()):
        return linear(n, n0, g)
    size = size.masked_fill(still, 1.0)
    u, v = da / size, db / size
    share = (dy / size / (u * u + v * v)).masked_fill(still, 0.0)
    return tuple(gy * torch.where(flips, share * w, own.to(gy)) for w, own in ((u, c), (v, ~c)))


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
