"""Texts in, explanations out: they add up, for every family, alone and in padded batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from families import model, tokenizer
from itself import read, said
from pellucid import Explanations, Model
from pellucid.errors import InputError
from pellucid.types import Progress

TEXTS: list[Any] = [
    "The movie was great, so good!",
    "a dull film",
    ("it was very bad . and not good", "the plot is dull"),
    "acting acting great great but the plot was bad and dull and not very good !",
]


# ------------------------------------------------------------------------------------ a user's own classes


class Own(nn.Module):
    """A classifier head of one's own over an encoder; returns what `form` says."""

    def __init__(self, form: str = "tensor"):
        super().__init__()
        self.body = model("DistilBert").distilbert
        self.head = nn.Linear(32, 2)
        self.form = form

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask)[0]
        logits = self.head(torch.tanh(hidden[:, 0]))
        if self.form == "tuple":
            return logits, hidden
        if self.form == "dict":
            return {"hidden": hidden, "logits": logits}
        if self.form == "cut":
            return torch.tensor(logits.tolist())
        if self.form == "detached":
            return torch.tensor(torch.softmax(logits, 1).tolist(), requires_grad=True)
        return logits


@pytest.mark.parametrize("form", ["tensor", "tuple", "dict"])
@pytest.mark.parametrize("embeddings", [None, "body.embeddings", "body.embeddings.word_embeddings"])
def test_a_users_own_module(form: str, embeddings: str | None) -> None:
    net = Own(form).eval()
    e = pellucid.explain(Model(net, tokenizer(), embeddings=embeddings), TEXTS[0], baseline="pad", target=1)
    f, f0 = (
        net(inputs["input_ids"], inputs["attention_mask"])
        for inputs in (read(tokenizer(), TEXTS[0], by=by) for by in (None, "[PAD]"))
    )
    change = (logits(f)[0, 1] - logits(f0)[0, 1]).item()
    assert e.scores.sum() == pytest.approx(change, abs=1e-5) and e.relative_delta < 1e-5
    assert e.target.name == "LABEL_1"


def logits(answer: Any) -> Tensor:
    """Of whatever `form`."""
    return answer["logits"] if isinstance(answer, dict) else answer[0] if isinstance(answer, tuple) else answer


def test_deeplift_is_the_same_at_any_embedding_that_mixes_no_tokens() -> None:
    net = Own().eval()
    a, b = (
        pellucid.explain(Model(net, tokenizer(), embeddings=name), TEXTS[0]) for name in (None, net.body.embeddings)
    )
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)


@pytest.mark.parametrize("form", ["cut", "detached"])
@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "saliency"])
def test_a_forward_that_cuts_the_graph_says_so(form: str, method: str) -> None:
    with pytest.raises(pellucid.PellucidError, match="autograd"):
        pellucid.explain(Model(Own(form).eval(), tokenizer()), TEXTS[0], method=method, target=0)


# ---------------------------------------------------------------------------------------------- real checkpoints

SEED_SENTENCE = "I went to see this movie last night. I've got to say... it's great! This is an amazing movie!"


def test_the_sentence_that_started_it(sst2: Model) -> None:
    e = pellucid.explain(sst2, SEED_SENTENCE, target="positive", baseline="pad")
    assert e.relative_delta <= 1e-5
    assert [w.text for w in e.top(2)] == ["amazing", "great"]
    assert [t.text for t in e.tokens if t.special] == ["[CLS]", "[SEP]"]
    assert e.scores[0] == e.scores[-1] == 0
    assert abs(e.change - 4.6764) < 1e-3


def test_integrated_gradients_agree_with_captum(sst2: Model) -> None:
    attr = pytest.importorskip("captum.attr")
    tok, net = sst2.tokenizer, sst2.model
    ids = tok(SEED_SENTENCE, return_tensors="pt")["input_ids"]
    pad = torch.where((ids == tok.cls_token_id) | (ids == tok.sep_token_id), ids, tok.pad_token_id)
    lig = attr.LayerIntegratedGradients(lambda i: net(i).logits[:, 1], net.bert.embeddings.word_embeddings)
    theirs = lig.attribute(ids, pad, n_steps=30).sum(-1)[0].detach().numpy()  # the same points, so any number of them
    ours = pellucid.explain(
        sst2, SEED_SENTENCE, method="integrated_gradients", n_steps=30, target="positive", baseline="pad"
    )
    np.testing.assert_allclose(ours.scores, theirs, atol=1e-5)


def test_the_bundled_model_makes_sense(bundled: Model) -> None:
    e = pellucid.explain(bundled, SEED_SENTENCE)
    assert e.prediction == "positive"
    assert {w.text for w in e.top(2)} == {"amazing", "great"}
    assert e.relative_delta < 1e-5
    assert pellucid.explain(bundled, "What a waste of time.").prediction == "negative"


# ---------------------------------------------------------------------------------- targets, baselines, methods


def test_targets(bundled: Model) -> None:
    text = "a good film"
    plus, minus, both, index = pellucid.explain(
        bundled, text, target=["positive", "NEGATIVE", "positive - negative", 1]
    )
    np.testing.assert_allclose(plus.scores - minus.scores, both.scores, atol=1e-5)
    np.testing.assert_array_equal(plus.scores, index.scores)
    assert (both.target.name, both.target.index) == ("positive - negative", (1, 0))
    found = pellucid.explain(bundled, text, target=lambda logits: logits.softmax(-1)[:, 1])
    assert found.output == pytest.approx(found.probability, abs=1e-6)
    assert found.relative_delta < 1e-5


def test_the_default_target_is_the_predicted_class(bundled: Model) -> None:
    for e in pellucid.explain(bundled, ["a great film", "a terrible film"]):
        assert e.target.name == e.prediction
        assert e.probability is not None and e.probability > 0.5


@pytest.mark.parametrize("baseline", ["mask", "pad", "zero", "mean", "the", "[UNK]", "one two three four"])
def test_baselines_add_up_and_keep_special_tokens(bundled: Model, baseline: str) -> None:
    e = pellucid.explain(bundled, "a good film .", baseline=baseline)
    assert e.relative_delta < 1e-5
    assert e.scores[0] == e.scores[-1] == 0
    assert e.baseline == baseline


def test_tensor_baselines(bundled: Model) -> None:
    text = "a good film ."
    width = bundled.model.config.hidden_size
    zeros = pellucid.explain(bundled, text, baseline=torch.zeros(width))
    np.testing.assert_allclose(zeros.scores, pellucid.explain(bundled, text, baseline="zero").scores, atol=1e-6)
    mask = torch.full((6,), bundled.tokenizer.mask_token_id)
    ids = pellucid.explain(bundled, text, baseline=mask)
    np.testing.assert_array_equal(ids.scores, pellucid.explain(bundled, text).scores)


def test_a_list_of_baselines_is_averaged_and_keeps_each_delta(bundled: Model) -> None:
    text = "a good film ."
    e = pellucid.explain(bundled, text, baseline=["mask", "pad"])
    each = [pellucid.explain(bundled, text, baseline=b) for b in ("mask", "pad")]
    np.testing.assert_allclose(e.scores, (each[0].scores + each[1].scores) / 2, atol=1e-6)
    kept = [b["delta"] for b in e.meta["baselines"]]
    np.testing.assert_allclose(kept, [x.delta for x in each], atol=1e-6)
    assert e.delta == pytest.approx(np.mean(kept))
    f, *f0 = (said(bundled.model, read(bundled.tokenizer, text, by=by))[0, 1] for by in (None, "[MASK]", "[PAD]"))
    assert e.scores.sum() == pytest.approx((f - sum(f0) / 2).item(), abs=1e-5)


FEWER: dict[str, dict[str, Any]] = {
    "shapley": {"n_samples": 8},
    **{name: {"n_samples": 100} for name in ("kernel_shap", "lime", "gradient_shap", "expected_gradients")},
}
"""What a comparison with oneself needs of a sample."""
SUMS_WITHIN = {"integrated_gradients": 1e-2}
"""The part of the change that a method may leave over: its tolerance, where it has one."""


@pytest.mark.parametrize("method", pellucid.METHODS)
def test_every_method_answers_in_a_batch_as_it_does_alone(bundled: Model, method: str) -> None:
    texts = ["a good film .", "one of the most boring things I have seen in years , and badly acted too"]
    how = FEWER.get(method, {})
    together = pellucid.explain(bundled, texts, method=method, target=1, **how)
    for text, e in zip(texts, together, strict=True):
        alone = pellucid.explain(bundled, text, method=method, target=1, **how)
        np.testing.assert_allclose(e.scores, alone.scores, atol=1e-5 * max(1, np.abs(alone.scores).max()))
        assert e.text == text and e.method == method and e.passes == alone.passes > 0
        f, f0 = (said(bundled.model, read(bundled.tokenizer, text, by=by))[0, 1].item() for by in (None, "[MASK]"))
        assert (e.output, e.baseline_output) == pytest.approx((f, f0), abs=1e-5)
        assert not e.adds_up or e.scores.sum() == pytest.approx(f - f0, abs=SUMS_WITHIN.get(method, 1e-5) * abs(f - f0))


def test_several_methods_share_options(bundled: Model) -> None:
    es = pellucid.explain(bundled, "a good film", method=["deeplift", "integrated_gradients"], n_steps=20)
    assert isinstance(es, Explanations)
    assert [e.method for e in es] == ["deeplift", "integrated_gradients"]
    assert es[1].passes == 22
    assert es.matrix().shape == (2, 5)


def test_smoothgrad_wraps_other_methods_and_is_seeded(bundled: Model) -> None:
    how: dict[str, Any] = {"method": "smoothgrad", "of": "input_x_gradient", "n_samples": 4}
    a, b, c = (pellucid.explain(bundled, "a good film", seed=s, **how) for s in (1, 1, 2))
    np.testing.assert_array_equal(a.scores, b.scores)
    assert np.abs(a.scores - c.scores).max() > 0
    quiet = pellucid.explain(bundled, "a good film", noise=0.0, **how)
    np.testing.assert_allclose(
        quiet.scores, pellucid.explain(bundled, "a good film", method="input_x_gradient").scores, atol=1e-6
    )


def test_saliency_is_the_norm_of_the_gradient(bundled: Model) -> None:
    tok, net = bundled.tokenizer, bundled.model
    batch = tok("a good film", return_tensors="pt")
    x = net.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    logits = net(inputs_embeds=x, attention_mask=batch["attention_mask"]).logits
    (g,) = torch.autograd.grad(logits[0, 1], x)
    norm = pellucid.explain(bundled, "a good film", method="saliency", target=1)
    np.testing.assert_allclose(norm.scores, g[0].norm(dim=-1).numpy(), atol=1e-5)
    signed = pellucid.explain(bundled, "a good film", method="saliency", target=1, signed=True)
    np.testing.assert_allclose(signed.scores, g[0].sum(-1).numpy(), atol=1e-5)


def test_lists_keep_their_order_and_progress_is_told(bundled: Model) -> None:
    texts = [f"{'very ' * n}good film" for n in (30, 1, 12, 0)]
    told: list[Progress] = []
    es = pellucid.explain(bundled, texts, progress=told.append)
    assert [e.text for e in es] == texts
    assert (told[-1].done, told[-1].total, told[-1].passes, told[-1].left) == (4, 4, 8, 0)
    assert pellucid.explain(bundled, []) == []


def test_truncation_is_asked_for(bundled: Model) -> None:
    long = "good film " * 600
    with pytest.raises(pellucid.PellucidError, match="truncate"):
        pellucid.explain(bundled, long)
    e = pellucid.explain(bundled, long, truncate=True)
    assert len(e.tokens) == bundled.limit


def test_numpy_is_taken_as_python_and_torch_are(bundled: Model) -> None:
    text = "a good film"
    plain = pellucid.explain(bundled, text, target=1)
    assert pellucid.explain(bundled, text, target=np.int64(1)).target == plain.target
    size = len(plain.tokens), bundled.model.config.hidden_size  # pyright: ignore
    zeros = [pellucid.explain(bundled, text, baseline=b) for b in (np.zeros(size, np.float32), torch.zeros(size))]
    np.testing.assert_array_equal(zeros[0].scores, zeros[1].scores)
    grouped = [pellucid.explain(bundled, text, "occlusion", groups=g) for g in (np.array([[1], [2], [3]]), None)]
    np.testing.assert_array_equal(grouped[0].scores, grouped[1].scores)
    assert pellucid.explain(bundled, text, baseline=("mask", "pad")).baseline == "mask, pad"


def test_columns_of_text_are_streams_and_tables_are_refused(bundled: Model) -> None:
    texts = ["a good film", "so bad"]
    expected = [e.prediction for e in pellucid.explain(bundled, texts)]
    for column in (np.array(texts), np.array(texts, dtype=object)):
        assert [e.prediction for e in pellucid.explain(bundled, column)] == expected
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"text": texts})
    assert [e.prediction for e in pellucid.explain(bundled, table["text"])] == expected
    with pytest.raises(InputError, match="one column"):
        pellucid.explain(bundled, table)
