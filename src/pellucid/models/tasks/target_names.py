"""Target names: which label, and which tokens of a text, a user's words mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ...errors import UnknownTarget, expected, nearest, quoted
from ...tokens import Token

Specification: TypeAlias = Mapping[str, Any]
"""A target that the user gave as a mapping, such as {"word": "Paris", "occurrence": 1}."""


def named_labels(labels: tuple[str, ...], classes: int) -> tuple[str, ...]:
    """The classes' names; LABEL_0, … where the model has not as many names as classes."""
    return labels if len(labels) == classes else tuple(f"LABEL_{i}" for i in range(classes))


def label_index(spec: object, labels: tuple[str, ...]) -> tuple[int, int | None]:
    """The class that a label's name or an index means; both of a contrast "a - b". Raises UnknownTarget."""
    if isinstance(spec, int) and not isinstance(spec, bool) and 0 <= spec < len(labels):
        return spec, None
    if isinstance(spec, str):
        if (one := label_named(spec, labels)) is not None:
            return one, None
        for first, second in contrasts(spec):
            a, b = label_named(first, labels), label_named(second, labels)
            if a is not None and b is not None:
                return a, b
        if spec.strip().isdecimal() and int(spec) < len(labels):
            return int(spec), None
    raise UnknownTarget(
        f"Found target={spec!r}; {expected(label_meant(spec, labels))} one of the labels "
        f"{', '.join(map(repr, labels))}, an index from 0 to "
        f"{len(labels) - 1}, a contrast such as '{labels[-1]} - {labels[0]}', or a function of the logits."
    )


def label_meant(spec: object, labels: Sequence[str]) -> str | None:
    """What a target probably means that names no label: a label, or a contrast of two, that is written much like it."""
    if not isinstance(spec, str):
        return None
    for both in contrasts(spec):
        near = [nearest(name, labels) for name in both]
        if all(near):
            return " - ".join(filter(None, near))
    return None if " - " in spec else nearest(spec, labels)


def label_named(name: str, labels: tuple[str, ...]) -> int | None:
    """The first label of that name, or else of that name in other letters' case; None without one."""
    names = {label: i for i, label in reversed(list(enumerate(labels)))}
    names = {**{label.lower(): i for label, i in names.items()}, **names}
    return names.get(name.strip(), names.get(name.strip().lower()))


def contrasts(spec: str) -> list[tuple[str, str]]:
    """The ways to read "a - b" as two names, which may hold " - " themselves."""
    parts = spec.split(" - ")
    return [(" - ".join(parts[:cut]), " - ".join(parts[cut:])) for cut in range(1, len(parts))]


def only_keys(spec: Specification, allowed: Sequence[str]) -> Specification:
    """A target that is a mapping, as a dict. Raises UnknownTarget where it has another key than those allowed."""
    if unknown := [key for key in spec if key not in allowed]:
        raise UnknownTarget(
            f"Found {', '.join(map(repr, unknown))} in target={quoted(spec, 80)}; expected only "
            f"{', '.join(map(repr, allowed))}."
        )
    return dict(spec)


def occurrence(text: str, words: object, number: object = 0) -> tuple[int, int]:
    """The characters of the text where words stand for the number-th time, from 0. Raises UnknownTarget.

    Where they stand as words of their own, only those places count: "it" is not looked for in "with".
    """
    if not isinstance(words, str) or not words.strip():
        raise UnknownTarget(f"Found {quoted(words, 40)} to look for in the text; expected some words of it.")
    words = words.strip()
    places = [m.span() for m in re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", text)]
    places = places or [m.span() for m in re.finditer(re.escape(words), text)]
    if not places:
        raise UnknownTarget(
            f"Found no {quoted(words)} in {quoted(text)}; expected words of the text, written as they are there. "
            "Characters can be named instead: target={'span': (start, end)}."
        )
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(places):
        raise UnknownTarget(
            f"Found occurrence={number!r} of {quoted(words)}, which stands in {quoted(text)} {len(places)} times; "
            f"expected a number from 0 to {len(places) - 1}."
        )
    return places[number]


def covering(tokens: Sequence[Token], text: str, span: object, segment: int) -> list[int]:
    """The tokens that share characters with span = (start, end) of a segment's text. Raises UnknownTarget."""
    pair = tuple(span) if isinstance(span, (tuple, list)) else ()
    if len(pair) != 2 or not all(type(n) is int for n in pair) or not 0 <= pair[0] < pair[1] <= len(text):
        raise UnknownTarget(
            f"Found span={span!r}; expected (start, end), two numbers of characters with 0 <= start < end <= "
            f"{len(text)}, the length of the text."
        )
    start, end = pair
    found = [
        i
        for i, t in enumerate(tokens)
        if t.segment == segment and not t.special and t.span is not None and t.span[0] < end and start < t.span[1]
    ]
    if not found:
        raise UnknownTarget(
            f"No token stands for the characters {start} to {end}, {quoted(text[start:end])}: they are "
            "white space, or were cut off (truncate). Name others."
        )
    return found


def token_at(tokens: Sequence[Token], position: object) -> int:
    """A token's number, as the Explanation's tokens have it. Raises UnknownTarget."""
    if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position < len(tokens):
        raise UnknownTarget(
            f"Found position {position!r}; expected a token's number from 0 to {len(tokens) - 1}, as the explanation's "
            "tokens are numbered."
        )
    return position
