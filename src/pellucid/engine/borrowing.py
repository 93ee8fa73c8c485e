"""Borrows a network: inside, it is in evaluation mode and uncompiled; afterwards everything is as it was.

What a network holds is what its modules have as attributes, and what stands in every dict, list and set among these:
parameters, buffers, children, hooks, counters, caches. Some networks change it in a forward pass, so that the next
input meets another network: a BigBird exchanges its sparse attention at the first short text, and keeps the other for
good; positions grow with the longest text seen; a module counts its calls. Each pass is to answer as the first one of a
new network would, so what a pass changes is put back after it.
"""

from __future__ import annotations

import operator
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModel

_LOCK = threading.RLock()
_INSIDE = threading.local()
"""depth: how many calls of `undisturbed` this thread is inside of."""
Holder: TypeAlias = Any
"""The attributes of a module, or a dict, a list or a set among them."""
_COPIED = 1 << 20
"""A buffer of at most so many elements is copied for a pass that may change it in place. A larger one is watched."""


@contextmanager
def borrowed(net: nn.Module, eager: bool = True) -> Iterator[None]:
    """Puts the model into evaluation mode inside, and afterwards back to what it was. One thread at a time.

    eager: what torch.compile has compiled runs uncompiled inside, because compiled code does not notice hooks.
    """
    with undisturbed(eager), torch.inference_mode(False), torch.enable_grad():
        held = _held(net)
        for m in held.modules:
            if m.training:
                m.training = False
        try:
            yield
        finally:
            held.put_back()


@contextmanager
def without_cache(net: nn.Module) -> Iterator[None]:
    """Inside, no part of a network keeps keys and values unless it is told to: a layer that is run again would meet
    those of its first run. For a network that cannot be told in its forward, such as a wrapper of a decoder."""
    found: list[Any] = [vars(m).get("config") for m in net.modules()]
    configs = {id(config): config for config in found if getattr(config, "use_cache", False) is True}
    for config in configs.values():
        config.use_cache = False
    try:
        yield
    finally:
        for config in configs.values():
            config.use_cache = True


def undisturbed(eager: bool | None = None) -> AbstractContextManager[None]:
    """One thread at a time, and nothing that the user compiled runs compiled: passes put hooks on modules, which are
    there for other threads too, and PyTorch compiles what listens to its functions into the code that it keeps.

    eager: as `borrowed`; None: as the call around this one has it.
    """
    inside = getattr(_INSIDE, "depth", 0) > 0
    return nullcontext() if inside and eager is None else _alone(eager is not False)


@contextmanager
def _alone(eager: bool) -> Iterator[None]:
    depth = getattr(_INSIDE, "depth", 0)
    with _LOCK, _uncompiled() if eager else nullcontext():
        _INSIDE.depth = depth + 1
        try:
            yield
        finally:
            _INSIDE.depth = depth


def _uncompiled() -> AbstractContextManager[object]:
    """A context in which nothing that the user compiled runs compiled."""
    dynamo = sys.modules.get("torch._dynamo")  # not there, nothing is compiled: it takes a second to import
    return nullcontext() if dynamo is None else torch.compiler.set_stance("force_eager")


@dataclass(frozen=True)
class _Held:
    """What a network holds. contents: each holder with a copy of its content. empty: the holders without any, as most
    are, which come without a copy."""

    modules: list[nn.Module]
    contents: list[tuple[Holder, Holder]]
    empty: list[Holder]

    def put_back(self) -> bool:
        """Gives each holder the content that it had. Returns whether any had another."""
        others = [(now, before) for now, before in self.contents if not _alike(now, before)]
        others += [(now, ()) for now in filter(None, self.empty)]
        for now, before in others:
            now.clear()
            now.extend(before) if isinstance(now, list) else now.update(before)
        return bool(others)


def _held(net: nn.Module) -> _Held:
    modules = list(net.modules())
    own: list[Holder] = [vars(m) for m in modules]
    config = getattr(net, "config", None)
    if hasattr(config, "__dict__"):
        own.append(vars(config))
    own += [value for found in own for value in found.values() if isinstance(value, (dict, list, set))]
    return _Held(modules, [(found, found.copy()) for found in own if found], [found for found in own if not found])


def _alike(now: Holder, before: Holder) -> bool:
    """Whether a holder has the same objects, in the same order."""
    if isinstance(now, dict):
        return [*now] == [*before] and all(map(operator.is_, now.values(), before.values()))
    return len(now) == len(before) and all(map(operator.is_, now, before))


@dataclass
class Change:
    """Whether a forward pass changed what its network holds: known when the pass is over."""

    found: bool = False


@contextmanager
def one_pass(net: nn.Module) -> Iterator[Change]:
    """Inside, a forward pass runs, and may change what the network holds; afterwards the network holds what it did.

    Small buffers, and other small tensors without a gradient that are attributes, are copies inside, so that an
    operation in place does not reach the network's own. Raises UnsupportedModel where a large one was changed in place.
    """
    held, change = _held(net), Change()
    copies, watched = _copied(held)
    try:
        yield change
    finally:
        change.found = any(t._version for t in copies.copy_of.values())
        copies.taken_out()
        change.found = held.put_back() or change.found
    for t, version in watched:
        if t._version != version:
            raise UnsupportedModel(
                f"{type(net).__name__} changes a tensor of its own, {tuple(t.shape)}, in place in its forward pass, so "
                "that each input meets another network; expected one answer to one input. Let it make a new tensor "
                "instead of changing its own."
            )


@dataclass
class _Copies:
    """Copies of tensors that stand in the holders of a network in their place. copy_of: by the id of the tensor.
    memory: copies of the memory that they are views of, so that what shares memory shares it as a copy too."""

    own: dict[int, Tensor] = field(default_factory=dict)
    copy_of: dict[int, Tensor] = field(default_factory=dict)
    memory: dict[tuple[int, torch.dtype], Tensor] = field(default_factory=dict)
    places: list[tuple[dict[Any, Any], Any]] = field(default_factory=list)

    def put_in(self, holder: dict[Any, Any], key: Any) -> None:
        t = holder[key]
        if id(t) not in self.copy_of:
            with torch.inference_mode(False):
                self.own[id(t)], self.copy_of[id(t)] = t, self._copied(t.detach())
        holder[key] = self.copy_of[id(t)]
        self.places.append((holder, key))

    def _copied(self, t: Tensor) -> Tensor:
        if not _is_view_of_memory(t):
            return t.clone()
        place = t.untyped_storage().data_ptr(), t.dtype
        if place not in self.memory:
            self.memory[place] = t.new_empty(0).set_(t.untyped_storage()).clone()
        return self.memory[place].as_strided(t.size(), t.stride(), t.storage_offset())

    def taken_out(self) -> None:
        """Puts the tensors back where their copies still stand."""
        own = {id(copy): self.own[k] for k, copy in self.copy_of.items()}
        for holder, key in self.places:
            if id(found := holder.get(key)) in own:
                holder[key] = own[id(found)]


def _is_view_of_memory(t: Tensor) -> bool:
    """Whether a tensor is nothing but places in a storage, which other tensors may have too."""
    plain = type(t) in (Tensor, nn.Buffer) and t.layout == torch.strided and not (t.is_quantized or t.is_meta)
    return plain and t.numel() > 0 and not (t.is_conj() or t.is_neg())


def _copied(held: _Held) -> tuple[_Copies, list[tuple[Tensor, int]]]:
    """Puts copies in the place of the small tensors that a network holds beside its parameters; and the large ones,
    with their versions."""
    copies, watched = _Copies(), []
    for holder, before in held.contents:
        for key in before if isinstance(holder, dict) else ():
            t = before[key]
            if not isinstance(t, Tensor) or isinstance(t, nn.Parameter) or t.requires_grad or t.is_inference():
                continue
            if (t.untyped_storage().nbytes() // t.itemsize if _is_view_of_memory(t) else t.numel()) <= _COPIED:
                copies.put_in(holder, key)
            else:
                watched.append((t, t._version))
    return copies, watched
