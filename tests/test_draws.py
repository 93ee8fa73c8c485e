"""Functions that draw at random in evaluation mode: every pass has the draws of the module called directly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

import pellucid
from families import tokenizer
from pellucid.problem import Problem
from pellucid.randomness import Draws, RandomDraws, joined

W = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
METHODS = [name for name, m in pellucid.METHODS.items() if not m.distribution]


def drawing(t: Tensor) -> Tensor:
    picked = torch.multinomial(torch.ones(len(t), 6), 2)
    return ((t @ W).tanh() * (1 + torch.randn_like(t))).gather(1, picked).sum(1)


def directly(f: Any, rows: Tensor, state: Tensor) -> Tensor:
    """f of each row alone, the generator in this state."""
    found = []
    for row in rows.split(1):
        torch.set_rng_state(state)
        found.append(f(row))
    torch.set_rng_state(state)
    return torch.cat(found)


@pytest.mark.parametrize("method", METHODS)
def test_every_pass_has_the_draws_of_the_function_called_directly(method: str) -> None:
    x, x0 = torch.randn(2, 3, 6)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    y, y0 = directly(drawing, x, state), directly(drawing, x0, state)
    a = pellucid.attribute(drawing, x, x0, method=method)
    torch.testing.assert_close(a.output, y)
    torch.testing.assert_close(a.baseline_output, y0)
    assert torch.equal(torch.get_rng_state(), state)
    assert any("draws at random" in note for note in a.notes)
    if pellucid.METHODS[method].adds_up:
        torch.testing.assert_close(a.values.sum(1), y - y0, atol=2e-2 if method[0] == "i" else 1e-5, rtol=0)  # type: ignore[union-attr]


def test_the_occlusion_of_a_function_that_draws_is_that_of_one_draw() -> None:
    x = torch.randn(2, 6)
    state = torch.get_rng_state()
    without = [directly(drawing, x * (torch.arange(6) != i), state) for i in range(6)]
    a = pellucid.attribute(drawing, x, method="occlusion")
    torch.testing.assert_close(a.values, torch.stack([directly(drawing, x, state) - y for y in without], 1))


def test_a_sample_of_baselines_has_one_draw() -> None:
    x, sample = torch.randn(1, 6), torch.randn(4, 6)
    state = torch.get_rng_state()
    a = pellucid.attribute(drawing, x, sample, method="deep_shap")
    torch.testing.assert_close(a.baseline_output, directly(drawing, sample, state).mean(0, keepdim=True))
    assert a.status == "exact"


def test_a_function_that_does_not_draw_has_no_note_and_no_pass_more() -> None:
    calls: list[int] = []

    def f(t: Tensor) -> Tensor:
        calls.append(len(t))
        return t.tanh().sum(1)

    assert pellucid.attribute(f, torch.randn(3, 6)).notes == () and calls == [3, 3, 1, 1]
    calls.clear()
    assert pellucid.attribute(f, torch.randn(3, 6), method="occlusion").notes == () and len(calls) == 7


class Noisy(nn.Module):
    def __init__(self, outside: bool = False):
        super().__init__()
        torch.manual_seed(0)
        self.emb, self.out, self.outside = nn.Embedding(80, 16), nn.Linear(16, 2), outside

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        e = self.emb(input_ids)
        e = e + 0.5 * torch.randn_like(e)
        m = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return self.out((e * m[..., None]).sum(1) / m.sum(1, keepdim=True))


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "shapley", "occlusion", "lime"])
def test_texts_of_a_model_that_draws(method: str) -> None:
    """Of different lengths, whose padding would draw too; alone and together."""
    net, texts = Noisy().eval(), ["the film was great , so good", "a dull plot"]
    model = pellucid.Model(net, tokenizer())
    torch.manual_seed(3)
    state = torch.get_rng_state()
    found = pellucid.explain(model, texts, target=0, method=method)
    assert torch.equal(torch.get_rng_state(), state)
    for text, e in zip(texts, found, strict=True):
        ids = model.tokenizer(text, return_tensors="pt").input_ids
        assert e.output == pytest.approx(net(ids)[0, 0].item(), abs=1e-6)
        torch.set_rng_state(state)
        alone = pellucid.explain(model, text, target=0, method=method)
        np.testing.assert_allclose(e.scores, alone.scores, atol=1e-6)
        assert any("draws at random" in note for note in e.notes)


def test_what_draws_has_no_score_where_the_text_is_its_baseline() -> None:
    model = pellucid.Model(Noisy().eval(), tokenizer())
    for method in ("deeplift", "shapley", "occlusion"):
        e = pellucid.explain(model, "[MASK] [MASK]", target=0, method=method)
        np.testing.assert_allclose(e.scores, 0, atol=1e-6)


def test_vilt_which_picks_patches_at_random() -> None:
    config = transformers.ViltConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, vocab_size=50, image_size=24,
        patch_size=8, max_image_length=5, max_position_embeddings=12, num_images=1,
    )  # fmt: skip
    torch.manual_seed(0)
    net = transformers.ViltForQuestionAnswering(config).double().eval()
    pixels, mask = torch.randn(1, 3, 24, 24).double(), torch.ones(1, 24, 24).long()
    embed = net.get_input_embeddings()
    x, x0 = embed(torch.tensor([[3, 4, 5, 6]])).detach(), embed(torch.zeros(1, 4, dtype=torch.long)).detach()
    f = lambda e: net(inputs_embeds=e, pixel_values=pixels, pixel_mask=mask, attention_mask=torch.ones(1, 4)).logits
    assert not torch.equal(f(x), f(x)), "it no longer draws"
    state = torch.get_rng_state()
    a = pellucid.attribute(f, x, x0, target=1)
    change = (directly(f, x, state) - directly(f, x0, state))[0, 1]
    torch.testing.assert_close(a.values.sum(), change, atol=1e-9, rtol=0)  # type: ignore[union-attr]


def test_two_answers_to_one_input_are_said() -> None:
    """A generator of its own is not found by the state of torch's."""
    own = torch.Generator().manual_seed(0)
    a = pellucid.attribute(lambda t: t.tanh().sum(1) + torch.randn(len(t), generator=own), torch.randn(2, 6))
    assert a.status == "inexact" and "different answers to the same input" in a.notes[0]


def test_rows_that_cannot_go_one_at_a_time_are_refused() -> None:
    x = torch.randn(2, 6)
    problem = Problem(
        drawing, (x,), (x * 0,), lambda out: lambda y, rows: y, mask=torch.tensor([[True] * 6, [False] * 6])
    )
    with pytest.raises(RandomDraws, match=r"at random.*one input at a time"):
        problem.outputs(problem.x)
    assert isinstance(problem.draws, Draws) and problem.taken(torch.tensor([0])).draws is problem.draws
    with pytest.raises(RandomDraws, match="at random"):
        joined([torch.zeros(1, 3), torch.zeros(1, 4)])
    nest = joined([{"a": (torch.zeros(1, 2), None)}, {"a": (torch.ones(1, 2), None)}])
    assert nest["a"][0].tolist() == [[0, 0], [1, 1]] and nest["a"][1] is None


# ------------------------------------------------------------------------------------------------- training mode


class Forgotten(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5).sum(-1)


class Attends(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], dropout_p=0.1).sum((1, 2))


class OfBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, training=True).sum(-1)


@pytest.mark.parametrize("method", ["deeplift", "occlusion"])
@pytest.mark.parametrize(
    ("net", "named"),
    [
        (Forgotten, "F.dropout without training="),
        (Attends, "dropout_p=0.1"),
        (OfBatch, "batch_norm with training=True"),
    ],
)
def test_a_call_in_training_mode_is_named_and_not_the_model(net: Any, named: str, method: str) -> None:
    with pytest.raises(pellucid.PellucidError) as caught:
        pellucid.attribute(net().eval(), torch.randn(2, 6), method=method)
    said = str(caught.value)
    assert named in said and ".eval()" not in said and f"{net.__name__} (test_draws.py, line" in said


def test_a_module_in_training_mode_is_named() -> None:
    net = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5)).eval()
    net[1].train()
    with pytest.raises(pellucid.PellucidError, match=r"module Dropout .*is in training mode.*\.eval\(\)"):
        pellucid.attribute(net, torch.randn(2, 6), target=0)
