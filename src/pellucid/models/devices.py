"""The devices of this machine, and the precision that forward passes run in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from ..errors import InputError

_HALF = {str(t).removeprefix("torch."): t for t in (torch.bfloat16, torch.float16)}


def precision(spec: torch.dtype | str | None) -> torch.dtype | None:
    """The type that the argument `autocast` of a Model names; None for None. Raises InputError.

    Examples:
        >>> precision("bfloat16")
        torch.bfloat16
    """
    found = spec if spec is None or isinstance(spec, torch.dtype) else _HALF.get(str(spec).removeprefix("torch."))
    if spec is not None and found not in _HALF.values():
        raise InputError(
            f"Found autocast={spec!r}; expected {' or '.join(map(repr, _HALF))} (torch.{' or torch.'.join(_HALF)}), or "
            "None. For another type of the weights themselves, use dtype."
        )
    return found


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """A context in which matrix products are computed in `dtype`; in which nothing changes where it is None."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def available() -> list[str]:
    """The names of this machine's devices, such as "cpu" and "cuda:0"."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return ["cpu", *(f"{found.type}:{i}" for i in range(torch.accelerator.device_count()) if found is not None)]


def device_named(spec: str | torch.device) -> torch.device:
    """The device of this name. Raises InputError, with the names of this machine's devices, where there is none."""
    try:
        device = torch.device(spec)
    except (RuntimeError, TypeError):
        device = None
    names = available()
    whole = device is not None and (str(device) in names or (device.index in (None, 0) and f"{device.type}:0" in names))
    if device is None or not (whole or device.type == "cpu"):
        raise InputError(f"Found device={str(spec)!r}, which this machine lacks; expected one of {', '.join(names)}.")
    return device
