"""Generation: the tokens that a model itself continues a text with, the most probable one each time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...engine import borrowing
from ...errors import InputError, UnknownBaseline, quoted
from ...tokens import Token
from ..net import Net
from ..text.decoding import spelled, written_as
from ..text.tokenizer import Tokenizer, special_id

_GREEDY = {"do_sample": False, "num_beams": 1, "num_return_sequences": 1, "return_dict_in_generate": False}
_IDLE = ("temperature", "top_p", "top_k", "min_p", "typical_p", "length_penalty", "early_stopping", "max_length")
"""What a generation configuration may say about sampling and beams, which a greedy one has no use for."""


def generated(
    net: Net,
    tokenizer: Tokenizer,
    inputs: Mapping[str, Sequence[int]],
    max_new_tokens: int,
    beside: Mapping[str, Tensor] | None = None,
) -> list[int]:
    """The ids that `generate` returns for one row, greedily, with the model's own end tokens respected. beside: what
    the model reads beside the tokens."""
    model: Any = net.model
    if not callable(getattr(model, "generate", None)):
        raise InputError(
            f"Found no continuation, and {type(model).__name__} has no generate(); expected the text to explain: "
            "(prompt, continuation)."
        )
    if not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise InputError(f"Found max_new_tokens={max_new_tokens!r} and no continuation; expected at least 1 token.")
    config = copy.deepcopy(model.generation_config)
    for name, value in {**_GREEDY, **dict.fromkeys(_IDLE), "max_new_tokens": max_new_tokens}.items():
        setattr(config, name, value)
    if config.pad_token_id is None:  # one row is never padded, but generate() wants to know
        config.pad_token_id = next(iter(end_tokens(model)), 0)
    given = {name: torch.tensor([list(values)], device=net.device) for name, values in inputs.items()}
    with borrowing.one_pass(model), torch.no_grad():
        if not (stops := getattr(config, "stop_strings", None)):
            return model.generate(**given, **(beside or {}), generation_config=config)[0].tolist()
        try:
            return model.generate(**given, **(beside or {}), generation_config=config, tokenizer=tokenizer)[0].tolist()
        except ValueError as error:
            raise InputError(
                f"Found generation_config.stop_strings={quoted(stops)}, which transformers does not find in the tokens "
                f"of this tokenizer ({error}); expected none, or another tokenizer. Set it to None, or give a "
                "continuation."
            ) from error


def continued_text(
    net: Net,
    tokenizer: Tokenizer,
    before: Sequence[int],
    ids: list[int],
    segment: int,
    again: Callable[[str], Sequence[Token]],
) -> tuple[str, tuple[Token, ...]]:
    """Generated ids as a text and its tokens. before: the ids of the prompt. segment: the number that the text gets.
    again: `text -> tokens`, as if the user had written the text."""
    if not ids:
        raise InputError("The model generated nothing after this prompt; expected a token. Give a continuation.")
    last = len(ids) - (ids[-1] in end_tokens(net.model))
    decode = lambda ids: tokenizer.decode(ids, skip_special_tokens=True)
    start, whole = decode(before), decode([*before, *ids])
    text = whole[len(start) :] if whole.startswith(start) else decode(ids)
    tokens = list(again(text)) if text.strip() else []
    if [t.id for t in tokens] != ids[:last]:
        tokens = spelled(tokenizer, before, ids[:last], text, segment)
    for i in ids[last:]:
        tokens.append(Token(written_as(tokenizer, i), i, None, True, None, segment))
    return text, tuple(tokens)


def end_tokens(model: nn.Module) -> tuple[int, ...]:
    """The ids that end a generation."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return () if ends is None else tuple(ends) if isinstance(ends, (list, tuple)) else (int(ends),)


def beginning_token(tokenizer: Tokenizer) -> int:
    """The token that a text without any tokens is read as: the one that begins a text, or that ends the text before.
    Raises UnknownBaseline where there is none."""
    ids = (special_id(tokenizer, name) for name in ("bos", "cls", "eos", "pad"))
    found = next((i for i in ids if i is not None), None)
    if found is None:
        raise UnknownBaseline(
            "Found baseline='delete' for a tokenizer without special tokens, so that nothing would be left before the "
            "continuation; expected a token that begins a text (bos_token). Use 'filler', 'zero' or 'mean'."
        )
    return found
