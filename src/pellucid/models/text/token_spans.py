"""Where each token stands in the text that a tokenizer made it of.

A fast tokenizer says so. For a slow one, which keeps no character offsets, each piece is looked for in the text from
where the last one ended.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

from ...tokens import Token
from .tokenizer import Columns, Tokenizer, special_ids

_NEXT_WORD = re.compile(r"\w+|[^\w\s]")


def tokens_of(
    tokenizer: Tokenizer, batch: Columns, k: int, ids: list[int], text: str | tuple[str, str]
) -> tuple[Token, ...]:
    """The tokens of the k-th text, or pair of texts, in what the tokenizer returned for a batch. ids: their ids."""
    parts = (text,) if isinstance(text, str) else text
    if of_fast := getattr(batch, "encodings", None):
        fast = of_fast[k]
        names, spans, marks = fast.tokens, fast.offsets, fast.special_tokens_mask
        words, segments = fast.word_ids, fast.sequence_ids
    else:
        names = tokenizer.convert_ids_to_tokens(ids)
        marks = tokenizer.get_special_tokens_mask(ids, already_has_special_tokens=True)
        typed = special_ids(tokenizer, "unk", "mask")  # these stand for what the user wrote
        marks = [0 if i in typed else mark for i, mark in zip(ids, marks, strict=True)]
        pieces = _as_cut(tokenizer, names, marks, parts)
        spans, segments = _aligned(pieces, marks, parts, getattr(tokenizer, "unk_token", None))
        words = list(range(len(names)))
        words = [None if m else w for w, m in zip(words, marks, strict=True)]
    tokens: list[Token] = []
    segment = word = -1
    before: tuple[int, int | None, int] | None = None
    for name, token_id, span, special, piece_of, own in zip(names, ids, spans, marks, words, segments, strict=True):
        segment = max(segment, 0) if own is None else own
        if special:
            tokens.append(Token(name, token_id, None, True, None, segment))
            before = None
            continue
        start, end = _trimmed(parts[segment], *span)
        end = end if name.strip("▁") else start  # a mark of a word's beginning, where no white space need be
        joined = before and before[:2] == (segment, piece_of) and not _has_space(parts[segment][before[2] : start])
        word += 0 if joined else 1
        tokens.append(Token(name, token_id, (start, end), False, word, segment))
        before = (segment, piece_of, end)
    return tuple(tokens)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the white space that some tokenizers count to a word."""
    while start < end and text[start].isspace():
        start += 1
    return start, end


def _has_space(gap: str) -> bool:
    """Whether there is white space between two tokens."""
    return any(c.isspace() for c in gap)


def _folded(text: str) -> str:
    """The text in lower case and without accents, which a tokenizer may have taken away; as long as before."""
    return "".join(map(_fold, text))


@cache
def _fold(c: str) -> str:
    """A character in lower case and without its accent."""
    first, *rest = unicodedata.normalize("NFD", c.lower())
    return first if all(map(unicodedata.combining, rest)) else c


def _as_cut(tokenizer: Tokenizer, names: list[str], marks: Sequence[int], parts: tuple[str, ...]) -> list[str]:
    """The tokens' names, with the piece of text that the tokenizer cut in the place of an unknown token, where the
    tokenizer can still say it."""
    cut = [piece for part in parts for piece in tokenizer.tokenize(part)] if hasattr(tokenizer, "tokenize") else []
    if len(cut) != len(marks) - sum(map(bool, marks)):
        return names
    pieces = iter(cut)
    return [name if special else next(pieces) for name, special in zip(names, marks, strict=True)]


def _aligned(
    names: list[str], marks: Sequence[int], parts: tuple[str, ...], unknown: str | None
) -> tuple[list[tuple[int, int]], list[int | None]]:
    """The characters and the segment of each token, for a tokenizer that keeps none: each piece is looked for from
    where the last one ended. The unknown token is the word, or else the sign, that comes next."""
    spans: list[tuple[int, int]] = []
    segments: list[int | None] = []
    folded = [_folded(part) for part in parts]
    segment = at = 0
    seen_own = False
    for name, special in zip(names, marks, strict=True):
        if special:
            if seen_own and segment + 1 < len(parts):
                segment, at, seen_own = segment + 1, 0, False
            spans.append((0, 0))
            segments.append(None)
            continue
        seen_own = True
        piece = _folded(name.replace("##", "").replace("▁", "").replace("Ġ", "").replace("</w>", ""))
        found = folded[segment].find(piece, at) if piece else at
        start, end = (at, at) if found < 0 else (found, found + len(piece))
        if name == unknown and (word := _NEXT_WORD.search(parts[segment], at)):
            start, end = word.span()
        spans.append((start, end))
        segments.append(segment)
        at = end
    return spans, segments
