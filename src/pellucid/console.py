"""What the command line reads from and writes to a shell: arguments, standard input and output in any encoding, a line
while something loads, and a progress bar."""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from .errors import InputError, PellucidError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .types import Progress

_PLAIN = str.maketrans({"−": "-", "│": "|", "█": "#", "▌": "#", "▐": "#", "─": "-", "·": "|", "…": "~"})
_PLAIN |= str.maketrans({"→": ">", "✓": "+", "✗": "x", "±": "~", "⏎": "n", "⇥": "t", "␣": "_"})
WIDE = 100
"""Columns of the text that `print` gets."""
LEAST = 30
"""Columns that hold a word and its score: what is narrower wraps lines instead of losing digits."""


def show(what: RenderableType) -> None:
    """Prints something for people on standard output, in the characters that its encoding has."""
    from rich.console import Console

    console = Console(file=_out())
    if console.width < LEAST:
        console = Console(file=_out(), width=LEAST if console.width > 0 else 80)
    console.print(what)


def as_text(what: RenderableType, width: int = WIDE) -> str:
    """What a terminal of that width shows, as plain text."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as captured:
        console.print(what)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def fitting() -> int:
    """The columns of what `print` gets: the terminal's, or `WIDE` where there is none."""
    import shutil

    return max(LEAST, min(WIDE, shutil.get_terminal_size((WIDE, 24)).columns))


def print_json(document: object) -> None:
    """Prints one JSON document, escaped where the encoding of standard output is not UTF-8."""
    out = _out()
    out.write(json.dumps(document, ensure_ascii=not _is_utf8(out), default=str) + "\n")


def _out() -> TextIO:
    if sys.stdout is None:
        raise OSError("Standard output is closed; expected it open. Use --save or --html to write a file.")
    return sys.stdout


def _is_utf8(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def in_any_encoding() -> None:
    """From now on standard output and error replace characters that their encoding lacks, instead of failing."""
    codecs.register_error("pellucid", _in_plain_letters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not _is_utf8(stream):
            stream.reconfigure(errors="pellucid")


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """Drawn signs as letters, and anything else that an encoding lacks as its code point."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return lost.translate(_PLAIN).encode("ascii", "backslashreplace").decode(), error.end


@contextmanager
def failures_in(as_json: bool, document: Callable[[str, str], Mapping[str, object]]) -> Iterator[None]:
    """Under --json, prints a failure as a document made of the error's type and message, and raises it again. Wrong
    usage is no document."""
    try:
        yield
    except PellucidError as error:
        if as_json and not isinstance(error, InputError):
            print_json({"schema_version": 1, **document(type(error).__name__, str(error))})
        raise


def lines_of(content: bytes, source: str) -> list[str]:
    """The lines of a UTF-8 text that are not blank. Only a line feed or carriage return ends a line, none of Unicode's
    other separators. source: what the error message calls the text. Raises InputError."""
    try:
        return [line for line in re.split(r"\r\n|\r|\n", content.decode("utf-8-sig")) if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"Could not read {source} as UTF-8: {error}. Expected UTF-8, one text per line.") from error


def argument(text: str) -> str:
    """A command-line argument decoded as UTF-8, whatever the locale decoded it as. Raises InputError."""
    try:
        return os.fsencode(text).decode("utf-8") if any("\udc80" <= c <= "\udcff" for c in text) else text
    except UnicodeDecodeError as error:
        raise InputError(f"Found an argument that is not UTF-8: {error}. Expected UTF-8 text.") from error


@contextmanager
def waiting(what: str, quiet: bool = False) -> Iterator[None]:
    """A line on standard error while something long runs, gone afterwards; nothing where that is no terminal.

    what: from outside, so its control characters are written out. The line is cut to the width of the terminal, because
    only one line is cleared.
    """
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        columns = 80
    line = "".join(c if c.isprintable() else "?" for c in what)
    sys.stderr.write(f"\r{line[: max(1, columns - 1)]}")
    sys.stderr.flush()
    try:
        yield
    finally:
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()


_LINE_EVERY = 30.0
"""Seconds between two lines of progress where standard error is no terminal."""


@contextmanager
def moving_line(quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A function that shows what is being done: on a terminal one line that changes and is gone afterwards, elsewhere
    a line every half minute."""
    if quiet or sys.stderr is None:
        yield lambda line: None
        return
    if not sys.stderr.isatty():
        last = time.monotonic()

        def now_and_then(line: str) -> None:
            nonlocal last
            if time.monotonic() - last >= _LINE_EVERY:
                last = time.monotonic()
                print(line, file=sys.stderr, flush=True)

        yield now_and_then
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("") as status:
        yield lambda line: status.update(escape(line))


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[Progress], None] | None]:
    """A progress bar on standard error, as a function to report progress to: texts, passes, time left. None for a
    single text, and where standard error is no terminal."""
    if total < 2 or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    more = TextColumn("texts · {task.fields[passes]} passes · {task.fields[left]}")
    columns = (TextColumn("explaining"), BarColumn(), MofNCompleteColumn(), more)
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task("explaining", total=total, passes=0, left="")
        yield lambda p: bar.update(row, completed=p.done, passes=f"{p.passes:,}", left=time_left(p.left))


def time_left(seconds: float | None) -> str:
    """Seconds as `1:15 left`; empty where nobody knows."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}") + " left"
