"""Methods over a distribution of baselines, and several baselines in one batch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from families import model, tokenizer
from pellucid import Model, errors

DISTRIBUTIONS = [name for name, m in pellucid.METHODS.items() if m.distribution]
SAMPLED = [name for name in DISTRIBUTIONS if "n_samples" in pellucid.METHODS[name].options]


def mlp(kink: type[nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 24), kink(), nn.Linear(24, 16), kink(), nn.Linear(16, 3)).double()


@pytest.fixture
def points() -> tuple[Tensor, Tensor]:
    """Inputs and baselines, as many of one as of the other neither here nor there."""
    return torch.randn(5, 6).double(), torch.randn(3, 6).double() * 0.5


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Captum's own deprecations and hooks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def small() -> Model:
    return Model(model("Bert", num_hidden_layers=1), tokenizer())


# ------------------------------------------------------------------------------------------------------ against peers


def test_deep_shap_is_captums_deep_lift_shap(points: tuple[Tensor, Tensor]) -> None:
    attr = pytest.importorskip("captum.attr")
    net, (x, baselines) = mlp(), points
    theirs = attr.DeepLiftShap(net).attribute(x, baselines, target=1)
    ours = pellucid.attribute(net, x, baselines, method="deep_shap", target=1)
    torch.testing.assert_close(ours.values, theirs.detach(), atol=1e-12, rtol=0)
    assert ours.delta.abs().max() < 1e-12
    torch.testing.assert_close(ours.baseline_output, net(baselines)[:, 1].mean().detach().expand(5))


def test_gradient_shap_is_captums_within_the_sampling_error(points: tuple[Tensor, Tensor]) -> None:
    attr = pytest.importorskip("captum.attr")
    np.random.seed(0)
    net, (x, baselines) = mlp(nn.Tanh), points
    theirs = attr.GradientShap(net).attribute(x, baselines, target=1, n_samples=4000)
    ours = pellucid.attribute(net, x, baselines, method="gradient_shap", target=1, n_samples=4000)
    z = (ours.values - theirs.detach()) / (ours.error * 2**0.5)  # pyright: ignore
    assert z.abs().max() < 4.5
    assert 0.5 < z.square().mean().sqrt() < 1.5


# --------------------------------------------------------------------------------------- against independent formulas


def expected(net: nn.Module, x: Tensor, baselines: Tensor, target: int, n: int = 200) -> Tensor:
    """The mean of integrated gradients over the baselines, by Gauss–Legendre with n points."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    total = torch.zeros_like(x)
    for b in baselines:
        for t, w in zip((nodes + 1) / 2, weights / 2, strict=True):
            point = (b + t * (x - b)).requires_grad_()
            (g,) = torch.autograd.grad(net(point)[:, target].sum(), point)
            total += w * g * (x - b) / len(baselines)
    return total


@pytest.mark.parametrize("method", SAMPLED)
def test_the_standard_error_is_that_of_the_estimate(method: str, points: tuple[Tensor, Tensor]) -> None:
    net, (x, baselines) = mlp(nn.Tanh), points
    exact = expected(net, x, baselines, 2)
    z = []
    for seed in range(12):
        a = pellucid.attribute(net, x, baselines, method=method, target=2, n_samples=300, seed=seed)
        assert a.status == "sampled" and isinstance(a.values, Tensor) and isinstance(a.error, Tensor)
        z.append((a.values - exact) / a.error)
    assert 0.5 < torch.stack(z).square().mean().sqrt() < 1.2  # taking turns, the error is smaller than it says
    assert torch.stack(z).abs().max() < 5


def test_without_a_gradient_that_changes_only_the_baseline_is_random() -> None:
    w, x, baselines = torch.randn(4).double(), torch.randn(2, 4).double(), torch.randn(5, 4).double()
    a = pellucid.attribute(lambda t: t @ w, x, baselines, method="expected_gradients", n_samples=50)
    torch.testing.assert_close(a.values, (x - baselines.mean(0)) * w)
    assert a.delta.abs().max() < 1e-12


def test_noise_is_added_to_the_input() -> None:
    x, how = torch.randn(2, 4).double(), {"method": "gradient_shap", "n_samples": 3000}
    f = lambda t: (t**2).sum(-1)
    still = pellucid.attribute(f, x, 0.0, **how)
    moved = pellucid.attribute(f, x, 0.0, noise=0.5, **how)
    torch.testing.assert_close(still.values, x**2, atol=0.15, rtol=0)
    sigma = 0.5 * (x.amax(1) - x.amin(1)).unsqueeze(1)  # E (x + ε)² = x² + σ²
    assert ((moved.values - x**2 - sigma**2) / moved.error).abs().max() < 4.5  # pyright: ignore


def test_a_tuple_of_inputs_draws_its_baselines_together() -> None:
    a, b = torch.randn(3, 2).double(), torch.randn(3, 4).double()
    a0 = torch.randn(6, 2).double()
    found = pellucid.attribute(
        lambda s, t: s.sum(1) * t.sum(1), (a, b), (a0, torch.cat([a0, a0], 1)), method="deep_shap"
    )
    assert [v.shape for v in found.values] == [a.shape, b.shape] and found.delta.abs().max() < 1e-12
    sampled = pellucid.attribute(
        lambda s, t: s.sum(1) - t[:, :2].sum(1), (a, a), (a0, a0), method="gradient_shap", n_samples=20
    )
    torch.testing.assert_close(sum(v.sum(1) for v in sampled.values), torch.zeros(3).double())
    assert isinstance(sampled.error, tuple)


@pytest.mark.parametrize("method", DISTRIBUTIONS)
@pytest.mark.parametrize(
    ("x0", "number"), [(None, 0.0), (0.5, 0.5), (torch.ones(6).double(), 1.0), (torch.ones(1, 6).double(), 1.0)]
)
def test_one_baseline_is_a_distribution_too(method: str, x0: Any, number: float, points: tuple[Tensor, Tensor]) -> None:
    """DeepLIFT itself for deep_shap; occlusion for feature_permutation; for the others integrated gradients,
    within four standard errors."""
    net, x, one = mlp(nn.Tanh), points[0], torch.full((1, 6), number).double()
    a = pellucid.attribute(net, x, x0, method=method, target=0)
    torch.testing.assert_close(a.output, net(x)[:, 0].detach())
    torch.testing.assert_close(a.baseline_output, net(one)[:, 0].detach().expand(5))
    if method == "feature_permutation":
        torch.testing.assert_close(a.values, pellucid.attribute(net, x, one, method="occlusion", target=0).values)
    elif method == "deep_shap":
        torch.testing.assert_close(a.values, pellucid.attribute(net, x, one.expand(5, 6), target=0).values)
    else:
        off = (a.values - expected(net, x, one, 0)).abs()  # pyright: ignore[reportOperatorIssue]
        assert (off <= 4.5 * a.error + 1e-12).all() and (a.error < a.values.abs().max()).all()  # pyright: ignore


@pytest.mark.parametrize("method", DISTRIBUTIONS)
def test_a_distribution_that_does_not_fit(method: str) -> None:
    with pytest.raises(errors.InputError, match="expected a number or a tensor that fits"):
        pellucid.attribute(mlp(), torch.zeros(2, 6).double(), torch.zeros(3, 5).double(), method=method, target=0)
    with pytest.raises(errors.InputError, match="expected at least one"):
        pellucid.attribute(mlp(), torch.zeros(2, 6).double(), torch.zeros(0, 6).double(), method=method, target=0)


@pytest.mark.parametrize("method", SAMPLED)
def test_too_few_samples(method: str) -> None:
    with pytest.raises(errors.InputError, match="at least 2"):
        pellucid.attribute(mlp(), torch.zeros(2, 6).double(), method=method, target=0, n_samples=1)
    with pytest.raises(errors.InputError, match="0 or more"):
        pellucid.attribute(mlp(), torch.zeros(2, 6).double(), method="gradient_shap", target=0, noise=-1)


# ------------------------------------------------------------------------------------------------------ of texts

TEXTS = ["a good film .", "the plot is dull , and the acting is bad", "a very bad film"]
BASELINES: list[Any] = ["mask", "pad", "zero", "the"]


def test_deep_shap_of_a_text_is_the_mean_of_its_deep_lifts(bundled: Model) -> None:
    for text, e in zip(TEXTS, pellucid.explain(bundled, TEXTS, method="deep_shap", baseline=BASELINES), strict=True):
        each = [pellucid.explain(bundled, text, baseline=b) for b in BASELINES]
        np.testing.assert_allclose(e.scores, np.mean([one.scores for one in each], axis=0), atol=1e-5)
        assert e.baseline_output == pytest.approx(np.mean([one.baseline_output for one in each]), abs=1e-5)
        assert e.baseline == "mask, pad, zero, the" and e.status == "exact" and e.relative_delta < 1e-5
        assert "baselines" not in e.meta


@pytest.mark.parametrize("method", SAMPLED)
def test_sampled_gradients_of_a_text(bundled: Model, method: str) -> None:
    how: dict[str, Any] = {"method": method, "baseline": ["mask", "zero"], "n_samples": 64}
    for text, e in zip(TEXTS, pellucid.explain(bundled, TEXTS, **how), strict=True):
        np.testing.assert_allclose(e.scores, pellucid.explain(bundled, text, **how).scores, atol=1e-4)
        integrated = pellucid.explain(
            bundled, text, method="integrated_gradients", baseline=["mask", "zero"], n_steps=40
        )
        assert e.error is not None and e.error.shape == e.scores.shape and e.passes == 67
        assert np.linalg.norm(e.scores - integrated.scores) < 3 * np.linalg.norm(e.error)


@pytest.mark.parametrize("method", [name for name, m in pellucid.METHODS.items() if not m.distribution])
def test_baselines_that_share_batches_answer_as_they_do_alone(small: Model, method: str) -> None:
    texts = ["a good film .", "the dull plot was bad"]
    together = pellucid.explain(small, texts, method=method, baseline=BASELINES)
    alone = [pellucid.explain(small, texts, method=method, baseline=b) for b in BASELINES]
    for k, e in enumerate(together):
        each = [answers[k] for answers in alone]
        size = max(1.0, *(np.abs(one.scores).max() for one in each))
        np.testing.assert_allclose(e.scores, np.mean([one.scores for one in each], axis=0), atol=1e-5 * size)
        again = len(each) - 1 if method == "deeplift" else 0  # one pass holds the input and all of its baselines
        assert e.passes == sum(one.passes for one in each) - again
        assert e.output == pytest.approx(each[0].output, abs=1e-5)
        for kept, one in zip(e.meta["baselines"], each, strict=True):
            assert kept["baseline"] == one.baseline and kept["status"] == one.status
            assert kept["delta"] == pytest.approx(one.delta, abs=1e-5 * size)
        assert e.delta == pytest.approx(np.mean([one.delta for one in each]), abs=1e-5 * size)


def test_baselines_share_batches(bundled: Model) -> None:
    sizes: list[int] = []
    alike = [TEXTS[0]] * 3
    for method in ("deeplift", "input_x_gradient"):  # what is measured once for a model is measured now
        pellucid.explain(bundled, alike, baseline=BASELINES, method=method)
    layer = bundled.model.base_model.encoder.layer[0]  # pyright: ignore
    handle = layer.register_forward_hook(lambda _m, args, out: sizes.append(len(args[0])))
    try:
        pellucid.explain(bundled, alike, baseline=BASELINES)
        assert sizes == [3 + 12]  # three texts, and four baselines of each, in one pass
        sizes.clear()
        pellucid.explain(bundled, alike, baseline=BASELINES, method="input_x_gradient")
        assert sizes == [3, 12]  # f(x) once for each text
        sizes.clear()
        pellucid.explain(bundled, "a good film " * 100, baseline=BASELINES)
        assert sizes == [1 + 2, 1 + 2]  # within 1,024 positions
    finally:
        handle.remove()


def test_what_is_deleted_shares_no_batch_but_the_average(bundled: Model) -> None:
    both = pellucid.explain(bundled, TEXTS, method="occlusion", baseline=["delete", "mask", "pad"])
    each = [pellucid.explain(bundled, TEXTS, method="occlusion", baseline=b) for b in ("delete", "mask", "pad")]
    for e, ones in zip(both, zip(*each, strict=True), strict=True):
        np.testing.assert_allclose(e.scores, np.mean([one.scores for one in ones], axis=0), atol=1e-5)
        assert [b["baseline"] for b in e.meta["baselines"]] == ["delete", "mask", "pad"]


def test_what_is_inside_is_averaged_over_the_baselines(bundled: Model) -> None:
    baselines = ["mask", "zero"]
    together = pellucid.explain(bundled, TEXTS, baseline=baselines, detail=("layers",))
    each = [pellucid.explain(bundled, TEXTS, baseline=b, detail=("layers",)) for b in baselines]
    for e, a, b in zip(together, *each, strict=True):
        np.testing.assert_allclose(e.layers, (a.layers + b.layers) / 2, atol=1e-5)


def test_each_text_has_its_own_target_whatever_the_baseline(bundled: Model) -> None:
    texts = ["a great film", "a terrible film", "good", "bad"]
    for e in pellucid.explain(bundled, texts, baseline=BASELINES):
        assert e.target.name == e.prediction == pellucid.explain(bundled, e.text).prediction


def test_a_tolerance_that_one_baseline_misses_is_missed(bundled: Model) -> None:
    how: dict[str, Any] = {"method": "integrated_gradients", "tol": 1e-3}
    needed = [pellucid.explain(bundled, TEXTS[1], baseline=b, **how).passes for b in BASELINES]
    e = pellucid.explain(bundled, TEXTS[1], baseline=BASELINES, max_passes=min(needed), **how)
    assert {b["status"] for b in e.meta["baselines"]} == {"converged", "tolerance_not_met"}
    assert e.status == "tolerance_not_met"
