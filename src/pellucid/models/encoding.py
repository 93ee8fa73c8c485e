"""From what the user wrote to token ids, each with its place in the original text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, TextTooLong
from ..explanation import Token


@dataclass(frozen=True)
class Encoding:
    """text: as the user gave it. inputs: the model's inputs, one list of ints per name. tokens: what they stand for."""

    text: str | tuple[str, str]
    inputs: Mapping[str, list[int]]
    tokens: tuple[Token, ...]

    def __len__(self) -> int:
        return len(self.tokens)


def read(item: Any) -> tuple[str, str | None]:
    """A text and its pair, if any, from what the user passed. Raises InputError."""
    if isinstance(item, str):
        return item, None
    if isinstance(item, Mapping):
        for first, second in (("question", "context"), ("premise", "hypothesis"), ("text", "text_pair")):
            if first in item and set(item) <= {first, second}:
                return read((item[first], item[second])) if second in item else read(item[first])
    if isinstance(item, (tuple, list)) and len(item) == 2 and all(isinstance(part, str) for part in item):
        return item[0], item[1]
    raise InputError(
        f"Found {item!r:.80} as an input; expected a text, a pair ('a', 'b'), or a mapping such as "
        "{'text': …, 'text_pair': …} or {'question': …, 'context': …}."
    )


def encode(tokenizer: Any, items: Sequence[Any], limit: int | None, truncate: bool = False) -> list[Encoding]:
    """Each item's ids and tokens, in order. Raises InputError on an empty text, TextTooLong beyond `limit` tokens."""
    pairs = [read(item) for item in items]
    for i, (text, pair) in enumerate(pairs):
        if not text.strip() or (pair is not None and not pair.strip()):
            raise InputError(f"Input {i} is empty ({pairs[i][0]!r:.40}); expected a text with at least one word.")
    how: dict[str, Any] = {"truncation": True, "max_length": limit} if truncate and limit else {"truncation": False}
    result: list[Encoding | None] = [None] * len(items)
    for paired in (False, True):
        chosen = [i for i, (_, pair) in enumerate(pairs) if (pair is not None) == paired]
        if not chosen:
            continue
        second = [pairs[i][1] for i in chosen] if paired else None
        batch = tokenizer([pairs[i][0] for i in chosen], second, verbose=False, **how)
        for k, i in enumerate(chosen):
            text = pairs[i] if paired else pairs[i][0]
            inputs = {name: list(batch[name][k]) for name in batch}
            if limit is not None and len(inputs["input_ids"]) > limit:
                raise TextTooLong(
                    f"Input {i} has {len(inputs['input_ids'])} tokens; this model takes {limit}. Shorten it, or pass "
                    "truncate=True (--truncate) to explain its beginning only."
                )
            tokens = _tokens(tokenizer, batch, k, inputs["input_ids"], text)  # type: ignore[arg-type]
            if all(t.special for t in tokens):
                raise InputError(f"Input {i} ({text!r:.40}) has no tokens of its own; expected a text with a word.")
            result[i] = Encoding(text, inputs, tokens)  # type: ignore[arg-type]
    return [e for e in result if e is not None]


def _tokens(tokenizer: Any, batch: Any, k: int, ids: list[int], text: str | tuple[str, str]) -> tuple[Token, ...]:
    parts = (text,) if isinstance(text, str) else text
    if getattr(batch, "encodings", None):
        fast = batch.encodings[k]
        names, spans, marks = fast.tokens, fast.offsets, fast.special_tokens_mask
        words, segments = fast.word_ids, fast.sequence_ids
    else:
        names = tokenizer.convert_ids_to_tokens(ids)
        marks = tokenizer.get_special_tokens_mask(ids, already_has_special_tokens=True)
        spans, segments = _aligned(names, marks, parts)
        words = list(range(len(names)))
        words = [None if m else w for w, m in zip(words, marks, strict=True)]
    tokens: list[Token] = []
    segment = word = -1
    before: tuple[Any, ...] = ()
    for name, token_id, span, special, piece_of, own in zip(names, ids, spans, marks, words, segments, strict=True):
        segment = max(segment, 0) if own is None else own
        if special:
            tokens.append(Token(name, token_id, None, True, None, segment))
            before = ()
            continue
        start, end = _trimmed(parts[segment], *span)
        joined = before and before[:2] == (segment, piece_of) and not _has_space(parts[segment][before[2] : start])
        word += 0 if joined else 1
        tokens.append(Token(name, token_id, (start, end), False, word, segment))
        before = (segment, piece_of, end)
    return tuple(tokens)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the white space that some tokenizers count to a word."""
    while start < end and text[start].isspace():
        start += 1
    return start, end


def _has_space(gap: str) -> bool:
    return any(c.isspace() for c in gap)


def _aligned(
    names: list[str], marks: list[int], parts: tuple[str, ...]
) -> tuple[list[tuple[int, int]], list[int | None]]:
    """Spans for a tokenizer that keeps none: each piece is looked for from where the last one ended."""
    spans: list[tuple[int, int]] = []
    segments: list[int | None] = []
    segment = at = 0
    seen_own = False
    for name, special in zip(names, marks, strict=True):
        if special:
            if seen_own and segment + 1 < len(parts):
                segment, at, seen_own = segment + 1, 0, False
            spans.append((0, 0))
            segments.append(None)
            continue
        seen_own = True
        piece = name.replace("##", "").replace("▁", "").replace("Ġ", "").replace("</w>", "").lower()
        found = parts[segment].lower().find(piece, at) if piece else at
        start, end = (at, at) if found < 0 else (found, found + len(piece))
        spans.append((start, end))
        segments.append(segment)
        at = end
    return spans, segments


def collate(tokenizer: Any, encodings: Sequence[Encoding], device: Any) -> tuple[dict[str, Tensor], Tensor]:
    """The model's inputs (rows, tokens), padded on the tokenizer's side, and which positions are a row's own."""
    width = max(map(len, encodings))
    left = getattr(tokenizer, "padding_side", "right") == "left"
    fill = {"input_ids": getattr(tokenizer, "pad_token_id", None) or 0}
    fill["token_type_ids"] = getattr(tokenizer, "pad_token_type_id", None) or 0

    def padded(values: list[int], blank: int) -> list[int]:
        blanks = [blank] * (width - len(values))
        return blanks + values if left else values + blanks

    batch = {
        name: torch.tensor([padded(list(e.inputs[name]), fill.get(name, 0)) for e in encodings], device=device)
        for name in encodings[0].inputs
    }
    own = torch.tensor([padded([1] * len(e), 0) for e in encodings], dtype=torch.bool, device=device)
    return batch, own
