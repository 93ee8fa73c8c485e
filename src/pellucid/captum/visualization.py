"""Texts with the attributions of their tokens, as an escaped page fragment or as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass
class VisualizationDataRecord:
    """One text: its attributions, one number per token, and what was predicted.

    attr_score: the sum of the attributions. convergence_score: the residual.
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
    """A table of texts. A notebook shows `data`, a page fragment; elsewhere it prints as text."""

    data: str
    text: str

    def _repr_html_(self) -> str:
        return self.data

    def __str__(self) -> str:
        return self.text


HEADINGS = ("True label", "Predicted label", "Attribution label", "Attribution score", "Convergence score", "Words")


def visualize_text(datarecords: Iterable[VisualizationDataRecord], legend: bool = True) -> VisualizedText:
    """A table with a row for each record. Words that spoke for the label are green, those against it red."""
    records = list(datarecords)
    cells = [_cells(r) for r in records]
    rows = []
    for record, row in zip(records, cells, strict=True):
        words = " ".join(_word(t, v) for t, v in _pairs(record))
        rows.append("".join(f"<td>{escape(c)}</td>" for c in row) + f'<td style="line-height:1.75">{words}</td>')
    head = "".join(f"<th>{h}</th>" for h in HEADINGS)
    note = "<caption>green: for the label; red: against it</caption>" if legend else ""
    page = f"<table>{note}<tr>{head}</tr>{''.join(f'<tr>{r}</tr>' for r in rows)}</table>"
    lines = [
        " | ".join((*row, " ".join(f"{t} ({v:+.2f})" for t, v in _pairs(r))))
        for r, row in zip(records, cells, strict=True)
    ]
    return VisualizedText(page, "\n".join((" | ".join(HEADINGS), *lines)))


def _cells(r: VisualizationDataRecord) -> tuple[str, ...]:
    return (
        str(r.true_class),
        f"{r.pred_class} ({float(r.pred_prob):.2f})",
        str(r.attr_class),
        f"{float(r.attr_score):.2f}",
        f"{float(r.convergence_score):.3g}",
    )


def _pairs(r: VisualizationDataRecord) -> list[tuple[str, float]]:
    return [(str(t), float(v)) for t, v in zip(r.raw_input_ids, r.word_attributions, strict=False)]


def _word(token: str, value: float) -> str:
    """A token on its colour, as strong as its attribution, which is taken to lie between −1 and 1."""
    strength = min(abs(value), 1) * 50
    colour = f"hsl({120 if value > 0 else 0}, 75%, {100 - strength:.0f}%)"
    return f'<mark title="{value:+.3g}" style="background:{colour};color:#000">{escape(token)}</mark>'
