"""Two runs over the same rows side by side, such as those of a model before and after a fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import nlargest
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .agreement import Agreeing, Agreement, shared
from .drivers import Driver, drivers_of
from .words import Answered, Gathered, Unit, grouping, pieces_of

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = 20
READ = tuple(
    "id row text texts starts ends special words segments scores target prediction probability label error_type".split()
)


@dataclass(frozen=True)
class Changed:
    """A text whose prediction is another one in the second run, and the words whose scores changed most."""

    row: int
    text: str
    label: str | None
    before: tuple[str, float]
    after: tuple[str, float]
    words: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Comparison:
    """The second run beside the first.

    models: the names of both. rows: in both. alone: rows that only the first has, and only the second. same: rows with
    the same prediction. accuracy: of each; NaN without labels. mended, broken: rows that were wrong and are right, and
    the other way. p: of McNemar's exact test that both are as often right. agreement: of the scores of the rows that
    were explained for the same target. drivers: by class, the words whose score changed more than ordinary words' did:
    `mean` and its interval are of the change, second minus first. changed: the rows whose prediction changed most.
    """

    paths: tuple[str, str]
    models: tuple[str, str]
    rows: int
    alone: tuple[int, int]
    same: int
    accuracy: tuple[float, float]
    mended: int
    broken: int
    p: float
    agreement: Agreement
    drivers: Mapping[str, tuple[Driver, ...]]
    means: Mapping[tuple[str, str], tuple[float, float]]
    changed: tuple[Changed, ...]
    support: int

    def to_html(self) -> str:
        """One page that stands alone."""
        from .comparison_page import page

        return page(self)

    def __rich__(self) -> RenderableType:
        from .comparison_text import draw

        return draw(self)


def compare(a: Answered, b: Answered, *, unit: Unit = "word", support: int = 10, top: int = 15) -> Comparison:
    """The run b beside the run a, row by row, matched by id. unit, support, top: as `summarize`. Raises InputError
    where no row has the same id and text in both."""
    named, seen = grouping(unit), _Pairs()
    pairs = _Matched(a, b)
    for before, after in pairs:
        seen.add(before, after, named)
    if not seen.rows:
        raise InputError(
            f"Found no row with the same id and text in {a.path!r} and {b.path!r}; expected the same data."
        )
    judged = sum(seen.right.values())
    share = lambda k: sum(n for right, n in seen.right.items() if right[k]) / judged if judged else math.nan
    mended, broken = seen.right.get((False, True), 0), seen.right.get((True, False), 0)
    drivers = {c: drivers_of(seen.differences, c, support, top) for c in sorted(seen.differences.values)}
    mean = lambda gathered, c, w: float(sum(v := gathered.values[c][w]) / len(v))
    return Comparison(
        paths=(a.path, b.path),
        models=(a.manifest["model"]["name"], b.manifest["model"]["name"]),
        rows=seen.rows,
        alone=pairs.alone,
        same=seen.same,
        accuracy=(share(0), share(1)),
        mended=mended,
        broken=broken,
        p=sign_test(mended, broken),
        agreement=seen.agreeing.found(),
        drivers=drivers,
        means={
            (c, d.word): (mean(seen.before, c, d.word), mean(seen.after, c, d.word))
            for c in drivers
            for d in drivers[c]
        },
        changed=tuple(nlargest(SHOWN, seen.changed, key=_size)),
        support=support,
    )


def sign_test(a: int, b: int) -> float:
    """The two-sided p-value that a of a + b fair coins show heads (McNemar 1947, exact).

    Examples:
        >>> sign_test(0, 5)
        0.0625
    """
    n, k = a + b, min(a, b)
    logs = (math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(k + 1))
    return min(1.0, 2 * sum(map(math.exp, logs)))


class _Matched:
    """Pairs of rows with the same id. What one run has and the other has not yet come to waits, so two runs over the
    same data keep little in memory. alone: how many rows found no other, once all are read."""

    def __init__(self, a: Answered, b: Answered):
        self.runs, self.alone = (a, b), (0, 0)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        streams = [run.rows(READ) for run in self.runs]
        waiting: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        open_ = [True, True]
        while any(open_):
            for k in (0, 1):
                row = next(streams[k], None) if open_[k] else None
                if row is None:
                    open_[k] = False
                    continue
                other = waiting[1 - k].pop(row["id"], None)
                if other is None:
                    waiting[k][row["id"]] = row
                else:
                    yield (row, other) if k == 0 else (other, row)
        self.alone = (len(waiting[0]), len(waiting[1]))


@dataclass
class _Pairs:
    """What is counted while the pairs go by."""

    rows: int = 0
    same: int = 0
    right: dict[tuple[bool, bool], int] = field(default_factory=dict)
    agreeing: Agreeing = field(default_factory=Agreeing)
    differences: Gathered = field(default_factory=Gathered)
    before: Gathered = field(default_factory=Gathered)
    after: Gathered = field(default_factory=Gathered)
    changed: list[Changed] = field(default_factory=list)

    def add(self, a: dict[str, Any], b: dict[str, Any], named: Any) -> None:
        """Takes down a pair; not one with a failure, or with different texts under one id."""
        if a["error_type"] or b["error_type"] or (a["texts"] or a["text"]) != (b["texts"] or b["text"]):
            return
        self.rows += 1
        self.same += a["prediction"] == b["prediction"]
        if a["label"] is not None and b["label"] is not None:
            right = (a["label"] == a["prediction"], b["label"] == b["prediction"])
            self.right[right] = self.right.get(right, 0) + 1
        pieces = shared(pieces_of(a), pieces_of(b))
        if a["target"] == b["target"]:
            mine, other = [p for p, _ in pieces], [q for _, q in pieces]
            self.agreeing.add(mine, other)
            change = [replace(p, score=q.score - p.score) for p, q in pieces]
            for gathered, each in ((self.differences, change), (self.before, mine), (self.after, other)):
                gathered.add(a["target"], a["label"], a["row"], named(each))
        if a["prediction"] != b["prediction"] and a["prediction"] is not None and b["prediction"] is not None:
            sign = 1 if a["target"] == b["target"] else -1
            moved = nlargest(3, ((p.text, sign * q.score - p.score) for p, q in pieces), key=lambda w: abs(w[1]))
            then, now = ((r["prediction"], r["probability"] or 0.0) for r in (a, b))
            self.changed.append(Changed(a["row"], a["text"][:400], a["label"], then, now, tuple(moved)))
            if len(self.changed) > 10 * SHOWN:
                self.changed = nlargest(SHOWN, self.changed, key=_size)


def _size(c: Changed) -> float:
    return c.before[1] + c.after[1]
