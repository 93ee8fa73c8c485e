"""Loads the model that a command names, and says so on the terminal meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..console import waiting
from ..public_names import model_name

if TYPE_CHECKING:
    from ..models import Model


ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A checkpoint's directory or hub name. (default: the bundled sentiment classifier)",
        show_default=False,
    ),
]
TaskName = Annotated[str | None, typer.Option(help="The task, where the checkpoint does not say.")]


def load_model(name: str | None, task: str | None, device: str | None, quiet: bool) -> Model:
    """The model. Importing what runs it takes seconds, so a terminal says at once what is being loaded."""
    shown = "the bundled classifier" if name is None else model_name({"model": name})
    with waiting(f"loading torch, transformers and {shown} …", quiet):
        from ..models import load

        _quieten()
        return load(name, task=task, device=device)


def _quieten() -> None:
    """Keeps transformers' own warnings and progress bars off the terminal."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
