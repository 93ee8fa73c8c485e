"""Cascading randomisation: does an explanation depend on what the model has learned (Adebayo et al. 2018, 1810.03292)?

The weights are shuffled from the output towards the embeddings, part after part, and each time the same classes are
explained again. A method whose ranking stays the same after that shows the text and not the model. It is a check of
sanity, and no ranking of methods.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from .._explain import explain
from ..errors import InputError, UnsupportedModel
from ..explanation import Explanation
from ..metrics.bootstrap import Interval, draws, interval
from ..metrics.ranks import rank_correlation
from ..models import Model
from ..models.inside.layers import stack
from ..models.placement import is_offloaded


@dataclass(frozen=True)
class Shuffled:
    """One step. part: whose weights were shuffled, besides those of the steps before. similarity: Spearman's
    correlation of the words' scores with those of the model as it was, over the texts; near 0 is what a sane method
    gives at the end."""

    part: str
    similarity: Interval


def cascading_randomisation(
    model: Model, texts: Sequence[Any], method: str = "deeplift", *, seed: int = 0, **options: Any
) -> tuple[Shuffled, ...]:
    """The similarity of explanations with those of the model as it was, while its weights are shuffled.

    model: a classifier. It stays as it is: a copy is shuffled, each weight tensor among its own elements.
    texts, method, options: as `explain`; the class is the one that the model predicts. seed: of the shuffling.
    Returns a Shuffled for what stands after the layers, for each layer, the last one first, and for the rest.
    Raises InputError where a text has no single class, UnsupportedModel where the model has no layers or its weights
    are offloaded, and what `explain` raises.
    """
    if is_offloaded(model.model):
        raise UnsupportedModel(
            "Found offloaded weights, which cannot be shuffled; expected a model that is in memory. Load it without "
            "device_map."
        )
    answers = explain(model, list(texts), method=method, **options)
    own = [e for e in answers if isinstance(e, Explanation)]
    classes = [e.target.index if e.target is not None else None for e in own]
    if len(own) < len(answers) or not all(isinstance(c, int) for c in classes):
        raise InputError("Found an answer about no single class; expected the texts of a classifier.")
    copied = Model(copy.deepcopy(model.model), model.tokenizer, model.does.name)
    drawn, found = draws(len(own), seed), []
    generator = torch.Generator().manual_seed(seed)
    for part, tensors in _parts(copied):
        for t in tensors:
            order = torch.randperm(t.numel(), generator=generator)
            t.data.copy_(t.data.flatten()[order.to(t.device)].view_as(t))
        again: dict[int, Any] = {}
        for c in dict.fromkeys(classes):
            mine = [i for i, other in enumerate(classes) if other == c]
            said = explain(copied, [texts[i] for i in mine], method=method, target=c, **options)
            again |= dict(zip(mine, said, strict=True))
        each = [rank_correlation(_words(e), _words(again[i])) for i, e in enumerate(own)]
        found.append(Shuffled(part, interval(np.array(each), drawn)))
    return tuple(found)


def _words(e: Explanation) -> np.ndarray:
    return np.array([w.score for w in e.words() if not w.special])


def _parts(model: Model) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """What is shuffled together, from the output to the embeddings."""
    layers = stack(model.pipeline)
    of_layers = {id(p) for layer in layers for p in layer.parameters()}
    embedding = {id(p) for p in model.embedding.parameters()}
    names = list(model.model.named_parameters())
    first = next(i for i, (_, p) in enumerate(names) if id(p) in of_layers)
    after = [p for i, (_, p) in enumerate(names) if i > first and id(p) not in of_layers | embedding]
    if after:
        yield "after the layers", after
    for k in range(len(layers) - 1, -1, -1):
        yield f"layer {k}", list(layers[k].parameters())
    yield "before the layers", [p for i, (_, p) in enumerate(names) if id(p) in embedding or i < first]
