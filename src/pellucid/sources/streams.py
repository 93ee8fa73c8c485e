"""Inputs that come one by one: data sets of PyTorch, loaders, generators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, default_collate

from ..models.text.batch_inputs import several
from ..models.text.inputs import Form


def is_map_style(inputs: Any) -> bool:
    """Whether rows are read by number, as those of a map-style `torch.utils.data.Dataset`."""
    return not isinstance(inputs, Iterable) and hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__")


def each_row(inputs: Any) -> Iterator[Any]:
    """The rows of a map-style data set."""
    return (inputs[i] for i in range(len(inputs)))


def one_by_one(inputs: Iterable[object], form: Form) -> Iterator[object]:
    """The inputs of a stream, those of its batches one after the other."""
    collated = isinstance(inputs, DataLoader) and inputs.collate_fn is default_collate and inputs.batch_size is not None
    for item in inputs:
        batch = several(item, form, collated)
        yield from ([item] if batch is None else batch)


def count_of(inputs: Any) -> int | None:
    """How many rows a list, a map-style data set or a loader of one gives; None where nobody knows."""
    if isinstance(inputs, (list, tuple)) or is_map_style(inputs):
        return len(inputs)
    known = isinstance(inputs, DataLoader) and not isinstance(inputs.dataset, IterableDataset)
    if not known or inputs.drop_last or inputs.batch_size is None:
        return None
    return len(inputs.sampler) if hasattr(inputs.sampler, "__len__") else None  # type: ignore[arg-type]
