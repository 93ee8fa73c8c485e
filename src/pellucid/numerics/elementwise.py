"""y = φ(x), one value at a time: the multiplier is Δy/Δx, and the work is to compute it without cancellation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .lockstep import Grads, Rule
from .nodes import input_of, wide

_GAUSS3 = ((0.5 - 0.15**0.5, 5 / 18), (0.5, 8 / 18), (0.5 + 0.15**0.5, 5 / 18))  # on [0, 1]; exact to degree 5
_SMALL = {torch.float64: 0.01}  # where the quotient's rounding meets the quadrature's error; 0.05 in float32

Phi = Callable[[Tensor], Tensor]


def slope(phi: Phi, x: Tensor) -> Tensor:
    """φ'(x), elementwise."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(phi(x).sum(), x)[0]


def secant(phi: Phi, x: Tensor, x0: Tensor, relative: bool = False) -> Tensor:
    """Δφ/Δx of a smooth function. Where |Δx| is small the quotient cancels: there, the mean of φ' on the segment."""
    dx = x - x0
    limit = _SMALL.get(x.dtype, 0.05)
    small = dx.abs() < (limit * torch.maximum(x.abs(), x0.abs()) if relative else limit)
    if relative:
        small |= dx == 0
    m = ((phi(x) - phi(x0)) / dx).flatten()
    where = small.flatten().nonzero().squeeze(1)
    if len(where):
        a, b = x.flatten()[where], x0.flatten()[where]
        m[where] = sum(w * slope(phi, torch.lerp(b, a, t)) for t, w in _GAUSS3)
    return m.view_as(x)


def kinked_secant(phi: Phi, x: Tensor, x0: Tensor) -> Tensor:
    """Δφ/Δx of a function with kinks or steps: the quotient everywhere, φ' only where Δx = 0."""
    dx = x - x0
    flat = dx == 0
    m = (phi(x) - phi(x0)) / dx
    return torch.where(flat, slope(phi, x), m) if flat.any() else m


def elementwise(phi_of: Callable[[Any], Phi], kinked: bool = False, relative: bool = False) -> Rule:
    """y = φ(x):  g·Δy/Δx. `phi_of` reads the function's constants off the node."""

    def rule(n: Any, n0: Any, g: Grads) -> Grads:
        x, x0, phi = input_of(n), input_of(n0), phi_of(n)
        m = kinked_secant(phi, x, x0) if kinked else secant(phi, x, x0, relative)
        return g[0] * m, *(None for _ in n.next_functions[1:])

    return rule


def plain(phi: Phi, **how: bool) -> Rule:
    return elementwise(lambda n: phi, **how)


def of_results(m: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    """Functions whose Δy/Δx is a closed form of the two results, free of cancellation."""
    return lambda n, n0, g: (g[0] * m(wide(n._saved_result), wide(n0._saved_result)),)


def _shrinking(x: Tensor) -> Tensor:
    """tanh(x)/x, which is 1 at 0."""
    return torch.tanh(x).div_(x).masked_fill_(x == 0, 1.0)


def tanh(n: Any, n0: Any, g: Grads) -> Grads:
    """tanh a − tanh b = tanh(a−b)·(1 − tanh a·tanh b): exact however saturated."""
    y, y0 = wide(n._saved_result), wide(n0._saved_result)
    return (g[0] * _shrinking(input_of(n) - input_of(n0)) * (1 - y * y0),)


def power(n: Any, n0: Any, g: Grads) -> Grads:
    """y = xᵏ; for k = 2, x + x0."""
    x, x0, k = input_of(n), input_of(n0), n._saved_exponent
    return (g[0] * (x + x0 if k == 2 else secant(lambda t: t**k, x, x0, relative=True)),)


def log(n: Any, n0: Any, g: Grads) -> Grads:
    """Δ ln x = log1p(Δx/x0), for any base."""
    x, x0 = input_of(n), input_of(n0)
    base = {"Log2Backward0": 2.0, "Log10Backward0": 10.0}.get(n.name())
    m = torch.where(x == x0, 1 / x, torch.log1p((x - x0) / x0) / (x - x0))
    return (g[0] * (m if base is None else m / torch.log(torch.tensor(base, dtype=m.dtype))),)
