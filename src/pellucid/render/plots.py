"""A View → a matplotlib Figure: its words, its sum as steps, or its layers. No pyplot, no global state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from warnings import catch_warnings, filterwarnings

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, MissingExtra
from ..number_text import decimals, plain, signed
from ..view import ExplanationView, View
from .colour import LIGHT, background
from .facts import label, name, ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Matrix: TypeAlias = NDArray[np.float64]
TOP = 12
STEPS = 8
NAMED = 60  # a heat map names its tokens up to this many
WIDTH = 7.5
FAMILIES = (
    *("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "PingFang SC", "Hiragino Sans"),
    *("Apple SD Gothic Neo", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "WenQuanYi Zen Hei", "Noto Sans Arabic"),
    *("Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Hebrew", "Arial Unicode MS", "Noto Emoji", "Segoe UI Emoji"),
)


def plot(view: View, kind: str = "words") -> Figure:
    """One Figure, its explanations one under the other: "words" (a bar per word), "waterfall" (from baseline to
    output), "layers" (layers × tokens) or "image" (rows × columns of patches)."""
    if kind not in KINDS:
        raise InputError(f"Found kind={kind!r}; expected one of {', '.join(map(repr, KINDS))}.")
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise MissingExtra("plot() needs matplotlib: pip install 'pellucid[plots]'") from error
    draw, height = KINDS[kind]
    heights = [height(v) for v in view.explanations]
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15)
    figure = Figure(figsize=(WIDTH, sum(heights)), layout=layout, facecolor="white")
    grid = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)
    for axes, v in zip(grid[:, 0], view.explanations, strict=True):
        draw(axes, v)
    return figure


@contextmanager
def unwarned() -> Iterator[None]:
    """Draw without a warning for each glyph that no font here has."""
    with catch_warnings():
        filterwarnings("ignore", message="Glyph .* missing from")
        filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        yield


# ----------------------------------------------------------------------------------------------------- the four kinds


def _words(axes: Axes, v: ExplanationView) -> None:
    words = ranked(v, TOP)
    scores = [w.score for w in words]
    axes.barh(range(len(words)), scores, height=0.62, color=[_sign_colour(s) for s in scores])
    axes.axvline(0, color=LIGHT.muted, linewidth=0.8)
    _rows(axes, [name(w) for w in words])
    for row, w in enumerate(words):
        _number(axes, w.score, row, w.written, left=w.score < 0)
    _title(axes, v)
    axes.set_xticks([])


def _waterfall(axes: Axes, v: ExplanationView) -> None:
    steps = _steps(v)
    baseline, _, _, output = (term.value for term in v.sum.terms)
    places = decimals(max(abs(output), abs(baseline), v.peak))
    at = baseline
    for row, (_, change) in enumerate(steps, 1):
        axes.barh(row, change, left=at, height=0.62, color=_sign_colour(change))
        axes.plot([at, at], [row - 1, row + 0.31], color=LIGHT.muted, linewidth=0.7)
        _number(axes, at + change, row, signed(change, places), left=change < 0)
        at += change
    last = len(steps) + 1
    axes.plot([at, at], [last - 1, last], color=LIGHT.muted, linewidth=0.7)
    for row, value in ((0, baseline), (last, output)):
        axes.plot([value], [row], "o", color=LIGHT.ink, markersize=5)
        _number(axes, value, row, plain(value, places), left=False)
    _rows(axes, ["baseline", *(step for step, _ in steps), "output"])
    _title(axes, v)
    axes.tick_params(axis="x", colors=LIGHT.muted, labelsize=8, length=0)
    axes.grid(axis="x", color=LIGHT.line, linewidth=0.6)
    axes.set_axisbelow(True)


def _steps(v: ExplanationView) -> list[tuple[str, float]]:
    """The strongest words, what the others come to, and the residual: from baseline to output, nothing left out."""
    named = ranked(v, STEPS)
    others = len(v.words) - len(named)
    _, contributions, residual, _ = (term.value for term in v.sum.terms)
    rest = contributions - sum(w.score for w in named)
    steps = [(name(w), w.score) for w in named]
    return steps + ([(f"{others} others", rest)] if others else []) + [("residual", residual)]


def _layers(axes: Axes, v: ExplanationView) -> None:
    from matplotlib.ticker import MaxNLocator

    _heat(axes, _layer_scores(v), "auto")
    tokens = [_short(t.text, 16) for t in v.tokens] if len(v.tokens) <= NAMED else []
    axes.set_xticks(range(len(tokens)), tokens, rotation=90, fontsize=8, color=LIGHT.ink, parse_math=False, **_font())
    axes.set_ylabel("layer", color=LIGHT.muted)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(lambda row, _: f"{row + 1:.0f}")  # numbered as in the terminal and on the page
    axes.tick_params(colors=LIGHT.muted, length=0, labelsize=8)
    _title(axes, v)


def _heat(axes: Axes, values: Matrix, aspect: Literal["auto", "equal"]) -> None:
    """A matrix of scores, white at 0, with its scale beside it."""
    from matplotlib.colors import LinearSegmentedColormap

    top = float(np.abs(values).max(initial=0.0)) or 1.0
    colours = LinearSegmentedColormap.from_list("scores", [background(t, LIGHT) for t in np.linspace(-1, 1, 65)])
    image = axes.imshow(values, aspect=aspect, cmap=colours, vmin=-top, vmax=top, interpolation="nearest")
    _bare(axes)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=LIGHT.muted, labelsize=8, length=0)


def _image(axes: Axes, v: ExplanationView) -> None:
    _heat(axes, patches(v), "equal")
    axes.set_xticks([])
    axes.set_yticks([])
    _title(axes, v)


def patches(v: ExplanationView) -> Matrix:
    """The scores as rows × columns of an image's patches. Raises InputError."""
    if v.grid is None:
        raise InputError(
            "This explanation is not of an image; expected patches, tokens such as '0,3'. Use plot('words')."
        )
    return np.array([t.score for t in v.tokens]).reshape(v.grid)


def _layer_scores(v: ExplanationView) -> Matrix:
    if not v.layers:
        raise InputError("This explanation has no layers; expected layers × tokens. Explain with detail=('layers',).")
    return np.array([layer.scores for layer in v.layers])


KINDS: dict[str, tuple[Callable[[Axes, ExplanationView], None], Callable[[ExplanationView], float]]] = {
    "words": (_words, lambda v: 1.0 + 0.3 * max(1, len(ranked(v, TOP)))),
    "waterfall": (_waterfall, lambda v: 1.3 + 0.3 * (len(_steps(v)) + 2)),
    "layers": (_layers, lambda v: 2.0 + 0.25 * len(_layer_scores(v))),
    "image": (_image, lambda v: 1.0 + 5.5 * len(patches(v)) / len(patches(v)[0])),
}


# ------------------------------------------------------------------------------------------------------- their pieces


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_short(n) for n in names], color=LIGHT.ink, parse_math=False, **_font())
    axes.set_ylim(max(1, len(names)) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.use_sticky_edges = False
    axes.margins(x=0.12)
    _bare(axes)


def _number(axes: Axes, x: float, row: float, text: str, left: bool) -> None:
    axes.annotate(
        text,
        (x, row),
        xytext=(-5 if left else 5, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize=8.5,
        color=LIGHT.muted,
    )


def _title(axes: Axes, v: ExplanationView) -> None:
    chance = "" if v.probability is None else f"  {v.probability_written}"
    head = f"{_short(v.headline)}{chance if v.prediction is not None else ''}"
    under = _short("  ·  ".join(f"{fact.name} {_short(fact.value)}" for fact in v.facts), 110)
    axes.set_title(head, loc="left", pad=22, fontsize=13, color=LIGHT.ink, parse_math=False, **_font())
    line = axes.annotate(
        under,
        (0, 1),
        xytext=(0, 9),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8.5,
        color=LIGHT.muted,
        parse_math=False,
        **_font(),
    )
    line.set_in_layout(False)


def _bare(axes: Axes) -> None:
    for side in axes.spines.values():
        side.set_visible(False)


def _sign_colour(score: float) -> str:
    return LIGHT.negative if score < 0 else LIGHT.positive


def _short(text: str, most: int = 40) -> str:
    shown = label(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _font() -> dict[str, Any]:
    """The families that this machine has, in order: a glyph that one lacks comes from the next."""
    from matplotlib import font_manager

    here = set(font_manager.get_font_names())
    return {"fontfamily": [f for f in FAMILIES if f in here]}
