"""The colour scale: blue raises the output, vermilion lowers it, and 0 has no colour.

The strength of a score is |score| / peak, at most 1. Its colour runs from the paper to the hue along strength^0.75 in
OKLab (Ottosson, 2020), where equal steps look equal. Blue and vermilion stay apart in every common colour blindness
(Okabe and Ito, 2008). Scores are scaled here, to be drawn, and nowhere else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..viewer.palette import DARK, FAINT, INKS, LIGHT, LMS, READABLE, Theme

__all__ = ["DARK", "FAINT", "INKS", "LIGHT", "READABLE", "TERMINAL", "Theme"]

TERMINAL = Theme(  # a paper that is neither light nor dark: the terminal's own is not known
    "#62676e", "#ffffff", "#808080", "#808080", "#808080", positive="#1268cc", negative="#bd4a0c"
)


def strength(score: float, peak: float) -> float:
    """The score in units of the largest, within −1 … 1; 0 where all scores are 0."""
    return max(-1.0, min(1.0, score / peak)) if peak else 0.0


def background(signed_strength: float, theme: Theme) -> str:
    """The colour of a strength in −1 … 1, as #rrggbb."""
    end = theme.positive if signed_strength >= 0 else theme.negative
    t = min(1.0, abs(signed_strength)) ** 0.75
    start, stop = np.cbrt(LMS @ _linear(theme.paper)), np.cbrt(LMS @ _linear(end))
    return _hex(np.linalg.solve(LMS, ((1 - t) * start + t * stop) ** 3))


def ink_on(colour: str) -> str:
    """The first ink that can be read on this colour."""
    return next(ink for ink in INKS if contrast(ink, colour) >= READABLE)


def contrast(a: str, b: str) -> float:
    """The contrast ratio of WCAG 2: 1 for none, 21 for black on white."""
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    return float(np.array([0.2126, 0.7152, 0.0722]) @ _linear(colour))


def _linear(colour: str) -> NDArray[np.float64]:
    """#rrggbb → linear-light red, green, blue."""
    s = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)


def _hex(linear: NDArray[np.float64]) -> str:
    c = np.clip(linear, 0, 1)
    s = np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * v):02x}" for v in s)
