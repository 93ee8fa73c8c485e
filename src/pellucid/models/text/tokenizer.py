"""What the package needs of a tokenizer, and how it asks for a tokenizer's special tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

Columns = Mapping[str, Sequence[Any]]
"""What a tokenizer returns for a list of texts: for each name, such as "input_ids", one list for each text."""
Untyped: TypeAlias = Callable[..., Any]
"""A method that transformers gives several types by its options."""


class Tokenizer(Protocol):
    """A transformers tokenizer, or any object with the same methods. For images an image processor stands in its place,
    of which only the call is used."""

    @property
    def all_special_ids(self) -> Sequence[int]: ...
    def __len__(self) -> int: ...
    def tokenize(self, text: str, /) -> Sequence[str]: ...
    def num_special_tokens_to_add(self, pair: bool = ...) -> int: ...

    def __call__(self, *texts: Any, **options: Any) -> Any: ...
    @property
    def decode(self) -> Untyped: ...
    @property
    def convert_ids_to_tokens(self) -> Untyped: ...
    @property
    def convert_tokens_to_ids(self) -> Untyped: ...
    @property
    def get_special_tokens_mask(self) -> Untyped: ...
    @property
    def apply_chat_template(self) -> Untyped: ...


def special_id(tokenizer: Tokenizer, name: str) -> int | None:
    """The id of a special token, by its short name: "mask", "pad", "unk", "bos", "eos", "sep" or "cls"; None where the
    tokenizer has no such token."""
    return getattr(tokenizer, f"{name}_token_id", None)


def special_ids(tokenizer: Tokenizer, *names: str) -> set[int]:
    """The ids of those of the named special tokens that the tokenizer has."""
    return {i for name in names if (i := special_id(tokenizer, name)) is not None}


def pads_left(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer puts padding before a text; most put it after."""
    return getattr(tokenizer, "padding_side", "right") == "left"
