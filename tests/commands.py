"""Commands in processes of their own that start at once: forked from a process that has the libraries loaded."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CONTEXT: Any = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    "pellucid.cli.run_command pellucid.jobs._run pellucid._explain pellucid.models.load "
    "transformers.models.auto.modeling_auto transformers.models.auto.tokenization_auto "
    "transformers.models.bert.modeling_bert transformers.models.bert.tokenization_bert".split()
)
"""What such a process has loaded when it begins; no operation of PyTorch has run in it."""


@dataclass(frozen=True)
class Command:
    """A process that runs a command. said: the file that has what it prints."""

    process: Any
    said: Path

    def ended(self, timeout: float = 150) -> int:
        """Its exit code, once it has ended."""
        self.process.join(timeout)
        assert self.process.exitcode is not None, "The command did not end."
        return self.process.exitcode

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.said.read_text("utf-8") if self.said.exists() else ""


def start(folder: Path, *arguments: str) -> Command:
    """Starts `pellucid` with arguments. folder: where the file of what it prints is made."""
    said = folder / f"said-{len(list(folder.glob('said-*')))}.txt"
    process = _CONTEXT.Process(target=_run, args=(arguments, str(said)))
    process.start()
    return Command(process, said)


def _run(arguments: tuple[str, ...], said: str) -> None:
    file = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["pellucid", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background has it switched off
    from pellucid import cli

    cli.main()
