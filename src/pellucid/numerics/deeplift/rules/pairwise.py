"""Rules for functions of two values, y = φ(a, b), such as atan2 or xlogy, and for losses.

The two arguments share the change Δy as two players share what they win together, by their Shapley values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from ....errors import WITHOUT_GRADIENT, GraphMismatch
from ..lockstep import Grads, Multipliers, Rule, Step
from ..nodes import Node, avg, is_fed, same, wide
from .elementwise import kinked_secant
from .linear import linear

Phi2: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A function of two values, applied to every pair of elements of two tensors."""


def pairwise(phi_of: Callable[[Node], Phi2], names: tuple[str, str] = ("self", "other")) -> Rule:
    """The rule of y = φ(a, b): a gets the mean of Δφ/Δa at b and at b0, and b the mean of Δφ/Δb at a and at a0.

    These are the Shapley values of the game in which a and b each stay at the baseline or go to the input (Shapley
    1953), so the two shares sum to Δφ. For a·b it is the rule of a product. Where φ is infinite in one of the two
    orders of going, the other order alone is taken.

    phi_of: makes φ from the node, which holds its constants.
    names: under which names the node saves a and b, without "_saved_".
    """

    def rule(n: Node, n0: Node) -> Step:
        values, values0 = ([getattr(m, f"_saved_{name}") for name in names] for m in (n, n0))
        fed = is_fed(n, 0), is_fed(n, 1)
        if any(v is None for v, it in zip(values, fed, strict=True) if it):
            return linear(n, n0)  # not saved, because the operation is linear in it
        for name, v, v0, it in zip(names, values, values0, fed, strict=True):
            if not it and not same(v, v0):
                raise GraphMismatch(
                    f"{n.name()} got another {name!r} for the input than for the baseline, although it carries no "
                    "gradient: no attribution could add up. Choose a baseline that leads to the same one, or "
                    f"{WITHOUT_GRADIENT}."
                )
        phi = phi_of(n)
        a, b, a0, b0 = torch.broadcast_tensors(*(wide(torch.as_tensor(t)) for t in (*values, *values0)))
        to_a = lambda at: kinked_secant(lambda t: phi(t, at), a, a0)
        to_b = lambda at: kinked_secant(lambda t: phi(at, t), b, b0)
        m: list[Tensor | None] = [None] * len(n.next_functions)
        if fed == (True, True):
            orders = (to_a(b0), to_b(a)), (to_a(b), to_b(a0))  # a enters first, or b does
            m[:2] = _of_those_that_exist(*orders)
        elif fed[0]:
            m[0] = to_a(b)
        else:
            m[1] = to_b(a)

        def through(g: Grads) -> Multipliers:
            gy = of_elements(n, g[0], a.numel())
            return tuple(None if each is None else gy * each for each in m)

        return through

    return rule


def _of_those_that_exist(one: tuple[Tensor, Tensor], two: tuple[Tensor, Tensor]) -> list[Tensor]:
    """The mean of the shares in two orders; where they are finite in one order only, the shares in that order.

    p·ln p, for example, is finite from p = 0 on only if the factor p goes to the input last.
    """
    means = [avg(p, q) for p, q in zip(one, two, strict=True)]
    if all(torch.isfinite(t).all() for t in means):
        return means
    exists, exists2 = (torch.isfinite(p) & torch.isfinite(q) for p, q in (one, two))
    alone = lambda p, q, mean: torch.where(exists & ~exists2, p, torch.where(exists2 & ~exists, q, mean))
    return [alone(p, q, mean) for p, q, mean in zip(one, two, means, strict=True)]


def hypotenuse(n: Node, n0: Node) -> Step:
    """y = √(a² + b²):  Δy = ((a + a0)·Δa + (b + b0)·Δb)/(y + y0), or 0 where both y are 0."""
    size = wide(n._saved_result) + wide(n0._saved_result)
    to = lambda name: ((wide(getattr(n, name)) + wide(getattr(n0, name))) / size).masked_fill_(size == 0, 0.0)
    m = [to(name) if is_fed(n, k) else None for k, name in enumerate(("_saved_self", "_saved_other"))]
    return lambda g: tuple(None if each is None else wide(g[0]) * each for each in m)


def of_elements(n: Node, g: Tensor, count: int) -> Tensor:
    """The multiplier of a loss's elements, from that of its result: the mean (1), the sum (2) or all (0) of them."""
    return g / count if getattr(n, "_saved_reduction", 0) == 1 else g


def of_difference(slope: Callable[[Node, Tensor, Tensor], Tensor]) -> Rule:
    """The rule of a loss φ(a − b):  a gets Δφ/Δd of the difference d = a − b, and b the same with the other sign.

    slope: `(node, d, d0) -> Δφ/Δd`.
    """

    def rule(n: Node, n0: Node) -> Step:
        d, d0 = (torch.sub(*torch.broadcast_tensors(wide(m._saved_self), wide(m._saved_target))) for m in (n, n0))
        quotient, negated = slope(n, d, d0), is_fed(n, 1)

        def through(g: Grads) -> Multipliers:
            m = of_elements(n, g[0], d.numel()) * quotient
            return m, (-m if negated else None)

        return through

    return rule


# ------------------------------------------------------------------------------------------------- losses, as φ


def cross_entropy_of(n: Node) -> Phi2:
    """−w·(t·ln p + (1 − t)·ln(1 − p)), with its logarithms cut at −100 as PyTorch does."""
    return lambda p, t: F.binary_cross_entropy(p, t, n._saved_weight, reduction="none")


def cross_entropy_with_logits_of(n: Node) -> Phi2:
    """w·((1 − t)·z + (1 + (v − 1)·t)·ln(1 + e⁻ᶻ)), v being the weight of the positive class."""
    weights = {"weight": n._saved_weight, "pos_weight": n._saved_pos_weight}
    return lambda z, t: F.binary_cross_entropy_with_logits(z, t, **weights, reduction="none")


def soft_margin(n: Node, n0: Node) -> Step:
    """y = ln(1 + e^(−t·x)), with a constant target t."""
    x, x0, t = wide(n._saved_self), wide(n0._saved_self), n._saved_target
    m = kinked_secant(lambda z: F.softplus(-t * z), x, x0)
    return lambda g: (of_elements(n, g[0], x.numel()) * m,)


def huber(n: Node, d: Tensor, d0: Tensor) -> Tensor:
    """φ(d) = d²/2 up to δ, and δ·(|d| − δ/2) beyond."""
    delta = n._saved_delta
    return kinked_secant(lambda d: torch.where(d.abs() <= delta, d * d / 2, delta * (d.abs() - delta / 2)), d, d0)


def smooth_l1(n: Node, d: Tensor, d0: Tensor) -> Tensor:
    """φ(d) = d²/2β up to β, and |d| − β/2 beyond."""
    beta = n._saved_beta
    return kinked_secant(lambda d: torch.where(d.abs() < beta, d * d / (2 * beta), d.abs() - beta / 2), d, d0)


def square(n: Node, d: Tensor, d0: Tensor) -> Tensor:
    """φ(d) = d², whose quotient is d + d0."""
    return d + d0
