"""Zero-shot classification: labels of the user's own, by a model of natural language inference."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from itself import read, said
from pellucid import Explanation, Explanations, Model
from pellucid.errors import InputError, TextTooLong, UnknownTarget, UnsupportedModel
from pellucid.models.tasks.zero_shot_classification import inference_labels
from scripts_of_the_world import Slow, network, word_pieces

NLI = ["contradiction", "neutral", "entailment"]
ITEMS = [
    {"text": "The team won in Paris!", "labels": ["team", "film", "river"]},
    {"text": "a great film, and not dull", "labels": ["good", "bad"], "template": "It is {}, is it ?"},
    {"text": "where is the river", "labels": ["river"]},
]


def made(tokenizer: Any = None, labels: Any = NLI, name: str = "BertForSequenceClassification", **how: Any) -> Model:
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    return Model(network(name, **how, **names), tokenizer or word_pieces(), task="zero-shot-classification")


def logits(m: Model, text: str, hypothesis: str) -> torch.Tensor:
    with torch.no_grad():
        return m.model(**m.tokenizer(text, hypothesis, return_tensors="pt")).logits[0]


def test_the_most_probable_label_is_explained_by_its_own_pair() -> None:
    m = made(dtype=torch.float64)
    for item, e in zip(ITEMS, pellucid.explain(m, ITEMS), strict=True):
        template = item.get("template", "This example is {}.")
        entailed = torch.stack([logits(m, item["text"], template.format(label))[2] for label in item["labels"]])
        best = int(entailed.argmax())
        assert isinstance(e, Explanation) and (e.target.name, e.target.index) == (item["labels"][best], best)
        assert e.prediction == e.target.name and e.probability == pytest.approx(entailed.softmax(0)[best].item())
        assert e.text == (item["text"], template.format(item["labels"][best]))
        assert e.output == pytest.approx(entailed[best].item()) and e.relative_delta < 1e-9
        assert {t.segment for t in e.tokens} == {0, 1}


def test_a_label_or_several_by_name_or_number() -> None:
    m = made()
    item = ITEMS[0]
    every = pellucid.explain(m, item, target=["river", 0])
    assert isinstance(every, Explanations) and [e.target.name for e in every] == ["river", "team"]
    assert [e.text[1] for e in every] == ["This example is river.", "This example is team."]
    assert every[0].output == pytest.approx(logits(m, item["text"], "This example is river.")[2].item(), abs=1e-5)
    assert len({e.prediction for e in every}) == 1
    p = pellucid.explain(m, item, target="River", output="probability")
    both = logits(m, item["text"], "This example is river.")[[2, 0]]
    assert p.output == pytest.approx(both.softmax(0)[0].item(), abs=1e-5) and p.relative_delta < 1e-4


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", [word_pieces, lambda side: Slow(word_pieces(side))])
def test_batched_is_single_whichever_side_is_padded(side: str, kind: Any) -> None:
    name = {"right": "BertForSequenceClassification", "left": "XLNetForSequenceClassification"}[side]
    m = made(kind(side), dtype=torch.float64, name=name)
    for together, item in zip(pellucid.explain(m, ITEMS), ITEMS, strict=True):
        alone = pellucid.explain(m, item)
        assert together.target == alone.target
        np.testing.assert_allclose(together.scores, alone.scores, atol=1e-8)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", "shapley"])
def test_other_methods_and_deletion(method: str) -> None:
    m = made()
    options = {"n_steps": 9} if method == "integrated_gradients" else {"baseline": "delete", "groups": "word"}
    e = pellucid.explain(m, ITEMS[2], method=method, **options)
    f = logits(m, *e.text)[2].item()
    assert e.output == pytest.approx(f, abs=1e-5)
    if method == "occlusion":  # against the model on the text without the word
        words = ITEMS[2]["text"].split()
        assert [t.text for t in e.tokens[1:5]] == words
        for i in range(4):
            shorter = logits(m, " ".join(words[:i] + words[i + 1 :]), e.text[1])[2].item()
            assert e.scores[i + 1] == pytest.approx(f - shorter, abs=1e-4)
    elif method == "shapley":  # all words gone: [CLS] [SEP] [SEP]
        empty = said(m.model, {"input_ids": torch.tensor([[2, 3, 3]])})[0, 2].item()
        assert e.scores.sum() == pytest.approx(f - empty, rel=1e-4)
    else:
        masked = said(m.model, read(m.tokenizer, *e.text, by="[MASK]"))[0, 2].item()
        assert e.scores.sum() == pytest.approx(f - masked, rel=3e-2)


def test_a_task_that_no_architecture_names(tmp_path: Any) -> None:
    m = made()
    assert Model(m.model, m.tokenizer).does.name == "text-classification"
    m.model.save_pretrained(tmp_path)  # pyright: ignore[reportCallIssue]
    m.tokenizer.save_pretrained(tmp_path)
    loaded = pellucid.load(tmp_path, task="zero-shot-classification")
    np.testing.assert_allclose(
        pellucid.explain(loaded, ITEMS[0]).scores, pellucid.explain(m, ITEMS[0]).scores, atol=1e-6
    )


def test_entailment_is_found_by_its_name() -> None:
    assert inference_labels(NLI) == (2, 0)
    assert inference_labels(["ENTAILMENT", "NEUTRAL", "CONTRADICTION"]) == (0, 2)
    assert inference_labels(["entailment", "not_entailment"]) == (0, 1)
    assert inference_labels(["not_entailment", "entailment"]) == (1, 0)


def test_what_is_wrong_is_said() -> None:
    m = made()
    with pytest.raises(UnsupportedModel, match="a label 'entailment'; found the labels 'good', 'bad'"):
        pellucid.explain(made(labels=["good", "bad"]), ITEMS[0])
    for target in ("sports", 3, 2.5, "team - film"):
        with pytest.raises(UnknownTarget, match="'team', 'film', 'river'"):
            pellucid.explain(m, ITEMS[0], target=target)
    for item, part in [
        ("a text", "expected a mapping {'text'"),
        ({"text": "a"}, "expected a mapping {'text'"),
        ({"text": "a", "labels": ["b"], "more": 1}, "expected a mapping {'text'"),
        ({"text": "a", "labels": []}, "at least one label"),
        ({"text": "a", "labels": ["b", "b"]}, "each a different"),
        ({"text": "a", "labels": "b"}, "a list of at least one label"),
        ({"text": " ", "labels": ["b"]}, "a text with words"),
        ({"text": "a", "labels": ["b"], "template": "no place"}, "expected one {} in it"),
    ]:
        with pytest.raises(InputError, match=re.escape(part)):
            pellucid.explain(m, item)
    long = {"text": "the team won " * 30, "labels": ["team", "river"]}
    with pytest.raises(TextTooLong, match="takes 64"):
        pellucid.explain(m, long)
    e = pellucid.explain(m, long, truncate=True)
    assert len(e.tokens) == 64 and [t.text for t in e.tokens if t.segment and not t.special][-1] == "."
