"""`source_of`: which kind of data set is meant by a path, a name or an object."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from ..errors import InputError, MissingExtra
from ..models.text.batch_inputs import several
from ..models.text.inputs import Form
from .addresses import FORMATS, format_of, matching
from .formats import of_files
from .source import Source
from .streams import count_of, each_row, is_map_style, one_by_one


def source_of(data: Any, form: Form, split: str | None = None) -> Source:
    """A data set as a Source.

    data: the path of a file, a pattern such as "reviews/*.csv", an fsspec address, a list of these, a folder that
    `datasets` saved, or the name of a data set on the hub; or an object: a `datasets.Dataset`, a pandas or Polars
    frame, a DataLoader, a map-style data set, or an iterable of inputs. Raises InputError, MissingExtra.

    Examples:
        >>> from pellucid.models.text.inputs import TEXT_OR_PAIR
        >>> source = source_of([{"text": "a good film", "label": 1}], TEXT_OR_PAIR)
        >>> source.columns, source.count, next(source.rows())
        (('text', 'label'), 1, {'text': 'a good film', 'label': 1})
    """
    if isinstance(data, (str, os.PathLike)):
        return _named(os.fspath(data), split)
    if isinstance(data, (list, tuple)) and data and all(map(_is_file_name, data)):
        _check_no_split(split, str(data[0]))
        return of_files([path for item in data for path in matching(os.path.expanduser(os.fspath(item)))])
    return _of_object(data, form, split)


def _is_file_name(item: Any) -> bool:
    """Whether an item of a list is a file rather than a text."""
    return isinstance(item, os.PathLike) or (
        isinstance(item, str) and format_of(item) is not None and ("/" in item or len(item.split()) == 1)
    )


def _named(name: str, split: str | None) -> Source:
    expanded = os.path.expanduser(name)
    if os.path.isdir(expanded):
        within = sorted(os.listdir(expanded))
        if {"dataset_info.json", "dataset_dict.json", "state.json"} & set(within):
            return _of_splits(_datasets().load_from_disk(expanded), expanded, split)
        files = [os.path.join(expanded, f) for f in within if format_of(f)]
        if files:
            _check_no_split(split, name)
            return of_files(files)
        raise InputError(
            f"Found the folder {name!r}, which holds no data; expected files that end in {', '.join(FORMATS)}, or what "
            "Dataset.save_to_disk writes."
        )
    if "://" in name or format_of(name):
        _check_no_split(split, name)
        return of_files(matching(expanded))
    if os.path.isfile(expanded):
        raise InputError(f"Found the file {name!r}; expected a name that ends in one of {', '.join(FORMATS)}.")
    if name.startswith((".", "/", "~")):
        raise InputError(f"There is no file or folder {name!r}; expected one, or the name of a data set on the hub.")
    return _of_hub(name, split)


def _check_no_split(split: str | None, name: str) -> None:
    if split is not None:
        raise InputError(f"Found split={split!r} for {name!r}; expected it for a data set that has splits only.")


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("This data set is read by datasets: pip install 'pellucid[jobs]'") from error
    return datasets


def _of_hub(name: str, split: str | None) -> Source:
    datasets = _datasets()
    try:
        found = datasets.load_dataset(name, split=split, streaming=split is not None)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"Found {name!r}, which is no file or folder here, and datasets could not load it: {error}. Expected a "
            f"path that ends in one of {', '.join(FORMATS)}, or the name of a data set on the hub."
        ) from error
    return _of_splits(found, name, None)


def _of_splits(found: Any, name: str, split: str | None) -> Source:
    if not isinstance(found, Mapping):
        _check_no_split(split, name)
        return _of_table(found, name)
    chosen = split or (next(iter(found)) if len(found) == 1 else None)
    if chosen not in found:
        raise InputError(f"Found split={split!r} of {name!r}; expected one of {', '.join(map(str, found))}.")
    return _of_table(found[chosen], f"{name} ({chosen})")


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
    _check_no_split(split, kind)
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
        data = batch
    if isinstance(data, (list, tuple)):
        columns = dict.fromkeys(str(key) for row in data if isinstance(row, Mapping) for key in row)
        return Source(f"a {kind}", tuple(columns), len(data), lambda: iter(data), lambda row: row)
    if not isinstance(data, Iterable) and not is_map_style(data):
        raise InputError(f"Found a {kind} as the data; expected a path, a data set, a frame or an iterable of inputs.")
    return _of_stream(data, form, f"a {kind}")


def _of_stream(data: Any, form: Form, name: str) -> Source:
    """A stream. Its first row is read now, for the names of the columns, and given when the rows are read."""
    begun = lambda: one_by_one(each_row(data) if is_map_style(data) else data, form)
    start = begun()
    first = next(start, None)
    waiting: list[Iterator[Any]] = [] if first is None else [chain([first], start)]
    columns = tuple(map(str, first)) if isinstance(first, Mapping) else ()
    return Source(name, columns, count_of(data), lambda: waiting.pop() if waiting else begun(), lambda row: row)
