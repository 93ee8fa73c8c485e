"""The words of a text that can be taken out or replaced, and the text that is left then."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise

from ..explanation import Explanation
from .judging import Text


@dataclass(frozen=True)
class Place:
    """A word of the text: its characters, where they stand in which of the texts, its score, and its tokens."""

    text: str
    span: tuple[int, int]
    segment: int
    score: float
    tokens: tuple[int, ...]


def places_of(e: Explanation) -> list[Place]:
    """The words that stand for characters of the text, in its order."""
    words = (w for w in e.words() if not w.special and w.span is not None and w.span[0] < w.span[1])
    found = [
        Place(w.text, w.span, w.segment, w.score, w.tokens) for w in words if w.span is not None and w.text.strip()
    ]
    return sorted(found, key=lambda p: (p.segment, p.span))


def kept_text(text: Text, places: list[Place], kept: Collection[int]) -> Text:
    """The text of the words `kept`, in order. Neighbours stay as they stood; where words between them are gone, one
    space is between them, unless the text has no spaces at all."""
    found: list[str] = []
    for segment, one in enumerate(_texts(text)):
        mine = [k for k in sorted(kept) if places[k].segment == segment]
        space = " " if any(c.isspace() for c in one) else ""
        parts = [one[slice(*places[mine[0]].span)]] if mine else []
        for a, b in pairwise(mine):
            parts += [one[places[a].span[1] : places[b].span[0]] if b == a + 1 else space]
            parts += [one[slice(*places[b].span)]]
        found.append("".join(parts))
    return _as_given(text, found)


def replaced_text(text: Text, places: list[Place], words: Mapping[int, str]) -> Text:
    """The text with other words at some places; all else stays as it is."""
    found: list[str] = []
    for segment, one in enumerate(_texts(text)):
        for k in sorted(words, reverse=True):
            if places[k].segment == segment:
                start, end = places[k].span
                one = one[:start] + words[k] + one[end:]
        found.append(one)
    return _as_given(text, found)


@dataclass(frozen=True)
class Piece:
    """A piece of an edited text. edit: "kept", a word that stays; "gone"; "put", what takes its place; "", all else."""

    text: str
    edit: str


def marked(
    text: Text, spans: Mapping[str, Collection[tuple[int, tuple[int, int]]]], put: Mapping[tuple[int, int, int], str]
) -> tuple[tuple[Piece, ...], ...]:
    """Each of the texts in pieces. spans: of each kind of edit, the (segment, (start, end)) of its words. put: by
    (segment, start, end) of a word that is gone, what takes its place.

    Examples:
        >>> (pieces,) = marked("a good film", {"gone": [(0, (2, 6))]}, {(0, 2, 6): "poor"})
        >>> [(p.text, p.edit) for p in pieces]
        [('a ', ''), ('good', 'gone'), ('poor', 'put'), (' film', '')]
    """
    found: list[tuple[Piece, ...]] = []
    for segment, one in enumerate(_texts(text)):
        mine = sorted((*span, edit) for edit, each in spans.items() for s, span in each if s == segment)
        pieces, at = [], 0
        for start, end, edit in mine:
            pieces += [Piece(one[at:start], ""), Piece(one[start:end], edit)]
            pieces += [Piece(put[segment, start, end], "put")] if (segment, start, end) in put else []
            at = end
        found.append(tuple(p for p in (*pieces, Piece(one[at:], "")) if p.text))
    return tuple(found)


def joined(text: Text) -> str:
    """The text, or both texts of a pair, on one line."""
    return text if isinstance(text, str) else " ⏎ ".join(text)


def _texts(text: Text) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else text


def _as_given(text: Text, found: list[str]) -> Text:
    return found[0] if isinstance(text, str) else tuple(found)
