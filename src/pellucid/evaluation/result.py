"""`Evaluation`: what `evaluate` found, as data, as a table and in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from ..console import show
from ..errors import MissingExtra
from ..metrics.bootstrap import Interval
from ..number_text import times
from ..outcome import Failure
from ..plain_data import Json, as_plain
from ..public_names import model_name
from .rows import BEST_ORDER, CONTROL, Cell, Row

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

FEW = 10
"""The intervals of fewer texts are too narrow."""


@dataclass(frozen=True)
class Evaluation:
    """How faithful methods are to a model, on its texts.

    rows: a Row for each method and baseline, the best total first; a random ranking is always among them. best_order:
    the best order that a search found, where one was asked for (`beam`). texts: how many texts were measured. failures:
    the texts that were not, and why. operators: how words were removed. forward_backward_seconds: of one text, by the
    model alone. seed: of the resampled texts and the random ranking. kept: whether the recommended row was kept for the
    model, as `keep` asks.
    """

    model: str
    task: str
    texts: int
    failures: tuple[Failure, ...]
    operators: tuple[str, ...]
    rows: tuple[Row, ...]
    forward_backward_seconds: float
    seed: int
    best_order: Row | None = None
    kept: bool = False

    @property
    def tied(self) -> tuple[Row, ...]:
        """The rows that the measurement cannot tell from the best one, which is the first of them."""
        return tuple(r for r in self.rows if r is self.rows[0] or r.tied)

    @property
    def choice(self) -> Row | None:
        """The row of the fewest passes among those that are tied with the best and better than a random ranking; None
        where there is none, and for a single text, whose intervals are points."""
        if self.texts < 2:
            return None
        dear = lambda r: (r.passes is None, r.passes or 0, r.behind.mean)
        return min((r for r in self.tied if r.better_than_random.low > 0), key=dear, default=None)

    @property
    def sentence(self) -> str:
        """Which method for this model, how sure, at what cost."""
        choice = self.choice
        if self.texts < 2:
            return "One text does not say how sure a number is: give several."
        if choice is None:
            return (
                f"No method is better than a random ranking on these {self.texts} texts; more texts, or another "
                "target, may tell them apart."
            )
        others = [r for r in self.tied if r is not choice and r.method != CONTROL]
        tied = f"; {len(others)} other{'s' * (len(others) > 1)} tied with the best" if others else ""
        cheapest = "the cheapest of those tied with the best and better than chance"
        how = "the most faithful here" if choice is self.rows[0] else cheapest
        takes = "" if choice.passes is None else f"; it takes {choice.passes:.3g} passes"
        if choice.cost is not None:
            takes += f", {times(choice.cost)} times the model's own forward and backward"
        narrow = f" Of fewer than {FEW} texts intervals are too narrow."
        return (
            f"Use {choice.name}: {how} on {self.texts} texts, {_signed(choice.better_than_random)} above a random "
            f"ranking{tied}{takes}.{narrow if self.texts < FEW else ''}"
        )

    def to_dict(self) -> dict[str, Json]:
        """Plain Python values, which JSON holds."""
        data = cast("dict[str, Json]", as_plain(self, finite=True))
        tied = [cast("dict[str, Json]", as_plain(r, finite=True)) | {"tied": r.tied, "name": r.name} for r in self.rows]
        return {"schema_version": 1, **data, "rows": cast("Json", tied), "sentence": self.sentence}

    def to_frame(self) -> pd.DataFrame:
        """A pandas frame: for each method, baseline, operator, output and metric the mean, its interval, the difference
        from the best with its interval, and whether it is tied; then the method's passes, seconds and cost."""
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtra(
                "to_frame() needs pandas: pip install 'pellucid[plots]', or pip install pandas"
            ) from error
        return pd.DataFrame([_flat(row, cell) for row in self.rows for cell in row.cells])

    def to_html(self) -> str:
        """One page of HTML that stands alone: the table, the curves and every metric."""
        from .page import page

        return page(self)

    def show(self) -> None:
        """Prints the table and the sentence."""
        show(self.__rich__())

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        return Group(_table(self), Text(f"\n{_about(self)}", "dim"), Text(f"\n{self.sentence}", "bold"))

    def __str__(self) -> str:
        from ..console import as_text

        return as_text(self)


def _table(found: Evaluation) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    agreement = list(found.rows[0].plausibility)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("method · baseline", overflow="fold")
    for column in ("total", "95 %", *found.operators, *agreement, "passes", "cost"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in (*found.rows, *([found.best_order] if found.best_order else [])):
        each = [_short(row.by_operator[o].mean) for o in found.operators]
        each += [_short(row.plausibility[name].mean) if name in row.plausibility else "" for name in agreement]
        dim = row.method in (CONTROL, BEST_ORDER)
        mark, style = ("=", "bold") if row in found.tied else ("", "dim" if dim else "")
        span = f"{_short(row.total.low)} {_short(row.total.high)}"
        cost = ["" if row.passes is None else f"{row.passes:.3g}", "" if row.cost is None else times(row.cost)]
        numbers = [f"{mark}{_short(row.total.mean)}", span, *each, *cost]
        table.add_row(Text(row.name), *map(Text, numbers), style=style)
    return table


def _about(found: Evaluation) -> str:
    failed = f" {len(found.failures)} texts failed: {found.failures[0]}" if found.failures else ""
    return (
        f"{found.texts} text{'s' * (found.texts > 1)} of {model_name({'model': found.model})}.{failed}\n"
        "total: what the probability loses without the first words less what it loses with them alone (more is "
        "better), averaged over the ways to remove words, which follow. A random ranking is mostly below 0: compare "
        "with its row. = tied with the best. cost: seconds as a "
        "multiple of one forward and backward pass."
    )


def _flat(row: Row, cell: Cell) -> dict[str, str | float | bool | None]:
    of = lambda name, i: {name: i.mean, f"{name}_low": i.low, f"{name}_high": i.high}
    first = {"method": row.method, "baseline": row.baseline}
    what = {"operator": cell.operator, "output": cell.output, "metric": cell.metric}
    cost = {"passes": row.passes, "seconds": row.seconds, "cost": row.cost}
    return {**first, **what, **of("value", cell.value), **of("behind", cell.behind), "tied": cell.tied, **cost}


def _short(x: float) -> str:
    return f"{x:.3f}".replace("0.", ".", 1).replace("-", "−") if abs(x) < 1 else f"{x:.2f}".replace("-", "−")


def _signed(i: Interval) -> str:
    return f"{_short(i.mean)} (95 %: {_short(i.low)} to {_short(i.high)})"
