"""`Run`: the answers of a run, in its Parquet files. Filters, sorting and search are pushed down to the files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset as ds

from ..errors import InputError, MissingExtra, RunError, expected, nearest
from ..outcome import Outcome
from .folder import Folder
from .planning import Plan
from .schema import LIGHT, NAMES, SCHEMA, check_version, outcome_of

pc: Any = pyarrow.compute

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Page:
    """Some rows of a run. rows: each as plain values, by column. total: how many rows the filter and search leave."""

    rows: tuple[dict[str, Any], ...]
    total: int


@dataclass(frozen=True)
class Run:
    """The answers of a run. Iterating gives an Outcome for each row, by the number of the row.

    filter: an expression of `pyarrow.compute`, which the files are filtered by. plan: of a dry run.

    Examples:
        >>> import pellucid, tempfile
        >>> with tempfile.TemporaryDirectory() as out:
        ...     run = pellucid.run(pellucid.load(), ["a good film", "a dull film"], out)
        ...     len(run), run.page(sort="-row", limit=1).rows[0]["text"], list(run.frame().columns[:3])
        (2, 'a dull film', ['id', 'row', 'text'])
    """

    folder: Folder
    filter: Any = None
    plan: Plan | None = field(default=None, compare=False)

    @property
    def path(self) -> str:
        """The folder."""
        return self.folder.path

    @property
    def manifest(self) -> dict[str, Any]:
        """The request, the model, the versions and the counts. Raises RunError where no run has begun."""
        found = self.folder.manifest()
        if found is None:
            raise RunError(f"There is no run in {self.path!r}.")
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
            filter = pc.field("row").isin(_rows_by_sql(self, filter))
        if filter is not None:
            found = filter if found is None else found & filter
        return replace(self, filter=found)

    def __len__(self) -> int:
        return self.dataset.count_rows(filter=self.filter)

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
        for batch in self.dataset.to_batches(columns=list(columns or NAMES), filter=self.filter, batch_size=1024):
            yield from batch.to_pylist()

    def __getitem__(self, row: int) -> Outcome:
        """The Outcome of the row of that number in the data. Raises IndexError."""
        found = next(self.where(row=row).rows(), None)
        if found is None:
            raise IndexError(f"There is no row {row} in {self.path!r}.")
        return outcome_of(found)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows as a pyarrow table."""
        for name in columns or ():
            _check_column(name)
        return self.dataset.to_table(columns=list(columns or NAMES), filter=self.filter)

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
        keys = chosen.table(list(dict.fromkeys(["row", name])))
        order = [(name, "ascending" if ascending else "descending"), *([("row", "ascending")] if name != "row" else [])]
        picked = (
            pc.select_k_unstable(keys, min(len(keys), offset + limit), order) if len(keys) else pa.array([], pa.int64())
        )
        numbers = keys["row"].take(picked)[offset:].to_pylist()
        found = (
            {
                r["row"]: r
                for r in replace(self, filter=pc.field("row").isin(numbers)).rows(
                    list(dict.fromkeys(["row", *columns]))
                )
            }
            if numbers
            else {}
        )
        return Page(tuple(found[n] for n in numbers), len(keys))

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


def _rows_by_sql(run: Run, condition: str) -> list[int]:
    """The numbers of the rows for which an SQL condition holds."""
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtra("A filter in SQL needs DuckDB: pip install duckdb") from error
    with duckdb.connect() as connection:
        connection.register("answers", run.dataset.scanner(filter=run.filter))
        try:
            return [row for (row,) in connection.sql(f"select row from answers where {condition}").fetchall()]
        except duckdb.Error as error:
            raise InputError(f"Found the filter {condition!r}, which DuckDB cannot read: {error}") from error
