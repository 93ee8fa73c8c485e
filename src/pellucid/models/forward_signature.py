"""What a model's forward takes, and where its weights are."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from torch import nn

from ..errors import UnsupportedModel


def shells(net: nn.Module) -> Iterator[nn.Module]:
    """A model, and the one that it wraps without anything beside it, as adapters do, and so on."""
    yield net
    while len(children := list(net.children())) == 1:
        (net,) = children
        yield net


def parameters(net: nn.Module, takes: str, task: str) -> tuple[frozenset[str], bool]:
    """The arguments that a model's forward names, and whether it takes any other. Raises UnsupportedModel where it does
    not take `takes`."""
    named, anything = _named(net, takes)
    for shell in shells(net) if anything else ():  # what passes everything on takes what is in it takes
        inner, passes = _named(shell, takes)
        if not passes:
            named, anything = (inner, False) if takes in inner else (named, anything)
            break
    reads = getattr(net, "main_input_name", takes)
    if takes not in named and (not anything or reads != takes):
        raise UnsupportedModel(
            f"{type(net).__name__}.forward takes {', '.join(sorted(named)) or 'nothing'}; expected an argument "
            f"{takes!r} for {task}. Give it that name, or load a model that reads it."
        )
    return named, anything


def _named(net: nn.Module, takes: str) -> tuple[frozenset[str], bool]:
    """The arguments that a forward names, and whether it takes any other."""
    parameters = inspect.signature(net.forward).parameters.values()
    named = frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    return named, any(p.kind == p.VAR_KEYWORD for p in parameters) and takes not in named


def one_device(net: nn.Module) -> None:
    """Raises UnsupportedModel where the weights are on several devices, or on none."""
    placed: Any = getattr(net, "hf_device_map", None) or {}
    devices = {str(p.device) for p in net.parameters()}
    places = sorted(devices if len(devices) > 1 or "meta" in devices else {str(d) for d in placed.values()})
    if len(places) > 1 or "meta" in places:
        raise UnsupportedModel(
            f"The model's weights are on {', '.join(places)}; expected all of them in the memory of one device. Load "
            "it without device_map, or with device_map={'': 0}: pellucid.load(name, device='cuda') does so, and "
            "dtype=torch.bfloat16 halves its size."
        )


def is_decoder(net: nn.Module) -> bool:
    """Whether a model is of a family of decoders, by its configuration: transformers generates text with it, fills no
    masks with it, and it has no encoder."""
    from transformers.models.auto import modeling_auto as known

    config = getattr(net, "config", None)
    kind = getattr(config, "model_type", None)
    generates = kind in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in known.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return generates and not getattr(config, "is_encoder_decoder", False)
