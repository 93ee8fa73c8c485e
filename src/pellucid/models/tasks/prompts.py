"""Prompts: what comes before a continuation. A text, token ids, the messages of a conversation, documents with a
question, or named parts.

A prompt may hold several texts: the messages, documents or parts. Tokens of a text have spans in it. What the format
writes between the texts, such as a chat template's tokens, belongs to none of them: its tokens are special.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, TypeAlias

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
    written = _written(tokenizer, messages, tools)
    found = _Around.of(tokenizer, messages, written, tools)
    placed: list[tuple[Place, Piece]] = [*found.tools] if found is not None else []
    if tools and not placed:
        raise InputError(
            f"Found tools {quoted(tools, 80)}, which this tokenizer's chat template does not write, or not apart from "
            "the messages; expected a template that takes tools. Write them into a message."
        )
    at = 0
    for i, pieces in enumerate(of_each):
        content = "".join(text for text, _ in pieces)
        if not (kept := content.strip()):
            continue
        once = written[at:].count(kept) == 1
        start = found.starts[i] if found is not None else written.find(kept, at) if once else -1
        if start < 0:
            raise InputError(
                f"The chat template does not write message {i} ({quoted(content, 40)}) once and as it is, so that its "
                "tokens could not be told from the template's; expected its text, unchanged. Give the whole text as a "
                "prompt."
            )
        at = start + len(kept)
        named = [piece for piece in pieces if piece[1] is not None]
        placed += zip(_places(pieces, start - content.find(kept), start, at), named, strict=True)
    placed = sorted((each for each in placed if each[1][0].strip()), key=lambda each: each[0][:2])
    if not placed:
        raise InputError(f"Found no text in {quoted(messages, 80)}; expected a message with a content.")
    batch = tokenizer([written], add_special_tokens=False, verbose=False)
    inputs = {name: list(batch[name][0]) for name in batch}
    tokens = tokens_of(tokenizer, batch, 0, inputs["input_ids"], written)
    ends = frozenset(getattr(tokenizer, "all_special_ids", ()))
    made = [place for place, _ in (found.tools if found is not None else [])]  # with marks of turns: the template's
    within = lambda t: t.span is not None and any(t.span[0] >= start and t.span[1] <= end for start, end, _ in made)
    tokens = tuple(replace(t, special=True) if t.id in ends and within(t) else t for t in tokens)
    whole = Prompt((written,), written, inputs, tokens, False)
    return _split(whole, [piece for _, piece in placed], [place for place, _ in placed])


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
    """What a template writes around the contents of messages. starts: for each message where its content begins, white
    space before it left out; −1 for one without any. tools: each stretch that stands there for the tools, with its
    place."""

    starts: list[int]
    tools: list[tuple[Place, Piece]]

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], written: str, tools: object
    ) -> _Around | None:
        """Found by writing the messages once more with a mark in the place of each content: what stands around the
        marks is the template's own, so that a message such as "user" is not taken for the name of its role; and what of
        it is not there without the tools is the tools'. None where a template does more with a content than to take
        the white space off its ends."""
        own = [i for i, m in enumerate(messages) if (m.get("content") or "").strip()]
        marked = [{**m, "content": f"\ue000{i}\ue001"} if i in own else m for i, m in enumerate(messages)]
        around = _unmarked(_written(tokenizer, marked, tools))
        without = _unmarked(_written(tokenizer, marked, None)) if tools else around
        if len(around) != len(own) + 1 or len(without) != len(around):
            return None
        starts, found, at = [-1] * len(messages), list[tuple[Place, Piece]](), 0
        for k, (after, plain) in enumerate(zip(around, without, strict=True)):
            if k:
                content = messages[own[k - 1]]["content"]
                kept = content.strip()
                mine = next((c for c in (content, kept) if written.startswith(c + after, at)), None)
                if mine is None:
                    return None
                starts[own[k - 1]] = at + mine.find(kept)
                at += len(mine)
            elif not written.startswith(after):
                return None
            if after != plain:
                a, b = _inserted(after, plain)
                found.append(((at + a, at + b, at + a), (after[a:b], "tools")))
            at += len(after)
        return cls(starts, found) if at == len(written) else None


def _unmarked(text: str) -> list[str]:
    """What stands around the marks of contents."""
    return re.split("\ue000\\d+\ue001", text)


def _inserted(longer: str, shorter: str) -> tuple[int, int]:
    """Where the characters begin and end that one text has more than another."""
    alike = lambda a, b: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    start = alike(longer, shorter)
    return start, len(longer) - alike(longer[start:][::-1], shorter[start:][::-1])


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
