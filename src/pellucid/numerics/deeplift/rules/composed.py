"""Rules for operations that are rebuilt from others that have rules, and for polynomials.

The node's saved inputs are enough to run the operation once more, as a function of PyTorch. Its multipliers then follow
from a walk through that function's own graph, or, for a polynomial, from its gradient at a few points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from ....errors import WITHOUT_GRADIENT, GraphMismatch
from ..lockstep import Grads, Multipliers, Rule, Step, walk
from ..nodes import Node, avg, is_fed, same, wide
from ..recording.recorder import forward_pass
from .linear import linear, with_constant_factor

Function: TypeAlias = Callable[..., Tensor | tuple[Tensor, ...]]
"""An operation as a function of its inputs."""
Values: TypeAlias = tuple[Tensor | None, ...]
"""The inputs of an operation; None for one that was not saved, and that the result does not depend on."""
Parts: TypeAlias = Callable[[Node], tuple[Function, Values]]
"""`node -> (f, inputs)`: the node's operation, and the inputs that it was run on."""


def composed(parts: Parts, rules: Callable[[], Mapping[str, Rule]], noted: Callable[[], Mapping[str, str]]) -> Rule:
    """The rule of an operation that is made of operations that have rules: a walk through its parts alone.

    parts: reads the operation and its inputs off the node.
    rules, noted: return the tables RULES and NOTED, which contain this rule and so are not there yet.
    """

    def rule(n: Node, n0: Node) -> Step:
        (f, values), (f0, values0) = parts(n), parts(n0)
        fed = [k for k in range(len(n.next_functions)) if is_fed(n, k)]
        check_constants(n, values, values0, fed)
        (ys, x), (ys0, x0) = _run(f, values, fed, noted()), _run(f0, values0, fed, noted())

        def through(g: Grads) -> Multipliers:
            which = [k for k, weight in enumerate(g) if weight is not None]
            y, y0 = (_joined([outs[k] for k in which]) for outs in (ys, ys0))
            weights = torch.cat([wide(g[k]).flatten() for k in which])
            m: list[Tensor | None] = [None] * len(n.next_functions)
            for k, value in zip(fed, walk([y], [y0], [weights], x, x0, rules())[0], strict=True):
                m[k] = value
            return tuple(m)

        return through

    return rule


def _run(
    f: Function, values: Values, fed: list[int], noted: Mapping[str, str]
) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """The outputs of f, and the leaves that they came from."""
    given = [None if v is None else wide(v.detach()) for v in values]
    leaves = [v.clone().requires_grad_() for k in fed if (v := given[k]) is not None]
    for k, leaf in zip(fed, leaves, strict=True):
        given[k] = leaf
    with forward_pass(leaves, noted):
        out = f(*given)
    return out if isinstance(out, tuple) else (out,), leaves


def _joined(outs: Sequence[Tensor]) -> Tensor:
    """Several outputs as one vector, which keeps their graphs."""
    with torch.enable_grad():
        return torch.cat([o.flatten() for o in outs])


def check_constants(n: Node, values: Values, values0: Values, fed: Sequence[int]) -> None:
    """Raises GraphMismatch where an input without a gradient differs between input and baseline all the same."""
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


def polynomial(parts: Parts, degree: Callable[[Node], int], factors: tuple[tuple[int, ...], ...] = ()) -> Rule:
    """The rule of a polynomial f: ∫ f'(x0 + t·Δx) dt, which Gauss–Legendre with degree/2 points computes exactly.

    For degree 2, a product, that is the derivative at the mean of x and x0.

    parts: reads f and its inputs off the node. degree: the degree of f.
    factors: groups of inputs, by their numbers, in each of which f is linear. Where only one group depends on the
        input, the operation is linear, and its multiplier is its gradient.
    """

    def rule(n: Node, n0: Node) -> Step:
        (f, values), (_, values0) = parts(n), parts(n0)
        fed = [k for k in range(len(n.next_functions)) if is_fed(n, k)]
        check_constants(n, values, values0, fed)
        if factors and sum(any(k in fed for k in group) for group in factors) < 2:
            return linear(n, n0, given=())
        ends = list(zip(values, values0, strict=True))

        def through(g: Grads) -> Multipliers:
            m: list[Tensor | None] = [None] * len(n.next_functions)
            for t, w in _gauss(degree(n)):
                at = [_between(a, b, t if k in fed else 1.0) for k, (a, b) in enumerate(ends)]
                for k, slope in zip(fed, _vjp(f, at, fed, wide(g[0])), strict=True):
                    m[k] = w * slope if (before := m[k]) is None else before.add_(slope, alpha=w)
            return tuple(m)

        return through

    return rule


def _between(a: Tensor | None, b: Tensor | None, t: float) -> Tensor | None:
    return a if a is None or b is None or t == 1 else torch.lerp(wide(b), wide(a), t)


def _vjp(f: Function, values: Sequence[Tensor | None], fed: list[int], g: Tensor) -> Sequence[Tensor]:
    """The gradients of Σ g·f at some of its inputs, by their numbers `fed`."""
    with torch.enable_grad():
        leaves = {k: cast(Tensor, values[k]).detach().requires_grad_() for k in fed}
        return torch.autograd.grad(f(*(leaves.get(k, v) for k, v in enumerate(values))), list(leaves.values()), g)


def product(f: Callable[[Node, Tensor, Tensor], Tensor], left: str, right: str, at: int = 0) -> Rule:
    """The rule of y = β·c + α·f(a, b), where f is linear in a and in b: its gradient at the means of a and b.

    left, right: the names of the saved attributes that hold a and b.
    at: the number of a among the operation's inputs; 1 where c comes first.
    """

    def rule(n: Node, n0: Node) -> Step:
        if step := with_constant_factor(n, n0, left, right, at):
            return step
        means = [avg(getattr(n, left), getattr(n0, left)), avg(getattr(n, right), getattr(n0, right))]

        def through(g: Grads) -> Multipliers:
            gy = wide(g[0])
            m = _vjp(lambda a, b: f(n, a, b), means, [0, 1], gy * getattr(n, "_saved_alpha", 1))
            return *((gy * getattr(n, "_saved_beta", 1),) if at else ()), *m

        return through

    return rule
