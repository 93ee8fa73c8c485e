"""The METHODS table: a method is a function `Problem → Attribution`, and a row here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, UnknownMethod
from ..problem import Attribution, Problem, solved
from .deeplift import deeplift
from .evaluate import value_at_x
from .gradient import input_x_gradient, noisy, saliency
from .path import integrated_gradients
from .perturb import feature_ablation, kernel_shap, lime, occlusion, partition_shap, random, shapley


@dataclass(frozen=True)
class Method:
    """solve: the method; adds_up: whether its scores sum to the change in the output; summary: one line for people.

    groups: whether it removes groups of positions, and so takes `groups` and baseline="delete".
    """

    solve: Callable[..., Attribution]
    adds_up: bool
    summary: str
    groups: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The names of its options and their defaults."""
        return {p.name: p.default for p in list(inspect.signature(self.solve).parameters.values())[1:]}


def smoothgrad(
    problem: Problem, of: str = "saliency", n_samples: int = 25, noise: float = 0.15, seed: int = 0, **options: Any
) -> Attribution:
    """Another method's values, averaged over noisy copies of the input (Smilkov et al. 2017, 1706.03825).

    of: a gradient method of METHODS; it takes `options`. noise: σ relative to the range of the row's embeddings.
    """
    if n_samples < 1 or noise < 0:
        raise InputError(
            f"smoothgrad got n_samples={n_samples!r}, noise={noise!r}; expected at least 1, and 0 or more."
        )
    if of not in ("saliency", "input_x_gradient", "integrated_gradients"):
        raise UnknownMethod(
            f"smoothgrad averages a gradient method; found of={of!r}, expected saliency, input_x_gradient or "
            "integrated_gradients."
        )
    outputs, select, y = value_at_x(problem)
    many = problem.fixed(select).repeated(n_samples).at(noisy(problem, n_samples, noise, seed))
    row, given = method(of, options)
    inner = row.solve(many, **given)
    y0 = inner.baseline_output.view(-1, n_samples)[:, 0]
    values = inner.values if isinstance(inner.values, tuple) else (inner.values,)
    mean = tuple(v.unflatten(0, (-1, n_samples)).mean(1) for v in values)
    return solved(
        mean, y, y0, passes=n_samples * inner.passes + 1, status="sampled", reduction=inner.reduction, outputs=outputs
    )


METHODS: dict[str, Method] = {
    "deeplift": Method(deeplift, True, "exact, two passes: multipliers carried back through both forward passes"),
    "integrated_gradients": Method(
        integrated_gradients, True, "the gradient, averaged on the path from the baseline, to a tolerance"
    ),
    "input_x_gradient": Method(input_x_gradient, False, "the difference from the baseline times the gradient"),
    "saliency": Method(saliency, False, "the size of the gradient; signed=True keeps its sign"),
    "smoothgrad": Method(smoothgrad, False, "a gradient method (of=…) averaged over noisy copies of the input"),
    "occlusion": Method(occlusion, False, "what the output loses without a token, or a window of them", True),
    "shapley": Method(shapley, True, "Shapley values: what a token adds, over all orders or a sample of them", True),
    "kernel_shap": Method(kernel_shap, True, "Shapley values by a weighted regression on coalitions", True),
    "lime": Method(lime, False, "the slopes of a linear model fitted near the input", True),
    "partition_shap": Method(partition_shap, True, "Owen values: Shapley values that keep neighbours together", True),
    "feature_ablation": Method(feature_ablation, False, "what the output loses without a group of tokens", True),
    "random": Method(random, False, "random scores, the control for every comparison", True),
}


def method(name: str, options: dict[str, Any], shared: bool = False) -> tuple[Method, dict[str, Any]]:
    """The row of METHODS, and those of `options` that are for it. Raises UnknownMethod.

    shared: the options are for several methods, so one that this method lacks is not for it, if another has it.
    """
    if name not in METHODS:
        raise UnknownMethod(f"Found method={name!r}; expected one of {', '.join(METHODS)}.")
    takes = METHODS[name].options
    known = {o for m in METHODS.values() for o in m.options} if shared else set(takes)
    unknown = [o for o in options if o not in known and "options" not in takes]
    if unknown:
        has = ", ".join(f"{k}={v!r}" for k, v in takes.items() if k != "options") or "none"
        raise UnknownMethod(f"The method {name!r} has no option {', '.join(map(repr, unknown))}; expected: {has}.")
    return METHODS[name], {k: v for k, v in options.items() if k in takes or ("options" in takes and not shared)}
