"""Workers on a Ray cluster: actors that keep the model loaded. Where they run, and their restarts, are Ray's own.

An actor that dies, with its node or alone, is started again by Ray (`max_restarts`) where there is room. Its blocks
go to whichever actor is idle, so a cluster with a node less goes on with those that are left; a block is a whole shard
or none, so nothing is there twice. An actor has one block at a time and one that waits, so a cluster never holds more
than two blocks for each actor.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from ..errors import MissingExtra, RunError
from ..models import Model
from .answering import Answering, Job, ModelParts, Receipt
from .blocks import Block

_TRIES = 6
"""So often a block is given to an actor before the run ends because actors die on it."""
_PAUSE = 0.5
"""Seconds before an actor that died is asked again whether it is there."""


def on_ray(
    model: Model, job: Job, blocks: Iterator[Block], actors: int, address: str | None, gpus: float
) -> Iterator[Receipt]:
    """Answers the blocks on so many actors. address: of a cluster; None: that which this process is connected to, or
    one of this machine. gpus: of each actor. Raises MissingExtra, RunError."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("Running on a cluster needs Ray: pip install 'pellucid[ray]'") from error
    started = not ray.is_initialized()
    if started:
        ray.init(address=address, log_to_driver=False, include_dashboard=False, configure_logging=False)
    try:
        yield from _receipts(ray, model, job, blocks, actors, gpus)
    finally:
        if started:
            ray.shutdown()


def _receipts(ray: Any, model: Model, job: Job, blocks: Iterator[Block], actors: int, gpus: float) -> Iterator[Receipt]:
    kind = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=0)(_Actor)
    parts = ray.put((ModelParts.of(model), job))
    team = [kind.remote(parts) for _ in range(actors)]
    again: list[tuple[Block, int]] = []
    answering: dict[Any, tuple[Any, Block, int]] = {}  # by reference: the actor, its block, and how often it was tried
    starting: dict[Any, Any] = {}  # by reference: an actor that says when it is there again
    idle = [*team, *team]
    try:
        while True:
            while idle and (given := _next(again, blocks)) is not None:
                actor = idle.pop(0)
                answering[actor.write.remote(given[0])] = (actor, *given)
            if not answering and not again:
                return
            (ready,), _ = ray.wait([*answering, *starting], num_returns=1)
            if ready in starting:
                actor = starting.pop(ready)
                if _answers(ray, ready):
                    idle += [actor, actor]
                else:
                    starting[actor.there.remote()] = actor
                continue
            actor, block, tries = answering.pop(ready)
            try:
                receipt = ray.get(ready)
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                raise cause if isinstance(cause, RunError) else RunError(f"{type(cause).__name__}: {cause}") from error
            except ray.exceptions.RayError as error:
                if tries + 1 == _TRIES:
                    raise RunError(f"Ray gave a block up after {_TRIES} tries: {error}") from error
                again.append((block, tries + 1))
                idle = [other for other in idle if other is not actor]
                if actor not in starting.values():
                    time.sleep(_PAUSE)
                    starting[actor.there.remote()] = actor
            else:
                if actor not in starting.values():
                    idle.append(actor)
                yield receipt
    finally:
        for actor in team:
            ray.kill(actor)


def _next(again: list[tuple[Block, int]], blocks: Iterator[Block]) -> tuple[Block, int] | None:
    """A block that an actor lost, or a new one, and how often it was tried."""
    if again:
        return again.pop(0)
    block = next(blocks, None)
    return None if block is None else (block, 0)


def _answers(ray: Any, reference: Any) -> bool:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError:
        time.sleep(_PAUSE)
        return False


class _Actor:
    """A model with a job, in a process of Ray's."""

    def __init__(self, parts: tuple[ModelParts, Job]):
        model, job = parts
        self.answering = Answering.of(model.made(), job)

    def there(self) -> bool:
        """Answers as soon as the model is loaded."""
        return True

    def write(self, block: Block) -> Receipt:
        """Answers a block and writes its shard."""
        return self.answering.write(block)
