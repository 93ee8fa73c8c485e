"""The inputs of an evaluation: a list, or a file with one input a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, cast

from ..errors import InputError, quoted
from ..sources import Unreadable
from ..sources.addresses import FORMATS, format_of
from ..sources.formats import of_files


def inputs_of(
    data: object, column: str | int | None, limit: int | None, tell: Callable[[str], None] = lambda line: None
) -> list[Any]:
    """The first `limit` inputs of a list, another iterable or a file, as `evaluate` takes them. tell: called with what
    is to be known of the file, such as that its first line is no header. Raises InputError."""
    check_limit(limit)
    if isinstance(data, (str, Path)):
        rows: Iterable[Any] = _rows(str(data), column, tell)
    elif isinstance(data, Mapping) or hasattr(data, "columns"):
        raise InputError(
            f"Found a {type(data).__name__} as the data, which gives its columns and not its rows; expected a list of "
            "inputs, or the name of a file. Of a pandas frame give frame.to_dict('records'); of one input a list of it."
        )
    elif isinstance(data, Iterable):
        rows = (_cell(row, column, i) for i, row in enumerate(data)) if column is not None else data
    else:
        raise InputError(f"Found {quoted(data)} as the data; expected a list of inputs, or the name of a file.")
    found = list(islice(rows, limit))
    if not found:
        raise InputError("Found no inputs in the data; expected at least one.")
    return found


def check_limit(limit: object) -> None:
    """Raises InputError where so many inputs cannot be taken."""
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InputError(f"Found limit={quoted(limit)}; expected a whole number above 0, or None for all inputs.")


def _rows(path: str, column: str | int | None, tell: Callable[[str], None]) -> Iterator[Any]:
    if format_of(path) is None:
        raise InputError(
            f"Found {path!r}; expected the name of a file that ends in {', '.join(FORMATS)}. A single text is a list "
            "of one: [text]."
        )
    source = of_files([path], header=False if isinstance(column, int) else None)
    for note in source.notes:
        tell(note)
    for i, row in enumerate(source.rows()):
        if isinstance(row, Unreadable):
            raise InputError(f"Row {i} of {path!r} cannot be read. {row.reason}")
        yield _cell([*row.values()] if isinstance(column, int) and isinstance(row, dict) else row, column, i)


def _cell(row: Any, column: str | int | None, i: int) -> Any:
    """The column of a row, or the whole row. Raises InputError."""
    if column is None:
        return row
    if isinstance(row, str):
        raise InputError(
            f"Found column={column!r}, and row {i} is a text: {quoted(row)}. Expected rows that have columns; leave "
            "the column out for a list of texts."
        )
    try:
        return row[column]
    except (KeyError, IndexError, TypeError) as error:
        if isinstance(row, dict):
            has = ", ".join(map(repr, cast("dict[object, object]", row)))
        else:
            has = f"{len(row)} columns" if isinstance(row, (list, tuple)) else quoted(row)
        raise InputError(
            f"Found no column {column!r} in row {i}, which has {has}; expected a column's name, or its number, from 0, "
            "where the file has no header."
        ) from error
