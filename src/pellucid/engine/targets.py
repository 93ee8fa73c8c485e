"""Which scalar of a function's outputs is explained: an index, one index per row, or a function of the outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..errors import OF_A_FUNCTION, PellucidError, UnknownTarget, shortened
from ..problem import Outputs, Select, detached, picked
from .memory import out_of_memory
from .rows import near

Index: TypeAlias = int | tuple[int, ...]
OutputTarget: TypeAlias = (
    Index
    | Sequence[Index | Tensor | np.generic]
    | Tensor
    | np.ndarray
    | np.generic
    | Callable[[Outputs], Tensor]
    | None
)
"""An index into a row of the outputs, one index for each row (a list, or integers (rows,)), a function `outputs ->
(rows,)`, or None where the outputs are one scalar per row."""


def select_of(target: OutputTarget, outputs: Outputs, rows: int) -> Select:
    """The function that takes the target's scalar from each row of the outputs.

    outputs: those at x, of which only the shape is looked at. rows: how many rows x has.
    Raises UnknownTarget where the target names no scalar of each row.
    """
    if callable(target):
        return lambda out, which: _scalars(returned_by(target, out), len(which))
    if not isinstance(outputs, Tensor):
        raise UnknownTarget(
            f"The function returned a {type(outputs).__name__}; expected a tensor. Return one, or pass a target "
            "function that picks the scalar: target=lambda out: out.logits[:, 1]."
        )
    if outputs.ndim == 0 or outputs.shape[0] != rows:
        raise UnknownTarget(
            f"The function returned shape {tuple(outputs.shape)} for {rows} rows; expected rows first: one output per "
            "row of the input."
        )
    if target is None:
        return lambda out, which: _scalars(out, len(which))
    index = _index(target, outputs, rows)
    return lambda out, which: out[
        (torch.arange(len(which), device=out.device), *(i.to(out.device)[which] for i in index))
    ]


def returned_by(target: Callable[[Outputs], Tensor], outputs: Outputs) -> Tensor:
    """What a user's target function returns for outputs. Raises UnknownTarget where the function raises, or gives a row
    among others another scalar than the row alone."""
    try:
        y = target(outputs)
        _check_rowwise(target, outputs, y)
        return y
    except OF_A_FUNCTION as error:
        if isinstance(error, PellucidError) or (isinstance(error, RuntimeError) and out_of_memory(error)):
            raise
        raise UnknownTarget(
            f"The target function raised {type(error).__name__}: {shortened(str(error).strip(), 200)}. It is given "
            f"{_named(outputs)} of shape {shapes_of(outputs)}; expected a function of these that returns one scalar "
            "per row."
        ) from error


def _check_rowwise(target: Callable[[Outputs], Tensor], outputs: Outputs, y: Tensor) -> None:
    """Raises UnknownTarget where the first or the last scalar is another than that of this row alone, asked again."""
    if not isinstance(y, Tensor) or y.ndim != 1:
        return
    with torch.no_grad(), torch._C.DisableTorchFunction():
        for row in {0, len(y) - 1}:
            one = picked(detached(outputs), torch.tensor([row], device=y.device), len(y))
            try:
                alone = target(one)
            except OF_A_FUNCTION:  # it holds a number for each row
                return
            if not isinstance(alone, Tensor) or alone.shape != (1,):
                return
            if not near(alone.double(), y[row : row + 1].detach().double()):
                raise UnknownTarget(
                    f"The target function gives a row {alone.item():.6g} alone and {y[row].item():.6g} among {len(y)}; "
                    "expected one scalar per row, the same each time, that depends on this row only. A mean or a "
                    "softmax needs dim=-1; draws at random and counters have no place in it."
                )


def shapes_of(outputs: Outputs) -> Any:
    """The shape of each tensor in a nest, for a message."""
    if isinstance(outputs, Mapping):
        return {name: shapes_of(value) for name, value in outputs.items()}
    if isinstance(outputs, Tensor):
        return tuple(outputs.shape)
    return [shapes_of(value) for value in outputs] if isinstance(outputs, (tuple, list)) else type(outputs).__name__


def _named(outputs: Outputs) -> str:
    """What kind of thing outputs are, and by which keys they are found, for a message."""
    if isinstance(outputs, Mapping):
        return f"a {type(outputs).__name__} with the keys {', '.join(map(repr, outputs))},"
    return "a tensor" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"


def _scalars(y: Outputs, n: int) -> Tensor:
    """`y` as (n,). Raises UnknownTarget where it is not one scalar per row."""
    if isinstance(y, Tensor) and y.ndim > 1 and y.numel() == n:
        y = y.reshape(n)
    if not isinstance(y, Tensor) or y.shape != (n,):
        what = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise UnknownTarget(f"Found {what} for {n} rows; expected one scalar per row. Choose one with target=index.")
    return y


def _choices(sizes: tuple[int, ...], rows: int) -> str:
    """What a target can be for outputs (rows, *sizes), in words."""
    if not sizes:
        return "no target, as that is one scalar per row already. Leave target out"
    if 0 in sizes:
        return "outputs with at least one number per row"
    one = f"an index from 0 to {sizes[0] - 1}"
    if len(sizes) > 1:
        one = f"a tuple of {len(sizes)} indices, each below its place in {sizes}, such as {(0,) * len(sizes)}"
    return f"{one}; a list of {rows} such, one for each row; or a function of the outputs that picks one scalar per row"


def _index(target: Any, outputs: Tensor, rows: int) -> list[Tensor]:
    """One index tensor (rows,) per dimension of the outputs after the first."""
    each = target.tolist() if isinstance(target, (Tensor, np.ndarray, np.generic)) else target
    per_row = each if isinstance(each, list) else [each] * rows
    per_row = [t.tolist() if isinstance(t, (Tensor, np.generic)) else t for t in per_row]
    if len(per_row) == 1:
        per_row = per_row * rows
    tuples = [t if isinstance(t, (tuple, list)) else (t,) for t in per_row]
    sizes = outputs.shape[1:]
    fits = len(tuples) == rows and all(
        len(t) == len(sizes) and all(isinstance(i, int) and -n <= i < n for i, n in zip(t, sizes, strict=True))
        for t in tuples
    )
    if not fits:
        raise UnknownTarget(
            f"The function returned shape {tuple(outputs.shape)} for {rows} row{'s' * (rows > 1)}, in which target="
            f"{shortened(repr(target), 80)} names no scalar of each row; expected {_choices(tuple(sizes), rows)}."
        )
    return [torch.tensor([t[k] % n for t in tuples]) for k, n in enumerate(sizes)]
