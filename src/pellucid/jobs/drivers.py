"""The words that drive each class: those whose scores are apart from what an ordinary word's are.

A document's score of a word is the mean over the places that the word has in it: what the word does each time that it
is said. The sum over the places would tell how often it is said, and function words come first by that in long texts.

Most words that are said have a small effect, function words above all. What such words do is measured, of all words
that are in enough documents to be drivers, or of the most frequent 60 where fewer are: the typical mean is the median
over the words of the documents, and the spread of ordinary words' means, without what chance adds to it, is robust,
√((1.4826·median|mean − typical|)² − median se²). A driver's mean is farther than three such deviations from the typical
one, tested at a false discovery rate of 5 %. So a frequent word with a little effect is no driver, however sure its
mean is, and a rare word with a large mean by chance is none either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .significance import discovered, interval, label_z, p_values
from .words import FEWEST, Gathered, nearest_support

ORDINARY = 3.0
"""So many deviations of ordinary words' means are within what an ordinary word does."""
ENOUGH = 60
"""So many words tell what ordinary words do, at least. Rarer words differ more, and would hide a frequent driver."""


@dataclass(frozen=True)
class Driver:
    """What a word does in the texts that were explained for one class.

    mean: of its score over documents, in the unit of the output; a document's score of a word is the mean over the
    places that the word has in it. low, high: the 95 % interval of the mean over documents. size: the mean of |score|.
    documents: how many have the word; share: of the documents of the class. others: its mean in the documents of the
    other classes, NaN where none has it. z: of the class among the labels of the texts with the word, NaN without
    labels. p: of the test that the mean is that of an ordinary word of the class, rejected for all drivers at a false
    discovery rate of 5 %.
    rows: the numbers of some documents that have it. scores: of up to 50 documents, from the lowest to the highest.
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
    rows: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Ordinary:
    """What an ordinary word of a class does. typical: its mean. margin: how far from it ordinary words' means are."""

    typical: float
    margin: float


def ordinary(means: np.ndarray, errors: np.ndarray, counts: np.ndarray) -> Ordinary:
    """From the mean of each word, its standard error and its number of documents."""
    typical = float(np.median(np.repeat(means, counts)))
    spread = 1.4826 * float(np.median(np.repeat(np.abs(means - typical), counts)))
    chance = float(np.median(np.repeat(errors**2, counts)))
    return Ordinary(typical, ORDINARY * math.sqrt(max(0.0, spread**2 - chance)))


def drivers_of(gathered: Gathered, target: str, support: int, top: int) -> tuple[Driver, ...]:
    """The words that push most to a class and from it, ranked by how far the nearer end of Student's interval is from
    what ordinary words do."""
    return _ranked(gathered, target, support, top, True)


def nearest_to(gathered: Gathered, target: str, support: int, top: int = 5) -> tuple[Driver, ...]:
    """As `drivers_of`, for a class that has no drivers: the words that are nearest to being one, of those in
    `nearest_support(support)` documents. What they do may be chance."""
    return _ranked(gathered, target, nearest_support(support), top, False)


def _ranked(gathered: Gathered, target: str, support: int, top: int, certain: bool) -> tuple[Driver, ...]:
    """certain: whether only words are taken that are apart from ordinary ones at the false discovery rate; else all
    whose own mean is farther than that of an ordinary word."""
    arrays = gathered.arrays(target, min(FEWEST, max(2, support)))
    names, counts = list(arrays), np.array([len(v) for v in arrays.values()], dtype=int)
    tested = counts >= support
    if not tested.any():
        return ()
    means = np.array([v.mean() for v in arrays.values()])
    errors = np.array([v.std(ddof=1) for v in arrays.values()]) / np.sqrt(counts)
    told = counts >= min(support, np.sort(counts)[-min(ENOUGH, len(counts))])
    usual = ordinary(means[told], errors[told], counts[told])
    names = [name for name, own in zip(names, tested, strict=True) if own]
    counts, means, errors = counts[tested], means[tested], errors[tested]
    apart = means - usual.typical
    p = p_values(apart, errors, np.array([_skewness(arrays[n]) for n in names]), counts, usual.margin)
    found = discovered(p) if certain else np.abs(apart) > usual.margin
    bound = np.abs(apart) - usual.margin - (1.96 + 2.4 / (counts - 1)) * errors
    ranked = [i for i in np.argsort(-bound, kind="stable").tolist() if found[i]]
    towards, against = means > max(0.0, usual.typical), means < min(0.0, usual.typical)
    chosen = [i for i in ranked if towards[i]][:top] + [i for i in ranked if against[i]][:top]
    return tuple(_driver(gathered, target, names[i], arrays[names[i]], float(p[i])) for i in chosen)


def first(drivers: Sequence[Driver], k: int) -> list[str]:
    """The first words that push to the class."""
    return [d.word for d in drivers if d.mean > 0][:k]


def _skewness(values: np.ndarray) -> float:
    deviation = values.std(ddof=1)
    return float(((values - values.mean()) ** 3).mean() / deviation**3) if deviation > 0 else 0.0


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
        rows=tuple(gathered.rows[target][word]),
        scores=tuple(np.quantile(values, np.linspace(0, 1, min(50, len(values)))).tolist()),
    )
