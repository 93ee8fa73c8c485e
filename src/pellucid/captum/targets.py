"""Which values of a function's outputs are explained, in Captum's form: an index, a tuple of them, or one a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ArgumentError

Value = Any


def selected(output: Value, target: Value) -> Value:
    """The values of the target in an output: one for each row, where the target names one element of a row.

    target: as in Captum. An index; a tuple of indices; a tensor or a list with one index, or one for each row; a list
        with a tuple for each row; None for the whole output. Raises ArgumentError.
    """
    if target is None or not isinstance(output, Tensor):
        return output
    if isinstance(target, Tensor):
        if target.numel() == 1:
            return _column(output, (int(target.item()),))
        target = target.tolist() if target.ndim == 1 else [tuple(t) for t in target.tolist()]
    if isinstance(target, np.ndarray) and target.ndim:
        target = target.tolist()
    if isinstance(target, (int, bool)) or (hasattr(target, "item") and not isinstance(target, (list, tuple))):
        return _column(output, (int(target),))
    if isinstance(target, tuple):
        return _column(output, target)
    if not isinstance(target, list):
        raise ArgumentError(f"Found target={target!r}; expected an index, a tuple of indices, or one for each row.")
    if len(target) == 1:
        return _column(output, target[0] if isinstance(target[0], tuple) else (int(target[0]),))
    rows = output.shape[0] if output.ndim else 1
    if len(target) != rows:
        raise ArgumentError(f"Found {len(target)} targets for {rows} rows; expected one target, or one for each row.")
    each = [tuple(t) if isinstance(t, (tuple, list)) else (int(t),) for t in target]
    if any(len(t) != output.ndim - 1 for t in each):
        raise ArgumentError(
            f"Found target={target!r} for an output {tuple(output.shape)}; expected {output.ndim - 1} indices a row."
        )
    if all(t == each[0] for t in each):
        return _column(output, each[0])
    index = torch.tensor(each, device=output.device).T
    try:
        return output[(torch.arange(rows, device=output.device), *index)]
    except IndexError as error:
        raise _no_such_element(output, target) from error


def _column(output: Tensor, target: tuple[Value, ...]) -> Tensor:
    try:
        return output[(slice(None), *target)]
    except IndexError as error:
        raise _no_such_element(output, target) from error


def _no_such_element(output: Tensor, target: Value) -> ArgumentError:
    sizes = tuple(output.shape)
    if output.ndim < 2:
        return ArgumentError(
            f"Found target={target!r} for an output {sizes}; expected none: the output is one number for each row. "
            "Leave it out, or let the function return rows first: (rows, classes)."
        )
    return ArgumentError(
        f"Found target={target!r} for an output {sizes}; expected at most {output.ndim - 1} indices, each of which is "
        "there."
    )
