"""`Request`: the arguments of `explain` as data that can be compared and stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from types import CodeType, MappingProxyType
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from .errors import InputError
from .plain_data import Json

SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class Request:
    """What `explain` is asked of every input alike: names and numbers, and a function or a tensor only where the user
    gave one.

    Two requests are equal, and have the same `digest`, where they ask the same: after a restart too, and on another
    machine. A function is known by its name, its compiled code, and what it closes over.

    methods: names in METHODS. options: the methods' own options, by name. targets: see `types.Target`. baselines: see
    `types.Baseline`. detail, at, groups, output, truncate, max_new_tokens, window, stride: as `explain`. several:
    whether an answer is an Explanations even where it holds one Explanation.

    Examples:
        >>> r = Request(methods=("occlusion",), options={"width": 2})
        >>> r == Request.from_dict(r.to_dict()), r == Request(), len(r.digest)
        (True, False, 64)
    """

    methods: tuple[str, ...] = ("deeplift",)
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    targets: tuple[Any, ...] = (None,)
    baselines: tuple[Any, ...] = ("mask",)
    detail: frozenset[str] = frozenset()
    at: str | tuple[str, ...] | None = None
    groups: Any = None
    output: str | None = None
    truncate: bool = False
    max_new_tokens: int = 20
    window: int | None = None
    stride: int | None = None
    several: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    def to_dict(self) -> dict[str, Any]:
        """Json Python values. Of a function a name and a digest of its code are written, which cannot be read back."""
        return {"schema_version": SCHEMA_VERSION, **{f.name: _plain(getattr(self, f.name)) for f in fields(self)}}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Request:
        """The Request that `to_dict` described. Raises InputError where a function was in it, or on another version."""
        if data.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"Found a request of schema_version={data.get('schema_version')!r}; this version of Pellucid reads "
                f"{SCHEMA_VERSION}. Ask again with the version that wrote it."
            )
        names = [f.name for f in fields(cls)]
        if unknown := data.keys() - {"schema_version", *names}:
            raise InputError(f"Found {sorted(unknown)} in a request; expected what to_dict() writes: {names}.")
        given: dict[str, Any] = {name: _read(data[name]) for name in names if name in data}
        for name in ("methods", "targets", "baselines"):
            given[name] = tuple(given.get(name, getattr(cls, name)))
        given["detail"] = frozenset(given.get("detail", ()))
        at = given.get("at")
        given["at"] = tuple(cast(list[str], at)) if isinstance(at, list) else at
        return cls(**given)

    @property
    def digest(self) -> str:
        """The SHA-256 of what is asked, in hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and self.digest == other.digest

    def __hash__(self) -> int:
        return int(self.digest[:15], 16)

    def __reduce__(self) -> tuple[Callable[..., Request], tuple[object, ...]]:
        return Request, tuple(
            dict(self.options) if f.name == "options" else getattr(self, f.name) for f in fields(self)
        )


def _plain(value: object) -> Json:
    """A value of a request as JSON can hold it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in cast(Mapping[object, object], value).items()}
    if isinstance(value, (set, frozenset)):
        names: list[Json] = [*sorted(map(str, cast(Iterable[object], value)))]
        return names
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in cast(Iterable[object], value)]
    if isinstance(value, _Array):  # a tensor, or an array or a number of NumPy's
        dtype = str(value.dtype).removeprefix("torch.")
        return {"array": _plain(value.tolist()), "dtype": dtype} if value.ndim else _plain(value.tolist())
    if callable(value):
        name = getattr(value, "__qualname__", type(value).__name__)
        return {"function": f"{getattr(value, '__module__', '')}.{name}", **_code(value)}
    return str(value)


@runtime_checkable
class _Array(Protocol):
    """A tensor of PyTorch's, or an array or a number of NumPy's."""

    @property
    def dtype(self) -> object: ...
    @property
    def ndim(self) -> int: ...
    def tolist(self) -> object: ...


def _code(function: object) -> dict[str, Json]:
    """The digest of what a function does: its compiled code, its defaults, and the values that it closes over."""
    if isinstance(function, partial):
        called = cast("partial[object]", function)
        return {
            "of": _plain(called.func),
            "arguments": [_plain(cast(object, called.args)), _plain(cast(object, called.keywords))],
        }
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return {}
    held: list[object] = []
    for cell in getattr(function, "__closure__", None) or ():
        value: object = cell.cell_contents
        held.append(getattr(value, "__qualname__", value) if callable(value) else value)
    defaults = [getattr(function, name, None) for name in ("__defaults__", "__kwdefaults__")]
    told = json.dumps([_instructions(code), _plain(defaults), _plain(held)], sort_keys=True)
    return {"code": hashlib.sha256(told.encode()).hexdigest()[:16]}


def _instructions(code: CodeType) -> list[Json]:
    """Compiled code as JSON can hold it, that of inner functions included."""
    constants: list[Json] = []
    for c in code.co_consts:
        if isinstance(c, CodeType):
            constants.append(_instructions(c))
        else:
            constants.append(_plain(cast(object, c)) if isinstance(c, frozenset) else repr(c))
    return [code.co_code.hex(), constants, [*code.co_names]]


def _read(value: object) -> Any:
    """A value as it was before `_plain`; an array is one of NumPy's. Raises InputError for a function."""
    if isinstance(value, list):
        return [_read(v) for v in cast(Iterable[object], value)]
    if not isinstance(value, Mapping):
        return value
    told = cast(Mapping[str, Any], value)
    if "array" in told:
        return np.array(told["array"], dtype="float32" if told["dtype"] == "bfloat16" else str(told["dtype"]))
    if "function" in told:
        raise InputError(
            f"Found the function {told['function']!r} in a request; expected names and numbers, since a function "
            "cannot be read back. Ask again with the function itself."
        )
    return {k: _read(v) for k, v in told.items()}
