"""Untrained weights: parameters that a checkpoint lacks, so that they are random from one loading to the next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

import torch
from torch import nn

from ..problem import Outputs, mapped

_SHOWN = 4
"""So many modules are shown by name."""


def drawn(net: nn.Module, missing: Collection[str]) -> tuple[str, ...]:
    """The parameters that were drawn at random because a checkpoint lacks them, by name. missing: as transformers'
    loading info names what the checkpoint lacks (`missing_keys`).

    A parameter that the checkpoint holds under another name too is tied, and loaded. One that takes no gradient is
    computed by the model's class, such as positions that are sines.
    """
    names: dict[nn.Parameter, list[str]] = defaultdict(list)
    for name, p in net.named_parameters(remove_duplicate=False):
        if p.requires_grad:
            names[p].append(name)
    return tuple(own[0] for own in names.values() if set(own) <= set(missing))


def used(net: nn.Module, names: Sequence[str], run: Callable[[], Outputs]) -> tuple[str, ...]:
    """Those of a network's parameters on which what `run` returns depends; all of them where autograd cannot tell."""
    parameters = [net.get_parameter(name) for name in names]
    before = [p.requires_grad for p in parameters]
    found: list[torch.Tensor] = []
    try:
        for p in parameters:
            p.requires_grad_(True)
        with torch.enable_grad():
            mapped(lambda t: found.append(t) or t, run())
            sums = [t.sum() for t in found if t.requires_grad]
            if not sums:
                return tuple(names)
            slopes = torch.autograd.grad(sums, parameters, allow_unused=True)
    finally:
        for p, was in zip(parameters, before, strict=True):
            p.requires_grad_(was)
    return tuple(name for name, slope in zip(names, slopes, strict=True) if slope is not None)


def told(net: nn.Module, names: Sequence[str], task: str) -> str:
    """The note on random parameters of these names, by the outermost modules that have no others; "" for none."""
    if not names:
        return ""
    found = list(dict.fromkeys(_outermost(net, name, names) for name in names))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    body = f"{getattr(net, 'base_model_prefix', '')}."
    lacks = "a part of its weights" if all(name.startswith(body) for name in names) else "a trained head"
    return (
        f"This checkpoint lacks {lacks} for {task}, so its answers mean nothing: it has no weights for "
        f"{', '.join(found[:_SHOWN])}{more}, which are random. Load a checkpoint that was trained for {task}."
    )


def _outermost(net: nn.Module, name: str, names: Collection[str]) -> str:
    """The outermost module around a parameter whose parameters are all among these names; else the parameter."""
    own = {id(net.get_parameter(n)) for n in names}
    parts = name.split(".")
    for k in range(1, len(parts)):
        module = ".".join(parts[:k])
        if all(id(p) in own for p in net.get_submodule(module).parameters()):
            return module
    return name
