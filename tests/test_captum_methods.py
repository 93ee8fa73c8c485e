"""The methods that Captum's names brought to everyone: each against a formula, or against Captum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import pellucid
from pellucid.methods.gradient import NO_RELU


def weights() -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return tuple(torch.randn(*size, generator=g, dtype=torch.float64) for size in [(5, 3), (4, 5), (2, 4)])  # type: ignore[return-value]


def functional(x: Tensor) -> Tensor:
    """A network whose ReLUs are functions, which hooks on modules do not see."""
    a, b, c = weights()
    return F.relu(F.relu(x @ a.T) @ b.T) @ c.T


@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution"])
def test_changed_relus_follow_their_formula(method: str) -> None:
    a, b, c = weights()
    x = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    h = x @ a.T
    k = h.relu() @ b.T
    gate = (lambda z: (z > 0).double()) if method == "guided_backprop" else torch.ones_like
    g = (c[1] * torch.ones_like(k)).clamp(min=0) * gate(k)
    expected = ((g @ b).clamp(min=0) * gate(h)) @ a
    found = pellucid.attribute(functional, x, method=method, target=1)
    torch.testing.assert_close(found.values, expected)
    assert found.reduction == "norm" and not found.notes


def test_a_function_without_relus_is_noted() -> None:
    x = torch.tensor([[1.0, -2.0]])
    found = pellucid.attribute(lambda x: (x**2).sum(-1), x, method="guided_backprop")
    assert torch.equal(found.values, 2 * x) and found.notes == (NO_RELU,)  # pyright: ignore[reportArgumentType]


def test_internal_influence_is_the_mean_gradient() -> None:
    """∫₀¹ 2·t·x dt = x for Σx², without the factor x − x0."""
    x = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    found = pellucid.attribute(lambda x: (x**2).sum(-1), x, method="internal_influence", n_steps=3)
    torch.testing.assert_close(found.values, x)
    with pytest.raises(pellucid.errors.InputError, match="internal_influence got n_steps=0"):
        pellucid.attribute(lambda x: (x**2).sum(-1), x, method="internal_influence", n_steps=0)


def test_the_influence_of_layers_agrees_with_captum() -> None:
    peer = pytest.importorskip("captum.attr")
    model = pellucid.load(device="cpu")
    net, batch = model.model, model.tokenizer("a fine film", return_tensors="pt")
    found = pellucid.explain(model, "a fine film", method="internal_influence", n_steps=8, detail="layers", target=1)
    layer = net.base_model.encoder.layer[0]
    embed = net.get_input_embeddings()
    x = embed(batch["input_ids"]).detach()
    ids = batch["input_ids"].clone()
    ids[0, 1:-1] = model.tokenizer.mask_token_id
    run = lambda e: net(inputs_embeds=e, attention_mask=batch["attention_mask"].expand(len(e), -1)).logits
    expected = peer.InternalInfluence(run, layer).attribute(x, embed(ids).detach(), target=1, n_steps=8)
    expected = expected[0] if isinstance(expected, tuple) else expected
    assert found.layers is not None
    np.testing.assert_allclose(found.layers[0], expected.sum(-1)[0].numpy(), atol=1e-4)


def test_the_influence_of_a_token_is_a_norm_since_its_elements_cancel_before_a_layer_norm() -> None:
    model, text = pellucid.load(device="cpu"), "a fine film"
    found = pellucid.explain(
        model, ["a dull plot and no music", text], method="internal_influence", n_steps=8, target=1
    )
    ids = model.tokenizer(text, return_tensors="pt")["input_ids"]
    ids0 = ids.clone()
    ids0[0, 1:-1] = model.tokenizer.mask_token_id
    net, embed = model.model, model.model.get_input_embeddings()
    nodes, weights = np.polynomial.legendre.leggauss(8)
    total = torch.zeros_like(embed(ids))
    for t, w in zip((nodes + 1) / 2, weights / 2, strict=True):
        x = (embed(ids0) + t * (embed(ids) - embed(ids0))).detach().requires_grad_()
        total += w * torch.autograd.grad(net(inputs_embeds=x).logits[0, 1], x)[0]
    np.testing.assert_allclose(found[1].scores, total[0].norm(dim=-1).detach().numpy(), rtol=1e-4)
    assert float(total.sum(-1).abs().max()) < 1e-3 * float(total[0].norm(dim=-1).max())


def test_feature_permutation_is_the_mean_over_all_rows() -> None:
    f = lambda x: x[:, 0] * x[:, 1] + x[:, 2]
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros_like(x)
    for i in range(3):
        for other in x:
            changed = x.clone()
            changed[:, i] = other[i]
            expected[:, i] += (f(x) - f(changed)) / 4
    found = pellucid.attribute(f, x, x, method="feature_permutation")
    torch.testing.assert_close(found.values, expected)
    assert found.row_passes is not None
    assert set(found.row_passes) == {2 + 4 * (1 + 3)}  # x twice; for each of 4 baselines itself and 3 features


@pytest.mark.parametrize("moment", ["mean", "square", "variance"])
def test_moments_of_noise(moment: str) -> None:
    """f = Σx³/3 has the gradient (x + ε)², of whose samples the moment is taken."""
    x, how = torch.tensor([[1.0, 2.0]]), {"n_samples": 40, "noise": 0.1, "seed": 3}
    ones = [
        pellucid.attribute(lambda x: (x**3).sum(-1) / 3, x, method="smoothgrad", moment=m, **how).values
        for m in ("mean", "square", "variance")
    ]
    found = dict(zip(("mean", "square", "variance"), ones, strict=True))
    torch.testing.assert_close(found["variance"], found["square"] - found["mean"] ** 2, atol=1e-4, rtol=1e-4)
    assert (found[moment] > 0).all()
    with pytest.raises(pellucid.errors.InputError, match="moment='median'"):
        pellucid.attribute(lambda x: x.sum(-1), x, method="smoothgrad", moment="median")
