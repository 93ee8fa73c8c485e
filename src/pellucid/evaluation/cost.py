"""What a call takes: seconds, and the peak of the memory above what was in use before it."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Cost:
    """seconds: by the clock. work: seconds as `worked` counts them. memory: bytes at the peak, above those in use
    before: of the GPU where the model is on one, else of the process; None where the system does not tell (it does on
    Linux)."""

    seconds: float
    work: float
    memory: int | None


def measured(call: Callable[[], T], device: torch.device) -> tuple[T, Cost]:
    """What a call returns, and what it took."""
    on_gpu = device.type == "cuda"
    finished(device)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) if on_gpu else _forgotten_peak()
    start, begun = time.perf_counter(), worked(device)
    found = call()
    finished(device)
    seconds, work = time.perf_counter() - start, worked(device) - begun
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else _resident("VmHWM")
    return found, Cost(seconds, work, None if before is None or peak is None else max(0, peak - before))


def worked(device: torch.device) -> float:
    """Seconds so far: on a CPU those of the processor, child processes included, which other programs do not lengthen;
    elsewhere those of the clock."""
    if device.type != "cpu":
        return time.perf_counter()
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def finished(device: torch.device) -> None:
    """Waits until a GPU has done what it was given: its calls return before they are done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _forgotten_peak() -> int | None:
    """Sets the peak of the process's memory back to what is in use, which is returned, after the C library gave back
    what it keeps of freed memory; None where that is not possible."""
    with suppress(AttributeError, OSError, TypeError):  # a C library without it
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR.write_text("5")  # proc(5): resets the peak resident set size
    except OSError:
        return None
    return _resident("VmRSS")


def _resident(field: str) -> int | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)
