"""Input reduction: the fewest words of a text for which a classifier still predicts the same (Feng et al. 2018,
1804.07781).

Small sets of words are tried exhaustively, fewest words first, as long as the budget of passes lasts: what is found so
is the smallest there is. Where it does not last, the words of the highest scores are kept, as few as hold the
prediction, and a beam search takes out one word after the other. Every set is verified by running the model on the
text that is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Any, cast

from .._explain import explain
from ..errors import InputError, quoted
from ..explanation import Explanation
from ..models import Model
from ..notebook import Displayed, Printed, Sheet, card
from ..number_text import percent
from ..plain_data import Json, as_plain
from ..render.facts import visible
from .judging import Ask, Decision, Search, Text, check_classifies, driven
from .wording import Piece, Place, joined, kept_text, marked, places_of

if TYPE_CHECKING:
    from rich.console import RenderableType

TRIED = 16
"""So many of the weakest words of each set the beam search tries to take out."""


@dataclass(frozen=True)
class Reduction(Displayed, Printed):
    """The fewest words found that keep a prediction.

    text, reduced: before and after. kept, removed: the words, in the order of the text. prediction: the label, which
    is the same before and after. probability, reduced_probability: of that label, by the model itself. passes: how
    many rows went through the model, those of the scores included. found: whether any word could be removed. minimal:
    whether every smaller set of words was tried, so that none keeps the prediction. pieces: each text in pieces, the
    words that are kept and those that are gone marked so. against: the kept words whose scores in the whole text argue
    against the prediction.
    """

    text: Text
    reduced: Text
    kept: tuple[str, ...]
    removed: tuple[str, ...]
    prediction: str
    probability: float
    reduced_probability: float
    passes: int
    found: bool
    minimal: bool
    pieces: tuple[tuple[Piece, ...], ...] = ()
    against: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Json]:
        """Plain Python values, which JSON holds."""
        return {"schema_version": 1, **cast("dict[str, Json]", as_plain(vars(self)))}

    @property
    def sentence(self) -> str:
        """What was found, for a reader who knows nothing of it."""
        count, of = len(self.kept), len(self.kept) + len(self.removed)
        if not self.found:
            return f"No word can be left out: without any of them the model no longer says {self.prediction}."
        sure = "Fewer words are not enough." if self.minimal else "Fewer words were not found to be enough."
        words = f"{count} of {of} words {'is' if count == 1 else 'are'} enough for the model to say {self.prediction}"
        told = f"{words} ({percent(self.reduced_probability)}; {percent(self.probability)} with all)."
        told = told if count == 1 else f"{told} {sure}"
        told += " The other words are deleted, so the model reads another, shorter text."
        if not self.against:
            return told
        names = " and ".join(map(repr, self.against))
        return (
            f"{told} In the scores of the whole text {names} argue{'s' * (len(self.against) == 1)} against "
            f"{self.prediction}: alone, without the words around it, a word can say something else."
        )

    def __rich__(self) -> RenderableType:
        from rich.text import Text as Line

        line = Line(f"{visible(joined(self.text))}\n", "dim").append(visible(joined(self.reduced)), "bold not dim")
        return line.append(f"\n{visible(self.sentence)} · {self.passes} passes", "not dim")

    def _sheet(self) -> Sheet:
        before = ("all words", joined(self.text), self.prediction, percent(self.probability))
        after = ("kept", joined(self.reduced), self.prediction, percent(self.reduced_probability))
        heads = ("", "text", "prediction", "probability")
        return Sheet(lambda: card(self.sentence, [("passes", str(self.passes))], heads, [before, after]))


def reduce(model: Model, inputs: Any, *, method: str = "deeplift", beam: int = 4, max_passes: int = 1000) -> Any:
    """The fewest words of a text for which the classifier still predicts the same.

    model: a classifier, from `load` or `Model`.
    inputs: a text or a pair, as `explain` takes it; or a list of them, whose searches share batches.
    method: whose scores order the words where not every set of words can be tried.
    beam: how many sets of words the beam search keeps in each step.
    max_passes: about how many rows each text may take; a long text may take one more for each of its words.

    Of several sets of equally few words the one of the highest probability is taken. Each text of a pair keeps at least
    one word. Returns a Reduction; for a list a list of them, in order. Raises InputError for a model that does not
    choose between labels, and what `explain` raises.
    Source: Feng et al. 2018, "Pathologies of Neural Models Make Interpretations Difficult" (1804.07781).

    Examples:
        >>> import pellucid
        >>> r = pellucid.reduce(pellucid.load(), "a gripping, funny and moving film about nothing much")
        >>> r.prediction, len(r.kept), r.minimal
        ('positive', 1, True)
    """
    check_classifies(model, "reduce")
    check_count("beam", beam)
    check_count("max_passes", max_passes)
    batch = inputs if isinstance(inputs, list) else [inputs]
    searches = [_search(e, beam, max_passes) for e in explained(model, batch, method)]
    found = driven(model, searches)
    return found if isinstance(inputs, list) else found[0]


def explained(model: Model, batch: Sequence[Any], method: str) -> list[Explanation]:
    """The Explanation of each input's prediction. Raises InputError for token ids, which are no text to be edited."""
    answers = explain(model, list(batch), method=method)
    for i, e in enumerate(answers):
        if not isinstance(e, Explanation) or not places_of(e):
            raise InputError(f"Input {i} has no words that stand for its characters; expected a text or a pair.")
    return cast("list[Explanation]", list(answers))


def check_count(name: str, value: object) -> None:
    """Raises InputError unless the value is a whole number above 0."""
    if type(value) is not int or value < 1:
        raise InputError(f"Found {name}={quoted(value)}; expected a whole number above 0.")


def _search(e: Explanation, beam: int, budget: int) -> Search[Reduction]:
    places, passes = places_of(e), e.passes
    (whole,) = cast("list[Decision]", (yield Ask((e.text,))))
    passes += 1
    every = frozenset(range(len(places)))
    best, proven = every, 1  # every set of fewer words than `proven` is known not to keep the prediction
    sure = whole.probability
    while proven < len(best) and passes + comb(len(places), proven) <= budget:
        sets = [frozenset(s) for s in combinations(range(len(places)), proven) if _whole_pair(s, places)]
        keeping, passes = yield from _keeping(e.text, places, sets, whole, passes)
        if keeping:
            best, sure = keeping[0][0], keeping[0][1]
            return _reduction(e.text, places, best, whole, sure, passes, minimal=True)
        proven += 1
    ranked = sorted(every, key=lambda k: -places[k].score)
    leading = [s for n in range(proven, len(places)) if _whole_pair(s := frozenset(ranked[:n]), places)]
    keeping, passes = yield from _keeping(e.text, places, leading, whole, passes)
    if keeping:
        best, sure = min(keeping, key=lambda found: len(found[0]))
    sets = [best]
    while len(sets[0]) > proven:
        smaller = {s - {k} for s in sets for k in sorted(s, key=lambda k: places[k].score)[:TRIED]}
        tried = sorted((s for s in smaller if _whole_pair(s, places)), key=sorted)
        if not tried or passes + len(tried) > max(budget, 2 * len(places)) + len(places):
            break
        keeping, passes = yield from _keeping(e.text, places, tried, whole, passes)
        if not keeping:
            break
        sets, (best, sure) = [s for s, _ in keeping[:beam]], keeping[0]
    return _reduction(e.text, places, best, whole, sure, passes, minimal=len(best) <= proven)


def _keeping(
    text: Text, places: list[Place], sets: Sequence[frozenset[int]], whole: Decision, passes: int
) -> Search[tuple[list[tuple[frozenset[int], float]], int]]:
    """Those of the sets of words that keep the prediction, with its probability, the most probable first; and the
    passes with those that this took."""
    texts = [kept_text(text, places, s) for s in sets]
    decisions = cast("list[Decision]", (yield Ask(tuple(texts)))) if texts else []
    same = [(s, d.probability) for s, d in zip(sets, decisions, strict=True) if d.index == whole.index]
    return sorted(same, key=lambda found: -found[1]), passes + len(texts)


def _whole_pair(kept: Sequence[int] | frozenset[int], places: list[Place]) -> bool:
    """Whether each of the texts keeps a word."""
    return {places[k].segment for k in kept} == {p.segment for p in places}


def _reduction(
    text: Text, places: list[Place], kept: frozenset[int], whole: Decision, sure: float, passes: int, minimal: bool
) -> Reduction:
    words: Iterator[tuple[int, str]] = enumerate(p.text for p in places)
    told = [(k in kept, word) for k, word in words]
    spans = lambda some: [(places[k].segment, places[k].span) for k in some]
    return Reduction(
        text=text,
        reduced=text if len(kept) == len(places) else kept_text(text, places, kept),
        kept=tuple(word for stays, word in told if stays),
        removed=tuple(word for stays, word in told if not stays),
        prediction=whole.label,
        probability=whole.probability,
        reduced_probability=sure,
        passes=passes,
        found=len(kept) < len(places),
        minimal=minimal,
        against=tuple(places[k].text for k in sorted(kept) if places[k].score < 0) if len(kept) < len(places) else (),
        pieces=marked(text, {"kept": spans(kept), "gone": spans(set(range(len(places))) - set(kept))}, {}),
    )
