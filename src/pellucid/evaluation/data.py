"""The inputs of an evaluation: a list, or a file with one input a row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, cast

from ..console import lines_of
from ..errors import InputError, quoted

DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LINES = (".jsonl", ".ndjson")


def inputs_of(data: object, column: str | int | None, limit: int | None) -> list[Any]:
    """The first `limit` inputs of a list, another iterable or a file, as `evaluate` takes them. Raises InputError."""
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InputError(f"Found limit={quoted(limit)}; expected a whole number above 0, or None for all inputs.")
    if isinstance(data, (str, Path)):
        rows: Iterable[Any] = _rows(Path(data), column)
    elif isinstance(data, Iterable):
        rows = (_cell(row, column, i) for i, row in enumerate(data)) if column is not None else data
    else:
        raise InputError(f"Found {quoted(data)} as the data; expected a list of inputs, or the name of a file.")
    found = list(islice(rows, limit))
    if not found:
        raise InputError("Found no inputs in the data; expected at least one.")
    return found


def _rows(path: Path, column: str | int | None) -> list[Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"Could not read {str(path)!r}: {error.strerror}. Expected a .csv, .tsv, .jsonl or .txt file; a single "
            "text is a list of one: [text]."
        ) from error
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return lines_of(content, repr(str(path)))
    if suffix in _LINES:
        return [_cell(_object(line, i, path), column, i) for i, line in enumerate(lines_of(content, repr(str(path))))]
    if suffix not in DELIMITERS:
        raise InputError(
            f"Found {str(path)!r}; expected a name that ends in {', '.join([*DELIMITERS, *_LINES, '.txt'])}."
        )
    try:
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise InputError(f"Could not read {str(path)!r} as UTF-8: {error}. Expected UTF-8.") from error
    quoting = csv.QUOTE_MINIMAL if suffix == ".csv" else csv.QUOTE_NONE  # the tables of benchmarks quote nothing
    if isinstance(column, int):
        return [
            _cell(row, column, i)
            for i, row in enumerate(csv.reader(text, delimiter=DELIMITERS[suffix], quoting=quoting))
            if row
        ]
    table = csv.DictReader(text, delimiter=DELIMITERS[suffix], quoting=quoting)
    return [_cell(row, column, i) for i, row in enumerate(table)]


def _object(line: str, i: int, path: Path) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(
            f"Found line {i + 1} of {str(path)!r}, which is no JSON: {error}. Expected one value a line."
        ) from error


def _cell(row: Any, column: str | int | None, i: int) -> Any:
    """The column of a row, or the whole row. Raises InputError."""
    if column is None:
        return row
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
