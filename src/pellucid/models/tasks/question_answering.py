"""Extractive question answering: where in a context the answer to a question starts, and where it ends.

The predicted answer is the span of context tokens i ≤ j < i + LONGEST with the largest p_start(i)·p_end(j), both a
softmax over the context's tokens: the question and special tokens are no candidates (Devlin et al. 2018, 1810.04805).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...errors import InputError, UnknownTarget, UnsupportedModel, quoted
from ...problem import Select
from ...token_text import shown
from ...tokens import Target, Token
from ...types import Target as TargetSpec
from ..net import Outputs
from ..text.collating import Inputs
from ..text.encoding import Encoding
from ..text.inputs import Form, Given, Ids
from ..text.reader import Reader
from ..text.tokenizing import Item, text_and_pair
from .target_names import Specification, contrasts, covering, occurrence, only_keys, token_at
from .task import (
    PROBABILITIES,
    Asked,
    Goal,
    Prediction,
    Task,
    are_probabilities,
    at,
    by_function,
    check_output,
    field,
    finite_logits,
    one_sequence,
)

LONGEST = 30
"""Tokens of the longest answer that is predicted."""

SIDES = ("start", "end")
CONTEXT = 1
"""The segment of the context; the question's is 0."""

Logits = Mapping[str, Tensor]
"""For "start" and "end" a logit for each position, (rows, tokens)."""

_FORM = (
    "a question and its context: {'question': …, 'context': …}, a pair (question, context), or --context T on the "
    "command line"
)
_WAYS = (
    "expected None or 'start' or 'end' (of the predicted answer), the text of an answer as the context has it, a "
    "token's number, or a mapping with 'answer' (and 'occurrence'), 'span', 'position' or 'at': 'max', and 'which': "
    "'start' or 'end' for one of the two"
)


def answer_logits(outputs: Outputs, inputs: Inputs) -> dict[str, Tensor]:
    """The start and end logits (rows, tokens). Raises UnsupportedModel."""
    shape = inputs["input_ids"].shape
    found = {side: field(outputs, f"{side}_logits", i) for i, side in enumerate(SIDES)}
    for side, logits in found.items():
        if not isinstance(logits, Tensor) or logits.shape != shape or not logits.is_floating_point():
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise UnsupportedModel(
                f"The model returned {got} as its {side} logits for ids {tuple(shape)}; expected a logit for each "
                "position, in the fields 'start_logits' and 'end_logits' or as the first two of a tuple. For XLNet "
                "load XLNetForQuestionAnsweringSimple, which has them."
            )
    return found


def read_questions(reader: Reader, items: Sequence[Item], truncate: bool) -> list[Encoding]:
    """A question and its context each; where they are too long together only the context is cut. Raises InputError."""
    for i, item in enumerate(items):
        if not isinstance(item, Ids) and text_and_pair(item, i)[1] is None:
            raise InputError(f"Input {i} ({quoted(item)}) is one text; expected {_FORM}.")
    found = reader.encode(items, "only_second" if truncate else False)
    for i, encoding in enumerate(found):
        if isinstance(encoding.text, str):
            raise InputError(f"The ids of input {i} are those of one text ({quoted(encoding.text)}); expected {_FORM}.")
        if not any(_is_candidate(t) for t in encoding.tokens):
            raise InputError(
                f"Nothing of the context of input {i} ({quoted(encoding.text[CONTEXT], 40)}) is left as a token; "
                "expected at least one, to be the answer."
            )
    return found


def answer_goals(asked: Asked, logits: Logits) -> list[Goal]:
    """The start and the end of the predicted answer, of one that the user names, or one of the two."""
    for each in logits.values():
        finite_logits(each)
    check_output(asked.output, asked.target)
    context = _candidates(asked, logits["start"])
    probable = are_probabilities(asked, *logits.values())
    notes = (PROBABILITIES,) if probable else ()
    best, predictions = _predicted(asked, {k: p.log() for k, p in logits.items()} if probable else logits, context)
    if callable(asked.target):
        select, name = by_function(asked.target)
        return [Goal(select, [Target(name)] * asked.rows, predictions, notes)]
    spec = _specified(asked.target)
    sides = (spec["which"],) if "which" in spec else SIDES
    asis = asked.output == "logit" or probable
    number = (lambda out: out) if asis else (lambda out: out.softmax(1))
    if "at" in spec:
        name = "largest {}".format
        return [
            Goal(_largest(side, context, number), [Target(name(side))] * asked.rows, predictions, notes)
            for side in sides
        ]
    spans = [_span(spec, e, found) for e, found in zip(asked.encodings, best, strict=True)]
    goals = []
    for side in sides:
        places = [span[SIDES.index(side)] for span in spans]
        index = torch.tensor([s + p for s, p in zip(asked.starts, places, strict=True)], device=context.device)
        every = torch.arange(asked.rows, device=context.device)
        chance = (_fixed(side, index, None if probable else context)(logits, every)).tolist()
        select = _fixed(side, index, None if asis else context)
        goals.append(Goal(select, [Target(side, p, p) for p in places], predictions, notes, chances=chance))
    return goals


def _fixed(side: str, index: Tensor, among: Tensor | None) -> Select:
    """The logit at `index` (rows,), or its softmax among some positions (rows, tokens) and its own."""
    pick = at(index)
    if among is None:
        return lambda out, which: pick(out[side], which)
    shown = among.scatter(1, index.unsqueeze(1), True)
    return lambda out, which: pick(_only(out[side], shown[which]).softmax(1), which)


def _largest(side: str, context: Tensor, number: Callable[[Tensor], Tensor]) -> Select:
    """The largest over the context, found again in each pass."""
    return lambda out, which: number(_only(out[side], context[which])).amax(1)


def _only(logits: Tensor, shown: Tensor) -> Tensor:
    """The logits with −∞ where a position is not among those shown."""
    return logits.masked_fill(~shown, -torch.inf)


def _specified(target: TargetSpec) -> Specification:
    """A target as a mapping, checked. Raises UnknownTarget."""
    if target is None:
        return {}
    if isinstance(target, str):
        return {"which": target} if target in SIDES else {"answer": target}
    if isinstance(target, int):
        return {"position": target}
    if not isinstance(target, Mapping):
        raise UnknownTarget(f"Found target={quoted(target)}; {_WAYS}.")
    spec = only_keys(target, ("which", "answer", "occurrence", "span", "position", "at"))
    places = [key for key in ("answer", "span", "position", "at") if key in spec]
    if len(places) > 1 or spec.get("which", "start") not in SIDES or spec.get("at", "max") != "max":
        raise UnknownTarget(f"Found target={quoted(target, 80)}; {_WAYS}.")
    return spec


def _span(spec: Specification, encoding: Encoding, predicted: tuple[int, int]) -> tuple[int, int]:
    """The first and the last token of the answer that is meant."""
    text = encoding.text[CONTEXT]
    if "position" in spec:
        token = token_at(encoding.tokens, spec["position"])
        return token, token
    if "answer" in spec and isinstance(spec["answer"], str) and spec["answer"].strip() not in text:
        for both in contrasts(spec["answer"]):
            if all(answer.strip() and answer.strip() in text for answer in both):
                raise UnknownTarget(
                    f"Found target={quoted(spec['answer'])}, a contrast of two answers; expected one. Ask for both, "
                    f"target={list(both)!r}, and subtract their scores: the difference adds up to that of the outputs."
                )
    if "answer" in spec or "span" in spec:
        span = spec["span"] if "span" in spec else occurrence(text, spec["answer"], spec.get("occurrence", 0))
        tokens = covering(encoding.tokens, text, span, CONTEXT)
        return tokens[0], tokens[-1]
    return predicted


def _is_candidate(token: Token) -> bool:
    """Whether an answer may begin or end there: a mark that only stands for a space is none."""
    return token.segment == CONTEXT and not token.special and bool(token.text.strip("▁Ġ "))


def _candidates(asked: Asked, logits: Tensor) -> Tensor:
    """(rows, tokens), true for the tokens of the context."""
    found = torch.zeros(logits.shape, dtype=torch.bool)
    for i, (start, encoding) in enumerate(zip(asked.starts, asked.encodings, strict=True)):
        found[i, start : start + len(encoding)] = torch.tensor([_is_candidate(t) for t in encoding.tokens])
    return found.to(logits.device)


def _predicted(asked: Asked, logits: Logits, context: Tensor) -> tuple[list[tuple[int, int]], list[Prediction]]:
    """For each row the first and last token of the best answer; its text in the context, and p_start·p_end."""
    start, end = (_only(logits[side].detach().double(), context).log_softmax(1) for side in SIDES)
    ends = pad(end, (0, LONGEST - 1), value=-torch.inf).unfold(1, LONGEST, 1)  # (rows, tokens, length of the answer)
    top = (start.unsqueeze(2) + ends).flatten(1).max(1)
    spans, predictions = [], []
    for i, (place, score) in enumerate(zip(top.indices.tolist(), top.values.tolist(), strict=True)):
        first, more = divmod(place, LONGEST)
        first -= asked.starts[i]
        spans.append((first, first + more))
        encoding = asked.encodings[i]
        a, b = encoding.tokens[first].span, encoding.tokens[first + more].span
        words = encoding.text[CONTEXT][a[0] : b[1]] if a and b else ""
        predictions.append((words or shown(encoding.tokens[first].text), math.exp(score)))
    return spans, predictions


def _answer(label: object, given: Given, encoding: Encoding, labels: tuple[str, ...]) -> str | None:
    """The first of the true answers, which SQuAD has as `{"text": […], "answer_start": […]}`; None without one."""
    texts = label.get("text") if isinstance(label, Mapping) else label
    first = texts[0] if isinstance(texts, (list, tuple)) and texts else texts
    first = first.get("text") if isinstance(first, Mapping) else first
    return first if isinstance(first, str) and first else None


ASKED = Form(
    (
        {
            "question": ("question", "query"),
            "context": ("context", "passage", "paragraph", "document", "text", "article", "sentence"),
        },
    ),
    _FORM,
    labels=("answers", "answer", "label"),
    made=lambda parts: (parts["question"], parts["context"]),
    named=_answer,
)

QUESTION_ANSWERING = Task(
    "question-answering",
    ("ForQuestionAnswering", "ForQuestionAnsweringSimple"),
    "AutoModelForQuestionAnswering",
    one_sequence(answer_logits),
    answer_goals,
    ASKED,
    read_questions,
    windows="best",
)
