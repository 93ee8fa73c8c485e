"""Text generation with tokens deleted from the prompt: a continuation is read where it stands after closing up.

Every token of a continuation has its logits at the last token that is left before its own place, whether it is left
itself or not. Where none is left, they are those after the token that begins a text, alone.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ...token_text import shown
from ..baselines import Spec
from ..net import Net
from ..text.collating import Inputs, Sequences
from ..text.decoding import written_as
from ..text.encoding import Encoding
from ..text.tokenizer import Tokenizer
from .continuation import CONTEXT, columns_left, packed, part_of, roles_of
from .generation import beginning_token
from .task import HasTokenizer, Without


class ReadLogits(Protocol):
    """The model's logits (rows, K, vocabulary) at some columns (rows, K) of its inputs."""

    def __call__(self, net: Net, inputs: Inputs, x: Tensor | None, columns: Tensor, /) -> Tensor: ...


def without_tokens(net: Net, tokenizer: Tokenizer, read: ReadLogits) -> Without:
    """What a continuation's logits are once only some tokens are left of each row. Rows are padded on the right, where
    a causal model's earlier tokens do not see the padding.

    Raises UnknownBaseline where nothing is left, and no token begins a text.
    """

    def without(sequences: Sequences, keep: Tensor) -> tuple[Tensor, ...]:
        sequence, *others = sequences
        inputs, roles = sequence.inputs, roles_of(sequence)
        own, *rest = keep.split([s.ids.shape[1] for s in sequences], 1)
        context = roles == CONTEXT
        found = [_closed_up(net, tokenizer, read, inputs, roles, own)]
        for other, left in zip(others, rest, strict=True):
            both = {name: torch.cat([inputs[name], other.inputs[name]], 1) for name in inputs}
            both_roles = torch.cat([context.long(), roles_of(other)], 1)
            found.append(_closed_up(net, tokenizer, read, both, both_roles, torch.cat([own & context, left], 1)))
        return tuple(found)

    return without


def _closed_up(net: Net, tokenizer: Tokenizer, read: ReadLogits, inputs: Inputs, roles: Tensor, keep: Tensor) -> Tensor:
    """The logits (rows, K, vocabulary) of a continuation's tokens, the model having read only what `keep` leaves."""
    columns = columns_left(roles, keep)
    empty = columns < 0
    parts: list[Tensor] = []
    if not bool(empty.all()):
        given, _, _ = packed(inputs, roles, None, keep)
        if "attention_mask" in given:
            given["attention_mask"][:, 0] = 1  # of a row of which nothing is left, and which is not read
        parts.append(read(net, given, None, columns.clamp(min=0)))
    if bool(empty.any()):
        begin = {"input_ids": torch.full_like(inputs["input_ids"][:1, :1], beginning_token(tokenizer))}
        if "attention_mask" in inputs:
            begin["attention_mask"] = torch.ones_like(inputs["attention_mask"][:1, :1])
        alone = read(net, begin, None, torch.zeros(1, dtype=torch.long, device=columns.device))
        parts.append(alone.expand(*columns.shape, -1))
    return torch.where(empty.unsqueeze(2), parts[-1], parts[0])


def notes(reader: HasTokenizer, encoding: Encoding, baseline: Spec) -> tuple[str, ...]:
    """What the baseline "delete" means where no special token stays before the continuation."""
    first = part_of(encoding).first
    if not (isinstance(baseline, str) and baseline == "delete") or any(t.special for t in encoding.tokens[:first]):
        return ()
    begin = shown(written_as(reader.tokenizer, beginning_token(reader.tokenizer)))
    return (f"With all tokens deleted nothing is left of the prompt: what follows is read after {begin!r} alone.",)
