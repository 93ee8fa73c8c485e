"""Which rows of a run fit a filter, and those rows: from the index where it has the columns, and else from the shards.

A row's place is its shard and its number in there, which no other row has, whatever its id and its number in the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from .folder import Folder
from .index import INDEX_SCHEMA, INDEXED, Index, Part, extend, in_memory, intact
from .schema import SCHEMA

PLACE = ("shard", "at")
Places = Mapping[str, np.ndarray]
"""Rows: by the name of each shard that has some, their numbers in it, ascending."""


def matching(folder: Folder, columns: Sequence[str], filter: Any = None, places: Places | None = None) -> pa.Table:
    """Of each row that fits, some columns and its place. filter: an expression of `pyarrow.compute`, or None. places:
    those rows alone."""
    wanted = [*dict.fromkeys(columns), *PLACE]
    index = extend(folder)
    if index.is_short and set(columns) <= set(INDEXED) and _fits_index(filter):
        read = lambda part: part.dataset.to_table(columns=wanted, filter=filter)
        tables = [_among(intact(folder, part, read), places) for part in _parts(folder, index)]
    else:
        tables = list(scanned(folder, wanted, filter, places))
    return pa.concat_tables(tables, promote_options="default")


def places_of(found: pa.Table) -> Places:
    """The places in a table that has them."""
    found = found.select(PLACE).unify_dictionaries().combine_chunks()
    if not len(found):
        return {}
    names, at = found["shard"].chunk(0), found["at"].to_numpy()
    codes = names.indices.to_numpy()
    order = np.lexsort((at, codes))
    codes, at = codes[order], at[order]
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    texts = names.dictionary.to_pylist()
    return {texts[codes[k]]: each for k, each in zip(starts, np.split(at, starts[1:]), strict=True)}


def _placed(name: str, at: np.ndarray) -> pa.Table:
    shard = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(at), dtype=np.int32)), pa.array([name]))
    return pa.table({"shard": shard, "at": pa.array(at.astype(np.int32))})


def _among(table: pa.Table, places: Places | None) -> pa.Table:
    """The rows of a table that are at these places."""
    if places is None or not len(table):
        return table
    table = table.unify_dictionaries().combine_chunks()
    names, at = table["shard"].chunk(0), table["at"].to_numpy()
    codes, kept = names.indices.to_numpy(), np.zeros(len(table), dtype=bool)
    for code, name in enumerate(names.dictionary.to_pylist()):
        if name in places:
            rows = np.flatnonzero(codes == code)
            kept[rows] = np.isin(at[rows], places[name])
    return table.filter(pa.array(kept))


def rows_at(folder: Folder, places: pa.Table, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows at some places, in their order, as plain values by column."""
    names = places["shard"].to_pylist()
    at = places["at"].to_numpy()
    by_shard: dict[str, list[int]] = {}
    for k, name in enumerate(names):
        by_shard.setdefault(name, []).append(k)
    found: dict[int, dict[str, Any]] = {}
    for numbers, table in _read(folder, by_shard, at, list(columns)):
        found |= zip(numbers, table.to_pylist(), strict=True)
    return [found[k] for k in range(len(names))]


def indexed(folder: Folder) -> ds.Dataset | None:
    """All rows with the columns of the index as one dataset; None where there is no index and the shards are many."""
    index = extend(folder)
    return ds.dataset([part.dataset for part in _parts(folder, index)]) if index.is_short else None


def _read(
    folder: Folder, by_shard: dict[str, list[int]], at: np.ndarray, columns: list[str]
) -> Iterator[tuple[list[int], pa.Table]]:
    """For each part or shard with rows that are wanted, the numbers of these in `at`, and the rows."""
    index = extend(folder)
    if index.is_short and set(columns) <= set(INDEXED):
        for part in _parts(folder, index):
            starts = np.cumsum([0, *(shard.rows for shard in part.shards)])
            of = {shard.name: int(start) for shard, start in zip(part.shards, starts[:-1], strict=True)}
            there = [(of[name] + int(at[k]), k) for name in of.keys() & by_shard.keys() for k in by_shard.pop(name)]
            if there:
                positions, numbers = zip(*sorted(there), strict=True)
                read = partial(Part.rows_at, at=np.array(positions), columns=columns)
                yield list(numbers), intact(folder, part, read)
    for name, numbers in by_shard.items():
        path = folder.at(f"shards/{name}")
        with pq.ParquetFile(path, filesystem=folder.filesystem) as file:
            yield numbers, file.read(columns).take(pa.array(at[numbers]))


def _parts(folder: Folder, index: Index) -> tuple[Part, ...]:
    return (*index.parts, in_memory(folder, index.rest))


def _fits_index(filter: Any) -> bool:
    """Whether a filter can be asked of the columns of an index alone."""
    if filter is None:
        return True
    try:
        INDEX_SCHEMA.empty_table().select(list(INDEXED)).filter(filter)
    except pa.ArrowException:
        return False
    return True


def scanned(
    folder: Folder, columns: Sequence[str], filter: Any = None, places: Places | None = None
) -> Iterator[pa.Table]:
    """As `matching`, from the shards alone: a table for each, one in memory at a time, and an empty one first."""
    fields = {name: ds.field(name) for name in columns if name not in PLACE}
    yield pa.schema(
        [*(SCHEMA.field(name) for name in fields), *(INDEX_SCHEMA.field(name) for name in PLACE)]
    ).empty_table()
    for name in folder.stamps("shards", ".parquet") if places is None else sorted(places):
        shard = ds.dataset(folder.at(f"shards/{name}"), SCHEMA, "parquet", filesystem=folder.filesystem)
        table = shard.to_table(columns=fields | {"fits": ds.scalar(True) if filter is None else filter})
        at = np.flatnonzero(table["fits"].fill_null(False).to_numpy())
        if places is not None:
            at = np.intersect1d(at, places[name])
        place = _placed(name, at)
        yield pa.table([*table.select(list(fields)).take(pa.array(at)).columns, *place.columns], [*fields, *PLACE])
