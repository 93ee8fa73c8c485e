"""What pictures have in common: titles, rows of names, the colours of a theme, and fonts that are found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from warnings import catch_warnings, filterwarnings

import numpy as np
from numpy.typing import NDArray

from ..view import ExplanationView
from .colour import Theme, background
from .facts import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Matrix: TypeAlias = NDArray[np.float64]
NAMED = 60  # a heat map names all its tokens up to this many, and its strongest ones beyond
STRONGEST = 24
APART = 40  # so many names fit beside each other with a gap
FAMILIES = (
    *("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "PingFang SC", "Hiragino Sans"),
    *("Apple SD Gothic Neo", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "NanumGothic", "WenQuanYi Zen Hei"),
    *("Noto Sans Arabic", "Noto Naskh Arabic", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Hebrew"),
    *("Arial Unicode MS", "Noto Emoji", "Segoe UI Emoji", "Symbola", "Unifont"),
)


@contextmanager
def unwarned() -> Iterator[None]:
    """Draw without a warning for each glyph that no font here has: the picture itself says so."""
    with catch_warnings():
        filterwarnings("ignore", message="Glyph .* missing from")
        filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        yield


def font() -> dict[str, Any]:
    """The families that this machine has, in order: a glyph that one lacks comes from the next."""
    return {"fontfamily": list(_families())}


def missing(texts: Iterable[str]) -> str:
    """The characters that no font here has, each once, in order; joiners and variation selectors are not drawn."""
    found = dict.fromkeys(c for text in texts for c in label(text) if c > "~" and c not in "\u200d\ufe0e\ufe0f")
    return "".join(c for c in found if not c.isspace() and ord(c) not in _drawn())


@cache
def _families() -> tuple[str, ...]:
    from matplotlib import font_manager

    _add_new_fonts()
    here = set(font_manager.get_font_names())
    return tuple(f for f in FAMILIES if f in here)


def _add_new_fonts() -> None:
    """Fonts of these families that were installed after matplotlib last looked for fonts."""
    from matplotlib import font_manager

    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    wanted = tuple(family.replace(" ", "").lower() for family in FAMILIES)
    for path in font_manager.findSystemFonts():
        if path not in known and Path(path).stem.replace("-Regular", "").lower() in wanted:
            try:
                font_manager.fontManager.addfont(path)
            except (OSError, RuntimeError):  # a font that matplotlib cannot read is one that it cannot draw
                continue


@cache
def _drawn() -> frozenset[int]:
    """The code points that the families here have a glyph for."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    paths = {font_manager.findfont(family, fallback_to_default=False) for family in _families()}
    return frozenset(code for path in paths for code in FT2Font(path).get_charmap())


def short(text: str, most: int = 40) -> str:
    """A text as one line of at most so many characters."""
    shown = label(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def sign_colour(score: float, theme: Theme) -> str:
    """The colour of what raises the output, or of what lowers it."""
    return theme.negative if score < 0 else theme.positive


def rows(axes: Axes, names: Sequence[str], theme: Theme) -> None:
    """A row for each name, the first at the top."""
    axes.set_yticks(range(len(names)), [short(n) for n in names], color=theme.ink, parse_math=False, **font())
    axes.set_ylim(max(1, len(names)) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.use_sticky_edges = False
    axes.margins(x=0.12)
    bare(axes, theme)


def number(axes: Axes, x: float, row: float, text: str, left: bool, theme: Theme) -> None:
    """A number beside a bar."""
    axes.annotate(
        text,
        (x, row),
        xytext=(-5 if left else 5, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize=8.5,
        color=theme.muted,
    )


def title(axes: Axes, v: ExplanationView, theme: Theme, told: str | None = None) -> None:
    """What was predicted, and below what was explained and how. told: in the place of that."""
    chance = f"  {v.probability_written}" if v.probability is not None and v.prediction is not None else ""
    under = "  ·  ".join(f"{fact.name} {short(fact.value)}" for fact in v.facts) if told is None else told
    axes.set_title(
        f"{short(v.headline)}{chance}", loc="left", pad=22, fontsize=13, color=theme.ink, parse_math=False, **font()
    )
    line = axes.annotate(
        short(under, 110),
        (0, 1),
        xytext=(0, 9),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8.5,
        color=theme.muted,
        parse_math=False,
        **font(),
    )
    line.set_in_layout(False)


def bare(axes: Axes, theme: Theme) -> None:
    """No frame, and ticks in the theme's colours."""
    axes.set_facecolor(theme.paper)
    axes.tick_params(colors=theme.muted, length=0, labelsize=8)
    for side in axes.spines.values():
        side.set_visible(False)


def heat(
    axes: Axes, values: Matrix, theme: Theme, aspect: Literal["auto", "equal"] = "auto", measured: bool = False
) -> None:
    """A matrix of scores, without colour at 0 and where it is not a number, with its scale beside it. measured: of
    numbers that are never negative."""
    from matplotlib.colors import LinearSegmentedColormap

    top = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    scale = np.linspace(0 if measured else -1, 1, 65)
    colours = LinearSegmentedColormap.from_list("scores", [background(float(t), theme) for t in scale])
    low = 0.0 if measured else -top
    image = axes.imshow(values, aspect=aspect, cmap=colours, vmin=low, vmax=top, interpolation="nearest")
    bare(axes, theme)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=theme.muted, labelsize=8, length=0)


def token_columns(axes: Axes, names: Sequence[str], strengths: Matrix, theme: Theme) -> None:
    """The names of columns: all of a few, and of many those of the strongest that do not touch each other."""
    places = range(len(names)) if len(names) <= NAMED else _apart(strengths, len(names) / APART)
    told = [short(names[i], 16) for i in places]
    axes.set_xticks(list(places), told, rotation=90, fontsize=8, color=theme.ink, parse_math=False, **font())


def _apart(strengths: Matrix, gap: float) -> list[int]:
    found: list[int] = []
    for i in map(int, np.argsort(-np.abs(strengths), kind="stable")):
        if len(found) < STRONGEST and all(abs(i - k) >= gap for k in found):
            found.append(i)
    return sorted(found)
