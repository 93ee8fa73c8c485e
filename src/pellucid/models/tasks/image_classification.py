"""Image classification: the logit of a label, attributed to the patches that a model cuts an image into.

The input of the Problem is the output of the patch embedding (rows, patches, hidden); of a convolutional network, the
map that its first convolution makes, whose places look at patches that may overlap. The baseline is that of an image
without content. A token is a patch, and its text is "row,column".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ...engine import borrowing, hooks
from ...errors import UnknownBaseline, UnsupportedModel, quoted, shortened
from ...tokens import Token
from ..baselines import Spec
from ..modality import Embedder, Modality
from ..net import Net
from ..text.collating import Owns, Padded, Sequences
from ..text.encoding import Encoding
from ..text.inputs import Form
from ..text.reader import Reader
from ..text.tokenizer import Tokenizer
from ..text.tokenizing import Item
from .pictures import Image, opened
from .task import Preparation, Task
from .text_classification import class_logits, label_goals, run_classes

PIXELS = "pixel_values"


def read_images(reader: Reader, items: Sequence[Item], truncate: bool = False) -> list[Encoding]:
    """Images (PIL, arrays (height, width, channels), or paths of files) as pixels (channels, height, width), without
    tokens: how many patches a model cuts them into, the model itself says (`cut_into_patches`)."""
    found: list[Encoding] = []
    for i, item in enumerate(items):
        image, name = opened(item, f"input {i}")
        found.append(Encoding(name, ({PIXELS: _pixels(reader.tokenizer, image)},), ()))
    return found


def cut_into_patches(net: Net, reader: Reader, encodings: list[Encoding], how: Preparation) -> list[Encoding]:
    """Each image with a token for each patch that the model cuts it into."""
    found: list[Encoding] = []
    grid = _grids(net.model)
    for encoding in encodings:
        pixels = encoding.sequences[0][PIXELS]
        rows, columns = grid(pixels)
        places = [(r, c) for r in range(rows) for c in range(columns)]
        tokens = tuple(Token(f"{r},{c}", k, None, False, k) for k, (r, c) in enumerate(places))
        found.append(replace(encoding, tokens=tokens, kind=tuple(pixels.shape)))
    return found


def _pixels(processor: Tokenizer, image: Image) -> Tensor:
    """(channels, height, width), as the model's processor makes them."""
    try:
        pixels = np.asarray(processor(image, return_tensors="np")[PIXELS][0])
    except (TypeError, ValueError, KeyError) as error:
        raise UnsupportedModel(
            f"The image processor {type(processor).__name__} could not read an image ({shortened(str(error), 200)}); "
            "expected one of transformers', such as AutoImageProcessor.from_pretrained(name): "
            "pellucid.Model(model, processor)."
        ) from error
    if pixels.ndim != 3:
        raise UnsupportedModel(f"The image processor made pixels {pixels.shape}; expected (channels, height, width).")
    return torch.as_tensor(pixels)


def _cutter(net: nn.Module) -> nn.Conv2d | None:
    """The convolution that cuts an image into patches: the first one."""
    return next((m for m in net.modules() if isinstance(m, nn.Conv2d)), None)


def _grids(net: nn.Module) -> Callable[[Tensor], tuple[int, int]]:
    """How many rows and columns of patches the first convolution makes of pixels (channels, height, width), where the
    model calls it: some pad an image first."""
    cutter = _cutter(net)
    if cutter is None:
        raise UnsupportedModel(f"{type(net).__name__} has no convolution that cuts an image into patches.")
    known: dict[torch.Size, tuple[int, int]] = {}

    def grid(pixels: Tensor) -> tuple[int, int]:
        if pixels.shape not in known:
            with borrowing.borrowed(net), torch.no_grad():
                shape = hooks.output_of(cutter, lambda: net(**_given(net, pixels[None]))).shape
            known[pixels.shape] = shape[-2], shape[-1]
        return known[pixels.shape]

    return grid


def _given(net: nn.Module, pixels: Tensor) -> dict[str, Tensor]:
    """Pixels as a network's inputs, on its device and in its type."""
    return {PIXELS: pixels.to(next(net.parameters()))}


def _patch_embedding(net: nn.Module, processor: Tokenizer) -> nn.Module:
    """The module that everything known of an image goes through as one vector for each patch: the first that returns
    them one after the other, or else the convolution that returns them as a map. Found by running the model on two
    images, an empty one and one of noise."""
    size = getattr(getattr(net, "config", None), "image_size", None) or 224
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    pixels = torch.stack([_pixels(processor, image) for image in (np.zeros_like(noise), noise)])
    patches = math.prod(_grids(net)(pixels[0]))
    given = _given(net, pixels)
    differ = lambda out: isinstance(out, Tensor) and len(out) == 2 and not torch.equal(out[0], out[1])
    are_patches = lambda out: differ(out) and out.ndim == 3 and out.shape[1] == patches
    with borrowing.borrowed(net), torch.no_grad():
        first = hooks.first_that(net, are_patches, lambda: net(**given))
        candidates = [m for m in (first, _cutter(net)) if m is not None]
        found = next((m for m in candidates if _decides(net, m, given)), None)
    if found is None:
        raise UnsupportedModel(
            f"No module of {type(net).__name__} returns one vector per patch ({patches} of them, as rows × "
            "patches × hidden or as a map) that is all the model knows of an image, so there are no patches to "
            "attribute to. Name a module that returns patches: pellucid.Model(..., embeddings='name'); or attribute to "
            "pixels: pellucid.attribute(lambda x: model(pixel_values=x).logits, x, target=0)."
        )
    return found


def _decides(net: nn.Module, module: nn.Module, given: dict[str, Tensor]) -> bool:
    """Whether the answers to two images are exchanged where what the module returns for them is."""
    exchanged = hooks.output_of(module, lambda: net(**given)).flip(0)
    logits = class_logits(net(**given), given)
    with hooks.replaced(module, hooks.as_tokens(exchanged)):
        found = class_logits(net(**given), given)
    return torch.allclose(found, logits.flip(0), rtol=1e-3, atol=1e-3 * float((logits[0] - logits[1]).abs().max()))


def _stacked(net: Net, reader: Reader, encodings: Sequence[Encoding]) -> tuple[Sequences, Owns]:
    """Images of one size as a batch, of which every patch is a row's own."""
    pixels = torch.stack([torch.as_tensor(e.sequences[0][PIXELS]) for e in encodings])
    own = torch.ones(len(encodings), len(encodings[0]), dtype=torch.bool, device=net.device)
    return (Padded(_given(net.model, pixels)),), (own,)


def _empty(embedder: Embedder, spec: Spec, sequences: Sequences, owns: Owns, x: Tensor, kept: Tensor) -> Tensor:
    """The patches of an image without content. spec: "zero" (pixels that are 0 after normalisation), "mean" (the
    image's mean colour), or a tensor: pixels, or the embeddings of patches."""
    (pixels,) = (s.inputs[PIXELS] for s in sequences)
    embedded = lambda pixels: embedder.embedded(Padded({PIXELS: pixels}))
    if isinstance(spec, Tensor):
        if _fits(spec, x) and not _fits(spec, pixels):
            return spec.to(x).expand_as(x)
        if not _fits(spec, pixels):
            raise UnknownBaseline(
                f"Found a baseline tensor of shape {tuple(spec.shape)}; expected one that fits "
                f"{tuple(pixels.shape[1:])} (pixels: channels, height, width) or {tuple(x.shape[1:])} (embeddings: "
                "patches, hidden)."
            )
        return embedded(spec.to(pixels).expand_as(pixels))
    if spec == "zero":
        return embedded(torch.zeros_like(pixels))
    if spec == "mean":
        return embedded(pixels.mean((2, 3), keepdim=True).expand_as(pixels))
    raise UnknownBaseline(
        f"Found baseline={quoted(spec)}; for an image expected 'zero' ('mask' is the same), 'mean', or a tensor of "
        "pixels."
    )


def _fits(spec: Tensor, like: Tensor) -> bool:
    """Whether a tensor can be expanded to the shape of another."""
    sizes = zip(reversed(spec.shape), reversed(like.shape), strict=False)
    return spec.ndim <= like.ndim and all(a in (1, b) for a, b in sizes)


IMAGE = Modality("AutoImageProcessor", PIXELS, _patch_embedding, _stacked, _empty)

SHOWN = Form(
    ({"image": ("image", "img", "picture", "photo", "file", "path", "image_path")},),
    "an image: a PIL image, a NumPy array (height, width, channels), the path of an image file, or a mapping "
    "{'image': …, 'label': …}",
    made=lambda parts: parts["image"],
    labels=("label", "labels", "fine_label", "coarse_label", "class", "category"),
    ids=False,
)

IMAGE_CLASSIFICATION = Task(
    "image-classification",
    ("ForImageClassification", "ForImageClassificationWithTeacher"),
    "AutoModelForImageClassification",
    run_classes,
    label_goals,
    SHOWN,
    read_images,
    cut_into_patches,
    modality=IMAGE,
    of_labels=True,
)
