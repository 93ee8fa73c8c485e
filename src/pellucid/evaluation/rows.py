"""The rows of an Evaluation: one for each method with one baseline, and what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..metrics.bootstrap import Interval

CONTROL = "random"
"""The method of a random ranking, which is in every Evaluation."""
BEST_ORDER = "best order"
"""The name of the row of the best order that a search finds: what no ranking surpasses."""


@dataclass(frozen=True)
class Cell:
    """One metric of one method with one operator: its mean over the texts, and how it compares with the best method.

    operator: a name in OPERATORS. output: a name in OUTPUTS. metric: a name in METRICS. behind: the best method's mean
    less this one's, paired, turned so that above 0 is worse.
    """

    operator: str
    output: str
    metric: str
    value: Interval
    behind: Interval

    @property
    def tied(self) -> bool:
        """Whether the interval of the difference from the best holds 0."""
        return self.behind.holds_zero


@dataclass(frozen=True)
class MeanCurve:
    """The mean of the probability over the texts, while words are removed. operator: a name in OPERATORS. first: which
    words are removed first. shares: of the words that are removed. values: the mean at each share."""

    operator: str
    first: str
    shares: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One method with one baseline.

    total: comprehensiveness less sufficiency, in probability, averaged over the operators. behind: the best row's total
    less this one's, paired. by_operator: the total of each operator alone. better_than_random: the total less that of
    the random ranking, paired. plausibility: each measure in PLAUSIBILITY, where rationales were given.
    passes: of one explanation, as `Explanation.passes`; None for scores that were given. seconds: of one explanation.
    cost: what it takes as a multiple of one forward and backward pass of the model alone; both are seconds of the
    processor, or of the clock where the model is on a GPU. memory: bytes at the peak of explaining all texts, above
    those in use before; None where the system does not tell.
    """

    method: str
    baseline: str
    total: Interval
    behind: Interval
    better_than_random: Interval
    by_operator: dict[str, Interval]
    cells: tuple[Cell, ...]
    curves: tuple[MeanCurve, ...] = ()
    plausibility: dict[str, Interval] = field(default_factory=dict)
    passes: float | None = None
    seconds: float | None = None
    cost: float | None = None
    memory: int | None = None

    @property
    def tied(self) -> bool:
        """Whether the interval of the difference from the best total holds 0."""
        return self.behind.holds_zero

    @property
    def name(self) -> str:
        return self.method if self.method == CONTROL or not self.baseline else f"{self.method} · {self.baseline}"
