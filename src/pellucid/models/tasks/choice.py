"""Multiple choice: the logit of one of several continuations of a prompt, each of which the model scores by itself.

Each choice is one sequence, (prompt, choice). The model takes them as (rows, choices, tokens), and returns logits
(rows, choices).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...errors import InputError
from ..encoding import Encoding, encode, joined
from .classification import class_logits, label_goals
from .task import Asked, Goal, Inputs, Task

if TYPE_CHECKING:
    from ..model import Model

_PROMPTS = ("prompt", "text", "question")


def scored(model: Model, x: Tensor | None, *sequences: Inputs) -> Tensor:
    """The choices' logits (rows, choices)."""
    widths = [s["input_ids"].shape[1] for s in sequences]
    left = getattr(model.tokenizer, "padding_side", "right") == "left"
    sides = [(max(widths) - n, 0) if left else (0, max(widths) - n) for n in widths]
    inputs = {
        name: torch.stack([pad(s[name], side) for s, side in zip(sequences, sides, strict=True)], 1)
        for name in sequences[0]
    }
    if x is not None:  # the model embeds (rows · choices, tokens)
        parts = zip(x.split(widths, 1), sides, strict=True)
        x = torch.stack([pad(part, (0, 0, *side)) for part, side in parts], 1).flatten(0, 1)
    return class_logits(model.forward(inputs, x), inputs)


def choices(model: Model, items: Sequence[Any], truncate: bool = False, max_new_tokens: int = 0) -> list[Encoding]:
    """`{"prompt": …, "choices": [a, b, …]}`, one sequence to a choice. Raises InputError."""
    read = [_read(item) for item in items]
    each = encode(model.tokenizer, [(p, c) for p, offered in read for c in offered], model.limit, truncate)
    found, at = [], 0
    for prompt, offered in read:
        n = len(offered)
        segments = [(0, i + 1) for i in range(n)]
        found.append(joined((prompt, *offered), each[at : at + n], segments, kind=n))
        at += n
    return found


def _read(item: Any) -> tuple[str, tuple[str, ...]]:
    given: Mapping[str, Any] = item if isinstance(item, Mapping) else {}
    prompt: Any = next((given[name] for name in _PROMPTS if name in given), None)
    offered: Any = given.get("choices")
    listed = isinstance(offered, Sequence) and not isinstance(offered, str)
    if not isinstance(prompt, str) or not listed or not all(isinstance(c, str) for c in offered):
        raise InputError(
            f"Found {item!r:.80} as an input; multiple choice expects a prompt and its choices: "
            "{'prompt': 'a text', 'choices': ['one', 'another']}."
        )
    if len(offered) < 2:
        raise InputError(f"Found {len(offered)} choices; expected at least two, or there is nothing to choose.")
    return prompt, tuple(offered)


def choice_goals(asked: Asked, logits: Tensor) -> list[Goal]:
    """One goal: the predicted choice, a choice's text, index, a contrast or a function of the logits (1, choices)."""
    texts = [tuple(e.text[1:]) for e in asked.encodings]
    each = [label_goals(replace(asked, labels=names), logits[i : i + 1])[0] for i, names in enumerate(texts)]

    def select(out: Tensor, which: Tensor) -> Tensor:
        alone = which.new_zeros(1)
        return torch.cat([each[row].select(out[k : k + 1], alone) for k, row in enumerate(which.tolist())])

    return [Goal(select, [g.targets[0] for g in each], [g.predictions[0] for g in each])]


MULTIPLE_CHOICE = Task(
    "multiple-choice", ("ForMultipleChoice",), "AutoModelForMultipleChoice", scored, choice_goals, encode=choices
)
