"""Notes on the node of a `where` the value that its condition compares, as x in `where(x > 0, a, b)`.

The rule of `where` (`rules/where.py`) needs that value where the condition is another for the input than for the
baseline.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...torch_calls import Args, Value
from ..metadata import BRANCH
from ..nodes import Node

COMPARISONS = frozenset(
    f"{under}{name}{under}" for name in ("gt", "ge", "lt", "le", "eq", "ne") for under in ("", "__")
)

CONDITIONS = {
    "WhereBackward0": "_saved_condition",
    "MaskedFillBackward0": "_saved_mask",
    "MaskedFillBackward1": "_saved_mask",
}
"""The nodes of a choice, and under which name they keep the condition."""

Compared = dict[int, tuple[Tensor, Tensor]]
"""By its id, a condition and the value that it came from by a comparison with constants."""


def remember(compared: Compared, condition: Value, args: Args) -> None:
    """Notes the value that a comparison with constants was made of, by the comparison's result."""
    fed = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
    if isinstance(condition, Tensor) and len(fed) == 1 and fed[0].shape == condition.shape:
        compared[id(condition)] = condition, fed[0]


def note_choice(compared: Compared, out: Value, args: Args) -> None:
    """Notes on the node of a call of `where` or `masked_fill` the value that its condition compares, and the two
    values.

    Of the two values, the one that a true condition takes comes first.
    """
    known = [compared[id(a)] for a in args if id(a) in compared]
    values = [a for a in args if not (isinstance(a, Tensor) and a.dtype == torch.bool)]
    node: Node | None = getattr(out, "grad_fn", None)
    if len(known) == 1 and len(values) == 2 and node is not None and node.name() in CONDITIONS:
        values = values if node.name() == "WhereBackward0" else values[::-1]
        edge = torch.autograd.graph.get_gradient_edge(known[0][1])
        a, b = (torch.as_tensor(v, dtype=out.dtype, device=out.device).detach() for v in values)
        node.metadata[BRANCH] = edge.node, edge.output_nr, a, b
