"""Places inside a model where a value is read or put in: the only hooks of the project, always removed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..errors import UnsupportedModel

_LOCK = threading.RLock()


@contextmanager
def borrowed(net: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and afterwards as it was. One thread at a time: modes and hooks are shared."""
    with _LOCK:
        training = [m for m in net.modules() if m.training]
        for m in training:
            m.training = False
        try:
            yield
        finally:
            for m in training:
                m.training = True


@contextmanager
def replaced(module: nn.Module, value: Tensor) -> Iterator[None]:
    """`module` returns `value`, in its first call only: an embedding may be shared by an encoder and a decoder."""
    calls = 0

    def hook(*_: Any) -> Tensor | None:
        nonlocal calls
        calls += 1
        return value if calls == 1 else None

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
    if not calls:
        raise UnsupportedModel(
            f"The embedding module {type(module).__name__} was never called in the forward pass, so the input could "
            "not be followed. Name the module that is: pellucid.Model(..., embeddings='path.to.module')."
        )


class _Reached(BaseException):
    """Ends a forward pass at the module that was looked for."""


def output_of(module: nn.Module, run: Callable[[], Any]) -> Tensor:
    """What `module` returns in its first call during `run`, which goes no further."""
    found: list[Any] = []

    def hook(_module: nn.Module, _args: Any, output: Any) -> None:
        found.append(output)
        raise _Reached

    handle = module.register_forward_hook(hook)
    try:
        run()
    except _Reached:
        pass
    finally:
        handle.remove()
    if not found or not isinstance(found[0], Tensor):
        raise UnsupportedModel(
            f"The module {type(module).__name__} "
            + (f"returned a {type(found[0]).__name__}" if found else "was never called in the forward pass")
            + "; expected one that returns a tensor of embeddings. Name another: "
            "pellucid.Model(..., embeddings='path.to.module')."
        )
    return found[0].detach()
