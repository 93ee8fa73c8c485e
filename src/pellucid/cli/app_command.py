"""`pellucid app`: explanations in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import MissingExtra
from .loading import load_model


def app(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="Checkpoints to choose from. (default: the bundled classifier)",
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
    loaded = [load_model(name, task, device, quiet=False) for name in models or [None]]
    if host not in LOOPBACK:
        typer.echo(f"warning: {host} is open to the network; whoever has the token can use the models.", err=True)

    def ready(address: str) -> None:
        typer.echo(f"Pellucid is at {address}\nInterrupt (Ctrl-C) to stop.")
        if browser:
            import webbrowser

            webbrowser.open(address)

    serve(loaded, host, port, ready=ready)
