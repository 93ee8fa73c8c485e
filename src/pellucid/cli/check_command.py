"""`pellucid check`: whether a model can be explained, measured on it."""

from __future__ import annotations

from typing import Annotated

import typer

from ..console import failures_in, print_json, show, waiting
from .loading import TaskName, load_model


def check(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A checkpoint's directory or hub name. (default: the bundled classifier)", show_default=False
        ),
    ] = None,
    task: TaskName = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps, …")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say whether a model can be explained: its operations, and the residual on probe texts. Exits 1 if it cannot."""
    with failures_in(as_json, lambda kind, said: {"passed": False, "problems": [f"{kind}: {said}"]}):
        loaded = load_model(model, task, device, quiet=as_json)
        from ..check import verify

        with waiting("checking …", quiet=as_json):
            report = verify(loaded)
    if as_json:
        print_json(report.to_dict())
    else:
        show(report)
    if report.problems:
        raise typer.Exit(1)
