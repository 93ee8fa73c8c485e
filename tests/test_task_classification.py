"""Text classification: several labels at once, a number, and pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from pellucid import Explanations, Model
from scripts_of_the_world import network, word_pieces

TEXTS = ["The film was great, so good!", "a dull team"]


def made(labels: list[str], **config: Any) -> Model:
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    return Model(network("BertForSequenceClassification", dtype=torch.float64, **names, **config), word_pieces())


def logits(m: Model, *text: str) -> torch.Tensor:
    with torch.no_grad():
        return m.model(**m.tokenizer(*text, return_tensors="pt")).logits[0]


def test_several_labels_at_once_have_a_probability_each() -> None:
    m = made(["sad", "angry", "kind"], problem_type="multi_label_classification")
    for text, e in zip(TEXTS, pellucid.explain(m, TEXTS), strict=True):
        best = logits(m, text).max(0)
        assert e.target.name == e.prediction == m.labels[best.indices] and e.output == pytest.approx(best.values.item())
        assert e.probability == pytest.approx(best.values.sigmoid().item())
    every = pellucid.explain(m, TEXTS[0], target=["sad", "kind"], output="probability")
    assert isinstance(every, Explanations)
    expected = logits(m, TEXTS[0]).sigmoid()[[0, 2]].tolist()
    assert [e.output for e in every] == pytest.approx(expected) and max(e.relative_delta for e in every) < 1e-8


def test_one_output_is_a_number_with_a_name() -> None:
    m = made(["stars"])
    for text, e in zip(TEXTS, pellucid.explain(m, TEXTS), strict=True):
        assert (e.target.name, e.target.index, e.prediction, e.probability) == ("stars", 0, "stars", None)
        assert e.output == pytest.approx(logits(m, text).item()) and e.relative_delta < 1e-9
    assert pellucid.explain(m, TEXTS[0], target="stars").target == e.target


def test_a_premise_and_its_hypothesis() -> None:
    m = made(["contradiction", "neutral", "entailment"])
    ways = [("the team won", "the team is good"), {"premise": "the team won", "hypothesis": "the team is good"}]
    first, second = pellucid.explain(m, ways, target="entailment - contradiction")
    out = logits(m, *ways[0])
    assert first.output == pytest.approx((out[2] - out[0]).item()) and first.target.index == (2, 0)
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-12)
    assert [w.segment for w in first.words() if w.text == "team"] == [0, 1]
