"""Types of the arguments of `__torch_function__`, by which torch calls are seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Value: TypeAlias = Any
"""An argument or a result: a tensor, a nest of tensors, a number, a name, and anything else that a function takes."""
TorchFunction: TypeAlias = Callable[..., Value]
Args: TypeAlias = tuple[Value, ...]
Kwargs: TypeAlias = dict[str, Value]


def name_of(function: TorchFunction) -> str:
    """The name of a torch function, such as "softmax"; "" for one without a name."""
    return getattr(function, "__name__", "")
