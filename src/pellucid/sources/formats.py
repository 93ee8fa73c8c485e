"""The rows of files: CSV, TSV, JSONL, Parquet and text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import InputError, MissingExtra, quoted
from .addresses import format_of, opened
from .delimited import delimited
from .source import Source, Unreadable


def of_files(paths: list[str], header: bool | None = None) -> Source:
    """The rows of files of one format, one file after the other. header: whether the first line of each CSV or TSV
    file names its columns; None: found by what it says. Raises InputError, MissingExtra."""
    kinds = {format_of(p) for p in paths}
    if len(kinds) != 1 or None in kinds:
        raise InputError(f"Found files of {len(kinds)} formats, {quoted(paths, 200)}; expected files of one format.")
    kind = kinds.pop()
    name = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    if kind == "parquet":
        return _parquet(name, paths)
    if kind in ("csv", "tsv"):
        return delimited(name, paths, kind, header)
    if kind == "text":
        return Source(name, (), _lines(paths), lambda: _each_line(paths), _text)
    if any(_is_array(path) for path in paths):
        return _arrays(name, paths)
    first = next((row for row in map(_json, _each_line(paths)) if isinstance(row, Mapping)), {})
    return Source(name, tuple(first), _lines(paths), lambda: _each_line(paths), _json)


def _lines(paths: Iterable[str]) -> int:
    """How many lines files have that hold anything but spaces."""
    return sum(1 for _ in _each_line(paths))


def _each_line(paths: Iterable[str]) -> Iterator[bytes]:
    for path in paths:
        with opened(path) as file:
            for k, line in enumerate(file):
                line = line.removeprefix(b"\xef\xbb\xbf") if k == 0 else line
                if line.strip():
                    yield line


def _text(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def _json(line: bytes) -> Any:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Unreadable(_text(line), f"The line is not JSON ({error}); expected one object for each line.")
    if not isinstance(found, (Mapping, str)):
        return Unreadable(_text(line), f"The line holds a {type(found).__name__}; expected an object or a string.")
    return found


def _is_array(path: str) -> bool:
    """Whether a JSON file is one array of rows rather than a row on each line."""
    with opened(path) as file:
        start = file.read(1 << 12).removeprefix(b"\xef\xbb\xbf").lstrip()
    return start[:1] == b"[" and not path.lower().endswith((".jsonl", ".ndjson"))


def _arrays(name: str, paths: list[str]) -> Source:
    """The rows of JSON files that are an array each; a whole file is in memory at once."""
    rows: list[Any] = []
    for path in paths:
        with opened(path) as file:
            try:
                found = json.loads(file.read())
            except ValueError as error:
                raise InputError(f"{path!r} is not JSON ({error}); expected an array, or an object a line.") from error
        rows += found if isinstance(found, list) else [found]
    columns = dict.fromkeys(key for row in rows if isinstance(row, Mapping) for key in row)
    return Source(name, tuple(columns), len(rows), lambda: iter(rows), lambda row: row)


def _parquet(name: str, paths: list[str]) -> Source:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("Data sets are read and written by pyarrow: pip install 'pellucid[jobs]'") from error

    def open_one(path: str) -> Any:
        try:
            return pq.ParquetFile(opened(path)) if "://" in path else pq.ParquetFile(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"Could not read {path!r}: {error}. Expected a Parquet file.") from error

    def raw() -> Iterator[Any]:
        for path in paths:
            for batch in open_one(path).iter_batches(4096):
                yield from ((batch, i) for i in range(batch.num_rows))

    files = [open_one(path) for path in paths]
    count = sum(f.metadata.num_rows for f in files)
    return Source(name, tuple(files[0].schema_arrow.names), count, raw, _record)


def _record(at: tuple[Any, int]) -> dict[str, Any]:
    batch, i = at
    return {name: batch.column(k)[i].as_py() for k, name in enumerate(batch.schema.names)}
