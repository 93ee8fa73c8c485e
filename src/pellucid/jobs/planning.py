"""Says before a run starts how long it takes and how large it becomes, from a probe of a few rows."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from ..explanation import Explanations
from ..outcome import Failure
from .answering import Answering
from .blocks import Block

PROBED = 32
"""So many rows, spread over the first block, are explained to see what a row costs."""


@dataclass(frozen=True)
class Plan:
    """What a run will take. rows: of the data; None where nobody knows. done: rows that are there already. left: rows
    to do. seconds, tokens, bytes: in all, of what is left; None where `left` is. row_seconds, row_tokens, row_bytes: of
    one row of the probe. memory: bytes that this process has used at most so far."""

    rows: int | None
    done: int
    left: int | None
    row_seconds: float
    row_tokens: float
    row_bytes: float
    memory: int

    @property
    def seconds(self) -> float | None:
        return None if self.left is None else self.left * self.row_seconds

    @property
    def tokens(self) -> float | None:
        return None if self.left is None else self.left * self.row_tokens

    @property
    def bytes(self) -> float | None:
        return None if self.left is None else self.left * self.row_bytes

    def __str__(self) -> str:
        rows = "an unknown number of rows" if self.rows is None else f"{self.rows:,} rows"
        each = f"{self.row_seconds * 1000:.1f} ms, {self.row_tokens:.0f} tokens and {self.row_bytes:.0f} bytes a row"
        if self.left is None or self.seconds is None or self.bytes is None or self.tokens is None:
            return f"{rows}, {self.done:,} done; {each}; memory {self.memory / 1e6:,.0f} MB"
        return (
            f"{rows}, {self.done:,} done, {self.left:,} to do: about {spoken(self.seconds)}, {self.tokens:,.0f} "
            f"tokens, {self.bytes / 1e6:,.1f} MB on disk, {self.memory / 1e6:,.0f} MB of memory ({each})"
        )


def probe(answering: Answering, block: Block | None, rows: int | None, done: int, processes: int = 1) -> Plan:
    """A Plan from a probe of a block; nothing is written. processes: how many will work at once."""
    left = None if rows is None else max(0, rows - done)
    if block is None:
        return Plan(rows, done, 0, 0.0, 0.0, 0.0, peak_memory())
    step = max(1, len(block.items) // PROBED)
    some = lambda values: tuple(values[::step][:PROBED])
    part = Block(block.number, some(block.ids), some(block.rows), some(block.items), some(block.beside))
    answering.answered(
        Block(part.number, part.ids[:1], part.rows[:1], part.items[:1], part.beside[:1])
    )  # loads kernels
    began = time.perf_counter()
    found = answering.answered(part)
    seconds = (time.perf_counter() - began) / len(found)
    each = [e for o in found if not isinstance(o, Failure) for e in (o if isinstance(o, Explanations) else (o,))[:1]]
    empty = len(answering.encoded(Block(0, (), (), (), ()), []))
    size = (len(answering.encoded(part, found)) - empty) / len(found)
    tokens = sum(len(e.tokens) for e in each) / len(found)
    return Plan(rows, done, left, seconds / processes, tokens, size, peak_memory())


def peak_memory() -> int:
    """The most bytes that this process has had in memory; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def spoken(seconds: float) -> str:
    """A time as people say it.

    Examples:
        >>> spoken(4.2), spoken(200), spoken(5400)
        ('4 s', '3 min', '1.5 h')
    """
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 3600
        else f"{seconds / 3600:.1f} h"
    )
