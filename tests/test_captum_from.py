"""docs/from.md: Captum's call and this project's, side by side on the bundled classifier and a small network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import pellucid

TEXT = "a fine and funny film"


@pytest.fixture(scope="module")
def peer() -> Any:
    return pytest.importorskip("captum.attr")


def product(x: Tensor) -> Tensor:
    return torch.tanh(x[:, 0] * x[:, 1] + x[:, 2])


@pytest.fixture(scope="module")
def parts() -> tuple[pellucid.Model, Any, Tensor, Tensor]:
    """The bundled model, its logits by ids, a text's ids, and these ids with the mask between the special tokens."""
    model = pellucid.load(device="cpu")
    ids = model.tokenizer(TEXT, return_tensors="pt")["input_ids"]
    ids0 = ids.clone()
    ids0[0, 1:-1] = model.tokenizer.mask_token_id
    return model, lambda i: model.model(input_ids=i).logits, ids, ids0


def test_integrated_gradients_of_a_text(peer: Any, parts: Any) -> None:
    model, logits, ids, ids0 = parts
    expected = peer.LayerIntegratedGradients(logits, model.embedding).attribute(ids, ids0, target=1, n_steps=50)
    found = pellucid.explain(model, TEXT, method="integrated_gradients", target=1, n_steps=50, rule="gauss_legendre")
    wanted = expected.sum(-1)[0].numpy()
    np.testing.assert_allclose(found.scores, wanted, atol=1e-5 * np.abs(wanted).max() + 1e-6)


def test_feature_ablation_of_a_text(peer: Any, parts: Any) -> None:
    model, logits, ids, ids0 = parts
    expected = peer.FeatureAblation(logits).attribute(ids, ids0, target=1)[0].numpy()
    found = pellucid.explain(model, TEXT, method="feature_ablation", target=1)
    np.testing.assert_allclose(found.scores[1:-1], expected[1:-1], atol=1e-5)


def test_shapley_values_of_a_function(peer: Any) -> None:
    x = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.3, -0.2]])
    expected = peer.ShapleyValues(product).attribute(x)
    found = pellucid.attribute(product, x, method="shapley")
    torch.testing.assert_close(found.values, expected, atol=1e-5, rtol=1e-5)
