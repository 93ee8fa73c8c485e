"""Loads the model that a command names, and says so on the terminal meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..console import waiting
from ..public_names import model_name

if TYPE_CHECKING:
    from ..models import Model


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
