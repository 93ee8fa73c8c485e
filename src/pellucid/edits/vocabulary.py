"""The words that may be put into a text, and how near each is to a word of the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..explanation import Explanation
from ..models import Model
from .judging import table_of
from .wording import Place


@dataclass(frozen=True, eq=False)
class Words:
    """What may be put in: texts, and the embedding of each, (words, hidden). table: the embeddings of all tokens."""

    texts: tuple[str, ...]
    embeddings: Tensor
    table: Tensor

    @cached_property
    def place(self) -> dict[str, int]:
        return {text: i for i, text in enumerate(self.texts)}

    def nearness(self, e: Explanation, places: Sequence[Place]) -> Tensor:
        """The cosine (places, words) of each word of the text and each word that may be put in, around the mean of the
        table: embeddings have a direction in common."""
        own = torch.stack([self.table[[e.tokens[t].id for t in p.tokens]].mean(0) for p in places])
        a, b = (torch.nn.functional.normalize((v - self.table.mean(0)).float(), dim=1) for v in (own, self.embeddings))
        return a @ b.mT


def vocabulary(model: Model, whole_words: bool) -> Words:
    """The tokens of the vocabulary that are read again as themselves: one token each, and no special ones."""
    tokenizer, table = model.tokenizer, table_of(model)
    special = set(tokenizer.all_special_ids)
    pieces = tokenizer.convert_ids_to_tokens(list(range(min(len(tokenizer), len(table)))))
    begin = _begins_words(pieces)
    found: dict[str, int] = {}
    for i, piece in enumerate(pieces):
        if i in special or piece is None or not begin(piece):
            continue
        text = tokenizer.decode([i]).strip()
        if text and (not whole_words or text.isalpha()):
            found.setdefault(text, i)
    return Words(tuple(found), table[list(found.values())], table)


def _begins_words(pieces: Sequence[str]) -> Any:
    """Whether a piece of the vocabulary begins a word, by the sign that its tokenizer has for that: WordPiece marks
    what goes on (##), byte-level BPE (Ġ) and SentencePiece (▁) what begins."""
    for sign in ("Ġ", "▁"):
        if sum(p is not None and p.startswith(sign) for p in pieces) > len(pieces) // 10:
            return lambda piece: piece.startswith(sign)
    return lambda piece: not piece.startswith("##") and not piece.endswith("@@")


def given_words(model: Model, candidates: Sequence[str]) -> Words:
    """The words of the user, each with the mean of its tokens' embeddings."""
    table = table_of(model)
    texts = tuple(dict.fromkeys(c for c in candidates if c.strip()))
    ids = [model.tokenizer.convert_tokens_to_ids(list(model.tokenizer.tokenize(text))) for text in texts]
    rows = [table[each].mean(0) if each else table.mean(0) for each in ids]
    return Words(texts, torch.stack(rows) if rows else table[:0], table)
