"""Joins a Model, a method and an Explanation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, cast, overload

import torch
from torch import Tensor

from .errors import InputError, NonFiniteOutput
from .explanation import Explanation, Explanations, average
from .methods import Method
from .methods import method as find_method
from .models import Model
from .models.baselines import name_of
from .models.batching import groups
from .models.encoding import Encoding
from .problem import Attribution
from .types import Baseline, Input, Target

Progress = Callable[[int, int], None]


@overload
def explain(model: Model, inputs: list[Any], **options: Any) -> list[Any]: ...
@overload
def explain(model: Model, inputs: Input, **options: Any) -> Any: ...
def explain(
    model: Model,
    inputs: Input | list[Any],
    method: str | Sequence[str] = "deeplift",
    target: Target | Sequence[Target] = None,
    baseline: Baseline | list[Baseline] = "mask",
    detail: Sequence[str] = (),
    *,
    truncate: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Explanation | Explanations | list[Explanation | Explanations]:
    """Which tokens made the model's output what it is.

    model: from `load` or `Model`.
    inputs: an Input, or a list of them, which are batched and answered in order.
    method: a name in METHODS, or several.
    target: what to explain (see `types.Target`), or a list of them. It is fixed at the input, once.
    baseline: what to compare with (see `types.Baseline`), or a list, whose scores are averaged.
    truncate: explain the beginning of a text that is too long, instead of raising TextTooLong.
    progress: called with (inputs done, inputs in all).
    options: the method's own, as `pellucid methods` lists them.

    Returns an Explanation; Explanations for several targets or methods; a list of these for a list of inputs.
    Raises a PellucidError that says what to do; the model is left as it was, whatever happens.

    Examples:
        >>> import pellucid
        >>> e = pellucid.explain(pellucid.load(), "It's great!")
        >>> e.prediction, e.top(1)[0].text, e.relative_delta < 1e-4
        ('positive', 'great', True)
    """
    if not isinstance(model, Model):
        raise InputError(
            f"Found a {type(model).__name__} as the model; expected pellucid.load('name-or-path') or "
            "pellucid.Model(model, tokenizer)."
        )
    if tuple(detail):
        raise InputError(f"Found detail={tuple(detail)!r}; expected (): this version explains tokens only.")
    names = [method] if isinstance(method, str) else list(method)
    methods = [(name, *find_method(name, options, shared=len(names) > 1)) for name in names]
    targets = list(target) if isinstance(target, (list, tuple)) else [target]
    baselines = baseline if isinstance(baseline, list) else [baseline]
    if not (methods and targets and baselines):
        raise InputError("Found an empty list of methods, targets or baselines; expected at least one of each.")
    items = inputs if isinstance(inputs, list) else [inputs]
    found: list[list[Explanation]] = [[] for _ in items]
    with model.borrowed():
        encodings = model.encode(items, truncate)
        done = 0
        for group in groups([len(e) for e in encodings]):
            batch = [encodings[i] for i in group]
            for spec in targets:
                for name, row, given in methods:
                    each = [_explained(model, batch, name, row, spec, one, given) for one in baselines]
                    for i, variants in zip(group, zip(*each, strict=True), strict=True):
                        one = (
                            variants[0] if len(variants) == 1 else average(variants, ", ".join(map(name_of, baselines)))
                        )
                        found[i].append(one)
            done += len(group)
            if progress is not None:
                progress(done, len(items))
    several = len(methods) > 1 or isinstance(target, (list, tuple)) or not isinstance(method, str)
    answers: list[Explanation | Explanations] = [Explanations(tuple(f)) if several else f[0] for f in found]
    return answers if isinstance(inputs, list) else answers[0]


def _explained(
    model: Model, batch: list[Encoding], name: str, method: Method, target: Any, baseline: Any, options: dict[str, Any]
) -> list[Explanation]:
    """One batch, one target, one baseline, one method."""
    start = time.perf_counter()
    problem = model.problem(batch, baseline, target)
    try:
        answer = method.solve(problem, **options)
    except NonFiniteOutput:
        if len({len(e) for e in batch}) == 1:
            raise
        # Some models compute NaN for padding, which no answer depends on but a gradient does: go without padding.
        alone = [_explained(model, [e], name, method, target, baseline, options) for e in batch]
        return [one for answers in alone for one in answers]
    scores = _token_scores(answer)
    logits = answer.outputs
    seconds = (time.perf_counter() - start) / len(batch)
    meta = _meta(model, options, seconds)
    own_scores = [row[own].numpy() for row, own in zip(scores, cast(Tensor, problem.mask).cpu(), strict=True)]
    return [
        Explanation(
            text=encoding.text,
            tokens=encoding.tokens,
            scores=own_scores[i],
            target=goal,
            method=name,
            baseline=name_of(baseline),
            output=answer.output[i].item(),
            baseline_output=answer.baseline_output[i].item(),
            delta=answer.output[i].item() - answer.baseline_output[i].item() - float(own_scores[i].sum()),
            prediction=predicted,
            probability=probability,
            adds_up=method.adds_up,
            passes=answer.passes,
            status=answer.status,
            meta=meta,
        )
        for i, (encoding, goal, (predicted, probability)) in enumerate(
            zip(batch, model.targets(target, logits), model.prediction(logits), strict=True)
        )
    ]


def _token_scores(answer: Attribution) -> Tensor:
    """(rows, tokens) in float64 on the CPU: the hidden dimension summed, or its norm."""
    values = answer.values[0] if isinstance(answer.values, tuple) else answer.values
    values = values.detach().double().cpu()
    return values.norm(dim=-1) if answer.reduction == "norm" else values.sum(-1)


def _meta(model: Model, options: dict[str, Any], seconds: float) -> dict[str, Any]:
    config = getattr(model.model, "config", None)
    return {
        "model": model.name,
        "revision": getattr(config, "_commit_hash", None),
        "task": model.row.name,
        "attention": getattr(config, "_attn_implementation", None),
        "device": str(model.device),
        "dtype": str(next((p.dtype for p in model.model.parameters()), "")).removeprefix("torch."),
        "options": options,
        "seed": options.get("seed", 0),
        "seconds": seconds,
        "versions": {
            "pellucid": version("pellucid"),
            "torch": torch.__version__,
            "transformers": version("transformers"),
        },
    }
