"""Which columns of a data set hold the text, the second text, the true label and the id of a row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InputError, nearest
from ..models.text.inputs import Form
from ..sources import Source

_SHORT = 200
"""Characters: what another column holds is kept beside the answer where it is no longer."""


@dataclass(frozen=True)
class Columns:
    """The columns that are read. item: by the name under which `explain` is given a value, the column that holds it;
    empty where a row is an input as it is. id: the column of the ids; None where a row's id is its number, from 0."""

    item: Mapping[str, str]
    id: str | None = None

    def input(self, row: Any) -> Any:
        """The input of `explain` that a row holds."""
        if not isinstance(row, Mapping) or not self.item:
            return row
        return {name: row.get(column) for name, column in self.item.items()}

    def key(self, row: Any, number: int) -> str:
        """The id of a row."""
        if self.id is None or not isinstance(row, Mapping):
            return str(number)
        return str(row.get(self.id))

    def beside(self, row: Any) -> str | None:
        """The short values of the other columns, as a JSON object; None where there are none."""
        if not isinstance(row, Mapping):
            return None
        used = {*self.item.values()} or {"text"}
        plain = {
            str(k): v
            for k, v in row.items()
            if k not in used
            and (v is None or isinstance(v, (bool, int, float)) or (isinstance(v, str) and len(v) <= _SHORT))
        }
        return json.dumps(plain, ensure_ascii=False) if plain else None

    def said(self) -> str:
        """The columns in words, for a person."""
        each = [f"{name} from {column!r}" if name != column else f"{column!r}" for name, column in self.item.items()]
        return f"columns read: {', '.join(each)}" if each else "every row is an input as it is"

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values."""
        return {**asdict(self), "item": dict(self.item)}


def columns_of(
    source: Source,
    form: Form,
    column: str | None = None,
    pair: str | None = None,
    context: str | None = None,
    label: str | None = None,
    id: str | None = None,
) -> Columns:
    """The columns that are named, and else those found by name. Raises InputError for one that is not there."""
    for option, name in (("column", column), ("pair", pair), ("context", context), ("label", label), ("id", id)):
        if name is not None and name not in source.columns:
            near = nearest(name, source.columns)
            meant = f"did you mean {near!r}? The" if near else "the"
            there = (
                f"{meant} columns are {', '.join(map(repr, source.columns))}"
                if source.columns
                else "its rows have no columns"
            )
            raise InputError(f"Found {option}={name!r}, which {source.name} does not have; {there}.")
    if pair is not None and context is not None:
        raise InputError("Found both a pair and a context; expected one of them.")
    if not source.columns:
        return Columns({}, id)
    item: dict[str, str] = {}
    if column is not None:
        item = {"question" if context else "text": column}
        if context or pair:
            item["context" if context else "text_pair"] = context or pair or ""
    else:
        parts, _ = form.layout(dict.fromkeys(source.columns, ""))
        if not parts:
            raise InputError(
                f"Found the columns {', '.join(map(repr, source.columns))} in {source.name}; expected {form.says}. Say "
                "which column holds the text: --column, or column=."
            )
        item = {name: name for name in parts.values()}
        if pair or context:
            item["context" if context else "text_pair"] = pair or context or ""
    found = label or next((n for n in form.labels if n in source.columns and n not in item.values()), None)
    if found is not None:
        item[found if found in form.labels else form.labels[0]] = found
    return Columns(item, id)
