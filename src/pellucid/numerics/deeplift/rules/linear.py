"""Linear operations, and products: linear in each factor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ....errors import WITHOUT_GRADIENT, GraphMismatch, UnsupportedOperation
from ..lockstep import Grads, Rule, Step, in_two_steps
from ..metadata import CALL, IN_PLACE
from ..nodes import avg, constants, is_fed, same, wide
from .inverses import inverse, normalised, normalised_product


@in_two_steps
def linear(n: Any, n0: Any, given: tuple[str, ...] | None = None) -> Step:
    """Linear given what was saved (masks, indices, weights): its gradient is its multiplier, if both saved the same."""
    for name in constants(n) if given is None else given:
        if not same(getattr(n, name), getattr(n0, name)):
            raise GraphMismatch(
                f"{n.name()} used a different {name.removeprefix('_saved_')!r} for the input than for the baseline. "
                "It depends on the input in a way that carries no gradient (a mask, an index or a detached value), so "
                "no attribution could add up. Choose a baseline that leads to the same one, or "
                f"{WITHOUT_GRADIENT}."
            )

    def through(g: Grads) -> Grads:
        m = n(*g)
        return m if isinstance(m, tuple) else (m,)

    return through


_UNKNOWN = ("unknown", (), (), None)


def in_place(n: Any, n0: Any, g: Grads) -> Grads:
    """An operation on a view, in place: the node hides which one it was, so the recorded call must be linear."""
    (call, args, fed, alpha), (call0, args0, _, alpha0) = (
        n.metadata.get(CALL, _UNKNOWN),
        n0.metadata.get(CALL, _UNKNOWN),
    )
    given = IN_PLACE.get(call, ())
    if call not in IN_PLACE or any(fed[i] for i in given):
        raise UnsupportedOperation(
            f"The in-place operation {call!r} on a view has no rule. Replace it by the operation that makes a new "
            "tensor.",
            f"CopySlices({call})",
        )
    if (call, alpha) != (call0, alpha0) or not all(same(args[i], args0[i]) for i in given):
        raise GraphMismatch(
            f"The in-place operation {call!r} on a view had other arguments (an index, a mask or a factor) for the "
            "input than for the baseline. They depend on the input in a way that carries no gradient, so no "
            "attribution could add up. Choose a baseline that leads to the same ones, or "
            f"{WITHOUT_GRADIENT}."
        )
    return linear(n, n0, g)


@in_two_steps
def dropout(n: Any, n0: Any) -> Step:
    """Refused: it drops units at random."""
    raise UnsupportedOperation(
        f"{n.name()} drops units at random, so no two passes are the same; expected a pass in evaluation mode. Call "
        ".eval() on a model in training mode; a call of dropout takes training=self.training, one of attention "
        "dropout_p=0.",
        n.name(),
    )


@in_two_steps
def mul(n: Any, n0: Any) -> Step:
    """y = a·b:  a gets g·avg(b, b0), b gets g·avg(a, a0); where one of them is an inverse, as `normalised`."""
    if not (is_fed(n, 0) and is_fed(n, 1)):
        return linear.begin(n, n0, given=("_saved_other",) if is_fed(n, 0) else ("_saved_self",))
    a, b = to_b, to_a = avg(n._saved_self, n0._saved_self), avg(n._saved_other, n0._saved_other)
    for k, (x, s) in enumerate((("_saved_self", "_saved_other"), ("_saved_other", "_saved_self"))):
        if of := inverse(n.next_functions[1 - k][0]):
            to = normalised(*(wide(getattr(m, name)) for name in (x, s) for m in (n, n0)), apart=of == "factor")
            to_a, to_b = to[k], to[1 - k]
            break
    return lambda g: (times(g[0], to_a, a), times(g[0], to_b, b))


def times(g: Tensor, factor: Tensor, to: Tensor) -> Tensor:
    """g·factor, for an input like `to`: of complex numbers the conjugate, and of what a real number gets the real part.

    A multiplier of a complex z is one for which the change is Re Σ m̄·Δz, as autograd has it.
    """
    m = g * factor.conj()
    return m.real if m.is_complex() and not to.is_complex() else m


def div(n: Any, n0: Any, g: Grads) -> Grads:
    """y = a·(1/b), with Δ(1/b)/Δb = −1/(b·b0) and the product as `normalised`: b may be the size of a."""
    if not is_fed(n, 1):
        return linear(n, n0, g, given=("_saved_other",))
    a, a0, s, s0 = wide(n._saved_self), wide(n0._saved_self), 1 / wide(n._saved_other), 1 / wide(n0._saved_other)
    to_a, to_s = normalised(a, a0, s, s0)
    return times(g[0], to_a, a) if is_fed(n, 0) else None, times(-g[0], to_s * s * s0, s)


def matmul(left: str, right: str, at: int = 0) -> Rule:
    """Y = A·B (+ C):  A gets g·avg(B, B0)ᵀ, B gets avg(A, A0)ᵀ·g; where one of them is an inverse, as `normalised`,
    with one split for all that goes through one place of what is summed over. `at` is the place of A among the inputs.
    """

    @in_two_steps
    def rule(n: Any, n0: Any) -> Step:
        if not (is_fed(n, at) and is_fed(n, at + 1)):
            given = () if not (is_fed(n, at) or is_fed(n, at + 1)) else (right if is_fed(n, at) else left,)
            return linear.begin(n, n0, given=given)
        ends = [wide(getattr(m, name)) for name in (left, right) for m in (n, n0)]
        a, b = avg(*ends[:2]), avg(*ends[2:])
        of_a, of_b = (inverse(n.next_functions[k][0]) == "whole" for k in (at, at + 1))
        if of_a or of_b:
            a, b = normalised_product(a, b, *ends, of_a=of_a)

        def through(g: Grads) -> Grads:
            gy = wide(g[0]) * getattr(n, "_saved_alpha", 1)
            to_c = (wide(g[0]) * getattr(n, "_saved_beta", 1),) if at else ()
            return *to_c, gy @ b.mH, a.mH @ gy

        return through

    return rule


def solved(n: Any, n0: Any, g: Grads) -> Grads:
    """A·X = B (or X·A = B), A a triangle:  avg(A, A0)·ΔX = ΔB − ΔA·avg(X, X0)."""
    if not is_fed(n, 0):
        return linear(n, n0, g, given=("_saved_self",))
    upper, left, one = n._saved_upper, n._saved_left, n._saved_unitriangular
    a, x = avg(n._saved_self, n0._saved_self), avg(n._saved_result, n0._saved_result)
    to_b = torch.linalg.solve_triangular(a.mH, wide(g[0]), upper=not upper, left=left, unitriangular=one)
    to_a = -(to_b @ x.mH if left else x.mH @ to_b)
    return to_a.triu(int(one)) if upper else to_a.tril(-int(one)), to_b


def mv(n: Any, n0: Any, g: Grads) -> Grads:
    """y = A·v."""
    if not (is_fed(n, 0) and is_fed(n, 1)):
        return linear(n, n0, g, given=("_saved_vec",) if is_fed(n, 0) else ("_saved_self",))
    a, v = avg(n._saved_self, n0._saved_self), avg(n._saved_vec, n0._saved_vec)
    return torch.outer(g[0], v.conj()), a.mH @ g[0]


def dot(n: Any, n0: Any, g: Grads) -> Grads:
    """y = a·b, two vectors."""
    if not (is_fed(n, 0) and is_fed(n, 1)):
        return linear(n, n0, g, given=("_saved_tensor",) if is_fed(n, 0) else ("_saved_self",))
    a, b = avg(n._saved_self, n0._saved_self), avg(n._saved_tensor, n0._saved_tensor)
    return times(g[0], b, a), times(g[0], a, b)


def embedding(n: Any, n0: Any, g: Grads) -> Grads:
    """y = rows of a table: a row gets what its copies get, the padding row too, whose gradient PyTorch leaves out."""
    if not same(n._saved_indices, n0._saved_indices):
        return linear(n, n0, g)
    m = torch.zeros(n._saved_weight_sym_argsize_0, g[0].shape[-1], dtype=g[0].dtype, device=g[0].device)
    return (m.index_add_(0, n._saved_indices.flatten(), g[0].reshape(-1, g[0].shape[-1])),)


def embedding_bag(n: Any, n0: Any, g: Grads) -> Grads:
    """y = Σ w·(rows of a table), linear in both; their mean; or their maximum, linear given who it is."""
    choices = ("_saved_indices", "_saved_offsets", "_saved_result3")
    if not (is_fed(n, 0) and is_fed(n, 1)):
        factor = "_saved_per_sample_weights" if is_fed(n, 0) else "_saved_weight"
        return linear(n, n0, g, given=(*choices, factor))
    if not all(same(getattr(n, name), getattr(n0, name)) for name in choices):
        return linear(n, n0, g, given=choices)
    table, w = avg(n._saved_weight, n0._saved_weight), avg(n._saved_per_sample_weights, n0._saved_per_sample_weights)
    with torch.enable_grad():
        table, w = table.requires_grad_(), w.requires_grad_()
        skip = n._saved_padding_idx if n._saved_padding_idx < 2**63 else None
        y = torch.embedding_bag(table, n._saved_indices, n._saved_offsets, False, 0, False, w, False, skip)[0]
        return torch.autograd.grad(y, (table, w), g[0])


def scatter_reduce(n: Any, n0: Any, g: Grads) -> Grads:
    """Sums and means of what is scattered to one place."""
    if n._saved_reduce not in ("sum", "mean"):
        raise UnsupportedOperation(
            f"scatter_reduce with {n._saved_reduce!r} has no rule; only sum and mean do.", n.name()
        )
    return linear(n, n0, g, given=("_saved_index", "_saved_reduce", "_saved_include_self"))


def where_finite(n: Any, n0: Any, g: Grads) -> Grads:
    """Linear where nothing is replaced that was finite: NaN and infinity, if any, must be at the same places."""
    if not torch.equal(torch.isfinite(n._saved_self), torch.isfinite(n0._saved_self)):
        raise GraphMismatch(f"{n.name()} replaces other elements of the input than of the baseline.")
    return linear(n, n0, g, given=())


def middle(n: Any, n0: Any, g: Grads) -> Grads:
    """The median of everything, linear given which element it is."""
    if not torch.equal(n._saved_self == n._saved_result, n0._saved_self == n0._saved_result):
        raise GraphMismatch(
            "The median is another element in the input than in the baseline. Choose a baseline that leads to the "
            "same one, or method='integrated_gradients'."
        )
    return linear(n, n0, g, given=())


def sampled(n: Any, n0: Any, g: Grads) -> Grads:
    """Values of an image at the places of a grid: linear given the grid."""
    if is_fed(n, 1):
        raise UnsupportedOperation(
            f"The sampling grid of {n.name()} depends on the input, and where it samples jumps from pixel to pixel: "
            "no rule. Use method='integrated_gradients'.",
            n.name(),
        )
    return linear(n, n0, g, given=("_saved_grid",))


def addcmul(n: Any, n0: Any, g: Grads) -> Grads:
    """y = c + value·a·b."""
    if not (is_fed(n, 1) and is_fed(n, 2)):
        return linear(n, n0, g, given=("_saved_tensor2",) if is_fed(n, 1) else ("_saved_tensor1",))
    a, b, gy = avg(n._saved_tensor1, n0._saved_tensor1), avg(n._saved_tensor2, n0._saved_tensor2), g[0] * n._saved_value
    return g[0], times(gy, b, a), times(gy, a, b)
