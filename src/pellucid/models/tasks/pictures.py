"""Images as users have them: of Pillow's, arrays, and paths of files."""

from __future__ import annotations

from os import PathLike, fspath
from typing import Protocol

import numpy as np

from ...errors import InputError, MissingExtra, quoted
from ..text.inputs import Value


class Picture(Protocol):
    """An image of Pillow's, as far as it is used here."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    def convert(self, mode: str, /) -> Picture: ...


Image = Picture | np.ndarray
"""A PIL image, or an array (height, width, channels)."""


def opened(item: Value, where: str) -> tuple[Image, str]:
    """The image, and what it is called. where: its place in the input, for an error. Raises InputError,
    MissingExtra."""
    if isinstance(item, (str, PathLike)):
        try:
            from PIL import Image, UnidentifiedImageError
        except ImportError as error:
            raise MissingExtra("Reading an image file needs Pillow: pip install 'pellucid[images]'") from error
        try:
            with Image.open(item) as file:
                return file.convert("RGB"), fspath(item)
        except (OSError, UnidentifiedImageError) as error:
            raise InputError(
                f"Could not read {where} ({quoted(fspath(item), 80)}) as an image: {error}. Expected a path of one."
            ) from error
    if isinstance(item, np.ndarray) and item.ndim in (2, 3) and item.size:
        return item if item.ndim == 3 else np.stack([item] * 3, -1), f"image {item.shape[1]}×{item.shape[0]}"
    if not isinstance(item, np.ndarray) and hasattr(item, "convert"):  # a PIL image
        picture = item.convert("RGB")
        return picture, f"image {picture.width}×{picture.height}"
    what = f"an array {item.shape}" if isinstance(item, np.ndarray) else quoted(item, 80)
    raise InputError(
        f"Found {what} as {where}; expected an image: a PIL image, a NumPy array (height, width, channels), or the "
        "path of an image file."
    )
