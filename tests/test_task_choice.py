"""Multiple choice: the logit of a choice, attributed to the prompt and the choices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from families import tokenizer
from heads import headed
from itself import read, said, times_gradient
from pellucid import Model
from pellucid.errors import InputError, UnknownTarget

ITEM = {"prompt": "the film was", "choices": ["very good , not dull", "bad", "so so"]}
OTHER = {"text": "it is a plot and", "choices": ["great", "very very dull"]}


def chooser(family: str, attention: str = "eager") -> Any:
    return headed(family, "ForMultipleChoice", attention)


def logits(net: Any, item: Any) -> Any:
    """Those of transformers for one choice at a time, without padding."""
    prompt, choices = list(item.values())
    found = []
    for choice in choices:
        inputs = {k: v.unsqueeze(0) for k, v in tokenizer()(prompt, choice, return_tensors="pt").items()}
        with torch.no_grad():
            found.append(net(**inputs).logits[0, 0].item())
    return np.array(found)


@pytest.mark.parametrize(  # each padded where its head does not look: BERT's at the first token, XLNet's at the last
    ("family", "attention", "side"),
    [("Bert", "eager", "right"), ("Bert", "sdpa", "right"), ("Roberta", "sdpa", "right"), ("XLNet", "eager", "left")],
)
def test_adds_up_with_other_numbers_of_choices_beside_it(family: str, attention: str, side: str) -> None:
    net = chooser(family, attention)
    m = Model(net, tokenizer(side=side))
    assert m.does.name == "multiple-choice"
    items = [ITEM, OTHER, {**ITEM, "prompt": "a good movie was not so very"}]
    for item, e in zip(items, pellucid.explain(m, items), strict=True):
        expected = logits(net, item)
        best = int(expected.argmax())
        assert (e.prediction, e.target.name, e.target.index) == (item["choices"][best],) * 2 + (best,)
        assert e.output == pytest.approx(expected[best], abs=1e-4)
        assert e.probability == pytest.approx(np.exp(expected[best]) / np.exp(expected).sum(), abs=1e-4)
        assert e.relative_delta < 1e-4
        np.testing.assert_allclose(pellucid.explain(m, item).scores, e.scores, atol=1e-5 * np.abs(e.scores).max())


def test_a_choice_is_scored_by_its_own_sequence() -> None:
    m = Model(chooser("Bert"), tokenizer())
    e = pellucid.explain(m, ITEM, target="bad")
    assert e.target.index == 1
    assert e.text == ("the film was", *ITEM["choices"])
    own = [e.text[t.segment][slice(*t.span)] for t in e.tokens if t.span]
    assert own == [
        "the",
        "film",
        "was",
        "very",
        "good",
        ",",
        "not",
        "dull",
        *"the film was bad the film was so so".split(),
    ]
    length = [i for i, t in enumerate(e.tokens) if t.text == "[CLS]"]
    outside = np.r_[0 : length[1], length[2] : len(e.tokens)]
    assert not e.scores[outside].any() and e.scores.any()


def test_targets() -> None:
    net = chooser("Bert")
    m = Model(net, tokenizer())
    each = logits(net, ITEM)
    a, b, contrast, mean = pellucid.explain(m, ITEM, target=[0, "so so", "bad - so so", lambda out: out.mean(1)])
    assert (a.output, b.output) == (pytest.approx(each[0], abs=1e-5), pytest.approx(each[2], abs=1e-5))
    assert (contrast.output, contrast.target.index) == (pytest.approx(each[1] - each[2], abs=1e-5), (1, 2))
    assert mean.output == pytest.approx(each.mean(), abs=1e-5)
    assert all(e.relative_delta < 1e-4 for e in (a, b, contrast, mean))
    p = pellucid.explain(m, ITEM, target=0, output="probability")
    assert p.output == pytest.approx(np.exp(each[0]) / np.exp(each).sum(), abs=1e-5)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", "input_x_gradient"])
def test_other_methods(method: str) -> None:
    """Against the model alone, on the one sequence of the choice; all others have 0."""
    net, tok = chooser("Bert"), tokenizer()
    e = pellucid.explain(Model(net, tok), ITEM, method=method, target=1)
    texts = ITEM["prompt"], ITEM["choices"][1]
    ask = lambda **how: said(net, {k: v[None] for k, v in read(tok, *texts, **how).items()})[0, 0].item()
    begin = [i for i, t in enumerate(e.tokens) if t.text == "[CLS]"]
    own = e.scores[begin[1] : begin[2]]
    np.testing.assert_allclose(np.r_[e.scores[: begin[1]], e.scores[begin[2] :]], 0, atol=1e-6)
    if method == "integrated_gradients":
        assert own.sum() == pytest.approx(ask() - ask(by="[MASK]"), rel=2e-2)
    elif method == "occlusion":
        expected = [0.0 if t.special else ask() - ask(by="[MASK]", at=[i]) for i, t in enumerate(of(e, begin))]
        np.testing.assert_allclose(own, expected, atol=1e-5)
    else:
        x, x0 = (net.get_input_embeddings()(read(tok, *texts, by=by)["input_ids"]) for by in (None, "[MASK]"))
        f = lambda x: net(inputs_embeds=x[None]).logits[0, 0]
        np.testing.assert_allclose(own, times_gradient(f, x, x0)[0], atol=1e-5)


def of(e: Any, begin: list[int]) -> Any:
    """The tokens of the second choice's sequence."""
    return e.tokens[begin[1] : begin[2]]


def test_a_word_of_the_prompt_is_one_player() -> None:
    """It stands in every sequence, and goes from all of them."""
    m = Model(chooser("Bert"), tokenizer())
    e = pellucid.explain(m, ITEM, method="occlusion", groups="word", target="bad - so so")
    film = [s for t, s in zip(e.tokens, e.scores, strict=True) if t.text == "film"]
    assert len(film) == 3 and len(set(film)) == 1


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ("a text", "a prompt and its choices"),
        ({"prompt": "a"}, "a prompt and its choices"),
        ({"prompt": "a", "choices": "b"}, "a prompt and its choices"),
        ({"prompt": "a", "choices": ["b", 3]}, "a prompt and its choices"),
        ({"prompt": "a", "choices": ["b"]}, "at least two"),
        ({"prompt": "a", "choices": ["b", " "]}, "empty"),
    ],
)
def test_errors_say_what_to_do(item: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        pellucid.explain(Model(chooser("Bert"), tokenizer()), item)


def test_an_unknown_choice() -> None:
    with pytest.raises(UnknownTarget, match="'bad'"):
        pellucid.explain(Model(chooser("Bert"), tokenizer()), ITEM, target="wonderful")


@pytest.mark.parametrize("side", ["right", "left"])
def test_attention_is_within_each_choice(side: str) -> None:
    """Against the attentions that transformers returns for each choice by itself, without padding."""
    family = "XLNet" if side == "left" else "Bert"
    net = chooser(family)
    e = pellucid.explain(Model(net, tokenizer(side=side)), ITEM, detail=("attentions", "rollout"))
    at = 0
    for choice in ITEM["choices"]:
        ids = {k: v.unsqueeze(0) for k, v in tokenizer()(ITEM["prompt"], choice, return_tensors="pt").items()}
        with torch.no_grad():
            own = torch.cat(net(**ids, output_attentions=True).attentions)
        place = slice(at, at + own.shape[-1])
        np.testing.assert_allclose(e.attentions[..., place, place], own, atol=1e-5)
        at = place.stop
        assert not e.attentions[..., place, at:].any() and not e.attentions[..., at:, place].any()
    assert at == len(e.tokens)
    np.testing.assert_allclose(e.attentions.sum(-1), 1, atol=1e-5)
