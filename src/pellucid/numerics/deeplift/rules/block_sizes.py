"""How many elements of a tensor a rule works on at once."""

from __future__ import annotations

import torch

_MANY = 1 << 24
"""Elements that keep a GPU busy for longer than Python takes to ask for the next operation; 64 MB in float32."""


def at_once(cached: int, device: torch.device) -> int:
    """Elements to a block: on a CPU `cached`, which stay in its cache; elsewhere many, because there a call costs as
    much as the work on a million elements.

    Examples:
        >>> at_once(1 << 17, torch.device("cpu")), at_once(1 << 17, torch.device("cuda"))
        (131072, 16777216)
    """
    return cached if device.type == "cpu" else max(cached, _MANY)
