"""What a notebook shows of an object: the viewer as a widget in a live session, else a page in a frame of its own.

Jupyter asks an object for a bundle of forms and takes the richest one that it knows. The widget (anywidget, extra
`[notebook]`) is only put in where a Jupyter server runs the kernel in a session, which the server says in the variable
JPY_SESSION_NAME. Everywhere else (nbconvert, papermill, Visual Studio Code, Colab, Databricks, marimo) the object is a
frame, which holds its page in `srcdoc`: it needs no network, no comm, no global name, no id and no require.js, no style
reaches into it, and it stays in what a notebook is exported to. A kernel without a session has nobody to draw a widget.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from .console import as_text, fitting, show
from .viewer import source

if TYPE_CHECKING:
    from rich.console import RenderableType

MOST = 1100
"""The height in pixels beyond which a frame scrolls."""
_FIT = (
    "try{const d=this.contentDocument.documentElement,f=()=>{"
    f"this.style.height=Math.min({MOST},Math.max(60,d.offsetHeight+4))+'px'}};"
    "f();new ResizeObserver(f).observe(d)}catch(e){}"
)
"""Makes a frame as high as its page, whenever that changes."""
_TOLD = "font:13px/1.5 system-ui,sans-serif;opacity:.75;margin:4px 8px;overflow-wrap:anywhere;unicode-bidi:isolate"
_RENDER = """
function render({ model, el }) {
  const root = document.createElement("div");
  const told = document.createElement("div");
  told.style.cssText = "STYLE";
  el.append(root, told);
  const view = () => JSON.parse(model.get("view"));
  const tell = () => told.replaceChildren(...model.get("told").map((line) => Object.assign(document.createElement("div"), { textContent: line })));
  const onState = (state) => (model.set("state", JSON.stringify(state)), model.save_changes());
  const mounted = mount(root, view(), { state: JSON.parse(model.get("state")), onState });
  const changed = () => (mounted.update(view()), tell());
  model.on("change:view", changed);
  tell();
  return () => (model.off("change:view", changed), mounted.destroy());
}
export default { render };
""".replace("STYLE", _TOLD)  # noqa: E501
_CARD = """
:root{color-scheme:light dark}body{margin:0;padding:.75rem 1rem;font:14px/1.5 system-ui,sans-serif;
color:light-dark(#1d1d1f,#ececee);background:light-dark(#fbfaf8,#17181a)}h1{font-size:1.1rem;font-weight:600;margin:0}
dl{display:flex;flex-wrap:wrap;gap:.1rem 1.5rem;margin:.4rem 0}dl div{display:flex;gap:.4rem;min-width:0}dd{margin:0}
dt,th{color:light-dark(#63636a,#a3a4ab);font-weight:400}h1,dd,td{overflow-wrap:anywhere}table{border-collapse:collapse}
td,th{padding:.15rem 1.2rem .15rem 0;text-align:left;vertical-align:top}div.wide{overflow-x:auto}
"""


@dataclass(frozen=True)
class Sheet:
    """What a notebook shows: a whole HTML document, the JSON of a View for the widget ("" where there is none), and
    lines that stand under either."""

    page: Callable[[], str]
    view: Callable[[], str] | None = None
    told: tuple[str, ...] = ()


class Displayed(ABC):
    """What a notebook shows by itself, as the last line of a cell."""

    @abstractmethod
    def _sheet(self) -> Sheet: ...

    def _repr_html_(self) -> str:
        sheet = self._sheet()
        told = "".join(f'<div style="{_TOLD}">{_text(line)}</div>' for line in sheet.told)
        return framed(sheet.page(), type(self).__name__) + told

    def _repr_mimebundle_(self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None) -> Any:
        """The forms that a notebook chooses from, by their types."""
        sheet = self._sheet()
        widget = {} if sheet.view is None or not is_live() else _widget(sheet.view(), sheet.told)
        return {"text/plain": repr(self), "text/html": self._repr_html_(), **widget}


class Printed(ABC):
    """What prints as lines, with colour on a terminal that has it."""

    @abstractmethod
    def __rich__(self) -> RenderableType: ...

    def show(self) -> None:
        """Prints what the command line shows, with colour where the terminal has it."""
        show(self.__rich__())

    def __str__(self) -> str:
        return as_text(self.__rich__(), fitting())


def framed(page: str, title: str) -> str:
    """A page of HTML as a frame, as high as its content up to `MOST`. title: its name for screen readers.

    Examples:
        >>> framed("<p>&lt;b&gt;</p>", "An explanation")[:39]
        '<iframe title="An explanation" srcdoc="'
    """
    return (
        f'<iframe title="{escape(title)}" srcdoc="{_text(page)}" onload="{escape(_FIT)}" '
        f'style="width:100%;height:480px;border:0;display:block;color-scheme:light dark"></iframe>'
    )


def card(
    title: str,
    facts: Iterable[tuple[str, str]],
    heads: Sequence[str] = (),
    rows: Iterable[Sequence[str]] = (),
) -> str:
    """An HTML document of a title, facts by name, and a table: for what has no View.

    Examples:
        >>> "<dt>labels</dt><dd><bdi>a &amp; b</bdi></dd>" in card("Model", [("labels", "a & b")])
        True
    """
    each = "".join(f"<div><dt>{_text(name)}</dt><dd><bdi>{_text(value)}</bdi></dd></div>" for name, value in facts)
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td><bdi>{_text(cell)}</bdi></td>' for cell in row)}</tr>" for row in rows)
    table = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><style>{_CARD}</style></head>'
        f"<body><h1><bdi>{_text(title)}</bdi></h1><dl>{each}</dl>{table if heads else ''}</body></html>"
    )


def is_live() -> bool:
    """Whether widgets are drawn: a Jupyter server runs this kernel in a session, and anywidget is installed."""
    return bool(os.environ.get("JPY_SESSION_NAME")) and _viewer_class() is not None


@cache
def _viewer_class() -> Any:
    """The class of the widget; None where anywidget is not installed."""
    try:
        import anywidget
        import traitlets
    except ImportError:
        return None

    class Viewer(anywidget.AnyWidget):
        """The viewer of a View. view: its JSON. told: lines under it. state: what a person chose, as JSON."""

        _esm = f"{source()}\n{_RENDER}"
        view = traitlets.Unicode().tag(sync=True)
        told = traitlets.List(traitlets.Unicode()).tag(sync=True)
        state = traitlets.Unicode("{}").tag(sync=True)

    return Viewer


def _widget(view: str, told: Sequence[str]) -> dict[str, Any]:
    """The part of a bundle that has a notebook draw a new widget."""
    bundle = _viewer_class()(view=view, told=[_whole(line) for line in told])._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    return {kind: value for kind, value in data.items() if "widget" in kind}


def _text(text: str) -> str:
    return escape(_whole(text), quote=True)


def _whole(text: str) -> str:
    """A text that UTF-8 can hold: half of a character becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
