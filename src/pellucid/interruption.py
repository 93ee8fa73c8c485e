"""Lets work that runs in another thread be stopped: it looks, before each pass of a model, whether anyone asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .errors import PellucidError

_STOPPED: ContextVar[Callable[[], bool]] = ContextVar("stopped", default=lambda: False)


class Interrupted(PellucidError):
    """Work was stopped by who asked for it."""


@contextmanager
def stopped_where(asked: Callable[[], bool]) -> Iterator[None]:
    """Inside, `check_interruption` raises Interrupted once `asked()` says so.

    Examples:
        >>> with stopped_where(lambda: True):
        ...     check_interruption()
        Traceback (most recent call last):
        pellucid.interruption.Interrupted: Stopped before the next pass of the model, as was asked.
    """
    token = _STOPPED.set(asked)
    try:
        yield
    finally:
        _STOPPED.reset(token)


def check_interruption() -> None:
    """Raises Interrupted where the work that this is a part of was stopped."""
    if _STOPPED.get()():
        raise Interrupted("Stopped before the next pass of the model, as was asked.")
