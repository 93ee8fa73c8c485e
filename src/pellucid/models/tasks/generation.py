"""A model's own continuation, greedily, and the places of its tokens in the text that they make."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ...errors import InputError, UnknownBaseline

if TYPE_CHECKING:
    from ..model import Model

_GREEDY = {"do_sample": False, "num_beams": 1, "num_return_sequences": 1, "return_dict_in_generate": False}
_IDLE = ("temperature", "top_p", "top_k", "min_p", "typical_p", "length_penalty", "early_stopping", "max_length")
"""What a generation configuration may say about sampling and beams, which a greedy one has no use for."""


def generated(model: Model, inputs: Mapping[str, Sequence[int]], max_new_tokens: int) -> list[int]:
    """The ids that `generate` returns for one row, greedily, with the model's own end tokens respected."""
    net: Any = model.model
    if not callable(getattr(net, "generate", None)):
        raise InputError(
            f"Found no continuation, and {type(net).__name__} has no generate(); expected the text to explain: "
            "(prompt, continuation)."
        )
    if not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise InputError(f"Found max_new_tokens={max_new_tokens!r} and no continuation; expected at least 1 token.")
    config = copy.deepcopy(net.generation_config)
    for name, value in {**_GREEDY, **dict.fromkeys(_IDLE), "max_new_tokens": max_new_tokens}.items():
        setattr(config, name, value)
    if config.pad_token_id is None:  # one row is never padded, but generate() wants to know
        config.pad_token_id = next(iter(end_tokens(model)), 0)
    given = {name: torch.tensor([list(values)], device=model.device) for name, values in inputs.items()}
    with torch.no_grad():
        return net.generate(**given, generation_config=config)[0].tolist()


def end_tokens(model: Model) -> tuple[int, ...]:
    """The ids that end a generation."""
    ends = getattr(getattr(model.model, "generation_config", None), "eos_token_id", None)
    return () if ends is None else tuple(ends) if isinstance(ends, (list, tuple)) else (int(ends),)


def begins(model: Model) -> int:
    """The token that a text without any tokens is read as: that which begins a text, or ends the one before it."""
    names = (f"{name}_token_id" for name in ("bos", "cls", "eos", "pad"))
    found = next((i for name in names if (i := getattr(model.tokenizer, name, None)) is not None), None)
    if found is None:
        raise UnknownBaseline(
            "Found baseline='delete' for a tokenizer without special tokens, so that nothing would be left before the "
            "continuation; expected a token that begins a text (bos_token). Use 'filler', 'zero' or 'mean'."
        )
    return found
