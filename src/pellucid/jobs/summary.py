"""What drives each class, where the model is wrong, and how far the answers of a run can be trusted."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MissingExtra
from .agreement import Agreeing, Agreement
from .drivers import Driver, drivers_of, first, nearest_to
from .shortcuts import Removal, hanging, tested, tested_places
from .words import Answered, Gathered, Piece, Unit, grouping, pieces_of

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

READ = tuple(
    "row text texts starts ends special words segments scores target output baseline_output relative_delta prediction "
    "probability label status notes error_type data method others".split()
)
_NUMBER = re.compile(r"\d[\d,.]*\d|\d")


@dataclass(frozen=True)
class Mistake:
    """A text whose prediction is not its label, and the words that pushed most to the prediction."""

    row: int
    text: str
    label: str
    prediction: str
    probability: float
    words: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Summary:
    """What a run's answers say together. The frames of it: `.drivers_frame()`, `.mistakes_frame()`.

    drivers: by class, the words that push most towards it and those that push most against it, strongest first.
    uncertain: of a class without drivers, the words nearest to being one. confusion: (label, prediction) → rows.
    wrong_words: by prediction, the words that pushed most towards it, by the sum of their scores over the texts that
    were wrongly predicted so, with the number of these texts that have the word. hangs: kind → (rows, some of their
    numbers): texts where half of the size of all scores is on one word, on special tokens, on punctuation, or on the
    last word. removals: what became of predictions
    when a word was removed, tested on the model; places: the same for the places of `hangs`. agreement: of each two
    methods that explained the same rows. slices: by the value of what was asked for.
    """

    path: str
    model: str
    rows: int
    drivers: Mapping[str, tuple[Driver, ...]]
    support: int
    accuracy: float
    confusion: Mapping[tuple[str, str], int]
    mistakes: tuple[Mistake, ...]
    wrong_words: Mapping[str, tuple[tuple[str, float, int], ...]]
    hangs: Mapping[str, tuple[int, tuple[int, ...]]]
    deltas: Mapping[str, float]
    statuses: Mapping[str, int]
    notes: Mapping[str, int]
    failures: Mapping[str, int]
    cancelling: int
    uncertain: Mapping[str, tuple[Driver, ...]] = field(default_factory=dict)
    slices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    removals: tuple[Removal, ...] = ()
    places: tuple[Removal, ...] = ()
    agreement: Mapping[tuple[str, str], Agreement] = field(default_factory=dict)
    examples: Mapping[int, str] = field(default_factory=dict)

    @property
    def wrong(self) -> int:
        """How many predictions are not the label."""
        return sum(n for (label, prediction), n in self.confusion.items() if label != prediction)

    def drivers_frame(self) -> pd.DataFrame:
        """A row for each driver."""
        return _frame(vars(d) for each in self.drivers.values() for d in each)

    def mistakes_frame(self) -> pd.DataFrame:
        """A row for each of the most confident mistakes."""
        return _frame(map(vars, self.mistakes))

    def removals_frame(self) -> pd.DataFrame:
        """A row for each word and place that was removed."""
        return _frame(map(vars, (*self.removals, *self.places)))

    def confusion_frame(self) -> pd.DataFrame:
        """A row for each label and prediction."""
        return _frame({"label": a, "prediction": b, "rows": n} for (a, b), n in self.confusion.items())

    def slices_frame(self) -> pd.DataFrame:
        """A row for each slice."""
        return _frame({"slice": name, **numbers} for name, numbers in self.slices.items())

    def to_html(self) -> str:
        """One page that stands alone."""
        from .summary_page import page

        return page(self)

    def __rich__(self) -> RenderableType:
        from .summary_text import draw

        return draw(self)


def summarize(
    run: Answered,
    *,
    unit: Unit = "word",
    support: int = 10,
    top: int = 15,
    by: str | None = None,
    model: Any = None,
    removed: int = 8,
) -> Summary:
    """A Summary of a run.

    unit: what is counted (see `words.Unit`). support: in so many documents a word must be. top: so many words for and
    against each class. by: slices by "label", "prediction", "length" or another column of the data. model: the model of
    the run, to test words by removing them; not tested where None. removed: so many words of each class are tested.
    Raises InputError.
    """
    named, seen = grouping(unit), _Seen(by)
    gathered = Gathered()
    for row in run.rows(READ):
        pieces = seen.add(row)
        if pieces is not None:
            gathered.add(row["target"], row["label"], row["row"], named(pieces))
    drivers = {c: drivers_of(gathered, c, support, top) for c in sorted(gathered.values)}
    uncertain = {c: nearest_to(gathered, c, support) for c, d in drivers.items() if not d}
    words = {c: first(d or uncertain[c], removed) for c, d in drivers.items()}
    removals = ((), ()) if model is None else (tested(run, model, words), tested_places(run, model))
    wanted = {r for each in (*drivers.values(), *uncertain.values()) for d in each for r in d.rows[:3]}
    wanted |= {r for _, some in seen.hangs.values() for r in some}
    examples = {row["row"]: row["text"] for row in run.rows(["row", "text"]) if row["row"] in wanted}
    return seen.summary(run, drivers, uncertain, support, removals, examples)


class _Seen:
    """What is counted while the rows go by."""

    SHOWN = 20

    def __init__(self, by: str | None):
        self.by = by
        self.rows = self.cancelling = 0
        self.confusion: Counter[tuple[str, str]] = Counter()
        self.statuses: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.kinds: dict[str, str] = {}  # of notes that differ in their numbers, the first
        self.failures: Counter[str] = Counter()
        self.deltas: list[float] = []
        self.mistakes: list[Mistake] = []
        self.pushed: dict[str, dict[str, list[float]]] = {}
        self.hangs: dict[str, tuple[int, tuple[int, ...]]] = {}
        self.agreeing: dict[tuple[str, str], Agreeing] = {}
        self.sliced: dict[str, list[tuple[bool | None, float | None, bool]]] = {}

    def add(self, row: Mapping[str, Any]) -> list[Piece] | None:
        """The words of a row; None of one that failed."""
        self.rows += 1
        wrong = None if row["label"] is None or row["prediction"] is None else row["label"] != row["prediction"]
        if self.by is not None:
            value = _sliced(row, self.by)
            right = None if wrong is None else not wrong
            self.sliced.setdefault(value, []).append((right, row["probability"], row["error_type"] is not None))
        if row["error_type"] is not None:
            self.failures[row["error_type"]] += 1
            return None
        pieces = pieces_of(row)
        self.statuses[row["status"]] += 1
        for kind, note in {_NUMBER.sub("", note): note for note in row["notes"] or ()}.items():
            self.notes[self.kinds.setdefault(kind, note)] += 1
        self.deltas.append(row["relative_delta"])
        self.cancelling += any("scores cancel" in note for note in row["notes"] or ())
        for kind in hanging(row, pieces):
            n, some = self.hangs.get(kind, (0, ()))
            self.hangs[kind] = (n + 1, (*some, row["row"])[:5])
        self._compare(row, pieces)
        if row["label"] is not None and row["prediction"] is not None:
            self.confusion[row["label"], row["prediction"]] += 1
        if wrong:
            self._wrong(row, pieces)
        return pieces

    def _wrong(self, row: Mapping[str, Any], pieces: list[Piece]) -> None:
        toward = 1 if row["target"] == row["prediction"] else -1
        sums: dict[str, float] = {}  # a text counts once, however often it has a word
        for p in pieces:
            sums[p.text.casefold()] = sums.get(p.text.casefold(), 0.0) + toward * p.score
        for word, score in sums.items():
            self.pushed.setdefault(row["prediction"], {}).setdefault(word, []).append(score)
        strongest = nlargest(3, ((w, score) for w, score in sums.items() if score > 0), key=lambda w: w[1])
        known = (row["row"], row["text"][:400], row["label"], row["prediction"], row["probability"] or 0.0)
        self.mistakes.append(Mistake(*known, tuple(strongest)))
        if len(self.mistakes) > 10 * self.SHOWN:
            self.mistakes = nlargest(self.SHOWN, self.mistakes, key=lambda m: m.probability)

    def _compare(self, row: Mapping[str, Any], pieces: list[Piece]) -> None:
        """Takes down how far methods agree that explained the same target of a row."""
        for other in row["others"] or ():
            if other["target"] == row["target"] and other["method"] != row["method"]:
                pair = (row["method"], other["method"])
                self.agreeing.setdefault(pair, Agreeing()).add(pieces, pieces_of(other))

    def summary(
        self,
        run: Answered,
        drivers: Mapping[str, tuple[Driver, ...]],
        uncertain: Mapping[str, tuple[Driver, ...]],
        support: int,
        removals: tuple[tuple[Removal, ...], tuple[Removal, ...]],
        examples: Mapping[int, str],
    ) -> Summary:
        judged = sum(self.confusion.values())
        right = sum(n for (label, prediction), n in self.confusion.items() if label == prediction)
        deltas = np.array(self.deltas or [math.nan])
        pushed = {
            c: tuple(
                nlargest(self.SHOWN, ((w, sum(v), len(v)) for w, v in words.items() if sum(v) > 0), lambda x: x[1])
            )
            for c, words in sorted(self.pushed.items())
        }
        return Summary(
            path=run.path,
            model=run.manifest["model"]["name"],
            rows=self.rows,
            drivers=drivers,
            uncertain=uncertain,
            support=support,
            accuracy=right / judged if judged else math.nan,
            confusion=dict(sorted(self.confusion.items())),
            mistakes=tuple(nlargest(self.SHOWN, self.mistakes, key=lambda m: m.probability)),
            wrong_words=pushed,
            hangs=self.hangs,
            deltas={f"{q} %": float(np.quantile(deltas, q / 100)) for q in (50, 90, 99, 100)},
            statuses=dict(self.statuses.most_common()),
            notes=dict(self.notes.most_common(10)),
            failures=dict(self.failures.most_common()),
            cancelling=self.cancelling,
            slices={k: _slice(v) for k, v in sorted(self.sliced.items(), key=lambda s: -len(s[1]))},
            removals=removals[0],
            places=removals[1],
            agreement={pair: each.found() for pair, each in self.agreeing.items()},
            examples=examples,
        )


def _frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtra("Frames need pandas: pip install 'pellucid[plots]', or pip install pandas") from error
    return pd.DataFrame(list(rows))


def _sliced(row: Mapping[str, Any], by: str) -> str:
    """The slice that a row belongs to."""
    if by == "length":
        n = len(row["scores"] or ())
        return next(
            (f"up to {most} tokens" for most in (16, 32, 64, 128, 256, 512) if n <= most), "more than 512 tokens"
        )
    if by in ("label", "prediction", "status", "target"):
        return str(row[by])
    import json

    return str(json.loads(row["data"] or "{}").get(by))


def _slice(each: list[tuple[bool | None, float | None, bool]]) -> dict[str, float]:
    judged = [right for right, _, _ in each if right is not None]
    sure = [p for _, p, _ in each if p is not None]
    return {
        "rows": len(each),
        "accuracy": sum(judged) / len(judged) if judged else math.nan,
        "probability": sum(sure) / len(sure) if sure else math.nan,
        "failures": sum(failed for _, _, failed in each),
    }
