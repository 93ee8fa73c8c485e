"""docs/from.md: inseq's, ferret's and LIT's calls and this project's, side by side on small models; where they are
installed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import pellucid

STEPS: dict[str, Any] = {"method": "integrated_gradients", "n_steps": 50, "rule": "gauss_legendre"}
TEXT = "a fine and funny film"


def close(found: Any, expected: Any, within: float) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    np.testing.assert_allclose(found, expected, atol=within * np.abs(expected).max(), rtol=0)


def test_inseq_explains_the_probability_from_the_unknown_token(tmp_path: Any) -> None:
    inseq = pytest.importorskip("inseq", reason="needs inseq, a peer")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = {w: i for i, w in enumerate("<unk> <s> </s> the capital of France is Paris".split())}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(words), n_positions=16, n_embd=16, n_layer=2, n_head=2, initializer_range=0.3)
    config.bos_token_id, config.eos_token_id, config.pad_token_id = 1, 2, 2
    model = GPT2LMHeadModel(config).eval()

    there = inseq.load_model(model, "integrated_gradients", tokenizer=tokenizer, device="cpu")
    prompt = "the capital of France is"
    found = there.attribute(prompt, f"{prompt} Paris", n_steps=50, show_progress=False)[0]
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    x, x0 = (model.get_input_embeddings()(i).detach() for i in (ids, torch.zeros_like(ids)))

    def probability(embeddings: Tensor) -> Tensor:
        return model(inputs_embeds=embeddings).logits[:, -1].softmax(-1)[:, words["Paris"]]

    here = pellucid.attribute(probability, x, x0, **STEPS).values
    assert isinstance(here, Tensor)
    close(here.sum(-1)[0], found.target_attributions[: ids.shape[1], 0].sum(-1), 1e-4)


def test_ferret_explains_the_logit_from_padding() -> None:
    ferret = pytest.importorskip("ferret", reason="needs ferret-xai, a peer")
    model = pellucid.load(device="cpu")
    there = ferret.IntegratedGradientExplainer(model.model, model.tokenizer, multiply_by_inputs=True)
    found = pellucid.explain(model, TEXT, target=1, baseline="pad", **STEPS)
    close(found.scores, there(TEXT, target=1).scores, 1e-3)
    whole = ferret.Benchmark(model.model, model.tokenizer, explainers=[there]).explain(TEXT, target=1)[0]
    close(found.scores / np.abs(found.scores).sum(), whole.scores, 1e-3)


def test_lit_ends_its_path_one_step_short_of_the_input() -> None:
    maps = pytest.importorskip("lit_nlp.components.gradient_maps", reason="needs lit-nlp, a peer")
    weights = torch.tensor([0.3, -1.2, 0.7])
    x = torch.tensor([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]])
    f = lambda embeddings: ((embeddings @ weights) ** 3).sum(-1)

    def predict(inputs: Any, **_: Any) -> Any:
        for row in inputs:
            e = torch.as_tensor(np.asarray(row.get("embs", x)), dtype=torch.float32).requires_grad_()
            (gradient,) = torch.autograd.grad(f(e[None])[0], e)
            yield {"tokens": ["a", "b"], "embs": e.detach().numpy(), "grads": gradient.numpy(), "target": "1"}

    types = maps.types
    label, embeddings = types.CategoryLabel(vocab=["0", "1"]), types.TokenEmbeddings(align="tokens")
    gradients = types.TokenGradients(align="tokens", grad_for="embs", grad_target_field_key="target")
    outputs = {"tokens": types.Tokens(), "embs": embeddings, "grads": gradients, "target": label}
    there = SimpleNamespace(
        predict=predict,
        input_spec=lambda: {"embs": embeddings, "target": label},
        output_spec=lambda: outputs,
    )
    row = {"text": "a b", "target": "1"}
    found = maps.IntegratedGradients(interpolation_steps=30, normalize=False).run([row], there, None)[0]["grads"]
    until = pellucid.attribute(f, 29 / 30 * x[None], torch.zeros(1, 2, 3), **STEPS).values
    assert isinstance(until, Tensor)
    close(until.sum(-1)[0] * 30 / 29, found.salience, 1e-3)
    whole = pellucid.attribute(f, x[None], torch.zeros(1, 2, 3), **STEPS)
    assert abs(whole.delta.item()) < 1e-4
    missing = (whole.output - found.salience.sum()).item() / whole.output.item()
    assert 0.05 < missing < 0.08, "LIT's scores lack this part of the change"
