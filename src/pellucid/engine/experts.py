"""Runs a mixture of experts with all its experts on all tokens, so that two passes that choose others can be compared.

An expert that a token does not take is one whose gate is 0. In place of  Σₖ wₖ·expert(iₖ)(h)  over the experts iₖ that
were chosen, the module returns the same sum, made of the outputs of all experts and of a choice among them whose rule
adds up (`numerics/deeplift/rules/experts.py`). The slots k of one pass are lined up with those of the pass before, so
that an expert that both take has the same slot in both.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import GraphMismatch
from ..numerics.deeplift.recording.code_location import module_of
from ..numerics.deeplift.recording.expert_routing import routes_to_experts
from ..numerics.deeplift.rules.experts import Chosen
from ..numerics.torch_calls import Args, Kwargs, TorchFunction, Value, name_of
from .hooks import returning

_PARAMETERS = ({"hidden_states"}, {"top_k_index", "router_indices"}, {"top_k_weights", "routing_weights"})
"""What a module that holds the experts of a mixture takes, by the names that the models of transformers give it."""


def experts_of(model: object) -> list[nn.Module]:
    """The modules inside a model that hold the experts of a mixture, and can be run on a choice of them."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    return [m for m in modules if _takes_a_choice(m)]


def _takes_a_choice(module: nn.Module) -> bool:
    names = tuple(inspect.signature(module.forward).parameters)
    return len(names) >= 3 and all(name in known for name, known in zip(names[:3], _PARAMETERS, strict=True))


class Routes:
    """The choices of the passes so far: those of the pass that runs, and those of the pass before it, in order."""

    def __init__(self) -> None:
        self.before: list[Tensor] = []
        self.now: list[tuple[Tensor, Tensor]] = []

    @contextmanager
    def following(self, modules: list[nn.Module]) -> Iterator[None]:
        """Runs one forward pass inside, with all experts of these modules."""
        self.before, self.now = [index for _, index in self.now], []
        with ExitStack() as stack:
            for module in modules:
                stack.enter_context(returning(module, lambda *call, m=module: self._in_full(m, *call)))
            stack.enter_context(_Choosing(self))
            yield

    def scores_of(self, index: Tensor) -> Tensor | None:
        """The scores by whose rank these were chosen; None where no choice of this pass is known to be these."""
        for scores, known in reversed(self.now):
            if known.shape == index.shape and torch.equal(known, index):
                return scores
        return None

    def add(self, scores: Tensor, index: Tensor) -> Tensor:
        """Notes a choice (tokens, chosen) among scores (tokens, choices), and returns it with its slots lined up."""
        k = len(self.now)
        if k < len(self.before) and self.before[k].shape == index.shape:
            index = lined_up(index, self.before[k])
        self.now.append((scores, index))
        return index

    def _in_full(self, module: nn.Module, args: Args, kwargs: Kwargs, output: Value) -> Value:
        h, index, weights = (*inspect.signature(module.forward).bind(*args, **kwargs).arguments.values(),)[:3]
        scores = self.scores_of(index)
        if scores is None:
            raise GraphMismatch(f"What {type(module).__name__} chooses its experts by could not be found.")
        alone = lambda e: module.forward(h, torch.full_like(index[:, :1], e), torch.ones_like(weights[:, :1]))
        each = torch.stack([alone(e) for e in range(scores.shape[-1])], 1)
        found = (weights.unsqueeze(-1) * Chosen.apply(each, scores, index)).sum(1).to(output.dtype)
        return found.view_as(output)


def lined_up(index: Tensor, before: Tensor) -> Tensor:
    """The choices (tokens, chosen) in another order: each that is in `before` too has the slot that it has there."""
    same = index.unsqueeze(2) == before.unsqueeze(1)  # (tokens, chosen, slots of `before`)
    slot = torch.where(same.any(2), same.int().argmax(2), -1)
    unkept = (~same.any(1)).int()
    free = unkept.sort(dim=1, descending=True, stable=True).indices  # the slots that nobody keeps come first
    moving = slot < 0
    slot = torch.where(moving, free.gather(1, (moving.cumsum(1) - 1).clamp_min(0)), slot)
    return torch.empty_like(index).scatter_(1, slot, index)


class _Choosing(TorchFunctionMode):
    """Notes what the router of a mixture chooses, and takes the values of the choice on a graph whose rule adds up."""

    def __init__(self, routes: Routes):
        super().__init__()
        self.routes = routes

    def __torch_function__(
        self, func: TorchFunction, types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> Value:
        out, name = func(*args, **(kwargs or {})), name_of(func)
        if name == "topk" and routes_to_experts(module_of(sys._getframe(1))):
            values, index = out
            scores = args[0]
            if scores.ndim == 2 and scores.requires_grad and len(scores) == len(index):
                index = self.routes.add(scores, index)
                return type(out)((_taken(scores, scores, index), index))
        if name == "gather" and len(given := (*args, *(kwargs or {}).values())) == 3 and given[0].requires_grad:
            values, index = given[0], next(t for t in given[1:] if isinstance(t, Tensor))
            scores = self.routes.scores_of(index)
            if scores is not None and scores.shape == values.shape:
                return _taken(values, scores, index)
        return out


def _taken(values: Tensor, scores: Tensor, index: Tensor) -> Tensor:
    return Chosen.apply(values.unsqueeze(-1), scores, index).sum(-1)  # no view, so that a router may divide it in place
