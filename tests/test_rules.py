"""Each rule alone, in float64: Σ m·Δin = Σ g·Δout on random inputs, and the limit x0 → x is the gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.numerics import rules
from pellucid.numerics.checking import limit_error, multipliers, summation_error
from pellucid.numerics.lockstep import LEAF

torch.set_default_dtype(torch.float32)
D = torch.float64


def rand(*shape: int, seed: int = 0, positive: bool = False) -> Tensor:
    t = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)
    return t.abs() + 0.2 if positive else 2 * t


W, B, MASK = rand(6, 6, seed=90), rand(6, seed=91), rand(4, 6, seed=92) > 0
INDEX = torch.tensor([[0, 2, 1, 5, 3, 4]] * 4)

# name: (function, the shapes of its inputs, whether they must be positive)
CASES: dict[str, tuple[Any, list[tuple[int, ...]], bool]] = {
    "add": (lambda a, b: a + 2 * b - a.neg(), [(4, 6), (6,)], False),
    "sub": (lambda a: 3 - a - 1, [(4, 6)], False),
    "sum_mean": (lambda a: a.sum(0) + a.mean(0) + a.mean(), [(4, 6)], False),
    "shapes": (
        lambda a: a.view(2, 2, 6).transpose(0, 1).reshape(4, 6).T.permute(1, 0).unsqueeze(0).squeeze(0),
        [(4, 6)],
        False,
    ),
    "expand": (lambda a: a[:, None].expand(4, 3, 6).clone(), [(4, 6)], False),
    "pieces": (
        lambda a: torch.cat(
            [a[1:3], a[:, 2:3].repeat(1, 6), torch.stack([*a.unbind(0)]), *a.split(2), *a.split([1, 3])]
        ),
        [(4, 6)],
        False,
    ),
    "chosen": (lambda a: a.gather(1, INDEX) + a[:, INDEX[0]] + a.index_select(1, INDEX[0]) + a[0], [(4, 6)], False),
    "masked": (lambda a: a.masked_fill(MASK, 1.0) + torch.where(MASK, a, 2 * a) + a.tril() + a.triu(), [(4, 6)], False),
    "moved": (lambda a: a.roll(1, 1) + a.flip(0) + F.pad(a, (1, 1))[:, :6] + a.cumsum(1), [(4, 6)], False),
    "linear": (lambda a: F.linear(a, W, B), [(4, 6)], False),
    "linear3": (lambda a: F.linear(a, W, B), [(2, 3, 6)], False),
    "conv": (lambda a: F.conv1d(a, W[:, :, None]), [(2, 6, 5)], False),
    "mul": (lambda a, b: a * b, [(4, 6), (4, 6)], False),
    "mul_broadcast": (lambda a, b: a * b, [(4, 6), (6,)], False),
    "square_as_mul": (lambda a: a * a, [(4, 6)], False),
    "div": (lambda a, b: a / b, [(4, 6), (4, 1)], True),
    "div_into": (lambda b: 2 / b, [(4, 6)], True),
    "div_by_number": (lambda a: a / 3, [(4, 6)], False),
    "mm": (lambda a, b: a @ b, [(4, 6), (6, 3)], False),
    "bmm": (lambda a, b: a @ b, [(2, 4, 6), (2, 6, 3)], False),
    "addmm": (lambda c, a, b: torch.addmm(c, a, b, beta=0.5, alpha=2.0), [(3,), (4, 6), (6, 3)], False),
    "baddbmm": (lambda c, a, b: torch.baddbmm(c, a, b, beta=0.5, alpha=2.0), [(2, 4, 3), (2, 4, 6), (2, 6, 3)], False),
    "einsum": (lambda a, b: torch.einsum("bij,bkj->bik", a, b), [(2, 4, 6), (2, 3, 6)], False),
    "mv": (lambda a, v: a @ v, [(4, 6), (6,)], False),
    "dot": (lambda a, b: a @ b, [(6,), (6,)], False),
    "addcmul": (lambda c, a, b: torch.addcmul(c, a, b, value=0.5), [(4, 6), (4, 6), (4, 6)], False),
    "gelu": (F.gelu, [(4, 6)], False),
    "gelu_tanh": (lambda a: F.gelu(a, approximate="tanh"), [(4, 6)], False),
    "silu": (F.silu, [(4, 6)], False),
    "mish": (F.mish, [(4, 6)], False),
    "logsigmoid": (F.logsigmoid, [(4, 6)], False),
    "sigmoid": (torch.sigmoid, [(4, 6)], False),
    "tanh": (torch.tanh, [(4, 6)], False),
    "exp": (lambda a: a.exp() + torch.exp2(a) + torch.expm1(a), [(4, 6)], False),
    "log": (lambda a: a.log() + a.log2() + a.log10() + a.log1p(), [(4, 6)], True),
    "erf": (lambda a: a.erf() + 3 * a.erfc(), [(4, 6)], False),
    "waves": (lambda a: a.sin() + a.cos() + a.atan() + a.sinh() + a.cosh() + (a / 9).tan(), [(4, 6)], False),
    "powers": (lambda a: a.pow(2) + a**3, [(4, 6)], False),
    "roots": (lambda a: a.sqrt() + a.rsqrt() + a.reciprocal() + a**1.5, [(4, 6)], True),
    "relu": (F.relu, [(4, 6)], False),
    "relu_in_place": (lambda a: F.relu(a + 0, inplace=True), [(4, 6)], False),
    "abs": (torch.abs, [(4, 6)], False),
    "leaky_relu": (F.leaky_relu, [(4, 6)], False),
    "leaky_relu_in_place": (lambda a: F.leaky_relu(a + 0, 0.2, inplace=True), [(4, 6)], False),
    "prelu": (lambda a: F.prelu(a, B[:1]), [(4, 6)], False),
    "elu": (F.elu, [(4, 6)], False),
    "selu": (F.selu, [(4, 6)], False),
    "celu": (F.celu, [(4, 6)], False),
    "hardtanh": (F.hardtanh, [(4, 6)], False),
    "relu6": (F.relu6, [(4, 6)], False),
    "hardswish": (F.hardswish, [(4, 6)], False),
    "hardsigmoid": (F.hardsigmoid, [(4, 6)], False),
    "softplus": (F.softplus, [(4, 6)], False),
    "shrinks": (lambda a: F.softshrink(a) + F.hardshrink(a) + F.tanhshrink(a), [(4, 6)], False),
    "softsign": (F.softsign, [(4, 6)], False),
    "clamp": (lambda a: a.clamp(-1, 1) + a.clamp_min(0) + a.clamp_max(0.5) + a.clamp(min=-0.5), [(4, 6)], False),
    "softmax": (lambda a: a.softmax(1) + a.softmax(0) + torch.softmax(a, -1), [(4, 6)], False),
    "log_softmax": (lambda a: F.log_softmax(a, -1), [(4, 6)], False),
    "logsumexp": (lambda a: a.logsumexp(1) + a.logsumexp(1, keepdim=True).squeeze(1), [(4, 6)], False),
    "negative_dimensions": (
        lambda a: a.logsumexp(-1) + a.logsumexp((-2, -1)) + a.var(-1) + a.norm(dim=-1) + a.amax(-1) + a.max(-1).values,
        [(4, 6)],
        False,
    ),
    "attention": (F.scaled_dot_product_attention, [(2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4)], False),
    "attention_causal": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        [(2, 3, 5, 4)] * 3,
        False,
    ),
    "attention_masked": (
        lambda q, k, v: F.scaled_dot_product_attention(
            q, k, v, attn_mask=torch.tensor([[True, True, False, True, True]])
        ),
        [(2, 3, 5, 4)] * 3,
        False,
    ),
    "attention_as_parts": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=torch.eye(5, dtype=torch.bool).logical_not()),
        [(3, 5, 4)] * 3,
        False,
    ),
    "attention_grouped": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        [(2, 4, 5, 4), (2, 2, 5, 4), (2, 2, 5, 4)],
        False,
    ),
    "layer_norm": (lambda a: F.layer_norm(a, (6,), B, B), [(4, 6)], False),
    "layer_norm_plain": (lambda a: F.layer_norm(a, (2, 6)), [(3, 2, 6)], False),
    "group_norm": (lambda a: F.group_norm(a, 2, B, B), [(2, 6, 3)], False),
    "rms_norm": (lambda a: F.rms_norm(a, (6,), B), [(4, 6)], False),
    "rms_by_hand": (lambda a: a * torch.rsqrt(a.pow(2).mean(-1, keepdim=True) + 1e-6), [(4, 6)], False),
    "batch_norm": (lambda a: F.batch_norm(a, B, B.abs(), B, B), [(4, 6)], False),
    "variance": (lambda a: a.var(1) + a.std(1) + a.var(1, correction=0, keepdim=True).squeeze(1), [(4, 6)], False),
    "norm": (
        lambda a: a.norm(dim=1) + torch.linalg.vector_norm(a, dim=1) + F.normalize(a, dim=1).sum(1),
        [(4, 6)],
        False,
    ),
    "cosine": (lambda a, b: F.cosine_similarity(a, b), [(4, 6), (4, 6)], False),
    "maximum": (lambda a, b: torch.maximum(a, b) + 2 * torch.minimum(a, b), [(4, 6), (4, 6)], False),
    "max_along": (lambda a: a.max(1).values + a.min(1, keepdim=True).values.squeeze(1), [(4, 6)], False),
    "amax": (lambda a: a.amax(1) + a.amin(0).sum() + a.max() + a.min(), [(4, 6)], False),
    "max_pool": (lambda a: F.max_pool2d(a, 2), [(2, 3, 4, 4)], False),
    "max_pool3": (lambda a: F.max_pool3d(a, 2), [(1, 2, 4, 4, 4)], False),
    "avg_pool": (lambda a: F.avg_pool2d(a, 2) + F.adaptive_avg_pool2d(a, 2), [(2, 3, 4, 4)], False),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_summation_to_delta(name: str, seed: int) -> None:
    f, shapes, positive = CASES[name]
    x = tuple(rand(*s, seed=seed * 10 + i, positive=positive) for i, s in enumerate(shapes))
    x0 = tuple(rand(*s, seed=seed * 10 + 5 + i, positive=positive) for i, s in enumerate(shapes))
    assert summation_error(f, x, x0, seed) < 1e-13


@pytest.mark.parametrize("name", CASES)
def test_the_limit_is_the_gradient(name: str) -> None:
    f, shapes, positive = CASES[name]
    x = tuple(rand(*s, seed=i + 1, positive=positive) for i, s in enumerate(shapes))
    assert limit_error(f, x) < 1e-4


@pytest.mark.parametrize("name", CASES)
def test_equal_inputs_give_the_gradient(name: str) -> None:
    """Δ = 0 everywhere: no quotient may leave a NaN."""
    f, shapes, positive = CASES[name]
    x = tuple(rand(*s, seed=i + 1, positive=positive) for i, s in enumerate(shapes))
    assert limit_error(f, x, step=0.0) < 1e-10


def test_every_rule_that_is_not_linear_has_a_case() -> None:
    met: set[str] = set()

    def recording(name: str, rule: Any) -> Any:
        return lambda n, n0, g: (met.add(name), rule(n, n0, g))[1]

    spied = {name: recording(name, rule) for name, rule in rules.RULES.items()}
    for f, shapes, positive in CASES.values():
        x = tuple(rand(*s, seed=i, positive=positive) for i, s in enumerate(shapes))
        x0 = tuple(rand(*s, seed=i + 5, positive=positive) for i, s in enumerate(shapes))
        multipliers(f, x, x0, torch.ones_like(f(*x)), spied)
    cannot_be_met_on_a_cpu = {f"{a}Backward0" for a in rules.ATTENTION if not a.endswith("ForCpu")}
    met_elsewhere = {"NativeDropoutBackward0", "torch::autograd::CopySlices", "LinearBackward0"}
    missing = (
        {n for n, r in rules.RULES.items() if r is not rules.linear} - met - cannot_be_met_on_a_cpu - met_elsewhere
    )
    assert not missing, missing
    assert LEAF not in rules.RULES


# ------------------------------------------------------------------------------------ independent matrix formulas


def test_softmax_rule_is_the_written_formula() -> None:
    z, z0, g = rand(7, seed=1), rand(7, seed=2), rand(7, seed=3)
    p, p0 = z.softmax(0), z0.softmax(0)
    ell = (p - p0) / (p.log() - p0.log())
    expected = ell * g - ell / ell.sum() * (ell * g).sum()
    torch.testing.assert_close(multipliers(lambda a: a.softmax(0), (z,), (z0,), g)[0], expected)


def test_layer_norm_rule_is_the_written_formula() -> None:
    x, x0, g = rand(6, seed=1), rand(6, seed=2), rand(6, seed=3)
    c, c0 = x - x.mean(), x0 - x0.mean()
    s, s0 = ((t.square().mean() + 1e-5).rsqrt() for t in (c, c0))
    mean_c, gw = (c + c0) / 2, g * B
    gc = gw * (s + s0) / 2 - 2 * mean_c / 6 * (s**2 * s0**2 / (s + s0)) * (gw * mean_c).sum()
    found = multipliers(lambda a: F.layer_norm(a[None], (6,), B, B)[0], (x,), (x0,), g)[0]
    torch.testing.assert_close(found, gc - gc.mean())


def test_fused_attention_equals_its_parts() -> None:
    q, k, v, q0, k0, v0 = (rand(2, 3, 5, 4, seed=i) for i in range(6))
    g = rand(2, 3, 5, 4, seed=9)
    parts = lambda q, k, v: torch.softmax(q @ k.mT / 2, -1) @ v
    fused = multipliers(F.scaled_dot_product_attention, (q, k, v), (q0, k0, v0), g)
    for a, b in zip(fused, multipliers(parts, (q, k, v), (q0, k0, v0), g), strict=True):
        torch.testing.assert_close(a, b)


def test_attention_in_blocks_equals_attention_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from pellucid.numerics import softmax

    x, x0 = (tuple(rand(1, 2, 9, 4, seed=i + s) for i in range(3)) for s in (0, 5))
    f, g = lambda *a: F.scaled_dot_product_attention(*a, is_causal=True), rand(1, 2, 9, 4, seed=20)
    whole = multipliers(f, x, x0, g)
    monkeypatch.setattr(softmax, "_BLOCK", 40)
    for a, b in zip(multipliers(f, x, x0, g), whole, strict=True):
        torch.testing.assert_close(a, b)
