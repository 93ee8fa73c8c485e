"""What a model says of every subset of a short text's words, from which any ranking of the words is measured at once.

A text of n words has 2ⁿ subsets, which are all evaluated, once for each way to remove words, and kept in a file. Every
removal curve is then a path through the table; the best and the worst order are found among all orders; and what a
random ranking gets is known exactly, as the mean over all subsets of a size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import pellucid
from pellucid.engine.coalitions import every_target
from pellucid.evaluation.removal import OUTPUTS, plays
from pellucid.metrics import faithfulness
from pellucid.metrics.faithfulness import Evidence
from pellucid.metrics.removal_curves import order_of
from pellucid.metrics.word_scores import groups_of_tokens

OPERATORS = ("mask", "delete", "sampled")
METRICS = (
    ("probability", "comprehensiveness"),
    ("probability", "sufficiency"),
    ("log-odds", "area between"),
    ("probability", "normalised area"),
)
"""The cells of the leaderboard, for each operator."""
MOST_WORDS = 12
LOWER_IS_BETTER = ("sufficiency",)
Cell = tuple[str, str, str]
"""Operator, output, metric."""


@dataclass(frozen=True)
class Subsets:
    """A text. groups: the word of each token, −1 for a special one. values: for each operator (2ⁿ, outputs): f where
    word k is present when bit k of the row's number is set."""

    groups: np.ndarray
    values: dict[str, np.ndarray]

    @property
    def words(self) -> int:
        return int(self.groups.max()) + 1

    def ranked(self, scores: Sequence[float] | np.ndarray) -> np.ndarray:
        """The words from the highest sum of their tokens' scores (tokens,) to the lowest."""
        own = self.groups >= 0
        return order_of(np.bincount(self.groups[own], np.asarray(scores, float)[own], self.words))

    def cells(self, order: np.ndarray) -> dict[Cell, float]:
        """Every metric of a ranking, most relevant word first."""
        return self._read(lambda values: (_curve(values, order), _curve(values, order[::-1])))

    def chance(self) -> dict[Cell, float]:
        """The mean of every metric over all rankings."""
        sizes = np.array([s.bit_count() for s in range(2**self.words)])
        mean = lambda values: np.array([values[sizes == k].mean() for k in range(self.words, -1, -1)])
        return self._read(lambda values: (mean(values), mean(values)))

    def best(self, operator: str) -> np.ndarray:
        """The order whose probability falls fastest."""
        return self.extremes[operator][0]

    @cached_property
    def extremes(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """For each operator the orders of the least and of the greatest area under the curve of the probability."""
        of = lambda values: (_extreme(values[:, 0], 1.0), _extreme(values[:, 0], -1.0))
        return {operator: of(values) for operator, values in self.values.items()}

    def _read(self, curves: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> dict[Cell, float]:
        found: dict[Cell, float] = {}
        for operator, every in self.values.items():
            bounds = [_curve(every[:, 0], order) for order in self.extremes[operator]]
            for output, metric in METRICS:
                most, least = curves(every[:, OUTPUTS.index(output)])
                value = faithfulness.METRICS[metric].measure(Evidence(most, least, *bounds))
                assert value is not None
                found[operator, output, metric] = value
        return found


def _curve(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """f (subsets,) while the words of an order are removed one after the other."""
    gone = np.concatenate([[0], np.cumsum(1 << order)])
    return values[len(values) - 1 - gone]


def _extreme(values: np.ndarray, sign: float) -> np.ndarray:
    """The order with the least sum of sign · f over the steps of its removal curve, among all orders."""
    sums, pick = np.zeros(len(values)), np.zeros(len(values), int)
    for s in range(1, len(values)):  # of the words in s, one is removed, and then the others
        words = [k for k in range(s.bit_length()) if s >> k & 1]
        each = [sign * values[s & ~(1 << k)] + sums[s & ~(1 << k)] for k in words]
        at = int(np.argmin(each))
        sums[s], pick[s] = each[at], words[at]
    order, s = [], len(values) - 1
    while s:
        order.append(pick[s])
        s &= ~(1 << int(pick[s]))
    return np.array(order)


def _subsets(words: int) -> np.ndarray:
    """Which words are present in each (2ⁿ, words)."""
    if words > MOST_WORDS:
        raise SystemExit(
            f"Found a text of {words} words; expected at most {MOST_WORDS}, whose subsets can be evaluated."
        )
    return (np.arange(2**words)[:, None] >> np.arange(words) & 1).astype(bool)


def every_subset(
    model: pellucid.Model, items: Sequence[Any], target: Any, path: Path, operators: Sequence[str] = OPERATORS
) -> list[Subsets]:
    """The table of each item; from the file where it is there."""
    if not path.exists():
        arrays: dict[str, np.ndarray] = {}
        with model.borrowed():
            encodings = model.encode(list(items))
            for operator in operators:
                for play in plays(model, encodings, operator, target):
                    game = play.games[OUTPUTS[0]]
                    asked = {row: _subsets(n) for row, n in enumerate(game.players)}
                    for row, values in every_target(game, asked).items():
                        arrays[f"{play.numbers[row]} {operator}"] = values
                        arrays[f"{play.numbers[row]} groups"] = groups_of_tokens(game, row)
                    print(path.stem, operator, play.numbers, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **arrays)
    with np.load(path) as kept:
        of = lambda i: {o: kept[f"{i} {o}"] for o in operators}
        return [Subsets(kept[f"{i} groups"], of(i)) for i in range(len(items))]
