"""Values divided by their own size, in the spellings that people write, and values whose slope is infinite at 0."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor

F1 = Callable[[Tensor], Tensor]


def by_size(kind: torch.dtype) -> dict[str, F1]:
    """Functions (rows, 6) → (rows,) of a direction, whose baseline of zeros has none."""
    draw = torch.Generator().manual_seed(0)
    q, w = (torch.randn(6, generator=draw, dtype=torch.float64).to(kind) for _ in range(2))
    dot = lambda t: (t * q).sum(-1)
    norm = lambda t: t.norm(dim=-1, keepdim=True)
    squares = lambda t: t.square().mean(-1, keepdim=True) + 1e-12
    centred = lambda t: t - t.mean(-1, keepdim=True)
    variance = lambda t: centred(t).pow(2).mean(-1, keepdim=True) + 1e-12
    pearson = lambda a, b: (a * b).sum(-1) / (a.square().sum(-1).sqrt() * b.square().sum(-1).sqrt() + 1e-8)
    where_zero = lambda n: torch.where(n == 0, torch.ones_like(n), n)
    where_full = lambda n: n.masked_fill(n == 0, 1.0)
    return {
        "cosine": lambda t: F.cosine_similarity(t, q.expand_as(t), dim=-1),
        "cosine with a large bound": lambda t: F.cosine_similarity(q[None], t, -1, 0.5),
        "cosine of two that move": lambda t: F.cosine_similarity(t, t * w, dim=-1),
        "cosine loss": lambda t: F.cosine_embedding_loss(t, q.expand_as(t), q.new_ones(len(t)), reduction="none"),
        **{f"normalize {p}": lambda t, p=p: dot(F.normalize(t, p, -1)) for p in (0.5, 1, 2, 3, inf)},
        "over norm": lambda t: dot(t / (norm(t) + 1e-8)),
        "over a squared norm": lambda t: dot(t / (norm(t) ** 2 + 1e-12)),
        "over a p-norm": lambda t: dot(t / (torch.linalg.vector_norm(t, 4, dim=-1, keepdim=True) + 1e-8)),
        "over a clamped norm": lambda t: dot(t / norm(t).clamp(min=1e-12)),
        "over the larger of two": lambda t: dot(t / torch.maximum(norm(t), q.new_tensor(1e-12))),
        "over a norm that is not 0": lambda t: dot(t / where_zero(norm(t))),
        "over a filled norm": lambda t: dot(t / where_full(norm(t))),
        "over a distance": lambda t: dot(t / (torch.cdist(t, torch.zeros_like(t)).amax(-1, keepdim=True) + 1e-8)),
        "times an inverse": lambda t: dot(t * (1 / (norm(t) + 1e-8))),
        "times a reciprocal": lambda t: dot(t * (norm(t) + 1e-8).reciprocal()),
        "times a power": lambda t: dot(t * (norm(t) + 1e-8) ** -1),
        "times a product of inverse and gate": lambda t: dot(t * (t.sigmoid() * squares(t).rsqrt())),
        "times a quotient": lambda t: dot(t * (t.sigmoid() / (norm(t) + 1e-8))),
        "times an inverse twice": lambda t: dot((norm(t) + 1e-8).reciprocal() ** 2 * t * norm(t)),
        "through a matrix product": lambda t: dot(torch.diag(1 / (norm(t)[:, 0] + 1e-8)) @ t),
        "through bmm": lambda t: dot(torch.bmm(t[:, :, None], (1 / (norm(t) + 1e-8))[..., None])[..., 0]),
        "through einsum": lambda t: dot(torch.einsum("bd,b->bd", t, 1 / (norm(t)[:, 0] + 1e-8))),
        "of a product": lambda t: dot(t) / (norm(t)[:, 0] + 1e-8),
        "transposed": lambda t: dot((t.T / (t.norm(dim=-1) + 1e-8)).T),
        "spread": lambda t: dot(t * squares(t).rsqrt()[:, 0].unsqueeze(-1).repeat(1, 6)),
        "addcdiv": lambda t: dot(torch.addcdiv(w.expand_as(t), t, norm(t).expand_as(t) + 1e-8)),
        "rms": lambda t: dot(t * squares(t).rsqrt() * w),
        "rms by a power": lambda t: dot(t * squares(t).pow(-0.5)),
        "rms by a root": lambda t: dot(t / squares(t).sqrt()),
        "rms by half a power": lambda t: dot(t / squares(t) ** 0.5),
        "rms by a logarithm": lambda t: dot(t * torch.exp(-0.5 * squares(t).log())),
        "rms by function": lambda t: dot(F.rms_norm(t, (6,), w, 1e-12)),
        "layer norm by hand": lambda t: dot(centred(t) / variance(t).sqrt() * w + w),
        "layer norm": lambda t: dot(F.layer_norm(t, (6,), w, w, 1e-12)),
        "group norm": lambda t: dot(F.group_norm(t, 2, w, w, 1e-12)),
        "instance norm": lambda t: dot(F.instance_norm(t.view(-1, 2, 3), eps=1e-12).view(-1, 6)),
        "z-score": lambda t: dot(centred(t) / (t.std(-1, keepdim=True) + 1e-8)),
        "z-score by var_mean": lambda t: dot(centred(t) * (torch.var_mean(t, -1, keepdim=True)[0] + 1e-12).rsqrt()),
        "pearson": lambda t: pearson(centred(t), centred(q)),
        "over a sum": lambda t: dot(t / (t.sum(-1, keepdim=True) + 1e-8)),
        "over a negative sum": lambda t: dot(t / (-t.sum(-1, keepdim=True) - 1e-8)),
        "shares": lambda t: dot(t.abs() / (t.abs().sum(-1, keepdim=True) + 1e-8)),
        "over the largest": lambda t: dot(t / (t.abs().amax(-1, keepdim=True) + 1e-8)),
        "between extremes": lambda t: dot((t - t.amin(-1, True)) / (t.amax(-1, True) - t.amin(-1, True) + 1e-8)),
        "softmax by hand": lambda t: dot(t.exp() / t.exp().sum(-1, keepdim=True)),
        "sign": lambda t: dot(t / t.abs().clamp_min(1e-8)) + dot(t / torch.hypot(t, q.new_tensor(1e-6))),
        "twice": lambda t: dot(F.normalize(F.normalize(t, dim=-1) * w + t, dim=-1)),
        "then layer norm": lambda t: dot(F.layer_norm(F.normalize(t, dim=-1), (6,), eps=1e-12)),
        "complex": lambda t: torch.view_as_real(
            (lambda z: z / (z.abs() + 1e-8))(torch.view_as_complex(t.view(-1, 3, 2)))
        ).sum((1, 2)),
    }


STEEP: dict[str, F1] = {
    "std": lambda t: t.std(1),
    "std_mean": lambda t: sum(torch.std_mean(t, 1)),  # type: ignore[arg-type, return-value]
    "root of a variance": lambda t: t.var(1).sqrt() + torch.var_mean(t, 1)[0] ** 0.5,
    "root": lambda t: t.sum(1).sqrt() + t.sqrt().sum(1),
    "powers": lambda t: t.sum(1) ** (1 / 3) + t.pow(0.5).sum(1) + t.pow(1.5).sum(1),
    "power by a tensor": lambda t: torch.pow(t, t.new_tensor(0.3)).sum(1) + (t ** (t + 0.5)).sum(1),
    "norms": lambda t: sum(torch.linalg.vector_norm(t, p, dim=1) for p in (0, 0.5, 1, 1.5, 2, 3, inf, -inf)),  # type: ignore[return-value]
    "lp pool": lambda t: F.lp_pool1d(t.mT, 3, 5)[..., 0] + F.lp_pool1d(t.mT, 2, 5)[..., 0],
    "generalised mean": lambda t: t.clamp(min=0).pow(3).mean(1).pow(1 / 3),
    "entropy": lambda t: (torch.special.entr(t) + torch.xlogy(t, t) + torch.xlogy(t, t.roll(1, 1) + 1)).sum(1),
    "kullback-leibler": lambda t: F.kl_div(torch.full_like(t, -1.0), t, reduction="none").sum(1),
    "hypot": lambda t: torch.hypot(t[:, 0], t[:, 1]) + torch.hypot(t, t.new_zeros(1)).sum(1),
    "atan2": lambda t: torch.atan2(t[:, 0], t[:, 1]),
    "arcs": lambda t: (torch.acos((1 - t).clamp(-1, 1)) + torch.asin((1 - t).clamp(-1, 1)) + torch.acosh(1 + t)).sum(1),
    "distances": lambda t: torch.cdist(t.mT, t.mT / 2).sum(1) + torch.cdist(t.mT, t.mT, p=3.0).sum(1),
    "a pair's distance": lambda t: F.pairwise_distance(t.mT, torch.zeros_like(t.mT), eps=0),
    "complex size": lambda t: torch.fft.fft(t, dim=1).abs().sum(1),
    "geometric mean": lambda t: (t[:, 0] * t[:, 1]).sqrt(),
    "signed root": lambda t: (t.sign() * t.abs().sqrt()).sum(1),
    "second-order pooling": lambda t: torch.sqrt(F.relu(t.mT @ t / 5)).sum(1),
    "statistics pooling": lambda t: t.mean(1).tanh() + t.std(1).tanh(),
    "a root of a difference": lambda t: (t.pow(2).mean(1) - t.mean(1) ** 2).clamp(min=0).sqrt(),
    "gated root": lambda t: t.sum(1).sqrt() * t.mean(1).sigmoid() + t.sum(1).sqrt() / (t.sum(1).sqrt() + 1),
}
"""Functions (rows, 5, 6) → (rows, 6) of values that are not negative, with an infinite slope where a channel is 0."""
