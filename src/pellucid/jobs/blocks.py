"""Rows of the data in blocks of a fixed size, without those that are done: each block becomes one shard.

A block is the rows k·n to (k + 1)·n of the data, whatever was done before. The batches within a block depend on its
rows alone, so an answer is the same number bit for bit whether the run was interrupted or not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ..errors import RunError, quoted
from ..sources import Source, Unreadable
from .columns import Columns
from .folder import Folder
from .index import index_of, intact, read_shards


@dataclass(frozen=True)
class Block:
    """Rows that are answered together. number: of the block. ids, rows: the id of each row and its number in the data.
    items: the inputs. beside: the other columns of each row, as JSON."""

    number: int
    ids: tuple[str, ...]
    rows: tuple[int, ...]
    items: tuple[Any, ...]
    beside: tuple[str | None, ...]

    @property
    def name(self) -> str:
        """The name of its shard, which is the same for the same rows."""
        told = hashlib.sha256("\0".join(self.ids).encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return f"part-{self.number:09d}-{told}.parquet"

    @property
    def edges(self) -> dict[str, str]:
        """A digest of the first input and of the last by id: where the data change, these do."""
        return {self.ids[k]: digest_of(self.items[k]) for k in (0, -1)} if self.items else {}


def digest_of(item: Any) -> str:
    """A digest of one input."""
    told = json.dumps(item, sort_keys=True, default=repr, ensure_ascii=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


class Done:
    """Which ids are done, eight bytes for each: a row's number where that is its id, and else a digest of the id."""

    def __init__(self, numbered: bool):
        self.numbered = numbered
        self.edges: dict[str, str] = {}
        self.rows = self.failures = 0
        self._sorted = np.zeros(0, dtype=np.uint64)

    @classmethod
    def of(cls, folder: Folder, numbered: bool) -> Done:
        """What the shards of a folder say. Raises RunError for a shard that cannot be read."""
        found, column = cls(numbered), "row" if numbered else "id"
        index = index_of(folder)
        read = [(part.shards, intact(folder, part, lambda p: p.table([column]))) for part in index.parts]
        read += [((shard,), table) for shard, table in read_shards(folder, index.rest, [column])]
        parts: list[np.ndarray] = []
        for shards, table in read:
            for shard in shards:
                found.edges |= shard.edges
                found.rows += shard.rows
                found.failures += shard.failures
            ids = table[column]
            parts.append(ids.to_numpy().astype(np.uint64) if numbered else _keys(ids.to_pylist()))
        if parts:
            found._sorted = np.sort(np.concatenate(parts))
        return found

    def has(self, ids: list[str]) -> np.ndarray:
        """For each id whether it is done."""
        if not len(self._sorted):
            return np.zeros(len(ids), dtype=bool)
        keys = np.array([int(i) for i in ids], dtype=np.uint64) if self.numbered else _keys(ids)
        at = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return self._sorted[at] == keys


class Seen:
    """The ids that this run has met, to find one that is there twice: eight bytes for each."""

    def __init__(self) -> None:
        self._sorted, self._recent = np.zeros(0, dtype=np.uint64), set[int]()

    def repeated(self, ids: list[str]) -> str | None:
        """Takes the ids down; the first that was there before, or None."""
        keys = _keys(ids)
        at = np.minimum(np.searchsorted(self._sorted, keys), max(0, len(self._sorted) - 1))
        old = self._sorted[at] == keys if len(self._sorted) else np.zeros(len(keys), dtype=bool)
        for key, before, id in zip(keys.tolist(), old, ids, strict=True):
            if before or key in self._recent:
                return id
            self._recent.add(key)
        if len(self._recent) > 50_000:
            self._sorted = np.union1d(self._sorted, np.fromiter(self._recent, np.uint64, len(self._recent)))
            self._recent.clear()
        return None


def _keys(ids: list[str]) -> np.ndarray:
    digests = b"".join(hashlib.blake2b(i.encode("utf-8", "surrogatepass"), digest_size=8).digest() for i in ids)
    return np.frombuffer(digests, dtype=np.uint64)


def blocks_of(
    source: Source, columns: Columns, size: int, done: Done, limit: int | None = None, chosen: np.ndarray | None = None
) -> Iterator[Block]:
    """The blocks of a data set, without the rows that are done.

    limit: so many rows from the beginning. chosen: the numbers of the rows of a sample, ascending. Raises RunError for
    an id that is there twice, and where a row that is done is another now.
    """
    numbered = islice(enumerate(source.raw()), limit)
    if chosen is not None:
        wanted = set(chosen.tolist())
        numbered = (at for at in numbered if at[0] in wanted)
    seen, block = Seen(), 0
    while part := list(islice(numbered, size)):
        rows = [number for number, _ in part]
        if columns.id is None:
            parsed: list[Any] = [None] * len(part)
            ids = [str(n) for n in rows]
        else:
            parsed = [source.parse(raw) for _, raw in part]
            ids = [columns.key(row, n) for row, n in zip(parsed, rows, strict=True)]
            if (twice := seen.repeated(ids)) is not None:
                raise RunError(
                    f"Found the id {quoted(twice)} twice in the column {columns.id!r}; expected an id of its own for "
                    "each row. Leave the column of ids out: a row is then known by its number."
                )
        before = done.has(ids)
        for k in {0, len(part) - 1} if before.any() else ():
            if ids[k] in done.edges and before[k]:
                _check_same(done.edges[ids[k]], columns.input(source.parse(part[k][1])), rows[k])
        keep = [k for k in range(len(part)) if not before[k]]
        if keep:
            some = [parsed[k] if parsed[k] is not None else source.parse(part[k][1]) for k in keep]
            items = tuple(row if isinstance(row, Unreadable) else columns.input(row) for row in some)
            yield Block(
                block,
                tuple(ids[k] for k in keep),
                tuple(rows[k] for k in keep),
                items,
                tuple(columns.beside(r) for r in some),
            )
        block += 1


def _check_same(digest: str, item: Any, row: int) -> None:
    if digest_of(item) != digest:
        raise RunError(
            f"Row {row} of the data is {quoted(item, 80)}, which is not what was explained here before; expected the "
            "same data. Name another folder, or a column of ids (--id) where rows were added or moved."
        )
