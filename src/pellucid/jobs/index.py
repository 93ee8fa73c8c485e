"""The index of a run: the short columns of many shards in a few files, so that a long list is sorted and searched fast.

An index is derived from the shards, and is used only where it says what they say. A part covers some shards, and names
each with its size and its times; a part of which a shard is missing, or is another file now, is not read. A part is
written whole or not at all, and its pages have checksums: one that cannot be read is made again from its shards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from ..errors import RunError
from .folder import Folder, Stamp
from .schema import INDEXED, SCHEMA, check_version

T = TypeVar("T")
PART_ROWS = 65_536
"""Rows from which a part is full: it stays as it is when the run grows."""
FEW = 16
"""So many shards need no part: they are read each time."""
_FEW_BYTES = 32_000_000
_GROUP = 4096
"""Rows of a row group of a part: what is read to see one row."""
_AT_ONCE = 8
"""So many shards are read at once."""
_VERSION = "1"
INDEX_SCHEMA = pa.schema(
    [
        *(SCHEMA.field(name) for name in INDEXED),
        pa.field("shard", pa.dictionary(pa.int32(), pa.string())),
        pa.field("at", pa.int32()),
    ]
)
_FORMAT = ds.ParquetFileFormat(
    read_options=ds.ParquetReadOptions(dictionary_columns={"shard"}),
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True),
)
UNREADABLE = (OSError, pa.ArrowException, ValueError, KeyError)
"""What reading a file raises that is not what was written."""


@dataclass(frozen=True)
class Covered:
    """A shard. edges: the digest of its first input and of its last, by id."""

    name: str
    stamp: Stamp
    rows: int
    failures: int
    edges: Mapping[str, str]


@dataclass(frozen=True)
class Part:
    """The short columns of some shards, in the order of `shards`. content: a file's path, or a table in memory."""

    shards: tuple[Covered, ...]
    content: Any
    filesystem: Any = None

    @property
    def name(self) -> str:
        """The name of its file, or of the file that it would have: the same for the same shards."""
        return f"{hashlib.sha256(self.covered.encode()).hexdigest()[:16]}.index"

    @property
    def covered(self) -> str:
        """Its shards, as its file says them."""
        return json.dumps([[s.name, s.stamp, s.rows, s.failures, dict(s.edges)] for s in self.shards])

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    @property
    def dataset(self) -> ds.Dataset:
        if isinstance(self.content, pa.Table):
            return ds.dataset(self.content)
        return ds.dataset(self.content, schema=INDEX_SCHEMA, format=_FORMAT, filesystem=self.filesystem)

    def table(self, columns: Sequence[str]) -> pa.Table:
        """All rows. Raises one of UNREADABLE."""
        found = self.dataset.to_table(columns=list(columns))
        if len(found) != self.rows:
            raise ValueError(f"Found {len(found)} rows; expected {self.rows}.")
        return found

    def rows_at(self, at: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """The rows at places in the part, ascending; only their row groups are read. Raises one of UNREADABLE."""
        if isinstance(self.content, pa.Table):
            return self.content.select(list(columns)).take(pa.array(at))
        groups = np.unique(at // _GROUP)
        with pq.ParquetFile(self.content, filesystem=self.filesystem, page_checksum_verification=True) as file:
            read = file.read_row_groups(groups.tolist(), list(columns))
        return read.take(pa.array(np.searchsorted(groups, at // _GROUP) * _GROUP + at % _GROUP))


@dataclass(frozen=True)
class Index:
    """All shards of a run. parts: of its index. rest: the shards that no part covers."""

    parts: tuple[Part, ...]
    rest: dict[str, Stamp]

    def rows(self, folder: Folder) -> int:
        """How many rows all shards have."""
        return sum(part.rows for part in self.parts) + sum(
            _rows_of_shard(folder, *shard) for shard in self.rest.items()
        )

    @property
    def is_short(self) -> bool:
        """Whether the shards that no part covers are few and small."""
        return len(self.rest) <= FEW and sum(size for size, _ in self.rest.values()) <= _FEW_BYTES


def index_of(folder: Folder) -> Index:
    """The parts that say what the shards say, and the shards that have none."""
    written = folder.stamps("_index", ".index")  # first: the shards of a part were there before it
    rest = folder.stamps("shards", ".parquet")
    found: list[Part] = []
    read = [part for name, stamp in written.items() if (part := _part(folder, name, stamp)) is not None]
    for part in sorted(read, key=lambda part: -part.rows):
        if all(shard.stamp[1] and rest.get(shard.name) == shard.stamp for shard in part.shards):
            found.append(part)
            for shard in part.shards:
                del rest[shard.name]
    return Index(tuple(found), rest)


@lru_cache(maxsize=4096)
def _part(folder: Folder, name: str, stamp: Stamp) -> Part | None:
    """A part in a file; None where the file is not what this version writes. stamp: of the file, so that another file
    of the same name is read anew."""
    path = folder.at(f"_index/{name}")
    try:
        with pq.ParquetFile(path, filesystem=folder.filesystem) as file:
            told, rows = file.metadata.metadata or {}, file.metadata.num_rows
            if file.schema_arrow.names != INDEX_SCHEMA.names or told[b"pellucid.index_version"] != _VERSION.encode():
                return None
        listed = json.loads(told[b"pellucid.covered"])
        part = Part(tuple(Covered(name, tuple(at), *more) for name, at, *more in listed), path, folder.filesystem)
    except (*UNREADABLE, TypeError):
        return None
    return part if part.shards and part.rows == rows else None


def in_memory(folder: Folder, shards: Mapping[str, Stamp]) -> Part:
    """The short columns of some shards, read from them. Raises RunError for a shard that cannot be read."""
    return _in_memory(folder, tuple(shards.items()))


@lru_cache(maxsize=2)
def _in_memory(folder: Folder, shards: tuple[tuple[str, Stamp], ...]) -> Part:
    return _joined(list(read_shards(folder, dict(shards), INDEXED)))


def _joined(read: Sequence[tuple[Covered, pa.Table]]) -> Part:
    tables = [INDEX_SCHEMA.empty_table()]
    for shard, table in read:
        places = pa.array(np.arange(len(table), dtype=np.int32))
        name = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(table), dtype=np.int32)), pa.array([shard.name]))
        tables.append(table.append_column("shard", name).append_column("at", places).cast(INDEX_SCHEMA))
    return Part(tuple(shard for shard, _ in read), pa.concat_tables(tables).unify_dictionaries())


def read_shards(
    folder: Folder, shards: Mapping[str, Stamp], columns: Sequence[str]
) -> Iterator[tuple[Covered, pa.Table]]:
    """What each shard says of itself, and some of its columns: several are read at once, few are in memory. Raises
    RunError for one that cannot be read."""
    waiting = iter(shards.items())
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while some := list(islice(waiting, 4 * _AT_ONCE)):
            yield from pool.map(lambda shard: _read_shard(folder, shard[0], shard[1], columns), some)


def _read_shard(folder: Folder, name: str, stamp: Stamp, columns: Sequence[str]) -> tuple[Covered, pa.Table]:
    path = folder.at(f"shards/{name}")
    try:
        with pq.ParquetFile(path, filesystem=folder.filesystem) as file:
            meta = file.metadata.metadata or {}
            check_version(meta, path)
            table = file.read([*columns, "error_type"] if "error_type" not in columns else list(columns))
    except (OSError, ValueError) as error:
        raise RunError(f"The shard {path!r} cannot be read: {error}. Remove it to have its rows done again.") from error
    failures = len(table) - table["error_type"].null_count
    edges = json.loads(meta.get(b"pellucid.edges", b"{}"))
    return Covered(name, stamp, len(table), failures, edges), table.select(list(columns)).replace_schema_metadata(None)


def intact(folder: Folder, part: Part, read: Callable[[Part], T]) -> T:
    """What is read of a part; of its shards, where its file is damaged."""
    try:
        return read(part)
    except UNREADABLE:
        if isinstance(part.content, pa.Table):
            raise
        again = in_memory(folder, {shard.name: shard.stamp for shard in part.shards})
        found = read(again)
        folder.remove(f"_index/{part.name}")  # the next reader writes another
        return found


@lru_cache(maxsize=65_536)
def _rows_of_shard(folder: Folder, name: str, stamp: Stamp) -> int:
    return pq.read_metadata(folder.at(f"shards/{name}"), filesystem=folder.filesystem).num_rows


def extend(folder: Folder) -> Index:
    """Writes parts for the shards that have none, where they are more than a few, and returns the index. Where nothing
    can be written, such as in a folder that is only read, the index stays as it is."""
    index = index_of(folder)
    if index.is_short:
        return index
    short = [part for part in index.parts if part.rows < PART_ROWS]
    left = index.rest | {shard.name: shard.stamp for part in short for shard in part.shards}
    try:
        kept = {part.name for part in index.parts if part.rows >= PART_ROWS}
        kept |= {_write(folder, part) for part in _filled(folder, left)}
        for name in folder.stamps("_index", ".index"):
            if name not in kept:
                folder.remove(f"_index/{name}")
    except (OSError, RunError):
        return index
    return index_of(folder)


def _filled(folder: Folder, shards: Mapping[str, Stamp]) -> Iterator[Part]:
    """Parts in memory, one after the other, each full but the last."""
    held: list[tuple[Covered, pa.Table]] = []
    for read in read_shards(folder, dict(sorted(shards.items())), INDEXED):
        held.append(read)
        if sum(shard.rows for shard, _ in held) >= PART_ROWS:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _write(folder: Folder, part: Part) -> str:
    """Writes a part, and returns the name of its file."""
    told = {"pellucid.index_version": _VERSION, "pellucid.covered": part.covered}
    table, out = part.content.replace_schema_metadata(told), pa.BufferOutputStream()
    pq.write_table(table, out, row_group_size=_GROUP, compression="zstd", write_page_checksum=True)
    folder.write(f"_index/{part.name}", out.getvalue().to_pybytes())
    return part.name
