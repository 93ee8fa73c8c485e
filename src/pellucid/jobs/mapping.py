"""`pellucid.mapper`: a function for `datasets.Dataset.map` that adds the explanation of each row as columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .._explain import explain
from ..models import Model
from ..outcome import Failure
from ..sources import Source
from .columns import columns_of
from .schema import row_of

_ADDED = tuple(
    "tokens scores starts ends special target prediction probability output baseline_output delta status notes".split()
)


def mapper(
    model: Model,
    column: str | None = None,
    pair: str | None = None,
    context: str | None = None,
    label: str | None = None,
    prefix: str = "",
    **asked: Any,
) -> Callable[[Mapping[str, list[Any]]], dict[str, list[Any]]]:
    """A function from a batch of columns to the columns of its explanations, for `dataset.map(…, batched=True)`.

    column, pair, context, label: as `run`. prefix: begins the name of each new column. asked: as `explain`. A row that
    cannot be explained has None in each new column but `error`, which has the reason.

    Examples:
        >>> import pellucid
        >>> explained = pellucid.mapper(pellucid.load())({"text": ["a good film", ""]})
        >>> explained["prediction"], explained["tokens"][0][1:-1], explained["error"][1][:10]
        (['positive', None], ['a', 'good', 'film'], 'InputError')
    """

    def explained(batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        source = Source("the batch", tuple(batch), None, lambda: iter(()), lambda row: row)
        columns = columns_of(source, model.does.form, column, pair, context, label)
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        outcomes = explain(model, [columns.input(row) for row in rows], **{**asked, "errors": "return"})
        flat = [row_of(o, "", i, None, None) for i, o in enumerate(outcomes)]
        found = {f"{prefix}{name}": [row.get(name) for row in flat] for name in _ADDED}
        return found | {f"{prefix}error": [str(o) if isinstance(o, Failure) else None for o in outcomes]}

    return explained
