"""`pellucid.run`: explains a data set into a folder of Parquet files, and goes on where it was interrupted."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain, islice
from typing import Any

import numpy as np
import torch

from .._explain import request_of
from ..errors import InputError, RunError, quoted
from ..models import Model
from ..request import Request
from ..sources import Source, source_of
from . import workers as several
from .answering import Answering, Job, Receipt
from .blocks import Block, Done, blocks_of
from .columns import Columns, columns_of
from .folder import Folder
from .identity import identity
from .planning import Plan, peak_memory, probe
from .stored import Run

MANIFEST_VERSION = 1
SHARD_ROWS = 1024
"""Rows of a block, and so of a shard. A block is in memory at once, and lost where the process is killed."""
_DEFAULTS: dict[str, Any] = {
    **{"method": "deeplift", "target": None, "baseline": "mask", "detail": (), "at": None, "groups": None},
    **{"output": None, "truncate": False, "max_new_tokens": 20, "window": None, "stride": None},
}


@dataclass(frozen=True)
class RunProgress:
    """How far a run is. done: rows, those of earlier runs included. total: None where nobody knows. now: rows of this
    run. seconds: of this run. memory: bytes at most in this process."""

    done: int
    total: int | None
    now: int
    failures: int
    seconds: float
    memory: int

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.now / self.seconds if self.seconds else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until the end; None where nobody knows."""
        return None if self.total is None or not self.rate else (self.total - self.done) / self.rate


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
    workers: int = 1,
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
    workers: processes that answer at once. ray: "auto", True or the address of a Ray cluster, whose `workers` actors
        answer. gpus: of one actor, a fraction too.
    shard_rows: rows of a file (1,024, or what the folder has already). max_failures: the run stops after more of them.
    dry_run: explain a few rows, and return a Run whose `plan` says what all would take; nothing is written.
    progress: called with a RunProgress after each shard. tell: called with sentences about what was found.
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
        return work.done(lock, workers, ray, gpus, shard_rows, max_failures, progress, say)


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
        told = {"pellucid.version": version("pellucid"), "pellucid.request": self.request.digest}
        return Job(self.folder, self.request, told, threads)

    def tried(self, workers: int, say: Callable[[str], None], size: int | None) -> Run:
        """A Run with a plan; nothing is written."""
        done = Done.of(self.folder, self.columns.id is None)
        block = next(self.blocks(size or SHARD_ROWS, done), None)
        plan = probe(Answering.of(self.model, self.job(None)), block, self.total, done.rows, workers)
        say(str(plan))
        return replace(Run(self.folder), plan=plan)

    def done(
        self,
        lock: Any,
        workers: int,
        ray: str | bool | None,
        gpus: float,
        size: int | None,
        max_failures: int | None,
        progress: Callable[[RunProgress], None] | None,
        say: Callable[[str], None],
    ) -> Run:
        """Does what is left, and keeps the manifest."""
        before = self.folder.manifest()
        manifest = self._manifest(before, workers, size)
        done = Done.of(self.folder, self.columns.id is None)
        job = self.job(manifest["threads"])
        answering = Answering.of(self.model, job)  # raises before anything is written
        self.folder.write_manifest(manifest)
        blocks = self.blocks(manifest["shard_rows"], done)
        first = list(islice(blocks, 1))
        plan = self._planned(answering, first, done, workers, say)
        blocks = chain(first, blocks)
        tally = _Tally(done.rows, done.failures, self.total, progress)
        try:
            for receipt in self._receipts(job, blocks, workers, ray, gpus):
                lock.renew()
                tally.add(receipt)
                if max_failures is not None and tally.failures > max_failures:
                    raise RunError(
                        f"Found {tally.failures} failures ({_counted(tally.reasons)}); expected at most "
                        f"{max_failures}. {tally.rows:,} rows are written; the same command with more "
                        "max_failures goes on."
                    )
        finally:
            self._end(manifest, tally, plan)
        return Run(self.folder)

    def _receipts(
        self, job: Job, blocks: Iterator[Block], workers: int, ray: str | bool | None, gpus: float
    ) -> Iterator[Receipt]:
        if ray:
            from .ray import on_ray

            return on_ray(self.model, job, blocks, workers, None if ray is True else ray, gpus)
        return (
            several.here(self.model, job, blocks)
            if workers == 1
            else several.in_processes(self.model, job, blocks, workers)
        )

    def _planned(
        self, answering: Answering, first: list[Block], done: Done, workers: int, say: Callable[[str], None]
    ) -> Plan | None:
        """What is left takes, said before it starts where it takes long enough to be worth a probe."""
        many = self.total is None or self.total - done.rows >= 4 * SHARD_ROWS
        if not first or not many:
            return None
        plan = probe(answering, first[0], self.total, done.rows, workers)
        say(str(plan))
        return plan

    def _manifest(self, before: dict[str, Any] | None, workers: int, size: int | None) -> dict[str, Any]:
        """The manifest at the start. Raises RunError where the folder has another request or another model."""
        now = {
            "manifest_version": MANIFEST_VERSION,
            "request": self.request.to_dict(),
            "request_digest": self.request.digest,
            "model": identity(self.model),
            "data": {
                "name": self.source.name,
                "columns": self.columns.to_dict(),
                "limit": self.limit,
                "sample": None if self.chosen is None else len(self.chosen),
            },
            "versions": {n: version(n) for n in ("pellucid", "torch", "transformers", "pyarrow")},
            "shard_rows": size or SHARD_ROWS,
            "threads": max(1, torch.get_num_threads() // workers),
            "began": _now(),
        }
        if before is None:
            return now
        differs = _differences(before, now)
        if size is not None and size != before["shard_rows"]:
            differs.append(f"shard_rows is {before['shard_rows']} there and {size} here")
        if differs:
            raise RunError(
                f"{self.folder.path!r} holds the answers to another question: {'; '.join(differs)}. Expected the same "
                "request, model and columns. Name another folder, or ask as before."
            )
        return {**now, **{name: before[name] for name in ("shard_rows", "threads", "began")}}

    def _end(self, manifest: dict[str, Any], tally: _Tally, plan: Plan | None) -> None:
        shards = [os.path.basename(p) for p in self.folder.shards()]
        complete = self.total is None or tally.rows >= self.total
        counts = {"rows": tally.rows, "failures": tally.failures, "total": self.total, "complete": complete}
        told = {**manifest, "counts": counts, "ended": _now(), "seconds": round(tally.seconds, 3), "shards": shards}
        try:
            self.folder.write_manifest(told)
        except RunError:  # the disk is full: the shards say what is done
            return


class _Tally:
    """Counts what is done, and tells it."""

    def __init__(self, rows: int, failures: int, total: int | None, progress: Callable[[RunProgress], None] | None):
        self.rows, self.failures, self.total, self.progress = rows, failures, total, progress
        self.now, self.began = 0, time.perf_counter()
        self.reasons: dict[str, int] = {}

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def add(self, receipt: Receipt) -> None:
        self.rows, self.now = self.rows + receipt.rows, self.now + receipt.rows
        self.failures += receipt.failures
        for reason, n in receipt.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + n
        if self.progress is not None:
            self.progress(RunProgress(self.rows, self.total, self.now, self.failures, self.seconds, peak_memory()))


def _counted(reasons: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(reasons.items(), key=lambda r: -r[1])) or "none in this run"


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between the manifest of a folder and what is asked now, as clauses."""
    found: list[str] = []
    if before["request_digest"] != now["request_digest"]:
        old, new = before["request"], now["request"]
        names = [k for k in new if json.dumps(old.get(k), sort_keys=True) != json.dumps(new[k], sort_keys=True)]
        found += [f"{name} is {quoted(old.get(name), 60)} there and {quoted(new[name], 60)} here" for name in names]
    if before["model"]["digest"] != now["model"]["digest"]:
        a, b = before["model"], now["model"]
        files = [f for f in {*a["files"], *b["files"]} if a["files"].get(f) != b["files"].get(f)]
        more = f", which differ in {', '.join(sorted(files))}" if a["name"] == b["name"] and files else ""
        names = f"{a['name']} ({a['digest'][:8]}) there and {b['name']} ({b['digest'][:8]}) here"
        found.append(f"the model is {names}{more}")
    old, new = before["data"]["columns"], now["data"]["columns"]
    if old != new:
        found.append(f"the columns are {quoted(old, 90)} there and {quoted(new, 90)} here")
    if before["model"]["device"] != now["model"]["device"]:
        found.append(f"the device is {before['model']['device']} there and {now['model']['device']} here")
    return found


def _sampled(source: Source, sample: int | None, limit: int | None, seed: int) -> np.ndarray | None:
    """The numbers of the rows of a sample, ascending; None without one."""
    if sample is None:
        return None
    if source.count is None:
        raise InputError(f"Found sample={sample} of {source.name}, whose number of rows is unknown; expected limit=.")
    count = source.count if limit is None else min(limit, source.count)
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(count, size=min(sample, count), replace=False))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
