"""Workers: answers blocks in this process, or in several that each hold the model, whichever may die."""

from __future__ import annotations

import os
import pickle
import queue
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..models import Model
from .answering import Answering, Job, ModelParts, Moved, Receipt
from .blocks import Block

_TRIES = 3
"""So often a block is given to a worker before the run ends because workers die on it."""
_EVERY = 0.5
"""Seconds between two messages of a worker on how far it is."""


def here(model: Model, job: Job, blocks: Iterator[Block], tell: Callable[[Moved], None]) -> Iterator[Receipt]:
    """Answers the blocks one after the other in this process. tell: called after each batch."""
    answering = Answering.of(model, job)
    for block in blocks:
        yield answering.write(block, tell)


def in_processes(
    model: Model, job: Job, blocks: Iterator[Block], workers: int, tell: Callable[[Moved], None]
) -> Iterator[Receipt]:
    """Answers the blocks in so many processes. A block of a worker that dies is given to another worker. tell: called
    while they work.

    Raises RunError where workers die on a block again and again, or where one raises an error.
    """
    with tempfile.TemporaryDirectory(prefix="pellucid-") as place:
        sent = Path(place) / "model.pickle"
        sent.write_bytes(pickle.dumps((ModelParts.of(model), job)))
        team = _Team(str(sent), workers)
        try:
            yield from team.receipts(blocks, tell)
        finally:
            team.stop()


@dataclass
class _Team:
    """Processes that read blocks from standard input and write receipts to standard output."""

    sent: str
    size: int
    threads: list[threading.Thread] = field(default_factory=list)
    running: set[Any] = field(default_factory=set)
    stopped: bool = False

    def receipts(self, blocks: Iterator[Block], tell: Callable[[Moved], None]) -> Iterator[Receipt]:
        ready: queue.Queue[Any] = queue.Queue()
        asked: queue.Queue[tuple[Block, int] | None] = queue.Queue()
        for _ in range(self.size):
            thread = threading.Thread(target=self._serve, args=(asked, ready), daemon=True)
            thread.start()
            self.threads.append(thread)
        waiting = 0
        more = True
        while more or waiting:
            while more and waiting < 2 * self.size:  # so many blocks are in memory at once
                block = next(blocks, None)
                if block is None:
                    more = False
                else:
                    asked.put((block, 0))
                    waiting += 1
            if not waiting:
                break
            found = ready.get()
            if isinstance(found, BaseException):
                raise found
            if isinstance(found, Moved):
                tell(found)
                continue
            if isinstance(found, tuple):
                asked.put(found)
                continue
            waiting -= 1
            yield found
        for _ in self.threads:
            asked.put(None)

    def _serve(self, asked: queue.Queue[Any], ready: queue.Queue[Any]) -> None:
        """Keeps one process busy; starts another where it dies."""
        process: subprocess.Popen[bytes] | None = None
        while not self.stopped and (given := asked.get()) is not None:
            block, tries = given
            try:
                process = process or self._started()
                _send(process.stdin, block)
                while isinstance(found := _receive(process.stdout), Moved):
                    ready.put(found)
            except (EOFError, OSError):
                code = process.wait() if process else None
                self.running.discard(process)
                process = None
                if self.stopped:
                    return
                said = f"A worker ended (exit code {code}) on rows {block.rows[0]} to {block.rows[-1]}"
                if tries + 1 >= _TRIES:
                    ready.put(
                        RunError(
                            f"{said}, {_TRIES} times in a row; expected it to live. Memory may run out: try fewer "
                            "workers, or shorter texts."
                        )
                    )
                else:
                    ready.put((block, tries + 1))
                continue
            ready.put(found)
        if process is not None:
            self._end(process)

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pellucid.jobs.worker", self.sent, str(os.getpid())]
        paths = os.pathsep.join(p for p in sys.path if p)
        env = {**os.environ, "PYTHONPATH": paths}
        alone = 0 if os.name == "posix" else None  # Ctrl-C is for the run, which ends its workers
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, process_group=alone)
        self.running.add(process)
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self.running.discard(process)
        with suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]

    def stop(self) -> None:
        """Ends all processes; what they had not renamed is no shard."""
        self.stopped = True
        for process in list(self.running):
            process.kill()
        for thread in self.threads:
            thread.join(timeout=10)


def _send(file: Any, what: Any) -> None:
    content = pickle.dumps(what)
    file.write(struct.pack("<Q", len(content)))
    file.write(content)
    file.flush()


def _receive(file: Any) -> Any:
    """Raises EOFError where the other end is gone."""
    head = file.read(8)
    if len(head) < 8:
        raise EOFError
    (size,) = struct.unpack("<Q", head)
    content = file.read(size)
    if len(content) < size:
        raise EOFError
    return pickle.loads(content)


def serve(sent: str) -> None:
    """What a worker does: reads blocks until standard input ends, and answers each with a receipt, or an error."""
    into, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no receipt
    parts, job = pickle.loads(Path(sent).read_bytes())
    answering = Answering.of(parts.made(), job)
    told = time.monotonic()

    def tell(moved: Moved) -> None:
        nonlocal told
        if time.monotonic() - told > _EVERY:
            told = time.monotonic()
            _send(out, moved)

    while True:
        try:
            block = _receive(into)
        except EOFError:
            return
        try:
            found: Any = answering.write(block, tell)
        except Exception as error:
            found = error if isinstance(error, RunError) else RunError(f"{type(error).__name__}: {error}")
        _send(out, found)
