"""Random numbers and constants that the cases share. Everything is float64."""

from __future__ import annotations

import torch
from torch import Tensor

D = torch.float64


def rand(*shape: int, seed: int = 0, positive: bool = False) -> Tensor:
    t = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=D)
    return t.abs() + 0.2 if positive else 2 * t


W, B, MASK = rand(6, 6, seed=90), rand(6, seed=91), rand(4, 6, seed=92) > 0
INDEX = torch.tensor([[0, 2, 1, 5, 3, 4]] * 4)
FAR = torch.arange(6, dtype=D) * 30  # added to a row, it keeps the order of its elements
CLASSES = torch.tensor([1, 0, 3, 2])
