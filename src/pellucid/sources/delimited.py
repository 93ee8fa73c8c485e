"""The rows of CSV and TSV files, with or without a header."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator
from typing import Any

from ..errors import InputError, quoted
from ..models.text.inputs import LABELS, PAIRS, TEXT
from .addresses import opened
from .source import Source, Unreadable

KNOWN = {*TEXT, *LABELS, *(name for pair in PAIRS for name in pair), "id", "idx"}
"""Names that columns have in the data sets of the world: where a first line has one of them, it is a header."""


def delimited(name: str, paths: list[str], kind: str, header: bool | None = None) -> Source:
    """The rows of files. kind: "csv" or "tsv". header: as `of_files`. The columns of a later file may stand in another
    order. Raises InputError where they are others."""
    comma = "\t" if kind == "tsv" else ","
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    quotes = [csv.QUOTE_NONE if kind == "tsv" and not _quotes(path) else csv.QUOTE_MINIMAL for path in paths]

    def lines(k: int) -> Iterator[list[str]]:
        with opened(paths[k]) as file:
            text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
            yield from (row for row in csv.reader(text, delimiter=comma, quoting=quotes[k]) if row)  # type: ignore[arg-type]

    heads = [next(lines(k), []) for k in range(len(paths))]
    headed = _is_header(heads[0]) if header is None else header
    columns = [cell.strip() for cell in heads[0]] if headed else _names_of(heads[0])
    if len(set(columns)) != len(columns):
        raise InputError(
            f"Found the columns {quoted(columns, 200)} in {paths[0]!r}; expected a name of its own for each."
        )
    orders = [_order(columns, head, path) if headed else None for head, path in zip(heads, paths, strict=True)]

    def raw() -> Iterator[list[str]]:
        for k, order in enumerate(orders):
            rows = lines(k)
            if headed:
                next(rows, None)
            if order is None:
                yield from rows
            else:
                yield from ([row[i] for i in order] if len(row) == len(order) else row for row in rows)

    def parse(row: list[str]) -> Any:
        if len(row) != len(columns):
            said = f"The row has {len(row)} columns; expected {len(columns)}: {', '.join(columns)}."
            return Unreadable(comma.join(row), said)
        return dict(zip(columns, row, strict=True))

    notes = () if headed else (f"The first line is no header: its columns are called {', '.join(columns)}.",)
    return Source(name, tuple(columns), sum(1 for _ in raw()), raw, parse, notes)


def _order(columns: list[str], head: list[str], path: str) -> list[int] | None:
    """Where a file has each column; None where it has them in the order of the first file, or is empty."""
    names = [cell.strip() for cell in head]
    if not names or names == columns:
        return None
    if sorted(names) != sorted(columns):
        raise InputError(
            f"Found the columns {quoted(names, 120)} in {path!r}; expected those of the first file, "
            f"{quoted(columns, 120)}."
        )
    return [names.index(column) for column in columns]


def _quotes(path: str) -> bool:
    """Whether quotes enclose fields of a TSV file: every field that begins with one ends with one, and has others only
    in twos."""
    with opened(path) as file:
        start = file.read(1 << 20)
    begins, whole = rb'(?:^|(?<=\t))"', rb'(?:^|(?<=\t))"(?:[^"]|"")*"(?=\t|\r?$)'
    without = re.sub(whole, b"", start, flags=re.MULTILINE)
    return bool(re.search(whole, start, re.MULTILINE)) and not re.search(begins, without, re.MULTILINE)


def _is_header(first: list[str]) -> bool:
    if any(cell.strip().lower() in KNOWN or cell.strip() in KNOWN for cell in first):
        return True
    return not any(_is_number(cell) or len(cell.split()) > 3 for cell in first)


def _names_of(first: list[str]) -> list[str]:
    """Names for the columns of a file without a header: of a text and a short value, `text` and `label`."""
    if len(first) == 1:
        return ["text"]
    values = [_is_number(cell) or len(cell.split()) <= 1 for cell in first]
    if len(first) == 2 and sum(values) == 1:
        return ["label" if value else "text" for value in values]
    return [f"column{k + 1}" for k in range(len(first))]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
