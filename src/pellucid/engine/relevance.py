"""Layer-wise relevance propagation: a network's output is handed back from module to module (Bach et al. 2015).

The ε rule of a module with inputs aⱼ and outputs zₖ = Σⱼ aⱼwⱼₖ + bₖ gives input j the relevance

    Rⱼ = aⱼ · Σₖ ∂zₖ/∂aⱼ · Rₖ/(zₖ + ε·sign zₖ)                  (doi:10.1371/journal.pone.0130140, equation 58)

Other rules change the weights that z is computed with. Relevance passes an activation function unchanged. A sum or a
difference of two tensors outside of modules, as in residual networks, shares it by the ε rule too. What another
function outside of modules does hands relevance on as a gradient.

Autograd carries the relevance in the gradient's place: each module is run again between two functions whose backward
passes are the product with a and the quotient by z.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..numerics.torch_calls import Args, Kwargs, TorchFunction, Value
from .layer_hooks import with_changed_outputs

Weights: TypeAlias = Callable[[nn.Module], dict[str, Tensor]]
"""The parameters of a module that a rule changes, by their names."""


@dataclass(frozen=True)
class RelevanceRule:
    """A rule of propagation through a module.

    epsilon: what keeps the quotient finite where an output is 0. weights: what z is computed with in place of the
    module's own parameters; None for these. identity: the relevance passes unchanged.
    """

    epsilon: float = 1e-9
    weights: Weights | None = None
    identity: bool = False


@dataclass
class Passing:
    """The tensors at which relevance is read: what each module took in and gave out when it was called.

    several: the modules that were called more than once, which relevance passes unchanged each time. Of these the last
    call is kept.
    """

    taken: dict[nn.Module, tuple[Tensor, ...]] = field(default_factory=dict)
    given: dict[nn.Module, Tensor] = field(default_factory=dict)
    several: set[nn.Module] = field(default_factory=set)


class ModuleUsedTwice(RuntimeError):
    """A module is used more than once in the network, so its relevance would be of both calls."""


def used_twice(module: nn.Module) -> ModuleUsedTwice:
    """The error of a module whose calls cannot be told from each other."""
    return ModuleUsedTwice(
        f"Found a {type(module).__name__} that is used more than once in the network; expected a module of its own at "
        "each place, whose relevance can be told."
    )


@contextmanager
def propagating(rules: Mapping[nn.Module, RelevanceRule], passing: Passing) -> Iterator[None]:
    """Lets gradients through these modules be relevance inside.

    passing: is told what each module takes in and gives out. Raises ModuleUsedTwice for a module whose rule is not the
    identity.
    """

    def change(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        rule = rules[module]
        if module in passing.given:
            if not rule.identity:
                raise used_twice(module)
            passing.several.add(module)
        with torch.enable_grad():
            inputs = tuple(t.view_as(t) if isinstance(t, Tensor) and t.is_floating_point() else t for t in args)
            if rule.identity:
                found = _Same.apply(inputs[0], output.detach())
            else:
                marked = tuple(_TimesInput.apply(t) if isinstance(t, Tensor) else t for t in inputs)
                found = _OverOutput.apply(_again(module, rule, marked), output.detach(), rule.epsilon)
        passing.taken[module] = tuple(t for t in inputs if isinstance(t, Tensor))
        passing.given[module] = found
        return found.view_as(found)

    with with_changed_outputs(list(rules), change), _Sums():
        yield


_IN_PLACE: dict[TorchFunction, TorchFunction] = {
    Tensor.add_: torch.add,
    Tensor.__iadd__: torch.add,
    Tensor.sub_: torch.sub,
    Tensor.__isub__: torch.sub,
}
_SUMS = {
    **{f: f for f in (torch.add, torch.sub, Tensor.add, Tensor.sub)},
    **{f: f for f in (Tensor.__add__, Tensor.__sub__, Tensor.__radd__, Tensor.__rsub__)},
    **_IN_PLACE,
}
"""For each function that adds two tensors the same out of place."""


class _Sums(TorchFunctionMode):
    """Shares the relevance of a sum, or a difference, of two tensors outside of modules between them."""

    def __torch_function__(
        self, func: TorchFunction, types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> Value:
        kwargs = kwargs or {}
        terms = [a for a in args[:2] if isinstance(a, Tensor) and a.requires_grad]
        if func not in _SUMS or len(terms) != 2 or "out" in kwargs:
            return func(*args, **kwargs)
        z = _SUMS[func](*(_TimesInput.apply(t.clone()) for t in terms), **kwargs)
        found = _OverOutput.apply(z, z.detach(), RelevanceRule.epsilon)
        return terms[0].copy_(found) if func in _IN_PLACE else found


def _again(module: nn.Module, rule: RelevanceRule, inputs: Sequence[Any]) -> Any:
    """The module's output by the rule's weights."""
    if rule.weights is not None:
        module, own = copy(module), module  # shares everything but the parameters that the rule changes
        module._parameters = {**own._parameters, **rule.weights(own)}  # type: ignore[assignment]
    with torch._C.DisableTorchFunction():  # a sum inside has the rule of its module
        return module.forward(*inputs)


class _Same(torch.autograd.Function):
    """Gives out `y`, and hands its relevance to `x` unchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> Any:
        return relevance[0], None


class _TimesInput(torch.autograd.Function):
    """Gives out its input, and multiplies what comes back by it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0] * ctx.saved_tensors[0]


class _OverOutput(torch.autograd.Function):
    """Gives out `y`, and hands to z its relevance divided by z + ε·sign z."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, y: Tensor, epsilon: float) -> Tensor:
        ctx.save_for_backward(z)
        ctx.epsilon = epsilon
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> Any:
        (z,) = ctx.saved_tensors
        sign = torch.where(z < 0, -1.0, 1.0).to(z.dtype)
        return relevance[0] / (z + sign * ctx.epsilon), None, None
