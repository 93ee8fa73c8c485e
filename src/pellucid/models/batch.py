"""A padded batch of inputs with their baseline, from which a Problem is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UnknownBaseline
from ..problem import picked
from ..types import Groups
from . import baselines
from .baselines import Spec
from .pipeline import Pipeline
from .tasks.continuation import FIRST, roles_of
from .text.collating import Owns, Padded, Sequences, ids_of
from .text.encoding import Encoding
from .text.filler import Filler
from .text.groups import grouped


@dataclass(frozen=True)
class Batch:
    """A batch of texts or images, and the baseline that it is compared with.

    sequences: the model's inputs. owns: for each sequence which positions are a row's own; own: those of all sequences.
    special: (rows, tokens) special tokens. kept: what no baseline changes, these and padding. groups: (rows, tokens)
    the group of each token, −1 for none. ids: the token ids (rows, tokens), None for images. ids0: the ids of the
    baseline, None where it has none. deletes: whether tokens are to be deleted instead.
    """

    sequences: Sequences
    owns: Owns
    own: Tensor
    special: Tensor
    kept: Tensor
    groups: Tensor
    ids: Tensor | None
    ids0: Tensor | None
    deletes: bool


def telling_row(batch: Batch) -> Tensor:
    """The number, (1,), of the first row that differs from its baseline; of the first one where none does, or where the
    baseline has no ids."""
    if batch.ids is None or batch.ids0 is None:
        return torch.zeros(1, dtype=torch.long, device=batch.own.device)
    return (batch.ids != batch.ids0).any(1).int().argmax().view(1)


def row_of(batch: Batch, row: Tensor, n: int = 1) -> Sequences:
    """The sequences of one row (1,), n times."""
    return picked(batch.sequences, row.expand(n), len(batch.own))


def _answer(pipeline: Pipeline, sequences: Sequences) -> Tensor:
    """The tokens (rows, tokens) of the continuations. Raises UnknownBaseline for a task without any."""
    if pipeline.task.part is None:
        raise UnknownBaseline(
            f"Found baseline='filler, answer kept' for the task {pipeline.task.name!r}, which has no answer after a "
            "prompt; expected a model that generates text. Use 'filler'."
        )
    return torch.cat([roles_of(s) >= FIRST for s in sequences], 1)


def part_of_batch(batch: Batch, columns: Tensor) -> Batch:
    """The first row of a batch of one sequence, with some of its columns only."""
    (sequence,) = batch.sequences
    cut = lambda t: t[:1, columns]
    roles = None if sequence.roles is None else cut(sequence.roles)
    inputs = {name: cut(value) for name, value in sequence.inputs.items()}
    own, special, kept, groups = map(cut, (batch.own, batch.special, batch.kept, batch.groups))
    ids, ids0 = (None if t is None else cut(t) for t in (batch.ids, batch.ids0))
    return Batch((Padded(inputs, roles),), (own,), own, special, kept, groups, ids, ids0, batch.deletes)


def batch_of(pipeline: Pipeline, encodings: Sequence[Encoding], baseline: Spec, groups: Groups) -> Batch:
    """The batch of some inputs and a baseline. Raises UnknownBaseline, InputError."""
    sequences, owns = pipeline.collate(encodings)
    own = torch.cat(owns, 1)
    special, members = torch.zeros_like(own), torch.full(own.shape, -1, device=own.device)
    special[own] = torch.tensor([t.special for e in encodings for t in e.tokens], device=own.device)
    members[own] = torch.tensor([g for e in encodings for g in grouped(groups, e)], device=own.device)
    kept, deletes = special | ~own, baselines.deletes(baseline, pipeline.task.name, pipeline.task.without is not None)
    if isinstance(baseline, Filler) and baseline.keeps_answer:
        kept = kept | _answer(pipeline, sequences)
    ids = ids_of(sequences) if "input_ids" in sequences[0].inputs else None
    ids0 = None
    if ids is not None and not deletes:
        ids0 = baselines.ids_of(baseline, ids, kept, pipeline.tokenizer)
    return Batch(sequences, owns, own, special, kept, members, ids, ids0, deletes)
