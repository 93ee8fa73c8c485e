"""The colours of scores, and the numbers of their scale: for the viewer's script and for all that Python draws."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Theme:
    """The colours of one kind of paper."""

    paper: str
    ink: str
    muted: str
    line: str
    raised: str
    positive: str
    negative: str


LIGHT = Theme("#fdfcfa", "#1d2126", "#656b73", "#e4e1db", "#f4f2ee", positive="#0f62b4", negative="#bf4a0d")
DARK = Theme("#15181c", "#e6e4df", "#979da6", "#2d3239", "#1d2126", positive="#57a5f2", negative="#f08a4b")
FAINT = 0.02  # a strength below this is left without colour
INKS = ("#ffffff", "#101317", "#000000")
READABLE = 4.5  # the contrast that WCAG asks of text; one of the inks has it on any colour
LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
"""From linear-light red, green and blue to the cone responses that OKLab begins with (Ottosson, 2020)."""


def scale() -> dict[str, object]:
    """All of it as plain values, by the names that colour.js has for it."""
    themes = {"light": asdict(LIGHT), "dark": asdict(DARK)}
    back = np.linalg.inv(LMS).tolist()
    return {"THEMES": themes, "FAINT": FAINT, "INKS": INKS, "READABLE": READABLE, "LMS": LMS.tolist(), "RGB": back}
