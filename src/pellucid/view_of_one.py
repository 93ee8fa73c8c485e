"""The View of one explanation: its words and their ranking, the sum, its proof, and what it tells of the inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .grouping import UNITS
from .number_text import decimals, percent, places_that_add_up, plain, signed
from .passages import GENERATE, Cut, cuts, roles
from .plain_data import as_plain
from .public_names import model_name
from .scored import Scored, Units, units
from .status import Status
from .tokens import Array, Explained, Word
from .units import cut_at_targets, read_until
from .view import TARGET_PROBABILITY, ExplanationView, Fact, Item, Json, Piece, Standing, Sum, Term
from .view_inside import STRONGEST, attention_views, grid_of, layer_views, maps_of, parts_view
from .view_items import items_of, with_score

FLOAT_PRECISION = 1e-5
"""A relative delta that float32 alone leaves."""
COARSE = 0.05
"""A relative delta that a method which promises a sum should not leave."""
LARGE = ("heads", "attentions")
"""What is in a View only where it is asked for: arrays of layers × heads × tokens × tokens."""
MEANINGS = {
    "relative delta": "The residual over the change in the output. About 1e-7 is what rounding leaves.",
    "passes": "How many times the model was run on a row, forward or forward and backward.",
    "estimated error": "How far the scores are from those of an endless sample or path, as the method estimates it.",
}
"""What the numbers of a proof say."""
READING = (
    "The output is compared with what the model says when the text is replaced by the {baseline} baseline. "
    "Each score says by how much one unit of the text moves the output, up (blue) or down (orange). "
    "Baseline, scores and residual together are the output, so a small residual proves that nothing was left out."
)
"""How the colours and the sum are read."""


Rows: TypeAlias = tuple[str, Sequence[Word]]
"""What a row is called, a word say, and the rows."""


def rows_of(*explanations: Explained) -> Rows:
    """The rows of explanations of one input: what was asked to be taken together, or words, whichever are the fewest.

    A word is cut before each token that is explained, since that token and those after it were not yet written.
    """
    of_kind = {str(e.meta.get("groups")): e for e in reversed(explanations)}
    each = [(UNITS.get(_groups(e) or "token", "group"), e.groups()) for e in reversed(of_kind.values())]
    unit, rows = min(each, key=lambda found: len(found[1]))
    return unit, cut_at_targets(rows, explanations) if unit == "word" else rows


@dataclass(frozen=True)
class Layout:
    """What explanations of one input share: how its texts are cut, and what each token, word and sentence is called.

    unit: what a row is called. pieces, words, sentences, cuts: as the fields of `ExplanationView`, with scores that are
    not read; words are what else was asked for, where something was.
    """

    unit: str
    pieces: tuple[Piece, ...]
    words: Units[Item]
    sentences: Units[Item]
    cuts: tuple[Cut, ...]


def layout_of(e: Explained, rows: Rows | None = None) -> Layout:
    """rows: those of several explanations of the same input, so that a table of them has one kind of row; None: e's."""
    unit, words = rows or rows_of(e)
    sentences = e.sentences()
    items, spoken = (units(items_of(level)) for level in (words, sentences))
    return Layout(unit, _pieces(e, words, sentences), items, spoken, cuts(e, words, sentences))


def explanation_view(e: Explained, include: Sequence[str], layout: Layout | None = None) -> ExplanationView:
    """The View of an explanation. include: which of `LARGE` are put in. layout: of its input, where it is known."""
    layout = layout or layout_of(e)
    name, place = model_name(e.meta), _place(e)
    sums = layout.words.sums(e.scores)
    peak = layout.words.largest(sums)
    places = decimals(peak)
    items, sentences = (
        level.scored(e.scores, e.error, partial(with_score, places)) for level in (layout.words, layout.sentences)
    )
    ranked = layout.words.ranking(sums)
    chance = _chance(e)
    apart = chance and e.target.name != e.prediction  # the prediction's is in the headline
    facts = [Fact("target", e.target.name + place), *([Fact(TARGET_PROBABILITY, chance)] if apart else [])]
    facts += [Fact("output", str(read_as))] if (read_as := e.meta.get("output")) not in (None, "logit") else []
    facts += [Fact("method", e.method), Fact("baseline", e.baseline)]
    facts += [Fact("groups", groups)] if (groups := _groups(e)) not in ("", "token") else []
    own = e.scores[[not t.special for t in e.tokens]]
    maps = maps_of(e, roles(e), places)
    return ExplanationView(
        headline=e.prediction if e.prediction is not None else e.target.name,
        prediction=e.prediction,
        probability=e.probability,
        probability_written="" if e.probability is None else percent(e.probability),
        label=None if e.label is None else e.label if isinstance(e.label, str) else " ".join(x or "–" for x in e.label),
        target=e.target,
        place=place.removeprefix(" at "),
        method=e.method,
        baseline=e.baseline,
        model=name,
        task=str(e.meta.get("task") or ""),
        output=e.output,
        output_written=plain(e.output, decimals(e.output)),
        chance_written=chance,
        facts=(*facts, *([Fact("model", name)] if name else [])),
        proof=_proof(e),
        passes=e.passes,
        status=Standing(str(e.status), e.status.message, e.status.obtained, e.status.promises, e.status.holds),
        notes=tuple(e.notes),
        passages=tuple(each.scored(e.scores, e.error) for each in layout.cuts),
        tokens=Scored(layout.pieces, e.scores, e.error, _piece),
        words=items,
        sentences=sentences,
        ranking=ranked,
        strongest=tuple(i for i in ranked[:STRONGEST] if sums[i]),
        peak=peak,
        peaks={
            "tokens": float(np.abs(own if len(own) else e.scores).max(initial=0.0)),
            "words": peak,
            "sentences": layout.sentences.largest(sentences.scores),
        },
        places=places,
        unit=layout.unit,
        sum=_sum(e),
        layers=layer_views(e, layout.words),
        parts=parts_view(e),
        measures={name: as_plain(values, finite=True) for name, values in (e.measures or {}).items()},
        grid=grid_of(e, maps),
        maps=maps,
        probabilities=dict(e.probabilities or {}),
        attention=attention_views(e),
        heads=_asked(e.heads, "heads" in include),
        attentions=_asked(e.attentions, "attentions" in include),
        meta={**e.meta, "model": name} if "model" in e.meta else dict(e.meta),
        remark=_remark(items, layout.words.special),
        reading=READING.format(baseline=e.baseline),
    )


def _groups(e: Explained) -> str:
    """What was asked to be taken together, in a word; empty for nothing."""
    asked = e.meta.get("groups", "")
    return asked if isinstance(asked, str) else "of its own"


def _remark(items: Scored[Item], are_special: NDArray[np.bool_]) -> str:
    """Says so where a special token carries more than any word."""
    if are_special.all() or not are_special.any():
        return ""
    sizes = np.abs(items.scores)
    best = [kind[np.argmax(sizes[kind])] for kind in map(np.flatnonzero, (are_special, ~are_special))]
    if not sizes[best[0]] > sizes[best[1]]:
        return ""
    special, own = (items[int(i)] for i in best)
    told = f"{special.written}, before {own.text} with {own.written}"
    return f"The special token {special.text} carries the most: {told}."


def _chance(e: Explained) -> str:
    """The target's own probability; empty where it has none, as a contrast."""
    at, ids = e.target.position, e.target.index
    contrast = at is None or (isinstance(ids, tuple) and len(ids) > 1 and read_until(e, at) == at)
    if e.meta.get("output") == "log-probability" and e.output <= 0 and not contrast:
        return percent(float(np.exp(e.output)))
    own = e.meta.get("target_probability", (e.probabilities or {}).get(e.target.name))
    return "" if own is None else percent(own)


def _asked(values: Array | None, asked: bool) -> Json:
    return as_plain(values, finite=True) if asked else None


def _place(e: Explained) -> str:
    """Where the target was read from: ` at film (token 3)`; empty where it was read from no token, or is a span, which
    its name says. The tokens of a continuation are counted from its first, 1, and those of other inputs from 0."""
    at = e.target.position
    if at is None:
        return ""
    number = at
    if e.meta.get("task") in GENERATE and at < len(e.tokens):
        if read_until(e, at) > at:
            return ""
        number = 1 + sum(not t.special and t.segment == e.tokens[at].segment for t in e.tokens[:at])
    token = e.shown(at) if at < len(e.tokens) else ""
    return f" at token {number}" if token in ("", e.target.name) else f" at {token} (token {number})"


def _proof(e: Explained) -> tuple[Fact, ...]:
    told = f"{e.status.message} The scores come from {e.status.obtained}."
    found = [
        Fact("relative delta", _relative(e), MEANINGS["relative delta"]),
        Fact("passes", str(e.passes), MEANINGS["passes"]),
        Fact("status", str(e.status), told),
    ]
    if e.error is not None:
        size, whole = float(np.linalg.norm(e.error)), float(np.linalg.norm(e.scores))
        written = f"{100 * size / whole:.2g}% of the scores" if whole else f"{size:.2g}"
        found.append(Fact("estimated error", written, MEANINGS["estimated error"]))
    return tuple(found)


def _pieces(e: Explained, words: Sequence[Word], sentences: Sequence[Word]) -> tuple[Piece, ...]:
    word_of, sentence_of = ({i: k for k, unit in enumerate(units) for i in unit.tokens} for units in (words, sentences))
    return tuple(
        Piece(
            text=e.shown(i),
            written=t.text,
            id=t.id,
            span=t.span,
            special=t.special,
            segment=t.segment,
            word=word_of[i],
            sentence=sentence_of[i],
            score=float(e.scores[i]),
            error=None if e.error is None else float(e.error[i]),
        )
        for i, t in enumerate(e.tokens)
    )


def _piece(t: Piece, score: float, error: float | None) -> Piece:
    return Piece(t.text, t.written, t.id, t.span, t.special, t.segment, t.word, t.sentence, score, error)


def _sum(e: Explained) -> Sum:
    base, rest, left, out = e.baseline_output, float(e.scores.sum()), e.delta, e.output
    places = places_that_add_up((base, rest, left), out)
    terms = (
        Term("baseline", base, plain(base, places)),
        Term("contributions", rest, signed(rest, places)),
        Term("residual", left, signed(left, places)),
        Term("output", out, plain(out, places)),
    )
    return Sum(terms, _verdict(e), e.adds_up and _holds(e), e.adds_up, e.relative_delta, _relative(e))


def _relative(e: Explained) -> str:
    """The relative delta as it is written: it says nothing of a method that promises no sum."""
    return f"{e.relative_delta:.2g}" if e.adds_up else "no sum promised"


def _holds(e: Explained) -> bool:
    """Whether the residual is small, and the status does not say that the sum fails by more than rounding."""
    return e.relative_delta < COARSE and (e.status.holds is not False or e.status is Status.ROUNDED)


def _verdict(e: Explained) -> str:
    if not e.adds_up:
        return f"{e.method} does not promise that its scores add up: the residual is what they leave unexplained."
    if not _holds(e):
        of = "the change in the output" if e.change else "their own size"
        return f"The contributions do not add up yet: the residual is {percent(e.relative_delta)} of {of}."
    close = "to floating-point precision" if e.relative_delta < FLOAT_PRECISION else "up to the residual"
    return f"The contributions add up to the change in the output, {close}."
