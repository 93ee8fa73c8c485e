"""Saves explanations to a file, chosen by suffix: the whole file, or nothing."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from ..errors import InputError, MissingExtra
from ..view import View


class Saved(Protocol):
    """Explanations that are saved: their own data as JSON and rows of tokens, and the View that is drawn of them."""

    def document(self, indent: int | None = None) -> str: ...
    def to_csv(self) -> str: ...
    def view(self, include: Sequence[str] = ()) -> View: ...


MOST_PIXELS = 60_000  # matplotlib draws no image taller than 65 536


def save(explanations: Saved, path: Path) -> Path:
    """Writes .json, .html, .csv, .svg, .png or .pdf; returns the path. An old file stays till the new one is whole."""
    path = Path(path)
    write, target = checked(path)
    replace_file(target, write(explanations))
    return path


def checked(path: Path) -> tuple[Callable[[Saved], bytes], Path]:
    """What writes a file of this name, and where, links followed. Raises InputError, and MissingExtra for a picture."""
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        found = f"the suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise InputError(f"Found {found} in {str(path)!r}; expected one of {', '.join(WRITERS)}.")
    if path.suffix.lower() in PICTURES:
        try:
            import matplotlib as matplotlib
        except ImportError as error:
            told = f"Saving {path.suffix.lower()} needs matplotlib: pip install 'pellucid[plots]'."
            raise MissingExtra(told) from error
    target = path.resolve()
    if not target.parent.is_dir():
        raise InputError(f"Found no directory {str(path.parent)!r}; expected one that exists. Create it first.")
    if target.is_dir():
        raise InputError(f"Found a directory at {str(path)!r}; expected the path of a file.")
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"Found a directory that cannot be written to, {str(path.parent)!r}; expected another.")
    return write, target


def _html(explanations: Saved) -> bytes:
    from .html import page

    return page(explanations.view()).encode("utf-8")


def _image(kind: str, undated: dict[str, None]) -> Callable[[Saved], bytes]:
    def write(explanations: Saved) -> bytes:
        from .plot_pieces import unwarned
        from .plots import plot

        figure, out = plot(explanations.view()), io.BytesIO()
        dpi = min(200.0, MOST_PIXELS / figure.get_figheight())
        with unwarned():
            figure.savefig(out, format=kind, dpi=dpi, metadata=undated)
        return out.getvalue()

    return write


def _pages(explanations: Saved) -> bytes:
    from .plots import pdf

    return pdf(explanations.view(), {"CreationDate": None})


WRITERS: dict[str, Callable[[Saved], bytes]] = {
    ".json": lambda explanations: explanations.document(indent=1).encode("utf-8"),
    ".html": _html,
    ".csv": lambda explanations: explanations.to_csv().encode("utf-8"),
    ".svg": _image("svg", {"Date": None}),
    ".png": _image("png", {}),
    ".pdf": _pages,
}


PICTURES = (".svg", ".png", ".pdf")
"""What matplotlib draws."""


def replace_file(path: Path, content: bytes) -> None:
    """Writes beside the file, then moves over it in one step. Raises OSError, which names the file."""
    beside = path.with_name(f".{uuid4().hex}.tmp")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) if error.errno else error from None
    finally:
        beside.unlink(missing_ok=True)
