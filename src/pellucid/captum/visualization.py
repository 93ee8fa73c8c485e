"""Texts with the attributions of their tokens, as an escaped page fragment or as text; images and time series are drawn
by `plots`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import ArgumentError
from ..render.colour import LIGHT, background, ink_on
from .plots import (
    ImageVisualizationMethod,
    TimeseriesVisualizationMethod,
    VisualizeSign,
    visualize_image_attr,
    visualize_image_attr_multiple,
    visualize_timeseries_attr,
)


@dataclass
class VisualizationDataRecord:
    """One text: its attributions, one number per token, and what was predicted.

    word_attributions: None, or an empty list, for a text that is not shown. attr_score: the sum of the attributions.
    convergence_score: the residual; several of them, or a text; None where there is none.
    """

    word_attributions: Any
    pred_prob: Any
    pred_class: Any
    true_class: Any
    attr_class: Any
    attr_score: Any
    raw_input_ids: Sequence[str]
    convergence_score: Any


@dataclass(frozen=True)
class VisualizedText:
    """A table of texts. A notebook shows `data`, a page fragment without scripts; elsewhere it prints as text.

    cell: the number of the notebook's cell that has shown it, and does not show it again as its result.
    """

    data: str
    text: str
    cell: int | None = None

    def _repr_html_(self) -> str:
        return self.data

    def _ipython_display_(self) -> None:
        if self.cell is None or self.cell != _cell():
            _show(self)

    def __str__(self) -> str:
        return self.text


HEADINGS = ("True label", "Predicted label", "Attribution label", "Attribution score", "Convergence score", "Words")
_SHOWN = 4
"""So many convergence scores of a text are shown at most."""
_LEFT = ' style="text-align:left"'
_WORDS = "line-height:1.9;text-align:start;width:50%;min-width:16em;overflow-wrap:anywhere"
"""The cell of a text begins on the side on which its script does, and breaks a word that is longer than a line."""


def visualize_text(datarecords: Iterable[VisualizationDataRecord], legend: bool = True) -> VisualizedText:
    """A table with a row for each record. Words that spoke for the label are blue, those against it orange.

    The attributions are taken to lie within −1 … 1: larger ones have the colour of 1. In a notebook the table is shown,
    once, wherever in a cell the call stands.

    Raises ArgumentError where a record has fewer attributions than words.

    Examples:
        >>> record = VisualizationDataRecord([0.5, -0.1], 0.9, "pos", "pos", "pos", 0.4, ["<b>", "it"], 0.001)
        >>> print(visualize_text([record]))
        True label | Predicted label | Attribution label | Attribution score | Convergence score | Words
        pos | pos (0.90) | pos | 0.40 | 0.001 | <b> (+0.50) it (-0.10)
    """
    records = list(datarecords)
    cells = [_cells(r) for r in records]
    rows = []
    for record, row in zip(records, cells, strict=True):
        words = " ".join(_word(t, v) for t, v in _pairs(record))
        named = "".join(f"<td>{escape(c)}</td>" for c in row)
        rows.append(f'<tr>{named}<td dir="auto" style="{_WORDS}">{words}</td></tr>')
    head = "".join(f'<th scope="col"{_LEFT if h == HEADINGS[-1] else ""}>{h}</th>' for h in HEADINGS)
    table = f"<table>{_legend() if legend else ''}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    page = f'<div style="overflow-x:auto">{table}</div>'  # a narrow window scrolls the table alone
    lines = [
        " | ".join((*row, " ".join(f"{t} ({v:+.2f})" for t, v in _pairs(r))))
        for r, row in zip(records, cells, strict=True)
    ]
    found = VisualizedText(page, "\n".join((" | ".join(HEADINGS), *lines)), _cell())
    if found.cell is not None:
        _show(found)
    return found


def format_word_importances(words: Sequence[str], importances: Any) -> str:
    """The cell of a table (`<td>`) with each word on its colour, for a table of one's own; an empty cell where there
    are no importances.

    Raises ArgumentError where there are fewer importances than words.
    """
    pairs = _paired(words, importances)
    return f'<td dir="auto" style="{_WORDS}">{" ".join(_word(*p) for p in pairs)}</td>' if pairs else "<td></td>"


def format_classname(classname: Any) -> str:
    """The cell of a table with the name of a class."""
    return f'<td style="padding-right:2em"><b>{escape(str(classname))}</b></td>'


def format_tooltip(item: Any, text: Any) -> str:
    """An item that shows a text where one points at it."""
    return f'<span title="{escape(str(text))}">{escape(str(item))}</span>'


def format_special_tokens(token: str) -> str:
    """A token in angle brackets, as `#token`; any other as it is."""
    return f"#{token.strip('<>')}" if token.startswith("<") and token.endswith(">") else token


def _cell() -> int | None:
    """The number of the cell that runs, where IPython runs: in a notebook, or in a terminal."""
    module: Any = sys.modules.get("IPython")  # not there, IPython does not run
    shell: Any = module.get_ipython() if module is not None else None
    return None if shell is None else shell.execution_count


def _show(found: VisualizedText) -> None:
    from IPython.display import display

    display({"text/html": found.data, "text/plain": found.text}, raw=True)


def _name(label: Any) -> str:
    """A class as it is written: the number in a tensor as a number."""
    return str(label.item() if isinstance(label, Tensor) and label.numel() == 1 else label)


def _cells(r: VisualizationDataRecord) -> tuple[str, ...]:
    return (
        _name(r.true_class),
        f"{_name(r.pred_class)} ({float(r.pred_prob):.2f})",
        _name(r.attr_class),
        f"{float(r.attr_score):.2f}",
        _numbers(r.convergence_score),
    )


def _numbers(score: Any) -> str:
    """A score, or several, as text; what is no number as it is, and nothing for None."""
    try:
        found = np.asarray([] if score is None else score.tolist() if hasattr(score, "tolist") else score, float)
    except (TypeError, ValueError):
        return str(score)
    shown = [f"{v:.3g}" for v in found.ravel()[:_SHOWN]]
    return ", ".join(shown + ["…"] * (found.size > _SHOWN))


def _pairs(r: VisualizationDataRecord) -> list[tuple[str, float]]:
    return _paired(r.raw_input_ids, r.word_attributions)


def _paired(words: Sequence[str], values: Any) -> list[tuple[str, float]]:
    if values is None or not len(values):
        return []
    words, values = list(words), list(values)
    if len(words) > len(values):
        raise ArgumentError(f"Found {len(values)} attributions for {len(words)} words; expected one for each.")
    return [(str(t), float(v)) for t, v in zip(words, values, strict=False)]


def _word(token: str, value: float) -> str:
    """A token on its colour."""
    colour = background(max(-1.0, min(1.0, value)) if value == value else 0.0, LIGHT)
    style = f"background:{colour};color:{ink_on(colour)};padding:1px 2px;border-radius:2px;white-space:pre-wrap"
    return f'<mark title="{value:+.3g}" style="{style}">{escape(token)}</mark>'


def _legend() -> str:
    steps = " ".join(_word(f"{v:+.1f}" if v else "0", v) for v in (-1.0, -0.5, 0.0, 0.5, 1.0))
    return f"<caption{_LEFT}>Against the label {steps} for it</caption>"


__all__ = ["VisualizationDataRecord", "VisualizedText", "visualize_image_attr", "visualize_image_attr_multiple"]
__all__ += [
    "ImageVisualizationMethod",
    "TimeseriesVisualizationMethod",
    "VisualizeSign",
    "format_classname",
    "format_special_tokens",
    "format_tooltip",
    "format_word_importances",
    "visualize_text",
    "visualize_timeseries_attr",
]
