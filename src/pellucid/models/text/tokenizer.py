"""What the package needs of a tokenizer, and how it asks for a tokenizer's special tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from ...errors import UnsupportedModel, quoted

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


_NEEDED = (
    *("__len__", "all_special_ids", "tokenize", "convert_ids_to_tokens", "convert_tokens_to_ids"),
    *("get_special_tokens_mask", "decode"),
)
"""What every text is read with, beside the call."""


def check_tokenizer(given: object, reads_text: bool) -> None:
    """Raises UnsupportedModel where an object is no tokenizer. reads_text: whether it is to read texts; an image
    processor is only called."""
    lacking = ["__call__"] * (not callable(given))
    lacking += [name for name in _NEEDED if reads_text and not hasattr(given, name)]
    if not lacking:
        return
    expected = "a transformers tokenizer, or an object with the same methods" if reads_text else "an image processor"
    remedy = (
        " A tokenizers.Tokenizer becomes one by transformers.PreTrainedTokenizerFast(tokenizer_object=…, "
        "pad_token='[PAD]', …), which is told the special tokens by name."
    )
    raise UnsupportedModel(
        f"Found {quoted(given)} as the tokenizer, which has no {', '.join(lacking)}; expected {expected}."
        f"{remedy if reads_text else ''}"
    )


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
