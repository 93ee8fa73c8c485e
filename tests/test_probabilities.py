"""Modules of a user's own that return probabilities, and models of which a probability is asked that have none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid
from families import model, tokenizer
from itself import read, said
from pellucid import Model, errors
from pellucid.models.tasks.task import PROBABILITIES


class Soft(nn.Module):
    """Word embeddings and one layer, of each token or of their mean; ends in a softmax."""

    def __init__(self, pooled: bool, classes: int = 3):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.pooled = nn.Embedding(100, 8), nn.Linear(8, classes), pooled
        self.double()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        x = self.embed(input_ids).tanh()
        return self.head(x.mean(1) if self.pooled else x).softmax(-1)


class Ends(Soft):
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        return tuple(self.head(self.embed(input_ids).tanh()).softmax(1).unbind(-1))


@pytest.mark.parametrize("output", ["logit", "probability"])
@pytest.mark.parametrize(
    ("task", "net"),
    [
        ("text-classification", Soft(True)),
        ("token-classification", Soft(False)),
        ("fill-mask", Soft(False, 100)),
    ],
)
def test_probabilities_are_reported_as_they_are(task: str, net: Soft, output: str) -> None:
    text = "the [MASK] was good"
    for e in _each(pellucid.explain(Model(net, tokenizer(), task=task), [text, "a dull [MASK]"], output=output)[0]):
        own = said(net, read(tokenizer(), text))[0]
        expected = own if own.ndim == 1 else own[e.target.position]
        assert e.output == pytest.approx(expected[e.target.index].item(), abs=1e-9)
        assert e.probability == pytest.approx(expected.max().item(), abs=1e-9)
        assert e.notes.count(PROBABILITIES) == 1 and e.relative_delta < 1e-9


def test_the_ends_of_an_answer() -> None:
    net, asked = Ends(False, 2), {"question": "was it ?", "context": "good"}
    m = Model(net, tokenizer(), task="question-answering")
    start, end = pellucid.explain(m, asked, output="probability")
    inputs = tokenizer()("was it ?", "good", return_tensors="pt")
    with torch.no_grad():
        starts, _ = net(inputs["input_ids"], inputs["attention_mask"])
    assert start.output == pytest.approx(starts[0, start.target.position].item(), abs=1e-9)
    assert start.probability == pytest.approx(1.0) and PROBABILITIES in end.notes  # among the one word of the context


def test_logits_of_a_known_model_that_merely_add_up_to_one() -> None:
    net = model("Bert", dtype=torch.float64)
    with torch.no_grad():
        net.classifier.weight.zero_()
        net.classifier.bias.copy_(torch.tensor([0.2, 0.3, 0.5]))
    e = pellucid.explain(Model(net, tokenizer()), "a good film")
    expected = torch.tensor([0.2, 0.3, 0.5]).softmax(0)[2].item()
    assert e.probability == pytest.approx(expected) and PROBABILITIES not in e.notes


@pytest.mark.parametrize("labels", [1, 3])
def test_a_regression_has_no_probability(labels: int) -> None:
    from families import built

    net = built("Bert", "BertForSequenceClassification", num_labels=labels, problem_type="regression")
    m = Model(net, tokenizer())
    assert pellucid.explain(m, "a good film").probability is None
    with pytest.raises(errors.InputError, match=r"regression.*expected output='logit'"):
        pellucid.explain(m, "a good film", output="probability")


def _each(answer: Any) -> list[Any]:
    return list(answer) if isinstance(answer, pellucid.Explanations) else [answer]
