"""What a person fills in for each task, and an input made of it."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from typing import Any

from .conversations import is_conversation, messages_of
from .errors import InputError, MissingExtra, quoted

Field = dict[str, Any]
MOST_PIXELS = 50_000_000


def _field(name: str, says: str, kind: str = "text", optional: bool = False, example: str = "") -> Field:
    """name: of the part of the input. says: its label. kind: "text", "lines" (a list), "messages", "image". example:
    something to begin with, where {mask} stands for the tokenizer's mask token."""
    return {"name": name, "label": says, "kind": kind, "optional": optional, "example": example}


_REVIEW = "It starts slowly, but the acting is superb and the ending is wonderful."
FORMS: dict[str, list[Field]] = {
    "text-classification": [
        _field("text", "Text", example=_REVIEW),
        _field("text_pair", "Second text", optional=True),
    ],
    "token-classification": [_field("text", "Text", example="Angela Merkel met Barack Obama in Berlin.")],
    "fill-mask": [_field("text", "Text with a mask", example="Paris is the {mask} of France.")],
    "question-answering": [
        _field("question", "Question", example="Who designed the bridge?"),
        _field("context", "Context", example="The bridge was built in 1890. Jane Smith designed it in Leeds."),
    ],
    "zero-shot-classification": [
        _field("text", "Text", example="The team won the cup after extra time."),
        _field("labels", "Labels, one a line", "lines", example="sport\npolitics"),
        _field("template", "Template, such as “This is about {}.”", optional=True),
    ],
    "multiple-choice": [
        _field("prompt", "Prompt", example="She put the kettle on because she wanted"),
        _field("choices", "Choices, one a line", "lines", example="a cup of tea.\na new bicycle."),
    ],
    "sentence-similarity": [
        _field("text", "Text", example="A man plays the guitar."),
        _field("text_pair", "Second text", example="Somebody makes music."),
    ],
    "text-generation": [
        _field("prompt", "Prompt", optional=True, example="The capital of France is"),
        _field("messages", "Or a chat: “user: …” and “assistant: …”, one a line", "messages", optional=True),
        _field("continuation", "Continuation; empty: the model's own", optional=True),
    ],
    "text2text-generation": [
        _field("source", "Source", example="translate English to German: The house is small."),
        _field("target", "Output; empty: the model's own", optional=True),
    ],
    "image-text-to-text": [
        _field("image", "Image", "image"),
        _field("prompt", "Prompt", example="What is in this picture?"),
        _field("continuation", "Continuation; empty: the model's own", optional=True),
    ],
    "image-classification": [_field("image", "Image", "image")],
}
"""For each task the parts of its input, in the order of the page."""


def form_of(task: str, mask: str | None = None) -> list[Field]:
    """The parts of a task's input; those of a task of the user's own are those of text classification.

    Examples:
        >>> form_of("fill-mask", "[MASK]")[0]["example"]
        'Paris is the [MASK] of France.'
    """
    fields = FORMS.get(task, FORMS["text-classification"])
    return [f | {"example": f["example"].replace("{mask}", mask or "[MASK]")} for f in fields]


def input_of(task: str, given: object) -> Any:
    """An input that `explain` takes, of what a person filled in: a text, or a value for each field. Lines and messages
    may be one text. Raises InputError."""
    fields = form_of(task)
    if isinstance(given, str):
        given = {fields[0]["name"]: given}
    if not isinstance(given, Mapping):
        raise InputError(
            f"Found {quoted(given)} as the input; expected a text, or an object with a text for each part."
        )
    names = [f["name"] for f in fields]
    if unknown := [name for name in given if name not in names]:
        raise InputError(f"Found the part {quoted(unknown[0])} in the input; expected {', '.join(names)}.")
    found = {f["name"]: _value(f, given[f["name"]]) for f in fields if given.get(f["name"]) not in (None, "", [])}
    if missing := [f["name"] for f in fields if not f["optional"] and f["name"] not in found]:
        raise InputError(f"Found no {missing[0]} in the input; expected {', '.join(names)}.")
    if "prompt" in found and "messages" in found:
        raise InputError("Found a prompt and a chat; expected one of them. Leave the other empty.")
    if task == "image-classification":
        return found["image"]
    if list(found) == ["text"]:
        return found["text"]
    if not found:
        raise InputError(f"Found an empty input; expected {' or '.join(names[:2])}.")
    return found


def _value(field: Field, value: object) -> Any:
    """The value of one field. Raises InputError where it is of another kind."""
    kind, name = field["kind"], field["name"]
    if isinstance(value, str) and kind == "lines":
        value = [line for line in value.splitlines() if line.strip()]
    elif isinstance(value, str) and kind == "messages":
        value = messages_of(value if is_conversation(value) else f"user: {value}")
    if kind == "image":
        return value if hasattr(value, "convert") else _image(value)
    if kind in ("lines", "messages") and isinstance(value, list):
        fits = all(isinstance(v, (str if kind == "lines" else Mapping)) for v in value)
        if fits:
            return [dict(v) if isinstance(v, Mapping) else v for v in value]
    elif kind == "text" and isinstance(value, str):
        return value
    expected = {"text": "a text", "lines": "a list of texts", "messages": "a list of messages with role and content"}
    raise InputError(f"Found {quoted(value)} as {name!r}; expected {expected[kind]}.")


def _image(value: object) -> Any:
    """An image from a data URL. A path is refused: a browser has no business with the files of this machine."""
    head, sign, data = value.partition(",") if isinstance(value, str) else ("", "", "")
    if not sign or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise InputError(f"Found {quoted(value)} as the image; expected a data URL, data:image/png;base64,….")
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("Images need Pillow: pip install 'pellucid[images]'.") from error
    try:
        image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
        if image.width * image.height > MOST_PIXELS:
            raise InputError(
                f"Found an image of {image.width} × {image.height}; expected at most {MOST_PIXELS} pixels."
            )
        return image.convert("RGB")
    except (OSError, ValueError, binascii.Error, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"Could not read the image: {error}. Expected a PNG, JPEG or another known format.") from error
