"""Finds out whether a mixture of experts sends the input to other experts than the baseline, to say so in an error."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ....errors import WITHOUT_GRADIENT, GraphMismatch
from ...torch_calls import Args, Kwargs, TorchFunction, Value, name_of
from .code_location import module_of, place_of

_RANKS = frozenset({"topk", "argmax", "argsort", "sort", "max"})


class RoutedApart(GraphMismatch):
    """A mixture of experts sends the input to other experts than the baseline."""


def routes_to_experts(module: nn.Module | None) -> bool:
    """Whether a module knows of experts, as the router of a mixture does."""
    return module is not None and any("expert" in name for name in vars(module))


class _Routing(TorchFunctionMode):
    """Collects the indices that are chosen by rank (topk, argmax, …) inside modules with experts, and the place."""

    def __init__(self) -> None:
        super().__init__()
        self.routes: list[tuple[str, Tensor]] = []

    def __torch_function__(
        self, func: TorchFunction, types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> Value:
        out = func(*args, **(kwargs or {}))
        if name_of(func) in _RANKS:
            chosen = [t for t in (out if isinstance(out, tuple) else (out,)) if not t.is_floating_point()]
            module = module_of(sys._getframe(1))
            if chosen and routes_to_experts(module):
                self.routes.append((place_of(sys._getframe(1)), chosen[0].detach().clone()))
        return out


def routed_apart(error: GraphMismatch, *passes: Callable[[], Value]) -> GraphMismatch:
    """The error, replaced by one that names the mixture of experts where that is the reason for it.

    passes: run the forward pass at the input, and at the baseline.
    """
    found = []
    for run in passes:
        with torch.enable_grad(), _Routing() as mode:
            run()
        found.append(mode.routes)
    for (place, route), (_, route0) in zip(*found, strict=False):
        if route.shape == route0.shape and not torch.equal(route, route0):
            return RoutedApart(
                f"A mixture of experts, {place}, sends the input to other experts than the baseline. Which experts it "
                "takes jumps from one to another and carries no gradient, so the attribution of DeepLIFT would not add "
                "up, and no more would that of integrated gradients. Use "
                f"{WITHOUT_GRADIENT}, which add up, or a baseline that takes the same experts."
            )
    return error
