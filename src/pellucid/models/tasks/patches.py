"""The pixels of images as the patches that a model cuts them into, and back.

A processor of images and texts returns pixels in one of two layouts: images (…, channels, height, width), where a
model may have several of them for one image of the user's, called tiles; or patches (patches, numbers), cut already.
Either is laid out here as (patches, numbers), an exchange of places that loses nothing:

    patch k = the pixels of all channels in rows [r·h, (r + 1)·h) and columns [c·w, (c + 1)·w) of its tile

so that the score of a patch is the sum of those of its pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ...tokens import Token

MOST = 32
"""A side of a tile is cut into so many patches at most; where the model's own are finer, each is several of these."""


@dataclass(frozen=True)
class Layout:
    """How the pixels of one row are cut. shape: as the processor returns them. size: height and width of a patch; None
    where they come cut."""

    shape: tuple[int, ...]
    size: tuple[int, int] | None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches in a tile; (0, 0) where they come cut."""
        if self.size is None:
            return 0, 0
        return math.ceil(self.shape[-2] / self.size[0]), math.ceil(self.shape[-1] / self.size[1])

    @property
    def tiles(self) -> int:
        """How many tiles there are."""
        return math.prod(self.shape[:-3])

    def __len__(self) -> int:
        """How many patches there are."""
        return math.prod(self.shape[:-1]) if self.size is None else self.tiles * math.prod(self.grid)

    def cut(self, pixels: Tensor) -> Tensor:
        """Pixels (rows, …) as patches (rows, patches, numbers); beyond the edge of a tile they are 0."""
        if self.size is None:
            return pixels.reshape(len(pixels), len(self), self.shape[-1])
        (h, w), (rows, columns) = self.size, self.grid
        below, right = rows * h - self.shape[-2], columns * w - self.shape[-1]
        tiles = pixels.reshape(-1, *self.shape[-3:])
        tiles = pad(tiles, (0, right, 0, below)) if below or right else tiles
        # (rows · tiles, channels, grid rows, h, grid columns, w) → (…, grid rows, grid columns, channels, h, w)
        found = tiles.unflatten(3, (columns, w)).unflatten(2, (rows, h)).permute(0, 2, 4, 1, 3, 5)
        return found.reshape(len(pixels), len(self), -1)

    def joined(self, patches: Tensor) -> Tensor:
        """Patches (rows, patches, numbers) as pixels (rows, …): what `cut` has cut."""
        if self.size is None:
            return patches.reshape(len(patches), *self.shape)
        (h, w), (rows, columns), channels = self.size, self.grid, self.shape[-3]
        found = patches.reshape(-1, rows, columns, channels, h, w).permute(0, 3, 1, 4, 2, 5)
        whole = found.reshape(-1, channels, rows * h, columns * w)
        return whole[..., : self.shape[-2], : self.shape[-1]].reshape(len(patches), *self.shape)


def layout_of(net: nn.Module, shape: torch.Size) -> Layout:
    """How a network cuts pixels of this shape: by the stride of its first convolution."""
    if len(shape) < 4:
        return Layout(tuple(shape), None)
    first = next((m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d))), None)
    stride = (1, 1) if first is None else first.stride[-2:]
    h, w = (s * math.ceil(side / s / MOST) for s, side in zip(stride, shape[-2:], strict=True))
    return Layout(tuple(shape), (h, w))


def patch_tokens(layout: Layout, counts: Sequence[int], grids: Sequence[Sequence[int]], merged: int) -> list[Token]:
    """A token for each patch, "image: row,column", or "image 2, tile 1: row,column" where there are several. Its
    segment is the number of its image.

    counts: how many patches each image has. grids: of patches that come cut the (time, rows, columns) of each image,
    which stand in squares of merged × merged; a patch whose place is not known is called by its number.
    """
    found: list[Token] = []
    for image, count in enumerate(counts):
        names = _names(layout, count, grids[image] if image < len(grids) else (), merged)
        names = _told_apart(names, f"image {image + 1}" if len(counts) > 1 else "image")
        found += [Token(name, PRESENT, None, False, len(found) + k, image) for k, name in enumerate(names)]
    return found


PRESENT = -1
"""The id of a patch that is the image's own, and of no token; any other stands for that of an image without content."""


def _names(layout: Layout, count: int, grid: Sequence[int], merged: int) -> list[list[str]]:
    """The names of the patches of each tile of one image."""
    if layout.size is not None:
        rows, columns = layout.grid
        return [[f"{r},{c}" for r in range(rows) for c in range(columns)]] * (count // (rows * columns))
    if len(grid) == 3 and math.prod(grid) == count and grid[0] == 1:
        _, rows, columns = grid
        places = torch.arange(count).view(rows // merged, merged, columns // merged, merged).permute(0, 2, 1, 3)
        return [[f"{p // columns},{p % columns}" for p in places.flatten().tolist()]]
    return [[str(k) for k in range(count)]]


def _told_apart(tiles: Sequence[Sequence[str]], image: str) -> list[str]:
    """The names of the patches of all tiles, with the image in front, and the tile where there are several."""
    found: list[str] = []
    for number, names in enumerate(tiles, 1):
        of = f"{image}, tile {number}" if len(tiles) > 1 else image
        found += [f"{of}: {name}" for name in names]
    return found
