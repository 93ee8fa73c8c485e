"""Which rows of one batch, that holds inputs and baselines, are compared with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """The rows of a batch: first those of the inputs, then those of the baselines. What is compared is a *half*: one
    row for each baseline.

    inputs, baselines: how many. Where a tensor has more rows, as after tokens and rows became one dimension, each of
        them has as many.
    input_of: the input that each baseline is compared with, where an input has several; None where there are as many
        inputs as baselines, in the same order, and only their ratio counts.
    """

    inputs: int = 1
    baselines: int = 1
    input_of: Int[Tensor, " baselines"] | None = None

    def half(self, shape: Sequence[int]) -> tuple[int, ...] | None:
        """The shape of a half of a tensor; None where its rows do not fall into halves."""
        each, rest = divmod(shape[0], self.inputs + self.baselines) if shape else (0, 1)
        return None if rest else (each * self.baselines, *shape[1:])

    def cut(self, t: Shaped[Tensor, "both ..."]) -> tuple[Shaped[Tensor, "half ..."], Shaped[Tensor, "half ..."]]:
        """The half of the inputs, each as often as it has baselines, and that of the baselines."""
        if self.input_of is None:
            x, x0 = t.chunk(2)
            return x, x0
        each = t.unflatten(0, (self.inputs + self.baselines, -1))
        return each[self.input_of].flatten(0, 1), each[self.inputs :].flatten(0, 1)

    def filled(self, g: Shaped[Tensor, "half ..."]) -> Shaped[Tensor, "both ..."]:
        """All rows, of which those of the baselines are `g`, for an operation that takes no fewer."""
        return torch.cat((g if self.input_of is None else g[: len(g) // self.baselines * self.inputs], g))


EVEN = Pairs()
"""Each input has one baseline."""
