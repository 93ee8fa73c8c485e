"""The formulas of cooperative games, against brute force on random games."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, permutations
from math import comb, sqrt

import numpy as np
import pytest

from pellucid.numerics import shapley as c
from pellucid.numerics import surrogates as s

Game = Callable[[np.ndarray], np.ndarray]


def random_game(n: int, seed: int = 0) -> Game:
    """Any value for any coalition."""
    table = np.random.default_rng(seed).normal(size=2**n)
    return lambda z: table[np.asarray(z, dtype=int) @ (1 << np.arange(n))]


def smooth_game(n: int, seed: int = 0) -> Game:
    """Pairs that help or hinder each other, through a tanh: as a model's output might be."""
    random = np.random.default_rng(seed)
    w, q = random.normal(size=n), random.normal(size=(n, n)) / n
    return lambda z: np.tanh(z @ w / 2 + ((z @ q) * z).sum(-1))


def over_orders(v: Game, n: int, allowed: Callable[[tuple[int, ...]], bool] = lambda order: True) -> np.ndarray:
    """The mean of what each adds on entering, over all orders that are allowed: slow, and plainly right."""
    total, count = np.zeros(n), 0
    for order in permutations(range(n)):
        if not allowed(order):
            continue
        z, before = np.zeros(n, dtype=bool), float(v(np.zeros(n)))
        for i in order:
            z[i] = True
            after = float(v(z))
            total[i] += after - before
            before = after
        count += 1
    return total / count


def blocks(first: int, last: int) -> list[range]:
    if last - first == 1:
        return [range(first, last)]
    middle = c.halfway(first, last)
    return [range(first, last), *blocks(first, middle), *blocks(middle, last)]


def keeps_blocks(order: tuple[int, ...]) -> bool:
    place = np.argsort(order)
    return all(np.ptp(place[list(b)]) == len(b) - 1 for b in blocks(0, len(order)))


def change(v: Game, n: int) -> float:
    return float(v(np.ones(n)) - v(np.zeros(n)))


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_shapley_is_the_mean_over_all_orders(n: int) -> None:
    v = random_game(n)
    phi = c.shapley(v(c.every_coalition(n)))
    np.testing.assert_allclose(phi, over_orders(v, n), atol=1e-12)
    assert phi.sum() == pytest.approx(change(v, n), abs=1e-12)


def test_shapley_keeps_the_axioms() -> None:
    z = c.every_coalition(6).astype(float)
    dummy = c.shapley(np.tanh(z[:, 0] + z[:, 1] * z[:, 2]) + 3 * z[:, 4])
    assert dummy[3] == 0 and dummy[5] == 0
    assert dummy[1] == pytest.approx(dummy[2], abs=1e-15)
    assert dummy[4] == pytest.approx(3, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_owen_is_the_mean_over_the_orders_that_keep_blocks_together(n: int) -> None:
    v = random_game(n)
    without, players = c.owen_contexts(n)
    assert len(players) == c.owen_size(n)
    with_player = without.copy()
    assert not without[np.arange(len(players)), players].any()
    with_player[np.arange(len(players)), players] = True
    phi = c.owen(players, v(with_player), v(without))
    np.testing.assert_allclose(phi, over_orders(v, n, keeps_blocks), atol=1e-12)
    assert phi.sum() == pytest.approx(change(v, n), abs=1e-12)


@pytest.mark.parametrize("draw", [c.orders, c.hierarchy_orders])
def test_orders_add_up_one_by_one(draw: Callable[..., c.Iterator[c.Orders]]) -> None:
    n, v = 6, random_game(6)
    drawn = c.with_reverses(np.stack(list(islice(draw(n, 3), 40))))
    np.testing.assert_array_equal(drawn[1], drawn[0][::-1])
    added = c.added(drawn, v(c.entering(drawn)))
    np.testing.assert_allclose(added.sum(1), change(v, n), atol=1e-12)
    again = np.stack(list(islice(draw(n, 3), 40)))
    np.testing.assert_array_equal(drawn[::2], again)
    assert (np.sort(drawn, 1) == np.arange(n)).all()
    if draw is c.hierarchy_orders:
        assert all(keeps_blocks(tuple(order)) for order in drawn)


@pytest.mark.parametrize("draw", [c.orders, c.hierarchy_orders])
def test_the_standard_error_of_orders_is_what_repetition_shows(draw: Callable[..., c.Iterator[c.Orders]]) -> None:
    n, v = 7, smooth_game(7)
    exact = over_orders(v, n, keeps_blocks if draw is c.hierarchy_orders else lambda order: True)
    found = []
    for seed in range(200):
        drawn = c.with_reverses(np.stack(list(islice(draw(n, seed), 20))))
        found.append(c.mean_and_error(c.added(drawn, v(c.entering(drawn))).reshape(-1, 2, n).mean(1)))
    means, errors = (np.array(part) for part in zip(*found, strict=True))
    np.testing.assert_allclose(means.mean(0), exact, atol=4 * errors.mean() / sqrt(200))
    np.testing.assert_allclose(sqrt((errors**2).mean()), sqrt(((means - exact) ** 2).mean()), rtol=0.1)


# -------------------------------------------------------------------------------------------------- regressions


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7])
def test_kernel_shap_with_every_coalition_is_exact(n: int) -> None:
    v = random_game(n)
    design = s.kernel_shap_design(n, 2**n - 2, 0)
    assert design.exact and len(design.coalitions) == max(2**n - 2, 0)
    assert len(np.unique(design.coalitions, axis=0)) == len(design.coalitions)
    phi, error = s.kernel_shap(design, v(design.coalitions), float(v(np.zeros(n))), float(v(np.ones(n))))
    assert error is None
    np.testing.assert_allclose(phi, over_orders(v, n), atol=1e-10)


def test_kernel_weights_are_those_of_the_paper() -> None:
    n = 7
    design = s.kernel_shap_design(n, 2**n, 0)
    size = design.coalitions.sum(1)
    paper = np.array([(n - 1) / (comb(n, k) * k * (n - k)) for k in size])
    np.testing.assert_allclose(design.weights / design.weights.sum(), paper / paper.sum(), rtol=1e-12)


@pytest.mark.parametrize("n_samples", [28, 60, 400])
def test_kernel_shap_sampled_is_right_within_its_error(n_samples: int) -> None:
    n, v = 10, smooth_game(10)
    exact = c.shapley(v(c.every_coalition(n)))
    v0, v1 = float(v(np.zeros(n))), float(v(np.ones(n)))
    off, errors = [], []
    for seed in range(150):
        design = s.kernel_shap_design(n, n_samples, seed)
        assert not design.exact and len(design.coalitions) <= n_samples
        assert design.weights.sum() == pytest.approx(1)
        phi, error = s.kernel_shap(design, v(design.coalitions), v0, v1)
        assert error is not None
        assert phi.sum() == pytest.approx(v1 - v0, abs=1e-12)
        off.append(phi - exact)
        errors.append(error)
    ratio = sqrt(np.square(errors).mean()) / sqrt(np.square(off).mean())
    assert 0.9 < ratio < (1.1 if n_samples == 400 else 1.5)  # with few draws, rather too large than too small


def test_lime_is_the_ridge_regression_it_says() -> None:
    n, v, width, ridge = 5, smooth_game(5), 0.25, 1.0
    for n_samples in (20, 5000):
        design = s.lime_design(n, n_samples, width, 3)
        z, y = design.coalitions.astype(float), v(design.coalitions)
        # an ordinary least squares problem: rows scaled by √w, and one row √ridge for each slope
        rows = np.concatenate([np.column_stack([np.ones(len(z)), z]) * np.sqrt(design.weights)[:, None], np.eye(6)[1:]])
        expected = np.linalg.lstsq(rows, np.concatenate([y * np.sqrt(design.weights), np.zeros(n)]), rcond=None)[0][1:]
        phi, error = s.lime(design, y, ridge)
        np.testing.assert_allclose(phi, expected, atol=1e-10)
        assert design.exact == (n_samples == 5000) == (error is None)


def test_lime_draws_and_weighs_as_the_paper_does() -> None:
    n, width = 8, 0.3
    drawn = s.lime_design(n, 200, width, 0)
    assert drawn.coalitions[0].all() and not drawn.coalitions[1:].all(1).any()
    ones = np.ones(n)
    for z, weight in zip(drawn.coalitions, drawn.weights, strict=True):
        cosine = z @ ones / max(np.linalg.norm(z) * np.linalg.norm(ones), 1e-12)
        assert weight == pytest.approx(np.exp(-((1 - cosine) ** 2) / width**2))
    v, whole = smooth_game(n), s.lime_design(n, 256, width, 0)
    exact = s.lime(whole, v(whole.coalitions), 0.0)[0]
    off, errors = [], []
    for seed in range(150):
        many = s.lime_design(n, 255, width, seed)
        phi, error = s.lime(many, v(many.coalitions), 0.0)
        off.append(phi - exact)
        errors.append(error)
    np.testing.assert_allclose(np.mean(off, axis=0), 0, atol=4 * np.std(off) / sqrt(150) + 0.01 * np.abs(exact).max())
    np.testing.assert_allclose(sqrt(np.square(errors).mean()), np.std(off), rtol=0.2)
