"""Noisy copies of inputs, and what is made of a method's answers for them: their mean, mean square or variance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Answers = Float[Tensor, "rows samples ..."]
Moment = Callable[[Answers], Float[Tensor, "rows ..."]]

MOMENTS: dict[str, Moment] = {
    "mean": lambda answers: answers.mean(1),
    "square": lambda answers: (answers**2).mean(1),
    "variance": lambda answers: (answers**2).mean(1) - answers.mean(1) ** 2,
}
"""SmoothGrad (Smilkov et al. 2017, 1706.03825), SmoothGrad-squared (Hooker et al. 2019, 1806.10758) and VarGrad
(Adebayo et al. 2018, 1810.03292), of the answers for the noisy copies of a row."""


def noisy_copies(x: Float[Tensor, "rows ..."], n: int, sigma: float) -> Float[Tensor, "points ..."]:
    """n copies of each row, next to each other, each with Gaussian noise of torch's global generator. Integers, to
    which no noise is added, take sigma = 0."""
    wide = x.detach().repeat_interleave(n, 0)
    return wide + torch.normal(0, torch.full_like(wide, sigma)) if wide.is_floating_point() else wide
