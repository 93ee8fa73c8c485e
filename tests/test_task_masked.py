"""Masked language models: the predicted fill of each mask, any candidate, a contrast of two."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from itself import read, said
from pellucid import Explanation, Explanations, Model
from pellucid.errors import InputError, UnknownBaseline, UnknownTarget, UnsupportedModel
from scripts_of_the_world import SENTENCES, TOKENIZERS, Slow, network, word_pieces

TEXTS = ["the film was [MASK] !", "[MASK] visited London and the team [MASK] in Paris", "where is the [MASK]?"]


def made(name: str = "BertForMaskedLM", tokenizer: Any = None, **how: Any) -> Model:
    tokenizer = tokenizer or word_pieces()
    return Model(network(name, **{"vocab_size": len(tokenizer.get_vocab()), **how}), tokenizer)


def each(found: Any) -> list[Explanation]:
    return [found] if isinstance(found, Explanation) else list(found)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["Bert", "DistilBert", "Roberta", "Electra", "Albert", "ModernBert"])
def test_the_fill_adds_up_and_is_the_models_own_logit(name: str, attention: str) -> None:
    m = made(f"{name}ForMaskedLM", attention=attention)
    assert m.does.name == "fill-mask"
    for text, found in zip(TEXTS, pellucid.explain(m, TEXTS, baseline="pad"), strict=True):
        with torch.no_grad():
            logits = m.model(m.tokenizer(text, return_tensors="pt")["input_ids"]).logits[0]
        assert len(each(found)) == text.count("[MASK]")
        for e in each(found):
            best = logits[e.target.position].softmax(0).max(0)
            assert e.target.position is not None and e.tokens[e.target.position].text == "[MASK]"
            assert e.target.index == best.indices
            assert e.output == pytest.approx(logits[e.target.position].max().item(), abs=2e-5)
            assert e.probability == pytest.approx(best.values.item(), abs=1e-5)
            assert e.relative_delta < 1e-4 and e.prediction == e.target.name


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", [word_pieces, lambda side: Slow(word_pieces(side))])
@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "occlusion"])
def test_batched_is_single_whichever_side_is_padded(side: str, kind: Any, method: str) -> None:
    m = made(tokenizer=kind(side), dtype=torch.float64)
    options = {"n_steps": 8} if method == "integrated_gradients" else {}
    for together, text in zip(pellucid.explain(m, TEXTS, method=method, **options), TEXTS, strict=True):
        alone = pellucid.explain(m, text, method=method, **options)
        assert [e.target for e in each(together)] == [e.target for e in each(alone)]
        for a, b in zip(each(together), each(alone), strict=True):
            np.testing.assert_allclose(a.scores, b.scores, atol=1e-8)


@pytest.mark.parametrize("baseline", ["mask", "pad", "zero", "mean", "good"])
@pytest.mark.parametrize("kind", [word_pieces, lambda: Slow(word_pieces())])
def test_the_mask_stays_in_every_baseline(baseline: str, kind: Any) -> None:
    for e in each(pellucid.explain(made(tokenizer=kind()), TEXTS[1], baseline=baseline)):
        masks = [i for i, t in enumerate(e.tokens) if t.text == "[MASK]"]
        assert [e.tokens[i].span for i in masks] == [(0, 6), (35, 41)]
        assert all(e.scores[i] == 0 for i in masks) and "[MASK]" not in [w.text for w in e.top(20)]


def test_only_the_logits_at_masks_are_kept() -> None:
    m = made()
    encodings = m.encode(TEXTS)
    sequences, _ = m.collate(encodings)
    assert m.alone(*sequences).shape == (3, 2, len(m.tokenizer.get_vocab()))


def test_a_candidate_and_a_contrast() -> None:
    m = made(dtype=torch.float64)
    good, bad, both = (pellucid.explain(m, TEXTS[0], target=t) for t in ("good", "bad", "good - bad"))
    ids = m.tokenizer.get_vocab()
    assert (good.target.index, both.target.index) == (ids["good"], (ids["good"], ids["bad"]))
    assert both.target.name == "good - bad" and good.target.position == 4
    np.testing.assert_allclose(both.scores, good.scores - bad.scores, atol=1e-9)
    assert pellucid.explain(m, TEXTS[0], target=ids["good"]).target == good.target
    assert pellucid.explain(m, TEXTS[0], target="GOOD").target == good.target  # as this tokenizer reads it
    assert pellucid.explain(m, TEXTS[0], target="##a").target.index == ids["##a"]
    assert pellucid.explain(m, TEXTS[0], target="!").target.index == ids["!"]
    p = pellucid.explain(m, TEXTS[0], target="good", output="probability")
    said_of = said(m.model, read(m.tokenizer, TEXTS[0]))[0, 4].softmax(0)
    assert p.output == pytest.approx(said_of[ids["good"]].item()) and p.relative_delta < 1e-8
    function = pellucid.explain(m, TEXTS[0], target=lambda logits: logits[:, 0, ids["good"]])
    np.testing.assert_allclose(function.scores, good.scores, atol=1e-9)


def test_one_of_several_masks() -> None:
    m = made()
    second = pellucid.explain(m, TEXTS[1], target={"mask": 1, "fill": "won"})
    every = pellucid.explain(m, TEXTS[1], target="won")
    assert isinstance(every, Explanations) and len(every) == 2
    assert second.target == every[1].target and second.target.name == "won"
    np.testing.assert_allclose(second.scores, every[1].scores, atol=1e-6)
    assert pellucid.explain(m, TEXTS[1], target={"mask": 0}).target == pellucid.explain(m, TEXTS[1])[0].target


@pytest.mark.parametrize("kind", ["byte level", "sentence pieces"])
def test_a_word_is_found_however_the_vocabulary_writes_it(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    m, ids = made("RobertaForMaskedLM", tokenizer), tokenizer.get_vocab()
    mark = {"byte level": "Ġ", "sentence pieces": "▁"}[kind]
    e = pellucid.explain(m, "the film is <mask> .", target="good")
    assert e.target.index == ids[f"{mark}good"] and e.target.name == "good"
    assert e.text[slice(*e.tokens[e.target.position].span)] == "<mask>"
    assert pellucid.explain(m, "the film is <mask> .", target=f"{mark}good - {mark}bad").target.name == "good - bad"


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("script", SENTENCES)
def test_masks_in_every_script_stand_where_they_were_written(kind: str, script: str) -> None:
    name = "BertForMaskedLM" if kind == "word pieces" else "RobertaForMaskedLM"
    m = made(name, TOKENIZERS[kind](), max_position_embeddings=140)
    m.tokenizer.model_max_length = 128
    mask = m.tokenizer.mask_token
    words = SENTENCES[script].split()
    for k in range(len(words)):
        text = " ".join([*words[:k], mask, *words[k + 1 :]])
        e = pellucid.explain(m, text)
        assert text[slice(*e.tokens[e.target.position].span)] == mask and e.prediction
        for t in e.tokens:
            assert t.span is None or t.special or text[slice(*t.span)].strip() == text[slice(*t.span)]


def test_what_is_wrong_is_said() -> None:
    m = made()
    cases: list[tuple[Any, str]] = [
        ("wonderful", "not one token of this vocabulary at the mask ('wonderful' is 'won', '##d'"),
        ("good - wonderful", "'wonderful' is"),
        ("☃", "not one token"),
        ("good film", "not one token"),
        (9999, "expected None (the predicted fill)"),
        ("", "expected None (the predicted fill)"),
        ({"mask": 3}, "from 0 to 0"),
        ({"mask": 0, "word": "good"}, "'word'"),
        (2.5, "expected None (the predicted fill)"),
    ]
    for target, part in cases:
        with pytest.raises(UnknownTarget, match=re.escape(part)):
            pellucid.explain(m, TEXTS[0], target=target)
    with pytest.raises(InputError, match=re.escape("expected '[MASK]'")):
        pellucid.explain(m, "the film was <mask>")
    with pytest.raises(InputError, match="nothing beside its mask"):
        pellucid.explain(m, "[MASK]")
    with pytest.raises(UnknownBaseline, match="positions that would move"):
        pellucid.explain(m, TEXTS[0], method="occlusion", baseline="delete")
    with pytest.raises(UnsupportedModel, match="expected logits of shape"):
        pellucid.explain(Model(network("BertForSequenceClassification"), word_pieces(), task="fill-mask"), TEXTS[0])
    unmasked = word_pieces()
    unmasked.mask_token = None
    with pytest.raises(UnsupportedModel, match="no mask token"):
        pellucid.explain(Model(m.model, unmasked), TEXTS[0], baseline="pad")
