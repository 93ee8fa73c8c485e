"""Images and text to text: each token of a continuation, from the patches of the images and from the text before it.

The input of the Problem is the pixels of each patch beside the embedding of each token (`patches`), so that

    Σ patches + Σ tokens  =  f(images, text) − f(empty images, text without content)

A row is two sequences: the patches, and the tokens as text generation has them. Where the processor has written
placeholder tokens for an image, the model puts what it sees in their place; they stay, and have no score. Only rows of
the same length and the same size of images share a batch, as nothing is padded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError, TextTooLong, UnsupportedModel, quoted
from ..baselines import Spec
from ..net import Net
from ..structure import placeholder
from ..text.collating import Padded
from ..text.encoding import Encoding
from ..text.inputs import TEXT as TEXTS
from ..text.inputs import Form
from ..text.reader import Reader
from ..text.tokenizing import Item
from .continuation import CONTEXT, FIRST, Continuations, part_of_text
from .continuation_goals import continuation_goals
from .image_and_text import PICTURES_AND_TEXT, collated, layout_in, patches_in
from .image_classification import PIXELS, SHOWN
from .image_prompts import Written, beside_images, conversation, image_prompt
from .patches import PRESENT, layout_of, patch_tokens
from .task import HasTokenizer, Preparation, Task
from .text_generation import (
    AFTER,
    Continuation,
    Unfinished,
    check_places,
    continuation_notes,
    continuations,
    continued,
    with_continuation,
)

# ------------------------------------------------------------------------------------------------------ the model's run


def seen(net: Net, x: Tensor | None, *sequences: Padded) -> tuple[Tensor, ...]:
    """The logits (rows, K, vocabulary) that each continuation's tokens are read from.

    sequences: the patches, unless there are none; the text; the tokens of the continuation that it is compared with.
    """
    if PIXELS not in sequences[0].inputs:
        return continued(net, x, *sequences)
    images, *texts = sequences
    layout, patches = layout_in(net, images), patches_in(net, images)
    n, numbers = patches.shape[1:]
    words = None
    if x is not None:
        patches, words = x[:, :n, :numbers], x[:, n:, : getattr(net.embedding, "embedding_dim", None)]
    given = {name: value.flatten(0, 1) for name, value in images.inputs.items() if name != "input_ids"}
    return continued(net, words, *texts, **{**given, PIXELS: layout.joined(patches).flatten(0, 1)})


# ---------------------------------------------------------------------------------------------- what the user asked for

_FORM = (
    "a mapping such as {'image': an image, 'prompt': 'a text'}, {'images': […], 'prompt': …} or {'messages': [{'role': "
    "'user', 'content': [{'type': 'image', 'image': …}, {'type': 'text', 'text': …}]}]}, each with or without a "
    "'continuation'"
)
_PROMPT = ("prompt", *(name for name in TEXTS if name not in ("context", "premise")), "instruction")
PICTURED = Form(
    (
        {"messages": ("messages", "conversation"), **AFTER},
        {"image": SHOWN.layouts[0]["image"], "prompt": _PROMPT, **AFTER},
        {"images": ("images",), "prompt": _PROMPT, **AFTER},
        {"prompt": _PROMPT, **AFTER},
    ),
    _FORM,
    optional=frozenset(AFTER),
    listed=frozenset({"messages", "images"}),
    ids=False,
)


@dataclass(frozen=True)
class _Pictured(Unfinished):
    """A prompt of images and texts. shares: how many tiles each image has, or patches where the processor cuts them.
    grids: of patches that it cuts, (time, rows, columns) of each image. merged: the side of the squares in which these
    stand."""

    shares: tuple[int, ...]
    grids: tuple[tuple[int, ...], ...]
    merged: int


def read_pictured(reader: Reader, items: Sequence[Item], truncate: bool = False) -> list[Encoding]:
    """Messages of texts and images, or a prompt beside one image or several; each with or without a "continuation", and
    with "versus", as `text_generation.read_prompts` has them. The encodings are of the prompts alone, for
    `continue_pictured`. Raises InputError, TextTooLong, UnsupportedModel."""
    found: list[Encoding] = []
    for item in items:
        written, given, versus = _asked(reader, item)
        prompt = image_prompt(reader, written)
        if reader.limit is not None and len(prompt.ids) >= reader.limit:
            raise TextTooLong(
                f"The prompt has {len(prompt.ids)} tokens, those of its images included; this model takes "
                f"{reader.limit}; expected room for a continuation. Shorten it, or give smaller images."
            )
        shares = _shares(reader.processor, written, prompt.beside.get(PIXELS))
        grid = prompt.beside.get("image_grid_thw")
        grids = () if grid is None else tuple(tuple(int(i) for i in row) for row in grid)
        merged = int(getattr(getattr(reader.processor, "image_processor", None), "merge_size", 1) or 1)
        extra = _Pictured(prompt, given, versus, shares, grids, merged)
        found.append(Encoding(prompt.texts, (prompt.inputs,), prompt.tokens, extra=extra, names=prompt.names))
    return found


def _asked(reader: Reader, item: Item) -> tuple[Written, Continuation | None, Continuation | None]:
    """The prompt, the continuation and the other one, from what the user passed."""
    parts = set(item) - set(AFTER) if isinstance(item, Mapping) else set()
    after = continuations(item) if parts else None
    if after is not None and parts == {"messages"}:
        return conversation(reader, item["messages"]), *after
    if after is not None and parts <= {"image", "images", "prompt"} and isinstance(item.get("prompt"), str):
        given = item.get("images", item.get("image", []))
        images = list(given) if isinstance(given, (list, tuple)) else [given]
        return beside_images(reader, images, item["prompt"]), *after
    raise InputError(f"Found {quoted(item, 80)} as an input; expected {_FORM}.")


def _shares(processor: Any, written: Written, pixels: Tensor | None) -> tuple[int, ...]:
    """How many tiles, or patches that come cut, each image has. Raises UnsupportedModel where that is not known."""
    if pixels is None:
        return ()
    units = lambda t: t.shape[: -1 if t.ndim < 4 else -3].numel()
    n, total = len(written.images), units(pixels)
    if n == 1:
        return (total,)
    try:
        alone = [units(processor.image_processor([i], return_tensors="pt")[PIXELS]) for i, _ in written.images]
    except (TypeError, ValueError, KeyError, AttributeError):
        alone = []
    if sum(alone) == total:
        return tuple(alone)
    if len(pixels) == n:  # tiles are padded to as many for each
        return (total // n,) * n
    raise UnsupportedModel(
        f"{type(processor).__name__} returns pixels {tuple(pixels.shape)} for {n} images, and does not say whose they "
        "are; expected one image."
    )


def continue_pictured(net: Net, reader: Reader, encodings: list[Encoding], how: Preparation) -> list[Encoding]:
    """Each prompt with its continuation, which the model generates where the user gave none, and its patches in front.
    Raises InputError, TextTooLong, UnsupportedModel."""
    _check_decoder(net)
    check_places(net, reader)
    found: list[Encoding] = []
    for given in (e.extra for e in encodings):
        assert isinstance(given, _Pictured)
        beside = {name: value.to(net.device) for name, value in given.prompt.beside.items() if net.takes(name)}
        if given.shares:
            beside[PIXELS] = beside[PIXELS].to(next(net.model.parameters()).dtype)
        given = replace(given, prompt=replace(given.prompt, beside=beside))
        encoding = with_continuation(net, reader, given, how)
        _check_writes_text(net, reader, encoding.ids[len(given.prompt.tokens) :])
        found.append(_typed(net, reader, _with_patches(net, given, encoding)))
    return found


def _check_writes_text(net: Net, reader: Reader, ids: Sequence[int]) -> None:
    """Raises InputError where a continuation has the placeholder of an image, which there is none for."""
    token = placeholder(net.model)
    if token in ids:
        raise InputError(
            f"Found {reader.tokenizer.decode([token])!r} in the continuation, given or generated, where the model puts "
            "an image; expected text. Give a continuation without it."
        )


def _with_patches(net: Net, given: _Pictured, encoding: Encoding) -> Encoding:
    """An encoding with a sequence of patches in front. Only what has the same sizes shares a batch."""
    beside = given.prompt.beside
    kind = encoding.kind, encoding.widths, tuple(tuple(t.shape) for t in beside.values())
    if not given.shares:
        return replace(encoding, kind=kind)
    layout = layout_of(net.model, beside[PIXELS].shape)
    each = 1 if layout.size is None else layout.grid[0] * layout.grid[1]
    tokens = patch_tokens(layout, [n * each for n in given.shares], given.grids, given.merged)
    n = len(tokens)
    assert isinstance(encoding.extra, Continuations)
    parts = tuple(replace(part, first=part.first + n) for part in encoding.extra.parts)
    return replace(
        encoding,
        sequences=({"input_ids": [PRESENT] * n, **beside}, *encoding.sequences),
        tokens=(*tokens, *encoding.tokens),
        roles=([CONTEXT] * n, *encoding.roles),
        extra=replace(encoding.extra, parts=parts),
        kind=kind,
    )


def _typed(net: Net, reader: Reader, encoding: Encoding) -> Encoding:
    """An encoding whose continuation has the type of token with which the model reads it from left to right.

    A processor may give each token a type: of text or of an image (Gemma 3), of what is read in both directions or of
    what is generated (PaliGemma). That of a continuation is 0, or 1 where with 0 a token's logits depend on later ones.
    Raises UnsupportedModel where they do with both.
    """
    names = [name for name in encoding.sequences[-1] if name.endswith("token_type_ids")]
    asked = ("the type of a continuation's tokens", *names)
    for kind in [int(net.findings[asked])] if asked in net.findings else [0, 1][: 1 + bool(names)]:
        typed = replace(encoding, sequences=tuple(_of_type(s, r, names, kind) for s, r in _roles(encoding)))
        if asked in net.findings or not _reads_later(net, reader, typed):
            net.findings[asked] = str(kind)
            return typed
    raise UnsupportedModel(
        f"{type(net.model).__name__} reads a token's logits from the tokens after it too, so it does not generate text "
        "from left to right; expected a model that does."
    )


def _roles(encoding: Encoding) -> list[tuple[Mapping[str, Any], Sequence[int]]]:
    return list(zip(encoding.sequences, encoding.roles, strict=True))


def _of_type(inputs: Mapping[str, Any], roles: Sequence[int], names: Sequence[str], kind: int) -> Mapping[str, Any]:
    """The inputs of a sequence whose continuation has tokens of this type."""
    new = {n: [kind if r >= FIRST else v for v, r in zip(inputs[n], roles, strict=True)] for n in names if n in inputs}
    return {**inputs, **new}


def _reads_later(net: Net, reader: Reader, encoding: Encoding) -> bool:
    """Whether the logits of a continuation depend on its last token, which none of them comes after."""
    ids = encoding.sequences[-1]["input_ids"]
    other = next((i for i in encoding.sequences[-1]["input_ids"][::-1] if i != ids[-1]), ids[-1])
    changed = {**encoding.sequences[-1], "input_ids": [*ids[:-1], other]}
    sequences, _ = collated(net, reader, [encoding, replace(encoding, sequences=(*encoding.sequences[:-1], changed))])
    taken = tuple(s._replace(inputs={k: v for k, v in s.inputs.items() if net.takes(k)}) for s in sequences)
    with torch.no_grad():
        a, b = seen(net, None, *taken)[-1]
    return not torch.allclose(a, b, rtol=0, atol=1e-4 * float(a.abs().max()))


def _check_decoder(net: Net) -> None:
    """Raises UnsupportedModel for a network that reads no pixels, and for an encoder with a decoder, which reads its
    images in the encoder."""
    model, name = net.model, type(net.model).__name__
    if not net.takes(PIXELS):
        raise UnsupportedModel(
            f"{name}.forward takes no {PIXELS!r}; expected a model that reads images. For texts alone give a tokenizer."
        )
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise UnsupportedModel(
            f"{name} has an encoder that reads the image and a decoder that reads the text; expected a "
            "decoder that reads both. Explain its pixels: pellucid.attribute(lambda x: model(pixel_values=x, "
            "decoder_input_ids=ids).logits[:, -1], x, target=token)."
        )


def _notes(reader: HasTokenizer, encoding: Encoding, baseline: Spec) -> tuple[str, ...]:
    """What a reader must know of the images."""
    told = continuation_notes(reader, encoding, baseline)
    if PIXELS not in encoding.sequences[0]:
        return told
    cut = encoding.sequences[0][PIXELS].ndim < 4
    mean = "the mean of its patches everywhere" if cut else "its mean colour everywhere"
    empty = mean if isinstance(baseline, str) and baseline == "mean" else "pixels that are 0 after normalisation"
    return (*told, f"An image is compared with one without content: {empty}.")


IMAGE_TEXT_TO_TEXT = Task(
    "image-text-to-text",
    (),  # its architectures' names end as those of other tasks do: transformers says which they are
    "AutoModelForImageTextToText",
    seen,
    continuation_goals,
    PICTURED,
    read_pictured,
    continue_pictured,
    output="log-probability",
    modality=PICTURES_AND_TEXT,
    notes=_notes,
    continues=True,
    any_side=True,
    part=part_of_text,
)
