"""KernelSHAP and LIME: linear models of how a coalition's value depends on which players are present.

Both choose coalitions z, ask for v(z), and solve a weighted least squares problem  min Σ w(z)·(v(z) − φ₀ − φ·z)². They
differ in the weights: KernelSHAP's make φ the Shapley values, and LIME's favour coalitions close to the whole. Formulas
only, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .shapley import every_coalition


@dataclass(frozen=True)
class Design:
    """The coalitions of a regression and their weights.

    drawn_from: the number of the first coalition that was drawn at random; those before it were chosen.
    per_draw: how many coalitions belong to one draw.
    """

    coalitions: Bool[np.ndarray, "coalitions players"]
    weights: Float[np.ndarray, " coalitions"]
    drawn_from: int
    per_draw: int = 1

    @property
    def exact(self) -> bool:
        """Whether no coalition was drawn at random."""
        return self.drawn_from == len(self.coalitions)


# ----------------------------------------------------------------------------------------------------- KernelSHAP


def kernel_shap_design(n: int, n_samples: int, seed: int) -> Design:
    """At most n_samples coalitions, weighted by the Shapley kernel (Lundberg & Lee 2017, 1705.07874, theorem 2).

    π(z) ∝ (n−1) / (C(n,|z|)·|z|·(n−|z|)). Sizes are taken in pairs s and n−s, from the ends inwards: whole, as long as
    there are samples enough, and the rest drawn together with their complements (Covert & Lee 2021, 2012.01536).
    Needs 2n + 8 samples, or 2ⁿ − 2, which make it exact.
    """
    sizes = np.arange(1, n // 2 + 1)
    mass = np.array([(n - 1) / (s * (n - s)) * (1 if 2 * s == n else 2) for s in sizes])
    mass /= mass.sum()
    counts = [comb(n, s) * (1 if 2 * s == n else 2) for s in sizes]
    left, whole, parts, weights = n_samples, 0, [], []
    everything = n_samples >= 2**n - 2
    while whole < len(sizes):
        share = mass[whole] / mass[whole:].sum()
        affordable = whole == 0 or (left * share >= counts[whole] and left - counts[whole] >= 8)
        if not (everything or affordable):
            break
        parts.append(_of_size(n, int(sizes[whole])))
        weights.append(np.full(counts[whole], mass[whole] / counts[whole]))
        left -= counts[whole]
        whole += 1
    drawn_from = sum(map(len, parts))
    if whole < len(sizes):
        random = np.random.default_rng(seed)
        rest = mass[whole:] / mass[whole:].sum()
        pairs = left // 2
        size = random.choice(sizes[whole:], pairs, p=rest)
        z = _random_of_sizes(n, size, random)
        parts.append(np.stack([z, ~z], 1).reshape(-1, n))
        weights.append(np.full(2 * pairs, mass[whole:].sum() / (2 * pairs)))
    none = np.zeros((0, n), dtype=bool)
    return Design(np.concatenate([none, *parts]), np.concatenate([np.zeros(0), *weights]), drawn_from, 2)


def kernel_shap(
    design: Design, v: Float[np.ndarray, " coalitions"], v_none: float, v_all: float
) -> tuple[Float[np.ndarray, " players"], Float[np.ndarray, " players"] | None]:
    """The Shapley values by weighted least squares with Σφ = v_all − v_none, and their standard error (None where
    exact).

    With A = Zᵀ·W·Z and M = A⁻¹ − A⁻¹·1·1ᵀ·A⁻¹/(1ᵀ·A⁻¹·1): φ = M·Zᵀ·W·(v − v_none) + A⁻¹·1·(v_all − v_none)/(1ᵀ·A⁻¹·1).
    The error is the sandwich M·Cov·M over the pairs that were drawn.
    """
    z = design.coalitions.astype(np.float64)
    n = z.shape[1]
    if n == 1:
        return np.array([v_all - v_none]), None
    inverse = np.linalg.inv(z.T @ (design.weights[:, None] * z))
    ones = inverse.sum(1)
    m = inverse - np.outer(ones, ones) / ones.sum()
    phi = m @ (z.T @ (design.weights * (v - v_none))) + ones * (v_all - v_none) / ones.sum()
    return phi, _sandwich(design, z, v - v_none - z @ phi, m)


def _of_size(n: int, s: int) -> Bool[np.ndarray, "coalitions players"]:
    """All coalitions of s players, and all of n − s."""
    chosen = np.array(list(combinations(range(n), s)))
    z = np.zeros((len(chosen), n), dtype=bool)
    np.put_along_axis(z, chosen, True, 1)
    return z if 2 * s == n else np.concatenate([z, ~z])


def _random_of_sizes(
    n: int, sizes: Int[np.ndarray, " coalitions"], random: np.random.Generator
) -> Bool[np.ndarray, "coalitions players"]:
    """Random coalitions of the given sizes, uniform among all of a size."""
    place = np.argsort(random.random((len(sizes), n)), 1)
    return place < sizes[:, None]


# ----------------------------------------------------------------------------------------------------------- LIME


def lime_design(n: int, n_samples: int, kernel_width: float, seed: int) -> Design:
    """All players present, and n_samples − 1 draws: a uniform number of them absent, then which (Ribeiro et al. 2016).

    Weights exp(−D²/σ²) with D the cosine distance from the whole, 1 − √(present/n), and σ the kernel width
    (1602.04938, section 3.4; its package takes σ·√2). Where all 2ⁿ coalitions are affordable, each is taken once, with
    the weight that draws would give it on average.
    """
    if 2**n <= n_samples:
        z = every_coalition(n)
        absent = n - z.sum(1)
        draws = np.array([(n_samples - 1) / (n * comb(n, k)) if k else 1.0 for k in absent])
        return Design(z, draws * _closeness(z, kernel_width), len(z))
    random = np.random.default_rng(seed)
    z = np.ones((n_samples, n), dtype=bool)
    z[1:] = ~_random_of_sizes(n, random.integers(1, n + 1, n_samples - 1), random)
    return Design(z, _closeness(z, kernel_width), 1)


def lime(
    design: Design, v: Float[np.ndarray, " coalitions"], ridge: float
) -> tuple[Float[np.ndarray, " players"], Float[np.ndarray, " players"] | None]:
    """The slopes of a weighted ridge regression with a free intercept, and their standard error (None where exact)."""
    z = np.concatenate([np.ones((len(v), 1)), design.coalitions], 1).astype(np.float64)
    penalty = ridge * np.eye(z.shape[1])
    penalty[0, 0] = 0
    inverse = np.linalg.inv(z.T @ (design.weights[:, None] * z) + penalty)
    beta = inverse @ (z.T @ (design.weights * v))
    error = _sandwich(design, z, v - z @ beta, inverse)
    return beta[1:], None if error is None else error[1:]


def _closeness(z: Bool[np.ndarray, "coalitions players"], kernel_width: float) -> Float[np.ndarray, " coalitions"]:
    distance = 1 - np.sqrt(z.mean(1))
    return np.exp(-((distance / kernel_width) ** 2))


def _sandwich(
    design: Design,
    z: Float[np.ndarray, "coalitions unknowns"],
    residual: Float[np.ndarray, " coalitions"],
    m: Float[np.ndarray, "unknowns unknowns"],
) -> Float[np.ndarray, " unknowns"] | None:
    """The standard error of a least squares solution over its random draws, M·(Σ ggᵀ)·M with g = Zᵀ·w·e of one draw.

    e is the residual from the fit without that draw, (1 − Z·M·Zᵀ·w)⁻¹·r: a fit bends towards its own draws, and with
    few of them r is too small (the "CR3" form: Bell & McCaffrey 2002).
    """
    if design.exact:
        return None
    draws = lambda a: a[design.drawn_from :].reshape(-1, design.per_draw, *a.shape[1:])
    z, w, r = draws(z), draws(design.weights), draws(residual)
    zw = z * w[..., None]
    left_out = np.linalg.solve(np.eye(design.per_draw) - z @ m @ zw.transpose(0, 2, 1), r[..., None])
    g = (zw * left_out).sum(1)
    g = (g - g.mean(0)) @ m
    return np.sqrt((g * g).sum(0) * len(g) / (len(g) - 1))


def least_squares(
    x: Float[Tensor, "samples features"], y: Float[Tensor, " samples"], weight: Float[Tensor, " samples"]
) -> Float[Tensor, " features"]:
    """The slopes of the weighted least-squares fit of y with an intercept; the shortest where there are several."""
    a, b, root = _centred(x, y, weight)
    return torch.linalg.lstsq(a * root[:, None], (b * root)[:, None], driver="gelsd").solution[:, 0].to(x.dtype)


def lasso(
    x: Float[Tensor, "samples features"],
    y: Float[Tensor, " samples"],
    weight: Float[Tensor, " samples"],
    alpha: float,
    tol: float = 1e-7,
    rounds: int = 1000,
) -> Float[Tensor, " features"]:
    """The slopes b that make Σ wᵢ(yᵢ − b·xᵢ)²/2 + alpha·Σ|b| smallest, with an intercept and weights that sum to 1.

    By coordinate descent (Friedman et al. 2010), until a round changes no slope by more than `tol` of the largest.
    """
    a, b, root = _centred(x, y, weight)
    gram, moment = (a * root[:, None] ** 2).T @ a, a.T @ (b * root**2)
    slopes = torch.zeros_like(moment)
    for _ in range(rounds):
        before = slopes.clone()
        for j in range(len(slopes)):
            if gram[j, j] > 0:
                rest = moment[j] - gram[j] @ slopes + gram[j, j] * slopes[j]
                slopes[j] = rest.sign() * (rest.abs() - alpha).clamp(min=0) / gram[j, j]
        if (slopes - before).abs().max() <= tol * slopes.abs().max():
            break
    return slopes.to(x.dtype)


def _centred(x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x and y around their weighted means, in float64, and the root of the weights, which sum to 1."""
    w = (weight / weight.sum()).double()
    a, b = x.double(), y.double()
    return a - w @ a, b - w @ b, w.sqrt()
