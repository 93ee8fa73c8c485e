"""Workers on a Ray cluster: actors that keep the model loaded. Scheduling, restarts and retries are Ray's own.

An actor that dies, with its node or alone, is started again by Ray (`max_restarts`), and its block is done again
(`max_task_retries`); a block is a whole shard or none, so nothing is there twice. An actor has one block at a time and
one that waits, so a cluster never holds more than two blocks for each actor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import MissingExtra, RunError
from ..models import Model
from .answering import Answering, Job, ModelParts, Receipt
from .blocks import Block

_RETRIES = 5


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
    kind = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=_RETRIES)(_Actor)
    parts = ray.put((ModelParts.of(model), job))
    team = [kind.remote(parts) for _ in range(actors)]
    pending: dict[Any, Any] = {}
    idle, more = [*team, *team], True
    try:
        while more or pending:
            while more and idle:
                block = next(blocks, None)
                if block is None:
                    more = False
                else:
                    actor = idle.pop(0)
                    pending[actor.write.remote(block)] = actor
            if not pending:
                return
            (ready,), _ = ray.wait(list(pending), num_returns=1)
            idle.append(pending.pop(ready))
            try:
                yield ray.get(ready)
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                raise cause if isinstance(cause, RunError) else RunError(f"{type(cause).__name__}: {cause}") from error
            except ray.exceptions.RayError as error:
                raise RunError(f"Ray gave a block up after {_RETRIES} tries: {error}") from error
    finally:
        for actor in team:
            ray.kill(actor)


class _Actor:
    """A model with a job, in a process of Ray's."""

    def __init__(self, parts: tuple[ModelParts, Job]):
        model, job = parts
        self.answering = Answering.of(model.made(), job)

    def write(self, block: Block) -> Receipt:
        """Answers a block and writes its shard."""
        return self.answering.write(block)
