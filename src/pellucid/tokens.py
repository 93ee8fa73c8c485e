"""The data that every explanation is made of: tokens, words, the target, and the fields that readers of one rely on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .status import Status

Array: TypeAlias = NDArray[np.float64]
Meta: TypeAlias = Mapping[str, Any]
"""How an explanation was made, by name: `model`, `task`, `seed`, `versions`, … The values are whatever JSON holds."""


@dataclass(frozen=True)
class Token:
    """One token of the input.

    text: as the tokenizer writes it. id: in the vocabulary. span: (start, end) characters in the original text, or
    None where it stands for none. special: added by the tokenizer, or a mask to be filled: it stays in every baseline.
    word: which word it is a piece of, or None. segment: which of two texts it belongs to. For people it is shown as
    `Explanation.shown` has it.

    Examples:
        >>> e.tokens[1]
        Token(text='it', id=146, span=(0, 2), special=False, word=0, segment=0)
    """

    text: str
    id: int
    span: tuple[int, int] | None = None
    special: bool = False
    word: int | None = None
    segment: int = 0


@dataclass(frozen=True)
class Target:
    """What was explained: a label's `name`, its `index`, and the `position` of the token it was read from, if any.

    Examples:
        >>> e.target
        Target(name='positive', index=1, position=None)
    """

    name: str
    index: int | tuple[int, ...] | None = None
    position: int | None = None


@dataclass(frozen=True)
class Word:
    """Neighbouring tokens and the sum of their scores: a word, a sentence or a span of the text.

    text: the characters of the original text that the tokens cover. span: where these stand in the text of `segment`;
    None for a token that stands for no text. special: whether the tokenizer added it. tokens: the indices of its tokens
    in the Explanation.

    Examples:
        >>> best = e.top(1)[0]
        >>> best.text, best.span, best.tokens
        ('great', (5, 10), (4,))
    """

    text: str
    score: float
    span: tuple[int, int] | None
    special: bool
    segment: int
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """A text of the input, such as a document, a message or the question, and the sum of its tokens' scores.

    name: as the input or the task has it. text: the whole of it. segment: its number among the texts; −1 for
    "template", the tokens that belong to no text: what a chat template or a tokenizer adds. tokens: their indices in
    the Explanation.

    Examples:
        >>> [(s.name, round(s.score, 2)) for s in e.sources()]
        [('text', 2.69), ('template', 0.0)]
    """

    name: str
    text: str
    score: float
    segment: int
    tokens: tuple[int, ...]


class Explained(Protocol):
    """What is read of an explanation to show it: the fields of `Explanation`, which says what each of them is."""

    @property
    def text(self) -> str | tuple[str, ...]: ...
    @property
    def text_names(self) -> tuple[str, ...]: ...
    @property
    def tokens(self) -> tuple[Token, ...]: ...
    @property
    def scores(self) -> Array: ...
    @property
    def target(self) -> Target: ...
    @property
    def method(self) -> str: ...
    @property
    def baseline(self) -> str: ...
    @property
    def output(self) -> float: ...
    @property
    def baseline_output(self) -> float: ...
    @property
    def delta(self) -> float: ...
    @property
    def prediction(self) -> str | None: ...
    @property
    def probability(self) -> float | None: ...
    @property
    def adds_up(self) -> bool: ...
    @property
    def passes(self) -> int: ...
    @property
    def status(self) -> Status: ...
    @property
    def error(self) -> Array | None: ...
    @property
    def layers(self) -> Array | None: ...
    def groups(self) -> list[Word]: ...
    def unit(self, group: tuple[int, ...], /) -> Word: ...
    @property
    def layer_deltas(self) -> Array | None: ...
    @property
    def elements(self) -> Mapping[str, Array] | None: ...
    @property
    def heads(self) -> Array | None: ...
    @property
    def attentions(self) -> Array | None: ...
    @property
    def parts(self) -> Mapping[str, Array] | None: ...
    @property
    def measures(self) -> Mapping[str, Array] | None: ...
    @property
    def probabilities(self) -> Mapping[str, float] | None: ...
    @property
    def label(self) -> str | tuple[str | None, ...] | None: ...
    @property
    def unread(self) -> tuple[tuple[int, int, int], ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def meta(self) -> Meta: ...
    @property
    def change(self) -> float: ...
    @property
    def relative_delta(self) -> float: ...
    def words(self) -> Sequence[Word]: ...
    def sentences(self) -> Sequence[Word]: ...
    def shown(self, i: int) -> str: ...
    def segment_text(self, segment: int) -> str: ...
