"""Integrated gradients to a tolerance: against closed forms, a 1,024-point reference in float64, and its own claims."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import pellucid
from pellucid import Model, attribute
from pellucid.methods import evaluate
from pellucid.numerics.interpolation import Stretch, leja, stretch_for
from pellucid.numerics.quadrature import QUADRATURES, interpolatory, lagrange


@pytest.mark.parametrize("name", QUADRATURES)
@pytest.mark.parametrize("n", [2, 7, 20])
def test_tables(name: str, n: int) -> None:
    rule = QUADRATURES[name](n)
    assert rule.weights.sum() == pytest.approx(1) and len(rule.nodes) == n
    degree = {"gauss_legendre": 2 * n - 1, "clenshaw_curtis": n - 1, "trapezoid": 1, "midpoint": 1}[name]
    for d in range(min(degree, 12) + 1):
        assert rule.weights @ rule.nodes**d == pytest.approx(1 / (d + 1), abs=1e-12)


def test_a_stretch_maps_the_interval_onto_itself() -> None:
    s, u = Stretch(0.3, 0.05), np.linspace(0, 1, 11)
    assert s.t(np.array([0.0, 1.0])) == pytest.approx([0, 1])
    np.testing.assert_allclose(s.u(s.t(u)), u, atol=1e-12)
    step = 1e-6
    np.testing.assert_allclose((s.t(u[1:-1] + step) - s.t(u[1:-1] - step)) / (2 * step), s.dt(u[1:-1]), rtol=1e-6)


def test_a_peak_is_found() -> None:
    t = np.tile(np.linspace(0, 1, 9), (3, 1))
    found = stretch_for(t, np.stack([3 / ((t[0] - 0.37) ** 2 + 0.1**2), np.zeros(9), 3 / ((t[0] - 0.8) ** 2 + 0.2**2)]))
    np.testing.assert_allclose(found.centre[[0, 2], 0], [0.37, 0.8], atol=1 / 128)  # pyright: ignore
    np.testing.assert_allclose(found.width[[0, 2], 0], [0.1, 0.2], rtol=0.1)  # pyright: ignore
    assert found.width[1, 0] > 0  # pyright: ignore


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


def reference(f: object, x: Tensor, x0: Tensor) -> np.ndarray:
    """1,024 Gauss–Legendre points in float64."""
    return attribute(f, x.double(), x0.double(), method="integrated_gradients", n_steps=1024).values.numpy()  # pyright: ignore


SMOOTH = {
    "cubic": lambda x: (x**3).sum(1),
    "sigmoids": lambda x: torch.sigmoid(3 * x).prod(1),
    "peak": lambda x: torch.atan((x.mean(1) - 0.31) / 0.05) + x[:, 0] * x[:, 1],
    "softmax": lambda x: torch.softmax(8 * x, 1)[:, 0],
    "layer norm": lambda x: torch.tanh(torch.nn.functional.layer_norm(x - 0.4, x.shape[1:])).sum(1),
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("tol", [0.05, 0.01, 1e-4])
def test_what_it_certifies_is_so(name: str, tol: float) -> None:
    f = SMOOTH[name]
    x, x0 = torch.rand(6, 5, dtype=torch.float64) + 0.5, torch.zeros(6, 5, dtype=torch.float64)
    a = attribute(f, x, x0, method="integrated_gradients", tol=tol, max_passes=400)
    true = reference(f, x, x0)
    assert a.row_status is not None and a.row_passes is not None and a.error is not None
    for r in range(6):
        size = np.linalg.norm(true[r])
        off = np.linalg.norm(a.values[r].numpy() - true[r]) / size
        if a.row_status[r] == "converged":
            assert off <= tol
            assert abs(a.delta[r]) <= tol * abs(a.output[r] - a.baseline_output[r]) or size > 0
        assert off <= max(tol, 3 * a.error[r].norm() / size)
    assert "converged" in a.row_status
    assert a.passes == max(a.row_passes)


def test_a_kink_does_not_end_in_a_wrong_certificate() -> None:
    torch.manual_seed(0)
    w = torch.randn(12, 40, dtype=torch.float64)
    f = lambda x: torch.relu(x @ w - 0.7).amax(1) + (x[:, 0] - 0.123).abs() * 5
    x, x0 = torch.randn(12, 12, dtype=torch.float64), torch.zeros(12, 12, dtype=torch.float64)
    a = attribute(f, x, x0, method="integrated_gradients", tol=1e-3)
    true = reference(f, x, x0)
    off = np.linalg.norm(a.values.numpy() - true, axis=1) / np.linalg.norm(true, axis=1)
    assert a.status == "tolerance_not_met"
    assert a.row_status is not None and a.error is not None
    for r, status in enumerate(a.row_status):
        assert status == "tolerance_not_met" or off[r] <= 1e-3
    assert a.passes <= 97


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
    real, sizes = evaluate.gradient_at, []

    def narrow(problem: object, select: object, x: tuple[Tensor, ...], rows: Tensor) -> object:
        sizes.append(len(rows))
        if len(rows) > most:
            raise torch.OutOfMemoryError("out of memory")
        return real(problem, select, x, rows)  # pyright: ignore

    monkeypatch.setattr(evaluate, "gradient_at", narrow)
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
    handle = layer.register_forward_hook(lambda _m, args, out: sizes.append(len(args[0])))
    try:
        e = pellucid.explain(bundled, "a good film", method="integrated_gradients", n_steps=4)
    finally:
        handle.remove()
    assert sizes == [2, 4] and e.passes == 6
