"""y = φ(a, b), value by value, and losses: two arguments share the change as two players of a game would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ....errors import WITHOUT_GRADIENT, GraphMismatch
from ..lockstep import Grads, Rule
from ..nodes import avg, is_fed, same, wide
from .elementwise import Phi, kinked_secant
from .linear import linear

Phi2 = Callable[[Tensor, Tensor], Tensor]


def pairwise(phi_of: Callable[[Any], Phi2], names: tuple[str, str] = ("self", "other")) -> Rule:
    """a gets the mean of its quotients Δφ/Δa at b and at b0, and b of its own at a and at a0.

    That is what the two are worth as players of a game (Shapley 1953): the two shares sum to Δφ. For a·b it is the
    rule of a product. Where φ is infinite on the way of one of the two orders, the other is taken.
    """

    def rule(n: Any, n0: Any, g: Grads) -> Grads:
        values, values0 = ([getattr(m, f"_saved_{name}") for name in names] for m in (n, n0))
        fed = is_fed(n, 0), is_fed(n, 1)
        if any(v is None for v, it in zip(values, fed, strict=True) if it):
            return linear(n, n0, g)  # not kept, because the operation is linear in it
        for name, v, v0, it in zip(names, values, values0, fed, strict=True):
            if not it and not same(v, v0):
                raise GraphMismatch(
                    f"{n.name()} got another {name!r} for the input than for the baseline, although it carries no "
                    "gradient: no attribution could add up. Choose a baseline that leads to the same one, or "
                    f"{WITHOUT_GRADIENT}."
                )
        phi = phi_of(n)
        a, b, a0, b0 = torch.broadcast_tensors(*(wide(torch.as_tensor(t)) for t in (*values, *values0)))
        gy = unreduced(n, g[0], a.numel())
        to_a = lambda at: kinked_secant(lambda t: phi(t, at), a, a0)
        to_b = lambda at: kinked_secant(lambda t: phi(at, t), b, b0)
        m: list[Tensor | None] = [None] * len(n.next_functions)
        if fed == (True, True):
            orders = (to_a(b0), to_b(a)), (to_a(b), to_b(a0))  # a enters first, or b does
            m[:2] = [gy * mean for mean in _of_those_that_exist(*orders)]
        elif fed[0]:
            m[0] = gy * to_a(b)
        else:
            m[1] = gy * to_b(a)
        return tuple(m)

    return rule


def _of_those_that_exist(one: tuple[Tensor, Tensor], two: tuple[Tensor, Tensor]) -> list[Tensor]:
    """The means of the shares in two orders, or those of the one order on whose way φ is finite, as p·ln p is from 0
    if p enters last."""
    means = [avg(p, q) for p, q in zip(one, two, strict=True)]
    if all(torch.isfinite(t).all() for t in means):
        return means
    exists, exists2 = (torch.isfinite(p) & torch.isfinite(q) for p, q in (one, two))
    alone = lambda p, q, mean: torch.where(exists & ~exists2, p, torch.where(exists2 & ~exists, q, mean))
    return [alone(p, q, mean) for p, q, mean in zip(one, two, means, strict=True)]


def hypotenuse(n: Any, n0: Any, g: Grads) -> Grads:
    """y = √(a² + b²):  Δy = ((a + a0)·Δa + (b + b0)·Δb)/(y + y0), or nothing where both are 0."""
    size = wide(n._saved_result) + wide(n0._saved_result)
    gy = (wide(g[0]) / size).masked_fill_(size == 0, 0.0)
    to = lambda k, name: gy * (wide(getattr(n, name)) + wide(getattr(n0, name))) if is_fed(n, k) else None
    return to(0, "_saved_self"), to(1, "_saved_other")


def unreduced(n: Any, g: Tensor, count: int) -> Tensor:
    """The multiplier of every element, where a loss takes their mean (1), their sum (2), or leaves them (0)."""
    return g / count if getattr(n, "_saved_reduction", 0) == 1 else g


def of_difference(phi_of: Callable[[Any], Phi]) -> Rule:
    """y = φ(a − b):  Δφ/Δd of the difference d, which b gets with the other sign."""

    def rule(n: Any, n0: Any, g: Grads) -> Grads:
        d, d0 = (torch.sub(*torch.broadcast_tensors(wide(m._saved_self), wide(m._saved_target))) for m in (n, n0))
        m = unreduced(n, g[0], d.numel()) * kinked_secant(phi_of(n), d, d0)
        return m, (-m if is_fed(n, 1) else None)

    return rule


def mean_square(n: Any, n0: Any, g: Grads) -> Grads:
    """(a − b)²:  d + d0 of the difference d."""
    d, d0 = (torch.sub(wide(m._saved_self), wide(m._saved_target)) for m in (n, n0))
    m = unreduced(n, g[0], d.numel()) * (d + d0)
    return m, (-m if is_fed(n, 1) else None)


# ------------------------------------------------------------------------------------------------- their formulas


def cross_entropy_of(n: Any) -> Phi2:
    """−w·(t·ln p + (1 − t)·ln(1 − p)), with its logarithms cut at −100 as PyTorch does."""
    return lambda p, t: F.binary_cross_entropy(p, t, n._saved_weight, reduction="none")


def cross_entropy_with_logits_of(n: Any) -> Phi2:
    """w·((1 − t)·z + (1 + (v − 1)·t)·ln(1 + e⁻ᶻ)), v being the weight of the positive class."""
    weights = {"weight": n._saved_weight, "pos_weight": n._saved_pos_weight}
    return lambda z, t: F.binary_cross_entropy_with_logits(z, t, **weights, reduction="none")


def soft_margin(n: Any, n0: Any, g: Grads) -> Grads:
    """ln(1 + e^(−t·x))."""
    x, x0, t = wide(n._saved_self), wide(n0._saved_self), n._saved_target
    return (unreduced(n, g[0], x.numel()) * kinked_secant(lambda z: F.softplus(-t * z), x, x0),)


def huber_of(n: Any) -> Phi:
    """d²/2 up to δ, and δ·(|d| − δ/2) beyond."""
    delta = n._saved_delta
    return lambda d: torch.where(d.abs() <= delta, d * d / 2, delta * (d.abs() - delta / 2))


def smooth_l1_of(n: Any) -> Phi:
    """d²/2β up to β, and |d| − β/2 beyond."""
    beta = n._saved_beta
    return lambda d: torch.where(d.abs() < beta, d * d / (2 * beta), d.abs() - beta / 2)
