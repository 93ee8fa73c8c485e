"""Checks what was asked, and asks it of texts batch by batch, as many as there are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from ._answer import Goals, Question
from ._long_documents import answered
from .errors import InputError, PellucidError, UnknownMethod
from .explanation import Explanation, Explanations
from .methods import METHODS, Method
from .methods import method as find_method
from .models import Model
from .models.batching import groups as batches
from .models.inside import layers
from .models.text import windows
from .models.text.encoding import Encoding
from .models.text.filler import Filler
from .models.text.inputs import Form, several
from .notes import noted
from .types import Baseline, Groups, Input, Progress, Target

Answer = Explanation | Explanations
Tell = Callable[[Progress], None]

CHUNK = 1024
"""So many inputs of a stream are sorted and batched together, and are in memory at once."""
_FIRST_CHUNK = 32  # small, and doubled from there: the first answers come soon


@overload
def explain(model: Model, inputs: list[Any], **options: Any) -> list[Any]: ...
@overload
def explain(model: Model, inputs: Input, **options: Any) -> Any: ...
@overload
def explain(model: Model, inputs: Iterable[Any], **options: Any) -> Iterator[Any]: ...
def explain(
    model: Model,
    inputs: Input | list[Any] | Iterable[Any],
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
    **options: Any,
) -> Answer | list[Answer] | Iterator[Answer]:
    """Which tokens made the model's output what it is.

    model: from `load` or `Model`.
    inputs: an Input; a list of them, which are batched and answered in order; or anything else that yields them, or
        batches of them (a generator, a file, a data set or a column of it, a DataLoader), whose answers come as an
        iterator: any number of texts takes the memory of a few, and the model is borrowed only while it works. A pair
        is a tuple; a list in a stream is several texts.
    method: a name in METHODS, or several.
    target: what to explain (see `types.Target`), or a list of them, which share the model's passes. It is fixed at the
        input, once.
    baseline: what to compare with (see `types.Baseline`), or a list: scores are averaged, and `meta["baselines"]` keeps
        each one's delta. For the methods over a distribution of baselines the list is the sample.
    groups: for the methods that remove tokens, which go together (see `types.Groups`). A group's score is shared
        evenly by its tokens, so it is the sum of theirs.
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
    options: the method's own, as `pellucid methods` lists them.

    Returns an Explanation; Explanations for several targets or methods, and for a task that has several by itself (the
    start and end of an answer, the tokens of a continuation); a list of these for a list of inputs,
    an iterator for an iterator.
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
    details = layers.checked(detail if isinstance(detail, Iterable) else (detail,))
    _check_kinds(truncate, max_new_tokens, progress, at, details)
    names = list(method) if isinstance(method, Iterable) and not isinstance(method, str) else [method]
    methods = [(name, *find_method(_named(name), options, shared=len(names) > 1)) for name in names]
    targets = list(map(_own, target if isinstance(target, (list, tuple)) else [target]))
    each = [_own(b) for b in (baseline if isinstance(baseline, (list, tuple)) else [baseline])]
    _check_unicode(each, "Baseline")
    baselines = list(map(model.baseline, each))
    if not (methods and targets and baselines):
        raise InputError("Found an empty list of methods, targets or baselines; expected at least one of each.")
    groups = groups.tolist() if isinstance(groups, (np.ndarray, Tensor)) else groups
    methods = [(name, row, _usual(row, baselines) | given) for name, row, given in methods]
    how = {"groups": groups, "output": output or model.row.output, "detail": details, "at": at}
    many = len(methods) > 1 or isinstance(target, (list, tuple)) or not isinstance(method, str)
    asked = tuple(Question(*row, tuple(targets), tuple(baselines), how) for row in methods)
    _check_depth(methods, details)
    form, streamed = model.row.form, _streams(inputs)
    batch = None if streamed else several(inputs, form)
    total = None if streamed else 1 if batch is None else len(batch)
    _check_removal(methods, baselines, groups, total)
    cut = windows.checked(model, window, stride)
    work = _Work(model, asked, many, truncate, max_new_tokens, cut, _Meter(progress, total))
    if streamed:
        return _streamed(work, _one_by_one(inputs, form))
    return work.answers([inputs])[0] if batch is None else work.answers(batch)


def _one_by_one(inputs: Iterable[Any], form: Form) -> Iterator[Any]:
    """The inputs of a stream, those of its batches one after the other."""
    collated = isinstance(inputs, DataLoader) and inputs.collate_fn is default_collate and inputs.batch_size is not None
    for item in inputs:
        batch = several(item, form, collated)
        yield from ([item] if batch is None else batch)


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


def _streamed(work: _Work, inputs: Iterator[Any]) -> Iterator[Answer]:
    """The answers, in order. Between two chunks the model is as it was, so that a consumer may stop."""
    size, before = _FIRST_CHUNK, 0
    while items := list(islice(inputs, size)):
        try:
            answers = work.answers(items)
        except PellucidError as error:
            error.add_note(f"Its chunk of the stream begins with input {before}.")
            raise
        yield from answers
        before += len(items)
        size = min(2 * size, CHUNK)


class _Meter:
    """Counts what is done, and tells it."""

    def __init__(self, tell: Tell | None, total: int | None):
        self.tell, self.total, self.began = tell, total, time.perf_counter()
        self.done = self.passes = self.tokens = 0

    def add(self, inputs: int, passes: int, tokens: int, tokens_in_all: int) -> None:
        """Time left goes by tokens, because short texts come first."""
        self.done, self.passes, self.tokens = self.done + inputs, self.passes + passes, self.tokens + tokens
        if self.tell is None:
            return
        seconds = time.perf_counter() - self.began
        left = None if self.total is None else seconds * (tokens_in_all / self.tokens - 1)
        self.tell(Progress(self.done, self.total, self.passes, seconds, left))


@dataclass(frozen=True)
class _Work:
    """What is asked of every input alike. many: whether an answer is always an Explanations."""

    model: Model
    questions: Sequence[Question]
    many: bool
    truncate: bool
    max_new_tokens: int
    windows: windows.Windows | None
    meter: _Meter

    def answers(self, items: list[Any]) -> list[Answer]:
        """One for each input, in order."""
        _check_unicode(items, "Input")
        found: list[Goals] = [[] for _ in items]
        copies = len(self.questions[0].baselines)
        with self.model.borrowed():
            reads = self.model if self.windows is None else windows.unbounded(self.model)
            encodings = reads.encode(items, self.truncate, self.max_new_tokens)
            lengths = [len(e) for e in encodings]
            for group in batches(lengths, copies, kinds=[e.kind for e in encodings]):
                batch = [encodings[i] for i in group]
                answers, passes = zip(*(self._asked(batch, question) for question in self.questions), strict=True)
                for of_target in zip(*answers, strict=True):
                    for of_question in of_target:
                        for i, goals in zip(group, of_question, strict=True):
                            found[i] += [_finished(self.model, e, encodings[i]) for e in goals]
                self.meter.add(len(group), sum(passes), sum(lengths[i] for i in group), sum(lengths))
        return [Explanations(tuple(f)) if self.many or len(f) != 1 else f[0] for f in found]

    def _asked(self, batch: Sequence[Encoding], question: Question) -> tuple[list[list[Goals]], int]:
        """For each target the goals of each input, and how many rows went through the model. Targets for which the same
        goes in share its passes."""
        given: list[tuple[list[Encoding], list[int]]] = []
        for t, target in enumerate(question.targets):
            aimed = [self.model.row.aimed(encoding, target) for encoding in batch]
            same = next((numbers for other, numbers in given if other == aimed), None)
            if same is None:
                given.append((aimed, [t]))
            else:
                same.append(t)
        found: list[list[Goals]] = [[] for _ in question.targets]
        passes = 0
        for aimed, numbers in given:
            part = replace(question, targets=tuple(question.targets[t] for t in numbers))
            for answers in answered(self.model, aimed, part, self.windows):
                passes += max((e.passes for goals in answers for e in goals), default=0)
                for t, goals in zip(numbers, answers, strict=True):
                    found[t].append(goals)
        return found, passes


def _finished(model: Model, e: Explanation, encoding: Encoding) -> Explanation:
    """With what the input says of itself: its true label, what of it was not read, and the notes on all of it."""
    label, at = encoding.label, e.target.position
    label = label if not isinstance(label, tuple) else label[at] if at is not None else None
    if label is not None or encoding.unread:
        e = replace(e, label=label, unread=(*encoding.unread, *e.unread))
    return noted(e, model.unknown, encoding.cut)


def _usual(method: Method, baselines: Sequence[Any]) -> dict[str, Any]:
    """The options of a method that a baseline brings, where the user does not say."""
    segments = max((b.segments for b in baselines if isinstance(b, Filler)), default=1)
    return {"segments": segments} if segments > 1 and "segments" in method.options else {}


def _own(value: Any) -> Any:
    """A number or an array of NumPy's as Python and PyTorch have it."""
    if isinstance(value, np.integer):
        return int(value)
    return torch.from_numpy(value) if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" else value


def _named(name: Any) -> str:
    if isinstance(name, str):
        return name
    raise UnknownMethod(f"Found method={name!r:.60}; expected the name of one: {', '.join(METHODS)}.")


def _check_kinds(truncate: Any, max_new_tokens: Any, progress: Any, at: Any, details: frozenset[str]) -> None:
    """Raises InputError for an argument of another kind than `explain` says."""
    several = isinstance(at, (list, tuple))
    names = [isinstance(name, str) and name for name in (at if several else [at])]
    for name, value, fits, expected in (
        ("truncate", truncate, isinstance(truncate, bool), "True or False"),
        ("max_new_tokens", max_new_tokens, type(max_new_tokens) is int and max_new_tokens >= 0, "a whole number"),
        ("progress", progress, progress is None or callable(progress), "a function that takes a types.Progress"),
        ("at", at, at is None or (names and all(names)), "a module's name, or a list of names"),
    ):
        if not fits:
            raise InputError(f"Found {name}={value!r:.60}; expected {expected}.")
    if several and not details & {"layers", "heads"}:
        raise InputError(f"Found at={at!r:.60}, the modules that detail='layers' reads, without it; expected both.")


def _check_unicode(items: Sequence[Any], what: str) -> None:
    """Raises InputError for half of a surrogate pair, which UTF-8 cannot hold and no tokenizer reads."""
    for i, item in enumerate(items):
        for text in _strings(item):
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise InputError(
                    f"{what} {i} holds {text[error.start]!r} at character {error.start}, which is half of a character; "
                    "expected Unicode text. Decode the text as what it is, or text.encode('utf-8', 'replace').decode()."
                ) from error


def _strings(item: Any) -> Iterator[str]:
    if isinstance(item, str):
        yield item
    elif isinstance(item, (list, tuple, Mapping)):
        for part in item.values() if isinstance(item, Mapping) else item:
            yield from _strings(part)


def _check_removal(
    methods: list[tuple[str, Method, dict[str, Any]]], baselines: list[Any], groups: Any, inputs: int | None
) -> None:
    """Raises InputError where groups or baseline="delete" are asked of a method that removes nothing, or one input's
    groups of several (None: of a stream)."""
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
            f"Found one list of groups for {'any number of' if inputs is None else inputs} inputs; expected a function "
            "from the tokens of each to its groups, or 'token', 'word' or 'sentence'."
        )


def _check_depth(methods: list[tuple[str, Method, dict[str, Any]]], details: frozenset[str]) -> None:
    """Raises InputError where what is inside is asked of a method that does not pass it."""
    within = sorted(details & layers.CONTRIBUTIONS.keys())
    if within and (without := [name for name, row, _ in methods if not row.passes_inside]):
        able = ", ".join(name for name, row in METHODS.items() if row.passes_inside)
        raise InputError(
            f"Found detail={within} with method={without[0]!r}, which does not look inside the "
            f"model; expected one of {able}."
        )
