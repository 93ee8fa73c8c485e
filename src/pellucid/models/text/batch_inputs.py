"""Several inputs from what a user or a loader passes: a list, columns of several values, ids of several rows.

A loader may yield the true labels beside the inputs, as PyTorch's own data sets do: (inputs, labels), or the tensors of
a `TensorDataset`. A batch is then as many inputs with their labels, as if they had come one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Number

import numpy as np
from torch import Tensor

from .inputs import Form, Value, are_ids, fractional

_BESIDE_IDS = ("attention_mask", "token_type_ids")
"""What the tensors between the ids and the labels of a batch are, in the order in which tokenizers return them."""


def several(given: Value, form: Form, collated: bool = False) -> list[Value] | None:
    """The inputs of a batch, as a list; None where what was given is one input.

    collated: it comes from a DataLoader, which has put the columns of its rows together (`default_collate`).
    """
    if form.ids and are_ids(given):
        return None
    if isinstance(given, (list, tuple)) and (labelled := _labelled(given, form, collated)) is not None:
        return labelled
    if isinstance(given, list):
        return _records_of(given) if collated and not all(isinstance(i, str) for i in given) else given
    if form.ids and _is_table(given):
        return list(given)
    if not isinstance(given, Mapping):
        return None
    columns, _ = form.layout(given)
    depth = {
        part: _depth(given[name], named=part in form.listed) - (part in form.listed or part == "input_ids")
        for part, name in columns.items()
    }
    main = [part for part in columns if part not in form.optional] or list(columns)
    if not main or min(depth[p] for p in main) < 1 or ("input_ids" in main and are_ids(given["input_ids"])):
        return None
    if collated:
        return _records_of(given)
    n = len(given[columns[main[0]]])
    return [{name: _at_record(value, k, n) for name, value in given.items()} for k in range(n)]


def _is_table(value: Value) -> bool:
    """Whether these are the token ids of several inputs, or what stands beside them: whole numbers, rows first."""
    if not isinstance(value, (Tensor, np.ndarray)) or value.ndim != 2:
        return False
    return value.dtype.kind in "iu" if isinstance(value, np.ndarray) else not fractional(value)


def _labelled(given: list[Value] | tuple[Value, ...], form: Form, collated: bool) -> list[Value] | None:
    """The inputs of (inputs, labels), each with its label; None where this is something else. The inputs are a list of
    texts or of pairs, a mapping of columns, or ids (rows, tokens), which a mask and token types may follow; the labels
    are one number for each."""
    if len(given) < 2:
        return None
    first, *beside, labels = given
    n = _count(labels)
    if beside or (form.ids and _is_table(first)):
        whole = form.ids and all(_is_table(t) and t.shape == first.shape for t in (first, *beside))
        named = whole and len(beside) <= len(_BESIDE_IDS) and all(_is_mask(t) for t in beside)
        if n is None or not named or n != len(first):
            return None
        columns = {"input_ids": first, **dict(zip(_BESIDE_IDS, beside, strict=False))}
        return [({name: t[k] for name, t in columns.items()}, labels[k]) for k in range(n)]
    if n is None or not (isinstance(first, Mapping) or _are_texts(first, pairs=not collated)):
        return None
    inputs = list(first) if isinstance(first, (list, tuple)) else several(first, form, collated)
    inputs = [first] if inputs is None and n == 1 else inputs
    return None if inputs is None or len(inputs) != n else list(zip(inputs, labels, strict=True))


def _count(labels: Value) -> int | None:
    """How many labels these are, each a number; None where they are something else."""
    if isinstance(labels, (Tensor, np.ndarray)):
        return len(labels) if labels.ndim == 1 else None
    plain = isinstance(labels, (list, tuple)) and all(isinstance(i, (Number, np.generic)) for i in labels)
    return len(labels) if plain and labels else None


def _are_texts(value: Value, pairs: bool) -> bool:
    """Whether this is a list of texts, or of pairs of texts, if there may be any: `default_collate` takes pairs
    apart."""
    kinds = (str, tuple) if pairs else str
    return isinstance(value, (list, tuple)) and all(isinstance(i, kinds) for i in value) and len(value) > 0


def _is_mask(t: Value) -> bool:
    """Whether a table holds nothing but 0 and 1."""
    return bool(((t == 0) | (t == 1)).all())


def _at_record(value: Value, k: int, n: int) -> Value:
    """The value of a column in the k-th of n records; a value that is no column is the same for all."""
    return value[k] if isinstance(value, (list, tuple, Tensor, np.ndarray)) and len(value) == n else value


def _records_of(batch: Value) -> list[Value]:
    """The records of which `torch.utils.data.default_collate` made a batch."""
    n = _length(batch)
    return [_uncollated(batch, k) for k in range(n)]


def _length(batch: Value) -> int:
    """How many records a batch has."""
    if isinstance(batch, Mapping):
        return min(map(_length, batch.values()))
    if isinstance(batch, (list, tuple)) and batch and not all(isinstance(i, str) for i in batch):
        return min(map(_length, batch))
    return len(batch)


def _uncollated(batch: Value, k: int) -> Value:
    """The k-th record of a batch."""
    if isinstance(batch, Mapping):
        return {name: _uncollated(value, k) for name, value in batch.items()}
    if isinstance(batch, Tensor) or all(isinstance(i, str) for i in batch):
        return batch[k]
    parts = [_uncollated(part, k) for part in batch]
    return tuple(parts) if len(parts) == 2 else parts


def _depth(value: Value, named: bool = False) -> int:
    """How deep a value is nested: 0 for no list, 1 for a list, 2 for a list of lists. named: whether a pair, (name,
    text), is one text."""
    if named and isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value):
        return 0
    if isinstance(value, (Tensor, np.ndarray)):
        return value.ndim
    return 1 + _depth(value[0], named) if isinstance(value, (list, tuple)) and len(value) else 0
