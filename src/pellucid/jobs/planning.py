"""Says before a run starts how long it takes and how large it becomes, from a probe of a few rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..engine.memory import free_memory
from ..explanations import Explanations
from ..models import Model
from ..number_text import spoken
from ..outcome import Failure, Outcome
from .answering import Answering
from .blocks import Block
from .progress import peak_memory

PROBED = 32
"""So many rows, spread over the first block, are explained to see what a row costs."""
_PROCESS = 500_000_000
"""Bytes of a process that has loaded PyTorch and transformers, besides its model."""


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


@dataclass(frozen=True)
class Measured:
    """Some rows of a block, answered to see what a row costs. seconds: of one row."""

    answering: Answering
    part: Block
    found: list[Outcome]
    seconds: float


def measured(answering: Answering, block: Block, rows: int = PROBED) -> Measured:
    """So many rows, spread over a block, are answered; nothing is written."""
    part = _spread(block, rows)
    answering.answered(_spread(block, 1))  # loads kernels
    began = time.perf_counter()
    found = answering.answered(part)
    return Measured(answering, part, found, (time.perf_counter() - began) / len(part.items))


def plan_of(seen: Measured | None, rows: int | None, done: int, processes: int = 1) -> Plan:
    """A Plan from what was measured; None where no row is left. processes: how many will work at once."""
    left = None if rows is None else max(0, rows - done)
    if seen is None:
        return Plan(rows, done, 0, 0.0, 0.0, 0.0, peak_memory())
    found, part = seen.found, seen.part
    each = [e for o in found if not isinstance(o, Failure) for e in (o if isinstance(o, Explanations) else (o,))[:1]]
    half = _spread(part, max(1, len(found) // 2))
    some = [found[part.rows.index(row)] for row in half.rows]
    more = len(found) - len(some)  # what a file has once is in both, and what grows with its rows is the difference
    encoded = seen.answering.encoded
    size = (len(encoded(part, found)) - len(encoded(half, some))) / more if more else 0.0
    tokens = sum(len(e.tokens) for e in each) / len(found)
    return Plan(rows, done, left, seen.seconds / processes, tokens, size, peak_memory())


def chosen_workers(
    answering: Answering, block: Block, threads: int | None, say: Callable[[str], None]
) -> tuple[int, Measured | None]:
    """How many processes answer fastest on this machine, by a measurement: one that has all threads, or one for each
    thread; and what was measured for them, None where there is no choice. threads: of a process in a run that goes on,
    whose choice stays; None in one that begins."""
    most, every = _most_workers(answering.outcomes.model), torch.get_num_threads()
    if threads is not None or most < 2:
        return max(1, min(most, every // (threads or 1))), None
    one, all_ = (measured(answering.with_threads(count), block, PROBED // 2) for count in (1, every))
    chosen = most if most * all_.seconds > 1.1 * one.seconds else 1
    say(
        f"{chosen} worker{'s' if chosen > 1 else ''} (measured: {1 / one.seconds:.1f} rows/s with one thread, "
        f"{1 / all_.seconds:.1f} with {every}; --workers chooses otherwise)"
    )
    return chosen, one if chosen > 1 else all_


def _most_workers(model: Model) -> int:
    """One for each thread and for the memory that is free; one on a device other than the CPU, and where a class of the
    model was made in a script, which another process could not load."""
    made_here = any(type(part).__module__ == "__main__" for part in (*model.model.modules(), model.tokenizer))
    if made_here or model.device.type != "cpu":
        return 1
    size = sum(p.numel() * p.element_size() for p in model.model.parameters()) + _PROCESS
    return max(1, min(torch.get_num_threads(), free_memory() // size))


def _spread(block: Block, most: int) -> Block:
    """So many rows of a block, spread over it."""
    step = max(1, len(block.items) // most)
    some = lambda values: tuple(values[::step][:most])
    return Block(block.number, some(block.ids), some(block.rows), some(block.items), some(block.beside))
