"""Reads a data set row by row: files in any of five formats, data sets of Hugging Face, and whatever yields rows.

A row is first taken as it lies in its source (`Source.raw`), and parsed only where it is needed (`Source.parse`), so
that rows which are done already cost no more than reading past them. A row that cannot be parsed is `Unreadable`.
"""

from __future__ import annotations

import csv
import glob
import gzip
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import InputError, MissingExtra, quoted
from ..models.text.batch_inputs import several
from ..models.text.inputs import LABELS, PAIRS, TEXT, Form

KNOWN = {*TEXT, *LABELS, *(name for pair in PAIRS for name in pair), "id", "idx"}
"""Names that columns have in the data sets of the world: where a first line has one of them, it is a header."""
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
}


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


def source_of(data: Any, form: Form, split: str | None = None) -> Source:
    """A data set as a Source.

    data: the path of a file, a pattern such as "reviews/*.csv", a list of paths, an fsspec address, a folder that
    `datasets` saved, or the name of a data set on the hub; or an object: a `datasets.Dataset`, a pandas frame, a
    DataLoader, a map-style data set, or an iterable of inputs. Raises InputError, MissingExtra.
    """
    if isinstance(data, (str, os.PathLike)):
        return _named(os.fspath(data), split)
    if isinstance(data, (list, tuple)) and data and all(_is_file(item) for item in data):
        return _of_files([os.fspath(item) for item in data], split)
    return _of_object(data, form, split)


def _named(name: str, split: str | None) -> Source:
    expanded = os.path.expanduser(name)
    if os.path.isdir(expanded):
        saved = {"dataset_info.json", "dataset_dict.json", "state.json"} & set(os.listdir(expanded))
        if saved:
            return _saved(expanded, split)
        files = [os.path.join(expanded, f) for f in sorted(os.listdir(expanded)) if _format(f)]
        if files:
            return _of_files(files, split)
        raise InputError(
            f"Found the folder {name!r}, which holds no data; expected files that end in {', '.join(FORMATS)}, or what "
            "Dataset.save_to_disk writes."
        )
    if "://" in name or _format(name):
        return _of_files(_matching(expanded), split)
    if os.path.isfile(expanded):
        raise InputError(f"Found the file {name!r}; expected a name that ends in one of {', '.join(FORMATS)}.")
    if name.startswith((".", "/", "~")):
        raise InputError(f"There is no file or folder {name!r}; expected one, or the name of a data set on the hub.")
    return _of_hub(name, split)


def _is_file(item: Any) -> bool:
    return isinstance(item, os.PathLike) or (isinstance(item, str) and bool(_format(item)) and os.path.isfile(item))


def _format(name: str) -> str | None:
    """The format of a file by its name; that of what is compressed by the name without its last suffix."""
    low = name.lower().removesuffix(".gz").removesuffix(".zst").removesuffix(".bz2")
    return next((kind for suffix, kind in FORMATS.items() if low.endswith(suffix)), None)


def _matching(pattern: str) -> list[str]:
    """The files that a path, a pattern or an address means. Raises InputError where there are none."""
    if "://" in pattern:
        fs, path = _filesystem(pattern)
        found = sorted(fs.glob(path)) if any(c in path for c in "*?[") else [path] if fs.exists(path) else []
        found = [fs.unstrip_protocol(f) for f in found]
    else:
        found = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
    if not found:
        raise InputError(f"There is no file {pattern!r}; expected a path, a pattern or an address of at least one.")
    return found


def _filesystem(address: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra(f"{address!r} is read by fsspec: pip install 'pellucid[jobs]'") from error
    try:
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise MissingExtra(f"{address!r} cannot be opened: {error}") from error


def opened(path: str) -> IO[bytes]:
    """A file or an address, unpacked where its name says that it is compressed."""
    if "://" in path:
        fs, inner = _filesystem(path)
        return fs.open(inner, "rb", compression="infer")
    if path.endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if path.endswith((".zst", ".bz2")):
        import fsspec

        opening: Any = fsspec.open(path, "rb", compression="infer")
        return opening.open()
    return Path(path).open("rb")


def _of_files(paths: list[str], split: str | None) -> Source:
    if split is not None:
        raise InputError(f"Found split={split!r} for {paths[0]!r}; expected it for a data set that has splits only.")
    kinds = {_format(p) for p in paths}
    if len(kinds) != 1 or None in kinds:
        raise InputError(f"Found files of {len(kinds)} formats, {quoted(paths, 200)}; expected files of one format.")
    kind = kinds.pop()
    name = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    if kind == "parquet":
        return _parquet(name, paths)
    if kind in ("csv", "tsv"):
        return _delimited(name, paths, kind)
    if kind == "text":
        return Source(name, (), _lines(paths), lambda: _each_line(paths), _text)
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


def _text(line: bytes) -> Any:
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def _json(line: bytes) -> Any:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Unreadable(_text(line), f"The line is not JSON ({error}); expected one object for each line.")
    if not isinstance(found, (Mapping, str)):
        return Unreadable(_text(line), f"The line holds a {type(found).__name__}; expected an object or a string.")
    return found


def _parquet(name: str, paths: list[str]) -> Source:
    pq = _pyarrow_parquet()

    def open_one(path: str) -> Any:
        return pq.ParquetFile(opened(path)) if "://" in path else pq.ParquetFile(path)

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


def _pyarrow_parquet() -> Any:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("Data sets are read and written by pyarrow: pip install 'pellucid[jobs]'") from error
    return pq


# ------------------------------------------------------------------------------------------------- CSV and TSV


def _delimited(name: str, paths: list[str], kind: str) -> Source:
    comma = "\t" if kind == "tsv" else ","
    quoting = csv.QUOTE_NONE if kind == "tsv" and not _quotes(paths[0]) else csv.QUOTE_MINIMAL
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))

    def lines(path: str) -> Iterator[list[str]]:
        with opened(path) as file:
            text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
            yield from (row for row in csv.reader(text, delimiter=comma, quoting=quoting) if row)  # type: ignore[arg-type]

    first = next(lines(paths[0]), [])
    headed = _is_header(first)
    columns = first if headed else _names_of(first)
    if len(set(columns)) != len(columns):
        raise InputError(
            f"Found the columns {quoted(columns, 200)} in {paths[0]!r}; expected a name of its own for each."
        )

    def raw() -> Iterator[list[str]]:
        for path in paths:
            rows = lines(path)
            if headed:
                next(rows, None)
            yield from rows

    def parse(row: list[str]) -> Any:
        if len(row) != len(columns):
            said = f"The row has {len(row)} columns; expected {len(columns)}: {', '.join(columns)}."
            return Unreadable(comma.join(row), said)
        return dict(zip(columns, row, strict=True))

    notes = () if headed else (f"The first line is no header: its columns are called {', '.join(columns)}.",)
    return Source(name, tuple(columns), sum(1 for _ in raw()), raw, parse, notes)


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


# ------------------------------------------------------------------------------------------------------- objects


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("This data set is read by datasets: pip install 'pellucid[jobs]'") from error
    return datasets


def _saved(folder: str, split: str | None) -> Source:
    return _of_splits(_datasets().load_from_disk(folder), folder, split)


def _of_hub(name: str, split: str | None) -> Source:
    datasets = _datasets()
    try:
        found = datasets.load_dataset(name, split=split, streaming=split is not None)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"Found {name!r}, which is no file or folder here, and datasets could not load it: {error}. Expected a "
            f"path that ends in one of {', '.join(FORMATS)}, or the name of a data set on the hub."
        ) from error
    return _of_splits(found, name, None if split else None if not isinstance(found, Mapping) else split)


def _of_splits(found: Any, name: str, split: str | None) -> Source:
    if isinstance(found, Mapping):
        chosen = split or (next(iter(found)) if len(found) == 1 else None)
        if chosen not in found:
            raise InputError(f"Found split={split!r} of {name!r}; expected one of {', '.join(found)}.")
        return _of_table(found[chosen], f"{name} ({chosen})")
    return _of_table(found, name)


def _of_table(found: Any, name: str) -> Source:
    """A `datasets.Dataset`, or one that streams."""
    columns = tuple(found.column_names or ())
    plain = found.with_format(None) if hasattr(found, "with_format") else found
    count = len(found) if hasattr(found, "__len__") else None
    return Source(name, columns, count, lambda: iter(plain), lambda row: row)


def _of_object(data: Any, form: Form, split: str | None) -> Source:
    kind = type(data).__name__
    if hasattr(data, "column_names") and (hasattr(data, "features") or isinstance(data, Mapping)):
        return _of_splits(data, kind, split)
    if split is not None:
        raise InputError(f"Found split={split!r} for a {kind}; expected it for a data set that has splits only.")
    if hasattr(data, "columns") and hasattr(data, "iterrows"):  # a pandas frame
        names = [str(c) for c in data.columns]
        rows = lambda: (dict(zip(names, row, strict=True)) for row in data.itertuples(index=False, name=None))
        return Source("a pandas frame", tuple(names), len(data), rows, lambda row: row)
    if hasattr(data, "iter_rows") and hasattr(data, "columns"):  # a Polars frame
        return Source("a Polars frame", tuple(data.columns), len(data), lambda: data.iter_rows(named=True), lambda r: r)
    if isinstance(data, Mapping):
        batch = several(data, form)
        if batch is None:
            raise InputError("Found one input; expected a data set. For one input use pellucid.explain.")
        return _of_object(batch, form, None)
    from .._explain import _input, _one_by_one

    given = data if isinstance(data, (list, tuple)) else _input(data, form)
    if not isinstance(given, Iterable):
        raise InputError(f"Found a {kind} as the data; expected a path, a data set, a frame or an iterable of inputs.")
    count = len(data) if isinstance(data, (list, tuple)) else None
    if isinstance(given, Iterator):
        return Source(f"a {kind}", (), count, lambda: _one_by_one(given, form), lambda row: row)
    first = next(iter(given), None) if isinstance(given, (list, tuple)) else None
    columns = tuple(map(str, first)) if isinstance(first, Mapping) else ()
    rows = lambda: iter(given) if isinstance(given, (list, tuple)) else _one_by_one(given, form)
    return Source(f"a {kind}", columns, count, rows, lambda row: row)
