"""`Answers`: the answers to a list of inputs, a list that is shown as a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, SupportsIndex, overload

from .explanation import Explanation
from .explanations import Explanations
from .notebook import Displayed, Printed, Sheet, card
from .outcome import Outcome
from .tables import with_failures
from .view import AnswerRow, AnswersView
from .view_building import answer_rows
from .viewed import sheet_of

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]
    from rich.console import RenderableType


class Answers(Displayed, Printed, list[Outcome]):
    """The answers to a list of inputs: a list in every way, shown as a table.

    Each item is what its input alone would get, an Explanation or Explanations.

    Examples:
        >>> answers = pellucid.explain(model, ["good", "bad"])
        >>> answers
        [Explanation('positive' ...), Explanation('negative' ...)]
        >>> answers.show()  # doctest: +NORMALIZE_WHITESPACE
           text  prediction  probability  target    strongest words  status
        0  good  positive          99.4%  positive  good +2.643      exact
        1  bad   negative          99.3%  negative  bad +2.455       exact
        >>> list(answers.to_frame().columns[:3])
        ['input', 'explanation', 'token']
    """

    SHOWN: ClassVar[int] = 20
    """How many inputs the table shows; it counts the others."""

    @overload
    def __getitem__(self, i: SupportsIndex, /) -> Outcome: ...
    @overload
    def __getitem__(self, i: slice, /) -> Answers: ...
    def __getitem__(self, i: SupportsIndex | slice, /) -> Outcome | Answers:
        return Answers(super().__getitem__(i)) if isinstance(i, slice) else super().__getitem__(i)

    def copy(self) -> Answers:
        """A copy that holds the same answers."""
        return Answers(self)

    def view(self) -> AnswersView:
        """The table as data: text, prediction, probability, target, strongest words and status of the first inputs."""
        rows = [row for i, answer in enumerate(list(self[: self.SHOWN])) for row in _rows_of(i, answer)]
        return AnswersView(tuple(rows), len(self), max(0, len(self) - self.SHOWN))

    def to_frame(self) -> pd.DataFrame:
        """As `Explanations.to_frame`, of all answers. The column `input` has the number of the input, from 0; an input
        that failed has one row, with the reason in the column `error`."""
        frame = self._joined().to_frame()
        inputs = [i for i, answer in enumerate(self) for e in explanations_of(answer) for _ in e.tokens]
        frame.insert(0, "input", inputs)
        failed = [
            {"input": i, "error": f"{a.type}: {a.message}"}
            for i, a in enumerate(self)
            if not isinstance(a, (Explanation, Explanations))
        ]
        return with_failures(frame, failed) if failed else frame

    def _joined(self) -> Explanations:
        """All explanations as one sequence, without the inputs that failed."""
        return Explanations(tuple(e for answer in self for e in explanations_of(answer)))

    def to_html(self) -> str:
        """As `Explanations.to_html`, of all answers that did not fail."""
        return self._joined().to_html()

    def save(self, path: str | Path) -> Path:
        """As `Explanations.save`, of all answers that did not fail."""
        return self._joined().save(path)

    def __rich__(self) -> RenderableType:
        from .render.terminal import draw_answers

        return draw_answers(self.view())

    def _sheet(self) -> Sheet:
        first = Answers(self[: self.SHOWN])
        told = [
            f"Input {i} failed: {a.type}: {a.message}"
            for i, a in enumerate(first)
            if not isinstance(a, (Explanation, Explanations))
        ]
        rest = len(self) - len(first)
        told += [f'… and {rest} more of {len(self)}; .save("answers.html") writes a page of all.'] if rest else []
        found = first._joined()
        if found:
            return replace(sheet_of(found.view()), told=tuple(told))
        return Sheet(lambda: card(f"{len(self)} answers", ()), told=tuple(told))


def explanations_of(answer: Outcome) -> Iterable[Explanation]:
    """The explanations of an answer: one, several, or none of an input that failed."""
    return (answer,) if isinstance(answer, Explanation) else answer if isinstance(answer, Explanations) else ()


def _rows_of(number: int, answer: Outcome) -> list[AnswerRow]:
    if isinstance(answer, (Explanation, Explanations)):
        return answer_rows(number, list(explanations_of(answer)))
    return [AnswerRow(number, "", "", "", "", (), 0.0, "failed", f"{answer.type}: {answer.message}")]
