"""A reader: a tokenizer, with what a model's configuration says of its inputs and labels. It runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .encoding import Encoding
from .filler import Filler, filler_of
from .tokenizer import Tokenizer, pads_left, special_id
from .tokenizing import Item, encode


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads a user's inputs as token ids.

    tokenizer: the model's; for images its image processor. processor: what the user gave, which is the tokenizer, or
    has it and reads images too. limit: how many tokens the model takes, special tokens
    included; None for any number. labels: the names of the model's classes, by index; empty where none are named.
    problem_type: what the configuration calls a classification, if anything: "multi_label_classification", …
    """

    tokenizer: Tokenizer
    limit: int | None = None
    labels: tuple[str, ...] = ()
    problem_type: str | None = None
    processor: Any = None

    def encode(self, items: Sequence[Item], truncate: bool | str = False) -> list[Encoding]:
        """Texts, pairs of texts and `Ids` as token ids, as `tokenizing.encode` within the limit."""
        return encode(self.tokenizer, items, self.limit, truncate)

    def starts(self, encodings: Sequence[Encoding]) -> list[int]:
        """The column at which each row of a padded batch begins: 0 unless the tokenizer pads on the left."""
        width = max(len(e) for e in encodings)
        return [width - len(e) if pads_left(self.tokenizer) else 0 for e in encodings]

    @cached_property
    def unknown(self) -> int | None:
        """The id of the token that stands for what the vocabulary lacks, and for nothing else; None without one."""
        found, *ends = (special_id(self.tokenizer, name) for name in ("unk", "eos", "bos", "pad"))
        return None if found in ends else found

    @cached_property
    def filler(self) -> Filler | None:
        """An ordinary short token, the baseline "filler"; None where the vocabulary has none."""
        return filler_of(self.tokenizer)
