"""Explains many inputs in batches; an input that fails does not stop the others."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ._answer import Goals
from ._long_documents import explained
from .errors import InputError, PellucidError
from .explanation import Explanation
from .explanations import Explanations
from .methods import METHODS, Method
from .methods import method as find_method
from .models import Model
from .models.inside import layers
from .models.text import windows
from .models.text.encoding import Encoding
from .models.text.filler import Filler
from .notes import noted
from .outcome import Failure, Outcome
from .request import Request
from .types import Progress

T = TypeVar("T")
Tell = Callable[[Progress], None]
HOPELESS = 8
"""So many inputs fail, and none succeeds, before errors="raise" raises without trying the others: it is the request
that no input can answer."""


class Meter:
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
        left = None if self.total is None or not self.tokens else seconds * (tokens_in_all / self.tokens - 1)
        self.tell(Progress(self.done, self.total, self.passes, seconds, left))


@dataclass
class _Failed:
    """The errors of the inputs of a chunk, by an input's number in it.

    first: the number of the chunk's first input among all inputs. alone: whether there is one input, whose error is
    raised as it is. returned: whether errors are returned. failing: how many inputs failed in what is tried now; −∞
    once one went through.
    """

    first: int
    alone: bool
    returned: bool
    errors: dict[int, Exception] = field(default_factory=dict)
    failing: float = 0

    def apart(self, run: Callable[[Sequence[int]], Sequence[T]], numbers: Sequence[int]) -> Iterator[tuple[int, T]]:
        """`run` of all these inputs at once; where that fails, of each half, until each input that fails is alone."""
        try:
            done = run(numbers)
        except Exception as error:
            if self.alone or not (self.returned or isinstance(error, PellucidError)):
                raise
            if len(numbers) == 1:
                self.errors[numbers[0]] = numbered(error, self.first + numbers[0])
                self.failing += 1
        else:
            self.failing = -math.inf
            yield from zip(numbers, done, strict=True)
            return
        if len(numbers) > 1:  # here, not where the error was caught: its frames hold what the batch took in memory
            half = len(numbers) // 2
            yield from self.apart(run, numbers[:half])
            yield from self.apart(run, numbers[half:])
        elif self.failing == HOPELESS and (first := self.first_error()) is not None:
            raise first from None

    def first_error(self) -> Exception | None:
        """The error to raise, of the first input that failed; None where none did, or errors are returned."""
        if self.returned or not self.errors:
            return None
        number = min(self.errors)
        more = f", and {len(self.errors) - 1} more failed" if len(self.errors) > 1 else ""
        others = "errors='return' gives the answers to the others."
        self.errors[number].add_note(f"It was raised for input {self.first + number}{more}; {others}")
        return self.errors[number]

    def failure(self, number: int) -> Failure:
        """The Failure of an input, by its number in the chunk."""
        error = self.errors[number]
        return Failure(self.first + number, type(error).__name__, str(error))


def numbered(error: Exception, number: int) -> Exception:
    """The error of an input that was tried alone, as "input 0", with its number among all inputs."""
    if isinstance(error, PellucidError) and error.args:
        message = str(error.args[0])
        places = list(re.finditer(r"\b[Ii]nput 0\b", message))  # the input itself may be quoted before it is numbered
        if places:
            end = (places[0] if places[0].start() == 0 else places[-1]).end()
            error.args = (f"{message[: end - 1]}{number}{message[end:]}", *error.args[1:])
    return error


@dataclass(frozen=True)
class Run:
    """What is asked of every input alike. requests: one for each method, as `for_each_method` makes them. errors: as
    `explain`."""

    model: Model
    request: Request
    requests: tuple[Request, ...]
    windows: windows.Windows | None
    errors: str
    meter: Meter

    @classmethod
    def of(cls, model: Model, request: Request, errors: str = "raise", meter: Meter | None = None) -> Run:
        """Raises InputError, UnknownMethod, UnknownBaseline where the request asks what this model cannot answer."""
        requests = for_each_method(model, request)
        cut = windows.windows_of(model, request.window, request.stride)
        return cls(model, request, requests, cut, errors, meter or Meter(None, None))

    def outcomes(self, items: Sequence[object]) -> list[Outcome]:
        """One for each input, in order. Raises the first error unless errors are returned."""
        found, error = self.tried(items, alone=len(items) == 1)
        if error is not None:
            raise error
        return found

    def tried(
        self, items: Sequence[object], first: int = 0, alone: bool = False
    ) -> tuple[list[Outcome], Exception | None]:
        """One outcome for each input, in order, and the error to raise, if any. first: the number of the first of them
        among all inputs. alone: whether there is one input in all."""
        returned = self.errors == "return"
        failed = _Failed(first, alone=alone and not returned, returned=returned)
        found: dict[int, list[Explanation]] = {}
        with self.model.borrowed():
            encodings = dict(
                failed.apart(lambda numbers: self._encoded([items[i] for i in numbers]), range(len(items)))
            )
            numbers = list(encodings)
            tokens = sum(map(len, encodings.values()))
            copies = len(self.request.baselines)
            self.meter.add(len(failed.errors), 0, 0, tokens)
            failed.failing = 0
            for group in self.model.batches(list(encodings.values()), copies):
                batch = [numbers[i] for i in group]
                answers = dict(failed.apart(lambda some: self._explained([encodings[i] for i in some]), batch))
                found |= {i: each for i, (each, _) in answers.items()}
                passes = max((spent for _, spent in answers.values()), default=0)
                self.meter.add(len(group), passes, sum(len(encodings[i]) for i in batch), tokens)
        each = [self._outcome(found[i]) if i in found else failed.failure(i) for i in range(len(items))]
        return each, failed.first_error()

    def _encoded(self, items: Sequence[object]) -> list[Encoding]:
        check_unicode(items, "Input")
        asked = self.request
        return self.model.encode(items, asked.truncate, asked.max_new_tokens, any_length=self.windows is not None)

    def _explained(self, batch: Sequence[Encoding]) -> list[tuple[list[Explanation], int]]:
        """For each input of a batch its Explanations, target by target, method by method, and how many rows went
        through the model for all of the batch."""
        answers = [self._targets(batch, request) for request in self.requests]
        found: list[list[Explanation]] = [[] for _ in batch]
        for of_methods in zip(*(of_targets for of_targets, _ in answers), strict=True):
            for of_target in of_methods:
                for mine, goals, encoding in zip(found, of_target, batch, strict=True):
                    mine += [_finished(self.model, e, encoding) for e in goals]
        passes = sum(spent for _, spent in answers)
        return [(each, passes) for each in found]

    def _targets(self, batch: Sequence[Encoding], request: Request) -> tuple[list[list[Goals]], int]:
        """For each target the Explanations of each input, and how many rows went through the model for all inputs.
        Targets for which the same encodings go in share the passes."""
        given: list[tuple[list[Encoding], list[int]]] = []
        for t, target in enumerate(request.targets):
            aimed = [self.model.does.aimed(encoding, target) for encoding in batch]
            same = next((numbers for other, numbers in given if other == aimed), None)
            if same is None:
                given.append((aimed, [t]))
            else:
                same.append(t)
        found: list[list[Goals]] = [[] for _ in request.targets]
        passes = 0
        for aimed, numbers in given:
            part = replace(request, targets=tuple(request.targets[t] for t in numbers))
            for answers in explained(self.model, aimed, part, self.windows):
                passes += max((e.passes for goals in answers for e in goals), default=0)
                for t, goals in zip(numbers, answers, strict=True):
                    found[t].append(goals)
        return found, passes

    def _outcome(self, each: list[Explanation]) -> Outcome:
        return Explanations(tuple(each)) if self.request.several or len(each) != 1 else each[0]


def for_each_method(model: Model, request: Request) -> tuple[Request, ...]:
    """A Request for each method, with the method's own options, and with what this model means by the names of
    baselines and by no output.

    Raises InputError, UnknownMethod, UnknownBaseline.
    """
    shared = len(request.methods) > 1
    methods = [(name, *find_method(name, dict(request.options), shared=shared)) for name in request.methods]
    baselines = tuple(map(model.baseline, request.baselines))
    rows = [(name, row) for name, row, _ in methods]
    _check_removal(rows, baselines)
    _check_inside(rows, request.detail)
    return tuple(
        replace(
            request,
            methods=(name,),
            options=_usual(row, baselines) | given,
            baselines=baselines,
            output=request.output or model.does.output,
        )
        for name, row, given in methods
    )


def _finished(model: Model, e: Explanation, encoding: Encoding) -> Explanation:
    """With what the input says of itself: its true label, what of it was not read, and the notes on all of it."""
    label, at = encoding.label, e.target.position
    label = label if not isinstance(label, tuple) else label[at] if at is not None else None
    if label is not None or encoding.unread or encoding.notes:
        e = replace(e, label=label, unread=(*encoding.unread, *e.unread), notes=(*encoding.notes, *e.notes))
    names = tuple(model.labels) if model.does.name == "text-classification" else ()
    if isinstance(label, str) and len(names) > 1 and label not in names and not set(label.split(", ")) <= set(names):
        told = f"The row's label {label!r} is none of the model's: {', '.join(names)}."
        e = replace(e, notes=(told, *e.notes))
    return noted(e, model.unknown, encoding.cut)


def _usual(method: Method, baselines: Sequence[object]) -> dict[str, int]:
    """The options of a method that a baseline brings, where the user does not say."""
    segments = max((b.segments for b in baselines if isinstance(b, Filler)), default=1)
    return {"segments": segments} if segments > 1 and "segments" in method.options else {}


def check_unicode(items: Sequence[object], what: str) -> None:
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


def _strings(item: object) -> Iterator[str]:
    if isinstance(item, str):
        yield item
    elif isinstance(item, (list, tuple, Mapping)):
        for part in item.values() if isinstance(item, Mapping) else item:
            yield from _strings(part)


def _check_removal(methods: Sequence[tuple[str, Method]], baselines: Sequence[object]) -> None:
    """Raises InputError where baseline="delete" is asked of a method that removes nothing."""
    remove = ", ".join(name for name, row in METHODS.items() if row.only_removes)
    without = [name for name, row in methods if not row.only_removes]
    if without and any(isinstance(b, str) and b == "delete" for b in baselines):
        raise InputError(
            f"Found baseline='delete' with method={without[0]!r}, which needs something in the place of each token; "
            f"expected 'mask', 'pad', 'zero', 'mean', a token or a text, or one of the methods {remove}."
        )


def _check_inside(methods: Sequence[tuple[str, Method]], details: frozenset[str]) -> None:
    """Raises InputError where contributions inside the model are asked of a method that does not pass them."""
    within = sorted(details & layers.CONTRIBUTIONS.keys())
    if within and (without := [name for name, row in methods if not row.passes_inside]):
        able = ", ".join(name for name, row in METHODS.items() if row.passes_inside)
        raise InputError(
            f"Found detail={within} with method={without[0]!r}, which does not look inside the "
            f"model; expected one of {able}."
        )
