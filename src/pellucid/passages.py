"""The user's text cut into runs, one for each token, word or sentence: joined again, the runs are the text exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from .grouping import stretches
from .scored import Scored, Units, units
from .tokens import Array, Explained, Word

ROLES: dict[str, tuple[str, ...]] = {
    "question-answering": ("question", "context"),
    "zero-shot-classification": ("text", "hypothesis"),
    "sentence-similarity": ("sentence 1", "sentence 2"),
    "multiple-choice": ("prompt",),
    "text2text-generation": ("source", "continuation", "other continuation"),
    "text-generation": ("prompt", "continuation", "other continuation"),
}
"""What the texts of an input are to their task, in order."""
GENERATE = ("text-generation", "text2text-generation", "image-text-to-text")
"""The tasks whose target is what the model wrote."""

MANY = 4
"""So many times on end a special token is shown as one."""


@dataclass(frozen=True)
class Run:
    """A stretch of the text, or a token that stands for no text.

    text: the characters, as the user wrote them; empty for a token such as [CLS], which stands where it stood among the
    tokens. start, end: where the characters stand in the text. tokens: the indices of the tokens whose characters these
    are; none for a gap between tokens. label: the text of what the run stands for, for a token that stands for no text
    too. score: the sum of the scores of the tokens; error: of their estimated errors, where there are any, since errors
    add up at worst. special: whether the tokenizer added the token. unread: whether the model did not read the text.
    """

    text: str
    start: int
    end: int
    tokens: tuple[int, ...] = ()
    label: str = ""
    score: float = 0.0
    error: float | None = None
    special: bool = False
    unread: bool = False


@dataclass(frozen=True)
class Passage:
    """One text of the input, with its role in the task, cut in three ways.

    role: "question", "context", "prompt", "continuation", …; "text" where the task has only one. segment: the number of
    the text, to which tokens refer. tokens, words, sentences: the runs of the text, by what a run is one of.
    """

    role: str
    segment: int
    text: str
    tokens: Scored[Run]
    words: Scored[Run]
    sentences: Scored[Run]


def passages(e: Explained) -> tuple[Passage, ...]:
    """The texts of an explanation: one, two for a pair, or as many as the input had."""
    return tuple(each.scored(e.scores, e.error) for each in cuts(e, e.groups(), e.sentences()))


def cuts(e: Explained, words: Sequence[Word], sentences: Sequence[Word]) -> tuple[Cut, ...]:
    """The texts without scores. words: what the words of a `Passage` are the runs of, in place of `e.groups()`."""
    texts = (e.text,) if isinstance(e.text, str) else e.text
    pieces = [Word(e.shown(i), float(e.scores[i]), t.span, t.special, t.segment, (i,)) for i, t in enumerate(e.tokens)]
    levels = (pieces, [part for w in words for part in _stretches(w, e)], sentences)
    found: list[Cut] = []
    for i, (role, text) in enumerate(zip(roles(e), texts, strict=True)):
        every = len(texts) == 1
        unread = [(a, b) for s, a, b in e.unread if every or s == i]
        own = ([w for w in level if every or w.segment == i] for level in levels)
        tokens, spoken, whole = (units(_cut(text, level, unread, e.error)) for level in own)
        found.append(Cut(role, i, text, (tokens, spoken, whole)))
    return tuple(found)


@dataclass(frozen=True)
class Cut:
    """A passage without scores: what its explanations share."""

    role: str
    segment: int
    text: str
    levels: tuple[Units[Run], Units[Run], Units[Run]]

    def scored(self, scores: Array, errors: Array | None) -> Passage:
        """The passage with scores and estimated errors, one of each token of the input."""
        tokens, words, sentences = (level.scored(scores, errors, _scored) for level in self.levels)
        return Passage(self.role, self.segment, self.text, tokens, words, sentences)


def _scored(run: Run, score: float, error: float | None) -> Run:
    own = error if run.tokens else None
    return Run(run.text, run.start, run.end, run.tokens, run.label, score, own, run.special, run.unread)


def _stretches(unit: Word, e: Explained) -> list[Word]:
    """A unit as it stands in the text: one stretch of it, or several, each with the scores of its own tokens."""
    if len(parts := stretches(unit.tokens)) == 1:
        return [unit]
    return [e.unit(tokens) for tokens in parts]


def roles(e: Explained) -> list[str]:
    """What each text of an explanation is: as its input names it, and else by its place in the task."""
    count = 1 if isinstance(e.text, str) else len(e.text)
    if len(e.text_names) == count:
        return list(e.text_names)
    task = e.meta.get("task")
    named = ROLES.get(str(task), ()) if count > 1 else ()
    if task == "multiple-choice":
        return [*named, *(f"choice {i}" for i in range(1, count))]
    if count == 1 or not named or len(named) < count:
        return ["text"] if count == 1 else [f"text {i}" for i in range(1, count + 1)]
    return list(named[:count])


def _cut(text: str, units: Sequence[Word], unread: list[tuple[int, int]], error: Array | None) -> list[Run]:
    """The runs of one text, of which each unit is one; gaps between units are runs of their own."""
    spans: list[tuple[int, int, Word]] = []
    loose: list[tuple[int, Word]] = []  # units that stand for no text, with the place where they stood
    for unit in units:
        start, end = _trimmed(text, unit.span)
        if start < end:
            spans.append((start, end, unit))
        else:
            loose.append((spans[-1][1] if spans else 0, unit))
    pieces = [_run(text, start, end, group, error) for start, end, group in _merged(spans)]
    at_end = len(text)  # where no unit stands for text, they all come after it
    loose = loose if spans else [(at_end, unit) for _, unit in loose]
    pieces += [_run(text, place, place, units, error) for place, units in _repeated(loose)]
    runs: list[Run] = []
    at = 0
    for run in sorted(pieces, key=lambda r: (r.start, r.end)):
        runs += [Run(text[at : run.start], at, run.start)] if run.start > at else []
        runs.append(run)
        at = max(at, run.end)
    runs += [Run(text[at:], at, len(text))] if at < len(text) else []
    return _greyed(text, runs, unread)


def _run(text: str, start: int, end: int, units: Sequence[Word], error: Array | None) -> Run:
    tokens = tuple(i for unit in units for i in unit.tokens)
    return Run(
        text[start:end],
        start,
        end,
        tokens,
        text[start:end] or units[0].text + (f" × {len(units)}" if len(units) > 1 else ""),
        sum(unit.score for unit in units),
        None if error is None else float(error[list(tokens)].sum()),
        all(unit.special for unit in units),
    )


def _greyed(text: str, runs: list[Run], unread: list[tuple[int, int]]) -> list[Run]:
    """The runs with what the model did not read set apart: a gap is cut where that begins and ends; a unit of which a
    part was read is not marked."""
    if not unread:
        return runs
    found: list[Run] = []
    for run in runs:
        edges = {edge for part in unread for edge in part if run.start < edge < run.end and not run.tokens}
        for a, b in pairwise([run.start, *sorted(edges), run.end]):
            grey = a < b and any(first <= a and b <= last for first, last in unread)
            found.append(replace(run, text=text[a:b], start=a, end=b, unread=grey))
    return found


def _repeated(loose: Sequence[tuple[int, Word]]) -> list[tuple[int, list[Word]]]:
    """Units that stand for no text; the same special token many times on end, as a processor writes it for an image, as
    one."""
    found: list[tuple[int, list[Word]]] = []
    for (place, text, special), group in groupby(loose, key=lambda p: (p[0], p[1].text, p[1].special)):
        units = [unit for _, unit in group]
        as_one = special and text and len(units) >= MANY
        found += [(place, units)] if as_one else [(place, [unit]) for unit in units]
    return found


def _merged(spans: list[tuple[int, int, Word]]) -> list[tuple[int, int, list[Word]]]:
    """Units that share characters, as byte-level pieces of one emoji do, become one group."""
    merged: list[tuple[int, int, list[Word]]] = []
    for start, end, unit in sorted(spans, key=lambda s: s[:2]):
        if merged and start < merged[-1][1]:
            first, stop, group = merged.pop()
            merged.append((first, max(stop, end), [*group, unit]))
        else:
            merged.append((start, end, [unit]))
    return merged


def _trimmed(text: str, span: tuple[int, int] | None) -> tuple[int, int]:
    """The span without the white space at its ends, unless it is nothing else; empty for no span."""
    start, end = span or (0, 0)
    start, end = max(0, start), min(len(text), end)
    inner = text[start:end]
    if not inner.strip():
        return start, end
    return start + len(inner) - len(inner.lstrip()), end - (len(inner) - len(inner.rstrip()))
