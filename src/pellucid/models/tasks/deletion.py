"""Text generation with tokens deleted from the prompt: a continuation is read where it stands after closing up.

Every token of a continuation has its logits at the last token that is left before its own place, whether it is left
itself or not. Where none is left, they are those after the token that begins a text, alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...token_text import shown
from ..text.decoding import written_as
from ..text.encoding import Encoding
from .continuation import PLACES, columns_left, packed
from .generation import begins
from .task import Inputs

if TYPE_CHECKING:
    from ..model import Model

Read = Callable[..., Tensor]
"""`(model, inputs, None, columns) -> logits`, as `causal.logits_at`."""


def without_tokens(model: Model, read: Read) -> Callable[[tuple[Inputs, ...], Tensor], tuple[Tensor, ...]]:
    """`(sequences, keep) -> outputs`, as `causal.continued` on what `keep` (rows, tokens of all sequences) leaves of
    each row. Rows are padded on the right, where a causal model's earlier tokens do not see it.

    Raises UnknownBaseline where nothing is left, and no token begins a text.
    """

    def without(sequences: tuple[Inputs, ...], keep: Tensor) -> tuple[Tensor, ...]:
        inputs, *others = sequences
        own, *rest = keep.split([s["input_ids"].shape[1] for s in sequences], 1)
        context = inputs[PLACES] == 1
        found = [_closed_up(model, read, inputs, own)]
        for other, left in zip(others, rest, strict=True):
            both = {name: torch.cat([inputs[name], other[name]], 1) for name in inputs}
            both[PLACES] = torch.cat([context.long(), other[PLACES]], 1)
            found.append(_closed_up(model, read, both, torch.cat([own & context, left], 1)))
        return tuple(found)

    return without


def _closed_up(model: Model, read: Read, inputs: Inputs, keep: Tensor) -> Tensor:
    """The logits (rows, K, vocabulary) of a continuation's tokens, the model having read only what `keep` leaves."""
    columns = columns_left(inputs[PLACES], keep)
    empty = columns < 0
    parts: list[Tensor] = []
    if not bool(empty.all()):
        given, _ = packed(inputs, None, keep)
        if "attention_mask" in given:
            given["attention_mask"][:, 0] = 1  # of a row of which nothing is left, and which is not read
        parts.append(read(model, given, None, columns.clamp(min=0)))
    if bool(empty.any()):
        begin = {"input_ids": torch.full_like(inputs["input_ids"][:1, :1], begins(model))}
        if "attention_mask" in inputs:
            begin["attention_mask"] = torch.ones_like(inputs["attention_mask"][:1, :1])
        alone = read(model, begin, None, torch.zeros(1, dtype=torch.long, device=columns.device))
        parts.append(alone.expand(*columns.shape, -1))
    return torch.where(empty.unsqueeze(2), parts[-1], parts[0])


def notes(model: Model, encoding: Encoding, baseline: Any) -> tuple[str, ...]:
    """What the baseline "delete" means where no special token stays before the continuation."""
    first = encoding.asked["continuations"][0][0]
    if not (isinstance(baseline, str) and baseline == "delete") or any(t.special for t in encoding.tokens[:first]):
        return ()
    begin = shown(written_as(model.tokenizer, begins(model)))
    return (f"With all tokens deleted nothing is left of the prompt: what follows is read after {begin!r} alone.",)
