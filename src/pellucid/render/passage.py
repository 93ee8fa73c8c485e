"""The text as it was written, cut where its words begin and end: joined again, the runs are the text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from ..explanation import Explanation, Word
from .colour import strength

HIDDEN = 0.005  # a special token weaker than this is left out of the passage


@dataclass(frozen=True)
class Run:
    """A stretch of the text and the words on it: none in a gap, several where tokens share characters.

    `text` is empty for a token that stands for no text ([CLS]), which comes where it stood among the tokens. unread:
    whether the model did not read it, so that it has no score.
    """

    text: str
    words: tuple[Word, ...] = ()
    unread: bool = False

    @property
    def score(self) -> float:
        return sum(w.score for w in self.words)


def peak(e: Explanation) -> float:
    """The largest |score| of a word: what full colour means. Special tokens count only where there is nothing else."""
    words = e.words()
    return max((abs(w.score) for w in [w for w in words if not w.special] or words), default=0.0)


def passages(e: Explanation) -> list[list[Run]]:
    """One list of runs per text: one, or two for a pair."""
    words, top = e.words(), peak(e)
    texts = (e.text,) if isinstance(e.text, str) else e.text
    alone = len(texts) == 1
    each = [_runs(text, [w for w in words if alone or w.segment == i], top) for i, text in enumerate(texts)]
    parts = [[(a, b) for s, a, b in e.unread if alone or s == i] for i in range(len(texts))]
    return [_greyed(runs, unread) for runs, unread in zip(each, parts, strict=True)]


def _greyed(runs: list[Run], unread: list[tuple[int, int]]) -> list[Run]:
    """The runs with what was not read set apart: a gap is cut where that begins and ends; a word of which a piece was
    read is not grey."""
    if not unread:
        return runs
    found: list[Run] = []
    start = 0
    for run in runs:
        end = start + len(run.text)
        edges = {edge for part in unread for edge in part if start < edge < end and not run.words}
        for a, b in pairwise([start, *sorted(edges), end]):
            grey = a < b and any(first <= a and b <= last for first, last in unread)
            found.append(replace(run, text=run.text[a - start : b - start], unread=grey))
        start = end
    return found


def _runs(text: str, words: list[Word], top: float) -> list[Run]:
    spans: list[tuple[int, int, Word]] = []
    loose: list[tuple[int, Word]] = []  # words on no text, with the place where they stood
    for word in words:
        start, end = _trimmed(text, word.span)
        if start < end:
            spans.append((start, end, word))
        elif abs(strength(word.score, top)) >= HIDDEN:
            loose.append((spans[-1][1] if spans else 0, word))
    if not spans:
        return ([Run(text)] if text else []) + [Run("", (w,)) for _, w in loose]
    pieces = [(start, end, Run(text[start:end], tuple(group))) for start, end, group in _merged(spans)]
    pieces += [(place, place, Run("", (w,))) for place, w in loose]
    runs: list[Run] = []
    at = 0
    for start, end, run in sorted(pieces, key=lambda p: p[:2]):
        runs += [Run(text[at:start])] if start > at else []
        runs.append(run)
        at = max(at, end)
    return runs + ([Run(text[at:])] if at < len(text) else [])


def _merged(spans: list[tuple[int, int, Word]]) -> list[tuple[int, int, list[Word]]]:
    """Words that share characters, as byte-level pieces of one emoji do, become one group."""
    merged: list[tuple[int, int, list[Word]]] = []
    for start, end, word in sorted(spans, key=lambda s: s[:2]):
        if merged and start < merged[-1][1]:
            first, stop, group = merged.pop()
            merged.append((first, max(stop, end), [*group, word]))
        else:
            merged.append((start, end, [word]))
    return merged


def _trimmed(text: str, span: tuple[int, int] | None) -> tuple[int, int]:
    """The span without the white space at its ends, unless it is nothing else; empty for no span."""
    start, end = span or (0, 0)
    start, end = max(0, start), min(len(text), end)
    inner = text[start:end]
    if not inner.strip():
        return start, end
    return start + len(inner) - len(inner.lstrip()), end - (len(inner) - len(inner.rstrip()))
