"""Layer-wise relevance propagation in Captum's form: the ε, γ, α1β0 and identity rules, over inputs or layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..engine.relevance import Passing, RelevanceRule, propagating, used_twice
from .base import GradientAttribution, LayerAttribution
from .calls import as_given, floats, one_or_all, sum_of_rows, tupled
from .outputs import Tensors, Value, one_per_row, run


@dataclass(frozen=True)
class PropagationRule:
    """How relevance passes a module; `module.rule` may be one."""

    def as_rule(self) -> RelevanceRule:
        return RelevanceRule()


@dataclass(frozen=True)
class EpsilonRule(PropagationRule):
    """z + ε·sign z in the denominator, for layers in the middle."""

    epsilon: float = 1e-9

    def as_rule(self) -> RelevanceRule:
        return RelevanceRule(self.epsilon)


@dataclass(frozen=True)
class GammaRule(PropagationRule):
    """Positive weights count 1 + gamma times, for layers near the input."""

    gamma: float = 0.25
    set_bias_to_zero: bool = False

    def as_rule(self) -> RelevanceRule:
        return RelevanceRule(weights=lambda m: _weights(m, lambda w: w + self.gamma * w.clamp(min=0), self))


@dataclass(frozen=True)
class Alpha1_Beta0_Rule(PropagationRule):
    """Positive weights only, for layers near the input."""

    set_bias_to_zero: bool = False

    def as_rule(self) -> RelevanceRule:
        return RelevanceRule(weights=lambda m: _weights(m, lambda w: w.clamp(min=0), self))


@dataclass(frozen=True)
class IdentityRule(EpsilonRule):
    """Relevance passes the module unchanged, whose inputs are like its outputs."""

    def as_rule(self) -> RelevanceRule:
        return RelevanceRule(identity=True)


def _weights(module: nn.Module, change: Any, rule: Any) -> dict[str, Tensor]:
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    found = {"weight": change(weight.detach())} if isinstance(weight, Tensor) else {}
    if rule.set_bias_to_zero and isinstance(bias, Tensor):
        found["bias"] = torch.zeros_like(bias)
    return found


class Addition_Module(nn.Module):
    """The sum of two tensors as a module, which a rule may be set on."""

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return x1 + x2


POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
WITH_RULE: tuple[type[nn.Module], ...] = (*POOLS, nn.Conv2d, nn.Linear, nn.BatchNorm2d, Addition_Module)
"""Modules whose rule is ε where they have none of their own."""
ACTIVATIONS: tuple[type[nn.Module], ...] = (nn.ReLU, nn.Dropout, nn.Tanh)
"""Modules that relevance passes unchanged."""


def own_rule(module: nn.Module) -> PropagationRule | None:
    """The rule that was set on a module, one of ours or of Captum's own; None without one. Raises TypeError."""
    found: Any = getattr(module, "rule", None)
    if found is None or isinstance(found, PropagationRule):
        return found
    like = {rule.__name__: rule for rule in (EpsilonRule, GammaRule, Alpha1_Beta0_Rule, IdentityRule)}
    rule = like.get(type(found).__name__)
    if rule is None or not hasattr(found, "STABILITY_FACTOR"):
        raise TypeError(
            f"Found rule={found!r} of a {type(module).__name__}; expected one of "
            f"{', '.join(like)}, from pellucid.captum."
        )
    if issubclass(rule, EpsilonRule):
        return rule(found.STABILITY_FACTOR)
    return rule(**{name: vars(found)[name] for name in rule.__dataclass_fields__})


def rules_of(model: nn.Module) -> dict[nn.Module, RelevanceRule]:
    """The rule of each module without children. Raises TypeError for a module without one."""
    found: dict[nn.Module, RelevanceRule] = {}
    for module in model.modules():
        if next(module.children(), None) is not None or module is model:
            continue
        if (own := own_rule(module)) is not None:
            found[module] = own.as_rule()
        elif type(module) in ACTIVATIONS:
            found[module] = RelevanceRule(identity=True)
        elif type(module) in WITH_RULE or type(module).__name__ == Addition_Module.__name__:  # Captum's own too
            found[module] = RelevanceRule()
        else:
            raise TypeError(
                f"Found a {type(module).__name__}, which has no rule; expected one of "
                f"{', '.join(m.__name__ for m in (*WITH_RULE, *ACTIVATIONS))}. Set module.rule = EpsilonRule(), if it "
                "suits the module."
            )
    return found


class LRP(GradientAttribution):
    """Layer-wise relevance propagation (Bach et al. 2015). A module's `rule` is used where it has one.

    The relevances of a row sum to its output where biases are 0; what biases absorb is the convergence delta.
    """

    _multiply_by_inputs: ClassVar[bool] = True
    asks_gradient_func = False

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.model = model
        _check_rules(model)

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Value,
        target: Value = None,
        additional_forward_args: Value = None,
        return_convergence_delta: bool = False,
        verbose: bool = False,
    ) -> Any:
        leaves = floats(tupled(inputs))
        _, output = _run(self.model, leaves, target, additional_forward_args, verbose)
        found = _relevance(output, leaves)
        answer = as_given(found, inputs)
        return (answer, absorbed(output, found)) if return_convergence_delta else answer

    def compute_convergence_delta(self, attributions: Value, output: Tensor, *_: Any, **__: Any) -> Tensor:
        return absorbed(output, attributions)


class LayerLRP(LayerAttribution, GradientAttribution):
    """The relevance that a layer, or each of several, gives out; or takes in."""

    def __init__(self, model: nn.Module, layer: Any) -> None:
        super().__init__(model, layer)
        self.model = model
        _check_rules(model)

    def has_convergence_delta(self) -> bool:
        return True

    def compute_convergence_delta(self, attributions: Value, output: Tensor, *_: Any, **__: Any) -> Tensor:
        return absorbed(output, attributions)

    def attribute(
        self,
        inputs: Value,
        target: Value = None,
        additional_forward_args: Value = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        verbose: bool = False,
    ) -> Any:
        leaves = floats(tupled(inputs))
        passing, output = _run(self.model, leaves, target, additional_forward_args, verbose)
        if twice := passing.several & set(self.layers):
            raise used_twice(next(iter(twice)))
        given = lambda m: passing.taken[m] if attribute_to_layer_input else (passing.given[m],)
        places: list[Tensors] = [*map(given, self.layers)]
        relevance = iter(_relevance(output, [t for place in places for t in place]))
        each = [tuple(next(relevance) for _ in place) for place in places]
        answer = self.as_layers([one_or_all(v) for v in each])
        if not return_convergence_delta:
            return answer
        return answer, self.as_layers([absorbed(output, v) for v in each])


def absorbed(output: Tensor, relevance: Value) -> Tensor:
    """The output − Σ relevance of each row: what biases and ε keep."""
    return output.detach().flatten() - sum_of_rows(tupled(relevance))


def _check_rules(model: nn.Module) -> None:
    for module in model.modules():
        own_rule(module)


def _run(model: nn.Module, leaves: Tensors, target: Value, args: Value, verbose: bool) -> tuple[Passing, Tensor]:
    """The target's values, with relevance in the place of gradients."""
    rules, passing = rules_of(model), Passing()
    if verbose:
        for module, rule in rules.items():
            print(f"Applied {rule} on layer {module}")
    with torch.enable_grad(), propagating(rules, passing):
        output = one_per_row(run(model, [t + 0 for t in leaves], target, args))
    return passing, output


def _relevance(output: Tensor, of: Any) -> Tensors:
    """The relevance at each tensor, of the output itself as the relevance to begin with."""
    found = torch.autograd.grad(output, of, output.detach(), allow_unused=True)
    return tuple(torch.zeros_like(t) if g is None else g for t, g in zip(of, found, strict=True))


__all__ = [
    "LRP",
    "Addition_Module",
    "Alpha1_Beta0_Rule",
    "EpsilonRule",
    "GammaRule",
    "IdentityRule",
    "LayerLRP",
    "PropagationRule",
]
