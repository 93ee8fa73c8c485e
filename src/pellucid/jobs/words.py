"""The words of a run's rows with their scores, gathered document by document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..errors import InputError, quoted

Unit: TypeAlias = str | int | Callable[[str], str | None] | Mapping[str, Sequence[str]]
"""What is counted: "word"; n, for n words in a row; a function from a word to what it counts as, such as its lemma, or
None for nothing; or groups of words by name."""


class Answered(Protocol):
    """What is read of a run."""

    @property
    def path(self) -> str: ...
    @property
    def manifest(self) -> dict[str, Any]: ...
    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]: ...


FEWEST = 3
"""In so many documents is a word of which anything is said: of fewer, a mean has no error to speak of."""


def nearest_support(support: int) -> int:
    """In how many documents a word must be that is named for a class without drivers."""
    return max(FEWEST, support // 3)


@dataclass(frozen=True)
class Piece:
    """A word of one text. span: its characters, in the text of its segment. score: the sum of its tokens'."""

    text: str
    span: tuple[int, int]
    segment: int
    score: float


def pieces_of(row: Mapping[str, Any]) -> list[Piece]:
    """The words of a row in their order, as `Explanation.words` merges them; special tokens left out."""
    texts = row["texts"] or [row["text"]]
    found: list[Piece] = []
    last: tuple[int, int] | None = None
    columns = ("starts", "ends", "special", "words", "segments", "scores")
    for start, end, special, word, segment, score in zip(*(row[c] for c in columns), strict=True):
        if special or start is None:
            last = None
            continue
        key = None if word is None else (segment, word)
        if key is not None and key == last:
            before = found[-1]
            span = (before.span[0], end)
            found[-1] = Piece(texts[segment][span[0] : end], span, segment, before.score + score)
        else:
            found.append(Piece(texts[segment][start:end], (start, end), segment, score))
        last = key
    return found


def grouping(unit: Unit) -> Callable[[Sequence[Piece]], list[tuple[str, float]]]:
    """A function from the words of a text to the names that are counted, with their scores. Raises InputError."""
    if unit == "word":
        return lambda pieces: [(p.text.casefold(), p.score) for p in pieces]
    if isinstance(unit, int) and unit >= 1:
        return lambda pieces: [
            (" ".join(p.text.casefold() for p in some), sum(p.score for p in some))
            for some in (pieces[i : i + unit] for i in range(len(pieces) - unit + 1))
        ]
    if isinstance(unit, Mapping):
        name_of = {word.casefold(): name for name, words in unit.items() for word in words}
        return lambda pieces: [(name_of[p.text.casefold()], p.score) for p in pieces if p.text.casefold() in name_of]
    if callable(unit):
        named = lambda pieces: ((unit(p.text), p.score) for p in pieces)
        return lambda pieces: [(name, score) for name, score in named(pieces) if name is not None]
    raise InputError(
        f"Found unit={quoted(unit)}; expected 'word', a number of words in a row, a function, or groups of words."
    )


@dataclass
class Gathered:
    """For each class and word a value for each document that has it: the mean of the word's scores in it."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    rows: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    documents: dict[str, int] = field(default_factory=dict)
    with_label: dict[str, dict[str, int]] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)

    EXAMPLES = 20

    def add(self, target: str, label: str | None, row: int, named: Iterable[tuple[str, float]]) -> None:
        """Takes down one document."""
        each: dict[str, list[float]] = {}
        for name, score in named:
            each.setdefault(name, []).append(score)
        values, rows = self.values.setdefault(target, {}), self.rows.setdefault(target, {})
        self.documents[target] = self.documents.get(target, 0) + 1
        for name, scores in each.items():
            values.setdefault(name, []).append(sum(scores) / len(scores))
            places = rows.setdefault(name, [])
            if len(places) < self.EXAMPLES:
                places.append(row)
        if label is not None:
            self.labels[label] = self.labels.get(label, 0) + 1
            counts = self.with_label.setdefault(label, {})
            for name in each:
                counts[name] = counts.get(name, 0) + 1
                self.texts[name] = self.texts.get(name, 0) + 1

    def arrays(self, target: str, support: int) -> dict[str, np.ndarray]:
        """The values of the words that enough documents of a class have."""
        found = self.values.get(target, {})
        return {name: np.array(v) for name, v in found.items() if len(v) >= support}
