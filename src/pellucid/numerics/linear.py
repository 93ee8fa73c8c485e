"""Linear operations, and products: linear in each factor."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import GraphMismatch, UnsupportedOperation
from .lockstep import Grads, Rule
from .nodes import avg, constants, is_fed, same, wide
from .recording import CALL


def linear(n: Any, n0: Any, g: Grads, given: tuple[str, ...] | None = None) -> Grads:
    """Linear given what was saved (masks, indices, weights): its gradient is its multiplier, if both saved the same."""
    for name in constants(n) if given is None else given:
        if not same(getattr(n, name), getattr(n0, name)):
            raise GraphMismatch(
                f"{n.name()} used a different {name.removeprefix('_saved_')!r} for the input than for the baseline. "
                "It depends on the input in a way that carries no gradient (a mask, an index or a detached value), so "
                "no attribution could add up. Choose a baseline that leads to the same one, or "
                "method='integrated_gradients'."
            )
    m = n(*g)
    return m if isinstance(m, tuple) else (m,)


def in_place(n: Any, n0: Any, g: Grads) -> Grads:
    """An operation on a view, in place: the node hides which one it was, so the recorded call must be linear."""
    call = n.metadata.get(CALL, "unknown")
    if call not in ("__setitem__", "copy_", "add_", "sub_", "fill_", "zero_", "neg_", "masked_fill_"):
        raise UnsupportedOperation(
            f"The in-place operation {call!r} on a view has no rule. Replace it by the operation that makes a new "
            "tensor.",
            f"CopySlices({call})",
        )
    return linear(n, n0, g)


def frozen_statistics(n: Any, n0: Any, g: Grads) -> Grads:
    """Batch norm: affine in eval mode, where its statistics are constants (1502.03167)."""
    if n._saved_training:
        raise UnsupportedOperation(
            "Batch norm in training mode mixes the rows of a batch, so no row has an attribution of its own. "
            "Call .eval() on the model first.",
            n.name(),
        )
    return linear(n, n0, g, given=("_saved_weight", "_saved_running_mean", "_saved_running_var"))


def dropout(n: Any, n0: Any, g: Grads) -> Grads:
    raise UnsupportedOperation("The model drops units at random: it is in training mode. Call .eval() first.", n.name())


def mul(n: Any, n0: Any, g: Grads) -> Grads:
    """y = a·b:  a gets g·avg(b, b0), b gets g·avg(a, a0)."""
    if not (is_fed(n, 0) and is_fed(n, 1)):
        return linear(n, n0, g, given=("_saved_other",) if is_fed(n, 0) else ("_saved_self",))
    return g[0] * avg(n._saved_other, n0._saved_other), g[0] * avg(n._saved_self, n0._saved_self)


def div(n: Any, n0: Any, g: Grads) -> Grads:
    """y = a·(1/b), and Δ(1/b)/Δb = −1/(b·b0)."""
    if not is_fed(n, 1):
        return linear(n, n0, g, given=("_saved_other",))
    b, b0 = wide(n._saved_other), wide(n0._saved_other)
    to_a = g[0] * avg(1 / b, 1 / b0) if is_fed(n, 0) else None
    return to_a, -g[0] * avg(n._saved_self, n0._saved_self) / (b * b0)


def matmul(left: str, right: str, at: int = 0) -> Rule:
    """Y = A·B (+ C):  A gets g·avg(B, B0)ᵀ, B gets avg(A, A0)ᵀ·g. `at` is the place of A among the inputs."""

    def rule(n: Any, n0: Any, g: Grads) -> Grads:
        if not (is_fed(n, at) and is_fed(n, at + 1)):
            given = () if not (is_fed(n, at) or is_fed(n, at + 1)) else (right if is_fed(n, at) else left,)
            return linear(n, n0, g, given=given)
        gy = wide(g[0]) * getattr(n, "_saved_alpha", 1)
        a, b = avg(getattr(n, left), getattr(n0, left)), avg(getattr(n, right), getattr(n0, right))
        to_c = (wide(g[0]) * getattr(n, "_saved_beta", 1),) if at else ()
        return *to_c, gy @ b.mT, a.mT @ gy

    return rule


def mv(n: Any, n0: Any, g: Grads) -> Grads:
    """y = A·v."""
    if not (is_fed(n, 0) and is_fed(n, 1)):
        return linear(n, n0, g, given=("_saved_vec",) if is_fed(n, 0) else ("_saved_self",))
    a, v = avg(n._saved_self, n0._saved_self), avg(n._saved_vec, n0._saved_vec)
    return torch.outer(g[0], v), a.mT @ g[0]


def dot(n: Any, n0: Any, g: Grads) -> Grads:
    """y = a·b, two vectors."""
    if not (is_fed(n, 0) and is_fed(n, 1)):
        return linear(n, n0, g, given=("_saved_tensor",) if is_fed(n, 0) else ("_saved_self",))
    return g[0] * avg(n._saved_tensor, n0._saved_tensor), g[0] * avg(n._saved_self, n0._saved_self)


def addcmul(n: Any, n0: Any, g: Grads) -> Grads:
    """y = c + value·a·b."""
    if not (is_fed(n, 1) and is_fed(n, 2)):
        return linear(n, n0, g, given=("_saved_tensor2",) if is_fed(n, 1) else ("_saved_tensor1",))
    gy = g[0] * n._saved_value
    return g[0], gy * avg(n._saved_tensor2, n0._saved_tensor2), gy * avg(n._saved_tensor1, n0._saved_tensor1)
