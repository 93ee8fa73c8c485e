"""Attention taken as an explanation: raw, rolled out, and times its gradient, at the position that the answer is read
from: the first token of an encoder, the last token before the continuation of a decoder."""

from __future__ import annotations

from typing import Any

import numpy as np

import pellucid


def attention(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    """The last layer's attention probabilities, averaged over the heads (Jain & Wallace 2019, 1902.10186)."""
    e = _asked(model, item, target, "attentions")
    return e.attentions[-1].mean(0)[_reader(model, e)]


def rollout(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    """Attention averaged over heads and multiplied through the layers (Abnar & Zuidema 2020, 2005.00928)."""
    e = _asked(model, item, target, "rollout")
    return e.measures["rollout"][-1][_reader(model, e)]


def attention_x_gradient(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    """Attention × gradient, its positive part averaged over heads, rolled out (Chefer et al. 2021, 2103.15679)."""
    e = _asked(model, item, target, "attention_x_gradient")
    each = e.measures["attention_x_gradient"].clip(min=0).mean(1)
    rolled = np.eye(each.shape[-1])
    for layer in each:
        rolled = rolled + layer @ rolled
    return rolled[_reader(model, e)]


def _asked(model: pellucid.Model, item: Any, target: Any, what: str) -> pellucid.Explanation:
    return pellucid.explain(model, item, "input_x_gradient", target, "zero", [what])


def _reader(model: pellucid.Model, e: pellucid.Explanation) -> int:
    position = e.target.position
    return 0 if model.does.name != "text-generation" or position is None else position - 1
