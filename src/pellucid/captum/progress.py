"""Shows how far a method is, on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar

T = TypeVar("T")


def counted(items: Iterable[T], name: str | None, more: int = 0, total: int | None = None) -> Iterator[T]:
    """The items, while a bar named after the method counts them. No bar where name is None.

    more: steps that were done before. total: the number of items, where they have no length.
    """
    if name is None:
        yield from items
        return
    from tqdm import tqdm  # only where a bar is asked for

    n = total if total is not None else len(items) if isinstance(items, Sized) else None
    bar: Any = tqdm(desc=f"{name} attribution", total=None if n is None else n + more)
    bar.update(more)
    for item in items:
        yield item
        bar.update()
    bar.close()
