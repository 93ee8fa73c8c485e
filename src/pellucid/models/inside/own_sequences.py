"""The attention of inputs that a model reads as several sequences, such as two texts: within each, and none between.

A network reads the sequences of a row one after the other, all its layers on the first and then on the next (sentence
similarity), or as rows next to each other in one call (multiple choice). What all tokens of an input have for each
other is then a matrix with a block for each sequence, and zeros between the blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ...errors import UnsupportedModel
from ...numerics.attention.parts import Attention


@dataclass(frozen=True)
class Layout:
    """How the tokens of a batch stand in the network. widths: of each sequence, its padding included. left: whether
    they are padded on the left."""

    rows: int
    widths: tuple[int, ...]
    left: bool = False


def by_sequence(calls: Sequence[tuple[int, Attention]], layout: Layout, asked: str) -> list[list[Attention]]:
    """For each sequence the attention of each layer: its probabilities (rows, heads, width, width), and its values.

    calls: each call of a layer, in order, as the layer's number and its attention. asked: the details asked for, for an
    error. Raises UnsupportedModel where the attention is of another shape.
    """
    n = len(layout.widths)
    if n > 1 and all(len(a.probabilities) == layout.rows * n for _, a in calls):
        found = [[_beside(a, layout, s) for _, a in calls] for s in range(n)]
    else:
        each = len(calls) // n
        parts = [calls[s * each : (s + 1) * each] for s in range(n)]
        alike = len(calls) == n * each and all([i for i, _ in part] == [i for i, _ in parts[0]] for part in parts)
        found = [[a for _, a in part] for part in parts] if alike else [[]] * n
    for width, mine in zip(layout.widths, found, strict=True):
        shapes = [tuple(a.probabilities.shape) for a in mine]
        if not mine or not all(p[0] == layout.rows and p[2] == p[3] >= width for p in shapes):
            shown = ", ".join(str(tuple(a.probabilities.shape)) for _, a in calls[:3])
            expected = " and ".join(f"({layout.rows}, heads, {w}, {w})" for w in layout.widths)
            raise UnsupportedModel(
                f"Found attention of shapes {shown}, …; expected, in each layer, {expected}: every token of a sequence "
                f"attends to every token of it. Sparse attention, and layers that read only a part of the input, have "
                f"no such matrix. Leave out {asked}."
            )
    return found


def _beside(a: Attention, layout: Layout, sequence: int) -> Attention:
    """The attention of one sequence of each row, where the sequences of a row stand next to each other."""
    width, whole = layout.widths[sequence], a.probabilities.shape[-1]
    own = slice(whole - width, None) if layout.left else slice(width)
    of = lambda t: t.unflatten(0, (layout.rows, -1))[:, sequence]
    values = None if a.values is None else of(a.values)[:, :, own]
    return replace(a, probabilities=of(a.probabilities)[..., own, own], values=values)


def in_blocks(parts: Sequence[Tensor]) -> Tensor:
    """Of matrices (…, nₛ, mₛ) one (…, Σnₛ, Σmₛ) that has them one after the other on its diagonal, and zeros else."""
    if len(parts) == 1:
        return parts[0]
    whole = parts[0].new_zeros(*parts[0].shape[:-2], sum(p.shape[-2] for p in parts), sum(p.shape[-1] for p in parts))
    row = column = 0
    for p in parts:
        whole[..., row : row + p.shape[-2], column : column + p.shape[-1]] = p
        row, column = row + p.shape[-2], column + p.shape[-1]
    return whole
