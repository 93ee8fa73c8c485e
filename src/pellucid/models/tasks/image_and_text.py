"""How images beside a text reach a network, and what they are compared with: the modality of `image_text_to_text`.

A row is two sequences: patches, whose ids say which of them are there, and tokens. Nothing is padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...errors import UnknownBaseline, UnsupportedModel, quoted
from ..baselines import Spec
from ..modality import TEXT, Embedder, Modality
from ..net import Net
from ..text.collating import Inputs, Owns, Padded, Sequences, collate, side_by_side
from ..text.encoding import Encoding
from ..text.reader import Reader
from ..text.tokenizer import Tokenizer
from .continuation import CONTEXT
from .image_classification import PIXELS
from .patches import PRESENT, Layout, layout_of


def layout_in(net: Net, images: Padded) -> Layout:
    return layout_of(net.model, images.inputs[PIXELS].shape[1:])


def patches_in(net: Net, images: Padded) -> Tensor:
    """The patches (rows, patches, numbers) of images; of those that are not there, an image without content."""
    own = layout_in(net, images).cut(images.inputs[PIXELS])
    return torch.where((images.ids == PRESENT).unsqueeze(2), own, _nothing(own))


def _nothing(pixels: Tensor) -> Tensor:
    """The pixels of an image without content: zeros; or what no sum can tell from 0, where the image has another
    number, as some models (Idefics) take an image of nothing but zeros for padding and leave it out."""
    return torch.zeros_like(pixels).masked_fill(pixels != 0, torch.finfo(pixels.dtype).eps ** 2)


def _values(net: Net, sequence: Padded) -> Tensor | None:
    return patches_in(net, sequence) if PIXELS in sequence.inputs else None


def collated(net: Net, reader: Reader, encodings: Sequence[Encoding]) -> tuple[Sequences, Owns]:
    """Rows of the same sizes as a batch."""
    if PIXELS not in encodings[0].sequences[0]:
        return collate(reader.tokenizer, encodings, net.device)
    texts = [replace(e, sequences=e.sequences[1:], roles=e.roles[1:]) for e in encodings]
    sequences, owns = collate(reader.tokenizer, texts, net.device)
    table = lambda name: [torch.as_tensor(e.sequences[0][name], device=net.device) for e in encodings]
    inputs: Inputs = {name: torch.stack(table(name)) for name in encodings[0].sequences[0]}
    own = torch.ones_like(inputs["input_ids"], dtype=torch.bool)
    return (Padded(dict(inputs), CONTEXT * own.long()), *sequences), (own, *owns)


def _empty(embedder: Embedder, spec: Spec, sequences: Sequences, owns: Owns, x: Tensor, kept: Tensor) -> Tensor:
    """Images without content beside a text without content. spec: as for a text; "mean" stands for an image's mean
    colour too, and any other for pixels that are 0 after normalisation. Raises UnknownBaseline for a tensor."""
    if isinstance(spec, Tensor):
        raise UnknownBaseline(
            f"Found a tensor {tuple(spec.shape)} as the baseline of images and a text; expected 'filler', 'zero', "
            "'mean', 'pad' or a token, which say what the text is compared with; images are compared with empty ones."
        )
    images = sequences[0] if PIXELS in sequences[0].inputs else None
    texts, theirs = (sequences, owns) if images is None else (sequences[1:], owns[1:])
    words = side_by_side([embedder.embedded(s, k) for k, s in enumerate(texts)])
    words = TEXT.baseline(embedder, spec, texts, theirs, words, kept[:, -words.shape[1] :])
    if images is None:
        return words
    return side_by_side([_without_content(embedder, spec, images), words])


def _without_content(embedder: Embedder, spec: Spec, images: Padded) -> Tensor:
    """The patches of images without content."""
    pixels = images.inputs[PIXELS]
    if not (isinstance(spec, str) and spec == "mean"):
        return _nothing(embedder.embedded(images))
    colour = pixels.mean((-2, -1), keepdim=True) if pixels.ndim > 4 else pixels.mean(-2, keepdim=True)
    return embedder.embedded(images._replace(inputs={**images.inputs, PIXELS: colour.expand_as(pixels)}))


def _tokenizer_of(processor: Any) -> Tokenizer:
    """The tokenizer of a processor of images and texts. Raises UnsupportedModel for anything else."""
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or not hasattr(processor, "image_processor"):
        raise UnsupportedModel(
            f"Found {quoted(processor)} as the reader of images and texts; expected the model's processor, which has a "
            "tokenizer and an image processor: pellucid.Model(model, AutoProcessor.from_pretrained(name)). For texts "
            "alone a tokenizer will do, with task='text-generation'."
        )
    return tokenizer


PICTURES_AND_TEXT = Modality(
    "AutoProcessor", "input_ids", TEXT.embedding, collated, _empty, _tokenizer_of, reads_text=True, values=_values
)
