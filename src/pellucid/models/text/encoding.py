"""One input as the model takes it: token ids, the tokens that they stand for, and where each stands in the text."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from ...tokens import Token

Values: TypeAlias = Any
"""What an input says of each token: a list with a number for each, or with several numbers for each (a box); for an
image its pixels."""
SequenceInputs = Mapping[str, Values]
"""By the name of an input of the model, such as "input_ids", what it says of each token of one sequence."""
Unread = tuple[int, int, int]
"""A part of the text that the model did not read: (segment, start, end) in characters."""


@dataclass(frozen=True)
class Encoding:
    """One input of the user's as the model takes it.

    text: as the user gave it. sequences: what goes into the model, each one a list of numbers for each name of an
    input; most tasks have one sequence. tokens: what they stand for, those of all sequences one after the other. roles:
    for each sequence a number for each token, which the task reads and the model does not get (which tokens are a
    continuation's, which are masks); empty where the task needs none. extra: what else the input said, in a frozen
    dataclass of its task; None where it said nothing. kind: only inputs of one kind share a batch. label: the true
    label by name, or that of each token. names: of the texts, where the input gave them. unread: the parts of the text
    that truncation left out. cut: how many tokens truncation left out.
    """

    text: str | tuple[str, ...]
    sequences: tuple[SequenceInputs, ...]
    tokens: tuple[Token, ...]
    roles: tuple[Sequence[int], ...] = ()
    extra: object = None
    kind: Hashable = None
    label: str | tuple[str | None, ...] | None = None
    unread: tuple[Unread, ...] = ()
    cut: int = 0
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def widths(self) -> tuple[int, ...]:
        """The length of each sequence."""
        return tuple(len(next(iter(s.values()))) for s in self.sequences)

    @property
    def ids(self) -> list[int]:
        """The id of each token."""
        return [t.id for t in self.tokens]


def joined(
    text: tuple[str, ...], encodings: Sequence[Encoding], segments: Sequence[Sequence[int]], kind: Hashable = None
) -> Encoding:
    """Several encodings as one of several sequences. segments: for each encoding, which of `text` its own segments
    are."""
    return Encoding(
        text,
        tuple(s for e in encodings for s in e.sequences),
        tuple(replace(t, segment=to[t.segment]) for e, to in zip(encodings, segments, strict=True) for t in e.tokens),
        kind=kind,
        unread=tuple(
            dict.fromkeys((to[s], a, b) for e, to in zip(encodings, segments, strict=True) for s, a, b in e.unread)
        ),
        cut=sum(e.cut for e in encodings),
    )


def left_out(whole: Sequence[Token], read: Sequence[Token]) -> tuple[Unread, ...]:
    """The parts of a text that the tokens `whole` cover and the tokens `read` do not, in order."""
    seen = {(t.segment, t.span) for t in read if not t.special}
    parts: list[Unread] = []
    begun = False
    for t in whole:
        if t.special or t.span is None:
            continue
        missed = (t.segment, t.span) not in seen
        if missed and begun and parts[-1][0] == t.segment:
            parts[-1] = (t.segment, parts[-1][1], max(parts[-1][2], t.span[1]))
        elif missed:
            parts.append((t.segment, *t.span))
        begun = missed
    return tuple(parts)
