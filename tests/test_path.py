"""Integrated gradients to a tolerance: against closed forms, a 1,024-point reference in float64, and its own claims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import pellucid
from pellucid import Model, attribute
from pellucid.engine import passes
from pellucid.numerics.quadrature.composite import Composite, cubic, step
from pellucid.numerics.quadrature.fixed import QUADRATURES, interpolatory, lagrange
from pellucid.numerics.quadrature.interpolation import Stretch, leja, stretch_for
from pellucid.numerics.quadrature.points import Points


@pytest.mark.parametrize("name", QUADRATURES)
@pytest.mark.parametrize("n", [2, 7, 20])
def test_tables(name: str, n: int) -> None:
    rule = QUADRATURES[name](n)
    assert rule.weights.sum() == pytest.approx(1) and len(rule.nodes) == n
    degree = {
        "gauss_legendre": 2 * n - 1,
        "clenshaw_curtis": n - 1,
        "trapezoid": 1,
        "midpoint": 1,
        "left": 0,
        "right": 0,
    }[name]
    for d in range(min(degree, 12) + 1):
        assert rule.weights @ rule.nodes**d == pytest.approx(1 / (d + 1), abs=1e-12)


def test_a_stretch_maps_the_interval_onto_itself() -> None:
    s, u = Stretch(np.array([[0.3]]), np.array([[0.05]])), np.linspace(0, 1, 11)[None]
    np.testing.assert_allclose(s.t(np.array([[0.0, 1.0]])), [[0, 1]], atol=1e-12)
    np.testing.assert_allclose(s.u(s.t(u)), u, atol=1e-12)
    d = 1e-6
    np.testing.assert_allclose((s.t(u[:, 1:-1] + d) - s.t(u[:, 1:-1] - d)) / (2 * d), s.dt(u[:, 1:-1]), rtol=1e-6)


def test_a_peak_is_found() -> None:
    t = np.tile(np.linspace(0, 1, 9), (3, 1))
    found = stretch_for(t, np.stack([3 / ((t[0] - 0.37) ** 2 + 0.1**2), np.zeros(9), 3 / ((t[0] - 0.8) ** 2 + 0.2**2)]))
    np.testing.assert_allclose(found.centre[[0, 2], 0], [0.37, 0.8], atol=1 / 128)
    np.testing.assert_allclose(found.width[[0, 2], 0], [0.1, 0.2], rtol=0.1)
    assert found.width[1, 0] > 0


def test_leja_points_and_their_weights() -> None:
    u = np.array([[0.0, 1.0, 0.3], [0.2, 0.25, 0.9]])
    for n in (5, 12, 90):
        more = np.concatenate([u, leja(u, n)], 1)
        assert all(len(set(np.round(row, 12))) == 3 + n for row in more)
        weights = interpolatory(more)
        assert np.abs(weights).sum(1).max() <= 2
        for d in range(4):
            np.testing.assert_allclose((weights * more**d).sum(1), 1 / (d + 1), atol=1e-9)
        np.testing.assert_allclose(weights[1], interpolatory(more[1]))  # a row as it would be alone


def test_the_polynomial_through_points() -> None:
    nodes, at = np.array([[0.0, 1.0, 0.3], [0.2, 0.25, 0.9]]), np.array([[0.7, 0.3], [0.1, 0.9]])
    found = (lagrange(nodes, at) @ (3 * nodes**2 - nodes)[..., None])[..., 0]
    np.testing.assert_allclose(found, 3 * at**2 - at, atol=1e-12)


def reference(f: Any, x: Tensor, x0: Tensor, n: int = 1024, rule: str = "gauss_legendre") -> np.ndarray:
    """A fixed rule of many points in float64, written out."""
    table = QUADRATURES[rule](n)
    x, x0 = x.double(), x0.double()
    points = (x0 + torch.from_numpy(table.nodes).view(-1, 1, 1) * (x - x0)).requires_grad_()
    (gradient,) = torch.autograd.grad(f(points.flatten(0, 1)).sum(), points)
    return ((x - x0) * (torch.from_numpy(table.weights).view(-1, 1, 1) * gradient).sum(0)).numpy()


SMOOTH = {
    "cubic": lambda x: (x**3).sum(1),
    "sigmoids": lambda x: torch.sigmoid(3 * x).prod(1),
    "peak": lambda x: torch.atan((x.mean(1) - 0.31) / 0.05) + x[:, 0] * x[:, 1],
    "softmax": lambda x: torch.softmax(8 * x, 1)[:, 0],
    "layer norm": lambda x: torch.tanh(torch.nn.functional.layer_norm(x - 0.4, x.shape[1:])).sum(1),
}


def errors_of(a: pellucid.Attribution, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each row: whether it says that it is within the tolerance, how far off it is, and how far it says it is."""
    assert a.row_status is not None and a.error is not None and isinstance(a.values, Tensor)
    size = np.linalg.norm(true, axis=1)
    off = np.linalg.norm(a.values.double().numpy() - true, axis=1) / size
    return np.array([s == "converged" for s in a.row_status]), off, np.linalg.norm(a.error, axis=1) / size  # pyright: ignore


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("tol", [0.05, 0.01, 1e-4])
def test_what_it_certifies_is_so(name: str, tol: float) -> None:
    f = SMOOTH[name]
    x, x0 = torch.rand(6, 5, dtype=torch.float64) + 0.5, torch.zeros(6, 5, dtype=torch.float64)
    a = attribute(f, x, x0, method="integrated_gradients", tol=tol, max_passes=400)
    true = reference(f, x, x0)
    certified, off, said = errors_of(a, true)
    assert certified.all() and a.status == "converged"
    assert (off <= tol).all() and (off <= 3 * said + 1e-9).all()
    change = f(x) - f(x0)
    size = np.abs(true).sum(1)  # what the residual is compared with where scores cancel a hundredfold
    left = (torch.from_numpy(true.sum(1)) - change).abs(), (a.values.sum(1) - change).abs()  # pyright: ignore
    assert (left[0] < 1e-9).all()
    assert (left[1].numpy() <= tol * np.where(size > 99 * change.abs().numpy(), size, change.abs().numpy())).all()
    assert a.passes == max(a.row_passes or ())


def network(act: Callable[[Tensor], Tensor], depth: int, seed: int) -> Callable[[Tensor], Tensor]:
    """A small network at random, 12 inputs and 40 wide."""
    draw = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)
    layers = [(normal(12 if k == 0 else 40, 40) / (6 if k == 0 else 20) ** 0.5, 0.3 * normal(40)) for k in range(depth)]
    last = normal(40)

    def f(x: Tensor) -> Tensor:
        for weight, bias in layers:
            x = act(x @ weight.to(x) + bias.to(x))
        return x @ last.to(x)

    return f


HARD = {
    "relu": torch.relu,
    "leaky relu": lambda z: torch.nn.functional.leaky_relu(z, 0.1),
    "absolute value": torch.abs,
    "the larger of two": lambda z: torch.maximum(z, z.roll(1, -1)),
    "steep sigmoid": lambda z: torch.sigmoid(40 * z),
    "steep gelu": lambda z: torch.nn.functional.gelu(8 * z) / 8,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", HARD)
def test_functions_with_kinks_and_steps_are_certified_and_rightly(name: str, dtype: torch.dtype) -> None:
    for depth, tol, most in [(1, 1e-3, 2000), (2, 0.01, 400)]:
        f = network(HARD[name], depth, seed=depth)
        draw = torch.Generator().manual_seed(7)
        x = torch.randn(8, 12, generator=draw, dtype=torch.float64)
        x0 = torch.randn(8, 12, generator=draw, dtype=torch.float64) if depth == 2 else torch.zeros_like(x)
        how = {"method": "integrated_gradients", "tol": tol, "max_passes": most}
        a = attribute(f, x.to(dtype), x0.to(dtype), **how)
        certified, off, _ = errors_of(a, reference(f, x, x0, 6000, "midpoint"))
        assert certified.mean() >= 7 / 8
        assert (off[certified] <= tol).all()


def test_what_is_not_certified_says_how_far_off_it_is() -> None:
    certified, offs, saids = [], [], []
    for name, act in HARD.items():
        f = network(act, depth=2, seed=len(name))
        x, x0 = torch.randn(12, 12, dtype=torch.float64), torch.zeros(12, 12, dtype=torch.float64)
        a = attribute(f, x, x0, method="integrated_gradients", tol=1e-3, max_passes=80)
        for of, found in zip(
            (certified, offs, saids), errors_of(a, reference(f, x, x0, 4000, "midpoint")), strict=True
        ):
            of.extend(found)
        assert a.passes <= 80
    certified, offs, saids = map(np.array, (certified, offs, saids))
    assert (offs[certified] <= 1e-3).all() and (~certified).sum() > 30
    over = offs[~certified] / saids[~certified]
    assert (over <= 1).mean() > 0.9 and over.max() < 4 and offs[~certified].max() > 1e-2  # a peak may be missed


def test_a_function_that_jumps_is_never_certified() -> None:
    f = lambda x: x.sum(1) + 3 * (x.mean(1) > 0.217)
    x, x0 = torch.rand(3, 4, dtype=torch.float64) + 0.5, torch.zeros(3, 4, dtype=torch.float64)
    a = attribute(f, x, x0, method="integrated_gradients", max_passes=500)
    assert a.row_status == ("tolerance_not_met",) * 3 and a.row_passes == (500,) * 3
    np.testing.assert_allclose(a.delta, 3, atol=1e-9)  # pyright: ignore


def test_many_passes_take_few_rounds_and_all_of_the_budget() -> None:
    calls: list[int] = []
    steep = network(HARD["steep sigmoid"], 2, seed=1)

    def f(x: Tensor) -> Tensor:
        calls.append(len(x))
        return steep(x)

    x = torch.randn(2, 12, dtype=torch.float64)
    a = attribute(f, x, x * 0, method="integrated_gradients", tol=1e-14, max_passes=2000)
    assert a.row_passes == (2000, 2000) and a.status == "tolerance_not_met"
    looked = 2 * 2 + 4  # at each end, for what carries no gradient; rows alone, for what mixes rows
    assert sum(calls) == 2 * 2000 + looked and len(calls) < 60  # the number of points grows by a share of itself
    true = reference(steep, x, x * 0, 8000, "midpoint")
    assert np.linalg.norm(a.values.numpy() - true) < 1e-5 * np.linalg.norm(true)  # pyright: ignore


def composite(t: np.ndarray, f: Callable[[np.ndarray], Any], g: Callable[[np.ndarray], Any], table: Any) -> Composite:
    """A row of one score whose integrand is g = f'."""
    return Composite.of(Points(t[None], g(t)[None, :, None, None], f(t)[None, :, None]), table)


def test_a_table_of_means() -> None:
    t = np.array([0.0, 1.0, 0.2, 0.75, 0.33, 0.5, 0.9])
    found = composite(t, lambda t: t**4 - t, lambda t: 4 * t**3 - 1, cubic)  # exact for a cubic, whatever the points
    assert found.total[0, 0, 0] == pytest.approx(0, abs=1e-12) and found.error[0, 0, 0] > 0
    jump = lambda t: np.where(t < 0.41, 2.0, -1.0)
    found = composite(t, lambda t: np.where(t < 0.41, 2 * t, 0.82 - (t - 0.41)), jump, step)
    assert found.total[0, 0, 0] == pytest.approx(0.82 - 0.59)
    assert found.error[0, 0, 0] == pytest.approx(1.5 * (0.5 - 0.33))  # half of the jump, over its gap
    assert ((found.more(3) > 0.33) & (found.more(3) < 0.5)).all()
    missed = composite(t, lambda t: 5.0 * (t > 0.6), np.zeros_like, cubic)  # a peak that no point has seen
    assert missed.error.max() >= 0 and ((missed.more(5) > 0.5) & (missed.more(5) < 0.75)).all()


@pytest.mark.parametrize("table", [cubic, step])
def test_pairs_of_a_composite_rule_are_a_stieltjes_integral(table: Any) -> None:
    draw = np.random.default_rng(0)
    t = np.concatenate([[1, 0], draw.random(400)])
    rule = composite(t, np.sin, np.cos, table)
    g, dh = rule.paired(0, 0, torch.from_numpy(np.cos(t)), torch.from_numpy(t**2))
    assert float((g * dh).sum()) == pytest.approx(2 * (np.cos(1) + np.sin(1) - 1), rel=1e-4)  # ∫ cos t · d(t²)
    assert len(g) == 401


def test_each_row_stops_by_itself_and_as_it_would_alone(bundled: Model) -> None:
    texts = ["a good film .", "one of the most boring things I have seen in years , badly acted and far too long", "ok"]
    together = pellucid.explain(bundled, texts, method="integrated_gradients", tol=1e-3)
    assert len({e.passes for e in together}) > 1
    for text, e in zip(texts, together, strict=True):
        alone = pellucid.explain(bundled, text, method="integrated_gradients", tol=1e-3)
        assert alone.status == e.status == "converged" and alone.passes == e.passes
        np.testing.assert_allclose(e.scores, alone.scores, atol=1e-4)
        assert e.error is not None and e.error.shape == e.scores.shape
        exact = pellucid.explain(bundled, text, method="integrated_gradients", n_steps=300)
        assert np.linalg.norm(e.scores - exact.scores) <= 1e-3 * np.linalg.norm(exact.scores)


def test_a_budget_that_is_too_small_is_said(bundled: Model) -> None:
    e = pellucid.explain(bundled, "a good film", method="integrated_gradients", tol=1e-7, max_passes=23)
    assert e.status == "tolerance_not_met" and e.passes == 23
    assert "tolerance_not_met" in e.to_json()


def test_batches_that_do_not_fit_are_halved(bundled: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pellucid.explain(bundled, "a good film", method="integrated_gradients", n_steps=40)
    real, sizes = passes.gradient_at, []

    def narrow(problem: object, select: object, x: tuple[Tensor, ...], rows: Tensor) -> object:
        sizes.append(len(rows))
        if len(rows) > most:
            raise torch.OutOfMemoryError("out of memory")
        return real(problem, select, x, rows)  # pyright: ignore

    monkeypatch.setattr(passes, "gradient_at", narrow)
    most = 6
    again = pellucid.explain(bundled, "a good film", method="integrated_gradients", n_steps=40)
    np.testing.assert_allclose(again.scores, whole.scores, atol=1e-5)
    assert max(sizes) > 6 and sizes[-1] <= 6
    most = 0
    with pytest.raises(pellucid.errors.OutOfMemory, match="One row"):
        pellucid.explain(bundled, "a good film", method="integrated_gradients", n_steps=40)


def test_deeplift_on_segments_is_exact_for_any_number_and_tends_to_integrated_gradients(bundled: Model) -> None:
    text = "a good film ."
    exact = pellucid.explain(bundled, text, method="integrated_gradients", n_steps=300)
    off = []
    for k in (1, 4, 16, 64):
        e = pellucid.explain(bundled, text, segments=k)
        assert e.relative_delta < 1e-5 and e.passes == k + 1 and e.status == "exact"
        off.append(float(np.linalg.norm(e.scores - exact.scores) / np.linalg.norm(exact.scores)))
    assert off == sorted(off, reverse=True) and off[-1] < 0.01


def test_both_ends_share_a_pass(bundled: Model) -> None:
    sizes: list[int] = []
    layer = bundled.model.base_model.encoder.layer[0]  # pyright: ignore
    pellucid.explain(bundled, "a good film", method="integrated_gradients", n_steps=4)  # measures what is measured once
    handle = layer.register_forward_hook(lambda _m, args, out: sizes.append(len(args[0])))
    try:
        e = pellucid.explain(bundled, "a good film", method="integrated_gradients", n_steps=4)
    finally:
        handle.remove()
    assert sizes == [2, 4] and e.passes == 6


@pytest.mark.parametrize("power", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_converged_is_said_of_the_change_however_large_the_scores_are(power: int, dtype: torch.dtype) -> None:
    """Near a zero baseline the gradient of x/‖x‖³ is so large that scores cancel a millionfold."""
    torch.manual_seed(power)
    x, q = torch.randn(4, 6, dtype=dtype), torch.randn(6, dtype=dtype)
    f = lambda t: (t / (t.norm(dim=-1, keepdim=True) ** power + 1e-9) * q).sum(-1)
    a = attribute(f, x, method="integrated_gradients", max_passes=300)
    statuses = a.row_status or (a.status,) * 4
    for status, delta, change in zip(statuses, a.delta, a.output - a.baseline_output, strict=True):
        assert status != "converged" or abs(delta) <= 0.05 * abs(change)
