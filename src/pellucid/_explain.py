"""`pellucid.explain`: checks its arguments, and explains one input, a list of inputs, or a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from itertools import islice
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from ._outcomes import Meter, Run, Tell, check_unicode
from .answers import Answers
from .choices import Choice, kept
from .errors import InputError, UnknownMethod, nearest, quoted
from .explanation import Explanation
from .explanations import Explanations
from .methods import METHODS
from .models import Model
from .models.inside import layers
from .models.text.batch_inputs import several
from .models.text.inputs import Form
from .outcome import Failure, Outcome
from .request import Request
from .sources.streams import each_row, is_map_style, one_by_one
from .types import Baseline, Groups, Input, Target

CHUNK = 1024
"""So many inputs of a stream are sorted and batched together, and are in memory at once."""
_FIRST_CHUNK = 32  # small, and doubled from there: the first answers come soon


@overload
def explain(model: Model, inputs: list[Any], **options: Any) -> Answers: ...
@overload
def explain(model: Model, inputs: Input, **options: Any) -> Any: ...
@overload
def explain(model: Model, inputs: Iterable[object], **options: Any) -> Iterator[Any]: ...
def explain(
    model: Model,
    inputs: Input | list[Any] | Iterable[object],
    method: str | Sequence[str] = "deeplift",
    target: Target | Sequence[Target] = None,
    baseline: Baseline | list[Baseline] = "mask",
    detail: Sequence[str] = (),
    *,
    groups: Groups = None,
    output: str | None = None,
    at: str | Sequence[str] | None = None,
    truncate: bool = False,
    max_new_tokens: int = 20,
    window: int | None = None,
    stride: int | None = None,
    progress: Tell | None = None,
    errors: str = "raise",
    **options: object,
) -> Outcome | Answers | Iterator[Outcome]:
    """Which tokens made the model's output what it is.

    model: from `load` or `Model`.
    inputs: an Input, a row of a table among them; a list of them, which are batched and answered in order; or anything
        else that yields them, or batches of them (a generator, a file, a data set or a column of it, a DataLoader),
        whose answers come as an iterator: any number of texts takes the memory of a few, and the model is borrowed only
        while it works. A pair is a tuple; a list in a stream is several texts.
    method: a name in METHODS, or several. "auto": the method and the baseline that `evaluate(..., keep=True)` found for
        this model, the defaults where it found none; a note says which.
    target: what to explain (see `types.Target`), or a list of them, which share the model's passes. It is fixed at the
        input, once.
    baseline: what to compare with (see `types.Baseline`), or a list: scores are averaged, and `meta["baselines"]` keeps
        each one's delta. For the methods over a distribution of baselines the list is the sample.
    groups: which tokens are taken together (see `types.Groups`): each is a row of what is shown, with the sum of its
        tokens' scores (`e.groups()`). The methods that remove tokens remove a group as one, and share its score evenly;
        "deeplift_apart" sets one of them apart, a word where none are asked for.
    output: what a target's number is: "logit", or "probability" (after the softmax; the sigmoid of a single output);
        for the tokens of a generation also "log-probability". None: "log-probability" for text-generation, where a
        logit may stay as it is while the token becomes ten times as probable, and "logit" elsewhere.
    detail: what is also told of the inside of the model, any of "layers", "heads", "attentions", "parts", "norms",
        "rollout" and "attention_x_gradient" (see `models.inside.layers.CONTRIBUTIONS` and `MEASURES`).
    at: a module's name: its output is explained instead of the embeddings. A list of names: what "layers" reads.
    max_new_tokens: how many tokens a language model generates where no continuation is given.
    truncate: explain the beginning of a text that is too long, instead of raising TextTooLong.
    window, stride: explain a document longer than `window` tokens in windows of that size, which begin `stride` tokens
        apart (None: half a window), and merge them (see `documents`); `meta["windows"]` keeps each one's residual.
    progress: called with a `types.Progress` after each batch.
    errors: what becomes of an input that cannot be explained. "raise": its error is raised, for a list when all others
        have been tried. "return": a Failure stands in its place, with its number among the inputs and the reason.
    options: the method's own, as `pellucid methods` lists them.

    Returns an Explanation; Explanations for several targets or methods, and for a task that has several by itself (the
    start and end of an answer, the tokens of a continuation); for a list of inputs Answers, a list of these that is
    shown as a table; for an iterator an iterator.
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
    _check_spelling(options)
    if method == AUTO:
        chosen = _chosen(model, baseline)
        how = {"target": target, "detail": detail, "groups": groups, "output": output, "at": at, "truncate": truncate}
        how |= {"max_new_tokens": max_new_tokens, "window": window, "stride": stride, "progress": progress}
        how |= {"method": chosen.method, "baseline": list(chosen.baselines), "errors": errors, **options}
        again: Any = explain
        return _told(again(model, inputs, **how), chosen.sentence)
    request = request_of(
        method=method,
        target=target,
        baseline=baseline,
        detail=detail,
        options=options,
        groups=groups,
        output=output,
        at=at,
        truncate=truncate,
        max_new_tokens=max_new_tokens,
        window=window,
        stride=stride,
    )
    if errors not in ("raise", "return"):
        raise InputError(f"Found errors={quoted(errors)}; expected 'raise' or 'return'.")
    if progress is not None and not callable(progress):
        raise InputError(f"Found progress={quoted(progress)}; expected a function that takes a types.Progress.")
    form = model.does.form
    inputs = _input(inputs, form)
    streamed = _streams(inputs)
    batch = None if streamed else several(inputs, form)
    total = None if streamed else 1 if batch is None else len(batch)
    _check_one_input_groups(request, total)
    run = Run.of(model, request, errors, Meter(progress, total))
    if streamed:
        return _streamed(run, one_by_one(inputs, form))
    return run.outcomes([inputs])[0] if batch is None else Answers(run.outcomes(batch))


AUTO = "auto"
"""The name of the method that an evaluation chose."""


def _chosen(model: Model, baseline: Any) -> Choice:
    """The choice that was made for a model, or the default method; with the user's own baseline where there is one.
    Its sentence is the note."""
    own = list(baseline) if isinstance(baseline, (list, tuple)) else [baseline]
    found = kept(model.model)
    if found is None:
        note = (
            'No evaluation chose a method for this model (pellucid evaluate --keep); "auto" is the default, deeplift.'
        )
        return Choice("deeplift", tuple(own), note)
    note = f"An evaluation of this model chose {found.method} against {', '.join(found.baselines)}."
    if own == ["mask"] or tuple(own) == found.baselines:
        return Choice(found.method, found.baselines, note)
    return Choice(found.method, tuple(own), f"{note} The baseline is your own.")


def _told(answer: Any, note: str) -> Any:
    """The answers with one more note."""
    if isinstance(answer, Explanation):
        return replace(answer, notes=(*answer.notes, note))
    if isinstance(answer, Explanations):
        return Explanations(tuple(_told(e, note) for e in answer))
    if isinstance(answer, Answers):
        return Answers(_told(a, note) for a in answer)
    return answer if isinstance(answer, Failure) else (_told(a, note) for a in answer)


def request_of(
    method: str | Sequence[str],
    target: Target | Sequence[Target],
    baseline: Baseline | list[Baseline],
    detail: Sequence[str],
    at: str | Sequence[str] | None,
    groups: Groups,
    **more: Any,
) -> Request:
    """The arguments of `explain` as a Request. Raises InputError for an argument of another kind than `explain` says,
    UnknownMethod."""
    details = layers.named_details(detail if isinstance(detail, Iterable) else (detail,))
    _check_kinds(more["truncate"], more["max_new_tokens"], at, details)
    methods = tuple(method) if isinstance(method, Iterable) and not isinstance(method, str) else (method,)
    targets = tuple(map(_own, target if isinstance(target, (list, tuple)) else [target]))
    baselines = tuple(_own(b) for b in (baseline if isinstance(baseline, (list, tuple)) else [baseline]))
    if not (methods and targets and baselines):
        raise InputError("Found an empty list of methods, targets or baselines; expected at least one of each.")
    for name in methods:
        if not isinstance(name, str):
            raise UnknownMethod(f"Found method={quoted(name)}; expected the name of one: {', '.join(METHODS)}.")
    check_unicode(baselines, "Baseline")
    return Request(
        methods=methods,
        targets=targets,
        baselines=baselines,
        detail=details,
        at=at if at is None or isinstance(at, str) else tuple(at),
        groups=groups.tolist() if isinstance(groups, (np.ndarray, Tensor)) else groups,
        several=len(methods) > 1 or isinstance(target, (list, tuple)) or not isinstance(method, str),
        **more,
    )


def _input(inputs: Any, form: Form) -> Any:
    """A row of a table as a mapping, and a data set of the map style as an iterator; all else as it is."""
    if is_map_style(inputs):
        return each_row(inputs)
    to_dict, names = getattr(inputs, "to_dict", None), getattr(inputs, "index", None)
    if to_dict and getattr(inputs, "ndim", 0) == 1 and names is not None and all(isinstance(n, str) for n in names):
        row = to_dict()
        return row if form.layout(row)[0] else inputs
    return inputs


def _streams(inputs: Any) -> bool:
    """Whether inputs come one by one, as many as there are; a list, and what is one input by itself, do not.

    Raises InputError for a table, whose iterator yields the names of its columns.
    """
    if isinstance(inputs, np.ndarray):  # of numbers it is an image, or token ids
        return inputs.ndim == 1 and inputs.dtype.kind in "OUT"
    if not isinstance(inputs, Iterable) or isinstance(inputs, (list, str, bytes, tuple, Mapping, Tensor)):
        return False
    if getattr(inputs, "ndim", 1) > 1:
        raise InputError(
            f"Found a {type(inputs).__name__} of several columns; expected one column of texts, such as table['text'], "
            "or rows: zip(table['a'], table['b'])."
        )
    return True


def _streamed(run: Run, inputs: Iterator[object]) -> Iterator[Outcome]:
    """The outcomes, in order. Between two chunks the model is as it was, so that a consumer may stop."""
    size, before = _FIRST_CHUNK, 0
    while items := list(islice(inputs, size)):
        outcomes, error = run.tried(items, before)
        for outcome in outcomes:
            if error is not None and isinstance(outcome, Failure):
                raise error
            yield outcome
        before += len(items)
        size = min(2 * size, CHUNK)


def _own(value: Any) -> Any:
    """A whole number or an array of NumPy's as Python and PyTorch have it."""
    if isinstance(value, np.integer):
        return int(value)
    return torch.from_numpy(value) if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" else value


def _check_kinds(truncate: object, max_new_tokens: object, at: object, details: frozenset[str]) -> None:
    """Raises InputError for an argument of another kind than `explain` says."""
    several = isinstance(at, (list, tuple))
    names = [isinstance(name, str) and name for name in (at if several else [at])]
    for name, value, fits, expected in (
        ("truncate", truncate, isinstance(truncate, bool), "True or False"),
        ("max_new_tokens", max_new_tokens, type(max_new_tokens) is int and max_new_tokens >= 0, "a whole number"),
        ("at", at, at is None or (names and all(names)), "a module's name, or a list of names"),
    ):
        if not fits:
            raise InputError(f"Found {name}={quoted(value)}; expected {expected}.")
    if several and not details & {"layers", "heads"}:
        raise InputError(f"Found at={quoted(at)}, the modules that detail='layers' reads, without it; expected both.")


def _check_spelling(options: Mapping[str, object]) -> None:
    """Raises UnknownMethod for an argument that is none, and nearly one of `explain`'s."""
    known = {option for row in METHODS.values() for option in row.options}
    if "options" in options or not (unknown := [name for name in options if name not in known]):
        return
    own = signature(explain).parameters
    for name in unknown:
        if meant := nearest(name, [p for p in own if p not in ("model", "inputs", "options")]):
            raise UnknownMethod(f"Found {name}={quoted(options[name])}; did you mean {meant}=…?")


def _check_one_input_groups(request: Request, inputs: int | None) -> None:
    """Raises InputError where one input's groups are given for several inputs (None: for a stream)."""
    groups = request.groups
    if inputs != 1 and not (groups is None or isinstance(groups, str) or callable(groups)):
        raise InputError(
            f"Found one list of groups for {'any number of' if inputs is None else inputs} inputs; expected a function "
            "from the tokens of each to its groups, or 'token', 'word' or 'sentence'."
        )
