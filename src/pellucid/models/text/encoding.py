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

from ...errors import InputError, TextTooLong
from ...explanation import Token
from .decoding import decoded, special_among, spelled_out, stretches
from .inputs import TEXT_OR_PAIR, Ids

if TYPE_CHECKING:
    from ..model import Model


_NEXT_WORD = re.compile(r"\w+|[^\w\s]")


Unread = tuple[int, int, int]
"""A part of the text that the model did not read: (segment, start, end) in characters."""


@dataclass(frozen=True)
class Encoding:
    """One input of the user's as the model takes it.

    text: as the user gave it. sequences: what goes into the model, each one list of ints per name of an input; most
    tasks have one. tokens: what they stand for, those of all sequences one after the other. asked: what else the input
    said, for its task. kind: only inputs of one kind share a batch. label: the true one by name, or that of each token.
    unread: the parts of the text that truncation left out; cut: of how many tokens they are.
    """

    text: str | tuple[str, ...]
    sequences: tuple[Mapping[str, Any], ...]
    tokens: tuple[Token, ...]
    asked: Mapping[str, Any] = field(default_factory=dict)
    kind: Hashable = None
    label: str | tuple[str | None, ...] | None = None
    unread: tuple[Unread, ...] = ()
    cut: int = 0

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
    """A text and its pair, if any. Raises InputError."""
    if isinstance(item, str):
        return item, None
    if isinstance(item, tuple) and len(item) == 2 and all(isinstance(part, str) for part in item):
        return item[0], item[1]
    raise InputError(f"Found {item!r:.80} as an input; expected {TEXT_OR_PAIR.says}.")


def encode(tokenizer: Any, items: Sequence[Any], limit: int | None, truncate: bool | str = False) -> list[Encoding]:
    """Each item's ids and tokens, in order. Raises InputError on an empty text, TextTooLong beyond `limit` tokens.

    items: texts, pairs, or Ids. truncate: True, or which text of a pair is cut, as the tokenizer names it:
    "only_first", "only_second".
    """
    texts = {i: read(item) for i, item in enumerate(items) if not isinstance(item, Ids)}
    for i, (text, pair) in texts.items():
        empty = next((t for t in (text, pair) if t is not None and not t.strip()), None)
        if empty is not None:
            which = "" if pair is None else " in its first text" if empty is text else " in its second text"
            raise InputError(f"Input {i} is empty{which} ({empty!r:.40}); expected a text with at least one word.")
    found = {i: of_ids(tokenizer, item) for i, item in enumerate(items) if isinstance(item, Ids)}
    for paired in (False, True):
        chosen = [i for i, (_, pair) in texts.items() if (pair is not None) == paired]
        found |= _tokenized(tokenizer, {i: texts[i] if paired else texts[i][0] for i in chosen})  # type: ignore[misc]
    long = [i for i, e in found.items() if limit is not None and len(e) > limit]
    if long and not truncate:
        raise TextTooLong(
            f"Input {min(long)} has {len(found[min(long)])} tokens; this model takes {limit}. Shorten it, or pass "
            "truncate=True (--truncate) to explain its beginning only, or window=… (--window) to explain its parts."
        )
    for i in long:
        found[i] = _shortened(tokenizer, items[i], found[i], limit or 0, truncate)
    for i, e in found.items():
        if all(t.special for t in e.tokens):
            raise InputError(f"Input {i} ({e.text!r:.40}) has no tokens of its own; expected a text with a word.")
    return [found[i] for i in range(len(items))]


def _tokenized(tokenizer: Any, texts: Mapping[int, str | tuple[str, str]], **how: Any) -> dict[int, Encoding]:
    """Texts, or pairs, as the tokenizer reads them."""
    if not texts:
        return {}
    pairs = [t for t in texts.values() if isinstance(t, tuple)]
    first = [a for a, _ in pairs] or list(texts.values())
    batch = tokenizer(first, [b for _, b in pairs] or None, verbose=False, **{"truncation": False, **how})
    found = {}
    for k, (i, text) in enumerate(texts.items()):
        inputs = {name: list(batch[name][k]) for name in batch}
        found[i] = _encoding(text, inputs, tokens_of(tokenizer, batch, k, inputs["input_ids"], text))
    return found


def _encoding(text: Any, inputs: Mapping[str, list[Any]], tokens: tuple[Token, ...], **more: Any) -> Encoding:
    ends = sum(t.special for t in tokens)  # BART refuses a batch whose rows do not all have as many </s>
    return Encoding(text, (inputs,), tokens, kind=ends, **more)


def _shortened(tokenizer: Any, item: Any, whole: Encoding, limit: int, truncate: bool | str) -> Encoding:
    """The tokens of an input that the model takes, and which part of its text they leave out."""
    if isinstance(item, Ids):
        ends = next((k for k, t in enumerate(reversed(whole.tokens)) if not t.special), 0)
        kept = [*range(limit - ends), *range(len(whole) - ends, len(whole))]
        (inputs,) = whole.sequences
        inputs = {name: [values[k] for k in kept] for name, values in inputs.items()}
        short = _encoding(whole.text, inputs, tuple(whole.tokens[k] for k in kept))
    else:
        if isinstance(item, tuple) and isinstance(truncate, str):
            _check_room(tokenizer, [item[truncate == "only_first"]], limit)
        (short,) = _tokenized(tokenizer, {0: item}, truncation=truncate, max_length=limit).values()
    return replace(short, unread=left_out(whole.tokens, short.tokens), cut=len(whole) - len(short))


def left_out(whole: Sequence[Token], read: Sequence[Token]) -> tuple[Unread, ...]:
    """The parts of the text that stand between tokens which were read, or behind them, and in others alone."""
    seen = {(t.segment, t.span) for t in read if not t.special}
    parts: list[Unread] = []
    begun = False
    for t in whole:
        if t.special or t.span is None:
            continue
        missed = (t.segment, t.span) not in seen
        if missed and begun and parts[-1][0] == t.segment:
            parts[-1] = (t.segment, parts[-1][1], max(parts[-1][2], t.span[1]))
        elif missed:
            parts.append((t.segment, *t.span))
        begun = missed
    return tuple(parts)


def of_ids(tokenizer: Any, given: Ids) -> Encoding:
    """Token ids as they are, with the text that they stand for: one of which the tokenizer makes these ids, or else
    what they are when decoded."""
    ids = given.inputs["input_ids"]
    if not ids or min(ids) < 0 or max(ids) >= len(tokenizer):
        raise InputError(
            f"Found token ids {ids!r:.80}; expected at least one, each from 0 to {len(tokenizer) - 1}, as this "
            "tokenizer numbers its tokens."
        )
    inputs = {"attention_mask": [1] * len(ids), **given.inputs}
    written = [decoded(tokenizer, run) for run in stretches(ids, special_among(tokenizer, ids))]
    for texts in (*given.texts, tuple(written)):
        if len(texts) in (1, 2) and all(t.strip() for t in texts):
            same = _tokenized(tokenizer, {0: (texts[0], texts[1]) if len(texts) == 2 else texts[0]})[0]
            if same.ids == ids:
                return replace(same, sequences=(inputs,))
    text, tokens = spelled_out(tokenizer, ids)
    return _encoding(text, inputs, tokens)


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
        unread=tuple(
            dict.fromkeys((to[s], a, b) for e, to in zip(encodings, segments, strict=True) for s, a, b in e.unread)
        ),
        cut=sum(e.cut for e in encodings),
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
