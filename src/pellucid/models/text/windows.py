"""Windows: overlapping parts of a document that is longer than the model takes.

A window is the special tokens, the other text of a pair (a question), and a slice of the text that is too long: the
one with the most tokens. Slices begin `stride` tokens apart, so neighbours share what is longer than that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ...errors import InputError
from .encoding import Encoding


class Reads(Protocol):
    """What cutting needs of the model: how many tokens it takes."""

    @property
    def limit(self) -> int | None: ...


@dataclass(frozen=True)
class Windows:
    """How documents are cut. size: tokens of a window, special ones included. stride: tokens from the beginning of one
    window to that of the next."""

    size: int
    stride: int


@dataclass(frozen=True)
class Window:
    """One window of a document. part: what goes into the model. places: for each of its tokens its number in the
    document. slice: (first, last + 1) of the document's tokens that the window cuts out."""

    part: Encoding
    places: tuple[int, ...]
    slice: tuple[int, int]


def windows_of(model: Reads, window: int | None, stride: int | None) -> Windows | None:
    """The windows that a user asked for: None without a window, and half a window as the stride where none is given.
    Raises InputError."""
    if window is None:
        if stride is not None:
            raise InputError(f"Found stride={stride!r} without a window; expected window= too, such as window=256.")
        return None
    given = [n for n in (window, stride) if n is not None]
    if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in given):
        raise InputError(f"Found window={window!r}, stride={stride!r}; expected whole numbers of at least 1.")
    step = max(1, window // 2) if stride is None else stride
    if step > window:
        raise InputError(f"Found stride={step} beyond window={window}; expected at most as much, or tokens are lost.")
    if model.limit is not None and window > model.limit:
        raise InputError(f"Found window={window}; this model takes {model.limit} tokens. Expected at most as many.")
    return Windows(window, step)


def cut(encoding: Encoding, windows: Windows) -> list[Window]:
    """The windows of a document, in order; the last ends where it ends. Raises InputError where no room is left."""
    counts = Counter(t.segment for t in encoding.tokens if not t.special)
    segment = max(counts, key=lambda s: counts[s])
    own = [i for i, t in enumerate(encoding.tokens) if not t.special and t.segment == segment]
    room = windows.size - (len(encoding) - len(own))
    stride = min(windows.stride, max(room, 1))
    if len(encoding.sequences) != 1 or room < 1:
        raise InputError(
            f"Found window={windows.size}, where special tokens and the other text take {len(encoding) - len(own)}; "
            "expected a larger window, with room for the text. (How many neighbours occlusion removes is its width=.)"
        )
    starts = [*range(0, len(own) - room, stride), max(0, len(own) - room)]
    return [_window(encoding, own[start : start + room], set(own)) for start in starts]


def _window(encoding: Encoding, mine: Sequence[int], own: set[int]) -> Window:
    """The window of the tokens `mine`, with every token that is not among those `own` that windows cut."""
    inside = set(mine)
    places = tuple(i for i in range(len(encoding)) if i not in own or i in inside)
    (sequence,) = encoding.sequences
    part = replace(
        encoding,
        sequences=({name: [values[i] for i in places] for name, values in sequence.items()},),
        tokens=tuple(encoding.tokens[i] for i in places),
        roles=tuple([roles[i] for i in places] for roles in encoding.roles),
    )
    return Window(part, places, (mine[0], mine[-1] + 1))
