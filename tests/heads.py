"""The families' models under another head than a sequence classifier's."""

from __future__ import annotations

from typing import Any

import torch

import families


def headed(family: str, head: str, attention: str = "eager", dtype: Any = torch.float32, **config: Any) -> Any:
    """A random model with a head such as "ForMultipleChoice" or "Model" (none), as `families.built`."""
    return families.built(family, families.headed(family, head), attention, dtype=dtype, **config)
