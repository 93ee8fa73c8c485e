"""Small networks drawn at random: how they read ids, what they make of them, and what may go wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from families import WORDS, tokenizer

TOKENIZER = tokenizer()
VOCABULARY = len(TOKENIZER)
_PERMUTED = torch.randperm(VOCABULARY, generator=torch.Generator().manual_seed(0))

CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "as they are": lambda ids: ids,
    "a copy": lambda ids: ids.clone(),
    "shifted": lambda ids: ids + 1,
    "clamped above": lambda ids: ids.clamp(max=12),
    "clamped below": lambda ids: ids.clamp(min=6),
    "turned round": lambda ids: ids.flip(1),
    "moved on": lambda ids: ids.roll(1, 1),
    "moved right": lambda ids: F.pad(ids[:, :-1], (1, 0), value=2),
    "remapped": lambda ids: _PERMUTED[ids],
    "hashed": lambda ids: ids * 7 % 11,
    "two at once": lambda ids: (ids + 3 * ids.roll(1, 1)) % VOCABULARY,
    "without the first": lambda ids: ids[:, 1:],
    "doubled": lambda ids: ids.repeat_interleave(2, 1),
    "tokens first": lambda ids: ids.mT,
    "pieces of ids": lambda ids: torch.stack([ids // 8, ids % 8], 2).flatten(1),
    "of known words": lambda ids: ids.where(ids > 4, torch.ones_like(ids)),
}
POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda h: h.mean(1),
    "maximum": lambda h: h.amax(1),
    "first": lambda h: h[:, 0],
    "last": lambda h: h[:, -1],
    "attention": lambda h: (torch.softmax(h @ h.mT, -1) @ h).mean(1),
    "statistics": lambda h: torch.cat([h.mean(1), h.relu().std(1)], 1)[:, : h.shape[2]],
    "running": lambda h: h.tanh().cumsum(1).tanh().mean(1),
}
NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda h: h,
    "layer": lambda h: F.layer_norm(h, h.shape[-1:]),
    "length": lambda h: F.normalize(h, dim=-1),
    "root mean square": lambda h: h * (h.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt(),
    "gate": lambda h: h * torch.sigmoid(h),
    "cut": lambda h: h + h.sin().detach(),
    "noise": lambda h: h + 0.1 * torch.randn_like(h),
    "straight through": lambda h: h + (h.round() - h).detach(),
}
BESIDE: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "a one-hot product": lambda net, ids: (F.one_hot(ids, VOCABULARY).to(net.table.weight) @ net.beside).mean(1),
    "a look-up by hand": lambda net, ids: net.beside[ids].mean(1),
    "a functional look-up": lambda net, ids: F.embedding(ids, net.beside).amax(1),
    "a comparison": lambda net, ids: (ids == 4).to(net.beside).mean(1, keepdim=True) * net.beside[0],
    "a bag": lambda net, ids: net.bag(ids),
    "its length": lambda net, ids: (ids != 0).sum(1, keepdim=True) * net.beside[1],
    "its largest": lambda net, ids: net.beside[ids.amax(1)],
}


class Drawn(nn.Module):
    """A classifier of token ids, in every detail drawn with a seed."""

    def __init__(self, seed: int):
        super().__init__()
        draw = np.random.default_rng(seed)
        pick = lambda table: str(draw.choice(list(table)))
        torch.manual_seed(seed)
        self.table, self.other = nn.Embedding(VOCABULARY + 2, 8), nn.Embedding(VOCABULARY + 2, 6)
        self.bag = nn.EmbeddingBag(VOCABULARY, 8, mode=str(draw.choice(["mean", "sum"])))
        self.beside = nn.Parameter(torch.randn(VOCABULARY, 8))
        self.reads = [pick(CHANGES) for _ in range(int(draw.choice([1, 1, 2, 3])))]
        self.second = pick(CHANGES) if draw.random() < 0.25 else None
        self.norms = [pick(NORMS) if draw.random() < 0.5 else "none" for _ in self.reads]
        self.pools = [pick(POOLS) for _ in self.reads]
        self.side = pick(BESIDE) if draw.random() < 0.3 else None
        self.maps = nn.ModuleList([nn.Linear(8, 8) for _ in self.reads])
        self.out, self.more = nn.Linear(8, 3), nn.Linear(6, 8)
        self.double().eval()

    def forward(self, input_ids: Tensor) -> Tensor:
        h = torch.zeros(len(input_ids), 8, dtype=self.beside.dtype)
        for change, norm, pool, linear in zip(self.reads, self.norms, self.pools, self.maps, strict=True):
            e = self.table(CHANGES[change](input_ids))
            e = e.transpose(0, 1) if change == "tokens first" else e
            h = h + POOLS[pool](NORMS[norm](linear(e)))
        if self.second is not None:
            e = self.other(CHANGES[self.second](input_ids))
            h = h + self.more((e.transpose(0, 1) if self.second == "tokens first" else e).tanh().mean(1))
        if self.side is not None:
            h = h + BESIDE[self.side](self, input_ids)
        return self.out(h.tanh())

    def __repr__(self) -> str:
        return f"reads {self.reads}, norms {self.norms}, pools {self.pools}, second {self.second}, side {self.side}"

    @property
    def draws(self) -> bool:
        return "noise" in self.norms

    @property
    def cut(self) -> bool:
        return bool({"cut", "straight through"} & set(self.norms))


def text(seed: int) -> str:
    draw = np.random.default_rng([seed, 1])
    return " ".join(draw.choice(WORDS, int(draw.integers(2, 8))))
