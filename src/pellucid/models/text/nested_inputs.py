"""Nested inputs: those that have several numbers for each token, such as the box of each word of a page."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from ...errors import InputError
from .encoding import Encoding
from .tokenizer import Tokenizer, special_id

NESTED = {"bbox": 1000, "xpath_tags_seq": 0, "xpath_subs_seq": 0}
"""By name, the number that a separator has in each place (LayoutLM puts it into the page's far corner, 2004.14283);
other special tokens have 0."""

Nested = Mapping[str, list[Sequence[int]]]
"""By name, several numbers for each word or token."""


def taken_apart(item: object, names: Sequence[str]) -> tuple[object, Nested]:
    """A user's input without the nested inputs of these names, and these inputs."""
    if not isinstance(item, Mapping) or "input_ids" in item:
        return item, {}
    plain = lambda values: values.tolist() if hasattr(values, "tolist") else list(values)
    mine = {name: plain(item[name]) for name in names if item.get(name) is not None}
    return {name: value for name, value in item.items() if name not in mine} if mine else item, mine


def attached(tokenizer: Tokenizer, encoding: Encoding, given: Nested, number: int) -> Encoding:
    """The same encoding with nested inputs for its tokens. number: the input's, for an error. Raises InputError where
    there is not one value for each word, each token of the text, or each token."""
    if not given:
        return encoding
    (inputs,) = encoding.sequences
    more = {name: _spread(tokenizer, name, values, encoding, number) for name, values in given.items()}
    return replace(encoding, sequences=({**inputs, **more},))


def _spread(
    tokenizer: Tokenizer, name: str, values: list[Sequence[int]], encoding: Encoding, number: int
) -> list[Sequence[int]]:
    """The values of words, or of the text's tokens, as one value for each token, special ones included."""
    tokens = encoding.tokens
    own = [i for i, t in enumerate(tokens) if not t.special]
    words = list(dict.fromkeys((tokens[i].segment, tokens[i].word) for i in own))
    if len(values) == len(tokens):
        return values
    if len(values) not in (len(own), len(words)):
        raise InputError(
            f"Found {len(values)} of {name!r} for input {number}; expected one for each of its {len(words)} words, of "
            f"its {len(own)} tokens, or of all {len(tokens)} tokens with the special ones."
        )
    separator, size = special_id(tokenizer, "sep"), len(values[0])
    number_of = {word: k for k, word in enumerate(words)}
    by_token = len(values) == len(own)
    place = {i: k if by_token else number_of[tokens[i].segment, tokens[i].word] for k, i in enumerate(own)}
    blank = lambda i: [NESTED[name] if tokens[i].id == separator else 0] * size
    return [values[place[i]] if i in place else blank(i) for i in range(len(tokens))]


def missing(net: str, names: Sequence[str], inputs: Container[str]) -> tuple[str, ...]:
    """A note for each nested input that the model reads and that was not given. net: the name of the model's class."""
    return tuple(
        f"{net} reads {name!r} beside the text, and none was given, so every token has the model's default. Give it: "
        f"{{'text': …, {name!r}: [[…], …]}}, one for each word or token."
        for name in names
        if name not in inputs
    )
