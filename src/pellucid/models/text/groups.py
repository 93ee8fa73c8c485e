"""Groups of tokens: which tokens a method removes together, by word, by sentence, by source, or as the user says."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ...errors import InputError, quoted
from ...sentences import sentence_of_each
from ...token_text import shown
from ...types import Groups
from .encoding import Encoding


def grouped(spec: Groups, encoding: Encoding) -> list[int]:
    """The group of each token, numbered from 0 in the order of the text; −1 for special tokens.

    spec: see `types.Groups`. Raises InputError, naming the token that is in no group or in two.
    """
    if spec is None or spec == "token":
        return _numbered([None if t.special else i for i, t in enumerate(encoding.tokens)])
    if spec == "word":
        return _numbered([None if t.special else (t.segment, t.word) for t in encoding.tokens])
    if spec == "sentence":
        return _numbered(sentence_of_each(encoding.tokens, encoding.text))
    if spec == "source":
        return _numbered([None if t.special else t.segment for t in encoding.tokens])
    lists = spec(encoding.tokens) if callable(spec) else spec
    if isinstance(lists, str) or not isinstance(lists, Sequence):
        raise InputError(
            f"Found groups={quoted(lists)}; expected 'token', 'word', 'sentence', 'source', a list of lists of token "
            "indices such as [[1, 2], [3]], or a function from the tokens to such lists."
        )
    return _from_lists(lists, encoding)


def _numbered(keys: Sequence[Hashable]) -> list[int]:
    """Equal keys as one number, from 0 in their order; −1 for None."""
    number: dict[Hashable, int] = {}
    return [-1 if key is None else number.setdefault(key, len(number)) for key in keys]


def _from_lists(lists: Sequence[object], encoding: Encoding) -> list[int]:
    """The group of each token from lists of token indices. Raises InputError."""
    found = [-1] * len(encoding)
    for number, group in enumerate(lists):
        if not isinstance(group, Sequence) or isinstance(group, str) or not group:
            raise InputError(f"Found group {number} = {quoted(group)}; expected a list of at least one token index.")
        for i in group:
            if not isinstance(i, int) or isinstance(i, bool) or not 0 <= i < len(encoding):
                raise InputError(
                    f"Found {i!r} in group {number}; expected a token's index, from 0 to {len(encoding) - 1}, as the "
                    "explanation's tokens are numbered."
                )
            name = repr(shown(encoding.tokens[i].text))
            if encoding.tokens[i].special:
                raise InputError(
                    f"Found token {i} ({name}) in group {number}; expected none of the tokens that the tokenizer "
                    "added, because they stay. Leave it out."
                )
            if found[i] >= 0:
                raise InputError(
                    f"Groups overlap: token {i} ({name}) is in group {found[i]} and in group {number}; expected every "
                    "token in exactly one. Take it out of one of them."
                )
            found[i] = number
    for i, token in enumerate(encoding.tokens):
        if found[i] < 0 and not token.special:
            raise InputError(
                f"Groups leave tokens out: token {i} ({shown(token.text)!r}) is in none; expected every token in "
                "exactly one. Add it to a group, or give it one of its own."
            )
    return found
