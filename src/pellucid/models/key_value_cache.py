"""The key–value cache: evaluations that share the beginning of a text share its keys and values.

In a causal model, what is computed for a token depends on it and on the tokens before it. A point that is like its
row's own x before token s therefore needs only the tokens from s on, n − s of n, on top of the keys and values that a
pass at x has left for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from .net import Net
from .text.collating import Inputs

if TYPE_CHECKING:
    from transformers import DynamicCache


class Read(Protocol):
    """The model's logits (rows, K, vocabulary) at some columns (K,) of its inputs; x: as `Net.forward`."""

    def __call__(self, inputs: Inputs, x: Tensor, columns: Tensor, /, **more: object) -> Tensor: ...


Resumed = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""As `Problem.resumed`, for the logits of one sequence."""

_STRETCH = 16
"""Points that begin to differ within so many tokens, or a thirty-second of the text, go through together."""


@dataclass(frozen=True)
class Prefix:
    """What is kept of a pass at one row's x (1, tokens, hidden).

    inputs: what else the row gives the model. columns: (K,), where logits are read. layers: each layer's
    keys and values (1, heads, tokens, size); none where it kept others.
    """

    inputs: Inputs
    columns: Tensor
    layers: tuple[tuple[Tensor, Tensor], ...]


def resumed(net: Net, x: Tensor, inputs: Inputs, own: Tensor, columns: Tensor, read: Read) -> Resumed | None:
    """`Problem.resumed` for one sequence (rows, tokens) whose logits are read at columns (rows, K); None for a model
    that is not known to keep keys and values."""
    if not net.takes("past_key_values") or getattr(net.model, "_is_stateful", True):
        return None
    begins = own.long().argmax(1)

    @lru_cache(maxsize=1)
    def prefix(row: int) -> Prefix:
        given = {name: value[row][own[row]].unsqueeze(0) for name, value in inputs.items()}
        at, cache = columns[row] - begins[row], _cache()
        read(given, x[row][own[row]].unsqueeze(0), at[-1:], past_key_values=cache, use_cache=True)
        return Prefix(given, at, _kept(cache, int(own[row].sum())))

    def run(points: Tensor, rows: Tensor, first: Tensor, whole: Tensor) -> Tensor:
        parts, places = [], []
        stretch = torch.stack([rows, first // max(_STRETCH, own.shape[1] // 32)])
        for alike in stretch.unique(dim=1).mT:
            which, row = (stretch == alike.unsqueeze(1)).all(0).nonzero().squeeze(1), int(alike[0])
            mine, differs = points[which][:, own[row]], first[which] - begins[row]
            parts.append(_from(prefix(row), mine, differs, whole[row], read))
            places.append(which)
        return torch.cat(parts)[torch.cat(places).argsort()]

    return run


def _from(prefix: Prefix, x: Tensor, differs: Tensor, whole: Tensor, read: Read) -> Tensor:
    """The logits (n, K, vocabulary) at points x (n, tokens, hidden) that are the prefix's before their token
    differs[i]: there they are those of the whole (K, vocabulary), exactly."""
    n, start = len(x), int(differs.min())
    late = prefix.columns >= start
    logits = whole.expand(n, -1, -1)
    if not bool(late.any()):
        return logits
    start = start if prefix.layers else 0
    given = {
        name: (value if name == "attention_mask" else value[:, start:]).expand(n, -1)
        for name, value in prefix.inputs.items()
    }
    cache = _cache()
    for i, (keys, values) in enumerate(prefix.layers if start else ()):
        cache.update(keys[:, :, :start].expand(n, -1, -1, -1), values[:, :, :start].expand(n, -1, -1, -1), i)
    found = read(given, x[:, start:], prefix.columns[late] - start, past_key_values=cache, use_cache=True)
    logits = logits.clone()
    logits[:, late] = found
    return logits.where((prefix.columns >= differs.unsqueeze(1)).unsqueeze(2), whole)


def _cache() -> DynamicCache:
    """An empty cache that keeps the keys and values of every token, also for layers with a sliding window."""
    from transformers import DynamicCache

    return DynamicCache()


def _kept(cache: DynamicCache, tokens: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """The keys and values of each layer; none where a layer did not keep those of every token."""
    layers: Any = tuple((getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in cache.layers)
    whole = all(isinstance(t, Tensor) and t.ndim == 4 and t.shape[2] == tokens for pair in layers for t in pair)
    return layers if whole else ()
