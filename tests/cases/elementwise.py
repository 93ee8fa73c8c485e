"""Cases of functions of one value or of two, applied element by element."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .values import B

ONE: list[tuple[int, ...]] = [(4, 6)]
TWO: list[tuple[int, ...]] = [(4, 6), (4, 6)]


def overwritten(a: Tensor) -> Tensor:
    y, z = a * 1, a * 1
    y[:, :2].tanh_()
    F.elu(z.T[2:4], inplace=True)
    return y + z


HIDDEN = torch.full((4, 6), -torch.inf).triu(1)


def xielu(x: Tensor) -> Tensor:
    """The xIELU activation, written in two pieces that meet at 0 (Huang & Schlag 2025, 2411.13010)."""
    return torch.where(x > 0, 0.8 * x * x + 0.5 * x, (torch.expm1(torch.min(x, B[0] * 0 - 1e-6)) - x) * 0.8 + 0.5 * x)


CASES: dict[str, Any] = {
    "gelu": (F.gelu, ONE, False),
    "in_pieces": (xielu, ONE, False),
    "in_pieces_with_a_step": (
        lambda a: torch.where(a > 0.2, 2 * a, 1.0) + torch.where(a <= 0, 3.0, a.exp()),
        ONE,
        False,
    ),
    "filled_in_pieces": (
        lambda a: (
            a.masked_fill(a > 0.2, 0.2) + (2 * a).masked_fill(a.le(0), a.new_tensor(3.0)) + a.masked_fill(a == 0, 1)
        ),
        ONE,
        False,
    ),
    "masked_exp": (lambda a: (a + torch.where(a > 9, a, -torch.inf)).exp() + (a.tril() + HIDDEN).exp2(), ONE, False),
    "gelu_tanh": (lambda a: F.gelu(a, approximate="tanh"), ONE, False),
    "silu": (F.silu, ONE, False),
    "mish": (F.mish, ONE, False),
    "logsigmoid": (F.logsigmoid, ONE, False),
    "sigmoid": (torch.sigmoid, ONE, False),
    "tanh": (torch.tanh, ONE, False),
    "exp": (lambda a: a.exp() + torch.exp2(a) + torch.expm1(a), ONE, False),
    "log": (lambda a: a.log() + a.log2() + a.log10() + a.log1p(), ONE, True),
    "erf": (lambda a: a.erf() + 3 * a.erfc() + torch.special.ndtr(a), ONE, False),
    "waves": (lambda a: a.sin() + a.cos() + a.atan() + a.sinh() + a.cosh() + (a / 9).tan() + a.sinc(), ONE, False),
    "arcs": (lambda a: (a / 10).asin() + (a / 10).acos() + (a / 10).atanh() + a.asinh(), ONE, False),
    "acosh": (lambda a: (a + 1).acosh(), ONE, True),
    "special": (lambda a: a.lgamma() + a.digamma() + torch.i0(a) + torch.special.entr(a), ONE, True),
    "inverses": (lambda a: (a / 20).erfinv() + (a / 20 + 0.5).logit(), ONE, False),
    "powers": (lambda a: a.pow(2) + a**3 + a**1 + a**0, ONE, False),
    "powers_of_a_number": (lambda a: 2**a + torch.pow(0.5, a), ONE, False),
    "roots": (lambda a: a.sqrt() + a.rsqrt() + a.reciprocal() + a**1.5 + a**-2, ONE, True),
    "steps": (lambda a: a.floor() + a.ceil() + a.round() + a.trunc() + a.sign() + a.frac(), ONE, False),
    "relu": (F.relu, ONE, False),
    "relu_in_place": (lambda a: F.relu(a + 0, inplace=True), ONE, False),
    "abs": (torch.abs, ONE, False),
    "leaky_relu": (F.leaky_relu, ONE, False),
    "leaky_relu_in_place": (lambda a: F.leaky_relu(a + 0, 0.2, inplace=True), ONE, False),
    "prelu": (lambda a: F.prelu(a, B[:1]), ONE, False),
    "rrelu": (F.rrelu, ONE, False),
    "elu": (F.elu, ONE, False),
    "selu": (F.selu, ONE, False),
    "celu": (F.celu, ONE, False),
    "elus_in_place": (
        lambda a: F.celu(a + 0, 2.0, inplace=True) + F.elu(a + 0, 0.5, inplace=True) + F.selu(a + 0, inplace=True),
        ONE,
        False,
    ),
    "kinks_in_place": (
        lambda a: F.threshold(a + 0, 0.3, 5.0, inplace=True) + F.rrelu(a + 0, inplace=True),
        ONE,
        False,
    ),
    "in_place_on_a_view": (overwritten, ONE, False),
    "hardtanh": (F.hardtanh, ONE, False),
    "relu6": (F.relu6, ONE, False),
    "hardswish": (F.hardswish, ONE, False),
    "hardsigmoid": (F.hardsigmoid, ONE, False),
    "softplus": (F.softplus, ONE, False),
    "shrinks": (lambda a: F.softshrink(a) + F.hardshrink(a) + F.tanhshrink(a), ONE, False),
    "softsign": (F.softsign, ONE, False),
    "threshold": (lambda a: F.threshold(a, 0.3, 5.0) + F.threshold(a, 1.0, 0.0), ONE, False),
    "clamp": (lambda a: a.clamp(-1, 1) + a.clamp_min(0) + a.clamp_max(0.5) + a.clamp(min=-0.5), ONE, False),
    "clamp_between_tensors": (
        lambda a, b: (
            a.clamp(min=b) + torch.clamp(a, b, b + 3) + torch.clamp(a, B, B + 1) + a.clamp_min(b) + a.clamp_max(b)
        ),
        TWO,
        False,
    ),
    "atan2": (torch.atan2, TWO, False),
    "hypot": (torch.hypot, TWO, False),
    "hypot_of_constant": (lambda a: torch.hypot(a, B) + torch.hypot(B, a), ONE, False),
    "logaddexp": (lambda a, b: torch.logaddexp(a, b) + torch.logaddexp2(a, b), TWO, False),
    "xlogy": (torch.xlogy, TWO, True),
    "power_of_two": (lambda a, b: a**b + a**B + B.abs() ** b, TWO, True),
    "maximum": (lambda a, b: torch.maximum(a, b) + 2 * torch.minimum(a, b), TWO, False),
    "fmax": (lambda a, b: torch.fmax(a, b) + 2 * torch.fmin(a, b), TWO, False),
}
