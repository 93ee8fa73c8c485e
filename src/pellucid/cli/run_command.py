"""`pellucid run`: explains a data set into a folder, and goes on where it was interrupted."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import argument, time_left
from ..errors import RunError
from .explain_command import _options
from .inputs import targets_of
from .loading import TaskName, load_model

if TYPE_CHECKING:
    from ..jobs.progress import RunProgress

_LINE_EVERY = 60.0
"""Seconds between two lines of progress where standard error is no terminal."""


def run(
    data: Annotated[
        list[str],
        typer.Argument(
            help="Files (CSV, TSV, JSONL, Parquet, text; a pattern, or an address such as s3://…), a folder that "
            "datasets saved, or the name of a data set on the hub."
        ),
    ],
    out: Annotated[str, typer.Option(help="The folder, or the address, that the answers are written to.")],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="A checkpoint's directory or hub name. (default: the bundled classifier)"),
    ] = None,
    task: TaskName = None,
    column: Annotated[str | None, typer.Option(help="The column of the text. (default: found by name)")] = None,
    pair: Annotated[str | None, typer.Option(help="The column of the second text of a pair.")] = None,
    context: Annotated[str | None, typer.Option(help="The column of the context, --column being the question.")] = None,
    label: Annotated[str | None, typer.Option(help="The column of the true label. (default: found by name)")] = None,
    id: Annotated[str | None, typer.Option("--id", help="The column of ids. (default: the number of the row)")] = None,
    split: Annotated[str | None, typer.Option(help="A split of a data set.")] = None,
    limit: Annotated[int | None, typer.Option(help="So many rows from the beginning.")] = None,
    sample: Annotated[int | None, typer.Option(help="So many rows, drawn at random.")] = None,
    seed: Annotated[int, typer.Option(help="What --sample is drawn with.")] = 0,
    method: Annotated[list[str] | None, typer.Option(help="See 'pellucid methods'. May be repeated.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="A label, an index or a contrast. May be repeated.")] = None,
    baseline: Annotated[list[str] | None, typer.Option(help="As 'pellucid explain'. May be repeated.")] = None,
    output: Annotated[str | None, typer.Option(help="logit or probability.")] = None,
    groups: Annotated[str | None, typer.Option(help="token, word or sentence.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", "-o", metavar="NAME=VALUE")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Scores at every layer too.")] = False,
    truncate: Annotated[bool, typer.Option("--truncate", help="Explain the beginning of a long text.")] = False,
    window: Annotated[int | None, typer.Option(help="Explain a long text in windows of so many tokens.")] = None,
    stride: Annotated[int | None, typer.Option(help="Tokens from one window to the next.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps, …")] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes, each with the model loaded. (default: by a measurement, for many rows)"),
    ] = None,
    ray: Annotated[str | None, typer.Option(help="The address of a Ray cluster, or 'local'.")] = None,
    gpus: Annotated[float, typer.Option(help="GPUs of each Ray actor, a fraction too.")] = 0.0,
    shard_rows: Annotated[int | None, typer.Option(help="Rows of a file. (default: 2048)")] = None,
    max_failures: Annotated[int | None, typer.Option(help="Stop after more failures.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Explain a data set into Parquet files; the same command again goes on where it ended. Exits 1 if a row failed."""
    from ..jobs import run as explain_all  # before the model: a missing package is told at once

    loaded = load_model(model, task, device, quiet=quiet)

    shown = _Progress(quiet)
    parts = {"window": window, "stride": stride, "output": output, "groups": groups}
    asked: dict[str, Any] = {k: v for k, v in parts.items() if v is not None}
    try:
        found = explain_all(
            loaded,
            data[0] if len(data) == 1 else data,
            out,
            column=column,
            pair=pair,
            context=context,
            label=label,
            id=id,
            split=split,
            limit=limit,
            sample=sample,
            seed=seed,
            workers=workers,
            ray=True if ray == "local" else ray,
            gpus=gpus,
            shard_rows=shard_rows,
            max_failures=max_failures,
            dry_run=dry_run,
            progress=shown.moved,
            tell=shown.said,
            method="deeplift" if not method else method if len(method) > 1 else method[0],
            target=targets_of(loaded, target),
            baseline=list(map(argument, baseline or ["mask"])),
            detail=("layers",) if layers else (),
            truncate=truncate,
            **asked,
            **_options(option or []),
        )
    except KeyboardInterrupt:
        shown.end()
        raise RunError("Interrupted. What is written stays; the same command goes on from there.") from None
    finally:
        shown.end()
    if dry_run:
        return
    rows, failures = len(found), found.failures
    shown.said(f"{rows:,} rows in {out}, {failures:,} of them failures. See: pellucid summary {out}")
    if failures:
        raise typer.Exit(1)


class _Progress:
    """What is said on standard error: a line that moves on a terminal, a line a minute elsewhere."""

    def __init__(self, quiet: bool):
        self.quiet, self.terminal = quiet, sys.stderr.isatty()
        self.last, self.drawn = time.monotonic(), False

    def said(self, sentence: str) -> None:
        if not self.quiet:
            self.end()
            print(sentence, file=sys.stderr, flush=True)

    def moved(self, p: RunProgress) -> None:
        if self.quiet or (not self.terminal and time.monotonic() - self.last < _LINE_EVERY):
            return
        self.last = time.monotonic()
        line = progress_line(p)
        if self.terminal:
            import shutil

            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[2K{line[:width]}", end="", file=sys.stderr, flush=True)
            self.drawn = True
        else:
            print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.drawn:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
            self.drawn = False


def progress_line(p: RunProgress) -> str:
    """How far a run is, in one line.

    Examples:
        >>> from pellucid.jobs.progress import RunProgress
        >>> progress_line(RunProgress(1500, 3000, 1000, 2, 10.0, 800_000_000))
        '1,500 of 3,000 rows · 100 rows/s · 0:15 left · 2 failures · 800 MB'
    """
    rows = f"{p.done:,} rows" if p.total is None else f"{p.done:,} of {p.total:,} rows"
    left = time_left(p.left)
    parts = [
        rows,
        f"{p.rate:,.0f} rows/s" if p.rate >= 10 else f"{p.rate:.1f} rows/s",
        left,
        f"{p.failures:,} failures",
    ]
    return " · ".join([part for part in parts if part] + [f"{p.memory / 1e6:,.0f} MB"])
