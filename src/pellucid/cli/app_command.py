"""`pellucid app`: explanations in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MissingExtra, PellucidError
from .loading import load_model

if TYPE_CHECKING:
    from ..jobs.stored import Run
    from ..models import Model


def app(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL | DIR]...",
            help="Checkpoints to choose from, and folders that 'pellucid run' wrote, to be looked through. (default: "
            "the bundled classifier)",
            show_default=False,
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="The task, where the checkpoints do not say.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps, …")] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for a free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Explore a model in the browser. The page is served to this machine only, and needs the token of its address."""
    try:
        from ..app.serving import LOOPBACK, serve
    except ImportError as error:
        raise MissingExtra("The app needs Starlette and uvicorn: pip install 'pellucid[app]'.") from error
    runs = [run for name in models or () if (run := _run(name)) is not None]
    named: list[str | None] = [name for name in models or () if _run(name) is None]
    loaded = [load_model(name, task, device, quiet=False) for name in named or ([] if runs else [None])]
    loaded += _models_of(runs, device) if not named else []
    if host not in LOOPBACK:
        typer.echo(f"warning: {host} is open to the network; whoever has the token can use the models.", err=True)

    def ready(address: str) -> None:
        typer.echo(f"Pellucid is at {address}\nInterrupt (Ctrl-C) to stop.")
        if browser:
            import webbrowser

            webbrowser.open(address)

    serve(loaded, host, port, ready=ready, runs=runs)


def _run(name: str) -> Run | None:
    """The run in a folder; None where there is none."""
    if not (Path(name) / "manifest.json").is_file():
        return None
    try:
        from ..jobs import open as open_run
    except ImportError as error:
        raise MissingExtra("A run is read with pyarrow: pip install 'pellucid[jobs]'.") from error
    return open_run(name)


def _models_of(runs: list[Run], device: str | None) -> list[Model]:
    """The models of the runs, each once; one that is gone is told of, and the run can be looked through without it."""
    found: list[Model] = []
    for path, task in {(run.manifest["model"]["path"], run.manifest["model"]["task"]): None for run in runs}:
        try:
            found.append(load_model(None if path.endswith("(bundled)") else path, task, device, quiet=False))
        except PellucidError as error:
            typer.echo(f"warning: the run's model was not loaded: {error}", err=True)
    return found
