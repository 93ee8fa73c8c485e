"""The viewer: one component in JavaScript that draws a View, the same in the page, in a notebook and in the app.

It is an ES module without imports: `mount(root, view, options)` draws the JSON of `View.to_dict()` into a shadow root of
`root`, and returns `{update, state, restore, destroy}`.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

PARTS = "dom heatmap text sum targets generation inside attention compare takeaway list mount".split()
"""The files of the module, in the order in which they are joined."""


@cache
def source() -> str:
    """The module's JavaScript, its style sheet included.

    Examples:
        >>> "export function mount" in source()
        True
    """
    sheet = style().replace("\\", "\\\\").replace("`", "\\`").replace("${", "\\${")
    parts = "".join((files(__name__) / f"{name}.js").read_text("utf-8") for name in PARTS)
    return f"const STYLE = `{sheet}`;\n{parts}"


@cache
def style() -> str:
    """The style sheet, which reaches nothing outside of the viewer's shadow root."""
    return (files(__name__) / "viewer.css").read_text("utf-8")
