"""Rules for x·s with s = 1/σ(x), the product in every normalisation.

Such an s is huge where x is almost 0, as for a baseline of zeros. The change of the product,

    Δ(xs) = Δx·(θs + (1−θ)s0) + Δs·((1−θ)x + θx0)

can be split with any θ. All other products take the mean, θ = 1/2. Where s and s0 are far apart the two terms of the
mean are large and cancel, and θ = |s0|/(|s| + |s0|) keeps both terms as small as the change.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..nodes import Node, avg, is_fed

EXTREME = 8.0
"""A ratio of two 1/σ from which on their mean is too large to multiply with."""


def normalised(x: Tensor, x0: Tensor, s: Tensor, s0: Tensor, apart: bool = False) -> tuple[Tensor, Tensor]:
    """The multipliers of x and of s in x·s, where s = 1/σ of x: in most cases the means, avg(s, s0) and avg(x, x0).

    Where x is (almost) 0, a baseline of zeros, s is 1/√ε, and the means are so large that they cancel: token scores a
    thousand times the output and more with every layer. There, at a ratio beyond 8, the split of
    Δ(xs) = Δx·(θs + (1−θ)s0) + Δs·((1−θ)x + θx0)  is not taken at θ = 1/2 but at θ = |s0|/(|s| + |s0|), which is as
    exact and as symmetric, and small: for a positive s the harmonic mean 2·s·s0/(s + s0), and (xs + x0·s0)/(s + s0).

    apart: s is the product of an inverse and another factor. It may then be large for another reason than a small x, so
        the means are given up only where x is small as well.
    """
    to_x, to_s = avg(s, s0), avg(x, x0)
    if not _extreme(s, s0):
        return to_x, to_s
    size, size0 = s.abs(), s0.abs()
    more, less = size > EXTREME * size0, size0 > EXTREME * size
    if apart:
        more, less = more & (x0.abs() > EXTREME * x.abs()), less & (x.abs() > EXTREME * x0.abs())
    extreme = more | less
    theta, rest = size0 / (size + size0), size / (size + size0)  # 1 − θ would round the smaller one away
    return (
        torch.where(extreme, theta * s + rest * s0, to_x),
        torch.where(extreme, rest * x + theta * x0, to_s),
    )


def _extreme(s: Tensor, s0: Tensor) -> bool:
    """Whether one of them is EXTREME times the other anywhere."""
    if not s.numel():
        return False
    least, most = (s / s0).abs().aminmax()
    return not (most.item() <= EXTREME and least.item() >= 1 / EXTREME)  # a NaN is looked at value by value


_PASSING = frozenset(
    f"{name}Backward{i}"
    for name in """
        ToCopy View UnsafeView ReshapeAlias Unsqueeze Squeeze Expand Transpose T Permute Clone Alias Repeat Select Slice
        Index Neg Diag DiagEmbed Mul Div Clamp ClampMin ClampMax Minimum Maximum Sqrt Pow
    """.split()
    for i in range(5)
)
"""Operations whose result is an inverse where their input is one."""
_LOOKS = 16
"""How many nodes are looked at in search of an inverse, at most."""


def inverse(node: Node | None) -> str:
    """Whether a node's result is an inverse such as 1/σ: "whole", "factor" or "".

    "whole": the result is 1/v or another negative power, up to views, casts, constant factors and bounds. "factor": it
    is that times another factor that depends on the input. "": neither was found.
    """
    stack = [] if node is None else [(node, "whole", False)]
    for _ in range(_LOOKS):
        if not stack:
            return ""
        node, found, in_exp = stack.pop()
        name = node.name()
        fed = [to for to, _ in node.next_functions if to is not None]
        if name in ("RsqrtBackward0", "ReciprocalBackward0") or (in_exp and name == "LogBackward0"):
            return found
        if name == "PowBackward0" and isinstance(k := node._saved_exponent, (int, float)) and k < 0:
            return found
        if name == "DivBackward0" and is_fed(node, 1):
            return "factor" if is_fed(node, 0) else found
        if name in _PASSING or (name == "ExpBackward0" and not in_exp):
            product = name == "MulBackward0" and len(fed) > 1
            stack += [(to, "factor" if product else found, in_exp or name == "ExpBackward0") for to in fed]
    return ""


def normalised_product(
    a: Tensor, b: Tensor, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, of_a: bool
) -> tuple[Tensor, Tensor]:
    """The multipliers of the two factors of a matrix product x·y, of which one is an inverse, as `normalised`.

    a, b: the means of x and x0, and of y and y0, which are kept where the inverse is of one size for input and
        baseline.
    of_a: the inverse is x; else it is y. The size is compared for each index that the product sums over.
    """
    size, size0 = (
        (t.abs().amax(-2, keepdim=True) for t in (x, x0))
        if of_a
        else (t.abs().amax(-1, keepdim=True).mT for t in (y, y0))
    )
    if not _extreme(size, size0):
        return a, b
    extreme = (size > EXTREME * size0) | (size0 > EXTREME * size)
    theta, rest = size0 / (size + size0), size / (size + size0)
    mix = lambda p, q, u, v, mean, at: torch.where(at, p * u + q * v, mean)
    if of_a:
        return mix(theta, rest, x, x0, a, extreme), mix(rest.mT, theta.mT, y, y0, b, extreme.mT)
    return mix(rest, theta, x, x0, a, extreme), mix(theta.mT, rest.mT, y, y0, b, extreme.mT)
