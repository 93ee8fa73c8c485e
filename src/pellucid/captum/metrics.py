"""Infidelity and maximum sensitivity (Yeh et al. 2019, 1901.09392), in Captum's form."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError
from .calls import Rows, baselines_of, one_or_all, tupled
from .outputs import Forward, Tensors, Value, run


def infidelity_perturb_func_decorator(multiply_by_inputs: bool = True) -> Callable[..., Any]:
    """Lets a function that returns perturbed inputs only be the `perturb_func` of `infidelity`."""

    def decorated(perturb: Callable[..., Any]) -> Callable[..., Any]:
        def with_changes(inputs: Value, baselines: Value = None) -> tuple[Tensors, Tensors]:
            after = tupled(perturb(inputs) if baselines is None else perturb(inputs, baselines))
            before = tupled(inputs)
            base = [0] * len(before) if baselines is None else baselines_of(before, baselines)
            changes = []
            for t, p, b in zip(before, after, base, strict=True):
                size = t - b
                changes.append(
                    (t - p) / torch.where(size == 0, torch.ones_like(t), size) if multiply_by_inputs else t - p
                )
            return tuple(changes), after

        return with_changes

    return decorated


def infidelity(
    forward_func: Forward,
    perturb_func: Callable[..., Any],
    inputs: Value,
    attributions: Value,
    baselines: Value = None,
    additional_forward_args: Value = None,
    target: Value = None,
    n_perturb_samples: int = 10,
    max_examples_per_batch: int | None = None,
    normalize: bool = False,
) -> Tensor:
    """E[(Σ I·a − (f(x) − f(x − I)))²] over random perturbations I, for each row.

    perturb_func: `(inputs[, baselines]) → (I, perturbed inputs)`. normalize: for attributions scaled as fits best.
    """
    x: tuple[Tensor, ...] = tupled(inputs)
    values = tupled(attributions)
    if [t.shape for t in x] != [t.shape for t in values]:
        raise ArgumentError(
            f"Found attributions of the shapes {[tuple(t.shape) for t in values]} for inputs of the shapes "
            f"{[tuple(t.shape) for t in x]}; expected the same."
        )
    base = None if baselines is None else baselines_of(x, baselines)
    rows = Rows(target, additional_forward_args, x[0].shape[0])

    def sums(n: int) -> Tensor:
        wide = tuple(t.repeat_interleave(n, 0) for t in x)
        given = one_or_all(wide)
        if base is None:
            found = perturb_func(given)
        else:
            many = lambda b, t: (
                b.repeat_interleave(n, 0) if isinstance(b, Tensor) and b.shape[0] == t.shape[0] > 1 else b
            )
            b = tuple(map(many, base, x))
            found = perturb_func(given, one_or_all(b))
        change, after = map(tupled, found)
        if len(change) != len(x) or any(c[0].shape != a[0].shape for c, a in zip(change, after, strict=True)):
            raise ArgumentError("perturb_func returned perturbations of other shapes than the perturbed inputs.")
        r = rows.repeated(n, True)
        y = run(forward_func, x, target, additional_forward_args).repeat_interleave(n, 0)
        lost = (y - run(forward_func, after, r.target, r.args)).view(rows.n, -1)
        told = sum(
            (a.repeat_interleave(n, 0) * c).reshape(rows.n * n, -1).sum(1) for a, c in zip(values, change, strict=True)
        )
        assert isinstance(told, Tensor)
        told = told.view(rows.n, -1)
        if normalize:
            return torch.stack([told.pow(2).sum(-1), (told * lost).sum(-1), lost.pow(2).sum(-1)])
        return (told - lost).pow(2).sum(-1)

    with torch.no_grad():
        found = torch.stack([sums(n) for n in _parts(rows.n, n_perturb_samples, max_examples_per_batch)]).sum(0)
        if normalize:
            square, both, change = found
            scale = torch.where(square == 0, both, both / torch.where(square == 0, torch.ones_like(square), square))
            found = scale**2 * square - 2 * scale * both + change
    return found / n_perturb_samples


def _parts(rows: int, samples: int, most: int | None) -> list[int]:
    """How many samples each batch of at most `most` rows has."""
    if most is not None and not 1 <= most // rows <= samples:
        warnings.warn(
            f"max_examples_per_batch={most} is below the {rows} rows or above {rows * samples}.", stacklevel=3
        )
    each = samples if most is None else min(max(most // rows, 1), samples)
    return [each] * (samples // each) + ([samples % each] if samples % each else [])


def default_perturb_func(inputs: Value, perturb_radius: float = 0.02) -> Tensors:
    """Uniform noise within the radius. Raises ArgumentError for integers."""
    for i, t in enumerate(tupled(inputs)):
        if not t.is_floating_point():
            raise ArgumentError(
                f"Input {i} is a tensor of {t.dtype}, and noise cannot be added to ids; expected floats, or a "
                "perturb_func of your own."
            )
    return tuple(t + torch.empty_like(t).uniform_(-perturb_radius, perturb_radius) for t in tupled(inputs))


def sensitivity_max(
    explanation_func: Callable[..., Any],
    inputs: Value,
    perturb_func: Callable[..., Any] = default_perturb_func,
    perturb_radius: float = 0.02,
    n_perturb_samples: int = 10,
    norm_ord: Any = "fro",
    max_examples_per_batch: int | None = None,
    **kwargs: Any,
) -> Tensor:
    """max ‖a(x + ε) − a(x)‖ / ‖a(x)‖ over random ε within the radius, for each row."""
    x = tupled(inputs)
    rows = Rows(kwargs.get("target"), kwargs.get("additional_forward_args"), x[0].shape[0])
    order = 2 if norm_ord == "fro" else norm_ord
    norm = lambda parts: torch.linalg.vector_norm(torch.cat([t.reshape(len(t), -1) for t in parts], 1), order, 1)

    def largest(n: int, own: Tensors) -> Tensor:
        wide = tuple(t.repeat_interleave(n, 0) for t in x)
        given = one_or_all(wide)
        after = (
            perturb_func(given, perturb_radius)
            if len(inspect.signature(perturb_func).parameters) > 1
            else perturb_func(given)
        )
        r, more = rows.repeated(n, True), dict(kwargs)
        if "target" in more:
            more["target"] = r.target
        if more.get("additional_forward_args") is not None:
            more["additional_forward_args"] = r.args
        if more.get("baselines") is not None:
            b = more["baselines"] if isinstance(more["baselines"], tuple) else (more["baselines"],)
            if isinstance(b[0], Tensor) and b[0].shape == x[0].shape:
                whole = lambda t: isinstance(t, Tensor) and t.ndim > 0 and len(t) == rows.n  # not one for all rows
                many = tuple(t.repeat_interleave(n, 0) if whole(t) else t for t in b)
                more["baselines"] = many if isinstance(more["baselines"], tuple) else many[0]
        found = tupled(explanation_func(after, **more))
        change = norm([a.repeat_interleave(n, 0) - b for a, b in zip(own, found, strict=True)])
        size = norm(own)
        return (change / torch.where(size == 0, torch.ones_like(size), size).repeat_interleave(n)).view(-1, n).amax(1)

    with torch.no_grad():
        own = tupled(explanation_func(x, **kwargs))
        parts = [largest(n, own) for n in _parts(rows.n, n_perturb_samples, max_examples_per_batch)]
    return torch.stack(parts).amax(0)
