"""`pellucid summary`: what drives each class in the answers of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..console import show, waiting
from ..errors import InputError, quoted
from ..render.files import replace_file
from .loading import load_model


def summary(
    folder: Annotated[str, typer.Argument(help="What 'pellucid run DATA --out' wrote.")],
    html: Annotated[Path | None, typer.Option(help="Write one page that stands alone.")] = None,
    ngram: Annotated[int, typer.Option(help="So many words in a row are counted as one.")] = 1,
    support: Annotated[int, typer.Option(help="In so many documents a word must be.")] = 10,
    top: Annotated[int, typer.Option(help="So many words for and against each class.")] = 15,
    groups: Annotated[
        Path | None,
        typer.Option(help='Groups of words that count as one, such as lemmas: a JSON file {"name": ["word", …]}.'),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(help='Only the rows for which this SQL of DuckDB (extra sql) holds: "label <> prediction".'),
    ] = None,
    beside: Annotated[
        str | None, typer.Option(help="Another run over the same rows: what changed from DIR to this one.")
    ] = None,
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

    run = open_run(folder) if where is None else open_run(folder).where(where)
    unit = _groups(groups) if groups is not None else "word" if ngram == 1 else ngram
    options: dict[str, Any] = {"unit": unit, "support": support, "top": top}
    if beside is not None:
        if remove or by is not None:
            raise InputError("Found --beside with --remove or --by; expected --beside without them.")
        with waiting("reading …", quiet=False):
            found: Any = run.beside(open_run(beside), **options)
    else:
        loaded = None
        if remove:
            path = run.manifest["model"]["path"]
            named = model or (None if path.endswith("(bundled)") else path)
            loaded = load_model(named, run.manifest["model"]["task"], None, quiet=False)
        with waiting("reading …", quiet=False):
            found = run.summary(**options, by=by, model=loaded)
    if html is None:
        show(found)
        return
    replace_file(html, found.to_html().encode("utf-8"))
    typer.echo(f"wrote {html}", err=True)


def _groups(file: Path) -> dict[str, list[str]]:
    """Groups of words by name. Raises InputError."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"Could not read the groups {str(file)!r}: {error}. Expected JSON.") from error
    if not isinstance(found, dict) or not all(
        isinstance(words, list) and all(isinstance(w, str) for w in words) for words in found.values()
    ):
        raise InputError(f"Found {quoted(found, 80)} in {str(file)!r}; expected an object of lists of words.")
    return found
