"""A View → a matplotlib Figure, or the pages of a PDF. No pyplot, no global state."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import InputError, MissingExtra
from ..view import ExplanationView, View
from . import plot_bars as bars
from . import plot_maps as maps
from .aligned import column_names
from .colour import DARK, LIGHT, Theme
from .facts import ranked
from .plot_pieces import missing, unwarned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 7.5
PAGE = (8.27, 11.69)  # inches of A4
ROOM = 10.7  # inches of a page that pictures have
SEVERAL = 4  # explanations of one text that have a picture each on a page; more are one picture
Drawing: TypeAlias = tuple[Callable[[Any], None], float]
"""What draws one picture on its axes, and its height in inches."""

KINDS: dict[str, tuple[Callable[[Any, ExplanationView, Theme], None], Callable[[ExplanationView], float]]] = {
    "words": (bars.words, lambda v: 1.1 + 0.3 * max(1, len(ranked(v, bars.TOP))) + 0.15 * len(bars.below(v))),
    "waterfall": (bars.waterfall, lambda v: 1.3 + 0.3 * (len(bars.steps(v)) + 2)),
    "layers": (maps.layers, lambda v: 2.0 + 0.25 * len(maps.layer_scores(v))),
    "distribution": (maps.distribution, lambda v: 6.5 if v.layers and v.layers[0].quantiles else 4.0),
    "heads": (maps.heads, lambda v: 1.6 + 0.25 * (len(v.heads) if isinstance(v.heads, list) else 0)),
    "attention": (maps.attention, lambda v: 1.6 + 0.55 * max(4, _layers_of(v))),
    "norms": (maps.norms, lambda v: 4.0),
    "parts": (maps.parts, lambda v: 3.0),
    "image": (maps.image, lambda v: 1.0 + 5.5 * len(maps.patches(v)) / len(maps.patches(v)[0])),
    "force": (bars.force, lambda v: 2.2),
}
TOGETHER = ("generation", "compare")
"""The kinds that draw all explanations in one picture."""
INCLUDED: dict[str, tuple[str, ...]] = {"heads": ("heads",), "attention": ("attentions", "heads")}
"""The large arrays that a kind needs in its View."""


def plot(view: View, kind: str = "words", dark: bool = False) -> Figure:
    """One Figure. Each explanation has a picture, one under the other; "generation" and "compare" are one of all."""
    if kind not in (*KINDS, *TOGETHER):
        raise InputError(f"Found kind={kind!r}; expected one of {', '.join(map(repr, (*KINDS, *TOGETHER)))}.")
    return _figure(_drawings(view, kind, DARK if dark else LIGHT), view, DARK if dark else LIGHT)


def _drawings(view: View, kind: str, theme: Theme) -> list[Drawing]:
    if kind in TOGETHER and not view.explanations:
        raise InputError("Found no explanations; expected at least one.")
    if kind == "generation":
        if not view.generations:
            raise InputError("Found no generated tokens; expected the explanations of a language model's continuation.")
        return [_generation(view, i, theme) for i in range(len(view.generations))]
    if kind == "compare":
        names = [" · ".join(parts) for parts in column_names(view)]
        shown = min(bars.TOP, len(bars.align(view.explanations)))
        height = 1.4 + shown * max(0.3, 0.16 * len(names))
        return [(lambda axes: bars.compare(axes, view.explanations, names, theme), height)]
    draw, height = KINDS[kind]
    return [(lambda axes, v=v: draw(axes, v, theme), height(v)) for v in view.explanations]


def _generation(view: View, i: int, theme: Theme) -> Drawing:
    found = view.generations[i]
    height = min(ROOM - 1, 2.2 + 0.22 * len(found.rows))
    return (lambda axes: maps.generation(axes, view.explanations, found, theme), height)


def _layers_of(v: ExplanationView) -> int:
    found = v.attentions if v.attentions is not None else v.heads
    return len(found) if isinstance(found, list) else 0


def _figure(drawings: list[Drawing], view: View, theme: Theme, size: tuple[float, float] | None = None) -> Figure:
    """Drawings one under the other; of a given size, those that do not fill it leave its end empty."""
    try:
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        from .picture import Picture
    except ImportError as error:
        raise MissingExtra("plot() needs matplotlib: pip install 'pellucid[plots]'") from error
    heights = [height for _, height in drawings]
    rest = [] if size is None else [max(0.01, ROOM - sum(heights))]
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15)
    figure = Picture(figsize=size or (WIDTH, sum(heights)), layout=layout, facecolor=theme.paper)
    places = figure.add_gridspec(len(heights) + len(rest), 1, height_ratios=[*heights, *rest])
    for k, (draw, _) in enumerate(drawings):
        draw(figure.add_subplot(places[k]))
    if lost := missing(_texts(view)):
        shown = lost[:20] + ("…" if len(lost) > 20 else "")
        codes = " ".join(f"U+{ord(c):04X}" for c in shown[:6])
        said = f"No font here has {len(lost)} of the characters ({codes}{' …' if len(lost) > 6 else ''})."
        figure.supxlabel(said, fontsize=7.5, color=theme.muted, x=0.02, ha="left")
    return figure


def _texts(view: View) -> Iterator[str]:
    for v in view.explanations:
        yield v.headline
        yield from (t.text for t in v.tokens)
        yield from (w.text for w in v.words)


def pdf(view: View, metadata: dict[str, Any]) -> bytes:
    """Pages of A4: for each text the words and the sum of its explanations, or one picture of many, on two pages at
    most."""
    try:
        from matplotlib.backends.backend_pdf import PdfPages
    except ImportError as error:
        raise MissingExtra("Saving a PDF needs matplotlib: pip install 'pellucid[plots]'") from error
    out = io.BytesIO()
    with unwarned(), PdfPages(out, metadata=metadata) as pages:
        for drawings, shown in _pages(view):
            figure = _figure(drawings, shown, LIGHT, PAGE)
            pages.savefig(figure)
    return out.getvalue()


def _pages(view: View) -> Iterator[tuple[list[Drawing], View]]:
    """The drawings of each page, and the View of what they show: as many texts as a page has room for."""
    page: list[Drawing] = []
    shown: list[ExplanationView] = []
    for _, own in groupby(view.explanations, key=lambda v: [(p.text, len(v.tokens)) for p in v.passages]):
        each = tuple(own)
        for drawing in _of_one_text(each):
            if page and sum(height for _, height in [*page, drawing]) > ROOM:
                yield page, _part(view, shown)
                page, shown = [], []
            page.append(drawing)
            shown += each[:1]
    if page:
        yield page, _part(view, shown)


def _part(view: View, shown: list[ExplanationView]) -> View:
    return View(tuple(shown), view.common, (), (), False, (), ())


def _of_one_text(each: tuple[ExplanationView, ...]) -> list[Drawing]:
    if len(each) <= SEVERAL:
        draw, height = KINDS["words"]
        words = [(lambda axes, v=v: draw(axes, v, LIGHT), height(v)) for v in each]
        rise, tall = KINDS["waterfall"]
        return [*words, *([(lambda axes: rise(axes, each[0], LIGHT), tall(each[0]))] if len(each) == 1 else [])]
    return [(lambda axes: _many(axes, each), min(ROOM - 0.5, 2.2 + 0.22 * len(each)))]


def _many(axes: Any, each: tuple[ExplanationView, ...]) -> None:
    import numpy as np

    from .plot_pieces import title

    values = np.array([[t.score for t in v.tokens] for v in each])
    at = [v.target.position for v in each]
    names = [
        v.target.name if k is None or k >= len(v.tokens) else v.tokens[k].text for v, k in zip(each, at, strict=True)
    ]
    maps.table(axes, values, [t.text for t in each[0].tokens], names, LIGHT)
    title(axes, each[0], LIGHT, f"{len(each)} explanations × tokens")
