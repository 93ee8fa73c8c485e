"""A continuation inside its sequence: which tokens are its own, and where the logits of each are read.

Every token of a continuation has its logits one column before its own, at the token that it follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...token_text import readable, shown
from ...tokens import Token
from ..text.collating import Inputs, Padded
from ..text.encoding import Encoding

PADDING, CONTEXT, FIRST = 0, 1, 2
"""The role of each token (`Encoding.roles`): padding, the context of a continuation, and from FIRST on the tokens of
the continuation: FIRST + k for its k-th token, from 0."""


def continuing_roles(context: int, tokens: int) -> list[int]:
    """The roles of a sequence of so many tokens of context and then so many of a continuation."""
    return [CONTEXT] * context + list(range(FIRST, FIRST + tokens))


def read_from(roles: Tensor) -> Tensor:
    """The columns (rows, K) that each continuation token's logits stand in: one before its own.

    roles: (rows, tokens). A row with fewer than K tokens repeats its last.
    """
    count = (roles >= FIRST).sum(1, keepdim=True)
    columns = (roles >= FIRST).long().argsort(dim=1, descending=True, stable=True)
    slots = torch.arange(int(count.max()), device=roles.device).expand(len(roles), -1)
    return columns.gather(1, slots.minimum(count - 1)) - 1


def columns_left(roles: Tensor, keep: Tensor) -> Tensor:
    """The columns (rows, K) that each continuation token's logits stand in once only the tokens `keep` (rows, tokens)
    are left, closed up: that of the last token left before its own place, whether the token itself is left or not; −1
    where there is none."""
    left = keep.long()
    return (left.cumsum(1) - left).gather(1, read_from(roles) + 1) - 1


def at_columns(logits: Tensor, columns: Tensor) -> Tensor:
    """logits (rows, tokens, vocabulary) at columns (rows, K): (rows, K, vocabulary)."""
    return logits[torch.arange(len(columns), device=columns.device).unsqueeze(1), columns]


def packed(
    inputs: Inputs, roles: Tensor, x: Tensor | None, keep: Tensor
) -> tuple[dict[str, Tensor], Tensor, Tensor | None]:
    """The inputs, the roles and x of the tokens that `keep` (rows, tokens) leaves of each row, in order, padded on the
    right; roles and attention mask are 0 in the padding."""
    order = keep.long().argsort(dim=1, descending=True, stable=True)[:, : int(keep.sum(1).max())]
    own = keep.gather(1, order)
    given = {name: value.gather(1, order) * (own if name == "attention_mask" else 1) for name, value in inputs.items()}
    return given, roles.gather(1, order) * own, None if x is None else at_columns(x, order)


_PART = {PADDING: 16, CONTEXT: 192, FIRST: 64}
"""So many tokens of each role are a part of a text that stands for all of it."""


def part_of_text(roles: Tensor) -> Tensor:
    """The columns (n,) of some padding, some context and the beginning of the continuation of roles (1, tokens)."""
    each = [(roles[0].clamp(max=FIRST) == role).nonzero()[:most, 0] for role, most in _PART.items()]
    return torch.cat(each).sort().values


def roles_of(sequence: Padded) -> Tensor:
    """The roles (rows, tokens) of a sequence whose task gives every token one."""
    assert sequence.roles is not None
    return sequence.roles


@dataclass(frozen=True)
class Part:
    """Where a continuation stands. first: the number of its first token. count: how many tokens it has. segment: which
    of the texts it is."""

    first: int
    count: int
    segment: int


@dataclass(frozen=True)
class Continuations:
    """The continuation of an input, and the one that it is compared with, if any. notes: what a reader must know of how
    they are written."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Continuation:
    """The continuation of one row. tokens: its own. first: the index of its first token in the Explanation. text: its
    own."""

    tokens: tuple[Token, ...]
    first: int
    text: str

    def name(self, k: int) -> str:
        """The k-th token as a reader knows it."""
        text = self.piece(k)
        return text if text.strip() else shown(self.tokens[k].text, text)

    def piece(self, k: int) -> str:
        """The characters of the k-th token; none where it stands for no text."""
        span = self.tokens[k].span
        return self.text[slice(*span)] if span else ""

    def text_of(self, group: Sequence[int]) -> str:
        """The characters from the first to the last of some tokens."""
        spans = [span for k in group if (span := self.tokens[k].span)]
        return self.text[spans[0][0] : spans[-1][1]] if spans else ""

    def names(self, k: int) -> tuple[str, ...]:
        """What a reader may call the k-th token: as the tokenizer writes it, and as text, with the space before it or
        without."""
        token, name = self.tokens[k], self.name(k)
        return token.text, name, name.strip(), readable(token.text, self.piece(k))

    def inside(self, start: int, end: int) -> list[int]:
        """The tokens of which [start, end) of the text has most characters, of a half the first one; where there are
        none, those that share any. So a token belongs to one of two spans that meet in it."""
        spans = [(k, *t.span) for k, t in enumerate(self.tokens) if t.span]
        last = end + (end >= len(self.text))  # white space at the end stands behind the last character
        own = [k for k, a, b in spans if _mostly(a, b, start, end) or (a == b and start <= a < last)]
        return own or [k for k, a, b in spans if a < end and start < b]


def _mostly(a: int, b: int, start: int, end: int) -> bool:
    """Whether [start, end) has more than half of [a, b), or half and its beginning."""
    shared = 2 * (min(b, end) - max(a, start))
    return shared > b - a or (shared == b - a > 0 and start <= a)


def continuation(encoding: Encoding, which: int = 0) -> Continuation:
    """The continuation of a row, or the one it is compared with (which = 1)."""
    part = part_of(encoding, which)
    return Continuation(encoding.tokens[part.first : part.first + part.count], part.first, encoding.text[part.segment])


def part_of(encoding: Encoding, which: int = 0) -> Part:
    """Where a row's continuation stands, or the one it is compared with (which = 1)."""
    assert isinstance(encoding.extra, Continuations)
    return encoding.extra.parts[which]


def with_fixed_answer(encoding: Encoding) -> Encoding:
    """The encoding, with the tokens of its continuations marked as special, which are neither ranked nor removed; as it
    is where it has none."""
    parts = encoding.extra.parts if isinstance(encoding.extra, Continuations) else ()
    answer = {i for part in parts for i in range(part.first, part.first + part.count)}
    fixed = (replace(t, special=True) if i in answer else t for i, t in enumerate(encoding.tokens))
    return replace(encoding, tokens=tuple(fixed)) if answer else encoding
