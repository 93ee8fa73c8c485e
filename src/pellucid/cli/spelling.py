"""The command line as people write it, turned into the one that is parsed: a text without a command is explained, and
`--json` takes a file where one follows it, `--sources` several."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from os.path import isfile

import typer
from typer.core import TyperGroup

from ..errors import InputError

TEXT_COMMAND = "explain"
CLOSE = 0.55  # a single word that is so similar to a command is taken for one that was mistyped


class CommandOrText(TyperGroup):
    """Commands, one of which stands for a text that is given alone: `pellucid "It's great"`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, sources(json_files(with_command(args, self.commands))))


def with_command(args: list[str], commands: Iterable[str]) -> list[str]:
    """The arguments with the command `explain` before a text that has none. Raises InputError for a mistyped command.

    Examples:
        >>> with_command(["It's great", "--layers"], ["explain", "check"])
        ['explain', "It's great", '--layers']
        >>> with_command(["check"], ["explain", "check"])
        ['check']
    """
    known = list(commands)
    if not args or args[0] in known or (args[0].startswith("-") and args[0] != "-"):
        return args
    first = args[0]
    if meant := None if " " in first else next(iter(get_close_matches(first.lower(), known, 1, CLOSE)), None):
        raise InputError(
            f"No such command {first!r}: did you mean {meant!r}? A text of one word is explained by 'pellucid explain "
            f"{first}'."
        )
    return [TEXT_COMMAND, *args]


def json_files(args: list[str]) -> list[str]:
    """`--json FILE` as `--json-file FILE`; `--json` alone as it is. A file's name ends in .json and holds no space.

    Examples:
        >>> json_files(["explain", "--json", "a film", "--json", "x.json"])
        ['explain', '--json', 'a film', '--json-file', 'x.json']
    """
    found: list[str] = []
    for i, arg in enumerate(args):
        if arg == "--":
            return [*found, *args[i:]]
        after = args[i + 1] if i + 1 < len(args) else ""
        follows = after.lower().endswith(".json") and not after.startswith("-") and " " not in after
        if arg.startswith("--json="):
            found += ["--json-file", arg.removeprefix("--json=")]
        else:
            found.append("--json-file" if arg == "--json" and follows else arg)
    return found


def sources(args: list[str]) -> list[str]:
    """`--sources A B` as `--sources A --sources B`: what a shell makes of `--sources *.txt`. Each argument behind it
    that names a file is a source, and one that is spelled like a file's name: where there is none, an error says so.

    Examples:
        >>> sources(["explain", "--sources", "/", "--json"])
        ['explain', '--sources', '/', '--json']
        >>> sources(["explain", "--sources", "a.txt", "b.txt", "who?"])
        ['explain', '--sources', 'a.txt', '--sources', 'b.txt', 'who?']
    """
    found: list[str] = []
    more = False  # whether the arguments before this one are sources
    for i, arg in enumerate(args):
        if arg == "--":
            return [*found, *args[i:]]
        named = isfile(arg) or bool(re.fullmatch(r"[^-\s]\S*\.[a-z]\w{0,7}", arg))  # isfile takes a text of any length
        more = arg != "--sources" and (args[i - 1] == "--sources" or (more and named))
        found += ["--sources", arg] if more and args[i - 1] != "--sources" else [arg]
    return found
