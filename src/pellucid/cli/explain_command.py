"""`pellucid explain`: which words made the model decide, in the terminal or in a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import argument, failures_in, lines_of, print_json, progress_bar, show, waiting
from ..errors import InputError
from .loading import load_model

if TYPE_CHECKING:
    from ..answers import Answers
    from ..models import Model
    from ..types import Progress


def explain(
    text: Annotated[
        list[str] | None,
        typer.Argument(show_default=False, help="One or more texts; - reads one per line from standard input."),
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read texts from this file, one per line.")] = None,
    pair: Annotated[str | None, typer.Option(help="The second text of a pair.")] = None,
    context: Annotated[str | None, typer.Option(help="The context, TEXT being the question.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="A checkpoint's directory or hub name. (default: the bundled sentiment classifier)",
            show_default=False,
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="The task, where the checkpoint does not say.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="How to attribute; see 'pellucid methods'. May be repeated. (default: deeplift)", show_default=False
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="A label, an index, or a contrast 'a - b'. May be repeated. (default: the predicted class)",
            show_default=False,
        ),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="mask, pad, zero, mean, filler, a token or a text. Repeated: averaged. (default: mask; for a decoder "
            "without a mask token filler, an ordinary short token)",
            show_default=False,
        ),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="What is removed together: token, word or sentence. (default: token)", show_default=False),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="What the target's number is: logit or probability; log-probability of a generated token, which is "
            "the default there. (default: logit)",
            show_default=False,
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="NAME=VALUE", help="An option of the method, such as n_steps=100."),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Scores at every layer too.")] = False,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Explain the beginning of a text that is too long.")
    ] = False,
    window: Annotated[
        int | None, typer.Option(help="Explain a text longer than so many tokens in windows.", show_default=False)
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="Tokens from one window to the next. (default: half)", show_default=False)
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps, …")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write one page that stands alone.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write .json, .html, .csv, .svg, .png or .pdf, by suffix.")] = None,
) -> None:
    """Show which words made the model decide, with scores that add up."""
    inputs = _inputs(list(text or []), file, pair, context)
    path = _path(as_json, html, save)
    parts = {"window": window, "stride": stride}
    options = _options(option or []) | {name: n for name, n in parts.items() if n is not None}
    with failures_in(as_json, lambda kind, said: {"explanations": [], "error": {"type": kind, "message": said}}):
        loaded = load_model(model, task, device, quiet=as_json)
        from ..answers import explanations_of
        from ..explanation import Explanations

        with progress_bar(len(inputs)) as progress, waiting("explaining …", quiet=as_json or len(inputs) > 1):
            answers = _explain(
                loaded, inputs, method, target, baseline, options, layers, truncate, progress, groups, output
            )
        found = Explanations(tuple(e for answer in answers for e in explanations_of(answer)))
    if as_json:
        print_json(found.to_dict())
    elif path is not None:
        typer.echo(f"wrote {found.save(path)}", err=True)
    else:
        show(found if len(found) > 1 else found[0])


def _explain(
    loaded: Model,
    inputs: list[str | tuple[str, str]],
    method: list[str] | None,
    target: list[str] | None,
    baseline: list[str] | None,
    options: dict[str, Any],
    layers: bool,
    truncate: bool,
    progress: Callable[[Progress], None] | None,
    groups: str | None,
    output: str | None,
) -> Answers:
    from .._explain import explain as run

    return run(
        loaded,
        inputs,
        method=(method or ["deeplift"]) if method is None or len(method) > 1 else method[0],
        target=None if not target else argument(target[0]) if len(target) == 1 else list(map(argument, target)),
        baseline=list(map(argument, baseline or ["mask"])),
        detail=("layers",) if layers else (),
        groups=groups,
        output=output,
        truncate=truncate,
        progress=progress,
        **options,
    )


def _inputs(texts: list[str], file: Path | None, pair: str | None, context: str | None) -> list[str | tuple[str, str]]:
    if pair is not None and context is not None:
        raise InputError("Found both --pair and --context; expected one of them.")
    if file is not None:
        try:
            texts += lines_of(file.read_bytes(), repr(str(file)))
        except OSError as error:
            raise InputError(
                f"Could not read {str(file)!r}: {error}. Expected a UTF-8 file with one text per line."
            ) from error
    lines = lines_of(sys.stdin.buffer.read(), "standard input") if "-" in texts and sys.stdin is not None else []
    texts = [t for text in texts for t in (lines if text == "-" else [argument(text)])]
    if not texts:
        raise InputError("Found no text; expected one as an argument, --file F, or - for standard input.")
    second = pair if pair is not None else context
    return [t if second is None else (t, argument(second)) for t in texts]


def _path(as_json: bool, html: Path | None, save: Path | None) -> Path | None:
    """The file to write. Raises InputError before the work, not after it, where the file cannot be written."""
    if sum((as_json, html is not None, save is not None)) > 1:
        raise InputError("Found more than one of --json, --html and --save; expected at most one.")
    if html is not None and html.suffix.lower() != ".html":
        raise InputError(f"Found --html {str(html)!r}; expected a name that ends in .html.")
    path = html or save
    if path is not None:
        from ..render.files import checked

        checked(path)
    return path


_ELSEWHERE = {
    **{
        name: f"--{name}"
        for name in ("method", "target", "baseline", "groups", "output", "truncate", "window", "stride")
    },
    **{"model": "--model", "inputs": "TEXT", "detail": "--layers", "progress": "nothing: it is shown on a terminal"},
}
"""What `explain` takes that is no option of a method, and how the command line says it."""


def _options(given: list[str]) -> dict[str, Any]:
    """The options of the method from their `NAME=VALUE`; a value that is JSON is read as JSON. Raises InputError."""
    options: dict[str, Any] = {}
    for item in given:
        name, sign, value = item.partition("=")
        if not sign or not name.isidentifier():
            raise InputError(f"Found --option {item!r}; expected NAME=VALUE, such as n_steps=100.")
        if name in _ELSEWHERE:
            raise InputError(f"Found --option {item!r}; expected an option of the method. Use {_ELSEWHERE[name]}.")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options
