"""Models that change themselves in a forward pass: each input is answered as by a new model, and nothing stays changed.

The reference is a copy of the model that has run on nothing else.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid
from families import tokenizer
from pellucid import Model
from pellucid.engine.borrowing import one_pass
from pellucid.errors import UnsupportedModel
from tabled import TASKS, explained, listed

SHORT, LONG = "so bad", "The movie was great, so good! but the plot is not, and very dull acting."


def alone(net: nn.Module, inputs: Any) -> Any:
    """What a new model answers."""
    with torch.no_grad():
        return copy.deepcopy(net).eval()(**inputs)


def ids_of(text: str) -> Any:
    return {k: v for k, v in tokenizer()(text, return_tensors="pt").items() if k != "token_type_ids"}


@pytest.mark.parametrize("method", ["deeplift", "occlusion", "integrated_gradients"])
def test_a_short_text_does_not_turn_sparse_attention_off_for_the_longer_ones(method: str) -> None:
    m = explained("BigBirdSparse", "eager", torch.float64, "text-classification")
    texts = [SHORT, LONG, SHORT, TASKS["text-classification"].inputs[1]]
    own = [alone(m.model, ids_of(t)).logits[0, 0].item() for t in texts]
    sparse = copy.deepcopy(m.model).eval()
    sparse.bert.set_attention_type("original_full")
    with torch.no_grad():
        assert abs(sparse(**ids_of(LONG)).logits[0, 0].item() - own[1]) > 1e-3  # so that a test of it says something
    for _ in range(2):
        found = pellucid.explain(m, texts, method, target=0, **({"tol": 0.1} if method[0] == "i" else {}))
        assert [e.output for e in found] == pytest.approx(own, abs=1e-9)


def test_the_two_answers_of_question_answering_are_the_models_own() -> None:
    m = explained("BigBirdSparse", "eager", torch.float64, "question-answering")
    given = [("was it good ?", SHORT), *TASKS["question-answering"].inputs]
    for pair, found in zip(given, pellucid.explain(m, given, baseline="[UNK]"), strict=True):
        own = alone(m.model, ids_of_pair(pair))
        for e, logits in zip(listed(found), (own.start_logits, own.end_logits), strict=True):
            assert e.output == pytest.approx(logits[0, e.target.position].item(), abs=1e-9)
            assert e.delta == pytest.approx(0, abs=1e-9)


def ids_of_pair(pair: tuple[str, str]) -> Any:
    return {k: v for k, v in tokenizer()(*pair, return_tensors="pt").items() if k != "token_type_ids"}


class Counting(nn.Module):
    """Counts its calls in a number, a buffer, a list, a set and a config, and answers by each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(100, 8), nn.Linear(8, 2)
        self.calls, self.seen, self.lengths = 0, [], set()
        self.register_buffer("count", torch.zeros(1))
        self.kept = torch.zeros(1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        self.calls += 1
        self.count += 1  # pyright: ignore
        self.kept.add_(1)
        self.seen.append(input_ids.shape[1])
        self.lengths.add(input_ids.shape[1])
        self.head.bias_of_this = self.embed(input_ids).tanh().mean(1)  # pyright: ignore
        size = self.calls + self.count + self.kept + len(self.seen) + len(self.lengths)  # pyright: ignore
        return self.head(self.head.bias_of_this) * size


def test_a_model_that_counts_its_calls_answers_each_input_alike() -> None:
    torch.manual_seed(0)
    net = Counting()
    m = Model(net, tokenizer())
    texts = [SHORT, LONG, SHORT]
    own = [alone(net, ids_of(t))[0, 1].item() for t in texts]
    for method in ("deeplift", "occlusion"):
        assert [e.output for e in pellucid.explain(m, texts, method, target=1)] == pytest.approx(own, abs=1e-6)
    assert (net.calls, net.count.item(), net.kept.item(), net.seen, net.lengths) == (0, 0, 0, [], set())  # pyright: ignore
    assert not hasattr(net.head, "bias_of_this")


def test_attribute_meets_the_same_module_in_each_pass() -> None:
    class Growing(nn.Module):
        scale = 1.0

        def forward(self, x: Tensor) -> Tensor:
            self.scale = self.scale * 2
            return self.scale * (x * x).sum(-1)

    net = Growing()
    for method in ("deeplift", "integrated_gradients", "shapley"):
        a = pellucid.attribute(net, torch.tensor([[1.0, 2.0]]), method=method)
        assert a.output.item() == pytest.approx(10.0) and a.values[0].tolist() == pytest.approx([2.0, 8.0], rel=1e-3)
    assert net.scale == 1.0 and "scale" not in vars(net)


def test_a_large_buffer_that_changes_in_place_is_refused() -> None:
    net = nn.Linear(1, 1)
    net.register_buffer("much", torch.zeros(1025, 1024))
    with (
        pytest.raises(UnsupportedModel, match=r"Linear changes a tensor of its own, \(1025, 1024\), in place"),
        one_pass(net),
    ):
        net.much.add_(1)  # pyright: ignore


def test_what_a_failing_pass_changed_is_put_back() -> None:
    net = nn.Linear(1, 1)
    with pytest.raises(KeyError), one_pass(net):
        net.weight = nn.Parameter(torch.zeros(1, 1))
        net.register_buffer("extra", torch.zeros(1))
        raise KeyError
    assert net.weight.item() != 0 and not hasattr(net, "extra")
