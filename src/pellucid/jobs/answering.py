"""Answers one block of rows and writes its shard: what every worker does, wherever it runs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch

from .._outcomes import Meter
from .._outcomes import Run as Outcomes
from ..explanations import Explanations
from ..models import Model
from ..outcome import Failure, Outcome
from ..request import Request
from ..sources import Unreadable
from .blocks import Block
from .folder import Folder
from .schema import as_text, row_of, table_of, to_parquet


@dataclass(frozen=True)
class ModelParts:
    """What a Model is made of, which can be sent to another process."""

    given: Mapping[str, Any]

    @classmethod
    def of(cls, model: Model) -> ModelParts:
        return cls({f.name: getattr(model, f.name) for f in fields(model) if f.init})

    def made(self) -> Model:
        return Model(**self.given)


@dataclass(frozen=True)
class Job:
    """What a worker must know. told: what the metadata of each shard says. threads: of one process; None: as many as
    there are."""

    folder: Folder
    request: Request
    told: Mapping[str, str]
    threads: int | None = None


@dataclass(frozen=True)
class Receipt:
    """A shard that was written. bytes: its size. first: the reason of its first failure."""

    number: int
    rows: int
    failures: int
    tokens: int
    bytes: int
    seconds: float
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Moved:
    """So many rows of a block are answered; its shard is not written yet."""

    number: int
    rows: int


@dataclass(frozen=True)
class Answering:
    """A model with a job."""

    outcomes: Outcomes
    job: Job

    @classmethod
    def of(cls, model: Model, job: Job) -> Answering:
        """Raises InputError, UnknownMethod where the request asks what this model cannot answer."""
        return cls(Outcomes.of(model, job.request, "return"), job)

    def with_threads(self, threads: int) -> Answering:
        """The same with so many threads."""
        return replace(self, job=replace(self.job, threads=threads))

    def write(self, block: Block, tell: Callable[[Moved], None] | None = None) -> Receipt:
        """Answers a block and writes its shard. tell: called after each batch."""
        began = time.perf_counter()
        found = self.answered(block, tell)
        failures = [o for o in found if isinstance(o, Failure)]
        size = self.job.folder.write(f"shards/{block.name}", self.encoded(block, found))
        reasons: dict[str, int] = {}
        for failure in failures:
            reasons[failure.type] = reasons.get(failure.type, 0) + 1
        tokens = sum(
            len(e.tokens)
            for o in found
            if not isinstance(o, Failure)
            for e in (o if isinstance(o, Explanations) else (o,))[:1]
        )
        seconds = time.perf_counter() - began
        return Receipt(block.number, len(found), len(failures), tokens, size, seconds, reasons)

    def encoded(self, block: Block, found: Sequence[Outcome]) -> bytes:
        """The shard of a block as a Parquet file."""
        each = zip(found, block.ids, block.rows, block.items, block.beside, strict=True)
        rows = [row_of(o, id, row, as_text(_shown(item)), beside) for o, id, row, item, beside in each]
        told = {
            **self.job.told,
            "pellucid.rows": str(len(rows)),
            "pellucid.failures": str(sum(isinstance(o, Failure) for o in found)),
            "pellucid.edges": json.dumps(block.edges),
        }
        return to_parquet(table_of(rows), told)

    def answered(self, block: Block, tell: Callable[[Moved], None] | None = None) -> list[Outcome]:
        """An Outcome for each row of a block, in order. tell: called after each batch."""
        told = None if tell is None else lambda progress: tell(Moved(block.number, progress.done))
        outcomes = replace(self.outcomes, meter=Meter(told, None))
        threads = torch.get_num_threads()
        if self.job.threads:
            torch.set_num_threads(self.job.threads)
        try:
            readable = [k for k, item in enumerate(block.items) if not isinstance(item, Unreadable)]
            answers, _ = outcomes.tried([block.items[k] for k in readable])
        finally:
            torch.set_num_threads(threads)
        found = dict(zip(readable, answers, strict=True))
        return [
            _at_row(found[k] if k in found else _unread(item), k, row)
            for k, (item, row) in enumerate(zip(block.items, block.rows, strict=True))
        ]


def _shown(item: Any) -> Any:
    return item.text if isinstance(item, Unreadable) else item


def _unread(item: Unreadable) -> Failure:
    return Failure(0, "UnreadableRow", item.reason)


def _at_row(outcome: Outcome, _: int, row: int) -> Outcome:
    """A Failure with the number of its row in the data, in its message too."""
    if not isinstance(outcome, Failure):
        return outcome
    told = rf"\b([Ii])nput {outcome.index}\b"
    return replace(outcome, index=row, message=re.sub(told, rf"\g<1>nput {row}", outcome.message, count=1))
