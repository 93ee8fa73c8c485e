"""What users pass in, named once. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, Union

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import Tensor

Input: TypeAlias = Union[str, tuple[str, str], Mapping[str, Any], "ndarray"]
"""A text; a pair `("a", "b")`; or a mapping: `{"text": …, "text_pair": …}`, `{"question": …, "context": …}`, for
zero-shot classification `{"text": …, "labels": […], "template": "This example is {}."}`, for multiple choice
`{"prompt": …, "choices": […]}`; for text generation a prompt, or `{"prompt": …, "continuation": …}` or
`{"messages": [{"role": …, "content": …}], "continuation": …}`, each with `"versus"`, another continuation; for text to
text a source, or `{"source": …, "target": …}`. An image: a PIL image, an array (height, width, channels), or the path
of a file.

A row of a data set, by the names that its columns commonly have: `{"sentence": …, "label": 1}`, `{"premise": …,
"hypothesis": …}`, `{"tokens": […], "ner_tags": […]}`, `{"image": …, "label": 3}`; or `(input, label)`. Its true
label is kept as `Explanation.label`; columns that only number or describe a row are passed over, and any other is
an error that names it. Token ids: a list of integers, a tensor, a `BatchEncoding`, `{"input_ids": …, …}`; the attention
mask tells which of them are padding. Several inputs at once: columns of several values, ids of several rows."""

Target: TypeAlias = Union[str, int, "Callable[[Any], Tensor]", Mapping[str, Any], None]
"""None (what the model predicts), a label, an index, a contrast `"a - b"`, or `logits (n, classes) -> (n,)`. By task:

question-answering: "start", "end", an answer's text, a token's number, or `{"answer": …, "occurrence": 0}`, `{"span":
(start, end)}` in characters of the context, `{"position": …}`, `{"at": "max"}`, each with `"which": "start"` for one.
token-classification: a label, a word of the text, a token's number, or `{"word": …, "occurrence": 0}`, `{"span": …}`,
`{"position": …}`, each with `"label": "B-LOC - O"` for another than the predicted.
text-generation, text2text-generation: None (each token), one of them, its number, `"total"` or `{"span": …}` in
characters of the continuation (log-probabilities), `{"token": "a - b", "position": 0}`: tokens that could stand there,
`"runner-up"` or, for one of them, `{"runner-up": 0}`: each in contrast to the most probable other token at its place,
log p(token) − log p(runner-up).
fill-mask: a word, an index, a contrast, or `{"fill": …, "mask": 0}`. zero-shot-classification: one of the labels."""

Baseline: TypeAlias = Union[str, "Tensor"]
"""`"mask"`, `"pad"`, `"zero"`, `"mean"`, `"filler"`, a token, a text with as many tokens as the input, or a tensor:
token ids (tokens,) or embeddings that fit (tokens, hidden). Special tokens stay as they are.

`"filler"` is an ordinary short token of the tokenizer, " the" where it has one (`models.text.filler`). Where the
tokenizer has no mask token, `"mask"` is the filler for a decoder (GPT-2, Llama, …), with which DeepLIFT takes two
segments unless `segments=` says otherwise; for another model it is the unknown token, the padding token, the one that
ends a text, or `"zero"`, the first that there is. `Explanation.baseline` names what was taken: `filler ' the'`.

`"delete"`, for the methods that remove groups of tokens: what is removed is gone, and the rest of the text closes up.
A continuation is read where it then stands; where nothing is left before it, after the token that begins a text."""

Groups: TypeAlias = Union[str, "Sequence[Sequence[int]]", "Callable[[Any], Sequence[Sequence[int]]]", None]
"""What is removed together: `"token"` (None is the same), `"word"`, `"sentence"`; or a list of groups, each a list of
token indices as `Explanation.tokens` numbers them, `[[1, 2], [3]]`; or a function from the tokens (a tuple of `Token`)
to such a list, which several inputs need. Every token that is not special is in exactly one group."""


@dataclass(frozen=True)
class Progress:
    """How far `explain` is: inputs done, inputs in all (None for a stream), rows that went through the model, seconds
    since it began, and about how many are left (None where nobody knows)."""

    done: int
    total: int | None
    passes: int
    seconds: float
    left: float | None
