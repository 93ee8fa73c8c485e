"""One queue of work: one job at a time, in order, on a thread of its own.

What is outdated, and what nobody waits for any more, is never begun; where it is running, it stops before its model's
next pass.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..errors import PellucidError
from ..interruption import stopped_where

MOST_WAITING = 200


class Outdated(PellucidError):
    """The same client asked something newer before this was done, or stopped it, or left."""


class Busy(PellucidError):
    """Too much work is waiting."""


@dataclass(eq=False)
class _Job:
    key: str
    run: Callable[[], Any]
    done: asyncio.Future[Any]
    stopped: bool = False
    passes: int = 0

    def begun(self) -> Any:
        """What `run` returns, in the thread that this is called in."""
        with stopped_where(self._is_stopped):
            return self.run()

    def _is_stopped(self) -> bool:
        self.passes += 1
        return self.stopped


@dataclass(eq=False)
class Queue:
    """Jobs in the order in which they came. A job takes the place of those of the same key."""

    waiting: deque[_Job] = field(default_factory=deque)
    running: _Job | None = None
    finished: int = 0
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "pellucid"))

    async def answer(self, key: str, run: Callable[[], Any], gone: Callable[[], Awaitable[bool]]) -> Any:
        """What `run` returns. key: of the client and its purpose; "" for none. gone: whether the client has left.

        Raises Outdated where a newer job of the same key came, Busy where too many wait, and what `run` raises.
        """
        self.cancel(key)
        if len(self.waiting) >= MOST_WAITING:
            raise Busy(f"Found {len(self.waiting)} requests waiting; expected fewer. Try again in a moment.")
        job = _Job(key, run, asyncio.get_running_loop().create_future())
        self.waiting.append(job)
        self._next()
        while not job.done.done():
            await asyncio.wait([job.done], timeout=0.5)
            if not job.done.done() and await gone():
                self._drop(job)
        return job.done.result()

    def cancel(self, key: str) -> int:
        """Drops what waits or runs under a key; how many there were."""
        running = [] if self.running is None or self.running.stopped else [self.running]
        found = [job for job in (*running, *self.waiting) if key and job.key == key]
        for job in found:
            self._drop(job)
        return len(found)

    def told(self, key: str) -> dict[str, int | bool | None]:
        """How much is waiting, how many jobs are before that of a key, and how many passes it has taken if it runs."""
        keys = [job.key for job in self.waiting]
        before = keys.index(key) + (self.running is not None) if key in keys else None
        mine = self.running if self.running is not None and self.running.key == key else None
        passes = None if mine is None else mine.passes
        return {
            "waiting": len(keys),
            "running": mine is not None,
            "passes": passes,
            "before": before,
            "finished": self.finished,
        }

    def close(self) -> None:
        """Ends the thread once its job is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _drop(self, job: _Job) -> None:
        job.stopped = True
        if job in self.waiting:
            self.waiting.remove(job)
        if not job.done.done():
            job.done.set_exception(Outdated("This was stopped, or something newer was asked meanwhile."))

    def _next(self) -> None:
        if self.running is not None or not self.waiting:
            return
        job = self.running = self.waiting.popleft()
        work = asyncio.get_running_loop().run_in_executor(self._thread, job.begun)
        work.add_done_callback(lambda future: self._finish(job, future))

    def _finish(self, job: _Job, future: asyncio.Future[Any]) -> None:
        self.running, self.finished = None, self.finished + 1
        error = None if future.cancelled() else future.exception()
        if job.done.done():
            pass
        elif future.cancelled():
            job.done.cancel()
        elif error is not None:
            job.done.set_exception(error)
        else:
            job.done.set_result(future.result())
        self._next()
