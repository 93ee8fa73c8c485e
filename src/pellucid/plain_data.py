"""Explanations' fields as plain values that JSON holds, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike

from .errors import InputError
from .tokens import Array

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON can hold."""


def as_plain(value: object, finite: bool = False) -> Json:
    """Dataclasses, arrays, mappings and sequences as dicts, lists, numbers and strings, at full precision. What JSON
    has no kind for becomes its `str`. finite: whether numbers that are not finite become None."""
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return None if finite and not math.isfinite(value) else float(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return as_plain(cast(object, value.tolist()), finite)
    if isinstance(value, Mapping):
        return {str(k): as_plain(v, finite) for k, v in cast("Mapping[object, object]", value).items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [as_plain(v, finite) for v in cast("Sequence[object]", value)]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_plain(getattr(value, f.name), finite) for f in fields(value)}
    return str(value)


def read_json(text: str) -> dict[str, object]:
    """The object that a JSON document holds. Raises InputError for anything else."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InputError(f"This is not JSON ({error}); expected what to_json() writes.") from error
    if not isinstance(data, dict):
        raise InputError(f"Found a JSON {type(data).__name__}; expected the object that to_json() writes.")
    return cast("dict[str, object]", data)


def are_equal(a: object, b: object) -> bool:
    """Whether two fields say the same: arrays number by number (NaN equals NaN), mappings key by key."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(cast(Array, a), cast(Array, b), equal_nan=True)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        one, other = cast("Mapping[object, object]", a), cast("Mapping[object, object]", b)
        return one.keys() == other.keys() and all(are_equal(one[k], other[k]) for k in one)
    return as_plain(cast(object, a)) == as_plain(b)


def as_tuple(value: Any) -> Any:
    """A list, which is what JSON has for a tuple, as a tuple; anything else as it is."""
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def frozen_array(values: ArrayLike) -> Array:
    """A copy in float64 that cannot be written to."""
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array
