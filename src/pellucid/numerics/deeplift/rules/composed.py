"""Operations that are others put together, or polynomials: their multipliers follow from what is known already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....errors import WITHOUT_GRADIENT, GraphMismatch
from ..lockstep import Grads, Rule, walk
from ..nodes import avg, is_fed, same, wide
from ..recording.recorder import forward_pass
from .linear import linear

Parts = Callable[[Any], tuple[Callable[..., Any], tuple[Tensor | None, ...]]]
"""A node as `f`, and the values of its inputs: None for one that was not kept, and that nothing depends on."""


def composed(parts: Parts, rules: Callable[[], Mapping[str, Rule]], noted: Callable[[], Mapping[str, str]]) -> Rule:
    """y = f(inputs), where f is made of operations that have rules: a walk through f alone, on the saved inputs."""

    def rule(n: Any, n0: Any, g: Grads) -> Grads:
        (f, values), (f0, values0) = parts(n), parts(n0)
        fed = [k for k in range(len(n.next_functions)) if is_fed(n, k)]
        check_constants(n, values, values0, fed)
        (y, x), (y0, x0) = _run(f, values, fed, g, noted()), _run(f0, values0, fed, g, noted())
        weights = torch.cat([wide(t).flatten() for t in g if t is not None])
        found = walk([y], [y0], [weights], x, x0, rules())[0]
        m: list[Tensor | None] = [None] * len(n.next_functions)
        for k, value in zip(fed, found, strict=True):
            m[k] = value
        return tuple(m)

    return rule


def _run(
    f: Callable[..., Any], values: tuple[Tensor | None, ...], fed: list[int], g: Grads, noted: Mapping[str, str]
) -> tuple[Tensor, list[Tensor]]:
    """f's outputs that g weighs, as one vector, and the leaves they came from."""
    given = [None if v is None else wide(v.detach()) for v in values]
    leaves = [v.clone().requires_grad_() for k in fed if (v := given[k]) is not None]
    for k, leaf in zip(fed, leaves, strict=True):
        given[k] = leaf
    with forward_pass(leaves, noted):
        out = f(*given)
        outs = out if isinstance(out, tuple) else (out,)
        kept = [o.flatten() for o, weight in zip(outs, g, strict=False) if weight is not None]
        return torch.cat(kept), leaves


def check_constants(n: Any, values: Sequence[Any], values0: Sequence[Any], fed: Sequence[int]) -> None:
    """Raises GraphMismatch where an input that carries no difference differs all the same."""
    for k, (a, b) in enumerate(zip(values, values0, strict=True)):
        if k not in fed and not same(a, b):
            raise GraphMismatch(
                f"{n.name()} got a different input {k} for the input than for the baseline, although it carries no "
                "gradient: no attribution could add up. Choose a baseline that leads to the same one, or "
                f"{WITHOUT_GRADIENT}."
            )


# ------------------------------------------------------------------------------------------------- polynomials


@cache
def _gauss(degree: int) -> tuple[tuple[float, float], ...]:
    """Gauss–Legendre nodes and weights on [0, 1] that integrate a polynomial of `degree` − 1 exactly."""
    nodes, weights = np.polynomial.legendre.leggauss(max(1, (degree + 1) // 2))
    return tuple(((1 + float(t)) / 2, float(w) / 2) for t, w in zip(nodes, weights, strict=True))


def polynomial(parts: Parts, degree: Callable[[Any], int], factors: tuple[tuple[int, ...], ...] = ()) -> Rule:
    """y = f(inputs), a polynomial: ∫ f'(x0 + t·Δx) dt, which Gauss–Legendre with degree/2 points computes exactly.

    For degree 2, a product, that is the derivative at the mean of x and x0. factors: groups of inputs in each of which
    f is linear, so that nothing is to be done where only one of them is fed.
    """

    def rule(n: Any, n0: Any, g: Grads) -> Grads:
        (f, values), (_, values0) = parts(n), parts(n0)
        fed = [k for k in range(len(n.next_functions)) if is_fed(n, k)]
        check_constants(n, values, values0, fed)
        if factors and sum(any(k in fed for k in group) for group in factors) < 2:
            return linear(n, n0, g, given=())
        m: list[Any] = [None] * len(n.next_functions)
        for t, w in _gauss(degree(n)):
            at = [_between(a, b, t if k in fed else 1.0) for k, (a, b) in enumerate(zip(values, values0, strict=True))]
            for k, slope in zip(fed, _vjp(f, at, fed, wide(g[0])), strict=True):
                m[k] = w * slope if m[k] is None else m[k].add_(slope, alpha=w)
        return tuple(m)

    return rule


def _between(a: Tensor | None, b: Tensor | None, t: float) -> Tensor | None:
    return a if a is None or b is None or t == 1 else torch.lerp(wide(b), wide(a), t)


def _vjp(f: Callable[..., Tensor], values: list[Any], fed: list[int], g: Tensor) -> Sequence[Tensor]:
    with torch.enable_grad():
        leaves = [values[k].detach().requires_grad_() for k in fed]
        for k, leaf in zip(fed, leaves, strict=True):
            values[k] = leaf
        return torch.autograd.grad(f(*values), leaves, g)


def product(f: Callable[[Any, Tensor, Tensor], Tensor], left: str, right: str, at: int = 0) -> Rule:
    """y = β·c + α·f(a, b), bilinear: f's derivative at the means of a and b. `at` is where a is among the inputs."""

    def rule(n: Any, n0: Any, g: Grads) -> Grads:
        if not (is_fed(n, at) and is_fed(n, at + 1)):
            given = () if not (is_fed(n, at) or is_fed(n, at + 1)) else (right if is_fed(n, at) else left,)
            return linear(n, n0, g, given=given)
        gy = wide(g[0])
        means = [avg(getattr(n, left), getattr(n0, left)), avg(getattr(n, right), getattr(n0, right))]
        m = _vjp(lambda a, b: f(n, a, b), means, [0, 1], gy * getattr(n, "_saved_alpha", 1))
        return *((gy * getattr(n, "_saved_beta", 1),) if at else ()), *m

    return rule
