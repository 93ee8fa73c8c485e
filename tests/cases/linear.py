"""Cases of linear operations: sums, changes of shape, selections by fixed indices, Fourier transforms."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .values import FAR, INDEX, MASK, B, D, W, rand


def blank() -> Tensor:
    return torch.zeros(4, 6, dtype=D)


def in_place_on_views(a: Tensor) -> Tensor:
    y = a * 1
    y[:, 0] = a[:, 1]
    y[:, 1:3].mul_(2)
    y[:, 2:] /= 3
    y[0].add_(a[1], alpha=2)
    y[:, 4:].masked_fill_(MASK[:, 4:], 1.0)
    return y


TWO = torch.tensor([0, 1])

CASES: dict[str, Any] = {
    "copies_of_views": (lambda a: torch.diag(a[:, :4]) + torch.ops.aten.squeeze_copy(a)[:, 0], [(4, 6)], False),
    "filled": (
        lambda a: a.clone().fill_(3.0) + (2 * a).zero_() + (2 * a).fill_(a[0, 0]) + torch.fill(a, 2.0) + a,
        [(4, 6)],
        False,
    ),
    "add": (lambda a, b: a + 2 * b - a.neg(), [(4, 6), (6,)], False),
    "sub": (lambda a: 3 - a - 1, [(4, 6)], False),
    "sum_mean": (lambda a: a.sum(0) + a.mean(0) + a.mean(), [(4, 6)], False),
    "shapes": (
        lambda a: a.view(2, 2, 6).transpose(0, 1).reshape(4, 6).T.permute(1, 0).unsqueeze(0).squeeze(0),
        [(4, 6)],
        False,
    ),
    "expand": (lambda a: a[:, None].expand(4, 3, 6).clone(), [(4, 6)], False),
    "pieces": (
        lambda a: torch.cat(
            [a[1:3], a[:, 2:3].repeat(1, 6), torch.stack([*a.unbind(0)]), *a.split(2), *a.split([1, 3])]
        ),
        [(4, 6)],
        False,
    ),
    "chosen": (lambda a: a.gather(1, INDEX) + a[:, INDEX[0]] + a.index_select(1, INDEX[0]) + a[0], [(4, 6)], False),
    "masked": (lambda a: a.masked_fill(MASK, 1.0) + torch.where(MASK, a, 2 * a) + a.tril() + a.triu(), [(4, 6)], False),
    "masked_select": (lambda a: a.masked_select(MASK).sum() + blank().masked_scatter(MASK, a), [(4, 6)], False),
    "moved": (lambda a: a.roll(1, 1) + a.flip(0) + F.pad(a, (1, 1))[:, :6] + a.cumsum(1), [(4, 6)], False),
    "rearranged": (
        lambda a: (
            torch.diag_embed(a).diagonal(0, -2, -1)
            + torch.block_diag(a, a)[:4, :6]
            + a.rot90().rot90()
            + a.unfold(1, 2, 2).reshape(4, 6)
            + a.trace()
            + a.repeat_interleave(2, 0)[::2]
        ),
        [(4, 6)],
        False,
    ),
    "scattered": (
        lambda a: (
            blank().scatter(1, INDEX[:, :2], a[:, :2])
            + blank().scatter_add(1, INDEX[:, :2], a[:, :2])
            + blank().index_add(1, TWO, a[:, :2])
            + blank().scatter_reduce(1, INDEX[:, :2], a[:, :2], "sum")
            + blank().scatter_reduce(1, INDEX[:, :2], a[:, :2], "mean")
        ),
        [(4, 6)],
        False,
    ),
    "put": (
        lambda a: (
            blank().index_put((TWO,), a[:2])
            + blank().index_copy(0, TWO, a[:2])
            + a.index_fill(0, TWO, 1.0)
            + a.put(TWO, torch.zeros(2, dtype=D))
            + a.take(TWO).sum()
        ),
        [(4, 6)],
        False,
    ),
    "differences": (
        lambda a: a.diff(dim=1)[:, :4] + torch.trapezoid(a, dim=1)[:, None] + a.cov()[:, :4],
        [(4, 6)],
        False,
    ),
    "not_nan": (lambda a: a.nansum(1) + a.nanmean(1) + a.nan_to_num().sum(), [(4, 6)], False),
    "lerp": (lambda a, b: torch.lerp(a, b, 0.3) + torch.lerp(a, b, B), [(4, 6), (4, 6)], False),
    "where": (lambda a, b: torch.where(MASK, a, b), [(4, 6), (4, 6)], False),
    "in_place_on_views": (in_place_on_views, [(4, 6)], False),
    "linear": (lambda a: F.linear(a, W, B), [(4, 6)], False),
    "linear3": (lambda a: F.linear(a, W, B), [(2, 3, 6)], False),
    "ordered": (
        lambda a: (
            (a + FAR).sort(1).values.sum(1)
            + (a + FAR).topk(2, 1).values.sum(1)
            + (a + FAR).median(1).values
            + (a + FAR).nanmedian(1).values
            + (a + FAR).kthvalue(2, 1).values
            + (a + FAR).mode(1).values
            + (a + FAR).quantile(0.3, 1)
            + (a + FAR)[0].median()
            + (a + FAR)[1].nanmedian()
        ),
        [(4, 6)],
        False,
    ),
    "embedding": (lambda t: F.embedding(torch.tensor([[0, 1, 1], [3, 4, 5]]), t), [(6, 4)], False),
    "embedding_bag_mean": (
        lambda t: F.embedding_bag(torch.tensor([[0, 1, 2], [3, 4, 5]]), t, mode="mean"),
        [(6, 4)],
        False,
    ),
    "embedding_bag_weights": (
        lambda w: F.embedding_bag(torch.tensor([[0, 1, 2], [3, 4, 5]]), W, per_sample_weights=w, mode="sum"),
        [(2, 3)],
        False,
    ),
    "fourier": (
        lambda a: (
            torch.view_as_real(torch.fft.fft2(a)).sum(-1)
            + torch.fft.irfft(torch.fft.rfft(a) * torch.complex(B[:4], B[1:5]))
            + torch.fft.ifft(torch.fft.fft(a).conj() * rand(6)).real
            + torch.fft.fft(a).imag
        ),
        [(4, 6)],
        False,
    ),
    "complex_views": (
        lambda a: torch.view_as_real(torch.conj_physical(torch.view_as_complex(a.view(4, 3, 2)))),
        [(4, 6)],
        False,
    ),
    "negative_view": (lambda a: torch.fft.fft(a).conj().imag * 2, [(4, 6)], False),
    "scattered_slices": (
        lambda a: (
            blank().slice_scatter(a[:, :2], 1, 0, 2)
            + blank().select_scatter(a[0], 0, 1)
            + blank().diagonal_scatter(a[:, 0])
            + blank().as_strided_scatter(a[:, :2], (4, 2), (6, 1))
        ),
        [(4, 6)],
        False,
    ),
    "copied": (lambda a: blank().copy_(a * 2), [(4, 6)], False),
    "packed": (
        lambda a: nn.utils.rnn.pack_padded_sequence(a[:, :, None], torch.tensor([6, 4, 3, 1]), batch_first=True).data,
        [(4, 6)],
        False,
    ),
    "degrees": (
        lambda a: torch.cat([torch.rad2deg(a), *torch.deg2rad(a).chunk(2)]) + torch.cat(a.unsafe_chunk(2))[0],
        [(4, 6)],
        False,
    ),
    "unsafe_split": (lambda a: torch.cat(torch.unsafe_split_with_sizes(a, [1, 3])), [(4, 6)], False),
    "spectrogram": (
        lambda a: torch.stft(a, 4, return_complex=True, window=torch.ones(4, dtype=D)).real,
        [(2, 12)],
        False,
    ),
}
