"""`Source`: a data set that is read row by row, from its beginning.

A row is first taken as it lies in its source (`Source.raw`), and parsed only where it is needed (`Source.parse`), so
that rows which are done already cost no more than reading past them. A row that cannot be parsed is `Unreadable`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Unreadable:
    """A row of a file that is not what its format says. text: the row as it lies there. reason: what is wrong."""

    text: str
    reason: str


@dataclass(frozen=True)
class Source:
    """A data set that can be read from its beginning.

    name: how it is called in the manifest. columns: the names of its columns; empty where its rows have none. count:
    how many rows it has; None where nobody knows. raw: yields each row as it lies there. parse: such a row as an input
    of `explain`, or Unreadable. notes: what was taken for granted, in sentences.
    """

    name: str
    columns: tuple[str, ...]
    count: int | None
    raw: Callable[[], Iterator[Any]]
    parse: Callable[[Any], Any]
    notes: tuple[str, ...] = ()

    def rows(self) -> Iterator[Any]:
        """Each row, parsed."""
        return map(self.parse, self.raw())
