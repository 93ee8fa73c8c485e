"""`pellucid explain`: which words made the model decide, in the terminal or in a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import argument, failures_in, print_json, progress_bar, show, waiting
from ..errors import InputError, quoted
from .inputs import Input, read_inputs, targets_of
from .loading import ModelName, TaskName, load_model

if TYPE_CHECKING:
    from .._forecast import Forecast
    from ..answers import Answers
    from ..citations import Citations
    from ..explanation import Explanation
    from ..explanations import Explanations
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
    continuation: Annotated[
        str | None,
        typer.Option(help="What the model is to have written after TEXT, instead of what it writes.", metavar="TEXT"),
    ] = None,
    chat: Annotated[
        str | None,
        typer.Option(
            help="A conversation instead of TEXT: a file (- for standard input) with messages as JSON or as lines "
            "'user: …', or the messages themselves.",
            metavar="FILE",
        ),
    ] = None,
    sources: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE …",
            help="Texts that TEXT asks about, or the conversation is about: says which of them each sentence of the "
            "answer came from.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="With sources or a conversation: source, or sentence for each of its sentences."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="With sources or a conversation: take each source away and run the model again, to show what is lost.",
        ),
    ] = False,
    hops: Annotated[
        bool,
        typer.Option(
            "--hops",
            help="With sources or a conversation: what the last sentence owes to them through those before it.",
        ),
    ] = False,
    true: Annotated[
        list[str] | None,
        typer.Option(
            "--true", metavar="LABEL", help="The true label, to be shown beside the predicted. Repeated: one a text."
        ),
    ] = None,
    model: ModelName = None,
    task: TaskName = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="How to attribute; see 'pellucid methods'. May be repeated. (default: deeplift)", show_default=False
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="A label, an index, or a contrast 'a - b'; of a continuation a token, its number from 0, total or "
            "sentences. May be repeated. (default: the predicted class; each token of a continuation)",
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
        typer.Option(
            help="What is one row: word, sentence or source. Scores add up to it; a method that removes words "
            "removes it as one. (default: token, shown as words)",
            show_default=False,
        ),
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
    detail: Annotated[
        list[str] | None,
        typer.Option(
            help="What is also told of the inside: layers, heads, attentions, parts, norms, rollout or "
            "attention_x_gradient. May be repeated, or a list with commas.",
            show_default=False,
            autocompletion=lambda: list(DETAILS),
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="So many tokens a language model writes. (default: 20)", show_default=False),
    ] = None,
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say about how long DeepLIFT takes for each text, and its memory; stop.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON document and nothing else; --json FILE.json writes that document to a file."
        ),
    ] = False,
    json_file: Annotated[list[Path] | None, typer.Option("--json-file", hidden=True)] = None,
    html: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Write one page that stands alone. May be repeated.")
    ] = None,
    save: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Write .json, .html, .csv, .svg, .png or .pdf, by suffix. May be repeated."),
    ] = None,
) -> None:
    """Show which words made the model decide, with scores that add up."""
    inputs = read_inputs(list(text or []), file, pair, context, continuation, chat, sources or [])
    if (cites := bool(sources or by or hops or verify)) and not (sources or chat):
        named = next(name for name, asked in (("--by", by), ("--hops", hops), ("--verify", verify)) if asked)
        raise InputError(f"Found {named} without sources; expected --sources FILE …, or a conversation: --chat FILE.")
    documents, files = _files(json_file or [], html or [], save or [])
    if dry_run and (named := documents + files):
        raise InputError(
            f"Found --dry-run and {str(named[0])!r} to write; expected --json at most: nothing is explained."
        )
    parts = {"window": window, "stride": stride, "max_new_tokens": max_new_tokens}
    options = _options(option or []) | {name: n for name, n in parts.items() if n is not None}
    details = [name.strip() for given in detail or [] for name in given.split(",")] + ["layers"] * layers
    what = "forecasts" if dry_run else "explanations"
    with failures_in(as_json, lambda kind, said: {what: [], "error": {"type": kind, "message": said}}):
        loaded = load_model(model, task, device, quiet=as_json)
        asked = {"method": method, "target": target, "groups": groups, "true": true, "detail": details}
        more: dict[str, Any] = {"output": output, "truncate": truncate}
        if cites:
            _check_cited(asked)
        if dry_run:
            how = options | more | {"method": (method or ["deeplift"])[0], "groups": groups, "detail": details}
            if cites and not (baseline or hops) and loaded.filler is not None:
                baseline = ["filler, answer kept"]
            found = _forecasts(loaded, inputs, ["sentences"] if cites else target, baseline, how)
            notes = ["--verify is not counted: a pass for each source."] if verify else []
            if loaded.does.continues:
                notes.append("Not counted: what is checked once for a model, and an answer that it writes first.")
            if as_json:
                each = [asdict(one) | {"fits": one.fits} for one in found]
                return print_json({"schema_version": 1, "forecasts": each, "notes": notes})
            for line in (*found, *notes):
                typer.echo(line)
            return
        from ..explanations import Explanations

        cited: list[Citations] = []
        labels = _true_labels(list(map(argument, true or [])), inputs, loaded)
        with progress_bar(len(inputs)) as progress, waiting("explaining …", quiet=as_json or len(inputs) > 1):
            if cites:
                if baseline or hops:  # the hops go through the words of the answer
                    more["baseline"] = list(map(argument, baseline or ["mask"]))
                more["method"] = (method or ["deeplift"])[0]
                cited = _cited(loaded, inputs, by or "source", verify, options | more)
            answers = (
                []
                if cited
                else _explain(
                    loaded, inputs, method, target, baseline, options, details, truncate, progress, groups, output
                )
            )
        each = [c.explanations for c in cited] or map(_labelled, answers, labels)
        found = Explanations(tuple(e for some in each for e in some))
    composed = [c.hops() for c in cited if hops]
    told = found.to_dict() | ({"citations": [c.to_dict() for c in cited]} if cited else {})
    told |= {"hops": [h.to_dict() for h in composed]} if composed else {}
    if cited:
        documents += [path for path in files if path.suffix.lower() == ".json"]
        files = [path for path in files if path not in documents]
    _write(found, cited[0] if len(cited) == 1 else found, told, documents, files)
    if as_json:
        print_json(told)
    elif not documents and not files:
        for shown in cited or [found if len(found) > 1 else found[0]]:
            show(shown)
        for h in composed:
            typer.echo()
            show(h)


def _forecasts(
    loaded: Model, inputs: list[Input], target: list[str] | None, baseline: list[str] | None, options: dict[str, Any]
) -> Iterator[Forecast]:
    """What each input will take."""
    from .._forecast import forecast

    of = targets_of(loaded, target)
    for given in inputs:
        yield forecast(loaded, given, of, list(map(argument, baseline or ["mask"])), **options)


def _check_cited(asked: dict[str, Any]) -> None:
    """Raises InputError for arguments that do not go with sources."""
    if given := [f"--{name}" for name, value in asked.items() if value and (name != "method" or len(value) > 1)]:
        raise InputError(f"Found {given[0]} with sources; expected one method, for the sentences of the answer.")


def _cited(loaded: Model, inputs: list[Input], by: str, verify: bool, options: dict[str, Any]) -> list[Citations]:
    """What each sentence of the answers came from."""
    from ..citations import cite

    return cite(loaded, inputs, by=by, verify=verify, **options)  # type: ignore[return-value]


def _explain(
    loaded: Model,
    inputs: list[Input],
    method: list[str] | None,
    target: list[str] | None,
    baseline: list[str] | None,
    options: dict[str, Any],
    detail: list[str],
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
        target=targets_of(loaded, target),
        baseline=list(map(argument, baseline or ["mask"])),
        detail=detail,
        groups=groups,
        output=output,
        truncate=truncate,
        progress=progress,
        **options,
    )


def _labelled(answer: Any, label: str | None) -> list[Explanation]:
    """The explanations of one answer, with the true label where it was given."""
    from ..answers import explanations_of

    return [e if label is None else replace(e, label=label) for e in explanations_of(answer)]


def _true_labels(given: list[str], inputs: list[Input], loaded: Model) -> list[str | None]:
    """The true label of each input, by the model's name for it. Raises InputError."""
    from ..models.text.labels import true_label

    if len(given) not in (0, 1, len(inputs)):
        raise InputError(
            f"Found --true {len(given)} times for {len(inputs)} texts; expected it once, or once for each text."
        )
    names = tuple(loaded.labels) if loaded.task in CLASSES else ()
    found = [true_label(label, names) for label in given]
    for label in found:
        if len(names) > 1 and label is not None and label not in names:
            raise InputError(f"Found --true {quoted(label)}; expected one of {', '.join(map(quoted, names))}.")
    return (found or [None]) * len(inputs) if len(found) < 2 else found


def _files(json_files: list[Path], html: list[Path], save: list[Path]) -> tuple[list[Path], list[Path]]:
    """The files to write: those of the JSON document, and others by suffix. Raises InputError before the work, not
    after it, where one cannot be written."""
    for name, paths, suffix in (("--html", html, ".html"), ("--json", json_files, ".json")):
        for path in paths:
            if path.suffix.lower() != suffix:
                raise InputError(f"Found {name} {str(path)!r}; expected a name that ends in {suffix}.")
    every = [*json_files, *html, *save]
    if every:
        from ..render.files import checked

        targets = [checked(path)[1] for path in every]
        if twice := next((path for i, path in enumerate(targets) if path in targets[:i]), None):
            raise InputError(f"Found {str(twice)!r} as a file to write more than once; expected each once.")
    return json_files, [*html, *save]


def _write(
    found: Explanations,
    drawn: Explanations | Citations,
    told: dict[str, Any],
    documents: list[Path],
    files: list[Path],
) -> None:
    """Writes each file, and says so on standard error. drawn: what is written where it is not JSON. told: the document
    that --json writes."""
    for path in documents:
        from ..render.files import replace_file

        replace_file(path, json.dumps(told, ensure_ascii=False, indent=1).encode("utf-8"))
        typer.echo(f"wrote {path}", err=True)
    for path in files:
        typer.echo(f"wrote {(found if path.suffix.lower() == '.json' else drawn).save(path)}", err=True)


CLASSES = ("text-classification", "zero-shot-classification", "image-classification")
"""The tasks whose true label is one of the model's labels."""
DETAILS = ("layers", "heads", "attentions", "parts", "norms", "rollout", "attention_x_gradient")
_ELSEWHERE = {
    **{
        name: f"--{name}"
        for name in ("method", "target", "baseline", "groups", "output", "truncate", "window", "stride", "detail")
    },
    "max_new_tokens": "--max-new-tokens",
    **{"model": "--model", "inputs": "TEXT", "progress": "nothing: it is shown on a terminal"},
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
