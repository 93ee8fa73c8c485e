"""Rules for linear operations (sums, views, look-ups) and for products, which are linear in each factor.

A linear operation's multiplier is its gradient. A product's change is split evenly between its two factors:
Δ(a·b) = Δa·avg(b, b0) + Δb·avg(a, a0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ....errors import WITHOUT_GRADIENT, GraphMismatch, UnsupportedOperation
from ..lockstep import Grads, Multipliers, Rule, Step
from ..metadata import CALL, IN_PLACE
from ..nodes import Node, avg, constants, is_fed, same, wide
from .inverses import inverse, normalised, normalised_product

Backward: TypeAlias = Callable[[Node, Grads], Multipliers]
"""`(node, multipliers of its outputs) -> multipliers of its inputs`, for a linear operation."""


def gradients(n: Node, g: Grads) -> Multipliers:
    """The gradients of a node's inputs from those of its outputs, always as a tuple."""
    m = n(*g)
    return m if isinstance(m, tuple) else (m,)


def linear(n: Node, n0: Node, given: tuple[str, ...] | None = None, backward: Backward = gradients) -> Step:
    """A linear operation: its gradient is its multiplier, provided that both passes used the same constants.

    given: the names of the saved attributes that hold the constants (a mask, an index, a weight); all of them where
        None. backward: what has the gradients. Raises GraphMismatch where the two passes differ in one.
    """
    for name in constants(n) if given is None else given:
        if not same(getattr(n, name), getattr(n0, name)):
            raise GraphMismatch(
                f"{n.name()} used a different {name.removeprefix('_saved_')!r} for the input than for the baseline. "
                "It depends on the input in a way that carries no gradient (a mask, an index or a detached value), so "
                "no attribution could add up. Choose a baseline that leads to the same one, or "
                f"{WITHOUT_GRADIENT}."
            )

    return lambda g: backward(n, g)


def unchanged(n: Node, g: Grads) -> Multipliers:
    """The multipliers as they arrive: of a node that hands on what it is given."""
    return g


def matrix_gradients(n: Node, g: Grads) -> Multipliers:
    """As `gradients`, of A·B (+ C). Where A alone has a gradient, a long g·Bᵀ is added up in parts."""
    gy = g[0]
    if gy.ndim != 2 or gy.shape[1] < _LONG or gy.dtype != torch.float32 or gy.device.type == "mps":  # has no float64
        return gradients(n, g)
    at = len(n.next_functions) - 2
    if [k for k in range(at + 2) if is_fed(n, k)] != [at]:
        return gradients(n, g)
    return *(None,) * at, _times_transposed(gy, n._saved_mat2) * getattr(n, "_saved_alpha", 1), None


_LONG = 1 << 14
"""So many products are added in parts. A vocabulary's are so many, and cancel: one sum in float32 depends on how many
rows share the operation, by 1e-5 of the scores."""
_PART = 1 << 9


def _times_transposed(g: Float[Tensor, "rows many"], b: Float[Tensor, "few many"]) -> Float[Tensor, "rows few"]:
    """g·bᵀ, whose parts are added up in float64: all of it in float64 would convert a vocabulary for each target."""
    total = torch.zeros(len(g), len(b), dtype=torch.float64, device=g.device)
    for some, of_b in zip(g.split(_PART, -1), b.split(_PART, -1), strict=True):
        total += some @ of_b.mT
    return total.to(g.dtype)


def with_constant_factor(
    n: Node, n0: Node, left: str, right: str, at: int = 0, backward: Backward = gradients
) -> Step | None:
    """The step of a product in which at most one of the two factors depends on the input; None where both do.

    left, right: the names of the saved attributes that hold the factors.
    at: the number of the left factor among the operation's inputs. backward: as `linear`.
    """
    fed, fed_right = is_fed(n, at), is_fed(n, at + 1)
    if fed and fed_right:
        return None
    return linear(n, n0, (right,) if fed else (left,) if fed_right else (), backward)


_UNKNOWN = ("unknown", (), (), None)


def in_place(n: Node, n0: Node) -> Step:
    """An in-place operation on a view. The node does not tell which operation it was; the recorded call does, and has
    to be linear."""
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
    return linear(n, n0)


def dropout(n: Node, n0: Node) -> NoReturn:
    """Dropout has no rule: it sets units to zero at random, so no two passes are the same."""
    raise UnsupportedOperation(
        f"{n.name()} drops units at random, so no two passes are the same; expected a pass in evaluation mode. Call "
        ".eval() on a model in training mode; a call of dropout takes training=self.training, one of attention "
        "dropout_p=0.",
        n.name(),
    )


def mul(n: Node, n0: Node) -> Step:
    """y = a·b:  a gets g·avg(b, b0), and b gets g·avg(a, a0).

    Where one of them is the inverse of a size, as in a normalisation, the split is that of `inverses.normalised`.
    """
    if step := with_constant_factor(n, n0, "_saved_self", "_saved_other"):
        return step
    a, b = to_b, to_a = avg(n._saved_self, n0._saved_self), avg(n._saved_other, n0._saved_other)
    for k, (x, s) in enumerate((("_saved_self", "_saved_other"), ("_saved_other", "_saved_self"))):
        if of := inverse(n.next_functions[1 - k][0]):
            to = normalised(*(wide(getattr(m, name)) for name in (x, s) for m in (n, n0)), apart=of == "factor")
            to_a, to_b = to[k], to[1 - k]
            break
    return lambda g: (times(g[0], to_a, a), times(g[0], to_b, b))


def times(g: Tensor, factor: Tensor, to: Tensor) -> Tensor:
    """g·factor̄, the multiplier of an input like `to`, real where `to` is real.

    The conjugate follows autograd: a multiplier m of a complex z stands for the change Re Σ m̄·Δz.
    """
    m = g * factor.conj()
    return m.real if m.is_complex() and not to.is_complex() else m


def div(n: Node, n0: Node) -> Step:
    """y = a/b, as the product of a and 1/b, where Δ(1/b)/Δb = −1/(b·b0).

    b may be the size of a, so the product is split as `inverses.normalised` does.
    """
    if not is_fed(n, 1):
        return linear(n, n0, given=("_saved_other",))
    a, a0, s, s0 = wide(n._saved_self), wide(n0._saved_self), 1 / wide(n._saved_other), 1 / wide(n0._saved_other)
    to_a, to_s = normalised(a, a0, s, s0)
    to_b = to_s * s * s0
    return lambda g: (times(g[0], to_a, a) if is_fed(n, 0) else None, times(-g[0], to_b, s))


def matmul(left: str, right: str, at: int = 0) -> Rule:
    """Y = A·B (+ C):  A gets g·avg(B, B0)ᵀ, and B gets avg(A, A0)ᵀ·g.

    Where A or B is the inverse of a size, as in a normalisation, the split is that of `inverses.normalised_product`.

    left, right: the names of the saved attributes that hold A and B.
    at: the number of A among the operation's inputs; 1 where C comes first.
    """

    def rule(n: Node, n0: Node) -> Step:
        if step := with_constant_factor(n, n0, left, right, at, matrix_gradients):
            return step
        ends = [wide(getattr(m, name)) for name in (left, right) for m in (n, n0)]
        a, b = avg(*ends[:2]), avg(*ends[2:])
        of_a, of_b = (inverse(n.next_functions[k][0]) == "whole" for k in (at, at + 1))
        if of_a or of_b:
            a, b = normalised_product(a, b, *ends, of_a=of_a)

        def through(g: Grads) -> Multipliers:
            gy = wide(g[0]) * getattr(n, "_saved_alpha", 1)
            to_c = (wide(g[0]) * getattr(n, "_saved_beta", 1),) if at else ()
            return *to_c, gy @ b.mH, a.mH @ gy

        return through

    return rule


def solved(n: Node, n0: Node) -> Step:
    """The X of A·X = B (or X·A = B), A a triangular matrix:  avg(A, A0)·ΔX = ΔB − ΔA·avg(X, X0)."""
    if not is_fed(n, 0):
        return linear(n, n0, given=("_saved_self",))
    upper, left, one = n._saved_upper, n._saved_left, n._saved_unitriangular
    a, x = avg(n._saved_self, n0._saved_self), avg(n._saved_result, n0._saved_result)

    def through(g: Grads) -> Multipliers:
        to_b = torch.linalg.solve_triangular(a.mH, wide(g[0]), upper=not upper, left=left, unitriangular=one)
        to_a = -(to_b @ x.mH if left else x.mH @ to_b)
        return to_a.triu(int(one)) if upper else to_a.tril(-int(one)), to_b

    return through


def mv(n: Node, n0: Node) -> Step:
    """y = A·v, a matrix times a vector."""
    if step := with_constant_factor(n, n0, "_saved_self", "_saved_vec"):
        return step
    a, v = avg(n._saved_self, n0._saved_self), avg(n._saved_vec, n0._saved_vec)
    return lambda g: (torch.outer(g[0], v.conj()), a.mH @ g[0])


def dot(n: Node, n0: Node) -> Step:
    """y = a·b, the inner product of two vectors."""
    if step := with_constant_factor(n, n0, "_saved_self", "_saved_tensor"):
        return step
    a, b = avg(n._saved_self, n0._saved_self), avg(n._saved_tensor, n0._saved_tensor)
    return lambda g: (times(g[0], b, a), times(g[0], a, b))


def embedding(n: Node, n0: Node) -> Step:
    """y = rows of a table: a row of the table gets the sum of the multipliers of its copies.

    That holds for the padding row too, whose gradient PyTorch leaves out.
    """
    indices = n._saved_indices
    if not same(indices, n0._saved_indices):
        return linear(n, n0)

    def through(g: Grads) -> Multipliers:
        m = torch.zeros(n._saved_weight_sym_argsize_0, g[0].shape[-1], dtype=g[0].dtype, device=g[0].device)
        return (m.index_add_(0, indices.flatten(), g[0].reshape(-1, g[0].shape[-1])),)

    return through


def embedding_bag(n: Node, n0: Node) -> Step:
    """y = Σ w·(rows of a table), a product of the weights w and the table; or the rows' mean or maximum.

    The mean is linear in the table. So is the maximum, provided that both passes take it from the same rows.
    """
    choices = ("_saved_indices", "_saved_offsets", "_saved_result3")
    if not (is_fed(n, 0) and is_fed(n, 1)):
        factor = "_saved_per_sample_weights" if is_fed(n, 0) else "_saved_weight"
        return linear(n, n0, given=(*choices, factor))
    if not all(same(getattr(n, name), getattr(n0, name)) for name in choices):
        return linear(n, n0, given=choices)
    table, w = avg(n._saved_weight, n0._saved_weight), avg(n._saved_per_sample_weights, n0._saved_per_sample_weights)
    with torch.enable_grad():
        table, w = table.requires_grad_(), w.requires_grad_()
        skip = n._saved_padding_idx if n._saved_padding_idx < 2**63 else None
        y = torch.embedding_bag(table, n._saved_indices, n._saved_offsets, False, 0, False, w, False, skip)[0]
    return lambda g: torch.autograd.grad(y, (table, w), g[0], retain_graph=True)


def scatter_reduce(n: Node, n0: Node) -> Step:
    """The sum, or the mean, of the values that are scattered to the same place."""
    if n._saved_reduce not in ("sum", "mean"):
        raise UnsupportedOperation(
            f"scatter_reduce with {n._saved_reduce!r} has no rule; only sum and mean do.", n.name()
        )
    return linear(n, n0, given=("_saved_index", "_saved_reduce", "_saved_include_self"))


def where_finite(n: Node, n0: Node) -> Step:
    """Operations that replace NaN and infinity and keep all finite values, such as nan_to_num: linear in the finite
    values. Raises GraphMismatch where input and baseline are not finite at the same places."""
    if not torch.equal(torch.isfinite(n._saved_self), torch.isfinite(n0._saved_self)):
        raise GraphMismatch(f"{n.name()} replaces other elements of the input than of the baseline.")
    return linear(n, n0, given=())


def middle(n: Node, n0: Node) -> Step:
    """The median of all elements: a selection of one of them, linear as long as both passes select the same one."""
    if not torch.equal(n._saved_self == n._saved_result, n0._saved_self == n0._saved_result):
        raise GraphMismatch(
            "The median is another element in the input than in the baseline. Choose a baseline that leads to the "
            "same one, or method='integrated_gradients'."
        )
    return linear(n, n0, given=())


def sampled(n: Node, n0: Node) -> Step:
    """The values of an image at the points of a grid: linear in the image as long as the grid is a constant."""
    if is_fed(n, 1):
        raise UnsupportedOperation(
            f"The sampling grid of {n.name()} depends on the input, and where it samples jumps from pixel to pixel: "
            "no rule. Use method='integrated_gradients'.",
            n.name(),
        )
    return linear(n, n0, given=("_saved_grid",))


def addcmul(n: Node, n0: Node) -> Step:
    """y = c + value·a·b."""
    if step := with_constant_factor(n, n0, "_saved_tensor1", "_saved_tensor2", at=1):
        return step
    a, b = avg(n._saved_tensor1, n0._saved_tensor1), avg(n._saved_tensor2, n0._saved_tensor2)
    value = n._saved_value
    return lambda g: (g[0], times(g[0] * value, b, a), times(g[0] * value, a, b))
