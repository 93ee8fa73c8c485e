"""Token classification: named entities, parts of speech. What is explained is a label's logit at one token.

A word's label is that of its first token. Labels B-X, I-X (and E-, S-, L-, U-) make entities: an entity goes on while
its type does and nothing begins. Without such labels every word that is not "O" is one. An entity's goal is the logit
of the label predicted at its first token.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import UnknownTarget, expected, nearest, quoted
from ...problem import Select
from ...tokens import Target, Token
from ...types import Target as TargetSpec
from ..text.encoding import Encoding
from ..text.inputs import TEXT_OR_PAIR, Given
from ..text.labels import true_label
from .target_names import (
    Specification,
    contrasts,
    covering,
    label_index,
    label_meant,
    label_named,
    named_labels,
    occurrence,
    only_keys,
    token_at,
)
from .task import (
    PROBABILITIES,
    Asked,
    Goal,
    Task,
    are_probabilities,
    at,
    at_positions,
    by_function,
    check_output,
    finite_logits,
    one_sequence,
)

OUTSIDE = "O"
_TAG = re.compile(r"([BIESLU])[-_](.+)", re.DOTALL)


class Place(NamedTuple):
    """The label `plus`, less `minus` if any, at one of a row's tokens."""

    token: int
    plus: int
    minus: int | None = None


def token_goals(asked: Asked, logits: Tensor) -> list[Goal]:
    """One goal for each entity that the model predicts, or for the word that the user names.

    A row in which nothing is predicted has one: the word and label that come closest, by their probability.
    """
    finite_logits(logits)
    check_output(asked.output, asked.target)
    names = named_labels(asked.labels, logits.shape[2])
    if callable(asked.target):
        select, name = by_function(asked.target)
        return [Goal(select, [Target(name)] * asked.rows, [(None, None)] * asked.rows)]
    own = [row[start : start + len(e)] for row, start, e in zip(logits, asked.starts, asked.encodings, strict=True)]
    probable = are_probabilities(asked, *own)
    own = [row.detach().double().cpu() for row in own]
    chances = own if probable else [row.softmax(-1) for row in own]
    number = (lambda out: out.softmax(1)) if asked.output == "probability" and not probable else (lambda out: out)
    notes = (PROBABILITIES,) if probable else ()
    places = [_places(asked.target, e, names, p) for e, p in zip(asked.encodings, chances, strict=True)]
    return [
        replace(
            _goal(asked, names, logits.device, [p[k] if k < len(p) else None for p in places], chances, number),
            notes=notes,
        )
        for k in range(max(map(len, places)))
    ]


def _goal(
    asked: Asked,
    names: tuple[str, ...],
    device: torch.device,
    places: Sequence[Place | None],
    chances: Sequence[Tensor],
    number: Callable[[Tensor], Tensor],
) -> Goal:
    """The goal with one place, or none, in each row. chances: of each row's tokens, (tokens, labels). number: what is
    explained of the outputs (rows, labels) at a place."""
    full = [place or Place(0, 0) for place in places]
    index = lambda values: torch.tensor(values, device=device)
    where = index([start + place.token for start, place in zip(asked.starts, full, strict=True)])
    plus = index([place.plus for place in full])
    minus = index([place.plus if place.minus is None else place.minus for place in full])
    contrast = any(place.minus is not None for place in full)
    select = _select_at(where, at(plus, minus if contrast else None), number)
    predictions = []
    for place, p in zip(full, chances, strict=True):
        best = p[place.token].max(0)
        predictions.append((names[int(best.indices)], best.values.item()))
    return Goal(select, [None if place is None else _target(place, names) for place in places], predictions)


def _select_at(where: Tensor, pick: Select, number: Callable[[Tensor], Tensor]) -> Select:
    """What `pick` takes from the logits, or what `number` makes of them, at each row's own position."""

    def select(out: Tensor, which: Tensor) -> Tensor:
        index = where[which].view(-1, 1, 1).expand(-1, 1, out.shape[2])
        own = out.gather(1, index).squeeze(1)
        return pick(number(own), which)

    return select


def _target(place: Place, names: tuple[str, ...]) -> Target:
    """A label at a token, or a contrast of two, by name."""
    if place.minus is None:
        return Target(names[place.plus], place.plus, place.token)
    return Target(f"{names[place.plus]} - {names[place.minus]}", (place.plus, place.minus), place.token)


# --------------------------------------------------------------------------------------------- which places are meant


def _places(target: TargetSpec, encoding: Encoding, names: tuple[str, ...], chances: Tensor) -> list[Place]:
    """The places in one row that a target means. chances (tokens, labels). Raises UnknownTarget."""
    labels = chances.argmax(1).tolist()
    if target is None:
        return entities(encoding.tokens, labels, names) or [_nearest(encoding.tokens, names, chances)]
    if isinstance(target, str) and target in {*names, *(_tag(name)[1] for name in names)}:
        found = [
            p for p in entities(encoding.tokens, labels, names) if target in (names[p.plus], _tag(names[p.plus])[1])
        ]
        if not found:
            raise UnknownTarget(
                f"The model predicts no {target} in {quoted(encoding.text)}; expected a label that it predicts there, "
                f"or a word and a label: target={{'word': …, 'label': {target!r}}}."
            )
        return found
    if isinstance(target, str) and not any(target.strip() in part for part in _texts(encoding)):
        _check_no_label(target, names)
    spec = {"word": target} if isinstance(target, str) else {"position": target} if isinstance(target, int) else target
    if not isinstance(spec, Mapping) or len({"word", "span", "position"} & set(spec)) != 1:
        raise UnknownTarget(
            f"Found target={quoted(target, 80)}; expected None (every entity that is predicted), a label, a word or "
            "several of the text, a token's number, or a mapping with one of 'word' (and 'occurrence'), 'span': "
            "(start, end) in characters and 'position', and with 'label' for another label than the one predicted."
        )
    token = _token(only_keys(spec, ("word", "occurrence", "span", "segment", "position", "label")), encoding)
    if spec.get("label") is None:
        return [Place(token, labels[token])]
    return [Place(token, *label_index(spec["label"], names))]


def _texts(encoding: Encoding) -> tuple[str, ...]:
    """The texts of an input, of which a pair has two."""
    return (encoding.text,) if isinstance(encoding.text, str) else encoding.text


def _check_no_label(target: str, names: tuple[str, ...]) -> None:
    """Raises UnknownTarget where a target, no word of the text, is a contrast of two labels, or nearly a label."""
    for both in contrasts(target):
        if all(label_named(name, names) is not None or nearest(name, names) for name in both):
            raise UnknownTarget(
                f"Found target={quoted(target, 80)}; expected a word too, because each word has labels of its own. A "
                f"contrast of two labels is {{'word': …, 'label': {label_meant(target, names)!r}}}."
            )
    if meant := nearest(target, [*names, *(_tag(name)[1] for name in names)]):
        raise UnknownTarget(
            f"Found target={quoted(target, 80)}; {expected(meant)} a label among {', '.join(map(repr, names))}, or "
            "words of the text, written as they are there."
        )


def _token(spec: Specification, encoding: Encoding) -> int:
    """The first token of what is named."""
    if "position" in spec:
        return token_at(encoding.tokens, spec["position"])
    parts = _texts(encoding)
    segment = spec.get("segment", 0)
    if segment not in range(len(parts)):
        raise UnknownTarget(f"Found segment={segment!r}; expected the number of a text, from 0 to {len(parts) - 1}.")
    if "span" in spec:
        return covering(encoding.tokens, parts[segment], spec["span"], segment)[0]
    if "segment" not in spec and isinstance(spec["word"], str):
        segment = next((i for i, part in enumerate(parts) if spec["word"].strip() in part), 0)
    span = occurrence(parts[segment], spec["word"], spec.get("occurrence", 0))
    return covering(encoding.tokens, parts[segment], span, segment)[0]


def entities(tokens: Sequence[Token], labels: Sequence[int], names: tuple[str, ...]) -> list[Place]:
    """The first token of each entity, and its label. labels: each token's."""
    scheme = any(_tag(name)[0] for name in names)
    found: list[Place] = []
    going = None
    for i in _first_tokens(tokens):
        name = names[labels[i]]
        prefix, kind = _tag(name)
        if name != OUTSIDE and (not scheme or prefix in ("B", "S", "U") or kind != going):
            found.append(Place(i, labels[i]))
        going = None if name == OUTSIDE or prefix in ("E", "S", "L", "U") else kind
    return found


def _nearest(tokens: Sequence[Token], names: tuple[str, ...], chances: Tensor) -> Place:
    """The first token of a word and the label, other than "O", that are most probable."""
    firsts = _first_tokens(tokens)
    inside = [i for i, name in enumerate(names) if name != OUTSIDE] or [0]
    token, label = divmod(int(chances[firsts][:, inside].argmax()), len(inside))
    return Place(firsts[token], inside[label])


def _first_tokens(tokens: Sequence[Token]) -> list[int]:
    """The first token of each word."""
    found: dict[tuple[int, int | None], int] = {}
    for i, t in enumerate(tokens):
        if not t.special:
            found.setdefault((t.segment, t.word), i)
    return list(found.values())


def _tag(name: str) -> tuple[str, str]:
    """B-LOC → B, LOC; of a label without a prefix only the type."""
    match = _TAG.fullmatch(name)
    return (match[1], match[2]) if match else ("", name)


def _tags(label: object, given: Given, encoding: Encoding, labels: tuple[str, ...]) -> tuple[str | None, ...] | None:
    """The true tag of each token: that of the word which it is a piece of. None where it is not one to a word."""
    words = given.parts.get("tokens")
    tags = label.tolist() if isinstance(label, Tensor) else label
    if words is None or not isinstance(tags, (list, tuple)) or len(tags) != len(words):
        return None
    starts = [0, *accumulate(len(w) + 1 for w in words)]
    named = [true_label(tag, labels) for tag in tags]
    return tuple(None if t.special or not t.span else named[bisect(starts, t.span[0]) - 1] for t in encoding.tokens)


TAGGED = replace(
    TEXT_OR_PAIR,
    layouts=({"tokens": ("tokens", "words")}, *TEXT_OR_PAIR.layouts),
    says=f"{TEXT_OR_PAIR.says}, or words: {{'tokens': ['Angela', 'Merkel'], 'ner_tags': [1, 2]}}",
    listed=frozenset({"tokens"}),
    labels=("labels", "tags", "label", "ner_tags", "pos_tags", "upos", "xpos", "chunk_tags", "spans", "langs"),
    made=lambda parts: " ".join(parts["tokens"]) if "tokens" in parts else TEXT_OR_PAIR.made(parts),
    named=_tags,
)

TOKEN_CLASSIFICATION = Task(
    "token-classification",
    ("ForTokenClassification",),
    "AutoModelForTokenClassification",
    one_sequence(at_positions),
    token_goals,
    TAGGED,
    of_labels=True,
)
