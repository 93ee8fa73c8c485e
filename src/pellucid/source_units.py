"""The units that an answer is told to come from: whole texts, or each sentence of each text, and the tokens of none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .grouping import told_apart
from .tokens import Explained
from .units import sentences, sources

ANSWER, OTHER, TEMPLATE = "continuation", "other continuation", "template"


@dataclass(frozen=True)
class Unit:
    """name: of the text; by sentences, also the sentence. segment: the number of the text; −1 for the template. tokens:
    their indices. cited: whether it is a source, and not the answer itself, the one that it is compared with, or the
    template."""

    name: str
    segment: int
    tokens: tuple[int, ...]
    cited: bool

    def score(self, e: Explained) -> float:
        """The sum of the scores of its tokens."""
        return float(e.scores[list(self.tokens)].sum())


@dataclass(frozen=True)
class Sources:
    """What the sentences of one answer come from. units: the same for all of them, every token in exactly one. scores:
    explanations × units. drops: where the model was run without each unit, by how much each explanation's output falls
    (None: not measured); empty elsewhere. told: how the numbers are read."""

    units: tuple[Unit, ...]
    scores: tuple[tuple[float, ...], ...]
    drops: tuple[tuple[float | None, ...], ...] = ()
    told: str = ""


_ADD_UP = "The sources, the answer's own words, the template and the residual add up to the change in the output."
DROP = (
    " Drop: by how much the output falls without the source's own tokens, measured; what the format writes around them "
    "stays."
)


def units_of(e: Explained, by: str) -> tuple[Unit, ...]:
    """The units of an explanation, in the order of the input. by: a key of `BY`."""
    answer = [segment for segment, name in enumerate(e.text_names) if name in (ANSWER, OTHER)]
    return tuple(Unit(name, s, tokens, s >= 0 and s not in answer) for name, s, tokens in BY[by](e))


def sources_of(
    explanations: Sequence[Explained], by: str = "source", drops: Sequence[Sequence[float | None]] = ()
) -> Sources:
    """The sources of explanations of one input, at least one. by, drops: as `units_of` and `Sources`."""
    units = units_of(explanations[0], by)
    scores = tuple(tuple(unit.score(e) for unit in units) for e in explanations)
    return Sources(units, scores, tuple(map(tuple, drops)), _ADD_UP + DROP * bool(drops))


_Named = tuple[str, int, tuple[int, ...]]


def _by_source(e: Explained) -> list[_Named]:
    return [(s.name, s.segment, s.tokens) for s in sources(e)]


def _by_sentence(e: Explained) -> list[_Named]:
    own = [w for w in sentences(e) if not w.special]
    inside = {i for w in own for i in w.tokens}
    rest = tuple(i for i in range(len(e.tokens)) if i not in inside)
    names = told_apart([f"{e.text_names[w.segment]}: {w.text.strip()}" for w in own])
    named = [(name, w.segment, w.tokens) for name, w in zip(names, own, strict=True)]
    return [*named, (TEMPLATE, -1, rest)]


BY: dict[str, Callable[[Explained], list[_Named]]] = {"source": _by_source, "sentence": _by_sentence}
"""The units of an explanation, by name: a name, the number of a text (−1: of none) and its tokens."""
