"""Explanations as a table with one row per token, for pandas and CSV, which can be read without the explanation."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from .errors import MissingExtra
from .public_names import model_name
from .tokens import Explained

if TYPE_CHECKING:
    import pandas as pd

Cell: TypeAlias = str | int | float | bool | None

TOKEN = ("token", "id", "start", "end", "special", "word", "segment", "score")
"""The columns that say something of one token; start and end are characters in `text`."""
WHOLE = ("text", "target", "method", "model", "prediction", "probability", "label")
"""The columns that say something of the whole explanation, the same in each of its rows but for `text`, which is the
text that the token is in, where the input has several."""
COLUMNS = ("explanation", *TOKEN, "notes", *WHOLE)
"""The columns of a CSV file. explanation: its number, from 0."""


def token_rows(e: Explained, number: int) -> list[dict[str, Cell]]:
    """For each token its row, by `COLUMNS`."""
    label = e.label if e.label is None or isinstance(e.label, str) else " ".join(name or "–" for name in e.label)
    whole: dict[str, Cell] = {
        "target": e.target.name,
        "method": e.method,
        "model": model_name(e.meta),
        "prediction": e.prediction,
        "probability": e.probability,
        "label": label,
    }
    several = not isinstance(e.text, str)
    return [
        {
            "explanation": number,
            "token": t.text,
            "id": t.id,
            "start": None if t.span is None else t.span[0],
            "end": None if t.span is None else t.span[1],
            "special": t.special,
            "word": t.word,
            "segment": t.segment,
            "score": float(score),
            "notes": " ".join(e.notes),
            "text": e.segment_text(t.segment) if several else str(e.text),
            **whole,
        }
        for t, score in zip(e.tokens, e.scores, strict=True)
    ]


def to_frame(explanations: Sequence[Explained], numbered: bool) -> pd.DataFrame:
    """One pandas frame of all of them. numbered: whether its first column is the number of the explanation. Its `attrs`
    hold the notes. Raises MissingExtra."""
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtra("to_frame() needs pandas: pip install 'pellucid[plots]', or pip install pandas") from error
    rows = [row for number, e in enumerate(explanations) for row in token_rows(e, number)]
    columns = [*(["explanation"] if numbered else []), *TOKEN, *WHOLE]
    frame = pd.DataFrame({name: [row[name] for row in rows] for name in columns})
    frame = frame.astype({"start": "Int64", "end": "Int64", "word": "Int64", "probability": "float64"})
    frame.attrs["notes"] = list(dict.fromkeys(note for e in explanations for note in e.notes))
    return frame


def with_failures(frame: pd.DataFrame, failed: Sequence[Mapping[str, Cell]]) -> pd.DataFrame:
    """A frame with a column `input`, and a row for each input that failed."""
    import pandas as pd

    found = pd.concat([frame, pd.DataFrame(failed)]).sort_values("input", kind="stable", ignore_index=True)
    found.attrs = frame.attrs
    return found


def to_csv(explanations: Sequence[Explained]) -> str:
    """One CSV document of all of them, with the columns of `COLUMNS`: nothing for None, numbers at full precision."""
    out = io.StringIO(newline="")
    rows = csv.writer(out)
    rows.writerow(COLUMNS)
    for number, e in enumerate(explanations):
        for row in token_rows(e, number):
            rows.writerow([repr(v) if isinstance(v, float) else v for v in (row[name] for name in COLUMNS)])
    return out.getvalue()
