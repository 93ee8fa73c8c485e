"""Multiple choice: the logit of one of several continuations of a prompt, each of which the model scores by itself.

Each choice is one sequence, (prompt, choice). The model takes them as (rows, choices, tokens), and returns logits
(rows, choices).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...errors import InputError, quoted
from ..net import Net
from ..text.collating import Padded
from ..text.encoding import Encoding, joined
from ..text.inputs import Form, Given, Record, Value
from ..text.labels import true_label
from ..text.reader import Reader
from ..text.tokenizing import Item
from .task import Asked, Goal, Task
from .text_classification import class_logits, label_goals

_PROMPT = ("prompt", "text", "question", "question_stem", "context", "ctx", "premise", "goal", "sentence", "sent1")
_CHOICES = ("choices", "options", "endings", "alternatives")
_FORM = "a prompt and its choices: {'prompt': 'a text', 'choices': ['one', 'another']}"


def scored(net: Net, x: Tensor | None, *sequences: Padded) -> Tensor:
    """The choices' logits (rows, choices)."""
    widths = [s.ids.shape[1] for s in sequences]
    sides = [(max(widths) - n, 0) if net.pads_left else (0, max(widths) - n) for n in widths]
    inputs = {
        name: torch.stack([pad(s.inputs[name], side) for s, side in zip(sequences, sides, strict=True)], 1)
        for name in sequences[0].inputs
    }
    if x is not None:  # the model embeds (rows · choices, tokens)
        parts = zip(x.split(widths, 1), sides, strict=True)
        x = torch.stack([pad(part, (0, 0, *side)) for part, side in parts], 1).flatten(0, 1)
    return class_logits(net.forward(inputs, x), inputs)


def read_choices(reader: Reader, items: Sequence[Item], truncate: bool = False) -> list[Encoding]:
    """`{"prompt": …, "choices": [a, b, …]}`, one sequence to a choice. Raises InputError."""
    read = [_prompt_and_choices(item) for item in items]
    each = reader.encode([(p, c) for p, offered in read for c in offered], truncate)
    found, at = [], 0
    for prompt, offered in read:
        n = len(offered)
        segments = [(0, i + 1) for i in range(n)]
        found.append(joined((prompt, *offered), each[at : at + n], segments, kind=n))
        at += n
    return found


def _prompt_and_choices(item: Item) -> tuple[str, tuple[str, ...]]:
    """The prompt and the choices of an input. Raises InputError."""
    given: Record = item if isinstance(item, Mapping) else {}
    prompt: Value = given.get("prompt")
    offered: Value = given.get("choices")
    listed = isinstance(offered, Sequence) and not isinstance(offered, str)
    if not isinstance(prompt, str) or not listed or not all(isinstance(c, str) for c in offered):
        raise InputError(f"Found {quoted(item, 80)} as an input; multiple choice expects {_FORM}.")
    if len(offered) < 2:
        raise InputError(f"Found {len(offered)} choices; expected at least two, or there is nothing to choose.")
    return prompt, tuple(offered)


def choice_goals(asked: Asked, logits: Tensor) -> list[Goal]:
    """One goal: the predicted choice, a choice's text, index, a contrast or a function of the logits (1, choices)."""
    texts = [tuple(e.text[1:]) for e in asked.encodings]
    of_row = lambda names: replace(asked, labels=names, problem_type=None)  # which is about a classification
    each = [label_goals(of_row(names), logits[i : i + 1])[0] for i, names in enumerate(texts)]

    def select(out: Tensor, which: Tensor) -> Tensor:
        alone = which.new_zeros(1)
        return torch.cat([each[row].select(out[k : k + 1], alone) for k, row in enumerate(which.tolist())])

    notes = tuple(dict.fromkeys(note for g in each for note in g.notes))
    classes = [g.classes[0] for g in each if g.classes]
    told = [g.targets[0] for g in each], [g.predictions[0] for g in each]
    return [Goal(select, *told, notes, classes if len(classes) == len(each) else ())]


def _made(parts: Record) -> dict[str, Value]:
    """The prompt and the choices, which some data sets have as `{"text": […], "label": ["A", "B", …]}`, others as a
    column each: choice1, choice2, …"""
    offered = parts.get("choices", [parts[n] for n in _NUMBERED if n in parts])
    return {"prompt": parts["prompt"], "choices": offered["text"] if isinstance(offered, Mapping) else offered}


def _right(label: object, given: Given, encoding: Encoding, labels: tuple[str, ...]) -> str | None:
    """The text of the choice that a number from 0, a letter, or a name means."""
    offered = given.parts.get("choices")
    names = list(offered["label"]) if isinstance(offered, Mapping) and "label" in offered else []
    texts = tuple(encoding.text[1:])
    if isinstance(label, str):
        names = names or [chr(ord("A") + i) for i in range(len(texts))]
        return texts[names.index(label)] if label in names else true_label(label, texts)
    return true_label(label, texts)


_NUMBERED = tuple(f"choice{i}" for i in range(10))
_COLUMNS = [
    {f"choice{i}": (f"{name}{i + first}",) for i in range(n)}
    for name, first, n in (
        *(("choice", 1, n) for n in range(2, 6)),
        *(("ending", 0, n) for n in range(2, 6)),
        *(("option", 1, n) for n in range(2, 6)),
        *(("answer", 0, n) for n in range(2, 6)),
        ("sol", 1, 2),
    )
]
OFFERED = Form(
    ({"prompt": _PROMPT, "choices": _CHOICES}, *({"prompt": _PROMPT, **columns} for columns in _COLUMNS)),
    _FORM,
    listed=frozenset({"choices"}),
    labels=("label", "answerKey", "answer", "correct", "labels"),
    made=_made,
    named=_right,
    ids=False,
)

MULTIPLE_CHOICE = Task(
    "multiple-choice", ("ForMultipleChoice",), "AutoModelForMultipleChoice", scored, choice_goals, OFFERED, read_choices
)
