"""LIME's and SHAP's own text explainers, each with its own way to cut a text and to remove words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import pellucid


def _probabilities(model: pellucid.Model, texts: Sequence[str]) -> np.ndarray:
    found = []
    with torch.no_grad():
        for i in range(0, len(texts), 64):
            batch = model.tokenizer(list(texts[i : i + 64]), return_tensors="pt", padding=True)
            found.append(model.model(**batch).logits.softmax(-1).numpy())
    return np.concatenate(found)


def lime_text(model: pellucid.Model, item: Any, target: Any, samples: int = 500) -> np.ndarray:
    """LIME (Ribeiro et al. 2016, 1602.04938): a word's weight goes to its first token."""
    from lime.lime_text import LimeTextExplainer

    _check(item)
    e = pellucid.explain(model, item, "random")
    label = e.target.index
    explainer = LimeTextExplainer(random_state=0, bow=False, mask_string=model.tokenizer.mask_token)
    n = len(item.split())
    found = explainer.explain_instance(
        item, lambda texts: _probabilities(model, texts), labels=[label], num_features=10 * n, num_samples=samples
    )
    scores, words = np.zeros(len(e.tokens)), found.domain_mapper.indexed_string
    for feature, weight in found.as_map()[label]:
        at = int(words.string_position(feature)[0])
        mine = [i for i, t in enumerate(e.tokens) if not t.special and t.span and t.span[0] <= at < t.span[1]]
        scores[mine] += weight / max(1, len(mine))
    return scores


def shap_partition(model: pellucid.Model, item: Any, target: Any, evaluations: int = 200) -> np.ndarray:
    """SHAP's explainer of texts: Owen values over a hierarchy of the tokens, on the logits."""
    import shap

    _check(item)
    e = pellucid.explain(model, item, "random")

    def f(texts: Any) -> np.ndarray:
        p = _probabilities(model, [str(t) for t in texts]).clip(1e-12, 1)
        return np.log(p)

    found = shap.Explainer(f, shap.maskers.Text(model.tokenizer), silent=True)([item], max_evals=evaluations)
    values = found.values[0][:, e.target.index]
    if len(values) != len(e.tokens):
        raise ValueError(f"SHAP cut {item!r} into {len(values)} tokens, not {len(e.tokens)}")
    return np.asarray(values, dtype=float)


def _check(item: Any) -> None:
    if not isinstance(item, str):
        raise TypeError("the text explainers of LIME and SHAP classify one text")
