"""Random draws in a forward pass: every pass begins with the same state of torch's generators, and leaves it unchanged.

So a function that draws random numbers in evaluation mode draws the same ones in each pass, and its answers can be
compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

from .errors import GraphError

T = TypeVar("T")
Outputs: TypeAlias = Any
"""What a function returns: a tensor, rows first, or any nest of tensors (a tuple, a dict, a model's output)."""

NOTE = (
    "The function draws at random in evaluation mode; the answer is for one draw, the same in every pass, which the "
    "state of torch's generator decides (torch.manual_seed)."
)

VARIES = (
    "The function gives different answers to the same input, so no attribution can add up: something draws at random, "
    "or keeps a state from pass to pass."
)
"""The note where it does, and torch's generators have nothing to do with it."""


class RandomDraws(GraphError):
    """The rows of a batch have to run one at a time, because each pass draws random numbers, and cannot as they are."""


def _states(device: torch.device) -> tuple[Tensor, ...]:
    cpu = torch.default_generator.get_state()
    return (cpu, torch.cuda.get_rng_state(device)) if device.type == "cuda" else (cpu,)


def _differ(a: Tensor, b: Tensor) -> bool:
    return a.numpy().tobytes() != b.numpy().tobytes()


def _restore(states: Sequence[Tensor], device: torch.device) -> None:
    torch.default_generator.set_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def kept(run: Callable[[], T], device: torch.device) -> tuple[T, bool]:
    """The result of `run`, and whether it drew random numbers. Torch's generators are afterwards as they were."""
    before, drew = _states(device), True
    try:
        found = run()
    finally:
        with torch._C.DisableTorchFunction():  # a pass that is recorded need not record this
            drew = any(map(_differ, before, _states(device)))
        if drew:
            _restore(before, device)
    return found, drew


@contextmanager
def rewound(device: torch.device) -> Iterator[None]:
    """Puts torch's generators back at the end to the state that they had before."""
    before = _states(device)
    try:
        yield
    finally:
        _restore(before, device)


@dataclass
class Draws:
    """What has been found about the rows of a function: whether they have to run one at a time.

    found: the function draws random numbers; set by the first pass that does.
    mixes: the rows of a batch are known to influence each other.
    """

    found: bool = False
    mixes: bool = False

    @property
    def apart(self) -> bool:
        """Whether rows run one at a time."""
        return self.found or self.mixes

    def passed(
        self,
        whole: Callable[[], Outputs],
        one: Callable[[int], Outputs],
        rows: int,
        device: torch.device,
        apart: Callable[[], bool],
    ) -> Outputs:
        """The result of `whole`, a pass of all rows; or those of `one` for each row, put together, where rows run one
        at a time.

        So each row begins with the same state of torch's generators, as if it had been alone.

        rows: how many there are. apart: whether each row, run by itself, is what it would be alone. Raises RandomDraws
        where not.
        """
        if not self.apart or rows == 1:
            out, drew = kept(whole, device)
            self.found = self.found or drew
            if not drew or rows == 1:
                return out
        if not apart():
            raise RandomDraws(
                f"The function {'draws at random in evaluation mode' if self.found else 'mixes the rows of a batch'}, "
                f"so its rows have to go one at a time; found {rows} that are padded to one length, or tensors inside "
                "that are asked for. Give one input at a time."
            )
        return joined([kept(lambda i=i: one(i), device)[0] for i in range(rows)])


def joined(each: Sequence[Outputs]) -> Outputs:
    """The outputs of several single rows as those of one batch: the tensors of a nest are concatenated.

    Raises RandomDraws where their shapes differ.
    """
    first = each[0]
    if isinstance(first, Tensor):
        if any(t.shape[1:] != first.shape[1:] for t in each) or not first.ndim:
            raise RandomDraws(
                "The function draws at random in evaluation mode, mixes the rows of a batch or packs them, so its rows "
                f"go one at a time, and their outputs have the shapes {[tuple(t.shape) for t in each[:4]]}, which make "
                "no batch. Give one input at a time, or use a baseline that keeps the length."
            )
        return torch.cat(list(each))
    if isinstance(first, dict):
        return type(first)(**{k: joined([e[k] for e in each]) for k in first})
    if isinstance(first, (tuple, list)):
        parts = [joined(part) for part in zip(*each, strict=True)]
        return parts if isinstance(first, list) else getattr(first, "_make", tuple)(parts)
    return first
