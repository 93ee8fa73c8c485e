"""Where the weights of a network are.

Weights that are offloaded have no value in their module (they are on PyTorch's device "meta"): they are kept on the CPU
or on disk, and a hook of accelerate's loads them for each call of the module, as transformers' `device_map` arranges.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModel


def one_device(net: nn.Module) -> None:
    """Raises UnsupportedModel where the weights are on several devices while they are used, or on none. Those that are
    offloaded are where they are loaded to."""
    on = sorted(_places(net))
    if len(on) > 1 or "meta" in on:
        raise UnsupportedModel(
            f"The model's weights are on {', '.join(on)}; expected all of them on one device while they are used. Load "
            "it without device_map, or with one that has a single GPU beside 'cpu' and 'disk': pellucid.load(name, "
            "device='cuda') needs none, and dtype=torch.bfloat16 halves its size."
        )


def in_memory(embedding: nn.Module) -> None:
    """Raises UnsupportedModel where the table of an embedding that is explained is offloaded: baselines read it."""
    if is_offloaded(embedding):
        raise UnsupportedModel(
            f"Found the weights of the model's {type(embedding).__name__} offloaded; expected them in memory, because "
            "baselines are read from them. Name that module in device_map with the device that the model runs on, and "
            "offload layers only."
        )


def is_offloaded(net: nn.Module) -> bool:
    """Whether a weight of the network has no value of its own between calls."""
    return any(p.is_meta for p in net.parameters())


def _places(net: nn.Module) -> frozenset[str]:
    """The devices that the weights are on while their modules run; "meta" stands for a weight that nothing loads."""
    found: set[str] = set()
    for module in net.modules():
        for p in module.parameters(recurse=False):
            hook = _loading(module) if p.is_meta else None
            found.add(_named(p.device if hook is None else hook.execution_device))
    return frozenset(found)


def values_of(net: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The weights and buffers by name, as `state_dict` has them; those that are offloaded are read one by one."""
    for name, value in sorted(net.state_dict().items()):
        module, _, own = name.rpartition(".")
        hook = _loading(net.get_submodule(module)) if value.is_meta else None
        yield name, value if hook is None else hook.weights_map[own]


def _loading(module: nn.Module) -> Any:
    """The hook that loads a module's weights for each call (accelerate's `AlignDevicesHook`); None where none does."""
    hook: Any = getattr(module, "_hf_hook", None)
    return next((h for h in getattr(hook, "hooks", (hook,)) if getattr(h, "offload", False)), None)


def _named(device: torch.device | str | int) -> str:
    return str(torch.device("cuda", device)) if isinstance(device, int) else str(device)
