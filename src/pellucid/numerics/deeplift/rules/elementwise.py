"""y = φ(x), one value at a time: the multiplier is Δy/Δx, and the work is to compute it without cancellation."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ....errors import UnsupportedOperation
from ..lockstep import Grads, Rule, Step, in_two_steps
from ..nodes import input_of, real, result_of, wide

_GAUSS3 = ((0.5 - 0.15**0.5, 5 / 18), (0.5, 8 / 18), (0.5 + 0.15**0.5, 5 / 18))  # on [0, 1]; exact to degree 5
_MIDPOINT = ((0.5, 1.0),)
_SMALL = 0.01
_CHUNK = 1 << 17
"""Elements worked on at a time: several passes over what stays in cache, one over memory."""

Phi = Callable[[Tensor], Tensor]


def slope(phi: Phi, x: Tensor, s: Tensor | None = None) -> Tensor:
    """s·φ'(x), elementwise, by autograd; s = 1 when None."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = phi(x)
        return torch.autograd.grad(y, x, torch.ones_like(y) if s is None else s)[0]


def secant(
    phi: Phi, x: Tensor, x0: Tensor, g: Tensor | None = None, relative: bool = False, everywhere: bool = False
) -> Tensor:
    """g·Δφ/Δx of a smooth φ (g = 1 when None). Where |Δx| is small the quotient cancels, and the mean of φ' on the
    segment takes over.

    Small is where rounding tells: below 0.01, with 3 Gauss–Legendre points in float64 (error Δx⁶·φ⁽⁷⁾/2e6), and the
    midpoint in float32 (Δx²·φ⁽³⁾/24: 5e-6 at most, as the quotient's rounding is). `relative`: small against x itself,
    for functions with a pole. `everywhere`: φ is smooth on the whole line; see `_widened`.
    """
    quotient = _widened if everywhere and x.dtype == torch.float32 else partial(_patched, relative=relative)
    if x.numel() <= _CHUNK and x.shape == x0.shape:
        m = quotient(phi, x, x0, None)
        return m if g is None else m.mul_(g)
    m = torch.empty_like(x, memory_format=torch.contiguous_format)
    columns = [t.expand_as(x).reshape(-1).split(_CHUNK) for t in (x, x0, x if g is None else g)]
    for a, b, gy, out in zip(*columns, m.view(-1).split(_CHUNK), strict=True):
        quotient(phi, a, b, out)
        if g is not None:
            out.mul_(gy)
    return m


def _widened(phi: Phi, a: Tensor, b: Tensor, out: Tensor | None) -> Tensor:
    """The quotient over a segment with the same middle that is no shorter than 0.01: for a small difference that is the
    derivative at the middle, as good as in `_patched` and for a third less."""
    length = torch.sub(a, b).abs_().clamp_min_(_SMALL)
    middle = torch.lerp(b, a, 0.5)
    high = phi(torch.add(middle, length, alpha=0.5))
    return torch.div(high.sub_(phi(middle.sub_(length, alpha=0.5))), length, out=out)


def _patched(phi: Phi, a: Tensor, b: Tensor, out: Tensor | None, relative: bool) -> Tensor:
    """(Δφ + s·φ')/(Δx + s), with s = 1 where the difference is small and 0 elsewhere: both cases without a branch."""
    dx, dy = a - b, phi(a).sub_(phi(b))
    reach = torch.maximum(a.abs(), b.abs()).mul_(_SMALL) if relative else _SMALL
    s = torch.le(dx.abs(), reach, out=torch.empty_like(dx))
    for t, w in _GAUSS3 if a.dtype == torch.float64 else _MIDPOINT:
        dy.add_(slope(phi, torch.lerp(b, a, t), s), alpha=w)
    return torch.div(dy, dx.add_(s), out=out)


def kinked_secant(phi: Phi, x: Tensor, x0: Tensor) -> Tensor:
    """Δφ/Δx of a function with kinks or steps: the quotient everywhere, φ' only where Δx = 0."""
    dx = x - x0
    flat = x == x0
    m = (phi(x) - phi(x0)) / dx
    return torch.where(flat, slope(phi, x).nan_to_num(0.0, 0.0, 0.0), m) if flat.any() else m


def still(m: Tensor, a: Tensor, a0: Tensor) -> Tensor:
    """`m` with 0 where it is infinite and a = a0: nothing changed there, so any finite multiplier is right."""
    if math.isfinite(m.sum().item()):
        return m
    return m.masked_fill((a == a0) & ~torch.isfinite(m), 0.0)


def elementwise(phi_of: Callable[[Any], Phi], kinked: bool = False, everywhere: bool = False) -> Rule:
    """y = φ(x):  g·Δy/Δx. `phi_of` reads φ's constants off the node. `everywhere` as in `secant`."""

    def begin(n: Any, n0: Any) -> Step:
        x, x0, phi = input_of(n), input_of(n0), phi_of(n)
        m = kinked_secant(phi, x, x0) if kinked else secant(phi, x, x0, everywhere=everywhere)
        return lambda g: (wide(g[0]) * m, *(None for _ in n.next_functions[1:]))

    def at_once(n: Any, n0: Any, g: Grads) -> Grads:
        m = secant(phi_of(n), input_of(n), input_of(n0), wide(g[0]), everywhere=everywhere)
        return m, *(None for _ in n.next_functions[1:])

    return in_two_steps(begin, None if kinked else at_once)


def plain(phi: Phi, kinked: bool = False, everywhere: bool = False) -> Rule:
    return elementwise(lambda n: phi, kinked, everywhere)


def rising_from_nothing(phi: Phi) -> Rule:
    """As `plain`, for a φ that is constant at −∞: nothing flows where x and x0 are both −∞, as in a causal mask."""

    def begin(n: Any, n0: Any) -> Step:
        x, x0 = input_of(n), input_of(n0)
        gone = torch.isneginf(x) & torch.isneginf(x0)
        x, x0 = x.masked_fill(gone, 0.0), x0.masked_fill(gone, 0.0)
        m = secant(phi, x, x0)
        return lambda g: ((wide(g[0]) * m).masked_fill_(gone, 0.0),)

    return in_two_steps(begin)


def of_results(m: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    """Functions whose Δy/Δx is a closed form of the two results, free of cancellation."""

    def begin(n: Any, n0: Any) -> Step:
        y, y0 = real(n, wide(n._saved_result)), wide(n0._saved_result)
        quotient = still(m(y, y0), y, y0)
        return lambda g: (g[0] * quotient,)

    return in_two_steps(begin)


def magnitude(n: Any, n0: Any, g: Grads) -> Grads:
    """|x|, kinked at 0; of a complex number Δ|z| = Re (z + z0)‾·Δz/(|z| + |z0|)."""
    z, z0 = n._saved_self, n0._saved_self
    if not z.is_complex():
        return (g[0] * kinked_secant(torch.abs, wide(z), wide(z0)),)
    size = (z.abs() + z0.abs()).clamp_min(torch.finfo(g[0].dtype).tiny)
    return (g[0] * (z + z0) / size,)


def threshold(n: Any, n0: Any, g: Grads) -> Grads:
    """y = x above a threshold, and a value below, which the node does not keep: Δy/Δx of the noted results."""
    y, y0 = result_of(n), result_of(n0)
    if y is None or y0 is None:
        raise UnsupportedOperation("The rule of a threshold needs its result, and the call is hidden.", n.name())
    x, dx = n._saved_self, n._saved_self - n0._saved_self
    return (g[0] * torch.where(dx == 0, (x > n._saved_threshold).to(dx), (y - y0) / dx),)


def clipped_root(n: Any, n0: Any, g: Grads) -> Grads:
    """RecurrentGemma's √x, whose own gradient is clipped: Δ√x = Δx/(√x + √x0)."""
    roots = torch.sqrt(input_of(n)) + torch.sqrt(input_of(n0))
    return (torch.where(roots == 0, 0.0, g[0] / roots),)


def power_of_number(n: Any, n0: Any, g: Grads) -> Grads:
    """y = bˣ of a number b."""
    x, x0 = wide(real(n, n._saved_exponent)), wide(n0._saved_exponent)
    return (secant(lambda t: torch.pow(n._saved_self, t), x, x0, wide(g[0])),)


def _shrinking(x: Tensor) -> Tensor:
    """tanh(x)/x, which is 1 at 0."""
    return torch.tanh(x).div_(x).masked_fill_(x == 0, 1.0)


@in_two_steps
def tanh(n: Any, n0: Any) -> Step:
    """tanh a − tanh b = tanh(a−b)·(1 − tanh a·tanh b): exact however saturated."""
    y, y0 = wide(n._saved_result), wide(n0._saved_result)
    m = _shrinking(input_of(n) - input_of(n0)) * (1 - y * y0)
    return lambda g: (g[0] * m,)


@in_two_steps
def power(n: Any, n0: Any) -> Step:
    """y = xᵏ; for k = 2, x + x0."""
    x, x0, k = input_of(n), input_of(n0), n._saved_exponent
    m = x + x0 if k == 2 else secant(lambda t: t**k, x, x0, relative=True)
    m = m if k >= 1 else still(m, x, x0)  # the slope is infinite at 0
    return lambda g: (wide(g[0]) * m,)


def log(n: Any, n0: Any, g: Grads) -> Grads:
    """Δ ln x = log1p(|Δx|/min(x, x0)) with the sign of Δx, for any base."""
    x, x0 = input_of(n), input_of(n0)
    size, least = (x - x0).abs_(), torch.minimum(x, x0)
    base = {"Log2Backward0": 2.0, "Log10Backward0": 10.0}.get(n.name())
    m = still(torch.where(size == 0, 1 / x, torch.log1p(size / least) / size), x, x0)
    return (g[0] * (m if base is None else m / torch.log(torch.tensor(base, dtype=m.dtype))),)
