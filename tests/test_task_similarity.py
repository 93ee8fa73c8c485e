"""Sentence similarity: the cosine that sentence-transformers would give, attributed to the tokens of both texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import pellucid
from families import model, tokenizer
from heads import headed
from itself import read
from pellucid import Model
from pellucid.errors import InputError, UnknownTarget, UnsupportedModel

PAIRS = [("a good film", "the movie was great !"), ("bad", "so very dull , bad acting ."), ("the plot", "the acting")]


def encoder(family: str, attention: str = "eager", dtype: Any = torch.float32) -> Any:
    """A random encoder without a head."""
    return headed(family, "Model", attention, dtype)


def cosine(net: Any, pair: tuple[str, str], pooling: str) -> float:
    pooled = []
    for text in pair:
        with torch.no_grad():
            states = net(**tokenizer()(text, return_tensors="pt")).last_hidden_state[0]
        pooled.append({"mean": states.mean(0), "cls": states[0], "lasttoken": states[-1]}[pooling])
    return torch.nn.functional.cosine_similarity(*pooled, dim=0).item()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("family", "attention"), [("Bert", "eager"), ("Bert", "sdpa"), ("MPNet", "eager")])
def test_the_cosine_adds_up(family: str, attention: str, side: str) -> None:
    net = encoder(family, attention)
    m = Model(net, tokenizer(side=side))
    assert m.does.name == "sentence-similarity"
    together = pellucid.explain(m, list(PAIRS))
    for pair, e in zip(PAIRS, together, strict=True):
        alone = pellucid.explain(m, pair)
        assert e.output == pytest.approx(cosine(net, pair, "mean"), abs=1e-5)
        assert e.relative_delta < 1e-4
        np.testing.assert_allclose(alone.scores, e.scores, atol=1e-5)
        assert (e.target.name, e.text, e.prediction) == ("cosine", pair, None)
        own = [t for t in e.tokens if not t.special]
        assert all(pair[t.segment][slice(*t.span)].lower() == t.text.removeprefix("##") for t in own if t.span)
        assert {t.segment for t in own} == {0, 1}


def test_exact_in_float64() -> None:
    e = pellucid.explain(Model(encoder("Bert", dtype=torch.float64), tokenizer()), PAIRS[0])
    assert e.relative_delta < 1e-9


def compared(net: Any, *each: dict[str, Any]) -> Any:
    """The cosine of two encoded texts."""
    a, b = (net(**inputs).last_hidden_state[0].mean(0) for inputs in each)
    return torch.nn.functional.cosine_similarity(a, b, dim=0)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", "saliency"])
def test_other_methods(method: str) -> None:
    """Against the model alone."""
    net, tok = encoder("Bert"), tokenizer()
    e = pellucid.explain(Model(net, tok), PAIRS[0], method=method)
    first = [i for i, t in enumerate(e.tokens) if t.segment == 0]
    a, b = (read(tok, text) for text in PAIRS[0])
    whole = compared(net, a, b).item()
    if method == "integrated_gradients":
        change = whole - compared(net, *(read(tok, text, by="[MASK]") for text in PAIRS[0])).item()
        assert e.scores.sum() == pytest.approx(change, rel=2e-2)
    elif method == "occlusion":
        own = [i for i in first if not e.tokens[i].special]
        expected = [whole - compared(net, read(tok, PAIRS[0][0], by="[MASK]", at=[i]), b).item() for i in own]
        np.testing.assert_allclose(e.scores[own], expected, atol=1e-5)
    else:
        x = net.get_input_embeddings()(a["input_ids"]).detach().requires_grad_()
        (g,) = torch.autograd.grad(compared(net, {"inputs_embeds": x}, b), x)
        np.testing.assert_allclose(e.scores[first], g[0].norm(dim=-1), atol=1e-5)


def test_words_of_both_texts_are_apart() -> None:
    e = pellucid.explain(Model(encoder("Bert"), tokenizer()), PAIRS[2])
    assert [(w.text, w.segment) for w in e.words() if not w.special] == [
        ("the", 0), ("plot", 0), ("the", 1), ("acting", 1),
    ]  # fmt: skip


def saved(path: Path, net: Any, pooling: dict[str, Any] | None, *more: str) -> Path:
    """A checkpoint as sentence-transformers saves it."""
    net.save_pretrained(path)
    tokenizer().save_pretrained(path)
    if pooling is not None:
        kinds = {"": "Transformer", "1_Pooling": "Pooling", **{f"{i}_{k}": k for i, k in enumerate(more, 2)}}
        modules = [{"path": p, "type": f"sentence_transformers.models.{kind}"} for p, kind in kinds.items()]
        (path / "modules.json").write_text(json.dumps(modules))
        (path / "1_Pooling").mkdir()
        (path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return path


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        (None, "mean"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean"),
        ({"pooling_mode_lasttoken": True}, "lasttoken"),
        ({"pooling_mode": "cls", "embedding_dimension": 32}, "cls"),
    ],
)
def test_pools_as_the_checkpoint_says(tmp_path: Path, config: Any, pooling: str) -> None:
    net = encoder("Bert")
    m = pellucid.load(saved(tmp_path, net, config, "Normalize"))
    assert m.does.name == "sentence-similarity"
    e = pellucid.explain(m, PAIRS[0])
    assert e.output == pytest.approx(cosine(net, PAIRS[0], pooling), abs=1e-5)
    assert e.relative_delta < 1e-4


def test_a_dense_module_is_named(tmp_path: Path) -> None:
    m = pellucid.load(saved(tmp_path, encoder("Bert"), {"pooling_mode_mean_tokens": True}, "Dense"))
    with pytest.raises(UnsupportedModel, match="'Dense' module"):
        pellucid.explain(m, PAIRS[0])


def test_an_unknown_pooling_is_named(tmp_path: Path) -> None:
    m = pellucid.load(saved(tmp_path, encoder("Bert"), {"pooling_mode_max_tokens": True}))
    with pytest.raises(UnsupportedModel, match="max_tokens"):
        pellucid.explain(m, PAIRS[0])


@pytest.mark.parametrize("name", ["no/such-model", "somewhere (else)"])
def test_a_name_that_nobody_can_look_up_is_told(name: str) -> None:
    net = encoder("Bert")
    net.config._name_or_path = name
    with pytest.warns(UserWarning, match="so the mean is taken"):
        e = pellucid.explain(Model(net, tokenizer()), PAIRS[0])
    assert e.output == pytest.approx(cosine(net, PAIRS[0], "mean"), abs=1e-5)


def test_errors_say_what_to_do() -> None:
    m = Model(encoder("Bert"), tokenizer())
    with pytest.raises(InputError, match=r"^This model has no head.*expected two to compare"):
        pellucid.explain(m, "one text")
    with pytest.raises(UnknownTarget, match="leave the target out"):
        pellucid.explain(m, PAIRS[0], target="positive")
    with pytest.raises(InputError, match="no probability"):
        pellucid.explain(m, PAIRS[0], output="probability")
    with pytest.raises(UnsupportedModel, match="hidden states"):
        pellucid.explain(Model(model("Bert"), tokenizer(), task="sentence-similarity"), PAIRS[0])


def test_takes_over_no_other_architecture() -> None:
    assert Model(model("Bert"), tokenizer()).does.name == "text-classification"

    class SentimentModel(torch.nn.Module):  # a user's own: its name says nothing
        config = transformers.BertConfig()

        def __init__(self) -> None:
            super().__init__()
            self.embed = torch.nn.Embedding(200, 4)

        def forward(self, input_ids: Any) -> Any:
            return self.embed(input_ids).mean(1)

    assert Model(SentimentModel(), tokenizer()).does.name == "text-classification"


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_is_within_each_text_and_zero_between(attention: str, side: str) -> None:
    """Against the attentions that transformers returns for each text by itself."""
    m = Model(encoder("Bert", attention), tokenizer(side=side))
    alone = Model(encoder("Bert", "eager"), tokenizer())
    details = ("attentions", "norms", "rollout", "attention_x_gradient")
    for pair, e in zip(PAIRS, pellucid.explain(m, list(PAIRS), detail=details), strict=True):
        each = [tokenizer()(text, return_tensors="pt") for text in pair]
        with torch.no_grad():
            own = [torch.cat(alone.model(**ids, output_attentions=True).attentions) for ids in each]
        n = own[0].shape[-1]
        assert e.attentions.shape[-1] == len(e.tokens)
        np.testing.assert_allclose(e.attentions[..., :n, :n], own[0], atol=1e-5)
        np.testing.assert_allclose(e.attentions[..., n:, n:], own[1], atol=1e-5)
        between = ("norm_af", "norm_sum_af", "rollout", "attention_x_gradient")
        for matrix in (e.attentions, *(e.measures[name] for name in between)):
            assert not matrix[..., :n, n:].any() and not matrix[..., n:, :n].any()
            assert matrix[..., :n, :n].any() and matrix[..., n:, n:].any()
        assert e.measures["norm_f"].shape[-1] == len(e.tokens)
        weighed = e.attentions * e.measures["norm_f"][:, :, None]
        np.testing.assert_allclose(e.measures["norm_af"], weighed, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"detail": "heads"}, "detail='heads'"),
        ({"detail": ("layers", "heads")}, "detail='heads', detail='layers'"),
        ({"detail": "layers", "at": ["encoder.layer.1"]}, "detail='layers', at"),
        ({"at": "encoder.layer.1"}, "Found at for"),
    ],
)
def test_what_needs_one_sequence_says_so(asked: Any, found: str) -> None:
    m = Model(encoder("Bert"), tokenizer())
    with pytest.raises(InputError, match=f"{found}.*several sequences, here 2.*Leave"):
        pellucid.explain(m, PAIRS[0], **asked)
