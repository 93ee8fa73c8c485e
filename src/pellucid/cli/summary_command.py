"""`pellucid summary`: what drives each class in the answers of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import show, waiting
from ..errors import InputError
from .loading import load_model


def summary(
    folder: Annotated[str, typer.Argument(help="What 'pellucid run DATA --out' wrote.")],
    html: Annotated[Path | None, typer.Option(help="Write one page that stands alone.")] = None,
    ngram: Annotated[int, typer.Option(help="So many words in a row are counted as one.")] = 1,
    support: Annotated[int, typer.Option(help="In so many documents a word must be.")] = 10,
    top: Annotated[int, typer.Option(help="So many words for and against each class.")] = 15,
    by: Annotated[str | None, typer.Option(help="Slices: label, prediction, length, or a column of the data.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Test words by removing them, on the model.")] = False,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model to test on. (default: the run's)")
    ] = None,
) -> None:
    """Say what drives each class, where the model is wrong, and how far the answers can be trusted."""
    if html is not None and html.suffix.lower() != ".html":
        raise InputError(f"Found --html {str(html)!r}; expected a name that ends in .html.")
    from ..jobs import open as open_run

    run = open_run(folder)
    loaded = None
    if remove:
        path = run.manifest["model"]["path"]
        named = model or (None if path.endswith("(bundled)") else path)
        loaded = load_model(named, run.manifest["model"]["task"], None, quiet=False)
    with waiting("reading …", quiet=False):
        found = run.summary(unit="word" if ngram == 1 else ngram, support=support, top=top, by=by, model=loaded)
    if html is None:
        show(found)
        return
    html.write_text(found.to_html(), "utf-8")
    typer.echo(f"wrote {html}", err=True)
