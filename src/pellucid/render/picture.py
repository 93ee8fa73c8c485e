"""A matplotlib Figure that a notebook shows as a picture, whether or not pyplot was ever imported."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure

SCREEN, SHARP = 96, 2
"""Pixels of an inch on a screen, and how many times as many the picture has, for screens that have more."""


class Picture(Figure):
    """As Figure. Jupyter has no form for a Figure until pyplot has made one known."""

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        out = io.BytesIO()
        self.savefig(out, format="png", dpi=SHARP * SCREEN)
        width, height = (round(SCREEN * inches) for inches in self.get_size_inches())
        return out.getvalue(), {"width": width, "height": height}
