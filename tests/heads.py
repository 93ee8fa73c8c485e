"""The families' models under another head than a sequence classifier's."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from families import COMMON, FAMILIES, classes


def headed(family: str, head: str, attention: str = "eager", dtype: Any = torch.float32, **config: Any) -> Any:
    """A random model with a head such as "ForMultipleChoice" or "Model" (none), its weights scaled up."""
    torch.manual_seed(0)
    row = FAMILIES[family]
    given = {**COMMON, **row.config, **config}
    settings = classes(family)[0](**{name: value for name, value in given.items() if value is not None})
    settings._attn_implementation = attention
    net = getattr(transformers, f"{row.name or family}{head}")(settings)
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim > 1:
                p.mul_(row.scale)
            else:
                p.add_(torch.randn_like(p) * 0.2)
    return net.to(dtype).eval()
