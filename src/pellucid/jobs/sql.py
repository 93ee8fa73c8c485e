"""Rows chosen by a condition in SQL, which DuckDB asks of the index, or of the shards for what only these have."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset as ds

from ..errors import InputError, MissingExtra
from .folder import Folder
from .index import UNREADABLE
from .matching import Places, indexed, matching, places_of

pc: Any = pyarrow.compute


def places_by_sql(
    folder: Folder, shards: ds.Dataset, key: str, condition: str, filter: Any = None, places: Places | None = None
) -> Places:
    """The rows for which a condition holds, among those that fit. shards: the shards. key: a column that tells rows
    apart. filter, places: as `matching`. Raises InputError, MissingExtra."""
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtra("A filter in SQL (--where) needs DuckDB: pip install 'pellucid[sql]'.") from error
    rows = matching(folder, [key], filter, places)
    among = None if places is None else rows.select([key])
    found, short = None, indexed(folder)
    if short is not None:
        with suppress(duckdb.Error, *UNREADABLE):  # a column that only the shards have, or an index that is damaged
            found = _found(short, key, condition, filter, among)
    try:
        found = _found(shards, key, condition, filter, among) if found is None else found
    except duckdb.Error as error:
        raise InputError(f"Found the filter {condition!r}, which DuckDB cannot read: {error}") from error
    return places_of(rows.filter(pc.is_in(rows[key], value_set=found)))


def _found(dataset: ds.Dataset, key: str, condition: str, filter: Any, among: pa.Table | None) -> pa.Array:
    """The keys of the rows for which a condition holds. among: the keys of those that are asked; all where None."""
    import duckdb

    with duckdb.connect() as connection:
        connection.register("every", dataset if filter is None else dataset.filter(filter))
        asked = "from every"
        if among is not None:
            connection.register("among", among)
            asked += f" semi join among using ({key})"
        connection.sql(f"create temp view answers as {asked}")
        return connection.sql(f"select {key} from answers where {condition}").to_arrow_table()[key].combine_chunks()
