"""`pellucid.run`: explains a data set into a folder of Parquet files, and goes on where it was interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch

from .._explain import request_of
from ..errors import InputError, RunError, quoted
from ..models import Model
from ..request import Request
from ..sources import Source, source_of
from ..version import __version__
from . import workers as several
from .answering import Answering, Job, Moved, Receipt
from .blocks import Block, Done, blocks_of
from .columns import Columns, columns_of
from .folder import Folder
from .index import PART_ROWS, extend
from .manifest import continued, manifest, now
from .planning import chosen_workers, measured, plan_of
from .progress import RunProgress, Tally
from .stored import Run

SHARD_ROWS = 2048
"""Rows of a block, and so of a shard. A block is in memory at once, and lost where the process is killed."""
_DEFAULTS: dict[str, Any] = {
    **{"method": "deeplift", "target": None, "baseline": "mask", "detail": (), "at": None, "groups": None},
    **{"output": None, "truncate": False, "max_new_tokens": 20, "window": None, "stride": None},
}


def run(
    model: Model,
    data: Any,
    out: str | os.PathLike[str],
    *,
    column: str | None = None,
    pair: str | None = None,
    context: str | None = None,
    label: str | None = None,
    id: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    ray: str | bool | None = None,
    gpus: float = 0.0,
    shard_rows: int | None = None,
    max_failures: int | None = None,
    dry_run: bool = False,
    progress: Callable[[RunProgress], None] | None = None,
    tell: Callable[[str], None] | None = None,
    **asked: Any,
) -> Run:
    """Explains every row of a data set, and writes the answers to a folder of Parquet files, one row for each Outcome.

    The same call again goes on where an earlier one ended, however it ended. A row that cannot be explained becomes a
    row with the reason (`error_type`, `error`), and the others go on.

    model: as `explain`. data: see `source_of`: a path, a pattern or an address of CSV, TSV, JSONL, Parquet or text
        files, a saved or a hub data set, a frame, a DataLoader, an iterable. out: a folder, or an fsspec address.
    column, pair, context, label, id: the columns of the text, the second text, the context (the text being the
        question), the true label, and the id of a row. None: found by name; a row's id is its number, from 0.
    split: of a data set that has splits. limit: so many rows from the beginning. sample: so many rows,
        drawn with `seed`.
    workers: processes that answer at once. None: one for a few rows; for many as many as a measurement of the first
        rows on this machine finds faster. ray: "auto", True or the address of a Ray cluster, whose `workers` actors
        answer. gpus: of one actor, a fraction too.
    shard_rows: rows of a file (2,048, or what the folder has already). max_failures: the run stops after more of them.
    dry_run: explain a few rows, and return a Run whose `plan` says what all would take; nothing is written.
    progress: called with a RunProgress after a batch, and after each shard. tell: called with sentences about what was
        found.
    asked: everything else as `explain`: method, target, baseline, detail, truncate, …

    Returns the Run, as `pellucid.open` gives it. Raises InputError, RunError: another request or another model in this
    folder, another run that writes there, no room on the disk, too many failures.

    Examples:
        >>> import pellucid, tempfile
        >>> with tempfile.TemporaryDirectory() as out:
        ...     done = pellucid.run(pellucid.load(), ["a good film", "", "a dull film"], out)
        ...     len(done), done.failures, [getattr(o, "prediction", None) for o in done]
        (3, 1, ['positive', None, 'negative'])
    """
    if not isinstance(model, Model):
        raise InputError(f"Found a {type(model).__name__} as the model; expected pellucid.load('name-or-path').")
    for name, value, least in (
        ("limit", limit, 0),
        ("sample", sample, 1),
        ("workers", workers, 1),
        ("shard_rows", shard_rows, 1),
        ("max_failures", max_failures, 0),
    ):
        if value is not None and (type(value) is not int or value < least):
            raise InputError(f"Found {name}={quoted(value)}; expected a whole number of at least {least}.")
    options = {k: v for k, v in asked.items() if k not in _DEFAULTS}
    request = request_of(**(_DEFAULTS | {k: v for k, v in asked.items() if k in _DEFAULTS}), options=options)
    form = model.does.form
    source = source_of(data, form, split)
    columns = columns_of(source, form, column, pair, context, label, id)
    say = tell or (lambda _: None)
    for sentence in (*source.notes, columns.said()):
        say(sentence)
    folder = Folder(os.fspath(out))
    work = _Work(model, request, source, columns, folder, limit, _sampled(source, sample, limit, seed))
    if dry_run:
        return work.tried(workers, say, shard_rows)
    folder.make()
    with folder.locked() as lock:
        return work.done(lock, Asked(workers, ray, gpus, shard_rows, max_failures, progress, seed), say)


@dataclass(frozen=True)
class Asked:
    """How a run is to be done, as `run` has it."""

    workers: int | None
    ray: str | bool | None
    gpus: float
    shard_rows: int | None
    max_failures: int | None
    progress: Callable[[RunProgress], None] | None
    seed: int


@dataclass(frozen=True)
class _Work:
    """A run, before it is done."""

    model: Model
    request: Request
    source: Source
    columns: Columns
    folder: Folder
    limit: int | None
    chosen: np.ndarray | None

    @property
    def total(self) -> int | None:
        """The rows to be done in all."""
        if self.chosen is not None:
            return len(self.chosen)
        count = self.source.count
        return count if self.limit is None else self.limit if count is None else min(self.limit, count)

    def blocks(self, size: int, done: Done) -> Iterator[Block]:
        return blocks_of(self.source, self.columns, size, done, self.limit, self.chosen)

    def job(self, threads: int | None) -> Job:
        told = {"pellucid.version": __version__, "pellucid.request": self.request.digest}
        return Job(self.folder, self.request, told, threads)

    def tried(self, workers: int | None, say: Callable[[str], None], size: int | None) -> Run:
        """A Run with a plan; nothing is written."""
        done = Done.of(self.folder, self.columns.id is None)
        block = next(self.blocks(size or SHARD_ROWS, done), None)
        seen = None if block is None else measured(Answering.of(self.model, self.job(None)), block)
        plan = plan_of(seen, self.total, done.rows, workers or 1)
        say(str(plan))
        return replace(Run(self.folder), plan=plan)

    def done(self, lock: Any, asked: Asked, say: Callable[[str], None]) -> Run:
        """Does what is left, and keeps the manifest."""
        answering = Answering.of(self.model, self.job(None))  # raises before anything is written
        told = self._manifest(asked)
        done = Done.of(self.folder, self.columns.id is None)
        blocks = self.blocks(told["shard_rows"], done)
        first = next(blocks, None)
        workers, seen = asked.workers or 1, None
        if first is not None and self._is_long(first, told["shard_rows"], done):
            if asked.workers is None and not asked.ray:
                workers, seen = chosen_workers(answering, first, told["threads"], say)
            told["threads"] = told["threads"] or max(1, torch.get_num_threads() // workers)
            seen = seen or measured(answering.with_threads(told["threads"]), first)
            say(str(plan_of(seen, self.total, done.rows, workers)))
        told["threads"] = told["threads"] or max(1, torch.get_num_threads() // workers)
        self.folder.write_manifest(told)
        tally = Tally(done.rows, done.failures, self.total, asked.progress)

        def move(moved: Moved) -> None:
            lock.renew()
            tally.move(moved)

        try:
            left = blocks if first is None else chain([first], blocks)
            for receipt in self._receipts(self.job(told["threads"]), left, workers, asked, move):
                lock.renew()
                tally.add(receipt)
                if tally.now // PART_ROWS > (tally.now - receipt.rows) // PART_ROWS:
                    extend(self.folder)
                if asked.max_failures is not None and tally.failures > asked.max_failures:
                    raise RunError(
                        f"Found {tally.failures} failures ({tally.counted()}); expected at most "
                        f"{asked.max_failures}. {tally.rows:,} rows are written; the same command with more "
                        "max_failures goes on."
                    )
        finally:
            self._end(told, tally)
        if tally.now:
            extend(self.folder)
        return Run(self.folder)

    def _is_long(self, first: Block, size: int, done: Done) -> bool:
        """Whether what is left takes so long that a probe is worth its time."""
        return len(first.items) == size if self.total is None else self.total - done.rows >= 2 * SHARD_ROWS

    def _manifest(self, asked: Asked) -> dict[str, Any]:
        """The manifest at the start; its threads are None where they are to be chosen. Raises RunError where the folder
        has another request or another model."""
        data = {
            "name": self.source.name,
            "columns": self.columns.to_dict(),
            "limit": self.limit,
            "sample": None if self.chosen is None else len(self.chosen),
            "seed": None if self.chosen is None else asked.seed,
        }
        fresh = manifest(self.model, self.request, data, asked.shard_rows or SHARD_ROWS)
        before = self.folder.manifest()
        return fresh if before is None else continued(before, fresh, asked.shard_rows, self.folder.path)

    def _receipts(
        self, job: Job, blocks: Iterator[Block], workers: int, asked: Asked, tell: Callable[[Moved], None]
    ) -> Iterator[Receipt]:
        if asked.ray:
            from .ray import on_ray

            return on_ray(self.model, job, blocks, workers, None if asked.ray is True else asked.ray, asked.gpus)
        return (
            several.here(self.model, job, blocks, tell)
            if workers == 1
            else several.in_processes(self.model, job, blocks, workers, tell)
        )

    def _end(self, begun: dict[str, Any], tally: Tally) -> None:
        shards = [os.path.basename(p) for p in self.folder.shards()]
        complete = self.total is None or tally.rows >= self.total
        counts = {"rows": tally.rows, "failures": tally.failures, "total": self.total, "complete": complete}
        told = {**begun, "counts": counts, "ended": now(), "seconds": round(tally.seconds, 3), "shards": shards}
        try:
            self.folder.write_manifest(told)
        except RunError:  # the disk is full: the shards say what is done
            return


def _sampled(source: Source, sample: int | None, limit: int | None, seed: int) -> np.ndarray | None:
    """The numbers of the rows of a sample, ascending; None without one."""
    if sample is None:
        return None
    if source.count is None:
        raise InputError(f"Found sample={sample} of {source.name}, whose number of rows is unknown; expected limit=.")
    count = source.count if limit is None else min(limit, source.count)
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(count, size=min(sample, count), replace=False))
