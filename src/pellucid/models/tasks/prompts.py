"""Prompts: what comes before a continuation. A text, token ids, or the messages of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...errors import InputError, quoted
from ...explanation import Token
from ..text.inputs import Ids
from ..text.reader import Reader
from ..text.token_spans import tokens_of
from ..text.tokenizer import Tokenizer
from ..text.tokenizing import encode


@dataclass(frozen=True)
class Prompt:
    """What comes before a continuation. texts: as the user wrote them. written: as the model reads them. inputs: one
    list of ints per name. added: whether the tokenizer adds its special tokens."""

    texts: tuple[str, ...]
    written: str
    inputs: Mapping[str, list[int]]
    tokens: tuple[Token, ...]
    added: bool

    @property
    def ids(self) -> list[int]:
        return self.inputs["input_ids"]


def text_prompt(reader: Reader, given: str | Ids) -> Prompt:
    """A text, or token ids, as a prompt of any length."""
    (found,) = encode(reader.tokenizer, [given], None)
    text = found.text if isinstance(found.text, str) else " ".join(found.text)
    return Prompt((text,), text, found.sequences[0], found.tokens, True)


def continuation_tokens(tokenizer: Tokenizer, prompt: Prompt, text: str, segment: int) -> tuple[Token, ...]:
    """The tokens of a continuation: those that the tokenizer makes of it behind the prompt, unless one would reach back
    into the prompt; then those that it makes of the continuation alone. segment: the number that its text gets."""
    batch = tokenizer([prompt.written + text], add_special_tokens=prompt.added, verbose=False)
    whole = _bare(tokens_of(tokenizer, batch, 0, list(batch["input_ids"][0]), prompt.written + text))
    before = _bare(prompt.tokens) if prompt.added else prompt.tokens
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


def chat_prompt(tokenizer: Tokenizer, messages: object) -> Prompt:
    """Messages as the tokenizer's template writes them. Tokens of their contents have spans in them; those of the
    template alone are special."""
    listed = list(messages) if isinstance(messages, (list, tuple)) else []
    contents = tuple(m["content"] for m in listed if isinstance(m, Mapping) and isinstance(m.get("content"), str))
    if not listed or len(contents) < len(listed):
        raise InputError(
            f"Found {quoted(messages, 80)} as messages; expected a list of {{'role': 'user', 'content': 'a text'}}."
        )
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            "Found messages, and this tokenizer has no chat template to write them with; expected a model made for "
            "conversations. Give the text as a prompt, or set tokenizer.chat_template."
        )
    written = tokenizer.apply_chat_template(listed, add_generation_prompt=True, tokenize=False)
    places, at = [], 0
    for i, content in enumerate(contents):
        kept = content.strip()
        start = written.find(kept, at)
        if start < 0 or not kept:
            raise InputError(
                f"The chat template does not write message {i} ({quoted(content, 40)}) as it is, so that its tokens "
                "could not be told from the template's; expected its text, unchanged. Give the whole text as a prompt."
            )
        at = start + len(kept)
        places.append((start, at, start - content.find(kept)))
    batch = tokenizer([written], add_special_tokens=False, verbose=False)
    inputs = {name: list(batch[name][0]) for name in batch}
    tokens = tokens_of(tokenizer, batch, 0, inputs["input_ids"], written)
    return Prompt(contents, written, inputs, tuple(_in_message(t, places) for t in tokens), False)


def _in_message(token: Token, places: Sequence[tuple[int, int, int]]) -> Token:
    """A token of the written conversation as one of the message that it is in, or as one of the template's."""
    a, b = token.span or (0, 0)
    for i, (start, end, origin) in enumerate(places):
        if not token.special and a < end and b > start:
            return replace(token, segment=i, span=(max(a, start) - origin, min(b, end) - origin))
    near = sum(a >= end for _, end, _ in places)
    return replace(token, span=None, special=True, word=None, segment=min(near, len(places) - 1))
