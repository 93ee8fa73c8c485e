"""`Net`: the few things that a task may use of a network, and the type of what a network returns."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from .text.collating import Inputs

Outputs: TypeAlias = Any
"""What a network returns, or what a task reads from it: a tensor, or a nest of tensors, rows first."""
CHANGES = "changes in a forward pass"
"""The question that `Net.findings` has an answer to where a pass changed what the network holds (`borrowing`): "put
back" after each pass; "put back, as it matters" where the next pass would have another answer; or "kept" for now."""


class Net(Protocol):
    """A network that a task runs. `runner.Runner` is one; a test may bring its own.

    model: the user's module. embedding: its module whose output is explained. device: where its weights are. pads_left:
    whether rows are padded on the left. findings: what has been found out about the network by running it, by a key
    that names the question; each question is asked once.
    """

    @property
    def model(self) -> nn.Module: ...
    @property
    def embedding(self) -> nn.Module: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def pads_left(self) -> bool: ...
    @property
    def findings(self) -> dict[Hashable, str]: ...

    def takes(self, name: str) -> bool:
        """Whether the forward takes an argument of this name."""
        ...

    def forward(self, inputs: Inputs, x: Tensor | None = None, **more: object) -> Outputs:
        """`model(**inputs, **more)`, where `x` (rows, tokens, hidden), if given, is what the embedding returns."""
        ...
