"""The tiny model answers every kind of method, and its answers add up to what its own forward pass says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pellucid
from tiny import TinyTokenizer, tiny

TEXTS = ["the film was great , so good !", "a dull plot", "it is not good"]


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "shapley"])
def test_the_scores_add_up_to_the_models_own_change(method: str) -> None:
    model = tiny()
    for text, e in zip(TEXTS, pellucid.explain(model, TEXTS, method=method), strict=True):
        batch = TinyTokenizer()([text])
        ids, mask = torch.tensor(batch["input_ids"]), torch.tensor(batch["attention_mask"])
        with torch.no_grad():
            masked = torch.where(ids > 4, TinyTokenizer.mask_token_id, ids)
            own, base = (model.model(i, mask)[0, e.target.index].item() for i in (ids, masked))
        assert (e.output, e.baseline_output) == (pytest.approx(own), pytest.approx(base)) and own != base
        tolerance = 1e-2 * abs(own - base) if method == "integrated_gradients" else 1e-9
        assert e.scores.sum() == pytest.approx(own - base, abs=tolerance)


def test_each_token_stands_where_its_word_does() -> None:
    e = pellucid.explain(tiny(), TEXTS[0], method="occlusion")
    found = [e.text[slice(*t.span)] for t in e.tokens if t.span is not None]
    assert found == TEXTS[0].split() and np.all(e.scores[1:-1] != 0)
