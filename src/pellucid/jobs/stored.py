"""`Run`: the answers of a run, in its Parquet files. Filters, sorting and search are pushed down to the files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset as ds

from ..errors import InputError, MissingExtra, RunNotFound, expected, nearest
from ..outcome import Outcome
from .folder import Folder
from .index import index_of
from .matching import PLACE, Places, matching, rows_at, scanned
from .planning import Plan
from .schema import LIGHT, NAMES, SCHEMA, check_version, outcome_of
from .sql import places_by_sql

pc: Any = pyarrow.compute

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Page:
    """Some rows of a run. rows: each as plain values, by column. total: how many rows the filter and search leave.
    places: of each row the shard that it is in and its number there, by which `Run.at` opens it."""

    rows: tuple[dict[str, Any], ...]
    total: int
    places: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Run:
    """The answers of a run. Iterating gives an Outcome for each row, by the number of the row.

    filter: an expression of `pyarrow.compute`, which the files are filtered by. places: the rows that a condition in
    SQL leaves; None where there is none. plan: of a dry run.

    Examples:
        >>> import pellucid, tempfile
        >>> with tempfile.TemporaryDirectory() as out:
        ...     run = pellucid.run(pellucid.load(), ["a good film", "a dull film"], out)
        ...     len(run), run.page(sort="-row", limit=1).rows[0]["text"], list(run.frame().columns[:3])
        (2, 'a dull film', ['id', 'row', 'text'])
    """

    folder: Folder
    filter: Any = None
    places: Places | None = field(default=None, compare=False)
    plan: Plan | None = field(default=None, compare=False)

    @property
    def path(self) -> str:
        """The folder."""
        return self.folder.path

    @property
    def manifest(self) -> dict[str, Any]:
        """The request, the model, the versions and the counts. Raises RunNotFound where no run has begun."""
        found = self.folder.manifest()
        if found is None:
            raise RunNotFound(f"There is no run in {self.path!r}.")
        return found

    @property
    def dataset(self) -> ds.Dataset:
        """The shards as a `pyarrow.dataset.Dataset`, for whatever reads one (DuckDB, Polars)."""
        paths = self.folder.shards()
        if not paths:
            return ds.dataset(SCHEMA.empty_table())
        found = ds.dataset(paths, format="parquet", filesystem=self.folder.filesystem)
        check_version(found.schema.metadata, paths[0])
        return found.replace_schema(SCHEMA)

    def where(self, filter: Any = None, **equal: Any) -> Run:
        """The rows that fit. filter: an expression of `pyarrow.compute`, such as `pc.field("probability") < 0.6`, or
        SQL of DuckDB as a text, such as "probability < 0.6 and label != prediction". equal: a column's value, or a list
        of values. Raises InputError for a column that is not there."""
        found = self.filter
        for name, value in equal.items():
            _check_column(name)
            part = (
                pc.field(name).isin(value)
                if isinstance(value, (list, tuple, set))
                else pc.field(name).is_null()
                if value is None
                else pc.field(name) == value
            )
            found = part if found is None else found & part
        if isinstance(filter, str):
            key = "row" if self.manifest["data"]["columns"]["id"] is None else "id"  # a number may be there twice
            places = places_by_sql(self.folder, self.dataset, key, filter, found, self.places)
            return replace(self, filter=found, places=places)
        if filter is not None:
            found = filter if found is None else found & filter
        return replace(self, filter=found)

    def __len__(self) -> int:
        if self.filter is not None or self.places is not None:
            return len(self._matching())
        return index_of(self.folder).rows(self.folder)

    @property
    def failures(self) -> int:
        """How many rows could not be explained."""
        return len(self.where(pc.field("error_type").is_valid()))

    def __iter__(self) -> Iterator[Outcome]:
        """In the order of the data where shards are (a run's own order), one shard in memory at a time."""
        for row in self.rows():
            yield outcome_of(row)

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Each row as plain values, by column."""
        for batch in self._batches(list(columns or NAMES)):
            yield from batch.to_pylist()

    def __getitem__(self, row: int) -> Outcome:
        """The Outcome of the row of that number in the data. Raises IndexError."""
        places = self.where(row=row)._matching()
        if not len(places):
            raise IndexError(f"There is no row {row} in {self.path!r}.")
        return outcome_of(rows_at(self.folder, places.slice(0, 1), NAMES)[0])

    def at(self, shard: str, number: int) -> Outcome:
        """The Outcome at a place of `Page.places`: that row and no other, also where a run with a column of ids was
        continued on other data, so that a number of a row is there twice. Raises IndexError."""
        if 0 <= number < 2**31 and shard in self.folder.stamps("shards", ".parquet"):
            place = pa.table({"shard": [shard], "at": [number]})
            with suppress(IndexError):
                return outcome_of(rows_at(self.folder, place, NAMES)[0])
        raise IndexError(f"There is no row {number} in the shard {shard!r} of {self.path!r}.")

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows as a pyarrow table."""
        for name in columns or ():
            _check_column(name)
        names = list(columns or NAMES)
        if self.places is None:
            return self.dataset.to_table(columns=names, filter=self.filter)
        return pa.concat_tables(self._batches(names), promote_options="default")

    def _batches(self, columns: list[str]) -> Iterator[Any]:
        if self.places is None:
            yield from self.dataset.to_batches(columns=columns, filter=self.filter, batch_size=1024)
        else:
            yield from (t.select(columns) for t in scanned(self.folder, columns, self.filter, self.places))

    def _matching(self, columns: Sequence[str] = ()) -> pa.Table:
        return matching(self.folder, columns, self.filter, self.places)

    def frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The rows as a pandas frame, a row for each Outcome. columns: those wanted; all where None."""
        try:
            import pandas  # noqa: F401
        except ImportError as error:
            raise MissingExtra("frame() needs pandas: pip install 'pellucid[plots]', or pip install pandas") from error
        return self.table(columns).to_pandas()

    def page(
        self,
        sort: str = "row",
        filter: Any = None,
        search: str = "",
        offset: int = 0,
        limit: int = 50,
        columns: Sequence[str] = LIGHT,
    ) -> Page:
        """Some rows of a long list, found in the files without loading them.

        sort: a column, with "-" before it for the largest first. filter: as `where`. search: characters that the text
        has, in either case. columns: those that a row has. Raises InputError for a column that is not there.
        """
        name, ascending = sort.removeprefix("-"), not sort.startswith("-")
        for column in (name, *columns):
            _check_column(column)
        chosen = self.where(filter) if filter is not None else self
        if search:
            chosen = chosen.where(pc.match_substring(pc.field("text"), search, ignore_case=True))
        keys = chosen._matching(["row", name])
        order = [(name, "ascending" if ascending else "descending"), *([("row", "ascending")] if name != "row" else [])]
        most = min(len(keys), offset + limit)
        few = most <= len(keys) // 16  # a heap is faster than sorting all
        picked = pc.select_k_unstable(keys, most, order) if few and most else pc.sort_indices(keys, order)
        shown = keys.select(PLACE).take(picked[offset:most])
        places = zip(shown["shard"].to_pylist(), shown["at"].to_pylist(), strict=True)
        return Page(tuple(rows_at(self.folder, shown, columns)), len(keys), tuple(places))

    def summary(self, **options: Any) -> Any:
        """What drives each class, where the model is wrong, and how far the answers can be trusted: see
        `jobs.summary.summarize`."""
        from .summary import summarize

        return summarize(self, **options)

    def beside(self, other: Run, **options: Any) -> Any:
        """Another run over the same rows beside this one, such as that of a model after a fine-tuning: see
        `jobs.comparison.compare`."""
        from .comparison import compare

        return compare(self, other, **options)

    def __repr__(self) -> str:
        return f"Run({self.path!r}: {len(self):,} rows, {self.failures:,} failures)"


def _check_column(name: str) -> None:
    if name not in NAMES:
        near = nearest(name, NAMES)
        raise InputError(f"Found the column {name!r}; {expected(near)} one of {', '.join(NAMES)}.")
