"""What a surrogate model is fitted to: a function's outputs at perturbed inputs, and how near each is to the input.

LIME's loop (Ribeiro et al. 2016, 1602.04938), every part of which the caller chooses: how codes are drawn, what inputs
they stand for, what near means, and the model. A code (1, features) says which features are present. `numerics/`
has the fits; `methods/perturb.py` plays the same game with designs of coalitions in place of draws.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

import torch
from torch import Tensor
from torch.distributions import Categorical

from ..errors import ArgumentError
from ..problem import Tensors
from .removal import Call

Sample: TypeAlias = tuple[Tensor, Tensors]
"""A code and the perturbed inputs that it stands for."""
Near: TypeAlias = Callable[[Tensor, Tensors], Tensor]
"""`(code, perturbed inputs) → weight`, of one element."""
Fitted: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Codes (samples, features), outputs (samples,) and weights (samples,), in float32."""


def asked_samples(call: Call, samples: Iterable[Sample], near: Near, n: int, at_once: int) -> Fitted:
    """The samples, the outputs at their inputs, and their weights.

    n: how many samples there should be; fewer are a warning. at_once: how many share a call. Raises ArgumentError where
    the outputs are not one for each sample.
    """
    codes: list[Tensor] = []
    weights: list[Tensor] = []
    outputs: list[Tensor] = []
    drawn = iter(samples)
    while batch := list(islice(drawn, at_once)):
        for code, point in batch:
            codes.append(code)
            weights.append(near(code, point))
        points = tuple(map(torch.cat, zip(*(point for _, point in batch), strict=True)))
        y = call(points, len(batch))
        if y.numel() != len(batch):
            raise ArgumentError(f"Found {y.numel()} outputs for {len(batch)} perturbed inputs; expected one for each.")
        outputs.append(y.flatten())
    if len(codes) < n:
        warnings.warn(f"The perturbations ended after {len(codes)} of {n} samples.", stacklevel=4)
    x, y, w = (torch.cat([t.to(codes[0].device) for t in part]).float() for part in (codes, outputs, weights))
    return x, y, w


def half_present(n: int, device: torch.device) -> Tensor:
    """A code in which each of n features is present with probability a half."""
    return torch.bernoulli(torch.full((1, n), 0.5)).long().to(device)


def shapley_codes(n: int, device: torch.device) -> Iterator[Tensor]:
    """All features, none of them, and then random ones whose number is distributed as Shapley's kernel asks (Lundberg &
    Lee 2017, 1705.07874)."""
    yield torch.ones(1, n, device=device, dtype=torch.long)
    yield torch.zeros(1, n, device=device, dtype=torch.long)
    sizes = torch.arange(n, dtype=torch.float)
    weight = (n - 1) / (sizes * (n - sizes))
    weight[0] = 0.0
    number = Categorical(weight) if n > 1 else None
    while number is not None:
        size = int(number.sample())  # in Captum's order, so that one seed draws the same
        drawn = torch.randn(1, n)
        yield (drawn > torch.kthvalue(drawn, n - size).values).long().to(device)


def with_present(code: Tensor, x: Tensors, x0: Sequence[Tensor | float], ids: Tensors) -> Tensors:
    """The inputs where the features of a code are present, and the baselines elsewhere. ids: the number of each
    element's feature."""
    found = []
    for t, b, m in zip(x, x0, ids, strict=True):
        there = code[0].to(m.device)[m].bool()
        wide = b.to(t) if isinstance(b, Tensor) else torch.full((), b, dtype=t.dtype, device=t.device)
        found.append(torch.where(there, t, wide))
    return tuple(found)


def closeness(x: Tensors, point: Tensors, width: float, cosine: bool) -> float:
    """exp(−d²/2·width²), with d the cosine or the Euclidean distance of two inputs, all their elements in a row."""
    a, b = (torch.cat([t.flatten() for t in each]).float() for each in (x, point))
    d = 1 - torch.cosine_similarity(a, b, 0) if cosine else torch.dist(a, b)
    return math.exp(-(float(d) ** 2) / (2 * width**2))
