"""`pellucid methods`: a table of the methods."""

from __future__ import annotations

from typing import Annotated

import typer

from ..console import print_json, show


def methods(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """List the methods, whether their scores add up, and their options."""
    from ..methods import METHODS

    if as_json:
        rows = [
            {"name": name, "adds_up": m.adds_up, "summary": m.summary, "options": m.options}
            for name, m in METHODS.items()
        ]
        print_json({"schema_version": 1, "methods": rows})
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in ("method", "adds up"):
        table.add_column(column, no_wrap=True)
    table.add_column("what it does, and its options", overflow="fold")
    for name, m in METHODS.items():
        options = ", ".join(f"{k}={v}" for k, v in m.options.items() if k != "options")
        about = Text(m.summary).append(f"\n{options}" if options else "", "dim")
        table.add_row(name, "yes" if m.adds_up else "no", about)
    show(table)
