"""HotFlip: the fewest words of a text to be replaced until a classifier predicts another label (Ebrahimi et al. 2018,
1712.06751).

The change in the lead of the predicted label, its logit less the largest other, is estimated to first order for every
word w in the place of a token t, (embedding of w − embedding of t) · gradient, over the whole embedding table. The most
promising replacements are verified by running the model on the edited text, and a beam search goes on from the best.
Half of those that are verified are among the words nearest to t, by the cosine of their embeddings, and of equally few
replacements that do, those nearest to what they replace are taken: what could stand there in an ordinary sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import comb
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from ..errors import InputError, quoted
from ..explanation import Explanation
from ..models import Model
from ..notebook import Displayed, Printed, Sheet, card
from ..number_text import percent
from ..plain_data import Json, as_plain
from ..render.facts import label, visible
from .judging import Ask, Decision, Search, Slope, Text, check_classifies, driven
from .reduction import check_count, explained
from .vocabulary import Words, given_words, vocabulary
from .wording import Piece, Place, joined, marked, places_of, replaced_text

if TYPE_CHECKING:
    from rich.console import RenderableType

VERIFIED = 64
"""So many replacements, times the width of the beam, are verified in a step."""
FREQUENT, NEAR = 10_000, 200
"""What may stand in the place of a word: the frequent words of the vocabulary, whose ids are the smallest (tokenizers
number what is frequent first), and the words nearest to that word."""


@dataclass(frozen=True)
class Replacement:
    """A word of the text, where it stands (segment, and start and end in characters), and what took its place."""

    before: str
    after: str
    span: tuple[int, int]
    segment: int


@dataclass(frozen=True)
class Flip(Displayed, Printed):
    """The fewest replacements found that change a prediction.

    text, flipped: before and after. replaced: each word and what took its place. prediction, probability: of the text.
    flipped_prediction, flipped_probability: of the flipped text, by the model itself. passes: how many rows went
    through the model. found: whether the prediction changed; where it did not, `flipped` is the text that came nearest.
    minimal: whether fewer replacements are known not to do: one does, or all fewer were tried.
    pieces: each text in pieces, what is gone and what was put there marked so.
    """

    text: Text
    flipped: Text
    replaced: tuple[Replacement, ...]
    prediction: str
    probability: float
    flipped_prediction: str
    flipped_probability: float
    passes: int
    found: bool
    minimal: bool
    pieces: tuple[tuple[Piece, ...], ...] = ()

    def to_dict(self) -> dict[str, Json]:
        """Plain Python values, which JSON holds."""
        return {"schema_version": 1, **cast("dict[str, Json]", as_plain(vars(self)))}

    @property
    def sentence(self) -> str:
        """What was found, for a reader who knows nothing of it."""
        count, end = len(self.replaced), f"{self.flipped_prediction} ({percent(self.flipped_probability)})"
        words = f"{count} {'word' if count == 1 else 'words'}"
        if not self.found:
            return f"With {words} replaced the model still says {end}; nothing came nearer to a change."
        told = f"With {words} replaced the model says {end}, no more {self.prediction} ({percent(self.probability)})."
        sure = "Fewer replacements are not enough." if self.minimal else "Fewer were not found to be enough."
        return told if count == 1 else f"{told} {sure}"

    def __rich__(self) -> RenderableType:
        from rich.text import Text as Line

        line = Line(f"{visible(joined(self.text))}\n", "dim").append(visible(joined(self.flipped)), "bold not dim")
        pairs = ", ".join(f"{label(r.before)} → {label(r.after)}" for r in self.replaced) or "nothing replaced"
        return line.append(f"\n{visible(self.sentence)} {pairs} · {self.passes} passes", "not dim")

    def _sheet(self) -> Sheet:
        before = ("before", joined(self.text), self.prediction, percent(self.probability))
        after = ("after", joined(self.flipped), self.flipped_prediction, percent(self.flipped_probability))
        facts = [("replaced", f"{r.before} → {r.after}") for r in self.replaced] + [("passes", str(self.passes))]
        return Sheet(lambda: card(self.sentence, facts, ("", "text", "prediction", "probability"), [before, after]))


def flip(
    model: Model,
    inputs: Any,
    *,
    to: str | None = None,
    candidates: Sequence[str] | None = None,
    whole_words: bool = True,
    beam: int = 4,
    max_replacements: int = 4,
    max_passes: int = 2000,
    method: str = "deeplift",
) -> Any:
    """The fewest words to be replaced until the classifier predicts another label. Of equally few replacements that do,
    those by the words nearest to the ones that they replace are taken.

    model: a classifier, from `load` or `Model`.
    inputs: a text or a pair, as `explain` takes it; or a list of them, whose searches share batches.
    to: the label that is to be predicted; None: any other.
    candidates: the words that may be put in; None: those of the vocabulary, without special tokens.
    whole_words: only words of letters, and no pieces of words, are put in from the vocabulary.
    beam: how many texts the search goes on from in each step. max_replacements: how many words are replaced at most.
    max_passes: about how many rows each text may take. Where all replacements by the candidates fit into them, all are
        tried. method: as `explain`; its scores tell the words of the text apart, and cost its passes.

    Returns a Flip; for a list a list of them, in order. Raises InputError for a model that does not choose between
    labels, UnsupportedModel where the embedding is no table, and what `explain` raises.
    Source: Ebrahimi et al. 2018, "HotFlip: White-Box Adversarial Examples for Text Classification" (1712.06751).

    Examples:
        >>> import pellucid
        >>> f = pellucid.flip(pellucid.load(), "It's a great film!", candidates=["poor", "long", "new"])
        >>> f.flipped, f.flipped_prediction, f.minimal
        ("It's a poor film!", 'negative', True)
    """
    check_classifies(model, "flip")
    for name, value in (("beam", beam), ("max_replacements", max_replacements), ("max_passes", max_passes)):
        check_count(name, value)
    if to is not None and to not in model.labels:
        raise InputError(f"Found to={quoted(to)}; expected one of the model's labels: {', '.join(model.labels)}.")
    if candidates is not None and (isinstance(candidates, str) or not all(isinstance(c, str) for c in candidates)):
        raise InputError(f"Found candidates={quoted(candidates)}; expected a list of words.")
    words = vocabulary(model, whole_words) if candidates is None else given_words(model, candidates)
    if not words.texts:
        raise InputError("Found no candidates; expected at least one word to put in.")
    wanted = None if to is None else model.labels.index(to)
    batch = inputs if isinstance(inputs, list) else [inputs]
    found = driven(
        model,
        [_search(e, words, wanted, beam, max_replacements, max_passes) for e in explained(model, batch, method)],
    )
    return found if isinstance(inputs, list) else found[0]


@dataclass(frozen=True)
class _Edit:
    """An edited text: what is put in at which of the text's words, the model's decision, and how far the prediction
    still leads."""

    words: tuple[tuple[int, str], ...]
    decision: Decision
    lead: float


def _search(e: Explanation, words: Words, wanted: int | None, beam: int, most: int, budget: int) -> Search[Flip]:
    places, text = places_of(e), e.text
    near = words.nearness(e, places)
    (whole,) = cast("list[Decision]", (yield Ask((text,))))
    passes, proven = e.passes + 1, 0
    if wanted == whole.index:
        raise InputError(f"Found to={whole.label!r}, which the model predicts already; expected another label.")
    front = [_Edit((), whole, _lead(whole, whole.index, wanted))]
    nearest = front[0]
    for count in range(1, min(most, len(places)) + 1):
        if passes + comb(len(places), count) * len(words.texts) ** count <= budget:
            at = combinations(range(len(places)), count)
            tried = [tuple(zip(k, w, strict=True)) for k in at for w in product(words.texts, repeat=count)]
            proven += proven == count - 1
        else:
            texts = tuple(replaced_text(text, places, dict(edit.words)) for edit in front)
            found = cast("list[Slope]", (yield Ask(texts, slope_of=whole.index if wanted is None else wanted)))
            passes += len(texts)
            some, sign = (VERIFIED * beam) // len(front), 1 if wanted is None else -1
            pairs = zip(front, found, strict=True)
            tried = sorted({t for edit, s in pairs for t in _promising(edit, s, places, words, near, sign, some)})
        tried = [t for t in tried if all(places[k].text != w for k, w in t)]
        texts = tuple(replaced_text(text, places, dict(t)) for t in tried)
        decisions = cast("list[Decision]", (yield Ask(texts))) if texts else []
        passes += len(texts)
        edits = [_Edit(t, d, _lead(d, whole.index, wanted)) for t, d in zip(tried, decisions, strict=True)]
        edits.sort(key=lambda edit: edit.lead)
        if not edits:
            break
        nearest = min(nearest, edits[0], key=lambda edit: edit.lead)
        other = [x for x in edits if x.decision.index == wanted or (wanted is None and x.decision.index != whole.index)]
        if other:
            best = max(other, key=lambda x: sum(float(near[k, words.place[w]]) for k, w in x.words))
            return _flip(text, places, whole, best, passes, True, count == 1 or proven >= count - 1)
        front = edits[:beam]
        if passes >= budget:
            break
    return _flip(text, places, whole, nearest, passes, False, False)


def _lead(decision: Decision, own: int, wanted: int | None) -> float:
    """How far the prediction is from what is wanted: not above 0 where it is there."""
    return decision.lead(own) if wanted is None else -decision.lead(wanted)


def _promising(
    edit: _Edit, slope: Slope, places: list[Place], words: Words, near: Tensor, sign: int, some: int
) -> list[tuple[tuple[int, str], ...]]:
    """The replacements of one further word whose first-order change, times the sign, lowers the lead most: so many,
    half of them by any frequent word, half of them by a word that is near to the one replaced.

    A word of several tokens is replaced by one: the mean of their gradients stands for the gradient there.
    """
    of_place = _tokens_of(edit, slope, places)
    free = [k for k in range(len(places)) if of_place[k] and k not in dict(edit.words)]
    if not free:
        return []
    changes: list[Tensor] = []
    for k in free:
        g, x = slope.gradient[of_place[k]], slope.embeddings[of_place[k]]
        changes.append(words.embeddings.to(g.dtype) @ g.mean(0) - (g * x).sum(0).sum() / len(g))
    change = sign * torch.stack(changes)  # (places, words)
    closest = near[free].topk(min(NEAR, near.shape[1]), dim=1).indices
    far = torch.full_like(change, torch.inf).scatter(1, closest, change.gather(1, closest))
    frequent = change[:, :FREQUENT]
    found = dict.fromkeys([*_least(far, some // 2), *_least(frequent, some - some // 2)])
    return [tuple(sorted([*edit.words, (free[row], words.texts[column])])) for row, column in found]


def _least(change: Tensor, some: int) -> list[tuple[int, int]]:
    """The places (row, column) of so many of the smallest numbers that are finite."""
    found = change.flatten().topk(min(some, change.numel()), largest=False)
    each = zip(found.values.tolist(), found.indices.tolist(), strict=True)
    return [divmod(i, change.shape[1]) for value, i in each if value < float("inf")]


def _tokens_of(edit: _Edit, slope: Slope, places: list[Place]) -> list[list[int]]:
    """For each word of the original text the tokens of the edited text that stand in its place."""
    put, shift, spans = dict(edit.words), dict[int, int](), list[tuple[int, int, int]]()
    for k, p in enumerate(places):
        moved = shift.get(p.segment, 0)
        width = len(put.get(k, p.text)) if k in put else p.span[1] - p.span[0]
        start = p.span[0] + moved
        spans.append((p.segment, start, start + width))
        shift[p.segment] = moved + width - (p.span[1] - p.span[0])
    tokens = [(i, t.segment, t.span) for i, t in enumerate(slope.encoding.tokens) if not t.special and t.span]
    return [[i for i, s, (a, b) in tokens if s == segment and start <= a < end] for segment, start, end in spans]


def _flip(
    text: Text, places: list[Place], whole: Decision, edit: _Edit, passes: int, found: bool, minimal: bool
) -> Flip:
    return Flip(
        text=text,
        flipped=replaced_text(text, places, dict(edit.words)),
        replaced=tuple(Replacement(places[k].text, w, places[k].span, places[k].segment) for k, w in edit.words),
        prediction=whole.label,
        probability=whole.probability,
        flipped_prediction=edit.decision.label,
        flipped_probability=edit.decision.probability,
        passes=passes,
        found=found,
        minimal=minimal,
        pieces=marked(
            text,
            {"gone": [(places[k].segment, places[k].span) for k, _ in edit.words]},
            {(places[k].segment, *places[k].span): word for k, word in edit.words},
        ),
    )
