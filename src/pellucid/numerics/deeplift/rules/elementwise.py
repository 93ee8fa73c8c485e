"""Rules for functions of one value, y = φ(x), such as GELU, tanh or a logarithm.

The multiplier is the quotient Δy/Δx. The work is to compute it without cancellation where Δx is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

import torch
from jaxtyping import Shaped
from torch import Tensor

from ....errors import UnsupportedOperation
from ..lockstep import Rule, Step
from ..nodes import Node, input_of, inputs_of, real, result_of, wide
from .block_sizes import at_once

_GAUSS3 = ((0.5 - 0.15**0.5, 5 / 18), (0.5, 8 / 18), (0.5 + 0.15**0.5, 5 / 18))  # on [0, 1]; exact to degree 5
_MIDPOINT = ((0.5, 1.0),)
_SMALL = 0.01
_CHUNK = 1 << 17
"""Elements worked on at a time on a CPU: several operations on a part that stays in the processor's cache."""

Phi: TypeAlias = Callable[[Tensor], Tensor]
"""A function of one value, applied to every element of a tensor."""
Quotient: TypeAlias = Callable[[Phi, Tensor, Tensor, Tensor | None], Tensor]
"""`(φ, x, x0, where to write or None) -> Δφ/Δx`."""


def slope(phi: Phi, x: Shaped[Tensor, "*shape"], s: Shaped[Tensor, "*shape"] | None = None) -> Shaped[Tensor, "*shape"]:
    """s·φ'(x), elementwise, by autograd; s = 1 when None."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = phi(x)
        return torch.autograd.grad(y, x, torch.ones_like(y) if s is None else s)[0]


def secant(
    phi: Phi,
    x: Shaped[Tensor, "*shape"],
    x0: Shaped[Tensor, "*shape"],
    relative: bool = False,
    everywhere: bool = False,
) -> Shaped[Tensor, "*shape"]:
    """Δφ/Δx of a smooth φ. Where |Δx| is so small that the quotient cancels, the mean of φ' between x0 and x.

    Small is where rounding tells: below 0.01, with 3 Gauss–Legendre points in float64 (error Δx⁶·φ⁽⁷⁾/2e6), and the
    midpoint in float32 (Δx²·φ⁽³⁾/24: 5e-6 at most, as the quotient's rounding is).

    relative: small is measured against x itself, for functions with a pole.
    everywhere: φ is smooth on the whole line, so that `_widened` may be used.
    """
    quotient = _quotient(x, relative, everywhere)
    if _is_small(x, x0):
        return quotient(phi, x, x0, None)
    m = torch.empty_like(x, memory_format=torch.contiguous_format)
    for a, b, out in _parts(m, x, x0, m):
        quotient(phi, a, b, out)
    return m


def through_secant(
    phi: Phi, x: Shaped[Tensor, "*shape"], x0: Shaped[Tensor, "*shape"], everywhere: bool = False
) -> Phi:
    """`g -> g·Δφ/Δx`, with the quotient as `secant` computes it.

    The first call computes the quotient, and multiplies each part of it by g while the part is in the processor's
    cache; a walk for one target makes no other call. Further calls multiply by the quotient that the first one kept.
    """
    quotient = _quotient(x, False, everywhere)
    kept: list[Tensor] = []

    def through(g: Tensor) -> Tensor:
        if kept:
            return g * kept[0]
        if _is_small(x, x0):
            kept.append(quotient(phi, x, x0, None))
            return g * kept[0]
        m, product = (torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(2))
        for a, b, gy, out, to in _parts(m, x, x0, g, m, product):
            torch.mul(quotient(phi, a, b, out), gy, out=to)
        kept.append(m)
        return product

    return through


def _quotient(x: Tensor, relative: bool, everywhere: bool) -> Quotient:
    return _widened if everywhere and x.dtype == torch.float32 else partial(_patched, relative=relative)


def _is_small(x: Tensor, x0: Tensor) -> bool:
    """Whether all of it is one part as it is."""
    return x.numel() <= at_once(_CHUNK, x.device) and x.shape == x0.shape


def _parts(like: Tensor, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The tensors, spread to the shape of `like`, in parts of so many elements as are worked on at a time; contiguous
    ones as views."""
    size = at_once(_CHUNK, like.device)
    return zip(*(t.expand_as(like).reshape(-1).split(size) for t in tensors), strict=True)


def _widened(phi: Phi, a: Tensor, b: Tensor, out: Tensor | None) -> Tensor:
    """The quotient over a segment with the same middle that is no shorter than 0.01.

    For a small difference that is the derivative at the middle, as good as in `_patched` and for a third less.
    """
    length = torch.sub(a, b).abs_().clamp_min_(_SMALL)
    middle = torch.lerp(b, a, 0.5)
    high = phi(torch.add(middle, length, alpha=0.5))
    return torch.div(high.sub_(phi(middle.sub_(length, alpha=0.5))), length, out=out)


def _patched(phi: Phi, a: Tensor, b: Tensor, out: Tensor | None, relative: bool) -> Tensor:
    """(Δφ + s·φ')/(Δx + s), with s = 1 where the difference is small and 0 elsewhere: both cases in one formula."""
    dx, dy = a - b, phi(a).sub_(phi(b))
    reach = torch.maximum(a.abs(), b.abs()).mul_(_SMALL) if relative else _SMALL
    s = torch.le(dx.abs(), reach, out=torch.empty_like(dx))
    for t, w in _GAUSS3 if a.dtype == torch.float64 else _MIDPOINT:
        dy.add_(slope(phi, torch.lerp(b, a, t), s), alpha=w)
    return torch.div(dy, dx.add_(s), out=out)


def kinked_secant(
    phi: Phi, x: Shaped[Tensor, "*shape"], x0: Shaped[Tensor, "*shape"], derivative: Phi | None = None
) -> Shaped[Tensor, "*shape"]:
    """Δφ/Δx of a function with kinks or steps: the quotient everywhere, φ' only where Δx = 0.

    derivative: φ' as a formula, of numbers or of truth values, which count as 1 and 0; by autograd where None.
    """
    m = (phi(x) - phi(x0)).div_(x - x0)
    if math.isfinite(m.sum().item()):  # where Δx = 0 it is 0/0
        return m
    limit = slope(phi, x).nan_to_num(0.0, 0.0, 0.0) if derivative is None else derivative(x)
    return torch.where(x == x0, limit, m)


def still(
    m: Shaped[Tensor, "*shape"], a: Shaped[Tensor, "*shape"], a0: Shaped[Tensor, "*shape"]
) -> Shaped[Tensor, "*shape"]:
    """`m` with 0 where it is infinite and a = a0: nothing changed there, so any finite multiplier is right."""
    if math.isfinite(m.sum().item()):
        return m
    return m.masked_fill((a == a0) & ~torch.isfinite(m), 0.0)


def elementwise(
    phi_of: Callable[[Node], Phi], kinked: bool = False, everywhere: bool = False, derivative: Phi | None = None
) -> Rule:
    """The rule of a function of one value, y = φ(x):  g·Δy/Δx.

    phi_of: makes φ from the node, which holds its constants, such as a slope or a bound.
    kinked: φ has kinks or steps, so that near Δx = 0 its derivative is no estimate of the quotient.
    everywhere: φ is smooth on the whole line, as in `secant`.
    derivative: φ' of a kinked φ as a formula, as in `kinked_secant`.
    """

    def rule(n: Node, n0: Node) -> Step:
        (x, x0), phi = inputs_of(n, n0), phi_of(n)
        others = (None,) * (len(n.next_functions) - 1)
        if kinked:
            m = kinked_secant(phi, x, x0, derivative)
            return lambda g: (wide(g[0]) * m, *others)
        through = through_secant(phi, x, x0, everywhere)
        return lambda g: (through(wide(g[0])), *others)

    return rule


def plain(phi: Phi, kinked: bool = False, everywhere: bool = False, derivative: Phi | None = None) -> Rule:
    """As `elementwise`, for a φ without constants."""
    return elementwise(lambda n: phi, kinked, everywhere, derivative)


def rising_from_nothing(phi: Phi) -> Rule:
    """As `plain`, for a φ that is constant at −∞, such as exp. Where x and x0 are both −∞, as a causal mask makes them,
    the multiplier is 0."""

    def rule(n: Node, n0: Node) -> Step:
        x, x0 = inputs_of(n, n0)
        gone = torch.isneginf(x) & torch.isneginf(x0)
        x, x0 = x.masked_fill(gone, 0.0), x0.masked_fill(gone, 0.0)
        m = secant(phi, x, x0)
        return lambda g: ((wide(g[0]) * m).masked_fill_(gone, 0.0),)

    return rule


def of_results(m: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    """The rule of a function whose Δy/Δx is a closed form `m(y, y0)` of its two results, free of cancellation."""

    def rule(n: Node, n0: Node) -> Step:
        y, y0 = real(n, wide(n._saved_result)), wide(n0._saved_result)
        quotient = still(m(y, y0), y, y0)
        return lambda g: (g[0] * quotient,)

    return rule


def magnitude(n: Node, n0: Node) -> Step:
    """|x|, kinked at 0; of a complex number Δ|z| = Re (z + z0)‾·Δz/(|z| + |z0|)."""
    z, z0 = n._saved_self, n0._saved_self
    if not z.is_complex():
        m = kinked_secant(torch.abs, wide(z), wide(z0))
        return lambda g: (g[0] * m,)
    size = z.abs() + z0.abs()
    size = size.clamp_min(torch.finfo(size.dtype).tiny)
    return lambda g: (g[0] * (z + z0) / size,)


def threshold(n: Node, n0: Node) -> Step:
    """y = x above a threshold, and elsewhere a value that the node does not keep: Δy/Δx of the noted results."""
    y, y0 = result_of(n), result_of(n0)
    if y is None or y0 is None:
        raise UnsupportedOperation("The rule of a threshold needs its result, and the call is hidden.", n.name())
    x, dx = n._saved_self, n._saved_self - n0._saved_self
    m = torch.where(dx == 0, (x > n._saved_threshold).to(dx), (y - y0) / dx)
    return lambda g: (g[0] * m,)


def clipped_root(n: Node, n0: Node) -> Step:
    """RecurrentGemma's √x, whose own gradient is clipped: Δ√x = Δx/(√x + √x0)."""
    roots = torch.sqrt(input_of(n)) + torch.sqrt(input_of(n0))
    return lambda g: (torch.where(roots == 0, 0.0, g[0] / roots),)


def power_of_number(n: Node, n0: Node) -> Step:
    """y = bˣ, where b is a constant number."""
    x, x0 = wide(real(n, n._saved_exponent)), wide(n0._saved_exponent)
    through = through_secant(lambda t: torch.pow(n._saved_self, t), x, x0)
    return lambda g: (through(wide(g[0])),)


def _shrinking(x: Tensor) -> Tensor:
    """tanh(x)/x, which is 1 at 0."""
    return torch.tanh(x).div_(x).masked_fill_(x == 0, 1.0)


def tanh(n: Node, n0: Node) -> Step:
    """tanh x − tanh x0 = tanh(x − x0)·(1 − tanh x·tanh x0), which does not cancel where both are close to ±1."""
    (x, x0), y, y0 = inputs_of(n, n0), wide(n._saved_result), wide(n0._saved_result)
    m = _shrinking(x - x0) * (1 - y * y0)
    return lambda g: (g[0] * m,)


def power(n: Node, n0: Node) -> Step:
    """y = xᵏ of a constant number k; for k = 2 the quotient is x + x0."""
    (x, x0), k = inputs_of(n, n0), n._saved_exponent
    m = x + x0 if k == 2 else secant(lambda t: t**k, x, x0, relative=True)
    m = m if k >= 1 else still(m, x, x0)  # the slope is infinite at 0
    return lambda g: (wide(g[0]) * m,)


def log(n: Node, n0: Node) -> Step:
    """The logarithm to any base, with Δ ln x = log1p(|Δx|/min(x, x0)), which has the sign of Δx."""
    x, x0 = inputs_of(n, n0)
    size, least = (x - x0).abs_(), torch.minimum(x, x0)
    base = {"Log2Backward0": 2.0, "Log10Backward0": 10.0}.get(n.name())
    m = still(torch.where(size == 0, 1 / x, torch.log1p(size / least) / size), x, x0)
    m = m if base is None else m / torch.log(torch.tensor(base, dtype=m.dtype))
    return lambda g: (g[0] * m,)
