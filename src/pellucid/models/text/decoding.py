"""From token ids back to a text: the text that ids stand for, and where each id stands in that text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from ...tokens import Token
from .tokenizer import Tokenizer, special_ids


def special_among(tokenizer: Tokenizer, ids: Sequence[int]) -> list[bool]:
    """For each id whether it is a special token that a tokenizer adds to a text. A mask and the unknown token are not:
    they stand for something that was written."""
    typed = special_ids(tokenizer, "unk", "mask")
    added = set(tokenizer.all_special_ids)
    ends = special_ids(tokenizer, "eos", "bos", "sep", "cls", "pad")
    return [i in added and (i not in typed or i in ends) for i in ids]


def stretches(ids: Sequence[int], marks: Sequence[bool]) -> list[list[int]]:
    """The runs of ids between special tokens: one run for a text, two for a pair of texts. marks: which are special."""
    pairs = groupby(zip(ids, marks, strict=True), lambda pair: pair[1])
    return [[i for i, _ in run] for special, run in pairs if not special]


def decoded(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text that ids stand for, special tokens included, no space added or taken away."""
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def spelled_out(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[str | tuple[str, ...], tuple[Token, ...]]:
    """The text that given ids stand for, and their tokens; two texts where the ids are a pair of texts."""
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
    tokenizer: Tokenizer, before: Sequence[int], ids: Sequence[int], text: str, segment: int, skip: bool = True
) -> list[Token]:
    """Ids as tokens of a text, each with the span of the characters that it adds to the text when decoded. For ids that
    the tokenizer would not make of this text, such as those that a model generated.

    before: the ids that stand before them. skip: whether special tokens have no part in the text. A token that is part
    of a character spans all of the character.
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


def written_as(tokenizer: Tokenizer, i: int) -> str:
    """A token as the tokenizer writes it, such as "##ing"; "[id]" where the vocabulary has no token of this id: a model
    may have room for more ids than its tokenizer."""
    found = tokenizer.convert_ids_to_tokens(i)
    return f"[{i}]" if found is None else str(found)


def _agreed(a: str, b: str) -> int:
    """How many characters two texts begin with in common."""
    return next((i for i, (c, d) in enumerate(zip(a, b, strict=False)) if c != d), min(len(a), len(b)))
