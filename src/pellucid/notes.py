"""Notes: short sentences on what a reader of an explanation must know; none where there is nothing to say.

`NOTES` is a table of functions, each of which looks at one thing that an Explanation, its input and its model hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .explanation import Explanation
from .tokens import Target

CANCELLING = 20.0
"""Σ|scores| over the change in the output, from which scores are said to cancel. Of 300 sentences of SST-2, two models
and three baselines, half are below 2, 95 % below 13, and 1 % are above 50."""


@dataclass(frozen=True)
class Held:
    """An answer, and what its input and model know beside it.

    unknown: the id of the token that stands for pieces which the vocabulary lacks; None without one. cut: how many
    tokens truncation left out.
    """

    e: Explanation
    unknown: int | None
    cut: int


def unknown_pieces(held: Held) -> str | None:
    """How many tokens stand for text that the vocabulary lacks."""
    own = [t for t in held.e.tokens if not t.special]
    n = sum(t.id == held.unknown for t in own) if held.unknown is not None else 0
    return f"{n} of {len(own)} pieces {_are(n)} unknown to this model." if n else None


def not_read(held: Held) -> str | None:
    """How many tokens the model did not read, because the text was truncated or they are outside the one window that
    gives the answer. Their text is drawn in grey: they have no score, which is not a score of 0."""
    parts = held.e.unread
    spans = [(t.segment, *t.span) for t in held.e.tokens if t.span is not None and not t.special]
    inside = [any(s == own and a <= start and end <= b for s, a, b in parts) for own, start, end in spans]
    n = held.cut + sum(inside)
    why = " for this answer, which one window gives" if not held.cut else ""
    return f"{n} token{'s' if n > 1 else ''} {'were' if n > 1 else 'was'} not read{why}." if n else None


def in_windows(held: Held) -> str | None:
    """That a long text was read in overlapping windows, whose outputs are averaged."""
    told = held.e.meta.get("windows")
    if not told or held.e.unread:
        return None
    size = held.e.meta.get("window")
    return f"The text was read in {len(told)} windows of {size} tokens; the output is the mean of theirs."


def rounded_on_a_cpu(held: Held) -> str | None:
    """That half precision on a CPU is slow, and how large its rounding is."""
    meta = held.e.meta
    kind = next((k for k in (meta.get("autocast"), meta.get("dtype")) if k in ("float16", "bfloat16")), None)
    if kind is None or meta.get("device") != "cpu":
        return None
    ulp, e = {"float16": 2**-10, "bfloat16": 2**-7}[kind], held.e
    off = max(e.relative_delta, ulp * max(abs(e.output), abs(e.baseline_output)) / abs(e.change)) if e.change else 1
    left = f"rounding of {off:.0e} of the change" if e.adds_up and off < 1 else "coarse rounding"
    return f"{kind} on a CPU: slow, and {left}; {'leave autocast out' if meta.get('autocast') else 'model.float()'}."


def cancelling(held: Held) -> str | None:
    """That positive and negative scores nearly cancel, so that their sum is small beside their size."""
    e, size = held.e, float(np.abs(held.e.scores).sum())
    if not e.adds_up or not size or size < CANCELLING * abs(e.change):
        return None
    if not e.change:
        return "The output is the same on the baseline: what the scores add up to is nothing, and they cancel."
    return (
        f"The scores cancel: what raises the output and what lowers it are together {size / abs(e.change):.0f} times "
        "what is left of them, the change in the output. Another baseline or target changes it more."
    )


NOTES: Sequence[Callable[[Held], str | None]] = (unknown_pieces, not_read, in_windows, rounded_on_a_cpu, cancelling)


def noted(e: Explanation, unknown: int | None, cut: int) -> Explanation:
    """The Explanation with the notes that `NOTES` finds, before those that it has already. unknown, cut: see `Held`."""
    found = [said for note in NOTES if (said := note(Held(e, unknown, cut))) is not None]
    return replace(e, notes=(*found, *e.notes)) if found else e


def as_probable(target: Target, baseline: str) -> str:
    """The note for a baseline on which the explained class is at least as probable as on the input, or a contrast of
    two at least as large."""
    if isinstance(target.index, tuple):
        return (
            f"The contrast {target.name!r} is as large on the baseline ({baseline}) as on the input, so the scores say "
            "what lowers it. Another baseline, such as 'pad' or 'zero', may say more."
        )
    return (
        f"The model gives {target.name!r} as high a probability on the baseline ({baseline}) as on the input, so the "
        "scores say what lowers it. Another baseline, such as 'pad' or 'zero', may say more; of three or more labels "
        "so may a contrast as the target, 'a - b'."
    )


def _are(n: int) -> str:
    return "is" if n == 1 else "are"
