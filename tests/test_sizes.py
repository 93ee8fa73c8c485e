"""A value over its own size, or at a point of infinite slope: scores that add up, and are as large as the change."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import pellucid
from cases.values import rand
from pellucid.numerics.deeplift.checking import multipliers
from sizes import F1, STEEP, by_size

KINDS = {torch.float64: 1e-6, torch.float32: 1e-4}


def adds_up(f: F1, x: Tensor, x0: Tensor, within: float, largest: float = 30.0) -> None:
    """The scores sum to f(x) − f(x0), called directly, within a part of it, and are not `largest` times as large."""
    change = f(x).double() - f(x0).double()
    values = pellucid.attribute(f, x, x0).values
    assert isinstance(values, Tensor) and torch.isfinite(values).all()
    each = values.double().flatten(1)
    assert ((each.sum(1) - change).abs() <= within * change.abs().clamp_min(1e-2)).all()
    assert (each.abs().amax(1) <= largest * change.abs().clamp_min(3.0)).all()


@pytest.mark.parametrize("name", by_size(torch.float64))
@pytest.mark.parametrize("kind", KINDS)
def test_a_value_over_its_own_size_adds_up_from_zero(name: str, kind: torch.dtype) -> None:
    f, x = by_size(kind)[name], rand(3, 6, seed=1).to(kind)
    for x0 in (torch.zeros_like(x), 1e-9 * rand(3, 6, seed=2).to(kind), rand(3, 6, seed=3).to(kind)):
        adds_up(f, x, x0, KINDS[kind])
        adds_up(f, x0, x, KINDS[kind])


@pytest.mark.parametrize("name", STEEP)
@pytest.mark.parametrize("kind", KINDS)
def test_an_infinite_slope_where_nothing_changes_counts_for_nothing(name: str, kind: torch.dtype) -> None:
    """A channel that is 0 in both passes, in one of them, and everything equal."""
    weight, bias = rand(6, 6, seed=4).to(kind) / 2, torch.zeros(6, dtype=kind)
    bias[2] = -100.0
    x, x0 = rand(2, 5, 6, seed=5).to(kind), rand(2, 5, 6, seed=6).to(kind)
    dead = lambda t: STEEP[name]((t @ weight + bias).relu()).sum(-1)
    alone = lambda t: STEEP[name](t.relu()).sum(-1)
    adds_up(dead, x, x0, KINDS[kind])
    adds_up(dead, x, x, KINDS[kind])
    adds_up(alone, x, torch.zeros_like(x), KINDS[kind])
    adds_up(alone, torch.zeros_like(x), x, KINDS[kind])


def test_gradient_methods_refuse_an_infinite_slope() -> None:
    with pytest.raises(pellucid.PellucidError, match="NaN or infinite"):
        pellucid.attribute(lambda t: t.sqrt().sum(-1), torch.tensor([[0.0, 1.0]]), method="saliency")


def test_a_quotient_between_extremes_is_the_written_formula() -> None:
    """Δ(a/b) = (2Δa − (q + q0)·Δb)/(b + b0), with q = a/b."""
    a, a0, g = rand(5, seed=1), rand(5, seed=2), rand(5, seed=3)
    b, b0 = rand(5, seed=4, positive=True), rand(5, seed=5, positive=True) * 1e-9
    to_a, to_b = multipliers(torch.div, (a, b), (a0, b0), g)
    torch.testing.assert_close(to_a, 2 * g / (b + b0))
    torch.testing.assert_close(to_b, -g * (a / b + a0 / b0) / (b + b0))


def test_an_ordinary_quotient_and_product_keep_their_means() -> None:
    a, a0, g = rand(5, seed=1), rand(5, seed=2), rand(5, seed=3)
    b, b0 = rand(5, seed=4).abs() + 1, rand(5, seed=5).abs() + 1
    to_a, to_b = multipliers(torch.div, (a, b), (a0, b0), g)
    torch.testing.assert_close(to_a, g * (1 / b + 1 / b0) / 2)
    torch.testing.assert_close(to_b, -g * (a + a0) / 2 / (b * b0))
    b0 = b0 * 1e-9  # a factor that is no inverse may be small
    to_a, to_b = multipliers(torch.mul, (a, b), (a0, b0), g)
    torch.testing.assert_close(to_a, g * (b + b0) / 2)
    torch.testing.assert_close(to_b, g * (a + a0) / 2)


def test_the_bound_of_a_cosine_is_seen() -> None:
    """Below ε a cosine is a product: x·q/(ε·‖q‖), linear, so its multiplier is its slope."""
    q, x, x0 = rand(1, 6, seed=1), rand(1, 6, seed=2) / 100, rand(1, 6, seed=3) / 100
    found = multipliers(lambda t: F.cosine_similarity(t, q, -1, 2.0), (x,), (x0,), torch.ones(1).double())[0]
    torch.testing.assert_close(found, q / (2.0 * q.norm().clamp_min(2.0)))


def test_the_smallest_of_many_zeros() -> None:
    """All contenders are equal on one side: who leads is told by the other."""
    x0 = rand(2, 6, seed=1, positive=True)
    for f in (torch.amin, torch.amax):
        adds_up(lambda t, f=f: f(t, -1), torch.zeros_like(x0), x0, 1e-9)
        adds_up(lambda t, f=f: f(t, -1), x0, torch.zeros_like(x0), 1e-9)


def test_a_constant_is_cast_to_a_float32_input() -> None:
    w, x = rand(6, 6, seed=1), torch.randn(2, 6)
    adds_up(lambda t: (t @ w.to(torch.float32)).sum(-1) + (t @ w.float()).sum(-1), x, torch.zeros_like(x), 1e-5)
