"""`pellucid evaluate`: which method is most faithful to a model, measured on its own data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..console import argument, failures_in, moving_line, print_json, show
from ..render.files import checked, replace_file
from .inputs import target_of
from .loading import ModelName, TaskName, load_model


def evaluate(
    data: Annotated[
        Path,
        typer.Argument(
            show_default=False,
            help="A .csv, .tsv, .jsonl, .parquet or .txt file, one input a row; or the folder of a "
            "'pellucid run', whose answers are measured as they stand.",
        ),
    ],
    model: ModelName = None,
    task: TaskName = None,
    column: Annotated[
        str | None,
        typer.Option(
            "--column",
            "-c",
            help="The column of the texts; a number, from 0, for a file without a header. (default: the whole row, "
            "under the names that columns commonly have)",
            show_default=False,
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Methods, with commas; see 'pellucid methods'. A random ranking is always added. (default: deeplift; "
            "of a run its own answers alone)",
            show_default=False,
        ),
    ] = None,
    baselines: Annotated[
        str, typer.Option(help="Baselines, with commas; those joined by + are averaged: mask,mask+pad+zero.")
    ] = "mask",
    operators: Annotated[
        str | None,
        typer.Option(
            help="How words are removed, at least two with commas: mask, delete, mean, pad, sampled, "
            "'attention mask'. (default: mask,delete; mask,mean where no position must move)",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="A label, an index, or a token of a continuation or its number. (default: the predicted class; the "
            "continuation of a prompt, or else its next token)",
            show_default=False,
        ),
    ] = None,
    groups: Annotated[
        str,
        typer.Option(
            help="What is ranked and removed together: word, token, sentence, or source (a document or a message). "
            "The words of a continuation stay."
        ),
    ] = "word",
    beam: Annotated[
        int,
        typer.Option(
            min=0,
            help="Also search for the best and the worst order, keeping so many candidates at each step, which "
            "normalises the area: about N·n² evaluations of a text of n words. 0: no search.",
        ),
    ] = 0,
    random_rankings: Annotated[
        int, typer.Option(min=1, help="The row of chance is the mean over so many random rankings of each text.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Of the resampled texts, the random rankings and the sets of LDS.")] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many inputs from the beginning. (default: all)", show_default=False)
    ] = None,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Explain the beginning of a text that is too long.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Keep the explanations in this folder, a run for each method; the same call again goes on there.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the recommended method for this model, for 'explain --method auto'.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Also write a page with the curves to this file.", show_default=False)
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps, …")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else; --json FILE.json writes it.")
    ] = False,
    json_file: Annotated[list[Path] | None, typer.Option("--json-file", hidden=True)] = None,
) -> None:
    """Measure which method is most faithful to a model on your data, how sure that is, and at what cost."""
    documents = [checked(path)[1] for path in json_file or []]
    pages = [checked(html)[1]] if html else []
    if out is not None:
        from .. import jobs as jobs  # needs pyarrow, and says so before the work
    with failures_in(as_json, lambda kind, said: {"rows": [], "error": {"type": kind, "message": said}}):
        from ..evaluation.data import inputs_of

        # before the model: a wrong name is told at once
        items = str(data) if data.is_dir() else inputs_of(data, _column(column), limit, _said)
        loaded = load_model(model, task, device, quiet=as_json)
        from ..evaluation import evaluate as run

        with moving_line(quiet=as_json) as tell:
            found = run(
                loaded,
                items,
                None if methods is None else _listed(methods),
                _baselines(baselines),
                operators=None if operators is None else _listed(operators),
                target=None if target is None else target_of(loaded, target),
                truncate=truncate,
                groups=groups,
                beam=beam,
                random_rankings=random_rankings,
                seed=seed,
                limit=limit,
                out=out,
                keep=keep,
                progress=tell,
            )
    if keep:
        told = f"kept for {model or 'this model'}: --method auto uses it" if found.kept else "nothing to keep"
        typer.echo(told, err=True)
    for path in pages:
        replace_file(path, found.to_html().encode("utf-8"))
        typer.echo(f"wrote {path}", err=True)
    for path in documents:
        replace_file(path, json.dumps(found.to_dict(), ensure_ascii=False, indent=1).encode("utf-8"))
        typer.echo(f"wrote {path}", err=True)
    if as_json:
        print_json(found.to_dict())
    elif not documents:
        show(found)


def _said(note: str) -> None:
    typer.echo(note, err=True)


def _listed(given: str, sign: str = ",") -> list[str]:
    """The parts of a list, without the spaces around them."""
    return [part.strip() for part in argument(given).split(sign) if part.strip()]


def _baselines(given: str) -> list[str | list[str]]:
    """Names with commas, joined by + where several are averaged. One name has a comma itself: "filler, answer kept"."""
    from ..models.text.filler import ANSWER_KEPT

    found: list[str] = []
    for name in _listed(given):
        kept = bool(found) and name.split("+")[0].strip() == ANSWER_KEPT.strip(", ")
        found += [f"{found.pop()}, {name}"] if kept else [name]
    return [_listed(name, "+") if "+" in name else name for name in found]


def _column(given: str | None) -> str | int | None:
    return int(given) if given is not None and given.isdecimal() else given
