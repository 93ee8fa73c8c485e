"""Cases of pooling, interpolation, padding and sampling."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .values import D, rand


def resized(a: Tensor, *modes: str, **how: Any) -> Tensor:
    return torch.stack([F.interpolate(a, mode=mode, **how) for mode in modes])


HALF = torch.full((2, 3, 2), 0.5, dtype=D)

CASES: dict[str, Any] = {
    "max_pool1": (lambda a: F.max_pool1d(a, 2) + F.adaptive_max_pool1d(a, 4), [(2, 3, 8)], False),
    "max_pool": (lambda a: F.max_pool2d(a, 2), [(2, 3, 4, 4)], False),
    "max_pool_overlapping": (lambda a: F.max_pool2d(a, 3, 2, 1), [(2, 3, 6, 6)], False),
    "max_pool3": (lambda a: F.max_pool3d(a, 2) + F.adaptive_max_pool3d(a, 2), [(1, 2, 4, 4, 4)], False),
    "adaptive_max_pool": (lambda a: F.adaptive_max_pool2d(a, 3), [(2, 3, 8, 8)], False),
    "fractional_max_pool": (
        lambda a: F.fractional_max_pool2d(a, 2, output_size=3, _random_samples=HALF),
        [(2, 3, 6, 6)],
        False,
    ),
    "fractional_max_pool3": (
        lambda a: F.fractional_max_pool3d(a, 2, output_size=2, _random_samples=torch.full((1, 2, 3), 0.5, dtype=D)),
        [(1, 2, 4, 4, 4)],
        False,
    ),
    "max_unpool": (lambda a: F.max_unpool1d(a, torch.arange(0, 8, 2).repeat(2, 3, 1), 2), [(2, 3, 4)], False),
    "max_unpool3": (
        lambda a: F.max_unpool3d(a, torch.arange(0, 64, 8).view(1, 1, 2, 2, 2), 2),
        [(1, 1, 2, 2, 2)],
        False,
    ),
    "avg_pool1": (lambda a: F.avg_pool1d(a, 2) + F.adaptive_avg_pool1d(a, 4), [(2, 3, 8)], False),
    "avg_pool": (lambda a: F.avg_pool2d(a, 2) + F.adaptive_avg_pool2d(a, 2), [(2, 3, 4, 4)], False),
    "avg_pool3": (lambda a: F.avg_pool3d(a, 2) + F.adaptive_avg_pool3d(a, 2), [(2, 3, 4, 4, 4)], False),
    "lp_pool": (lambda a: F.lp_pool1d(a, 2, 2) + F.lp_pool1d(a.abs(), 3, 2), [(2, 3, 4)], False),
    "resized1": (lambda a: resized(a, "nearest", "linear", "nearest-exact", scale_factor=2), [(2, 3, 4)], False),
    "resized": (
        lambda a: resized(a, "nearest", "nearest-exact", "bilinear", "bicubic", "area", size=(6, 6)),
        [(2, 3, 4, 4)],
        False,
    ),
    "resized_smoothly": (
        lambda a: resized(a, "bilinear", "bicubic", size=(3, 3), antialias=True),
        [(2, 3, 4, 4)],
        False,
    ),
    "resized3": (
        lambda a: resized(a, "nearest", "nearest-exact", "trilinear", scale_factor=2),
        [(1, 2, 3, 3, 3)],
        False,
    ),
    "padded": (
        lambda a: torch.stack([F.pad(a, (1, 1), mode=m) for m in ("reflect", "replicate", "circular", "constant")]),
        [(2, 3, 4)],
        False,
    ),
    "padded2": (
        lambda a: torch.stack([F.pad(a, (1, 1) * 2, mode=m) for m in ("reflect", "replicate", "circular")]),
        [(2, 3, 4, 4)],
        False,
    ),
    "padded3": (
        lambda a: torch.stack([F.pad(a, (1, 1) * 3, mode=m) for m in ("reflect", "replicate")]),
        [(1, 2, 4, 4, 4)],
        False,
    ),
    "shuffled": (
        lambda a: F.pixel_unshuffle(F.pixel_shuffle(a, 2), 2) + F.channel_shuffle(a, 2),
        [(2, 4, 3, 3)],
        False,
    ),
    "folded": (lambda a: F.fold(F.unfold(a, 2), (4, 4), 2), [(2, 3, 4, 4)], False),
    "grid_sample": (lambda a: F.grid_sample(a, rand(2, 3, 3, 2) / 3, align_corners=False), [(2, 3, 4, 4)], False),
    "grid_sample3": (
        lambda a: F.grid_sample(a, rand(2, 3, 3, 3, 3) / 3, align_corners=False),
        [(2, 2, 4, 4, 4)],
        False,
    ),
    "affine_grid": (lambda t: F.affine_grid(t, [2, 1, 3, 3], align_corners=False), [(2, 2, 3)], False),
}
