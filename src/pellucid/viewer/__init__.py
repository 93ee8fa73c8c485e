"""The interactive viewer: an ES module without imports, and its style sheet, that draw a `View` in any web page.

The module exports one function, `mount(root, view, options)`, which returns `{update, state, restore, destroy}`. Its
source is kept in several files, one idea each, which `source()` joins in the order of `PARTS`: a name that one file
declares is seen by all of them, and by nothing outside of the module.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from .palette import scale

PARTS = (
    "elements",
    "numbers",
    "colour",
    "unpacked",
    "units",
    "links",
    "heatmap",
    "header",
    "text",
    "sum",
    "words",
    "generation",
    "sources",
    "inside",
    "attention",
    "compare",
    "image",
    "take_away",
    "answers",
    "mount",
)
"""The files of the module, in the order in which they are joined."""


@cache
def source() -> str:
    """The JavaScript of the module.

    Examples:
        >>> "export function mount(root, view, options = {})" in source()
        True
    """
    here = files("pellucid.viewer")
    parts = [(here / f"{part}.js").read_text("utf-8") for part in PARTS]
    given = {"STYLE": style(), **scale()}
    return "\n".join([*(f"const {name} = {json.dumps(value)};" for name, value in given.items()), *parts])


@cache
def style() -> str:
    """The style sheet that the module needs: `mount` puts it into the shadow root that it draws in.

    Examples:
        >>> ":host" in style()
        True
    """
    return (files("pellucid.viewer") / "viewer.css").read_text("utf-8")
