"""Prompts of images and texts: the messages of a conversation that show images, or a prompt beside its images.

The model's own processor reads them: it writes each image as a row of placeholder tokens, which the model puts what it
sees in the place of, and returns the pixels beside the tokens. Its tokenizer is heard on the way, so that the place of
each token in the user's own texts is known. What the processor writes for an image belongs to no text.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from ...errors import OF_A_FUNCTION, InputError, UnsupportedModel, quoted, shortened
from ...grouping import told_apart
from ..text.inputs import Value
from ..text.reader import Reader
from ..text.token_spans import tokens_of
from ..text.tokenizer import Tokenizer
from .image_classification import PIXELS
from .pictures import Image, opened
from .prompts import RESERVED, Place, Prompt, bare, in_text, numbered, placed

_SOURCES = ("image", "path", "url", "image_url", "base64")
"""What a part of a message may call its image."""


@dataclass(frozen=True)
class Written:
    """A prompt as the format writes it, with a placeholder for each image. texts: the user's own, each with its name.
    places: where they stand in what is written. images: in order, each with what it is called."""

    text: str
    texts: tuple[tuple[str, str], ...]
    places: tuple[Place, ...]
    images: tuple[tuple[Image, str], ...]


def image_prompt(reader: Reader, written: Written) -> Prompt:
    """A prompt as the processor reads it. Its texts begin with the images. Raises InputError, UnsupportedModel."""
    tokenizer, found = reader.tokenizer, _read(reader.processor, written)
    batch, heard, added = found.batch, found.text, found.added
    n, images = len(batch["input_ids"][0]), len(written.images)
    inputs: dict[str, list[int]] = {}
    beside: dict[str, Tensor] = {}
    for name, value in found.outputs.items():
        flat = isinstance(value, Tensor) and value.shape == (1, n) and not value.is_floating_point()
        if flat and (name in batch or name.endswith("token_type_ids")):
            inputs[name] = [int(i) for i in value[0]]
        elif isinstance(value, Tensor) and name != "labels":
            beside[name] = value
        if name in beside and value.shape[:2] == (1, n) and not name.startswith("pixel"):
            raise UnsupportedModel(
                f"{type(reader.processor).__name__} returns {name!r} {tuple(value.shape)}, which says of each token "
                "which images it sees; expected pixels and token ids, and no more for each token than its type."
            )
    pixels = beside.get(PIXELS)
    if images and not (isinstance(pixels, Tensor) and pixels.is_floating_point() and pixels.ndim >= 2):
        raise UnsupportedModel(
            f"{type(reader.processor).__name__} returns {', '.join(found.outputs)}; expected {PIXELS!r}, one tensor of "
            "numbers for the images of an input."
        )
    if images and not any(p in heard for p in _placeholders(reader.processor)):
        raise _unplaced(reader.processor, written)
    pieces = _pieces(written, heard, _placeholder(reader.processor, written))
    read = tokens_of(tokenizer, batch, 0, inputs["input_ids"], heard)
    ended = len(read) - len(bare(read)) if added else 0
    tokens = (in_text(t, pieces) for t in read)
    tokens = tuple(replace(t, segment=t.segment + images) for t in tokens)
    shown = ["image"] if images == 1 else [f"image {k}" for k in range(1, images + 1)]
    names = (*shown, *told_apart([name for _, name in written.texts], (*RESERVED, *shown)))
    texts = (*(name for _, name in written.images), *(text for text, _ in written.texts))
    return Prompt(texts, heard, inputs, tokens, added, ended, names, beside)


# ------------------------------------------------------------------------------------------ what the user has written


def conversation(reader: Reader, messages: object) -> Written:
    """Messages, whose contents are texts or lists of parts, as the processor's chat template writes them. Each part
    that is a text is a text of its own, named by the role."""
    turns, images, texts = [], [], []
    listed = list(messages) if isinstance(messages, (list, tuple)) else []
    for number, message in enumerate(listed):
        content = message.get("content") if isinstance(message, Mapping) else None
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(parts, (list, tuple)) or not parts:
            raise InputError(f"Found {quoted(message, 80)} as message {number}; expected {_MESSAGE}.")
        turn: list[dict[str, Value]] = []
        for part in parts:
            turn.append(_part(part, number, images))
            if turn[-1]["type"] == "text":
                texts.append((turn[-1]["text"], str(message.get("role", "message"))))
        turns.append({**message, "content": turn})
    if not turns or not texts:
        raise InputError(f"Found {quoted(messages, 80)} as messages; expected {_MESSAGE}, and at least one text.")
    return _templated(reader, turns, texts, images)


_MESSAGE = "a list of {'role': 'user', 'content': [{'type': 'image', 'image': …}, {'type': 'text', 'text': 'a text'}]}"


def _part(part: Value, number: int, images: list[tuple[Image, str]]) -> dict[str, Value]:
    """A part of a message's content, without its image, which is added to the others. Raises InputError."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str) and part["text"].strip():
        return {"type": "text", "text": part["text"]}
    if kind in ("image", "image_url"):
        source = next((part[name] for name in _SOURCES if part.get(name) is not None), None)
        if isinstance(source, Mapping) or (isinstance(source, str) and source.startswith(("http:", "https:", "data:"))):
            raise InputError(
                f"Found {quoted(source, 60)} as an image of message {number}; expected the image itself, or the path "
                "of its file: nothing is fetched from an address."
            )
        images.append(opened(source, f"an image of message {number}"))
        return {"type": "image"}
    if kind in ("video", "audio"):
        raise InputError(
            f"Found {kind} in message {number}; expected texts and images, which are what is explained here. Leave it "
            "out, or give some of its pictures as images."
        )
    raise InputError(f"Found {quoted(part, 80)} as a part of message {number}; expected {_MESSAGE}.")


def beside_images(reader: Reader, given: Sequence[Value], prompt: str) -> Written:
    """A prompt and its images. Where the prompt has no placeholder for them, the chat template puts them in front."""
    images = [opened(image, f"image {k}") for k, image in enumerate(given)]
    written = Written(prompt, ((prompt, "prompt"),), ((0, len(prompt), 0, 0),), tuple(images))
    if not prompt.strip():
        raise InputError(f"Found an empty prompt ({quoted(prompt, 40)}); expected a text with at least one word.")
    if not images or _placeholder(reader.processor, written) is not None:
        return written
    if any(name in prompt for name in _placeholders(reader.processor)):
        raise _unplaced(reader.processor, written)
    if not getattr(reader.processor, "chat_template", None):
        return written  # some processors put the images in front themselves
    content = [*[{"type": "image"}] * len(images), {"type": "text", "text": prompt}]
    return _templated(reader, [{"role": "user", "content": content}], [(prompt, "prompt")], images)


def _unplaced(processor: Any, written: Written) -> InputError:
    """The error for a prompt that does not say where its images stand."""
    shown, n = next(iter(_placeholders(processor)), "<image>"), len(written.images)
    return InputError(
        f"Found {n} image{'s' * (n > 1)} and {written.text.count(shown)} times {shown!r} in the prompt "
        f"{quoted(written.text, 60)}; expected as many. Write {shown!r} where each image stands: "
        f"{quoted(shown * n + ' ' + written.text.replace(shown, ''), 80)}."
    )


def _templated(
    reader: Reader,
    turns: Sequence[Mapping[str, Any]],
    texts: Sequence[tuple[str, str]],
    images: Sequence[tuple[Image, str]],
) -> Written:
    """Messages as the processor's chat template writes them. Raises InputError."""
    processor = reader.processor
    if not getattr(processor, "chat_template", None):
        raise InputError(
            f"Found messages, and {type(processor).__name__} has no chat template to write them with; expected a model "
            "made for conversations. Give {'image': …, 'prompt': …}, or set processor.chat_template."
        )

    from jinja2 import TemplateError

    def write(contents: Sequence[str]) -> str:
        left = iter(contents)
        filled = lambda part: {**part, "text": next(left)} if part["type"] == "text" else dict(part)
        told = [{**turn, "content": [filled(part) for part in turn["content"]]} for turn in turns]
        return processor.apply_chat_template(told, add_generation_prompt=True, tokenize=False)

    try:
        written, found, _ = placed(write, [[piece] for piece in texts])
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"The chat template of {type(processor).__name__} could not write these messages "
            f"({shortened(str(error), 200)}); expected {_MESSAGE}."
        ) from error
    told = Written(written, tuple(texts), tuple(numbered(found)), tuple(images))
    if images and _placeholder(processor, told) is None:
        raise InputError(
            f"The chat template wrote {quoted(written, 80)}, without a placeholder for each of {len(images)} images; "
            f"expected {' or '.join(map(repr, _placeholders(processor)))} for each. Give a prompt that has them."
        )
    return told


# ------------------------------------------------------------------------------------------ what the processor makes


@dataclass
class _Heard:
    """A tokenizer that keeps what it was called with, and what it returned. calls: of each the text, whether special
    tokens were added, what was returned, and the ids in it, which the caller may change."""

    tokenizer: Tokenizer
    calls: list[tuple[str, bool, Any, list[int]]] = field(default_factory=list[tuple[str, bool, Any, list[int]]])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __len__(self) -> int:
        return len(self.tokenizer)

    def __call__(self, text: Any = None, *more: Any, **how: Any) -> Any:
        found = self.tokenizer(text, *more, **how)
        if isinstance(text, (list, tuple)) and len(text) == 1:
            ids = [int(i) for i in found["input_ids"][0]]
            self.calls.append((text[0], how.get("add_special_tokens", True), found, ids))
        return found


@dataclass(frozen=True)
class _Read:
    """What a processor made of a prompt. text: what its tokenizer was given, with every placeholder written out. batch:
    what the tokenizer returned. outputs: what the processor did. added: whether special tokens were added."""

    text: str
    batch: Any
    outputs: Mapping[str, Any]
    added: bool


def _read(processor: Any, written: Written) -> _Read:
    """What the processor makes of a prompt. Raises InputError where it refuses it."""
    heard = _Heard(processor.tokenizer)
    hearing = copy.copy(processor)
    hearing.tokenizer = heard
    begins = getattr(processor.tokenizer, "bos_token", None)
    how = {"add_special_tokens": False} if begins and written.text.startswith(begins) else {}
    images = [image for image, _ in written.images]
    try:
        outputs = hearing(images=[images] if images else None, text=[written.text], return_tensors="pt", **how)
    except OF_A_FUNCTION as error:
        raise InputError(
            f"{type(processor).__name__} refused {quoted(written.text, 60)} with {len(images)} images: "
            f"{shortened(str(error), 300)} Expected a text with as many placeholders as images."
        ) from error
    ids = [int(i) for i in outputs["input_ids"][0]]
    same = [call for call in heard.calls if call[3] == ids]
    if not same:
        raise UnsupportedModel(
            f"{type(processor).__name__} returns other token ids than its tokenizer makes of a text (it puts those of "
            "images in front, say); expected those of one call of its tokenizer."
        )
    text, added, batch, _ = same[-1]
    return _Read(text, batch, outputs, added)


def _placeholders(processor: Any) -> list[str]:
    """What may stand for an image in a prompt, the likeliest first."""
    own = [getattr(processor, "image_token", None), getattr(processor, "boi_token", None)]
    own.append(getattr(processor.tokenizer, "image_token", None))
    return list(dict.fromkeys(str(token) for token in own if token))


def _placeholder(processor: Any, written: Written) -> str | None:
    """What stands for each image in what is written; None where nothing stands there as often as there are images."""
    found = (p for p in _placeholders(processor) if written.text.count(p) == len(written.images) > 0)
    return next(found, None)


def _pieces(written: Written, heard: str, placeholder: str | None) -> list[Place]:
    """Where the parts of the user's texts stand in what the tokenizer was given.

    What is written is cut at the placeholders, and each part looked for from the end: between two of them stands what
    the processor wrote for an image, whose last sign that stands for one is the placeholder, or a tag behind it.
    """
    parts = [written.text] if placeholder is None else written.text.split(placeholder)
    found: list[Place] = []
    start, end = len(written.text), len(heard)
    for part in reversed(parts):
        start -= len(part)
        at = heard.rfind(part, 0, end)
        if at < 0:
            raise UnsupportedModel(f"The processor does not write {quoted(part, 60)} as it is; expected it unchanged.")
        moved = at - start
        for a, b, origin, number in written.places:
            a, b = max(a, start), min(b, start + len(part))
            if a < b:
                found.append((a + moved, b + moved, origin + moved, number))
        start -= len(placeholder or "")
        end = heard.rfind(placeholder, 0, at) if placeholder else 0
    return sorted(found)
