"""The types of what users pass to Pellucid: inputs, targets, baselines, groups; and what a progress function is told.

Importing this module loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, Union

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import Tensor

Input: TypeAlias = Union[str, tuple[str, str], Mapping[str, Any], "ndarray"]
"""One input to be explained, in the form that the model's task reads:

- a text, or a pair of texts `("a", "b")`, which is also `{"text": "a", "text_pair": "b"}`
- question answering: `{"question": …, "context": …}`
- zero-shot classification: `{"text": …, "labels": […], "template": "This example is {}."}`
- multiple choice: `{"prompt": …, "choices": […]}`
- text generation: a prompt, or a mapping that has a `"prompt"`, `"messages": [{"role": …, "content": …}]`,
  `"documents": […]` with a `"question"` or with messages, or `"parts": {"a name": "its text", …}`; and, where the model
  shall not generate it, the `"continuation"`: a text, or the ids of its tokens. With `"versus"`, another continuation,
  the two are contrasted
- text to text: a source, or `{"source": …, "target": …}`
- images and text to text: `{"image": …, "prompt": …}`, `{"images": […], "prompt": …}` or `"messages"` whose contents
  are lists with `{"type": "image", "image": …}` and `{"type": "text", "text": …}`; and what text generation has beside
- image classification: a PIL image, an array (height, width, channels), or the path of a file
- token ids, for the tasks that read text: a list of integers, a tensor, a `BatchEncoding`, or `{"input_ids": …, …}`;
  the attention mask says which of the ids are padding

A row of a data set is an input too, under the names that columns commonly have: `{"sentence": …, "label": 1}`,
`{"premise": …, "hypothesis": …}`, `{"tokens": […], "ner_tags": […]}`, `{"image": …, "label": 3}`, or the tuple
`(input, label)`. The true label is kept as `Explanation.label`. Columns that only number or describe a row are ignored;
any other unknown column is an error that names the column. A mapping whose columns hold several values each, or token
ids of several rows, are several inputs at once."""

Target: TypeAlias = Union[str, int, "Callable[[Any], Tensor]", Mapping[str, Any], None]
"""The output to be explained: None (what the model predicts), a label, an index, a contrast `"a - b"` of two labels, or
a function `logits (n, classes) -> (n,)`. Some tasks have targets of their own:

- question-answering: `"start"`, `"end"`, the text of an answer, the number of a token, or a mapping: `{"answer": …,
  "occurrence": 0}`, `{"span": (start, end)}` in characters of the context, `{"position": …}`, `{"at": "max"}`. A
  mapping with `"which": "start"` means one of the two ends. A function is given `{"start": logits, "end": logits}`,
  both (n, tokens): `lambda logits: logits["start"][:, 5]`.
- token-classification: a label, a word of the text, the number of a token, or a mapping: `{"word": …, "occurrence":
  0}`, `{"span": …}`, `{"position": …}`. A mapping with `"label": "B-LOC - O"` means another label than the predicted.
- text-generation, text2text-generation, image-text-to-text: None (each generated token), a token, its number, `"total"`
  or `{"span": …}` in characters of the continuation, or `"sentences"` (each of it). Log-probabilities. `{"token": "a -
  b", "position": 0}` contrasts two tokens that could stand at a place. `"runner-up"`, or `{"runner-up": 0}` for one of
  the tokens, contrasts a token with the most probable other token at its place: log p(token) − log p(runner-up).
- fill-mask: a word, an index, a contrast, or `{"fill": …, "mask": 0}` for one mask of several. A function is given the
  logits (n, masks, vocabulary).
- zero-shot-classification: one of the labels."""

Baseline: TypeAlias = Union[str, "Tensor"]
"""What the input is compared with: `"mask"`, `"pad"`, `"zero"`, `"mean"`, `"filler"`, a token, a text that has as many
tokens as the input, or a tensor, either token ids (tokens,) or embeddings (tokens, hidden). Special tokens stay as they
are.

`"filler"` is an ordinary short token of the tokenizer, " the" where it has one (`models.text.filler`). `"filler, answer
kept"`, for a model that generates text, replaces the words of the prompt alone, and the continuation stays.

`"mask"` needs a mask token. Where the tokenizer has none, `"mask"` means the filler for a decoder (GPT-2, Llama, …),
and DeepLIFT then cuts the path into two segments unless `segments=` says otherwise. For another model it means the
first of these that exists: the unknown token, the padding token, the token that ends a text, `"zero"`.
`Explanation.baseline` names what was taken, such as `filler ' the'`.

An image is compared with one whose pixels are 0 after normalisation, or for `"mean"` with one of its mean colour;
beside a text so too, whatever the text is compared with.

`"delete"` is for the methods that remove groups of tokens: removed tokens are gone, and the text on both sides of them
is joined. A continuation is then read at the place to which it has moved; where nothing is left before it, it follows
the token that begins a text."""

Groups: TypeAlias = Union[str, "Sequence[Sequence[int]]", "Callable[[Any], Sequence[Sequence[int]]]", None]
"""Which tokens are removed together: those of a `"token"`, a `"word"`, a `"sentence"` or a `"source"` (a text of the
input: a message, a document, the question); or a list of groups, each of which is a list of token indices as in
`Explanation.tokens`, such as `[[1, 2], [3]]`; or a function that takes the tokens (a tuple of `Token`) and returns such
a list, which is needed for several inputs. Every token that is not special must be in exactly one group. None means
`"token"`, and `"word"` for the method deeplift_apart."""


@dataclass(frozen=True)
class Progress:
    """How far a call of `explain` has come; its `progress` function receives one of these after each batch.

    done: inputs that are explained or failed. total: inputs in all, None for a stream. passes: how many rows went
    through the model, for all inputs that are done.
    seconds: time since the call began. left: about how many seconds are left, None where that is unknown.
    """

    done: int
    total: int | None
    passes: int
    seconds: float
    left: float | None
