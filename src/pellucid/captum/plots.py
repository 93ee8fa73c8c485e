"""Images, time series and tables with their attributions as matplotlib figures, in Captum's form.

Attributions are scaled, to be drawn, by the value that all but the largest `outlier_perc` percent of their sum stay
below; what is beyond is drawn as the largest.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ArgumentError, MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
SIGNS: dict[str, tuple[str, float, Callable[[Array], Array]]] = {
    "positive": ("Greens", 0, lambda a: np.maximum(a, 0)),
    "absolute_value": ("Blues", 0, np.abs),
    "negative": ("Reds", 0, lambda a: np.minimum(a, 0)),
    "all": ("RdWhGn", -1, lambda a: a),
}
"""For each sign its colour map, the smallest value that it shows, and what it keeps of attributions."""
ImageVisualizationMethod = Enum(
    "ImageVisualizationMethod", "heat_map blended_heat_map original_image masked_image alpha_scaling"
)
TimeseriesVisualizationMethod = Enum(
    "TimeseriesVisualizationMethod", "overlay_individual overlay_combined colored_graph"
)
VisualizeSign = Enum("VisualizeSign", list(SIGNS))
"""The names of methods and signs, of which Captum's code asks the list."""


def _subplots(use_pyplot: bool, size: Sequence[float], **layout: Any) -> tuple[Figure, Any]:
    """A new figure and its axes. Raises MissingExtra where matplotlib is not installed."""
    try:
        from matplotlib import pyplot
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("Plots need matplotlib: pip install 'pellucid[plots]'") from error
    if use_pyplot:
        return pyplot.subplots(figsize=(size[0], size[1]), **layout)
    figure = Figure(figsize=(size[0], size[1]))
    return figure, figure.subplots(**layout)


def _shown(figure: Figure, show: bool) -> Figure:
    if show:
        from matplotlib import pyplot

        pyplot.show()
    return figure


def _colours(name: Any) -> Any:
    """A colour map by its name, of which "RdWhGn" is red for −1, white for 0 and green for 1."""
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap

    if name == "RdWhGn":
        return LinearSegmentedColormap.from_list(name, ["red", "white", "green"])
    return matplotlib.colormaps[name] if isinstance(name, str) else name


def _one_of(name: str, value: str, among: Collection[str]) -> None:
    if value not in among:
        raise ArgumentError(f"Found {name}={value!r}; expected one of {', '.join(among)}.")


def scaled(attr: Array, sign: str, outlier_perc: float = 2) -> Array:
    """Attributions of a sign within −1 … 1: divided by the value up to which their sizes sum to all but `outlier_perc`
    percent.

    Examples:
        >>> scaled(np.array([[1.0, -2.0], [4.0, 0.0]]), "positive", 0)
        array([[0.25, 0.  ],
               [1.  , 0.  ]])
    """
    _one_of("sign", sign, SIGNS)
    if not 0 <= outlier_perc <= 100:
        raise ArgumentError(f"Found outlier_perc={outlier_perc!r}; expected a number from 0 to 100.")
    kept = SIGNS[sign][2](np.asarray(attr))
    sizes = np.sort(np.abs(kept), axis=None)
    sums = np.cumsum(sizes)
    largest = sizes[np.argmax(sums >= sums[-1] * (100 - outlier_perc) / 100)]
    if largest < 1e-5:
        warnings.warn("The attributions are about 0, so their colours mean little.", stacklevel=3)
    unit = (-1 if sign == "negative" else 1) * (largest or 1)
    return np.clip(kept / unit, -1, 1)


def visualize_image_attr(
    attr: Array,
    original_image: Array | None = None,
    method: str = "heat_map",
    sign: str = "absolute_value",
    plt_fig_axis: Any = None,
    outlier_perc: float = 2,
    cmap: Any = None,
    alpha_overlay: float = 0.5,
    show_colorbar: bool = False,
    title: str | None = None,
    fig_size: tuple[float, float] = (6, 6),
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    """The attributions of an image, alone or over the image.

    attr: (height, width) or (height, width, channels), whose sum over the channels is drawn. original_image: (height,
        width, channels), in 0 … 1 or 0 … 255; needed by every method but "heat_map".
    method: a name of ImageVisualizationMethod. sign: one of VisualizeSign, not "all" for "masked_image" and
        "alpha_scaling".
    use_pyplot: make the figure by pyplot, and show it.

    Returns `(figure, axes)`. Raises ArgumentError, MissingExtra.
    """
    _one_of("method", method, ImageVisualizationMethod.__members__)
    if original_image is None and method != "heat_map":
        raise ArgumentError(f"Found no original_image for the method {method!r}; expected the image.")
    if sign == "all" and method in ("masked_image", "alpha_scaling"):
        raise ArgumentError(f"Found sign='all' for the method {method!r}, which shows one sign; expected another.")
    values = np.asarray(attr)
    values = scaled(values.sum(2) if values.ndim == 3 else values, sign, outlier_perc)
    figure, axes = plt_fig_axis or _subplots(use_pyplot, fig_size)
    axes = axes[0] if isinstance(axes, list) else axes
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    name, least, _ = SIGNS[sign]
    heat = {"cmap": _colours(cmap or name), "vmin": least, "vmax": 1}
    drawn = _draw_image(axes, method, values, original_image, heat, alpha_overlay)
    if show_colorbar:
        _colour_bar(figure, axes, drawn, pad=0.1)
    if title:
        axes.set_title(title)
    return _shown(figure, use_pyplot), axes


def _draw_image(axes: Axes, method: str, values: Array, image: Array | None, heat: dict[str, Any], alpha: float) -> Any:
    """Draws one method of ImageVisualizationMethod; returns what has a colour scale, if anything."""
    whole = np.zeros((*values.shape, 1)) if image is None else np.asarray(image)
    pixels = _pixels(whole * 255 if whole.max() <= 1 else whole)
    if method == "heat_map":
        return axes.imshow(values, **heat)
    if method == "blended_heat_map":
        axes.imshow(pixels.mean(2) if pixels.ndim == 3 else pixels, cmap="gray")
        return axes.imshow(values, alpha=alpha, **heat)
    if method == "masked_image":
        axes.imshow(_pixels(pixels * values[..., None]))
    elif method == "alpha_scaling":
        axes.imshow(np.concatenate([pixels, _pixels(values[..., None] * 255)], 2))
    else:
        axes.imshow(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    return None


def _pixels(image: Array) -> Array:
    return np.clip(image.astype(int), 0, 255)


def _colour_bar(figure: Figure, axes: Axes, drawn: Any, pad: float, **given: Any) -> None:
    """A colour scale below the axes; where nothing has one, its place stays empty, so that neighbours are as high."""
    from mpl_toolkits.axes_grid1 import make_axes_locatable

    below: Any = make_axes_locatable(axes).append_axes("bottom", size="5%", pad=pad)
    if drawn is None:
        below.axis("off")
    else:
        figure.colorbar(drawn, orientation="horizontal", cax=below, **given)


def visualize_image_attr_multiple(
    attr: Array,
    original_image: Array | None,
    methods: Sequence[str],
    signs: Sequence[str],
    titles: Sequence[str] | None = None,
    fig_size: tuple[float, float] = (8, 6),
    use_pyplot: bool = True,
    **kwargs: Any,
) -> tuple[Figure, Any]:
    """Several of `visualize_image_attr` side by side: the k-th has methods[k] and signs[k]."""
    if not methods or len(methods) != len(signs):
        raise ArgumentError(f"Found {len(methods)} methods and {len(signs)} signs; expected as many, at least one.")
    if titles is not None and len(titles) != len(methods):
        raise ArgumentError(f"Found {len(titles)} titles for {len(methods)} methods; expected one for each.")
    figure, axes = _subplots(use_pyplot, fig_size, ncols=len(methods))
    each = np.atleast_1d(axes).tolist()
    for k, (method, sign) in enumerate(zip(methods, signs, strict=True)):
        title = titles[k] if titles else None
        own = (figure, each[k])
        visualize_image_attr(attr, original_image, method, sign, own, title=title, use_pyplot=False, **kwargs)
    figure.tight_layout()
    return _shown(figure, use_pyplot), each[0] if len(each) == 1 else each


def visualize_timeseries_attr(
    attr: Array,
    data: Array,
    x_values: Array | None = None,
    method: str = "overlay_individual",
    sign: str = "absolute_value",
    channel_labels: Sequence[str] | None = None,
    channels_last: bool = True,
    plt_fig_axis: Any = None,
    outlier_perc: float = 2,
    cmap: Any = None,
    alpha_overlay: float = 0.7,
    show_colorbar: bool = False,
    title: str | None = None,
    fig_size: tuple[float, float] = (6, 6),
    use_pyplot: bool = True,
    **pyplot_kwargs: Any,
) -> tuple[Figure, Any]:
    """The attributions of a time series over its channels.

    attr, data: (times, channels), or (channels, times) where channels_last=False. x_values: (times,); 0, 1, … without.
    method: a name of TimeseriesVisualizationMethod: each channel on its colours; all channels on the colours of the sum
        of their attributions; each channel as a line of the colours.
    pyplot_kwargs: what else the lines are drawn with.

    Returns `(figure, axes)`. Raises ArgumentError, MissingExtra.
    """
    _one_of("method", method, TimeseriesVisualizationMethod.__members__)
    values, lines = (np.asarray(a) for a in (attr, data))
    if values.ndim != 2 or values.shape != lines.shape:
        raise ArgumentError(
            f"Found attributions {values.shape} of a series {lines.shape}; expected two dimensions, the same of both."
        )
    values, lines = (values.T, lines.T) if channels_last else (values, lines)
    channels, times = lines.shape
    if channels > times:
        warnings.warn(f"There are more channels ({channels}) than times ({times}): see channels_last.", stacklevel=2)
    x = np.arange(times) if x_values is None else np.asarray(x_values)
    if len(x) != times:
        raise ArgumentError(f"Found {len(x)} x_values for {times} times; expected one for each.")
    together = method == "overlay_combined"
    shades = scaled(values.sum(0, keepdims=True) if together else values, sign, outlier_perc)
    figure, axes = plt_fig_axis or _subplots(use_pyplot, fig_size, nrows=1 if together else channels, sharex=True)
    each = np.atleast_1d(axes).ravel()
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    name, least, _ = SIGNS[sign]
    colours = ScalarMappable(Normalize(least, 1), _colours(cmap or name))
    for k in range(channels):
        own = each[0 if together else k]
        label = channel_labels[k] if channel_labels is not None else None
        if method == "colored_graph":
            _coloured_line(own, x, lines[k], shades[k], colours, pyplot_kwargs)
        else:
            own.plot(x, lines[k], label=label if together else None, **pyplot_kwargs)
        if label is not None and not together:
            own.set_ylabel(label)
    if method != "colored_graph":
        for own, row in zip(each, shades, strict=False):
            _shade(own, x, row, colours, alpha_overlay)
    if together and channel_labels is not None:
        each[0].legend(loc="best")
    each[0].set_xlim(x[0], x[-1])
    if not together:
        figure.subplots_adjust(hspace=0)
    if show_colorbar:
        _colour_bar(figure, each[-1], colours, 0.4, alpha=1.0 if method == "colored_graph" else alpha_overlay)
    if title:
        each[0].set_title(title)
    return _shown(figure, use_pyplot), axes


def _shade(axes: Axes, x: Array, shades: Array, colours: Any, alpha: float) -> None:
    """The colour of each time behind the lines, half a step to both sides."""
    half = (x[1] - x[0]) / 2 if len(x) > 1 else 0.5
    for at, colour in zip(x, colours.to_rgba(shades), strict=True):
        axes.axvspan(at - half, at + half, facecolor=colour, edgecolor=None, alpha=alpha)


def _coloured_line(axes: Axes, x: Array, y: Array, shades: Array, colours: Any, given: dict[str, Any]) -> None:
    """A line whose pieces have the colours of the times at which they begin."""
    from matplotlib.collections import LineCollection

    points = np.stack([x, y], 1)[:, None]
    pieces: Any = np.concatenate([points[:-1], points[1:]], 1)
    line = LineCollection(pieces, cmap=colours.cmap, norm=colours.norm, **given)
    line.set_array(shades)
    axes.add_collection(line)
    room = 0.1 * (y.max() - y.min() or 1)
    axes.set_ylim(y.min() - room, y.max() + room)


def heat_map(values: Tensor, rows: Sequence[str], columns: Sequence[str], label: str, show: bool) -> Any:
    """A table of numbers on their colours; `(figure, axes)`, or None where it is shown."""
    data = values.detach().cpu().float().numpy()
    figure, axes = _subplots(show, (max(1.3 * data.shape[1], 6.4), max(data.shape[0] / 2.5, 4.8)))
    most = float(np.abs(data).max()) or 1.0
    drawn = axes.imshow(data, cmap=_colours("RdWhGn"), vmin=-most, vmax=most, aspect="auto")
    figure.colorbar(drawn, ax=axes).ax.set_ylabel(label, rotation=-90, va="bottom")
    axes.set_yticks(range(len(rows)), labels=[_shown_token(t) for t in rows])
    _columns(axes, columns)
    for (i, j), value in np.ndenumerate(data):
        dark = abs(value) > 0.6 * most
        axes.text(j, i, f"{value:.4f}", ha="center", va="center", color="white" if dark else "black")
    return _result(figure, axes, show)


def bars(values: Tensor, columns: Sequence[str], label: str, show: bool) -> Any:
    """A bar for each number; `(figure, axes)`, or None where it is shown."""
    data = values.detach().cpu().float().numpy()
    figure, axes = _subplots(show, (max(len(data) / 2, 6.4), max(len(data) / 4, 4.8)))
    axes.bar(range(len(data)), data, color=["#4772b3" if v >= 0 else "#d0365b" for v in data])
    axes.set_ylabel(label)
    _columns(axes, columns)
    return _result(figure, axes, show)


def _columns(axes: Axes, names: Sequence[str]) -> None:
    axes.set_xticks(range(len(names)), labels=[_shown_token(t) for t in names])
    axes.tick_params(top=True, bottom=False, labeltop=True, labelbottom=False)
    for text in axes.get_xticklabels():
        text.set(rotation=-30, ha="right", rotation_mode="anchor")


def _shown_token(token: str) -> str:
    """A token for an axis: in one line, at most 50 characters, and no mathematics between dollar signs."""
    line = repr(token)[1:-1].replace("$", r"\$")
    return line if len(line) <= 50 else f"{line[:49]}…"


def _result(figure: Figure, axes: Axes, show: bool) -> Any:
    return _shown(figure, show) and None if show else (figure, axes)


__all__ = ["ImageVisualizationMethod", "TimeseriesVisualizationMethod", "VisualizeSign"]
__all__ += ["visualize_image_attr", "visualize_image_attr_multiple", "visualize_timeseries_attr"]
