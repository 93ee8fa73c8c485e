"""How far a run is: what is done, told while it works."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from .answering import Moved, Receipt

_EVERY = 0.2
"""Seconds at least between two calls of a progress function inside a block."""


@dataclass(frozen=True)
class RunProgress:
    """How far a run is. done: rows, those of earlier runs and those answered but not written yet included. total: None
    where nobody knows. now: rows of this run. seconds: of this run. memory: bytes at most in this process."""

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


class Tally:
    """Counts what is done, and tells it."""

    def __init__(self, rows: int, failures: int, total: int | None, progress: Callable[[RunProgress], None] | None):
        self.rows, self.failures, self.total, self.progress = rows, failures, total, progress
        self.now, self.began, self.told = 0, time.perf_counter(), 0.0
        self.reasons: dict[str, int] = {}
        self.answered: dict[int, int] = {}  # of each block that is not written yet, the rows that are answered

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def add(self, receipt: Receipt) -> None:
        """Takes down a shard that was written."""
        self.answered.pop(receipt.number, None)
        self.rows, self.now = self.rows + receipt.rows, self.now + receipt.rows
        self.failures += receipt.failures
        for reason, n in receipt.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + n
        self._tell()

    def move(self, moved: Moved) -> None:
        """Takes down rows that are answered and not written yet."""
        self.answered[moved.number] = moved.rows
        if self.seconds - self.told >= _EVERY:
            self._tell()

    def _tell(self) -> None:
        self.told = self.seconds
        if self.progress is not None:
            more = sum(self.answered.values())
            seconds, memory = self.told, peak_memory()
            self.progress(RunProgress(self.rows + more, self.total, self.now + more, self.failures, seconds, memory))

    def counted(self) -> str:
        """The reasons of this run's failures, the commonest first."""
        each = sorted(self.reasons.items(), key=lambda reason: -reason[1])
        return ", ".join(f"{n} {name}" for name, n in each) or "none in this run"


def peak_memory() -> int:
    """The most bytes that this process has had in memory; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
