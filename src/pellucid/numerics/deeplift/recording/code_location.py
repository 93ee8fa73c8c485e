"""Finds the line of a model's own code, and the module, that a call was made from; error messages name it."""

from __future__ import annotations

from types import FrameType

from torch import nn


def place_of(frame: FrameType | None) -> str:
    """The module, file and line outside PyTorch and this project from which `frame` was reached; "" where there is
    none."""
    while frame is not None and _of_torch(frame):
        frame = frame.f_back
    if frame is None:
        return ""
    at = f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}, line {frame.f_lineno}"
    module = module_of(frame)
    return at if module is None else f"{type(module).__name__} ({at})"


def module_of(frame: FrameType | None) -> nn.Module | None:
    """The innermost module whose method is running at `frame`, PyTorch's own modules included; None where there is
    none."""
    while frame is not None and not isinstance(frame.f_locals.get("self"), nn.Module):
        frame = frame.f_back
    return None if frame is None else frame.f_locals["self"]


def _of_torch(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    return name == "torch" or name.startswith(("torch.", "pellucid."))
