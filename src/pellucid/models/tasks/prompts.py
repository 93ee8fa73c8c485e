"""Prompts: what comes before a continuation. A text, token ids, the messages of a conversation, documents with a
question, or named parts.

A prompt may hold several texts: the messages, documents or parts. Tokens of a text have spans in it. What the format
writes between the texts, such as a chat template's tokens, belongs to none of them: its tokens are special.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, TypeAlias

from torch import Tensor

from ...errors import InputError, quoted, shortened
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
Place: TypeAlias = tuple[int, int, int, int]
"""Where a text, or a part of one, stands in what is written: (start, end, where the text's own character 0 would stand,
the number of the text)."""
Write: TypeAlias = Callable[[Sequence[str]], str]
"""What the format writes of a conversation with these texts as its contents, in order."""


@dataclass(frozen=True)
class Prompt:
    """What comes before a continuation. texts: as the user wrote them. written: as the model reads them. inputs: one
    list of ints per name. added: whether the tokenizer adds its special tokens. ended: how many of them it adds at the
    end, where a continuation comes in their place. names: of the texts, where they have any. beside: what else the
    model reads, such as the pixels of images, as its forward takes it for one row."""

    texts: tuple[str, ...]
    written: str
    inputs: Mapping[str, list[int]]
    tokens: tuple[Token, ...]
    added: bool
    ended: int = 0
    names: tuple[str, ...] = ()
    beside: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    @property
    def ids(self) -> list[int]:
        return self.inputs["input_ids"]


def text_prompt(reader: Reader, given: str | Ids) -> Prompt:
    """A text, or token ids, as a prompt of any length."""
    (found,) = encode(reader.tokenizer, [given], None)
    text = found.text if isinstance(found.text, str) else " ".join(found.text)
    ended = len(found.tokens) - len(bare(found.tokens))
    return Prompt((text,), text, found.sequences[0], found.tokens, True, ended)


def continuation_tokens(tokenizer: Tokenizer, prompt: Prompt, text: str, segment: int) -> tuple[Token, ...]:
    """The tokens of a continuation: those that the tokenizer makes of it behind the prompt, unless one would reach back
    into the prompt; then those that it makes of the continuation alone. segment: the number that its text gets."""
    batch = tokenizer([prompt.written + text], add_special_tokens=prompt.added, verbose=False)
    whole = bare(tokens_of(tokenizer, batch, 0, list(batch["input_ids"][0]), prompt.written + text))
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


def bare(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    """The tokens of a text without the special tokens that end it."""
    return tokens[: max((i + 1 for i, t in enumerate(tokens) if not t.special), default=0)]


def chat_prompt(tokenizer: Tokenizer, messages: object, documents: object = None, tools: object = None) -> Prompt:
    """Messages as the tokenizer's template writes them: each is a text of its own, named by its role, unless it has no
    content, as one that only calls a tool. documents: texts that the last message of a user begins with, as
    `documents_prompt` has them. tools: what the model may call, as `apply_chat_template` takes it: what the template
    writes of them is a text of its own, "tools"."""
    listed = list(messages) if isinstance(messages, (list, tuple)) else []
    told = [_message(m) for m in listed]
    if not listed or None in told:
        raise InputError(
            f"Found {quoted(messages, 80)} as messages; expected a list of {{'role': 'user', 'content': 'a text'}}. A "
            "content may also be a list of parts {'type': 'text', 'text': …}, and none where there are 'tool_calls'."
        )
    if not has_template(tokenizer):
        raise InputError(
            "Found messages, and this tokenizer has no chat template to write them with; expected a model made for "
            "conversations. Give the text as a prompt, or set tokenizer.chat_template."
        )
    own = [m for m in told if m is not None]
    names = told_apart([m["role"] for m in own])
    of_each: list[list[Piece]] = [[(m.get("content") or "", name)] for m, name in zip(own, names, strict=True)]
    if documents is not None:
        asking = max((i for i, m in enumerate(own) if m["role"] == "user"), default=len(own) - 1)
        of_each[asking] = [*_documents(documents), *of_each[asking]]
        own[asking] = {**own[asking], "content": "".join(t for t, _ in of_each[asking])}
    return _conversation(tokenizer, own, of_each, tools)


def _message(given: object) -> dict[str, Any] | None:
    """A message with a text, or with none, as its content; None for what is no message."""
    if not isinstance(given, Mapping) or not isinstance(given.get("role"), str):
        return None
    content = given.get("content")
    if isinstance(content, (list, tuple)):
        texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        if len(texts) < len(content) or not all(isinstance(text, str) for text in texts):
            return None
        content = "".join(map(str, texts))
    if content is None and "content" not in given and "tool_calls" not in given:
        return None
    message = {"role": "", **given} | ({"content": content} if "content" in given else {})
    return message if content is None or isinstance(content, str) else None


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
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    of_each: Sequence[Sequence[Piece]],
    tools: object = None,
) -> Prompt:
    """Messages as the tokenizer's template writes them. of_each: the pieces of each message's content."""
    own = [i for i, pieces in enumerate(of_each) if "".join(text for text, _ in pieces).strip()]
    if not own and not tools:
        raise InputError(f"Found no text in {quoted(messages, 80)}; expected a message with a content.")

    def write(contents: Sequence[str], tools: object = tools) -> str:
        filled = dict(zip(own, contents, strict=True))
        told = [{**m, "content": filled[i]} if i in filled else m for i, m in enumerate(messages)]
        return _written(tokenizer, told, tools)

    without = (lambda contents: write(contents, None)) if tools else None
    written, texts, made = placed(write, [of_each[i] for i in own], without)
    if tools and not made:
        raise InputError(
            f"Found tools {quoted(tools, 80)}, which this tokenizer's chat template does not write, or not apart from "
            "the messages; expected a template that takes tools. Write them into a message."
        )
    batch = tokenizer([written], add_special_tokens=False, verbose=False)
    inputs = {name: list(batch[name][0]) for name in batch}
    tokens = tokens_of(tokenizer, batch, 0, inputs["input_ids"], written)
    ends = frozenset(getattr(tokenizer, "all_special_ids", ()))  # with marks of turns: the template's
    within = lambda t: t.span is not None and any(t.span[0] >= p[0] and t.span[1] <= p[1] for p, _ in made)
    tokens = tuple(replace(t, special=True) if t.id in ends and within(t) else t for t in tokens)
    whole = Prompt((written,), written, inputs, tokens, False)
    in_order = sorted([*texts, *made], key=lambda each: each[0][:2])
    return _split(whole, [piece for _, piece in in_order], numbered(in_order))


def numbered(texts: Sequence[tuple[Place, Piece]]) -> list[Place]:
    """The places of texts, each with the text's number in this order."""
    return [(start, end, origin, i) for i, ((start, end, origin, _), _) in enumerate(texts)]


def placed(
    write: Write, of_each: Sequence[Sequence[Piece]], without: Write | None = None
) -> tuple[str, list[tuple[Place, Piece]], list[tuple[Place, Piece]]]:
    """What a format writes, each named piece with its place in it, and what stands there that is not in the messages.

    of_each: the pieces of each content, none of which is empty. without: what the format writes without tools; what it
    writes of these is named "tools". Raises InputError where a content is not written once and as it is.
    """
    contents = ["".join(text for text, _ in pieces) for pieces in of_each]
    written = write(contents)
    around = _Around.of(write, contents, written, without)
    texts: list[tuple[Place, Piece]] = []
    at = 0
    for i, (content, pieces) in enumerate(zip(contents, of_each, strict=True)):
        kept = content.strip()
        once = written[at:].count(kept) == 1
        start = around.starts[i] if around is not None else written.find(kept, at) if once else -1
        if start < 0 or not kept:
            raise InputError(
                f"The chat template does not write message {i} ({quoted(content, 40)}) once and as it is, so that its "
                "tokens could not be told from the template's; expected its text, unchanged. Give the whole text as a "
                "prompt."
            )
        at = start + len(kept)
        named = [piece for piece in pieces if piece[1] is not None]
        texts += zip(_places(pieces, start - content.find(kept), start, at), named, strict=True)
    return written, [each for each in texts if each[1][0].strip()], around.tools if around is not None else []


def _written(tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], tools: object) -> str:
    """What the tokenizer's template makes of messages, where it does not take messages without a content of those with
    an empty one. Raises InputError where it refuses them."""
    from jinja2 import TemplateError

    more: dict[str, Any] = {"tools": tools} if tools else {}
    try:
        return tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False, **more)
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        if any(m.get("content") is None for m in messages):
            return _written(tokenizer, [{**m, "content": m.get("content") or ""} for m in messages], tools)
        roles = ", ".join(str(m.get("role")) for m in messages)
        raise InputError(
            f"The tokenizer's chat template refused the messages ({roles}): {type(error).__name__}: "
            f"{shortened(str(error), 200)}. Expected messages that the template writes. Change them, or give the whole "
            "text as a prompt."
        ) from error


@dataclass(frozen=True)
class _Around:
    """What a format writes around the contents of messages. starts: where each content begins, white space before it
    left out. tools: each stretch that stands there for the tools, with its place."""

    starts: list[int]
    tools: list[tuple[Place, Piece]]

    @classmethod
    def of(cls, write: Write, contents: Sequence[str], written: str, without: Write | None) -> _Around | None:
        """Found by writing the messages once more with a mark in the place of each content: what stands around the
        marks is the format's own, so that a message such as "user" is not taken for the name of its role; and what of
        it is not there without the tools is the tools'. None where a format does more with a content than to take the
        white space off its ends."""
        around = _around_marks(write, len(contents))
        plain = around if without is None else _around_marks(without, len(contents))
        if len(around) != len(contents) + 1 or len(plain) != len(around) or not written.startswith(around[0]):
            return None
        starts, found, at = list[int](), list[tuple[Place, Piece]](), 0
        for content, after, bare in zip((None, *contents), around, plain, strict=True):
            if content is not None:
                kept = content.strip()
                mine = next((c for c in (content, kept) if written.startswith(c + after, at)), None)
                if mine is None:
                    return None
                starts.append(at + mine.find(kept))
                at += len(mine)
            a, b = _inserted(after, bare)
            if after[a:b].strip():
                found.append(((at + a, at + b, at + a, 0), (after[a:b], "tools")))
            at += len(after)
        return cls(starts, found) if at == len(written) else None


def _around_marks(write: Write, n: int) -> list[str]:
    """What stands around n contents."""
    return re.split("\ue000\\d+\ue001", write([f"\ue000{i}\ue001" for i in range(n)]))


def _inserted(longer: str, shorter: str) -> tuple[int, int]:
    """Where the characters begin and end that one text has more than another."""
    alike = lambda a, b: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    start = alike(longer, shorter)
    return start, len(longer) - alike(longer[start:][::-1], shorter[start:][::-1])


def _places(pieces: Sequence[Piece], origin: int, start: int, end: int) -> list[Place]:
    """Where each named piece stands in what is written, which has the first piece at `origin`, and only what is between
    start and end of them all, numbered in their order."""
    found: list[Place] = []
    for text, name in pieces:
        if name is not None:
            found.append((max(origin, start), min(origin + len(text), end), origin, len(found)))
        origin += len(text)
    return found


def _split(whole: Prompt, pieces: Sequence[Piece], places: Sequence[Place]) -> Prompt:
    """A prompt with each named piece as a text of its own. Tokens of none of them are special: the format's."""
    named = [(text, name) for text, name in pieces if name is not None]
    tokens = tuple(in_text(t, places) for t in whole.tokens)
    names = told_apart([name for _, name in named], RESERVED)
    return replace(whole, texts=tuple(t for t, _ in named), tokens=tokens, names=tuple(names))


def in_text(token: Token, places: Sequence[Place]) -> Token:
    """A token of what is written as one of the text that it is in, or as one of the format's."""
    a, b = token.span or (0, 0)
    for start, end, origin, number in places:
        if not token.special and a < end and b > start:
            return replace(token, segment=number, span=(max(a, start) - origin, min(b, end) - origin))
    near = sum(a >= end for _, end, _, _ in places)
    return replace(token, span=None, special=True, word=None, segment=places[min(near, len(places) - 1)][3])
