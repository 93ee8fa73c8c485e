"""Pictures made of matrices: layers, heads, attention, norms, parts, a generation, an image; and scores by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..view import ExplanationView, Generation
from .colour import Theme
from .plot_pieces import Matrix, bare, font, heat, short, title, token_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TILE = 64  # rows and columns of the largest thumbnail of a head


def layers(axes: Axes, v: ExplanationView, theme: Theme) -> None:
    """Layers × tokens, each row complete by itself."""
    _by_layer(axes, v, layer_scores(v), theme)


def norms(axes: Axes, v: ExplanationView, theme: Theme) -> None:
    """Layers × tokens: the length of the vectors that attention moves from each token, on average of all queries."""
    found = v.measures.get("norm_sum_af") or _lacking("norms")
    _by_layer(axes, v, np.array(found, dtype=float).mean(axis=1), theme, measured=True)


def _by_layer(axes: Axes, v: ExplanationView, values: Matrix, theme: Theme, measured: bool = False) -> None:
    heat(axes, values, theme, measured=measured)
    token_columns(axes, [t.text for t in v.tokens], np.abs(values).max(axis=0), theme)
    _numbered(axes, "layer", theme)
    title(axes, v, theme)


def _numbered(axes: Axes, told: str, theme: Theme) -> None:
    """Rows numbered from 1, as in the terminal and on the page."""
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel(told, color=theme.muted)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(lambda row, _: f"{row + 1:.0f}")


def distribution(axes: Axes, v: ExplanationView, theme: Theme) -> None:
    """The scores of all tokens at each layer as boxes, and their entropy: over how many tokens the contributions go.
    Below, where they are known, the elements of the strongest token as boxes, and theirs."""
    values = layer_scores(v)
    best = int(np.abs(values).sum(axis=0).argmax())
    told = f"boxes: the scores of all tokens  ·  blue: {short(v.tokens[best].text)}  ·  dashed: their entropy in bits"
    whole = axes.get_subplotspec()
    if v.layers[0].quantiles and whole is not None:
        parts = whole.subgridspec(2, 1)
        axes.set_subplotspec(parts[0])
        below = axes.figure.add_subplot(parts[1])
        five = np.array([layer.quantiles[best] for layer in v.layers])
        _boxes(below, five, [layer.entropy[best] for layer in v.layers], theme)
        below.set_xlabel("layer", color=theme.muted)
        below.set_ylabel("element", color=theme.muted)
        named = f"the hidden elements of {short(v.tokens[best].text)}: quartiles, least and largest  ·  dashed: entropy"
        below.set_title(named, loc="left", fontsize=8, color=theme.muted, parse_math=False, **font())
    else:
        axes.set_xlabel("layer", color=theme.muted)
    _boxes(axes, np.quantile(values, [0, 0.25, 0.5, 0.75, 1], axis=1).T, [layer.spread for layer in v.layers], theme)
    axes.plot(values[:, best], color=theme.positive, linewidth=1.4, marker="o", markersize=3)
    axes.set_ylabel("score", color=theme.muted)
    title(axes, v, theme, told)


def _boxes(axes: Axes, each: Matrix, bits: Sequence[float], theme: Theme) -> None:
    """A box for each row of five numbers (least, quartiles, largest), and an entropy for each as a dashed line."""
    ink = {"color": theme.muted, "linewidth": 0.9}
    names = ("whislo", "q1", "med", "q3", "whishi")
    axes.bxp(
        [{**dict(zip(names, five, strict=True)), "fliers": []} for five in each.tolist()],
        positions=list(range(len(each))),
        widths=0.55,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": theme.line, "edgecolor": theme.muted},
        medianprops={"color": theme.ink},
        whiskerprops=ink,
        capprops=ink,
    )
    beside = axes.twinx()
    beside.plot(bits, color=theme.negative, linewidth=1.4, linestyle="--")
    beside.set_ylabel("entropy", color=theme.negative)
    beside.set_ylim(bottom=0)
    bare(beside, theme)
    bare(axes, theme)
    step = -(-len(each) // 24)
    axes.set_xticks(range(0, len(each), step), [str(i + 1) for i in range(0, len(each), step)])


def heads(axes: Axes, v: ExplanationView, theme: Theme) -> None:
    """Layers × heads: what the attention of each head contributed, summed over queries and keys."""
    values = np.array(v.heads if v.heads is not None else _lacking("heads"), dtype=float).sum(axis=(2, 3))
    heat(axes, values, theme)
    axes.set_xticks(range(values.shape[1]), [str(i + 1) for i in range(values.shape[1])])
    axes.set_xlabel("head", color=theme.muted)
    _numbered(axes, "layer", theme)
    title(axes, v, theme)


def attention(axes: Axes, v: ExplanationView, theme: Theme) -> None:
    """A thumbnail for each layer (row) and head (column): queries from top to bottom, keys from left to right."""
    raw = v.attentions is not None
    found: Any = v.attentions if raw else v.heads if v.heads is not None else _lacking("attentions")
    values = np.array(found, dtype=float)
    tiles = np.array([[_thumbnail(head / (np.abs(head).max() or 1.0)) for head in layer] for layer in values])
    gap = max(1, tiles.shape[-1] // 12)
    padded = np.pad(tiles, ((0, 0), (0, 0), (0, gap), (0, gap)), constant_values=np.nan)
    n, h, rows, columns = padded.shape
    heat(axes, padded.transpose(0, 2, 1, 3).reshape(n * rows, h * columns), theme, measured=raw)
    axes.set_xticks([columns * (i + 0.5) for i in range(h)], [str(i + 1) for i in range(h)])
    axes.set_yticks([rows * (i + 0.5) for i in range(n)], [str(i + 1) for i in range(n)])
    axes.set_xlabel("head", color=theme.muted)
    axes.set_ylabel("layer", color=theme.muted)
    what = "attention probabilities" if raw else "contributions of attention"
    title(axes, v, theme, f"{what}, query × key; each head on a scale of its own")


def _thumbnail(head: Matrix) -> Matrix:
    """A head's matrix with at most TILE rows and columns: of each block the value that is largest in size."""
    for axis in (0, 1):
        head = np.moveaxis(head, axis, 0)
        blocks = np.array_split(head, min(TILE, len(head)))
        picked = [np.take_along_axis(b, np.abs(b).argmax(axis=0)[None], 0)[0] for b in blocks]
        head = np.moveaxis(np.array(picked), 0, axis)
    return head


def parts(axes: Axes, v: ExplanationView, theme: Theme) -> None:
    """Parts of the embedding × tokens: word, position and token type."""
    found = v.parts.scores if v.parts else _lacking("parts")
    values = np.array(list(found.values()), dtype=float)
    heat(axes, values, theme)
    token_columns(axes, [t.text for t in v.tokens], np.abs(values).max(axis=0), theme)
    axes.set_yticks(range(len(values)), list(found), color=theme.ink)
    title(axes, v, theme)


def image(axes: Axes, v: ExplanationView, theme: Theme) -> None:
    """Rows × columns of an image's patches."""
    heat(axes, patches(v), theme, "equal")
    axes.set_xticks([])
    axes.set_yticks([])
    title(axes, v, theme)


def generation(axes: Axes, each: Sequence[ExplanationView], found: Generation, theme: Theme) -> None:
    """Generated tokens × all tokens before them; what was not yet there is empty."""
    values = np.array([[np.nan if s is None else s for s in row] for row in found.scores], dtype=float)
    first = each[found.explanations[0]]
    table(axes, values, [t.text for t in first.tokens], [first.tokens[i].text for i in found.rows], theme)
    title(axes, first, theme, f"method {found.method}  ·  baseline {found.baseline}  ·  generated × read")


def table(axes: Axes, values: Matrix, columns: Sequence[str], rows: Sequence[str], theme: Theme) -> None:
    """A heat map of explanations (rows) × tokens."""
    heat(axes, values, theme)
    token_columns(axes, columns, np.nan_to_num(np.abs(values)).max(axis=0), theme)
    step = max(1, len(rows) // 60)
    names = [f"{i + 1}  {short(rows[i], 16)}" for i in range(0, len(rows), step)]
    axes.set_yticks(range(0, len(rows), step), names, fontsize=8, color=theme.ink, parse_math=False, **font())


def patches(v: ExplanationView) -> Matrix:
    """The scores as rows × columns of an image's patches; of several images or tiles one below the other, with an empty
    row between them. Raises InputError."""
    if not v.maps:
        raise InputError(
            "This explanation is not of an image; expected patches, tokens such as '0,3'. Use plot('words')."
        )
    wide = max(m.columns for m in v.maps)
    gap = np.full((1, wide), np.nan)
    each = [np.array([v.tokens[i].score for i in m.tokens]).reshape(m.rows, m.columns) for m in v.maps]
    filled = [np.pad(t, ((0, 0), (0, wide - t.shape[1])), constant_values=np.nan) for t in each]
    return np.concatenate([part for t in filled for part in (gap, t)][1:])


def layer_scores(v: ExplanationView) -> Matrix:
    """Layers × tokens. Raises InputError."""
    return np.array([layer.scores for layer in v.layers]) if v.layers else _lacking("layers")


def _lacking(detail: str) -> Any:
    raise InputError(f"This explanation has no {detail}; expected them. Explain with detail=({detail!r},).")
