"""Prompts: what comes before a continuation. A text, token ids, the messages of a conversation, documents with a
question, or named parts.

A prompt may hold several texts: the messages, documents or parts. Tokens of a text have spans in it. What the format
writes between the texts, such as a chat template's tokens, belongs to none of them: its tokens are special.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from ...errors import InputError, quoted
from ...grouping import told_apart
from ...tokens import Token
from ..text.inputs import Ids
from ..text.reader import Reader
from ..text.token_spans import tokens_of
from ..text.tokenizer import Tokenizer
from ..text.tokenizing import encode

Piece: TypeAlias = tuple[str, str | None]
"""Characters of a prompt, and the name of the text that they are; None for those that only the format writes."""
_GAP: Piece = ("\n\n", None)
RESERVED = ("continuation", "other continuation", "template")
"""What no text of a prompt is called, because the answer and the tokens of no text are."""
Place: TypeAlias = tuple[int, int, int]
"""Where a text stands in what is written: (start, end, where its own character 0 would stand)."""


@dataclass(frozen=True)
class Prompt:
    """What comes before a continuation. texts: as the user wrote them. written: as the model reads them. inputs: one
    list of ints per name. added: whether the tokenizer adds its special tokens. ended: how many of them it adds at the
    end, where a continuation comes in their place. names: of the texts, where they have any."""

    texts: tuple[str, ...]
    written: str
    inputs: Mapping[str, list[int]]
    tokens: tuple[Token, ...]
    added: bool
    ended: int = 0
    names: tuple[str, ...] = ()

    @property
    def ids(self) -> list[int]:
        return self.inputs["input_ids"]


def text_prompt(reader: Reader, given: str | Ids) -> Prompt:
    """A text, or token ids, as a prompt of any length."""
    (found,) = encode(reader.tokenizer, [given], None)
    text = found.text if isinstance(found.text, str) else " ".join(found.text)
    ended = len(found.tokens) - len(_bare(found.tokens))
    return Prompt((text,), text, found.sequences[0], found.tokens, True, ended)


def continuation_tokens(tokenizer: Tokenizer, prompt: Prompt, text: str, segment: int) -> tuple[Token, ...]:
    """The tokens of a continuation: those that the tokenizer makes of it behind the prompt, unless one would reach back
    into the prompt; then those that it makes of the continuation alone. segment: the number that its text gets."""
    batch = tokenizer([prompt.written + text], add_special_tokens=prompt.added, verbose=False)
    whole = _bare(tokens_of(tokenizer, batch, 0, list(batch["input_ids"][0]), prompt.written + text))
    before = prompt.tokens[: len(prompt.tokens) - prompt.ended]
    offset = len(prompt.written)
    if [t.id for t in whole[: len(before)]] == [t.id for t in before] and len(whole) > len(before):
        tokens = whole[len(before) :]
    else:
        batch = tokenizer([text], add_special_tokens=False, verbose=False)
        tokens, offset = tokens_of(tokenizer, batch, 0, list(batch["input_ids"][0]), text), 0
    if not tokens:
        raise InputError(f"Found {quoted(text, 40)} as a continuation; expected a text with at least one token.")
    return tuple(
        replace(t, segment=segment, span=None if t.span is None else (max(0, t.span[0] - offset), t.span[1] - offset))
        for t in tokens
    )


def _bare(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    """The tokens of a text without the special tokens that end it."""
    return tokens[: max((i + 1 for i, t in enumerate(tokens) if not t.special), default=0)]


def chat_prompt(tokenizer: Tokenizer, messages: object, documents: object = None) -> Prompt:
    """Messages as the tokenizer's template writes them: each is a text of its own, named by its role. documents: texts
    that the last message of a user begins with, as `documents_prompt` has them."""
    listed = list(messages) if isinstance(messages, (list, tuple)) else []
    told = [m for m in listed if isinstance(m, Mapping) and isinstance(m.get("content"), str)]
    if not listed or len(told) < len(listed):
        raise InputError(
            f"Found {quoted(messages, 80)} as messages; expected a list of {{'role': 'user', 'content': 'a text'}}."
        )
    if not has_template(tokenizer):
        raise InputError(
            "Found messages, and this tokenizer has no chat template to write them with; expected a model made for "
            "conversations. Give the text as a prompt, or set tokenizer.chat_template."
        )
    names = told_apart([str(m.get("role", "message")) for m in told])
    of_each: list[list[Piece]] = [[(m["content"], name)] for m, name in zip(told, names, strict=True)]
    if documents is not None:
        asking = max((i for i, m in enumerate(told) if m.get("role") == "user"), default=len(told) - 1)
        of_each[asking] = [*_documents(documents), *of_each[asking]]
    written = [{**m, "content": "".join(t for t, _ in pieces)} for m, pieces in zip(told, of_each, strict=True)]
    return _conversation(tokenizer, written, of_each)


def documents_prompt(reader: Reader, documents: object, question: str) -> Prompt:
    """Documents and a question about them: the message of a user where the tokenizer has a chat template, and else a
    text. Each document is a text of its own, and so is the question."""
    pieces = [*_documents(documents), ("Question: ", None), (question, "question")]
    if has_template(reader.tokenizer):
        content = "".join(text for text, _ in pieces)
        return _conversation(reader.tokenizer, [{"role": "user", "content": content}], [pieces])
    return _pieces_prompt(reader, [*pieces, ("\nAnswer:", None)])


def parts_prompt(reader: Reader, parts: object) -> Prompt:
    """Named parts, one after the other with a blank line between them. Each is a text of its own."""
    pieces: list[Piece] = []
    for name, text in named_texts(parts, "parts", "part"):
        pieces += [_GAP] * bool(pieces) + [(text, name)]
    return _pieces_prompt(reader, pieces)


def _documents(given: object) -> list[Piece]:
    """Documents with a blank line after each."""
    return [piece for name, text in named_texts(given, "documents", "document") for piece in ((text, name), _GAP)]


def has_template(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer can write the messages of a conversation."""
    return bool(getattr(tokenizer, "chat_template", None))


def named_texts(given: object, where: str, kind: str) -> list[tuple[str, str]]:
    """Texts with their names: a mapping from names to texts, or a list of texts, of pairs (name, text), or of mappings
    with "text" and perhaps "name" or "title". A text without a name is called by its number. Raises InputError."""
    listed = list(given.items() if isinstance(given, Mapping) else given if isinstance(given, (list, tuple)) else ())
    found: list[tuple[str, str]] = []
    for number, item in enumerate(listed, 1):
        unnamed = f"{kind} {number}"
        if isinstance(item, Mapping):
            item = (item.get("name", item.get("title", unnamed)), item.get("text", item.get("content")))
        pair = (unnamed, item) if isinstance(item, str) else tuple(item) if isinstance(item, (list, tuple)) else ()
        if len(pair) != 2 or not all(isinstance(text, str) for text in pair) or not pair[1].strip():
            raise InputError(
                f"Found {quoted(item, 80)} as number {number} of {where!r}; expected a text that is not empty, a pair "
                "(name, text), or {'name': …, 'text': …}."
            )
        found.append((pair[0], pair[1]))
    if not found:
        raise InputError(
            f"Found {quoted(given, 80)} as {where!r}; expected a list of texts, or a mapping from names to texts."
        )
    return list(zip(told_apart([name for name, _ in found]), [text for _, text in found], strict=True))


def _pieces_prompt(reader: Reader, pieces: Sequence[Piece]) -> Prompt:
    """Pieces as one text, with the special tokens that the tokenizer adds."""
    whole = text_prompt(reader, "".join(text for text, _ in pieces))
    return _split(whole, pieces, _places(pieces, 0, 0, len(whole.written)))


def _conversation(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], of_each: Sequence[Sequence[Piece]]
) -> Prompt:
    """Messages as the tokenizer's template writes them. of_each: the pieces of each message's content."""
    written = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
    starts = _starts(tokenizer, messages, written)
    places: list[Place] = []
    at = 0
    for i, pieces in enumerate(of_each):
        content = "".join(text for text, _ in pieces)
        kept = content.strip()
        start = starts[i] if starts else written.find(kept, at) if written[at:].count(kept) == 1 else -1
        if start < 0 or not kept:
            raise InputError(
                f"The chat template does not write message {i} ({quoted(content, 40)}) once and as it is, so that its "
                "tokens could not be told from the template's; expected its text, unchanged. Give the whole text as a "
                "prompt."
            )
        at = start + len(kept)
        places += _places(pieces, start - content.find(kept), start, at)
    batch = tokenizer([written], add_special_tokens=False, verbose=False)
    inputs = {name: list(batch[name][0]) for name in batch}
    tokens = tokens_of(tokenizer, batch, 0, inputs["input_ids"], written)
    whole = Prompt((written,), written, inputs, tokens, False)
    return _split(whole, [piece for pieces in of_each for piece in pieces], places)


def _starts(tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], written: str) -> list[int]:
    """Where each message's content begins in what the template has written, white space before it left out.

    The template writes the messages once more with a mark in the place of each content: what stands around the marks is
    the template's own, so that a message such as "user" is not taken for the name of its role. Empty where a template
    does more with a content than to take the white space off its ends.
    """
    marked = [{**m, "content": f"\ue000{i}\ue001"} for i, m in enumerate(messages)]
    again = tokenizer.apply_chat_template(marked, add_generation_prompt=True, tokenize=False)
    around = re.split("\ue000\\d+\ue001", again)
    found, at = list[int](), len(around[0])
    if len(around) != len(messages) + 1 or not written.startswith(around[0]):
        return []
    for m, after in zip(messages, around[1:], strict=True):
        kept = m["content"].strip()
        own = next((c for c in (m["content"], kept) if written.startswith(c + after, at)), None)
        if own is None:
            return []
        found.append(at + own.find(kept))
        at += len(own) + len(after)
    return found if at == len(written) else []


def _places(pieces: Sequence[Piece], origin: int, start: int, end: int) -> list[Place]:
    """Where each named piece stands in what is written, which has the first piece at `origin`, and only what is between
    start and end of them all."""
    found = []
    for text, name in pieces:
        if name is not None:
            found.append((max(origin, start), min(origin + len(text), end), origin))
        origin += len(text)
    return found


def _split(whole: Prompt, pieces: Sequence[Piece], places: Sequence[Place]) -> Prompt:
    """A prompt with each named piece as a text of its own. Tokens of none of them are special: the format's."""
    named = [(text, name) for text, name in pieces if name is not None]
    tokens = tuple(_in_piece(t, places) for t in whole.tokens)
    names = told_apart([name for _, name in named], RESERVED)
    return replace(whole, texts=tuple(t for t, _ in named), tokens=tokens, names=tuple(names))


def _in_piece(token: Token, places: Sequence[Place]) -> Token:
    """A token of what is written as one of the piece that it is in, or as one of the format's."""
    a, b = token.span or (0, 0)
    for i, (start, end, origin) in enumerate(places):
        if not token.special and a < end and b > start:
            return replace(token, segment=i, span=(max(a, start) - origin, min(b, end) - origin))
    near = sum(a >= end for _, end, _ in places)
    return replace(token, span=None, special=True, word=None, segment=min(near, len(places) - 1))
