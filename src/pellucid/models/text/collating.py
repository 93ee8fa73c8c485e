"""Pads inputs of different length into one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from .encoding import Encoding, SequenceInputs, Values
from .tokenizer import Tokenizer, pads_left, special_id

Inputs = Mapping[str, Tensor]
"""What the model's forward gets for one sequence of each row, rows first: input_ids, attention_mask, …"""


class Padded(NamedTuple):
    """One sequence of each row of a batch. inputs: what the model gets, each (rows, tokens). roles: (rows, tokens) what
    each token is, for the task alone, 0 in the padding; None where the task needs no roles."""

    inputs: dict[str, Tensor]
    roles: Tensor | None = None

    @property
    def ids(self) -> Tensor:
        """The token ids (rows, tokens)."""
        return self.inputs["input_ids"]

    def with_ids(self, ids: Tensor) -> Padded:
        """The same sequences with other token ids (rows, tokens)."""
        return self._replace(inputs={**self.inputs, "input_ids": ids})


Sequences = tuple[Padded, ...]
"""The sequences of a batch: one for most tasks, two for a pair of texts that the model reads apart."""
Owns = tuple[Tensor, ...]
"""For each sequence of a batch (rows, tokens), true for a row's own tokens and false for padding."""


def collate(tokenizer: Tokenizer, encodings: Sequence[Encoding], device: torch.device) -> tuple[Sequences, Owns]:
    """The sequences of a batch, padded, and which of their tokens are a row's own."""
    of_rows = list(zip(*(e.sequences for e in encodings), strict=True))
    roles = list(zip(*(e.roles for e in encodings), strict=True)) or [None] * len(of_rows)
    made = [_padded(tokenizer, rows, role, device) for rows, role in zip(of_rows, roles, strict=True)]
    return tuple(sequence for sequence, _ in made), tuple(own for _, own in made)


def _padded(
    tokenizer: Tokenizer, rows: Sequence[SequenceInputs], roles: Sequence[Sequence[int]] | None, device: torch.device
) -> tuple[Padded, Tensor]:
    """One sequence of each row, padded. Inputs may be nested: several numbers for each token."""
    lengths = [len(next(iter(r.values()))) for r in rows]
    width = max(lengths)
    left = pads_left(tokenizer)
    fill = {"input_ids": special_id(tokenizer, "pad") or 0}
    fill["token_type_ids"] = getattr(tokenizer, "pad_token_type_id", None) or 0

    def padded(values: Values, blank: int = 0) -> Values:
        nested = values and isinstance(values[0], (list, tuple))  # a box, the seven types of a cell: several numbers
        blanks = [[0] * len(values[0]) if nested else blank] * (width - len(values))
        return [*blanks, *values] if left else [*values, *blanks]

    table = lambda each: torch.tensor(each, device=device)
    inputs = {name: table([padded(r[name], fill.get(name, 0)) for r in rows]) for name in rows[0]}
    own = torch.tensor([padded([1] * n) for n in lengths], dtype=torch.bool, device=device)
    return Padded(inputs, None if roles is None else table([padded(r) for r in roles])), own


def side_by_side(values: Sequence[Tensor]) -> Tensor:
    """What stands at the positions of several sequences (rows, positions, numbers), next to each other; with zeros
    behind the numbers where a position of another sequence has more."""
    most = max(v.shape[2] for v in values)
    return torch.cat([v if v.shape[2] == most else pad(v, (0, most - v.shape[2])) for v in values], 1)


def widths(owns: Sequence[Tensor]) -> list[int]:
    """How many positions each sequence of a batch has."""
    return [own.shape[1] for own in owns]


def ids_of(sequences: Sequences) -> Tensor:
    """The ids (rows, tokens) of all sequences, next to each other."""
    return torch.cat([s.ids for s in sequences], 1)


def replaced_ids(sequences: Sequences, ids: Tensor) -> Sequences:
    """The same sequences with other ids (rows, tokens of all sequences)."""
    parts = ids.split([s.ids.shape[1] for s in sequences], 1)
    return tuple(s.with_ids(part) for s, part in zip(sequences, parts, strict=True))
