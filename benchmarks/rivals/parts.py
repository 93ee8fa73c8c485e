"""DeepLIFT in two parts, a prototype: the word that counts most, and all others.

The word is that with the highest score of DeepLIFT. On the way from the input to the baseline it is removed first on
one route, and last on the other, and the walks of both routes are averaged: the Shapley values of two players, each
shared among the player's tokens by DeepLIFT. The scores add up to the change in the output. Four forward passes (the
input, without the word, with the word alone, and the baseline), and five walks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import pellucid
from pellucid.methods.deeplift import deeplift
from pellucid.models.text.groups import grouped

from .asked import asked


def leading_apart(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    with asked(model, item, target) as given:
        words = np.array(grouped("word", model.encode([item])[0]))
        walked = lambda a, b: _walked(given.problem, a, b)
        scores = given.of_tokens(walked(given.x, given.x0))
        leading = np.bincount(words[words >= 0], scores[words >= 0]).argmax()
        place = torch.zeros_like(given.own)
        place[given.own] = torch.from_numpy(words == leading)
        without, alone = (torch.where(keep[None, :, None], given.x, given.x0) for keep in (~place, place))
        routes = [walked(given.x, way) + walked(way, given.x0) for way in (without, alone)]
        return given.of_tokens(sum(routes) / 2)


def _walked(problem: Any, x: Tensor, x0: Tensor) -> Tensor:
    (found,) = deeplift(replace(problem, x=(x,), x0=(x0,)))
    return found.values if isinstance(found.values, Tensor) else found.values[0]
