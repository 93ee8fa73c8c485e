"""Agreement of each method's scores with the spans of a text that were marked as the reason for its label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from ..errors import InputError, quoted
from ..metrics.plausibility import PLAUSIBILITY
from ..metrics.word_scores import summed
from ..models.text.encoding import Encoding
from ..models.text.groups import grouped
from ..types import Groups
from .curves import PerText, Scores

Spans = Sequence[Sequence[int]]
"""(start, end) in characters of a text, any number of them; (segment, start, end) where an input has several texts."""


def plausibility(
    encodings: Sequence[Encoding], scores: Sequence[Sequence[Scores]], rationales: Sequence[Spans], groups: Groups
) -> list[dict[str, PerText]]:
    """For each method each measure in PLAUSIBILITY, text by text; NaN for a text without a mark.

    scores: for each method those of all tokens of each text. Raises InputError for a span that is none.
    """
    of_tokens = [np.array(grouped(groups, e)) for e in encodings]
    marked = [_marked(e, of, spans) for e, of, spans in zip(encodings, of_tokens, rationales, strict=True)]
    share = float(np.mean([m.mean() for m in marked if m.any()] or [0.0]))
    found: list[dict[str, PerText]] = []
    for of_texts in scores:
        mine = {name: np.full(len(encodings), np.nan) for name in PLAUSIBILITY}
        for i, (own, of, m) in enumerate(zip(of_texts, of_tokens, marked, strict=True)):
            of_groups = summed(own, of, len(m))
            for name, row in PLAUSIBILITY.items():
                if m.any():
                    mine[name][i] = row.measure(of_groups, m, max(1, round(share * len(m))))
        found.append(mine)
    return found


def _marked(encoding: Encoding, groups: np.ndarray, spans: Spans) -> Bool[np.ndarray, " players"]:
    """The groups of which a token shares characters with a span. Raises InputError for a span that has no group, unless
    it lies in a part of the text that was not read."""
    found = np.zeros(int(groups.max()) + 1, dtype=bool)
    for span in spans:
        numbers = [int(n) for n in span] if isinstance(span, Sequence) and len(span) in (2, 3) else []
        if not numbers or not 0 <= numbers[-2] < numbers[-1]:
            raise InputError(f"Found the span {quoted(span)} in a rationale; expected (start, end) in characters.")
        mark = (0, *numbers) if len(numbers) == 2 else (numbers[0], numbers[1], numbers[2])
        tokens = zip(groups.tolist(), encoding.tokens, strict=True)
        own = [g for g, t in tokens if g >= 0 and t.span is not None and _meet((t.segment, *t.span), mark)]
        if not own and not any(_meet(part, mark) for part in encoding.unread):
            raise InputError(
                f"Found the span {quoted(span)} in a rationale, where no word of {quoted(encoding.text)} is; expected "
                "(start, end) in characters of the text that it is about."
            )
        found[own] = True
    return found


def _meet(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether two parts (segment, start, end) share characters."""
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]
