"""Texts, pairs of texts and given token ids as a tokenizer's ids, each with its place in the original text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...errors import InputError, TextTooLong, quoted
from ...tokens import Token
from .decoding import decoded, special_among, spelled_out, stretches
from .encoding import Encoding, SequenceInputs, left_out
from .inputs import TEXT_OR_PAIR, Ids, Value
from .token_spans import tokens_of
from .tokenizer import Tokenizer, special_id

Item = Value
"""What a form made of a user's input: a text, a pair of texts, `Ids`, or a mapping that the task reads."""


def text_and_pair(item: Item, number: int = 0) -> tuple[str, str | None]:
    """A text, and the text that it is paired with, if any. number: the input's, for an error. Raises InputError.

    Examples:
        >>> text_and_pair("good"), text_and_pair(("a premise", "a hypothesis"))
        (('good', None), ('a premise', 'a hypothesis'))
    """
    if isinstance(item, str):
        return item, None
    if isinstance(item, tuple) and len(item) == 2 and all(isinstance(part, str) for part in item):
        return item[0], item[1]
    raise InputError(f"Found {quoted(item, 80)} as input {number}; expected {TEXT_OR_PAIR.says}.")


def encode(
    tokenizer: Tokenizer, items: Sequence[Item], limit: int | None, truncate: bool | str = False
) -> list[Encoding]:
    """The ids and tokens of each item, in order.

    items: texts, pairs of texts, or `Ids`. limit: how many tokens an item has at most; None for any number. truncate:
    whether a longer item is cut to the limit: True, or which text of a pair is cut, as the tokenizer names it
    ("only_first", "only_second").

    Raises InputError for an empty text, TextTooLong beyond the limit.
    """
    texts = {i: text_and_pair(item, i) for i, item in enumerate(items) if not isinstance(item, Ids)}
    for i, (text, pair) in texts.items():
        empty = next((t for t in (text, pair) if t is not None and not t.strip()), None)
        if empty is not None:
            which = "" if pair is None else " in its first text" if empty is text else " in its second text"
            raise InputError(
                f"Input {i} is empty{which} ({quoted(empty, 40)}); expected a text with at least one word."
            )
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
            raise InputError(f"Input {i} ({quoted(e.text, 40)}) has no tokens of its own; expected a text with a word.")
    return [found[i] for i in range(len(items))]


def _tokenized(tokenizer: Tokenizer, texts: Mapping[int, str | tuple[str, str]], **how: object) -> dict[int, Encoding]:
    """Texts, or pairs of texts, as the tokenizer reads them. how: the tokenizer's own options."""
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


def _encoding(text: str | tuple[str, ...], inputs: SequenceInputs, tokens: tuple[Token, ...]) -> Encoding:
    """One sequence as an Encoding; only texts with as many special tokens share a batch."""
    ends = sum(t.special for t in tokens)  # BART refuses a batch whose rows do not all have as many </s>
    return Encoding(text, (inputs,), tokens, kind=ends)


def _shortened(tokenizer: Tokenizer, item: Item, whole: Encoding, limit: int, truncate: bool | str) -> Encoding:
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


def check_ids(ids: Sequence[int], tokens: int, owner: str) -> None:
    """Raises InputError for what are no numbers of so many tokens. owner: whose tokens they are, for the error."""
    if not ids or any(type(i) is not int or not 0 <= i < tokens for i in ids):
        raise InputError(
            f"Found token ids {quoted(ids, 80)}; expected at least one, each from 0 to {tokens - 1}, as this "
            f"{owner} numbers its tokens."
        )


def of_ids(tokenizer: Tokenizer, given: Ids) -> Encoding:
    """Token ids as they are, with the text that they stand for: one of which the tokenizer makes these ids, or else
    what they are when decoded."""
    ids = given.inputs["input_ids"]
    check_ids(ids, len(tokenizer), "tokenizer")
    inputs = {"attention_mask": [1] * len(ids), **given.inputs}
    written = [decoded(tokenizer, run) for run in stretches(ids, special_among(tokenizer, ids))]
    for texts in (*given.texts, tuple(written)):
        if len(texts) in (1, 2) and all(t.strip() for t in texts):
            same = _tokenized(tokenizer, {0: (texts[0], texts[1]) if len(texts) == 2 else texts[0]})[0]
            if same.ids == ids:
                return replace(same, sequences=(inputs,))
    text, tokens = spelled_out(tokenizer, ids)
    return _encoding(text, inputs, tokens)


def without_padding(tokenizer: Tokenizer, given: Ids) -> tuple[Ids, tuple[str, ...]]:
    """Token ids that came without an attention mask, without the padding at their ends; and a note on it.

    A mask would say which ids are padding; without one it is those at either end that the tokenizer pads with. Where
    the token that pads also ends texts, as in a GPT-2 that pads with its end of text, one such id may be either and
    stays, and of several one stays if the tokenizer itself ends texts with it.
    """
    pad, ids = special_id(tokenizer, "pad"), given.inputs["input_ids"]
    if pad is None or "attention_mask" in given.inputs or pad not in (ids[0], ids[-1]) or set(ids) == {pad}:
        return given, ()
    shared = pad in [special_id(tokenizer, name) for name in ("bos", "eos", "cls", "sep")]
    own = tokenizer("a", verbose=False)["input_ids"]
    first, last = (
        0 if shared and run == 1 else run - (shared and end == pad)
        for run, end in ((_run(ids, pad), own[0]), (_run(ids[::-1], pad), own[-1]))
    )
    if not first + last:
        return given, ()
    n = len(ids)
    cut = {name: v[first : n - last] if len(v) == n else v for name, v in given.inputs.items()}
    told = f"{first + last} padding id{'s' if first + last > 1 else ''}"
    note = f"The token ids came without an attention mask; {told} at their ends {'were' if first + last > 1 else 'was'}"
    return replace(given, inputs=cut), (f"{note} left out.",)


def _run(ids: Sequence[int], of: int) -> int:
    """How many ids at the beginning are the same one."""
    return next((k for k, i in enumerate(ids) if i != of), len(ids))


def _check_room(tokenizer: Tokenizer, whole: Sequence[str], limit: int) -> None:
    """Raises TextTooLong where the text of a pair that is not cut leaves no room for the other."""
    added = tokenizer.num_special_tokens_to_add(pair=True)
    for text, ids in zip(whole, tokenizer(list(whole), add_special_tokens=False)["input_ids"], strict=True):
        if len(ids) + added >= limit:
            raise TextTooLong(
                f"{quoted(text)} alone has {len(ids)} tokens, and {added} more are added; this model takes {limit}. "
                "That leaves no room for the text that it goes with. Shorten it: only the other text is cut."
            )
