"""Which texts, and which of their baselines, go through the model together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import torch

from ..engine.memory import graphs_of, most_for_a_graph

TOKENS = 1024
"""Positions to a batch. Measured on two CPU cores: larger batches are no faster per text, and need more memory."""
_MANY = 1 << 14
"""Positions to a batch on a GPU, where they fit: a batch costs Python as long as thousands of positions take there."""
_BATCHES = 16
"""A batch costs by itself as much as this part of the positions that go together: fewer batches mean more padding. Of
200 SST-2 texts 7 % is padding on a CPU, 16 % where batches are filled to the brim."""


def positions(device: torch.device, layers: int, width: int) -> int:
    """How many positions go through a network of so many layers together: on a GPU as many as a quarter of its free
    memory has room for, by the graphs of two float32 passes.

    Examples:
        >>> positions(torch.device("cpu"), layers=6, width=384)
        1024
    """
    if device.type == "cpu":
        return TOKENS
    return max(TOKENS, min(_MANY, most_for_a_graph(device) // graphs_of(4 * width, layers)))


def groups(
    lengths: Sequence[int], copies: int = 1, tokens: int = TOKENS, kinds: Sequence[Hashable] = ()
) -> list[list[int]]:
    """Indices in batches: texts of similar length together, so that little is padding; a long text goes alone.

    copies: how many rows a text has, one for each baseline. kinds: only texts of one kind go together; none given, all
    are of one.

    Examples:
        >>> groups([3, 9, 4], tokens=128)
        [[0, 2], [1]]
        >>> groups([3, 3, 3], kinds=["a", "b", "a"])
        [[0, 2], [1]]
    """
    of_kind: dict[Hashable, list[int]] = {}
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        of_kind.setdefault(kinds[i] if kinds else None, []).append(i)
    cut = ((mine, _cut([lengths[i] * copies for i in mine], tokens)) for mine in of_kind.values())
    return [[mine[i] for i in batch] for mine, batches in cut for batch in batches]


def _cut(sizes: Sequence[int], tokens: int) -> list[range]:
    """Consecutive ranges of ascending sizes, of at most `tokens` padded positions, that cost least in all: what a batch
    costs by itself, and its positions with padding. (Dynamic programming over where the last batch begins.)"""
    cost, begins = np.zeros(len(sizes) + 1), [0]
    for end in range(1, len(sizes) + 1):
        longest = sizes[end - 1]
        first = max(0, end - max(1, tokens // longest))
        each = cost[first:end] + np.arange(end - first, 0, -1) * longest  # where the last batch begins at `first` + i
        best = int(each.argmin())
        cost[end] = each[best] + tokens // _BATCHES
        begins.append(first + best)
    ranges, end = [], len(sizes)
    while end:
        ranges.append(range(begins[end], end))
        end = begins[end]
    return ranges[::-1]


def together(positions: int, copies: int, tokens: int = TOKENS) -> int:
    """How many of the copies of a batch of so many positions go through together, in as few and as equal parts as can
    be.

    Examples:
        >>> together(positions=500, copies=5, tokens=1024), together(positions=2000, copies=5, tokens=1024)
        (2, 1)
    """
    most = max(1, tokens // max(1, positions))
    parts = -(-copies // most)
    return -(-copies // parts)
