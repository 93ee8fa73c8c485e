"""Which texts go through the model together."""

from __future__ import annotations

from collections.abc import Sequence

TOKENS = 1024
"""Positions to a batch. Measured on two CPU cores: larger batches are no faster per text, and need more memory."""


def groups(lengths: Sequence[int], tokens: int = TOKENS) -> list[list[int]]:
    """Indices in batches: texts of similar length together, so that little is padding; a long text goes alone.

    Examples:
        >>> groups([3, 9, 4], tokens=8)
        [[0, 2], [1]]
    """
    result: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if result and (len(result[-1]) + 1) * lengths[i] <= tokens:
            result[-1].append(i)
        else:
            result.append([i])
    return result
