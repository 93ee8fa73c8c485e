"""What the errors about the inside of a model advise is followed, and works."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid
from families import FAMILIES, tokenizer
from families import model as family
from heads import headed
from pellucid import Model, PellucidError
from pellucid.errors import UnsupportedModel

TEXT = "a good film"
MEASURES = ("attentions", "norms", "rollout", "attention_x_gradient")


@pytest.mark.parametrize("name", ["Longformer", "FNet", "Funnel", "XLNet", "SqueezeBert", "ConvBert", "Nystromformer"])
@pytest.mark.parametrize("detail", ["layers", "heads", *MEASURES])
def test_what_cannot_be_told_can_be_left_out(name: str, detail: str) -> None:
    m = Model(family(name), tokenizer(side=FAMILIES[name].side, separators=FAMILIES[name].separators))
    try:
        pellucid.explain(m, TEXT, detail=detail)
    except PellucidError as error:
        said = str(error)
        if "Leave out" in said:
            assert repr(detail) in said.split("Leave out")[1]
            pellucid.explain(m, TEXT)
        if "detail=('attentions',)" in said:
            pellucid.explain(m, TEXT, detail=("attentions",))
        if "at=['path.to.layer', …]" in said and name != "XLNet":  # all its modules have the tokens before the rows
            embedding = next(n for n, module in m.model.named_modules() if module is m.runner.embedding)
            assert pellucid.explain(m, TEXT, detail="layers", at=[embedding]).layers is not None
        assert "Leave out" in said or "detail=('attentions',)" in said or "at=['path.to.layer', …]" in said


@pytest.mark.parametrize("detail", MEASURES)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_an_encoder_and_a_decoder_tell_no_attention_of_both(detail: str, layers: int) -> None:
    """The encoder's layers read one of two sequences, also where the other is as long, and there are as many layers."""
    net = headed("T5", "ForConditionalGeneration", num_layers=layers)
    item: Any = (TEXT, TEXT)
    with pytest.raises(PellucidError, match=f"Leave out '{detail}'"):
        pellucid.explain(Model(net, tokenizer()), item, detail=detail)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bert.encoder.layer.3", ["bert.encoder.layer.0", "bert.encoder.layer.1", "bert.encoder.layer.2"]),
        ("encoder.layer.2", ["bert.encoder.layer.2"]),
        ("bert.encoder.layers.1", ["bert.encoder.layer.1"]),
        ("embeddings", ["bert.embeddings"]),
        ("nothing at all", ["bert.encoder.layer.0"]),
    ],
)
def test_a_module_that_is_not_there_is_answered_with_names_near_it(name: str, expected: list[str]) -> None:
    m = pellucid.load()
    with pytest.raises(PellucidError, match="no module of that name") as caught:
        pellucid.explain(m, TEXT, at=name)
    listed = re.findall(r"'([\w.]+)'", str(caught.value).split("such as")[1])
    assert set(expected) <= set(listed) and len(listed) <= 6
    assert set(listed) <= {n for n, _ in m.model.named_modules()}
    pellucid.explain(m, TEXT, at=expected[0])


class InAParameter(nn.Module):
    """Looks its ids up in a parameter; `sentences` × tokens where it reads documents."""

    def __init__(self, sentences: bool = False) -> None:
        super().__init__()
        self.table, self.out, self.sentences = nn.Parameter(torch.randn(100, 8)), nn.Linear(8, 2), sentences
        self.embed = nn.Embedding(100, 8) if sentences else None

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        if self.embed is None:
            return self.out(F.embedding(input_ids, self.table).tanh().mean(1))
        _, _, _ = input_ids.shape
        h = self.embed(input_ids).tanh().mean(2)
        return self.out((h.softmax(1) * h).sum(1))


def advised(net: nn.Module, ids: Tensor) -> None:
    """`attribute` on ids, as the errors say, against the network called directly."""
    a = pellucid.attribute(lambda ids: net(ids), ids, torch.full_like(ids, 4), target=0)
    with torch.no_grad():
        change = (net(ids) - net(torch.full_like(ids, 4)))[:, 0]
    torch.testing.assert_close(a.values.flatten(1).sum(1), change)  # pyright: ignore


def test_ids_that_are_looked_up_in_a_parameter() -> None:
    net = InAParameter()
    with pytest.raises(PellucidError, match=r"Found no embedding module.*pellucid.attribute\(lambda ids: model\(ids\)"):
        Model(net, tokenizer())
    advised(net, tokenizer()(TEXT, return_tensors="pt")["input_ids"])


class OfOneSentence(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.net(input_ids[:, None])


@pytest.mark.parametrize("method", ["deeplift", "occlusion"])
def test_documents_of_sentences(method: str) -> None:
    net = InAParameter(sentences=True)
    ids = torch.tensor([[[2, 5, 3], [2, 7, 3]]])
    with pytest.raises(UnsupportedModel, match=r"sentences × tokens: explain a network of one sentence"):
        Model(net, tokenizer())
    with pytest.raises(PellucidError, match=r"Found input_ids .*sentences × tokens"):
        pellucid.explain(Model(OfOneSentence(net), tokenizer()), {"input_ids": ids}, method)
    advised(net, ids)
    e = pellucid.explain(Model(OfOneSentence(net), tokenizer()), TEXT, method, target=0)
    with torch.no_grad():
        own = net(tokenizer()(TEXT, return_tensors="pt")["input_ids"][:, None])[0, 0].item()
    assert e.output == pytest.approx(own, abs=1e-6)
