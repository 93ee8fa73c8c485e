"""The table METHODS: each method that explains a Problem, by its name.

A method is a function from a Problem to one Attribution for each of its targets. To add one, write such a function and
a row here, or from outside call `pellucid.extend.method`.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

import torch

from ..attribution import Attributions, solved
from ..engine.memory import batched
from ..engine.passes import value_at_x
from ..errors import InputError, UnknownMethod, expected, nearest, quoted
from ..numerics.noise import MOMENTS
from ..problem import Problem
from ..status import Status
from .apart import deeplift_apart
from .deeplift import deeplift
from .distributions import deep_shap, expected_gradients, feature_permutation, gradient_shap
from .gradient import deconvolution, guided_backprop, input_x_gradient, noisy, saliency
from .path import integrated_gradients, internal_influence
from .perturb import feature_ablation, kernel_shap, lime, occlusion, partition_shap, random, shapley
from .remarks import noting

Options: TypeAlias = dict[str, Any]
"""The options of a method, by their names."""


@dataclass(frozen=True)
class Method:
    """One row of METHODS.

    solve: `(problem, **options) -> attributions`.
    adds_up: whether its scores sum to the change in the output.
    summary: one line for people.
    groups: whether it removes groups of positions, and so takes `groups`.
    passes_inside: whether it passes the tensors inside the model, and so tells what layers contribute.
    distribution: whether several baselines are a sample that it compares every input with; else it is asked once for
        each of them.
    unit: of a method that removes groups and takes gradients too, the groups of a text where none are asked for.
    """

    solve: Callable[..., Attributions]
    adds_up: bool
    summary: str
    groups: bool = False
    passes_inside: bool = False
    distribution: bool = False
    unit: Literal["token", "word"] | None = None

    @property
    def only_removes(self) -> bool:
        """Whether it removes groups and takes no gradient: it may run on ids, and tokens may be deleted."""
        return self.groups and self.unit is None

    @property
    def options(self) -> Options:
        """The names of its options and their defaults."""
        return {p.name: p.default for p in list(inspect.signature(self.solve).parameters.values())[1:]}


def smoothgrad(
    problem: Problem,
    of: str = "saliency",
    n_samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
    moment: str = "mean",
    **options: object,
) -> Attributions:
    """The values of another method, averaged over noisy copies of the input (Smilkov et al. 2017, 1706.03825).

    of: the averaged method: "saliency", "input_x_gradient" or "integrated_gradients". `options` are its options.
    n_samples: how many copies. noise: σ of the noise, relative to the range of the row's embeddings.
    moment: what is made of the values: their "mean", mean "square" (Hooker et al. 2019, 1806.10758), or "variance"
        (VarGrad: Adebayo et al. 2018, 1810.03292).
    """
    if moment not in MOMENTS:
        raise InputError(f"smoothgrad got moment={moment!r}; expected one of {', '.join(MOMENTS)}.")
    if n_samples < 1 or noise < 0:
        raise InputError(
            f"smoothgrad got n_samples={n_samples!r}, noise={noise!r}; expected at least 1, and 0 or more."
        )
    if of not in ("saliency", "input_x_gradient", "integrated_gradients"):
        raise UnknownMethod(
            f"smoothgrad averages a gradient method; found of={of!r}, expected saliency, input_x_gradient or "
            "integrated_gradients."
        )
    outputs, selects, y = value_at_x(problem)
    many = problem.fixed(*selects).repeated(n_samples)
    every = torch.arange(many.rows, device=y[0].device)
    many = replace(many.at(noisy(problem, every // n_samples, every % n_samples, noise, seed)), watch=None)
    row, given = method(of, options)
    parts = list(batched(many, many.rows, lambda i: row.solve(many.taken(every[i]), **given)))
    made = lambda of_copies: MOMENTS[moment](torch.cat(of_copies).unflatten(0, (-1, n_samples)))
    return tuple(
        solved(
            tuple(made(v) for v in zip(*(inner.values for inner in each), strict=True)),
            y[k],
            torch.cat([inner.baseline_output for inner in each]).view(-1, n_samples)[:, 0],
            passes=n_samples * max(inner.passes for inner in each) + 1,
            status=Status.SAMPLED,
            reduction=each[0].reduction,
            outputs=outputs,
        )
        for k, each in enumerate(zip(*parts, strict=True))
    )


METHODS: dict[str, Method] = {
    "deeplift": Method(
        deeplift,
        True,
        "exact, two passes (a language model: three), and multipliers carried back through their graphs",
        passes_inside=True,
    ),
    "deeplift_apart": Method(
        deeplift_apart,
        True,
        "exact, four passes: DeepLIFT with the word that counts most removed first on one route, last on the other",
        groups=True,
        unit="word",
    ),
    "integrated_gradients": Method(
        integrated_gradients,
        True,
        "the gradient, averaged on the path from the baseline, to a tolerance",
        passes_inside=True,
    ),
    "input_x_gradient": Method(input_x_gradient, False, "the difference from the baseline times the gradient"),
    "saliency": Method(saliency, False, "the size of the gradient; signed=True keeps its sign"),
    "guided_backprop": Method(
        guided_backprop, False, "the gradient, of which ReLUs let only the positive part through"
    ),
    "deconvolution": Method(
        deconvolution, False, "the gradient, of which ReLUs let the positive part through, whatever their input"
    ),
    "smoothgrad": Method(smoothgrad, False, "a gradient method (of=…) averaged over noisy copies of the input"),
    "internal_influence": Method(
        internal_influence, False, "the mean gradient on the path from the baseline", passes_inside=True
    ),
    "gradient_shap": Method(
        gradient_shap, False, "the gradient at random places between the input and random baselines", distribution=True
    ),
    "expected_gradients": Method(
        expected_gradients, False, "integrated gradients averaged over the baselines, by sampling", distribution=True
    ),
    "deep_shap": Method(deep_shap, True, "DeepLIFT averaged over the baselines, exact", distribution=True),
    "occlusion": Method(
        occlusion, False, "what the output loses without a token, or without a few neighbours (width)", True
    ),
    "shapley": Method(shapley, True, "Shapley values: what a token adds, over all orders or a sample of them", True),
    "kernel_shap": Method(kernel_shap, True, "Shapley values by a weighted regression on coalitions", True),
    "lime": Method(lime, False, "the slopes of a linear model fitted near the input", True),
    "partition_shap": Method(partition_shap, True, "Owen values: Shapley values that keep neighbours together", True),
    "feature_ablation": Method(feature_ablation, False, "what the output loses without a group of tokens", True),
    "feature_permutation": Method(
        feature_permutation, False, "what the output loses with a feature of another input", True, distribution=True
    ),
    "random": Method(random, False, "random scores, the control for every comparison", True),
}


METHODS = {name: replace(row, solve=noting(row.solve, not row.only_removes)) for name, row in METHODS.items()}


def method(name: str, options: Options, shared: bool = False) -> tuple[Method, Options]:
    """The row of METHODS of this name, and those of `options` that the method takes. Raises UnknownMethod, InputError.

    shared: the options are for several methods at once. One that this method lacks is left out, if another method has
        it.
    """
    if not isinstance(name, str):
        raise UnknownMethod(f"Found method={quoted(name)}; expected the name of one: {', '.join(METHODS)}.")
    if name not in METHODS:
        raise UnknownMethod(f"Found method={name!r}; {expected(_meant(name))} one of {', '.join(METHODS)}.")
    takes = METHODS[name].options
    known = {o for m in METHODS.values() for o in m.options} if shared else set(takes)
    unknown = [o for o in options if o not in known and "options" not in takes]
    if unknown:
        has = ", ".join(f"{k}={v!r}" for k, v in takes.items() if k != "options") or "none"
        raise UnknownMethod(f"The method {name!r} has no option {', '.join(map(repr, unknown))}; expected: {has}.")
    given = {k: v for k, v in options.items() if k in takes or ("options" in takes and not shared)}
    _check_kinds(name, given)
    return METHODS[name], given


ABBREVIATIONS = {
    "ig": "integrated_gradients",
    "intgrad": "integrated_gradients",
    "eg": "expected_gradients",
    "ixg": "input_x_gradient",
    "gxi": "input_x_gradient",
    "gradient_x_input": "input_x_gradient",
    "grad": "saliency",
    "gradient": "saliency",
    "gradients": "saliency",
    "vanilla_gradient": "saliency",
    "sg": "smoothgrad",
    "loo": "occlusion",
    "leave_one_out": "occlusion",
    "erasure": "occlusion",
    "ablation": "feature_ablation",
    "shap": "shapley",
    "shapley_values": "shapley",
    "shapley_value_sampling": "shapley",
    "owen": "partition_shap",
    "ks": "kernel_shap",
    "dl": "deeplift",
    "rescale": "deeplift",
    "guided_backpropagation": "guided_backprop",
    "deconv": "deconvolution",
    "permutation_importance": "feature_permutation",
    "lrp": "deeplift",
    "dlshap": "deep_shap",
    "deeplift_shap": "deep_shap",
}
"""What the field calls a method, and the row of METHODS that it is, or is closest to."""


def _meant(name: str) -> str | None:
    """The method that a name probably means: what it is short for, or what is written much like it."""
    return ABBREVIATIONS.get(re.sub(r"[\s-]+", "_", name.strip().lower())) or nearest(name, METHODS)


def _check_kinds(name: str, given: Options) -> None:
    """Raises InputError for an option whose value is not of a kind that the method's signature names."""
    signature = inspect.signature(METHODS[name].solve).parameters
    for option, value in given.items():
        said = signature[option].annotation if option in signature else inspect.Parameter.empty
        kinds = (said if isinstance(said, str) else inspect.formatannotation(said)).split(" | ")
        kinds = [] if said is inspect.Parameter.empty else kinds
        if all(kind in KINDS for kind in kinds) and not any(KINDS[kind][1](value) for kind in kinds or ["any"]):
            wanted = " or ".join(KINDS[kind][0] for kind in kinds)
            raise InputError(f"{name} got {option}={quoted(value)}; expected {wanted}.")
        if option == "seed" and value < 0:
            raise InputError(f"{name} got seed={value!r}; expected 0 or more.")


KINDS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "any": ("anything", lambda v: True),
    "int": ("a whole number", lambda v: isinstance(v, Integral) and not isinstance(v, bool)),
    "float": ("a finite number", lambda v: isinstance(v, Real) and not isinstance(v, bool) and math.isfinite(v)),
    "bool": ("True or False", lambda v: isinstance(v, bool)),
    "str": ("a name", lambda v: isinstance(v, str)),
    "None": ("None", lambda v: v is None),
}
"""What an option may be, by its annotation: in words, and as a test."""
