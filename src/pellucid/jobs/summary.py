"""What drives each class, where the model is wrong, and how far the answers of a run can be trusted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .shortcuts import Removal, tested
from .statistics import discovered, interval, label_z, p_values
from .words import Gathered, Piece, Unit, grouping, pieces_of

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

READ = tuple(
    "row text texts starts ends special words segments scores target output baseline_output relative_delta prediction "
    "probability label status notes error_type data".split()
)
TESTED_AT = 0.04
"""The rate that Benjamini and Hochberg's procedure is run with, so that false discoveries stay within 5 % where scores
are skewed and the typical word's mean is itself estimated."""
CANCELS = 10.0
"""Scores cancel where their sizes add up to more than this many times the change that they explain."""


class Answered(Protocol):
    """What is read of a run."""

    @property
    def path(self) -> str: ...
    @property
    def manifest(self) -> dict[str, Any]: ...
    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]: ...


@dataclass(frozen=True)
class Driver:
    """What a word does in the texts that were explained for one class.

    mean: of its score over documents, in the unit of the output; a document's score of a word is the sum over the
    places that the word has in it. low, high: the 95 % interval of the mean over documents. size: the mean of |score|.
    documents: how many have the word; share: of the documents of the class. others: its mean in the documents of the
    other classes, NaN where none has it. z: of the class among the labels of the texts with the word, NaN without
    labels. p: of the test that the mean is that of a typical word of the class, the median over their words.
    discovered: whether that is rejected at a false discovery rate of 5 %.
    rows: the numbers of some documents that have it.
    """

    word: str
    target: str
    mean: float
    low: float
    high: float
    size: float
    documents: int
    share: float
    others: float
    z: float
    p: float
    discovered: bool
    rows: tuple[int, ...]


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
    confusion: (label, prediction) → rows. wrong_words: by prediction, the words with the largest sum of scores in texts
    that were wrongly predicted so. hangs: kind → (rows, some of their numbers): texts where half of the size of all
    scores is on one word, on special tokens, on punctuation, or on the last word. removals: what became of predictions
    when a word was removed, tested on the model. slices: by the value of what was asked for.
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
    slices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    removals: tuple[Removal, ...] = ()
    examples: Mapping[int, str] = field(default_factory=dict)

    def drivers_frame(self) -> pd.DataFrame:
        """A row for each driver."""
        import pandas as pd

        return pd.DataFrame([vars(d) for each in self.drivers.values() for d in each])

    def mistakes_frame(self) -> pd.DataFrame:
        """A row for each of the most confident mistakes."""
        import pandas as pd

        return pd.DataFrame([vars(m) for m in self.mistakes])

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
    drivers = {c: _drivers(gathered, c, support, top) for c in sorted(gathered.values)}
    removals = () if model is None else tested(run, model, {c: _first(d, removed) for c, d in drivers.items()})
    wanted = {r for each in drivers.values() for d in each for r in d.rows[:3]}
    wanted |= {r for _, some in seen.hangs.values() for r in some}
    examples = {row["row"]: row["text"] for row in run.rows(["row", "text"]) if row["row"] in wanted}
    return seen.summary(run, drivers, support, removals, examples)


def _first(drivers: Sequence[Driver], k: int) -> list[str]:
    return [d.word for d in drivers if d.mean > 0][:k]


def _drivers(gathered: Gathered, target: str, support: int, top: int) -> tuple[Driver, ...]:
    """The words that push most to a class and from it. They are ranked by how far the nearer end of Student's
    interval is from the mean of a typical word (the median over all words of the documents), so that neither a rare
    word by chance nor a frequent word with little effect comes first."""
    arrays = gathered.arrays(target, max(2, support))
    if not arrays:
        return ()
    names = list(arrays)
    counts = np.array([len(arrays[n]) for n in names])
    means = np.array([arrays[n].mean() for n in names])
    errors = np.array([arrays[n].std(ddof=1) for n in names]) / np.sqrt(counts)
    typical = float(np.median(np.repeat(means, counts)))
    apart = means - typical
    p = p_values(apart, errors, counts)
    found = discovered(p, TESTED_AT)
    bound = np.maximum(np.abs(apart) - (1.96 + 2.4 / (counts - 1)) * errors, 0.0)
    ranked = [i for i in np.argsort(-bound, kind="stable").tolist() if found[i] and bound[i] > 0]
    towards, against = means > max(0.0, typical), means < min(0.0, typical)
    chosen = [i for i in ranked if towards[i]][:top] + [i for i in ranked if against[i]][:top]
    return tuple(_driver(gathered, target, names[i], arrays[names[i]], float(p[i])) for i in chosen)


def _driver(gathered: Gathered, target: str, word: str, values: np.ndarray, p: float) -> Driver:
    low, high = interval(values)
    elsewhere = [v for c, of in gathered.values.items() if c != target for v in of.get(word, ())]
    total = sum(gathered.labels.values())
    z = math.nan
    if total:
        share = gathered.labels.get(target, 0) / total
        z = label_z(gathered.with_label.get(target, {}).get(word, 0), gathered.texts.get(word, 0), share)
    return Driver(
        word=word,
        target=target,
        mean=float(values.mean()),
        low=low,
        high=high,
        size=float(np.abs(values).mean()),
        documents=len(values),
        share=len(values) / gathered.documents[target],
        others=float(np.mean(elsewhere)) if elsewhere else math.nan,
        z=z,
        p=p,
        discovered=True,
        rows=tuple(gathered.rows[target][word]),
    )


class _Seen:
    """What is counted while the rows go by."""

    SHOWN = 20

    def __init__(self, by: str | None):
        self.by = by
        self.rows = self.cancelling = 0
        self.confusion: Counter[tuple[str, str]] = Counter()
        self.statuses: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.deltas: list[float] = []
        self.mistakes: list[Mistake] = []
        self.pushed: dict[str, dict[str, list[float]]] = {}
        self.hangs: dict[str, tuple[int, tuple[int, ...]]] = {}
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
        self.notes.update(row["notes"] or ())
        self.deltas.append(row["relative_delta"])
        size = sum(abs(s) for s in row["scores"])
        self.cancelling += size > CANCELS * abs(row["output"] - row["baseline_output"])
        self._hang(row, pieces, size)
        if row["label"] is not None and row["prediction"] is not None:
            self.confusion[row["label"], row["prediction"]] += 1
        if wrong:
            self._wrong(row, pieces)
        return pieces

    def _wrong(self, row: Mapping[str, Any], pieces: list[Piece]) -> None:
        toward = 1 if row["target"] == row["prediction"] else -1
        strongest = nlargest(3, ((p.text.casefold(), toward * p.score) for p in pieces), key=lambda w: w[1])
        for word, score in strongest:
            self.pushed.setdefault(row["prediction"], {}).setdefault(word, []).append(score)
        known = (row["row"], row["text"][:400], row["label"], row["prediction"], row["probability"] or 0.0)
        self.mistakes.append(Mistake(*known, tuple(strongest)))
        if len(self.mistakes) > 10 * self.SHOWN:
            self.mistakes = nlargest(self.SHOWN, self.mistakes, key=lambda m: m.probability)

    def _hang(self, row: Mapping[str, Any], pieces: list[Piece], size: float) -> None:
        """Takes down where half of the size of all scores is in one place."""
        if not pieces or not size:
            return
        alone = max(abs(p.score) for p in pieces)
        special = sum(abs(s) for s, mark in zip(row["scores"], row["special"], strict=True) if mark)
        signs = sum(abs(p.score) for p in pieces if not any(c.isalnum() for c in p.text))
        found = {
            "one word": alone,
            "special tokens": special,
            "punctuation": signs,
            "the last word": abs(pieces[-1].score),
        }
        for kind, part in found.items():
            if part >= size / 2 and (len(pieces) > 2 or kind == "special tokens"):
                n, some = self.hangs.get(kind, (0, ()))
                self.hangs[kind] = (n + 1, (*some, row["row"])[:5])

    def summary(
        self,
        run: Answered,
        drivers: Mapping[str, tuple[Driver, ...]],
        support: int,
        removals: tuple[Removal, ...],
        examples: Mapping[int, str],
    ) -> Summary:
        judged = sum(self.confusion.values())
        right = sum(n for (label, prediction), n in self.confusion.items() if label == prediction)
        deltas = np.array(self.deltas or [math.nan])
        pushed = {
            c: tuple(sorted(((w, sum(v), len(v)) for w, v in words.items()), key=lambda x: -x[1])[: self.SHOWN])
            for c, words in sorted(self.pushed.items())
        }
        return Summary(
            path=run.path,
            model=run.manifest["model"]["name"],
            rows=self.rows,
            drivers=drivers,
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
            removals=removals,
            examples=examples,
        )


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
