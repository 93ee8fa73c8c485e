"""Compares the methods: the mean of each metric over the texts with its interval, and how far each is from the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from ..metrics.bootstrap import Draws, Interval, interval
from ..metrics.faithfulness import METRICS, Metric
from .answers import Answered, control_of
from .curves import SHARES, Measured, PerText
from .rows import BEST_ORDER, Cell, MeanCurve, Row


def compared(
    answers: Sequence[Answered],
    found: Sequence[Measured],
    plausible: Sequence[Mapping[str, PerText]],
    ways: Sequence[str],
    drawn: Draws,
    alone: float,
) -> tuple[tuple[Row, ...], Row | None]:
    """The rows, the best total first; and that of the best order, where one was searched for.

    found: of each answer, then of the best order. plausible: of each answer, the measures of plausibility text by text.
    ways: the operators. alone: seconds of one forward and backward pass of a text.
    """
    of_way = [{w: _total(f, w) for w in ways} for f in found]
    totals = [cast("PerText", np.mean(list(t.values()), axis=0)) for t in of_way]
    best = max(range(len(answers)), key=lambda k: totals[k].mean())
    control = control_of(answers)
    leaders = {
        key: _leader([f.metrics[key] for f in found[: len(answers)]], METRICS[key[2]]) for key in found[0].metrics
    }

    def row(k: int) -> Row:
        answer = answers[k] if k < len(answers) else None
        cost = None if answer is None or k == control else answer.cost  # a random ranking takes nothing
        return Row(
            method=BEST_ORDER if answer is None else answer.method,
            baseline="" if answer is None else answer.baseline_name,
            total=interval(totals[k], drawn),
            behind=interval(totals[best] - totals[k], drawn),
            better_than_random=interval(totals[k] - totals[control], drawn),
            by_operator={w: interval(v, drawn) for w, v in of_way[k].items()},
            cells=tuple(
                Cell(*key, interval(v, drawn), _behind(v, leaders[key], METRICS[key[2]], drawn))
                for key, v in found[k].metrics.items()
            ),
            curves=tuple(
                MeanCurve(*key, tuple(SHARES.tolist()), tuple(v.mean(0).tolist())) for key, v in found[k].curves.items()
            ),
            plausibility={name: interval(v, drawn) for name, v in (plausible[k] if answer else {}).items()},
            passes=None if answer is None or k == control else answer.passes,
            seconds=None if cost is None else cost.seconds,
            cost=None if cost is None else cost.work / alone,
            memory=None if cost is None else cost.memory,
        )

    rows = sorted(map(row, range(len(answers))), key=lambda r: -r.total.mean)
    return tuple(rows), row(len(answers)) if len(found) > len(answers) else None


def _total(found: Measured, way: str) -> PerText:
    return found.metrics[way, "probability", "comprehensiveness"] - found.metrics[way, "probability", "sufficiency"]


def _leader(values: Sequence[PerText], metric: Metric) -> PerText:
    pick = max if metric.better == "higher" else min
    return pick(values, key=lambda v: np.nanmean(v))


def _behind(values: PerText, leader: PerText, metric: Metric, drawn: Draws) -> Interval:
    return interval(leader - values if metric.better == "higher" else values - leader, drawn)
