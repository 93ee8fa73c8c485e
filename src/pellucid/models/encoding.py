"""From what the user wrote to token ids, each with its place in the original text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import InputError, TextTooLong
from ..explanation import Token

if TYPE_CHECKING:
    from .model import Model


_NEXT_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Encoding:
    """One input of the user's as the model takes it.

    text: as the user gave it. sequences: what goes into the model, each one list of ints per name of an input; most
    tasks have one. tokens: what they stand for, those of all sequences one after the other. asked: what else the input
    said, for its task. kind: only inputs of one kind share a batch.
    """

    text: str | tuple[str, ...]
    sequences: tuple[Mapping[str, Any], ...]
    tokens: tuple[Token, ...]
    asked: Mapping[str, Any] = field(default_factory=dict)
    kind: Hashable = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def widths(self) -> tuple[int, ...]:
        """How long each sequence is."""
        return tuple(len(next(iter(s.values()))) for s in self.sequences)

    @property
    def ids(self) -> list[int]:
        return [t.id for t in self.tokens]


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


def encode(tokenizer: Any, items: Sequence[Any], limit: int | None, truncate: bool | str = False) -> list[Encoding]:
    """Each item's ids and tokens, in order. Raises InputError on an empty text, TextTooLong beyond `limit` tokens.

    truncate: True, or which text of a pair is cut, as the tokenizer names it: "only_first", "only_second".
    """
    pairs = [read(item) for item in items]
    for i, (text, pair) in enumerate(pairs):
        empty = next((t for t in (text, pair) if t is not None and not t.strip()), None)
        if empty is not None:
            which = "" if pair is None else " in its first text" if empty is text else " in its second text"
            raise InputError(f"Input {i} is empty{which} ({empty!r:.40}); expected a text with at least one word.")
    how: dict[str, Any] = {"truncation": truncate, "max_length": limit} if truncate and limit else {"truncation": False}
    result: list[Encoding | None] = [None] * len(items)
    for paired in (False, True):
        chosen = [i for i, (_, pair) in enumerate(pairs) if (pair is not None) == paired]
        if not chosen:
            continue
        second = [pairs[i][1] for i in chosen] if paired else None
        if paired and limit and isinstance(truncate, str):
            _check_room(tokenizer, [pairs[i][truncate == "only_first"] for i in chosen], limit)
        batch = tokenizer([pairs[i][0] for i in chosen], second, verbose=False, **how)
        for k, i in enumerate(chosen):
            text = pairs[i] if paired else pairs[i][0]
            inputs = {name: list(batch[name][k]) for name in batch}
            if limit is not None and len(inputs["input_ids"]) > limit:
                raise TextTooLong(
                    f"Input {i} has {len(inputs['input_ids'])} tokens; this model takes {limit}. Shorten it, or pass "
                    "truncate=True (--truncate) to explain its beginning only, or window=… (--window) to explain its "
                    "parts."
                )
            tokens = tokens_of(tokenizer, batch, k, inputs["input_ids"], text)  # type: ignore[arg-type]
            if all(t.special for t in tokens):
                raise InputError(f"Input {i} ({text!r:.40}) has no tokens of its own; expected a text with a word.")
            ends = sum(t.special for t in tokens)  # BART refuses a batch whose rows do not all have as many </s>
            result[i] = Encoding(text, (inputs,), tokens, kind=ends)  # type: ignore[arg-type]
    return [e for e in result if e is not None]


def _check_room(tokenizer: Any, whole: Sequence[Any], limit: int) -> None:
    """Raises TextTooLong where the text of a pair that is not cut leaves no room for the other."""
    added = tokenizer.num_special_tokens_to_add(pair=True)
    for text, ids in zip(whole, tokenizer(list(whole), add_special_tokens=False)["input_ids"], strict=True):
        if len(ids) + added >= limit:
            raise TextTooLong(
                f"{text!r:.60} alone has {len(ids)} tokens, and {added} more are added; this model takes {limit}. That "
                "leaves no room for the text that it goes with. Shorten it: only the other text is cut."
            )


def encoded(model: Model, items: Sequence[Any], truncate: bool = False, max_new_tokens: int = 0) -> list[Encoding]:
    """Texts and pairs, as `encode`: what most tasks take."""
    return encode(model.tokenizer, items, model.limit, truncate)


def joined(
    text: tuple[str, ...], encodings: Sequence[Encoding], segments: Sequence[Sequence[int]], **more: Any
) -> Encoding:
    """Several encodings as one of several sequences. segments: for each, which of the texts its own segments are."""
    return Encoding(
        text,
        tuple(s for e in encodings for s in e.sequences),
        tuple(replace(t, segment=to[t.segment]) for e, to in zip(encodings, segments, strict=True) for t in e.tokens),
        **more,
    )


def tokens_of(tokenizer: Any, batch: Any, k: int, ids: list[int], text: str | tuple[str, str]) -> tuple[Token, ...]:
    parts = (text,) if isinstance(text, str) else text
    if getattr(batch, "encodings", None):
        fast = batch.encodings[k]
        names, spans, marks = fast.tokens, fast.offsets, fast.special_tokens_mask
        words, segments = fast.word_ids, fast.sequence_ids
    else:
        names = tokenizer.convert_ids_to_tokens(ids)
        marks = tokenizer.get_special_tokens_mask(ids, already_has_special_tokens=True)
        typed = {getattr(tokenizer, f"{n}_token_id", None) for n in ("unk", "mask")}  # stand for what the user wrote
        marks = [0 if i in typed else mark for i, mark in zip(ids, marks, strict=True)]
        pieces = _as_cut(tokenizer, names, marks, parts)
        spans, segments = _aligned(pieces, marks, parts, getattr(tokenizer, "unk_token", None))
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
        end = end if name.strip("▁") else start  # a mark of a word's beginning, where no white space need be
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


def _folded(text: str) -> str:
    """As many characters, in lower case and without accents: a tokenizer may have taken them away."""
    return "".join(map(_fold, text))


@cache
def _fold(c: str) -> str:
    first, *rest = unicodedata.normalize("NFD", c.lower())
    return first if all(map(unicodedata.combining, rest)) else c


def _as_cut(tokenizer: Any, names: list[str], marks: list[int], parts: tuple[str, ...]) -> list[str]:
    """The tokens' names; where the tokenizer can still say it, the piece of text in the place of an unknown token."""
    cuts: Any = getattr(tokenizer, "tokenize", lambda part: ())
    cut = [piece for part in parts for piece in cuts(part)]
    if len(cut) != len(marks) - sum(map(bool, marks)):
        return names
    pieces = iter(cut)
    return [name if special else next(pieces) for name, special in zip(names, marks, strict=True)]


def _aligned(
    names: list[str], marks: list[int], parts: tuple[str, ...], unknown: str | None
) -> tuple[list[tuple[int, int]], list[int | None]]:
    """Spans for a tokenizer that keeps none: each piece is looked for from where the last one ended.
    The unknown token is the word, or else the sign, that comes next."""
    spans: list[tuple[int, int]] = []
    segments: list[int | None] = []
    folded = [_folded(part) for part in parts]
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
        piece = _folded(name.replace("##", "").replace("▁", "").replace("Ġ", "").replace("</w>", ""))
        found = folded[segment].find(piece, at) if piece else at
        start, end = (at, at) if found < 0 else (found, found + len(piece))
        if name == unknown and (word := _NEXT_WORD.search(parts[segment], at)):
            start, end = word.span()
        spans.append((start, end))
        segments.append(segment)
        at = end
    return spans, segments


def collate(
    tokenizer: Any, encodings: Sequence[Encoding], device: Any
) -> tuple[tuple[dict[str, Tensor], ...], tuple[Tensor, ...]]:
    """For each sequence the model's inputs (rows, tokens), padded on the tokenizer's side, and which positions are a
    row's own."""
    sequences = list(zip(*(e.sequences for e in encodings), strict=True))
    made = [_padded(tokenizer, rows, device) for rows in sequences]
    return tuple(batch for batch, _ in made), tuple(own for _, own in made)


def _padded(tokenizer: Any, rows: Sequence[Mapping[str, Any]], device: Any) -> tuple[dict[str, Tensor], Tensor]:
    """One sequence of each row, padded. Inputs may be nested: several numbers for each token."""
    lengths = [len(next(iter(r.values()))) for r in rows]
    width = max(lengths)
    left = getattr(tokenizer, "padding_side", "right") == "left"
    fill = {"input_ids": getattr(tokenizer, "pad_token_id", None) or 0}
    fill["token_type_ids"] = getattr(tokenizer, "pad_token_type_id", None) or 0

    def padded(values: Sequence[Any], blank: Any) -> list[Any]:
        nested = values and isinstance(values[0], (list, tuple))  # a box, the seven types of a cell: several numbers
        blanks = [[0] * len(values[0]) if nested else blank] * (width - len(values))
        return [*blanks, *values] if left else [*values, *blanks]

    batch = {name: torch.tensor([padded(r[name], fill.get(name, 0)) for r in rows], device=device) for name in rows[0]}
    own = torch.tensor([padded([1] * n, 0) for n in lengths], dtype=torch.bool, device=device)
    return batch, own


def widths(owns: Sequence[Tensor]) -> list[int]:
    """How many positions each sequence of a batch has, from which positions are a row's own (rows, tokens)."""
    return [own.shape[1] for own in owns]
