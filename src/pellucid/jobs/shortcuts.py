"""Whether predictions depend on a word, tested on the model: the word is taken out, and the model runs again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from .words import Piece, pieces_of

SAMPLE = 50
"""Texts in which a word is removed."""


class Rows(Protocol):
    """What is read of a run."""

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]: ...


@dataclass(frozen=True)
class Removal:
    """What became of the predictions of a class without a word. texts: in so many it was removed. flips: so many
    predictions changed. control: of the same texts, so many changed without another word, drawn at random. rows: some
    whose prediction changed."""

    word: str
    target: str
    texts: int
    flips: int
    control: int
    rows: tuple[int, ...]


def tested(run: Rows, model: Any, words: Mapping[str, Sequence[str]]) -> tuple[Removal, ...]:
    """For each class and word what its removal changed, most flips first. Texts of one part only; the model is
    borrowed."""
    wanted = {(target, word): [] for target, some in words.items() for word in some}
    columns = "row text texts starts ends special words segments scores target prediction error_type".split()
    for row in run.rows(columns):
        if row["error_type"] is not None or row["texts"] is not None or row["target"] != row["prediction"]:
            continue
        pieces = pieces_of(row)
        for name in {p.text.casefold() for p in pieces}:
            texts = wanted.get((row["target"], name))
            if texts is not None and len(texts) < SAMPLE and len(pieces) > 1:
                texts.append((row["row"], row["text"], pieces))
    found = [_removal(model, word, target, texts) for (target, word), texts in wanted.items() if texts]
    return tuple(sorted(found, key=lambda r: -r.flips / r.texts))


def _removal(model: Any, word: str, target: str, texts: list[tuple[int, str, list[Piece]]]) -> Removal:
    drawn = random.Random(0)
    without: list[str] = []
    other: list[str] = []
    for _, text, pieces in texts:
        mine = [p for p in pieces if p.text.casefold() == word]
        rest = [p for p in pieces if p.text.casefold() != word and any(c.isalnum() for c in p.text)] or mine
        without.append(_without(text, mine))
        other.append(_without(text, [drawn.choice(rest)]))
    now, control = _predicted(model, without), _predicted(model, other)
    flipped = [row for (row, _, _), label in zip(texts, now, strict=True) if label != target]
    return Removal(word, target, len(texts), len(flipped), sum(p != target for p in control), tuple(flipped[:5]))


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
