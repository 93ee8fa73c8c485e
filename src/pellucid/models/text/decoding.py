"""Token ids that no text came with: what they stand for, and where each stands in the text that they make."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ...explanation import Token


def special_among(tokenizer: Any, ids: Sequence[int]) -> list[bool]:
    """Which ids a tokenizer adds to a text; a mask and the unknown token stand for what is written."""
    typed = {getattr(tokenizer, f"{name}_token_id", None) for name in ("unk", "mask")}
    added = set(tokenizer.all_special_ids)
    ends = {getattr(tokenizer, f"{name}_token_id", None) for name in ("eos", "bos", "sep", "cls", "pad")}
    return [i in added and (i not in typed or i in ends) for i in ids]


def stretches(ids: Sequence[int], marks: Sequence[bool]) -> list[list[int]]:
    """The ids between those that are special: a text's, or those of each text of a pair."""
    pairs = groupby(zip(ids, marks, strict=True), lambda pair: pair[1])
    return [[i for i, _ in run] for special, run in pairs if not special]


def decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text that ids stand for, as they are."""
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def spelled_out(tokenizer: Any, ids: Sequence[int]) -> tuple[str | tuple[str, ...], tuple[Token, ...]]:
    """The text of ids that the tokenizer would write otherwise, and their tokens; two texts where they are a pair."""
    marks = special_among(tokenizer, ids)
    runs = stretches(ids, marks)
    runs = runs if len(runs) == 2 else [[i for run in runs for i in run]]
    texts = tuple(decoded(tokenizer, run) for run in runs)
    own = [
        iter(spelled(tokenizer, [], run, text, s, False)) for s, (run, text) in enumerate(zip(runs, texts, strict=True))
    ]
    tokens: list[Token] = []
    segment, inside = 0, False
    for i, special in zip(ids, marks, strict=True):
        tokens.append(Token(written_as(tokenizer, i), i, None, True, None, segment) if special else next(own[segment]))
        segment = min(segment + (special and inside), len(runs) - 1)
        inside = inside or not special
    return (texts if len(texts) == 2 else texts[0]), tuple(tokens)


def spelled(
    tokenizer: Any, before: Sequence[int], ids: Sequence[int], text: str, segment: int, skip: bool = True
) -> list[Token]:
    """Tokens whose ids no tokenizer would make of their text: each spans what it adds to the text when decoded.

    before: the ids that they follow. skip: whether special tokens have no part in the text. A token that is part of a
    character spans all of it.
    """
    written = [tokenizer.decode([*before, *ids[:k]], skip_special_tokens=skip) for k in range(len(ids) + 1)]
    ends = [_agreed(so_far[len(written[0]) :], text) for so_far in written]
    tokens: list[Token] = []
    word, last = -1, -1
    for k, i in enumerate(ids):
        a = ends[k]
        partial = written[k + 1].endswith("\ufffd")
        b = a if written[k + 1] == written[k] and not partial else next((end for end in ends[k + 1 :] if end > a), a)
        while a < b and text[a].isspace():
            a += 1
        word += 0 if b > a and last >= 0 and not any(c.isspace() for c in text[last:a]) else 1
        last = b
        tokens.append(Token(written_as(tokenizer, i), i, (a, b), False, word, segment))
    return tokens


def written_as(tokenizer: Any, i: int) -> str:
    """A token as the tokenizer writes it; its id where there is none: a model may have room for more than those."""
    found = tokenizer.convert_ids_to_tokens(i)
    return f"[{i}]" if found is None else str(found)


def _agreed(a: str, b: str) -> int:
    """How many characters two texts begin with in common."""
    return next((i for i, (c, d) in enumerate(zip(a, b, strict=False)) if c != d), min(len(a), len(b)))
