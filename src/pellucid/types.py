"""What users pass in, named once. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias, Union

if TYPE_CHECKING:
    from torch import Tensor

Input: TypeAlias = str | tuple[str, str] | Mapping[str, str]
"""A text; a pair `("a", "b")`; or a mapping: `{"text": …, "text_pair": …}`, `{"question": …, "context": …}`."""

Target: TypeAlias = Union[str, int, "Callable[[Tensor], Tensor]", None]
"""None (the predicted class), a label, an index, a contrast `"a - b"`, or `logits (n, classes) -> (n,)`."""

Baseline: TypeAlias = Union[str, "Tensor"]
"""`"mask"`, `"pad"`, `"zero"`, `"mean"`, a token, a text with as many tokens as the input, or a tensor: token ids
(tokens,) or embeddings that fit (tokens, hidden). Special tokens stay as they are."""
