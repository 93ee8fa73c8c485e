"""What users pass in, named once. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

if TYPE_CHECKING:
    from torch import Tensor

Input: TypeAlias = str | tuple[str, str] | Mapping[str, str]
"""A text; a pair `("a", "b")`; or a mapping: `{"text": …, "text_pair": …}`, `{"question": …, "context": …}`."""

Target: TypeAlias = Union[str, int, "Callable[[Tensor], Tensor]", None]
"""None (the predicted class), a label, an index, a contrast `"a - b"`, or `logits (n, classes) -> (n,)`."""

Baseline: TypeAlias = Union[str, "Tensor"]
"""`"mask"`, `"pad"`, `"zero"`, `"mean"`, a token, a text with as many tokens as the input, or a tensor: token ids
(tokens,) or embeddings that fit (tokens, hidden). Special tokens stay as they are. `"delete"`, for the methods that
remove groups of tokens: what is removed is gone, and the rest of the text closes up."""

Groups: TypeAlias = Union[str, "Sequence[Sequence[int]]", "Callable[[Any], Sequence[Sequence[int]]]", None]
"""What is removed together: `"token"` (None is the same), `"word"`, `"sentence"`; or a list of groups, each a list of
token indices as `Explanation.tokens` numbers them, `[[1, 2], [3]]`; or a function from the tokens (a tuple of `Token`)
to such a list, which several inputs need. Every token that is not special is in exactly one group."""
