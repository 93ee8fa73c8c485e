"""Cases of products and quotients, and of operations that are linear in each of several inputs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from .values import B, W, rand

BAG = torch.tensor([[0, 1, 2], [3, 4, 5]])

CASES: dict[str, Any] = {
    "conv": (lambda a: F.conv1d(a, W[:, :, None]), [(2, 6, 5)], False),
    "conv2d": (lambda a: F.conv2d(a, rand(4, 3, 3, 3), B[:4], 2, 1), [(2, 3, 6, 6)], False),
    "conv3d": (lambda a: F.conv3d(a, rand(2, 2, 2, 2, 2)), [(1, 2, 4, 4, 4)], False),
    "conv_transposed": (lambda a: F.conv_transpose1d(a, rand(6, 3, 3)), [(2, 6, 5)], False),
    "conv_transposed2d": (lambda a: F.conv_transpose2d(a, rand(3, 3, 3, 3), stride=2), [(2, 3, 4, 4)], False),
    "conv_transposed3d": (lambda a: F.conv_transpose3d(a, rand(2, 2, 2, 2, 2)), [(1, 2, 3, 3, 3)], False),
    "conv_weight": (lambda a, w, b: F.conv2d(a, w, b, 2, 1, 2), [(2, 3, 6, 6), (4, 3, 3, 3), (4,)], False),
    "conv_transposed_weight": (
        lambda a, w, b: F.conv_transpose2d(a, w, b, 2, 1, 1),
        [(2, 3, 6, 6), (3, 4, 3, 3), (4,)],
        False,
    ),
    "conv_weight_alone": (lambda w, b: F.conv1d(rand(2, 6, 5), w, b), [(3, 6, 2), (3,)], False),
    "conv_groups": (lambda a, w: F.conv1d(a, w, groups=2), [(2, 6, 5), (4, 3, 2)], False),
    "mul": (lambda a, b: a * b, [(4, 6), (4, 6)], False),
    "mul_broadcast": (lambda a, b: a * b, [(4, 6), (6,)], False),
    "square_as_mul": (lambda a: a * a, [(4, 6)], False),
    "div": (lambda a, b: a / b, [(4, 6), (4, 1)], True),
    "div_into": (lambda b: 2 / b, [(4, 6)], True),
    "div_by_number": (lambda a: a / 3, [(4, 6)], False),
    "mm": (lambda a, b: a @ b, [(4, 6), (6, 3)], False),
    "bmm": (lambda a, b: a @ b, [(2, 4, 6), (2, 6, 3)], False),
    "addmm": (lambda c, a, b: torch.addmm(c, a, b, beta=0.5, alpha=2.0), [(3,), (4, 6), (6, 3)], False),
    "solve_triangular": (
        lambda a, b: torch.linalg.solve_triangular(a.tril() + 3 * torch.eye(4), b, upper=False),
        [(2, 4, 4), (2, 4, 3)],
        False,
    ),
    "solve_unitriangular": (
        lambda a, b: torch.linalg.solve_triangular(a / 3, b, upper=True, left=False, unitriangular=True),
        [(2, 4, 4), (2, 3, 4)],
        False,
    ),
    "solve_triangular_of_constant": (
        lambda b: torch.linalg.solve_triangular(rand(4, 4) + 3 * torch.eye(4), b, upper=True),
        [(2, 4, 3)],
        False,
    ),
    "baddbmm": (lambda c, a, b: torch.baddbmm(c, a, b, beta=0.5, alpha=2.0), [(2, 4, 3), (2, 4, 6), (2, 6, 3)], False),
    "addbmm": (lambda c, a, b: torch.addbmm(c, a, b, beta=0.5, alpha=2.0), [(4, 3), (2, 4, 6), (2, 6, 3)], False),
    "addmv": (lambda c, a, v: torch.addmv(c, a, v, beta=0.5, alpha=2.0), [(4,), (4, 6), (6,)], False),
    "addr": (lambda c, a, b: torch.addr(c, a, b, beta=0.5, alpha=2.0), [(4, 3), (4,), (3,)], False),
    "einsum": (lambda a, b: torch.einsum("bij,bkj->bik", a, b), [(2, 4, 6), (2, 3, 6)], False),
    "einsum_of_three": (lambda a, b, c: torch.einsum("ij,jk,kl->il", a, b, c), [(4, 6), (6, 3), (3, 2)], False),
    "tensordot": (lambda a, b: torch.tensordot(a, b, 1), [(2, 4, 6), (6, 3)], False),
    "mv": (lambda a, v: a @ v, [(4, 6), (6,)], False),
    "dot": (lambda a, b: a @ b, [(6,), (6,)], False),
    "outer": (lambda a, b: torch.outer(a, b), [(4,), (6,)], False),
    "kron": (lambda a, b: torch.kron(a, b), [(2, 3), (3, 2)], False),
    "cross": (lambda a, b: torch.linalg.cross(a, b), [(4, 3), (4, 3)], False),
    "addcmul": (lambda c, a, b: torch.addcmul(c, a, b, value=0.5), [(4, 6), (4, 6), (4, 6)], False),
    "addcdiv_by_a_constant": (
        lambda c, a: torch.addcdiv(c, a, torch.full_like(a, 2.0)) + torch.addcdiv(c, torch.ones_like(a), a.new_ones(6)),
        [(4, 6), (4, 6)],
        False,
    ),
    "addcdiv": (lambda c, a, b: torch.addcdiv(c, a, b, value=0.5), [(4, 6), (4, 6), (4, 6)], True),
    "lerp_weight": (lambda a, b, w: torch.lerp(a, b, w), [(4, 6), (4, 6), (4, 6)], False),
    "bilinear": (lambda a, b: F.bilinear(a, b, rand(3, 6, 5), B[:3]), [(4, 6), (4, 5)], False),
    "bilinear_weight": (lambda a, b, w: F.bilinear(a, b, w), [(4, 6), (4, 5), (3, 6, 5)], False),
    "prod": (lambda a: a.prod(1) + a.prod() + (a * torch.tensor([0.0, 1, 1])).prod(0, keepdim=True), [(3, 3)], False),
    "cumprod": (lambda a: a.cumprod(1), [(4, 6)], False),
    "embedding_bag": (
        lambda w, t: F.embedding_bag(BAG, t, per_sample_weights=w, mode="sum"),
        [(2, 3), (6, 4)],
        False,
    ),
    "complex_mul": (lambda a, b: torch.view_as_real(torch.complex(a, b) * torch.complex(b, a)), [(4, 6)] * 2, False),
    "complex_mul_real": (lambda a, b: torch.view_as_real(torch.complex(a, b) * a), [(4, 6)] * 2, False),
    "complex_mm": (lambda a, b: (torch.complex(a, a + 1) @ torch.complex(b, -b)).imag, [(4, 6), (6, 3)], False),
    "complex_div": (lambda a, b: (torch.complex(a, b) / torch.complex(b + 3, a)).imag, [(4, 6)] * 2, True),
    "complex_abs": (lambda a: torch.fft.fft(a).abs() ** 2 + torch.fft.fft(a).abs(), [(4, 6)], False),
}
