"""Metrics of faithfulness: removal curves against f called by hand, and the search against all orders."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid.engine.coalitions import Game, games_of
from pellucid.errors import InputError
from pellucid.metrics import faithfulness, plausibility, removal_curves, sanity

N = 5
NET = nn.Sequential(nn.Linear(N, 16), nn.Tanh(), nn.Linear(16, 1)).double().eval()
with torch.no_grad():
    for parameter in NET.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7)))
X = torch.randn(2, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
X0 = torch.randn(2, N, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def game(sizes: list[int] | None = None) -> Game:
    def f(x: Tensor) -> Tensor:
        if sizes is not None:
            sizes.append(len(x))
        return NET(x)[:, 0]

    return games_of(pellucid.Problem(f, (X,), (X0,), lambda out: lambda o, which: o))[0]


def by_hand(row: int, order: tuple[int, ...]) -> list[float]:
    point, curve = X[row].clone(), []
    for group in (None, *order):
        if group is not None:
            point[group] = X0[row, group]
        curve.append(NET(point[None]).item())
    return curve


def test_curves_are_what_f_gives_when_called_by_hand() -> None:
    order, other = (3, 0, 4, 1, 2), (1, 2, 0, 3, 4)
    found = removal_curves.removal_curves(
        game(), {"a": {0: np.array(order), 1: np.array(other)}, "b": {1: np.array(order)}}
    )
    for name, row, o in (("a", 0, order), ("a", 1, other), ("b", 1, order)):
        np.testing.assert_allclose(found[name][row], by_hand(row, o), atol=1e-12)


def test_equal_inputs_are_evaluated_once() -> None:
    sizes: list[int] = []
    played = game(sizes)
    before = sum(sizes)
    order = np.arange(N)
    removal_curves.removal_curves(played, {"a": {0: order}, "b": {0: order}, "back": {0: order[::-1]}})
    assert sum(sizes) - before == 1 + 2 * (N - 1)  # x is known; one end and the steps between of two orders


def test_the_search_finds_the_best_and_the_worst_of_all_orders() -> None:
    for row in range(2):
        areas = {o: np.mean(by_hand(row, o)[1:]) for o in permutations(range(N))}
        played = game()
        bounds = removal_curves.search_orders(played, row)
        assert tuple(bounds.steepest.tolist()) == min(areas, key=areas.__getitem__)
        assert tuple(bounds.flattest.tolist()) == max(areas, key=areas.__getitem__)
        ends = removal_curves.removal_curves(played, {"best": {row: bounds.steepest}, "worst": {row: bounds.flattest}})
        best, worst = ends["best"][row], ends["worst"][row]
        assert faithfulness.normalised_area(best, best, worst) == pytest.approx(1)
        assert faithfulness.normalised_area(worst, best, worst) == pytest.approx(0)


def test_metrics_are_their_formulas() -> None:
    v, r = np.array([4.0, 1.0, 0.0, -1.0]), np.array([4.0, 3.0, 2.0, -1.0])
    assert faithfulness.comprehensiveness(v, [0.1, 0.5]) == pytest.approx(4 - (1 + 0) / 2)
    assert faithfulness.sufficiency(r, [0.1, 0.5]) == pytest.approx(4 - (2 + 3) / 2)
    assert faithfulness.area_between(v, r) == pytest.approx((3 + 2 - 1) / 3 - 0)
    assert np.isnan(faithfulness.normalised_area(v, v, v))


@pytest.mark.parametrize("bins", [[], [0.0], [1.5]])
def test_a_share_outside_zero_to_one_is_refused(bins: list[float]) -> None:
    with pytest.raises(InputError, match="share"):
        faithfulness.comprehensiveness(np.array([1.0, 0.0]), bins)


def test_orders_and_scores_that_rank_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="permutation"):
        removal_curves.removal_curves(game(), {"a": {0: np.array([0, 0, 1, 2, 3])}})
    with pytest.raises(InputError, match="NaN"):
        removal_curves.order_of([1.0, float("nan")])
    assert removal_curves.order_of([0.0, 2.0, 0.0]).tolist() == [1, 0, 2]


CAPTUM_SAMPLES = 7


def smooth() -> pellucid.Problem:
    return pellucid.Problem(lambda x: NET(x)[:, 0], (X,), (X0,), lambda out: lambda o, which: o)


def gradient(x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (g,) = torch.autograd.grad(NET(x).sum(), x)
    return g


@pytest.mark.parametrize("scaled", [False, True])
def test_infidelity_is_captums(scaled: bool) -> None:
    peer = pytest.importorskip("captum.metrics")
    values, noise = 1.5 * gradient(X), 0.5 * torch.randn(2 * CAPTUM_SAMPLES, N, dtype=torch.float64)
    theirs = peer.infidelity(
        lambda x: NET(x)[:, 0],
        lambda x: (noise, x - noise),
        X,
        values,
        n_perturb_samples=CAPTUM_SAMPLES,
        normalize=scaled,
    )
    ours = sanity.infidelity(smooth(), (values,), lambda x: (x[0] - noise,), CAPTUM_SAMPLES, scaled)
    torch.testing.assert_close(ours[0], theirs, rtol=1e-8, atol=1e-10)
    assert (ours > 1e-6).all()


def test_the_gradient_of_a_linear_function_has_no_infidelity() -> None:
    w = torch.arange(1.0, N + 1, dtype=torch.float64)
    problem = pellucid.Problem(lambda x: x @ w, (X,), (X0,), lambda out: lambda o, which: o)
    noisy = lambda x: (x[0] + torch.randn_like(x[0]),)
    assert sanity.infidelity(problem, (w.expand_as(X),), noisy).max() < 1e-20
    assert sanity.infidelity(problem, (2 * w.expand_as(X),), noisy, scaled=True).max() < 1e-20
    assert sanity.max_sensitivity(problem, lambda p: (w.expand_as(p.x[0]),)).max() == 0


def test_max_sensitivity_is_captums() -> None:
    peer = pytest.importorskip("captum.metrics")
    noise = 0.1 * torch.randn(CAPTUM_SAMPLES, 2, N, dtype=torch.float64)
    theirs = peer.sensitivity_max(
        lambda x: tuple(gradient(t) for t in x) if isinstance(x, tuple) else gradient(x),
        X,
        perturb_func=lambda x: (
            tuple(t + noise.transpose(0, 1).reshape(-1, N) for t in x)
            if isinstance(x, tuple)
            else x + noise.transpose(0, 1).reshape(-1, N)
        ),
        n_perturb_samples=CAPTUM_SAMPLES,
    )
    draws = iter(noise)
    ours = sanity.max_sensitivity(
        smooth(), lambda p: (gradient(p.x[0]),), lambda x: (x[0] + next(draws),), CAPTUM_SAMPLES
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)
    assert (ours > 1e-3).all()


def test_values_of_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="shapes"):
        sanity.infidelity(smooth(), (X[:, :2],), lambda x: x)
    with pytest.raises(InputError, match="samples"):
        sanity.max_sensitivity(smooth(), lambda p: p.x, samples=0)


def test_plausibility_is_what_scikit_learn_says() -> None:
    from sklearn.metrics import auc, f1_score, jaccard_score, precision_recall_curve

    rng = np.random.default_rng(0)
    for n, levels in ((6, 100), (9, 3), (25, 5), (40, 1000)):  # few levels: equal scores
        scores, rationale = rng.integers(0, levels, n) / 7, rng.random(n) < 0.3
        rationale[rng.integers(n)] = True
        for k in (1, 3, n):
            top = np.zeros(n, dtype=bool)
            top[removal_curves.order_of(scores)[:k]] = True
            assert plausibility.token_f1(scores, rationale, k) == pytest.approx(f1_score(rationale, top))
            assert plausibility.token_iou(scores, rationale, k) == pytest.approx(jaccard_score(rationale, top))
        precision, found, _ = precision_recall_curve(rationale, scores)
        assert plausibility.auprc(scores, rationale) == pytest.approx(auc(found, precision))
    assert plausibility.recall(np.array([3.0, 2.0, 1.0]), np.array([True, False, True])) == 0.5


def test_the_linear_datamodeling_score_is_the_rank_correlation_of_scipy() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    for levels in (1000, 3):
        scores, kept = rng.integers(0, levels, 6) / 3, rng.random((20, 6)) < 0.5
        of_kept = rng.integers(0, levels, 20) / 5
        theirs = float(spearmanr(kept @ scores, of_kept).statistic)
        assert faithfulness.linear_datamodeling_score(scores, kept, of_kept) == pytest.approx(theirs)
    assert faithfulness.linear_datamodeling_score(np.zeros(6), kept, of_kept) == 0


def test_each_metric_is_its_formula() -> None:
    v, r = np.array([0.9, 0.5, 0.3, 0.1]), np.array([0.9, 0.85, 0.6, 0.1])
    evidence = faithfulness.Evidence(v, r, np.array([0.9, 0.4, 0.2, 0.1]), np.array([0.9, 0.9, 0.7, 0.1]))
    found = {name: metric.measure(evidence) for name, metric in faithfulness.METRICS.items()}
    assert found["deletion"] == pytest.approx(0.3) and found["insertion"] == pytest.approx((0.9 + 0.85 + 0.6) / 3)
    assert found["area between"] == pytest.approx((0.85 + 0.6 + 0.1) / 3 - 0.3)
    assert found["normalised area"] == pytest.approx((1.7 / 3 - 0.3) / (1.7 / 3 - 0.7 / 3))
    assert found["top-1 drop"] == pytest.approx(0.4) and found["top-3 drop"] == pytest.approx(0.8)
    assert found["comprehensiveness"] == pytest.approx(0.9 - (4 * 0.5 + 0.3) / 5)
    assert found["sufficiency"] == pytest.approx(0.9 - (4 * 0.6 + 0.85) / 5)
    assert found["LDS"] is None and faithfulness.METRICS["normalised area"].measure(faithfulness.Evidence(v, r)) is None
