"""The `pellucid` command: a file for each subcommand.

Exit codes: 0 success, 1 an explanation failed, 2 wrong usage: an argument that cannot be used, or that names a file, a
run or a model that is not there.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ..console import in_any_encoding
from ..errors import InputError, PellucidError
from .app_command import app as app_command
from .check_command import check
from .evaluate_command import evaluate
from .explain_command import explain
from .methods_command import methods
from .run_command import run
from .spelling import CommandOrText
from .summary_command import summary

app = typer.Typer(
    name="pellucid",
    cls=CommandOrText,
    help="Explains what a transformer decided, with attributions that add up. A text alone is explained: "
    'pellucid "It\'s great"',
    epilog="Exits 0 on success, 1 where an explanation failed, and 2 for wrong usage, such as a file or a model that "
    "is not there.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        from ..version import __version__

        typer.echo(f"pellucid {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


app.command(no_args_is_help=True)(explain)
app.command("app")(app_command)
app.command()(check)
app.command(no_args_is_help=True)(evaluate)
app.command()(methods)
app.command()(run)
app.command()(summary)


def main() -> None:
    """The entry point: every error is one line on standard error, and an exit code."""
    in_any_encoding()
    try:
        app()
    except PellucidError as error:
        _fail(error, 2 if isinstance(error, (InputError, FileNotFoundError)) else 1)
    except KeyboardInterrupt:
        _fail(PellucidError("interrupted"), 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(PellucidError(str(error)), 1)
    except Exception as error:
        if os.environ.get("PELLUCID_DEBUG"):
            raise
        _fail(PellucidError(f"{type(error).__name__}: {error} (PELLUCID_DEBUG=1 shows where)"), 1)


def _fail(error: PellucidError, code: int) -> None:
    print(f"pellucid: {error}", file=sys.stderr)
    sys.exit(code)
