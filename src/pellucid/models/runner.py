"""Where a model runs, and in what precision."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, PellucidError, UnsupportedModel

_HALF = {str(t).removeprefix("torch."): t for t in (torch.bfloat16, torch.float16)}


def precision(spec: torch.dtype | str | None) -> torch.dtype | None:
    """What `autocast` means. Raises InputError."""
    found = spec if spec is None or isinstance(spec, torch.dtype) else _HALF.get(str(spec).removeprefix("torch."))
    if spec is not None and found not in _HALF.values():
        raise InputError(
            f"Found autocast={spec!r}; expected {' or '.join(map(repr, _HALF))} (torch.{' or torch.'.join(_HALF)}), or "
            "None. For another type of the weights themselves, use dtype."
        )
    return found


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Matrix products in `dtype` inside; nothing changes where it is None."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def available() -> list[str]:
    """The devices of this machine."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return ["cpu", *(f"{found.type}:{i}" for i in range(torch.accelerator.device_count()) if found is not None)]


def device_named(spec: str | torch.device) -> torch.device:
    """A device of this machine. Raises InputError, naming those that there are."""
    try:
        device = torch.device(spec)
    except (RuntimeError, TypeError):
        device = None
    names = available()
    whole = device is not None and (str(device) in names or (device.index in (None, 0) and f"{device.type}:0" in names))
    if device is None or not (whole or device.type == "cpu"):
        raise InputError(f"Found device={str(spec)!r}, which this machine lacks; expected one of {', '.join(names)}.")
    return device


def called(net: nn.Module, given: Mapping[str, Any], task: str) -> Any:
    """`net(**given)`. Raises UnsupportedModel where it refuses them."""
    try:
        return net(**given)
    except (AssertionError, ValueError, TypeError, LookupError, RuntimeError) as error:
        dtype = next((p.dtype for p in net.parameters()), torch.float32)
        if not _refuses(error, dtype):
            raise
        said = str(error).strip(" .") or type(error).__name__
        tensors = ", ".join(name for name, value in given.items() if isinstance(value, Tensor))
        other = "" if dtype == torch.float32 else f" Not every model runs in {dtype}: load it in torch.float32."
        raise UnsupportedModel(
            f"{type(net).__name__}.forward refused {tensors}: {said:.300}. Expected a model that takes what its "
            f"tokenizer makes. For {task} give the checkpoint's own tokenizer and a model with that head; of an "
            f"encoder and a decoder without a head the encoder, model.get_encoder().{other}"
        ) from error


def _refuses(error: Exception, dtype: torch.dtype) -> bool:
    """Whether an error in the forward pass of a model of this dtype is about what it was given. A RuntimeError may be
    about anything; where the weights are not float32, one that is of no special kind is most often about that."""
    other = type(error) is RuntimeError and dtype != torch.float32 and "allocate memory" not in str(error)
    return not isinstance(error, PellucidError) and (not isinstance(error, RuntimeError) or other)
