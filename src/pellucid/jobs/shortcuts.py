"""Whether predictions depend on a word, tested on the model: the word is taken out, and the model runs again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from .words import Piece, pieces_of

SAMPLE = 50
"""Texts in which a word is removed."""
READ = "row text texts starts ends special words segments scores target prediction error_type".split()


class Rows(Protocol):
    """What is read of a run."""

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]: ...


@dataclass(frozen=True)
class Removal:
    """What became of the predictions of a class without a word. texts: in so many it was removed. flips: so many
    predictions changed. control: of the same texts, so many changed without another word, or as many others as the word
    has places, drawn at random. rows: some whose prediction changed."""

    word: str
    target: str
    texts: int
    flips: int
    control: int
    rows: tuple[int, ...]


def tested(run: Rows, model: Any, words: Mapping[str, Sequence[str]]) -> tuple[Removal, ...]:
    """For each class and word what its removal changed, most flips first. Texts of one part only; the model is
    borrowed."""
    wanted: dict[tuple[str, str], list[_Text]] = {(c, word): [] for c, some in words.items() for word in some}
    for row in run.rows(READ):
        if not _plain(row):
            continue
        pieces = pieces_of(row)
        for name in {p.text.casefold() for p in pieces}:
            texts = wanted.get((row["target"], name))
            if texts is not None and len(texts) < SAMPLE and len(pieces) > 1:
                mine = [p for p in pieces if p.text.casefold() == name]
                texts.append(_Text(row["row"], row["text"], row["prediction"], pieces, mine))
    found = [_removal(model, word, target, texts) for (target, word), texts in wanted.items() if texts]
    return tuple(sorted(found, key=lambda r: -r.flips / r.texts))


def tested_places(run: Rows, model: Any) -> tuple[Removal, ...]:
    """For each kind of PLACES what became of the predictions of texts that hang on it when it was removed; `target` is
    empty."""
    texts: dict[str, list[_Text]] = {}
    for row in run.rows(READ):
        if not _plain(row):
            continue
        pieces = pieces_of(row)
        for kind in hanging(row, pieces):
            some = texts.setdefault(kind, [])
            if kind in PLACES and len(some) < SAMPLE:
                some.append(_Text(row["row"], row["text"], row["prediction"], pieces, PLACES[kind](pieces)))
    return tuple(_removal(model, kind, "", some) for kind, some in texts.items() if some)


PLACES: Mapping[str, Callable[[Sequence[Piece]], list[Piece]]] = {
    "one word": lambda pieces: [max(pieces, key=lambda p: abs(p.score))],
    "punctuation": lambda pieces: [p for p in pieces if not any(c.isalnum() for c in p.text)],
    "the last word": lambda pieces: [pieces[-1]],
}
"""Places that a decision may hang on, each with the words that are removed to test it."""


def hanging(row: Mapping[str, Any], pieces: Sequence[Piece]) -> list[str]:
    """The places that have half of the size of all scores of a row: of PLACES, and "special tokens"."""
    size = sum(abs(s) for s in row["scores"])
    if not pieces or not size:
        return []
    special = sum(abs(s) for s, mark in zip(row["scores"], row["special"], strict=True) if mark)
    parts = {kind: sum(abs(p.score) for p in of(pieces)) for kind, of in PLACES.items() if len(pieces) > 2}
    return [kind for kind, part in {**parts, "special tokens": special}.items() if part >= size / 2]


def _plain(row: Mapping[str, Any]) -> bool:
    """Whether a row is one text whose prediction was explained, so that words can be taken out of it."""
    return row["error_type"] is None and row["texts"] is None and row["target"] == row["prediction"]


@dataclass(frozen=True)
class _Text:
    """A text that is tested. mine: the words that are removed."""

    row: int
    text: str
    prediction: str
    pieces: Sequence[Piece]
    mine: Sequence[Piece]


def _removal(model: Any, word: str, target: str, texts: Sequence[_Text]) -> Removal:
    drawn = random.Random(0)
    other: list[str] = []
    for t in texts:
        spans = {p.span for p in t.mine}
        rest = [p for p in t.pieces if p.span not in spans and any(c.isalnum() for c in p.text)] or t.mine
        other.append(_without(t.text, drawn.sample(rest, min(len(t.mine), len(rest)))))
    now, control = _predicted(model, [_without(t.text, t.mine) for t in texts]), _predicted(model, other)
    flipped = [t.row for t, label in zip(texts, now, strict=True) if label != t.prediction]
    changed = sum(label != t.prediction for t, label in zip(texts, control, strict=True))
    return Removal(word, target, len(texts), len(flipped), changed, tuple(flipped[:5]))


def _without(text: str, pieces: Sequence[Piece]) -> str:
    """The text without some of its words, and without the space that stood before each."""
    for piece in sorted(pieces, key=lambda p: -p.span[0]):
        start, end = piece.span
        text = text[: start - 1 if start and text[start - 1] == " " else start] + text[end:]
    return text.strip()


def _predicted(model: Any, texts: Sequence[str]) -> list[str | None]:
    """The model's own predictions; None of a text of which nothing is left."""
    found: list[str | None] = []
    with model.borrowed(), torch.no_grad():
        for i in range(0, len(texts), 16):
            some = [t or "." for t in texts[i : i + 16]]
            encodings = model.encode(some, truncate=True)
            sequences, _ = model.collate(encodings)
            goals = model.goals(encodings, None, None, model.alone(*sequences))
            found += [prediction for prediction, _ in goals[0].predictions]
    return found
