"""Joins a Model, a method and an Explanation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, cast, overload

import torch
from torch import Tensor

from .errors import InputError, NonFiniteOutput
from .explanation import Explanation, Explanations, average
from .methods import METHODS, Method
from .methods import method as find_method
from .models import Model
from .models.baselines import name_of
from .models.batching import groups as batches
from .models.encoding import Encoding
from .problem import Attribution
from .types import Baseline, Groups, Input, Target

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
    groups: Groups = None,
    output: str = "logit",
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
    groups: for the methods that remove tokens, which go together (see `types.Groups`). A group's score is shared
        evenly by its tokens, so it is the sum of theirs.
    output: what a target's number is: "logit", or "probability" (after the softmax; the sigmoid of a single output).
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
    _check_removal(methods, baselines, groups, len(items))
    how = {"groups": groups, "output": output}
    found: list[list[Explanation]] = [[] for _ in items]
    with model.borrowed():
        encodings = model.encode(items, truncate)
        done = 0
        for group in batches([len(e) for e in encodings]):
            batch = [encodings[i] for i in group]
            for spec in targets:
                for name, row, given in methods:
                    each = [_explained(model, batch, name, row, spec, one, given, how) for one in baselines]
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


def _check_removal(
    methods: list[tuple[str, Method, dict[str, Any]]], baselines: list[Any], groups: Any, inputs: int
) -> None:
    """Raises InputError where groups or baseline="delete" are asked of a method that removes nothing."""
    remove = ", ".join(name for name, row in METHODS.items() if row.groups)
    without = [name for name, row, _ in methods if not row.groups]
    if groups is not None and len(without) == len(methods):
        raise InputError(f"Found groups with method={without[0]!r}; expected a method that removes groups: {remove}.")
    if without and any(isinstance(b, str) and b == "delete" for b in baselines):
        raise InputError(
            f"Found baseline='delete' with method={without[0]!r}, which needs something in the place of each token; "
            f"expected 'mask', 'pad', 'zero', 'mean', a token or a text, or one of the methods {remove}."
        )
    if inputs != 1 and not (groups is None or isinstance(groups, str) or callable(groups)):
        raise InputError(
            f"Found one list of groups for {inputs} inputs; expected a function from the tokens of each to its groups, "
            "or 'token', 'word' or 'sentence'."
        )


def _explained(
    model: Model,
    batch: list[Encoding],
    name: str,
    method: Method,
    target: Any,
    baseline: Any,
    options: dict[str, Any],
    how: dict[str, Any],
) -> list[Explanation]:
    """One batch, one target, one baseline, one method. how: what else `Model.problem` takes."""
    start = time.perf_counter()
    problem = model.problem(batch, baseline, target, **how)
    try:
        answer = method.solve(problem, **options)
    except NonFiniteOutput:
        if len({len(e) for e in batch}) == 1:
            raise
        # Some models compute NaN for padding, which no answer depends on but a gradient does: go without padding.
        alone = [_explained(model, [e], name, method, target, baseline, options, how) for e in batch]
        return [one for answers in alone for one in answers]
    scores = _token_scores(answer)
    logits = answer.outputs
    status = answer.row_status or (answer.status,) * len(batch)
    errors = None
    if answer.error is not None:
        each = cast(Tensor, answer.error).cpu()
        errors = [e[own].numpy() for e, own in zip(each, cast(Tensor, problem.mask).cpu(), strict=True)]
    seconds = (time.perf_counter() - start) / len(batch)
    meta = {**_meta(model, options, seconds), "output": how["output"]}
    if method.groups:
        meta["groups"] = "function" if callable(how["groups"]) else how["groups"] or "token"
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
            passes=answer.row_passes[i] if answer.row_passes else answer.passes,
            status=status[i],
            error=None if errors is None or status[i] == "exact" else errors[i],
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


@cache
def _versions() -> dict[str, str]:
    """Reading a package's metadata takes as long as a layer of a small model."""
    return {"pellucid": version("pellucid"), "torch": str(torch.__version__), "transformers": version("transformers")}


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
        "versions": _versions(),
    }
