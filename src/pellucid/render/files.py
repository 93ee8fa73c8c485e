"""Explanations → one file, by its suffix: the whole file, or nothing."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

from ..errors import InputError
from ..explanation import SCHEMA_VERSION, Explanation

COLUMNS = ("explanation", "token", "id", "start", "end", "special", "word", "segment", "score", "notes")
MOST_PIXELS = 60_000  # matplotlib draws no image taller than 65 536


def save(explanations: Sequence[Explanation], path: Path) -> Path:
    """Writes .json, .html, .csv, .svg, .png or .pdf; returns the path. An old file stays till the new one is whole."""
    path = Path(path)
    write, target = checked(path)
    if not explanations:
        raise InputError("Found no explanations; expected at least one to save.")
    _replace(target, write(explanations))
    return path


def checked(path: Path) -> tuple[Callable[[Sequence[Explanation]], bytes], Path]:
    """What writes a file of this name, and where, links followed. Raises InputError."""
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        found = f"the suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise InputError(f"Found {found} in {str(path)!r}; expected one of {', '.join(WRITERS)}.")
    target = path.resolve()
    if not target.parent.is_dir():
        raise InputError(f"Found no directory {str(path.parent)!r}; expected one that exists. Create it first.")
    if target.is_dir():
        raise InputError(f"Found a directory at {str(path)!r}; expected the path of a file.")
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"Found a directory that cannot be written to, {str(path.parent)!r}; expected another.")
    return write, target


def to_json(explanations: Sequence[Explanation]) -> bytes:
    """One explanation as `to_json` writes it; several as `Explanations.to_dict` puts them."""
    if len(explanations) == 1:
        return explanations[0].to_json(indent=1).encode("utf-8")
    document = {"schema_version": SCHEMA_VERSION, "explanations": [e.to_dict() for e in explanations]}
    return json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8")


def to_html(explanations: Sequence[Explanation]) -> bytes:
    """As `html.page`."""
    from .html import page

    return page(explanations).encode("utf-8")


def to_csv(explanations: Sequence[Explanation]) -> bytes:
    """One row per token, with the notes on its explanation. Nothing for None; numbers at full precision."""
    out = io.StringIO(newline="")
    rows = csv.writer(out)
    rows.writerow(COLUMNS)
    for number, e in enumerate(explanations):
        notes = " ".join(e.notes)
        for t, score in zip(e.tokens, e.scores, strict=True):
            start, end = t.span or (None, None)
            rows.writerow([number, t.text, t.id, start, end, t.special, t.word, t.segment, repr(float(score)), notes])
    return out.getvalue().encode("utf-8")


def _image(kind: str, undated: dict[str, None]) -> Callable[[Sequence[Explanation]], bytes]:
    def write(explanations: Sequence[Explanation]) -> bytes:
        from .plots import stacked, unwarned

        figure, out = stacked(explanations), io.BytesIO()
        dpi = min(200.0, MOST_PIXELS / figure.get_figheight())
        with unwarned():
            figure.savefig(out, format=kind, dpi=dpi, metadata=undated)
        return out.getvalue()

    return write


WRITERS: dict[str, Callable[[Sequence[Explanation]], bytes]] = {
    ".json": to_json,
    ".html": to_html,
    ".csv": to_csv,
    ".svg": _image("svg", {"Date": None}),
    ".png": _image("png", {}),
    ".pdf": _image("pdf", {"CreationDate": None}),
}


def _replace(path: Path, content: bytes) -> None:
    """Writes beside the file, then moves over it in one step. Raises OSError, which names the file."""
    beside = path.with_name(f".{uuid4().hex}.tmp")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) if error.errno else error from None
    finally:
        beside.unlink(missing_ok=True)
