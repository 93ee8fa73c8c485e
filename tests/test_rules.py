"""Each rule alone, in float64: Σ m·Δin = Σ g·Δout on random inputs, and the limit x0 → x is the gradient."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F

import pellucid
from cases import CASES
from cases.values import B, rand
from pellucid.errors import GraphMismatch
from pellucid.numerics.deeplift.checking import limit_error, multipliers, summation_error
from pellucid.numerics.deeplift.lockstep import LEAF, Step, walk
from pellucid.numerics.deeplift.nodes import Node
from pellucid.numerics.deeplift.recording.recorder import forward_pass
from pellucid.numerics.deeplift.rules.table import NOTED, RULES
from pellucid.status import Status


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_summation_to_delta(name: str, seed: int) -> None:
    f, shapes, positive = CASES[name]
    x = tuple(rand(*s, seed=seed * 10 + i, positive=positive) for i, s in enumerate(shapes))
    x0 = tuple(rand(*s, seed=seed * 10 + 5 + i, positive=positive) for i, s in enumerate(shapes))
    assert summation_error(f, x, x0, seed) < 1e-13


@pytest.mark.parametrize("name", [name for name in CASES if name != "steps"])
def test_scores_are_no_larger_than_gradients_on_the_way(name: str) -> None:
    """A sum may be right because huge numbers cancel: Σ|m·Δx| is at most the largest Σ|∇f·Δx| between x0 and x.

    What steps (floor, round) has no gradient to compare with.
    """
    f, shapes, positive = CASES[name]
    x, x0 = (tuple(rand(*s, seed=i + k, positive=positive) for i, s in enumerate(shapes)) for k in (10, 15))
    g = rand(*f(*x).shape, seed=3)
    worth = lambda ms: sum(float((m * (a - b)).abs().sum()) for m, a, b in zip(ms, x, x0, strict=True) if m is not None)
    on_the_way = []
    for t in torch.linspace(0, 1, 9):
        at = [(b + t * (a - b)).requires_grad_() for a, b in zip(x, x0, strict=True)]
        on_the_way.append(worth(torch.autograd.grad(f(*at), at, g.to(f(*x)), allow_unused=True)))
    assert worth(multipliers(f, x, x0, g.to(f(*x)))) <= 1.05 * max(on_the_way)


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


@pytest.mark.parametrize("name", CASES)
def test_several_targets_share_a_walk(name: str) -> None:
    """What a rule computes once for all targets is what it computes for one."""
    f, shapes, positive = CASES[name]
    x, x0 = (
        tuple(rand(*s, seed=i + k, positive=positive).requires_grad_() for i, s in enumerate(shapes)) for k in (1, 6)
    )
    ys = []
    for inputs in (x, x0):
        with forward_pass(inputs, NOTED):
            ys.append(f(*inputs))
    gs = [rand(*ys[0].shape, seed=seed).to(ys[0]) for seed in (21, 22, 23)]
    together = walk([ys[0]] * 3, [ys[1]] * 3, gs, x, x0, RULES)
    for g, found in zip(gs, together, strict=True):
        for a, b in zip(found, multipliers(f, x, x0, g), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_walk_for_several_targets_begins_a_rule_once() -> None:
    began = []

    def counted(n: Node, n0: Node) -> Step:
        began.append(n)
        return RULES["TanhBackward0"](n, n0)

    x, x0 = (rand(4, seed=s).requires_grad_() for s in (1, 2))
    ys = []
    for t in (x, x0):
        with forward_pass((t,), NOTED):
            h = t.tanh()
            ys.append([h.sum(), h[:2].exp().sum(), h[3] * 2])
    table = {**RULES, "TanhBackward0": counted}
    found = walk(
        ys[0], ys[1], [torch.ones(()).double()] * 3, (x,), (x0,), table, [h], lambda k, ms: [m * 2 for m in ms]
    )
    assert len(began) == 1
    for y, y0, (m, inside) in zip(*ys, found, strict=True):
        torch.testing.assert_close((m / 2 * (x - x0)).sum(), y - y0)
        assert inside.shape == (4,)


OTHER_GRAPHS = {
    "they start from different inputs": (lambda a, b: a.tanh() + b.exp(), lambda a, b: b.tanh() + a.exp()),
    "the same value is used at different places": (
        lambda a, b: (t := a.tanh()) * t + b,
        lambda a, b: a.tanh() * a.tanh() + b,
    ),
    "the operations are not the same": (lambda a, b: a.tanh() + b, lambda a, b: a.exp() + b),
    "one of them has an input that carries no gradient": (lambda a, b: a * b, lambda a, b: a * b.detach()),
    "": (lambda a, b: a.tanh() * b, lambda a, b: a.tanh() * b),
}


@pytest.mark.parametrize("why", OTHER_GRAPHS)
def test_graphs_of_other_operations_are_not_compared(why: str) -> None:
    ends = [tuple(rand(4, seed=s + k).requires_grad_() for k in range(2)) for s in (1, 3)]
    y, y0 = (f(*x).sum() for f, x in zip(OTHER_GRAPHS[why], ends, strict=True))
    (x, x0), g = ends, torch.ones(()).double()
    with pytest.raises(GraphMismatch, match=why) if why else nullcontext():
        (found,) = walk([y], [y0], [g], x, x0, RULES)
        change = sum((m * (a - b)).sum() for m, a, b in zip(found, x, x0, strict=True))
        torch.testing.assert_close(change, y - y0, rtol=1e-12, atol=1e-12)


def test_no_rule_takes_the_place_of_a_leaf() -> None:
    assert LEAF not in RULES


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


def test_the_larger_of_a_logit_and_the_lowest_number_is_the_logit() -> None:
    """As XGLM bounds its masked logits; the difference of the two is too large for the type."""
    lowest = torch.finfo(torch.float32).min
    masked = torch.tensor([[0.0, lowest, 0.0], [0.0, 0.0, lowest]])
    f = lambda z: torch.softmax(torch.max(3 * z + masked, torch.tensor(lowest)), -1)
    x, x0 = torch.tensor([[1.0, 2.0, 3.0]] * 2), torch.tensor([[0.5, -1.0, 1.0]] * 2)
    found = pellucid.attribute(f, x, x0, target=0)
    wanted = pellucid.attribute(lambda z: torch.softmax(3 * z + masked, -1), x, x0, target=0)
    torch.testing.assert_close(found.values, wanted.values)
    assert found.status is Status.EXACT


WINNERS = {
    "pool": (lambda x: F.max_pool1d(x[:, None], 2).flatten(), torch.maximum),
    "amax": (lambda x: x.amax(1), torch.maximum),
    "along": (lambda x: x.max(1).values, torch.maximum),
    "amin": (lambda x: x.amin(1), torch.minimum),
}


@pytest.mark.parametrize("name", WINNERS)
def test_the_largest_element_counts_for_the_part_of_the_path_on_which_it_is_the_largest(name: str) -> None:
    f, extreme = WINNERS[name]
    x, x0 = rand(50, 2, seed=1), rand(50, 2, seed=2)
    x0[:5], x[5:10, 1], x0[5:10, 1] = x[:5], x[5:10, 0], x0[5:10, 0]  # nothing changes; both are always equal
    m = multipliers(f, (x,), (x0,), torch.ones(50).to(x))[0]
    t = (torch.arange(20_000).to(x) + 0.5) / 20_000
    path = torch.lerp(x0[None], x[None], t[:, None, None])
    first = path[..., 0] == extreme(path[..., 0], path[..., 1])
    differ = (x[:, 0] != x[:, 1]) & (x != x0).any(1)
    torch.testing.assert_close(m[differ, 0], first.to(x).mean(0)[differ], rtol=0, atol=1e-4)
    torch.testing.assert_close(m.sum(1), torch.ones(50).to(x))


def test_two_numbers_whose_difference_overflows_share_their_maximum() -> None:
    x, x0 = torch.tensor([[3e38, -3e38]]), torch.tensor([[0.0, 1.0]])
    for f in (lambda x: x.amax(1), lambda x: F.max_pool1d(x[:, None], 2).flatten()):
        assert multipliers(f, (x,), (x0,), torch.ones(1))[0].tolist() == [[1.0, 0.0]]


def test_fused_attention_equals_its_parts() -> None:
    q, k, v, q0, k0, v0 = (rand(2, 3, 5, 4, seed=i) for i in range(6))
    g = rand(2, 3, 5, 4, seed=9)
    parts = lambda q, k, v: torch.softmax(q @ k.mT / 2, -1) @ v
    fused = multipliers(F.scaled_dot_product_attention, (q, k, v), (q0, k0, v0), g)
    for a, b in zip(fused, multipliers(parts, (q, k, v), (q0, k0, v0), g), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("biased", [False, True])
def test_a_vocabulary_is_added_up_in_parts(biased: bool) -> None:
    """g·W of one row: float32 adds tens of thousands of products, most of which cancel, one after the other."""
    words, size = 49_152, 8
    w, logits = (t.float() for t in (rand(words, size, seed=1), rand(1, words, seed=2)))
    b = rand(words, seed=3).float() if biased else None
    x, x0 = (rand(1, size, seed=i).float() for i in (4, 5))
    g = -(2 * logits).softmax(-1)
    g[0, 7] += 1
    (found,) = multipliers(lambda x: F.linear(x, w, b), (x,), (x0,), g)
    exact = g.double() @ w.double()
    off = lambda m: float((m - exact).abs().max() / exact.abs().max())
    assert 4 * off(found) < off(g @ w)


def test_attention_in_blocks_equals_attention_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from pellucid.numerics.deeplift.rules import softmax

    x, x0 = (tuple(rand(1, 2, 9, 4, seed=i + s) for i in range(3)) for s in (0, 5))
    f, g = lambda *a: F.scaled_dot_product_attention(*a, is_causal=True), rand(1, 2, 9, 4, seed=20)
    whole = multipliers(f, x, x0, g)
    monkeypatch.setattr(softmax, "_BLOCK", 40)
    for a, b in zip(multipliers(f, x, x0, g), whole, strict=True):
        torch.testing.assert_close(a, b)


def test_a_large_tensor_in_parts_equals_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call of a step computes the quotient in parts, and further calls reuse it."""
    from pellucid.numerics.deeplift.rules import elementwise

    x, x0, gs = rand(3, 7, seed=1), rand(3, 7, seed=2), [rand(3, 7, seed=s) for s in (3, 4, 5)]
    quotient = (x.tanh() - x0.tanh()) / (x - x0)
    monkeypatch.setattr(elementwise, "_CHUNK", 5)
    torch.testing.assert_close(elementwise.secant(torch.tanh, x, x0), quotient)
    calls: list[int] = []
    through = elementwise.through_secant(lambda t: calls.append(1) or torch.tanh(t), x, x0)
    after = []
    for g in gs:
        torch.testing.assert_close(through(g), g * quotient)
        after.append(len(calls))
    assert after[0] > 0 and after == [after[0]] * 3
