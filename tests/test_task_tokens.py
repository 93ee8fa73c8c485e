"""Token classification: every predicted entity, or the word that is named, at its own place."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid import Explanation, Explanations, Model
from pellucid.errors import InputError, UnknownBaseline, UnknownTarget, UnsupportedModel
from pellucid.models.tasks.token_classification import entities
from pellucid.tokens import Token
from scripts_of_the_world import SENTENCES, TOKENIZERS, Slow, network, word_pieces

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
TEXTS = [
    "Paris visited London, and the team won in Paris!",
    "a great film",
    "the river is in Berlin . where lives it ?",
]


def made(name: str = "BertForTokenClassification", tokenizer: Any = None, labels: Any = LABELS, **how: Any) -> Model:
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    return Model(network(name, **how, **names), tokenizer or word_pieces())


def each(found: Any) -> list[Explanation]:
    return [found] if isinstance(found, Explanation) else list(found)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["Bert", "DistilBert", "Roberta", "Electra", "ModernBert", "GPT2"])
def test_every_goal_adds_up_and_is_the_models_own_logit(name: str, attention: str) -> None:
    m = made(f"{name}ForTokenClassification", attention=attention)
    assert m.does.name == "token-classification"
    for text, found in zip(TEXTS, pellucid.explain(m, TEXTS, baseline="pad"), strict=True):
        with torch.no_grad():
            logits = m.model(m.tokenizer(text, return_tensors="pt")["input_ids"]).logits[0]
        for e in each(found):
            assert e.output == pytest.approx(logits[e.target.position, e.target.index].item(), abs=2e-5)
            best = logits[e.target.position].softmax(0).max(0)
            assert (e.prediction, e.probability) == (LABELS[best.indices], pytest.approx(best.values.item(), abs=1e-5))
            assert e.target.name == LABELS[e.target.index]  # pyright: ignore
            assert abs(e.delta) < 1e-5 * np.abs(e.scores).sum()  # a change of 0.005 is a difference of larger numbers


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", [word_pieces, lambda side: Slow(word_pieces(side))])
def test_batched_is_single_whichever_side_is_padded(side: str, kind: Any) -> None:
    for name in ("BertForTokenClassification", "XLNetForTokenClassification"):
        m = made(name, kind(side), dtype=torch.float64)
        for together, text in zip(pellucid.explain(m, TEXTS), TEXTS, strict=True):
            alone = pellucid.explain(m, text)
            assert [e.target for e in each(together)] == [e.target for e in each(alone)]
            for a, b in zip(each(together), each(alone), strict=True):
                np.testing.assert_allclose(a.scores, b.scores, atol=1e-8)


def words(text: str) -> tuple[Token, ...]:
    """A token a word, after [CLS]; "+ing" goes on with the word before it."""
    tokens, word = [Token("[CLS]", 0, special=True)], -1
    for i, piece in enumerate(text.split()):
        word += not piece.startswith("+")
        tokens.append(Token(piece, 1, (i, i + 1), word=word))
    return tuple(tokens)


@pytest.mark.parametrize(
    ("text", "tags", "expected"),
    [
        ("Ada Love +lace saw Paris", "B-PER I-PER O O B-LOC", {1: "B-PER", 5: "B-LOC"}),
        ("Paris London", "B-LOC B-LOC", {1: "B-LOC", 2: "B-LOC"}),
        ("Paris Ada", "I-LOC I-PER", {1: "I-LOC", 2: "I-PER"}),
        ("New York +er saw", "I-LOC I-LOC B-PER O", {1: "I-LOC"}),
        ("New York Paris", "B-LOC E-LOC S-LOC", {1: "B-LOC", 3: "S-LOC"}),
        ("New York Paris", "B-LOC E-LOC I-LOC", {1: "B-LOC", 3: "I-LOC"}),
        ("runs fast +er O", "VERB ADV NOUN O", {1: "VERB", 2: "ADV"}),
        ("dogs cats", "NOUN NOUN", {1: "NOUN", 2: "NOUN"}),
        ("nothing here", "O O", {}),
    ],
)
def test_entities_begin_and_go_on_as_their_labels_say(text: str, tags: str, expected: dict[int, str]) -> None:
    names = tuple(dict.fromkeys(["O", *tags.split()]))
    found = entities(words(text), [0, *(names.index(tag) for tag in tags.split())], names)
    assert {p.token: names[p.plus] for p in found} == expected


class Tags(nn.Module):
    """A tagger whose answer is known: a token's label is written in its embedding, and mixed a little."""

    def __init__(self, tags: dict[int, int], labels: int):
        super().__init__()
        self.embed = nn.Embedding(420, 16)
        with torch.no_grad():
            self.embed.weight.mul_(0.1)
            for token in range(420):
                self.embed.weight[token, tags.get(token, 0)] += 4.0
        self.labels = labels

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.embed(input_ids) * attention_mask.unsqueeze(2)
        return (x + 0.3 * torch.tanh(x.sum(1, keepdim=True)))[..., : self.labels]


def tagger() -> Model:
    tok = word_pieces()
    vocabulary = tok.get_vocab()
    net = Tags({vocabulary["paris"]: 3, vocabulary["london"]: 3, vocabulary["team"]: 1}, len(LABELS))
    net.config = type("Config", (), {"id2label": dict(enumerate(LABELS))})()  # pyright: ignore
    return Model(net, tok, task="token-classification")


def test_all_entities_are_keyed_by_their_place() -> None:
    found = pellucid.explain(tagger(), TEXTS)
    first = each(found[0])
    spans = [e.tokens[e.target.position].span for e in first]  # pyright: ignore
    assert [TEXTS[0][a:b] for a, b in spans] == ["Paris", "London", "team", "Paris"]  # pyright: ignore
    assert [e.target.name for e in first] == ["B-LOC", "B-LOC", "B-PER", "B-LOC"]
    assert len({e.target.position for e in first}) == 4 and isinstance(found[0], Explanations)
    assert all(e.relative_delta < 1e-5 for e in first)
    assert first[0].scores[first[0].target.position] == max(first[0].scores)


def test_where_nothing_is_predicted_the_nearest_is_explained() -> None:
    m = tagger()
    e = pellucid.explain(m, TEXTS[1])
    with torch.no_grad():
        p = m.model(**m.tokenizer(TEXTS[1], return_tensors="pt"))[0].softmax(1)[1:-1, 1:]
    token, label = divmod(int(p.argmax()), p.shape[1])
    assert (e.target.position, e.target.index, e.prediction) == (token + 1, label + 1, "O")


def test_a_word_is_named_by_its_text_its_place_or_its_characters() -> None:
    m, text = tagger(), TEXTS[0]
    tokens = pellucid.explain(m, text)[0].tokens
    paris = [i for i, t in enumerate(tokens) if t.text == "paris"]

    def targets(target: Any) -> list[tuple[str, Any]]:
        return [(e.target.name, e.target.position) for e in each(pellucid.explain(m, text, target=target))]

    assert targets("Paris") == [("B-LOC", paris[0])]
    assert targets({"word": "Paris", "occurrence": 1}) == targets({"span": (42, 47)}) == [("B-LOC", paris[1])]
    assert targets(paris[1]) == targets({"position": paris[1]}) == [("B-LOC", paris[1])]
    assert targets("PER") == targets("B-PER") == targets("team")
    assert len(targets("LOC")) == 3
    assert targets({"word": "won", "label": "I-LOC"})[0][0] == "I-LOC"
    assert targets(["Paris", "London"]) == [*targets("Paris"), *targets("London")]
    e = pellucid.explain(m, text, target={"word": "the team", "label": "B-LOC - O"})
    plus, minus = (pellucid.explain(m, text, target={"word": "the team", "label": i}) for i in ("B-LOC", 0))
    assert e.target.index == (3, 0) and e.target.name == "B-LOC - O"
    np.testing.assert_allclose(e.scores, plus.scores - minus.scores, atol=1e-5)
    second = pellucid.explain(m, ("the film", "Paris won"), target="Paris")
    assert second.tokens[second.target.position].segment == 1
    same = pellucid.explain(m, ("Paris won", "Paris won"), target={"span": (0, 5), "segment": 1})
    assert same.tokens[same.target.position].segment == 1


def test_probabilities_and_functions() -> None:
    m = made(dtype=torch.float64)
    e = pellucid.explain(m, TEXTS[0], target="visited", output="probability")
    assert e.output == pytest.approx(e.probability) and e.relative_delta < 1e-8
    gap = pellucid.explain(m, TEXTS[0], target=lambda logits: logits[:, 3, 1] - logits[:, 3, 0])
    same = pellucid.explain(m, TEXTS[0], target={"position": 3, "label": "B-PER - O"})
    np.testing.assert_allclose(gap.scores, same.scores, atol=1e-9)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", "shapley", "input_x_gradient"])
def test_every_method_takes_rows_with_different_numbers_of_entities(method: str) -> None:
    m = tagger()
    together = pellucid.explain(m, ["Paris won", "the team won in Paris"], method=method)
    assert [len(each(found)) for found in together] == [1, 2]
    np.testing.assert_allclose(together[0].scores, pellucid.explain(m, "Paris won", method=method).scores, atol=1e-5)


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("script", SENTENCES)
def test_words_in_every_script_stand_where_they_were_named(kind: str, script: str) -> None:
    name = "BertForTokenClassification" if kind == "word pieces" else "RobertaForTokenClassification"
    m = made(name, TOKENIZERS[kind](), max_position_embeddings=140)
    m.tokenizer.model_max_length = 128
    text = SENTENCES[script]
    for found in re.finditer(r"[^\s.,!?،؟]+", text):
        named = pellucid.explain(m, text, target={"span": found.span()})
        span = named.tokens[named.target.position].span
        assert span and text[span[0] :].startswith(found[0])
        same = pellucid.explain(m, text, target=found[0])
        assert same.tokens[same.target.position].span == span or text.count(found[0]) > 1
    for e in each(pellucid.explain(m, text)):
        assert e.target.position is not None and e.tokens[e.target.position].span is not None


@pytest.mark.parametrize("script", SENTENCES)
def test_a_tokenizer_without_offsets_finds_the_same_characters(script: str) -> None:
    text = SENTENCES[script]
    fast, slow = (pellucid.explain(made(tokenizer=t), text, target=1) for t in (word_pieces(), Slow(word_pieces())))
    assert [(t.text, t.special) for t in slow.tokens] == [(t.text, t.special) for t in fast.tokens]
    if script != "emoji":  # one unknown token stands for several signs there, and says not how many
        assert [t.span for t in slow.tokens] == [t.span for t in fast.tokens]


def test_what_is_wrong_is_said() -> None:
    m = tagger()
    cases: list[tuple[Any, str]] = [
        ("Rome", "no 'Rome' in 'Paris visited"),
        ("I-PER", "predicts no I-PER"),
        ("B-PER - B-LOC", "a word too, because each word has labels of its own"),
        ("B-PER - B-LOC", "{'word': …, 'label': 'B-PER - B-LOC'}"),
        ("b per", "did you mean 'B-PER'? Expected a label among"),
        ({"word": "Paris", "occurrence": 2}, "a number from 0 to 1"),
        ({"word": "Paris", "label": "B-ORG"}, "'B-PER'"),
        ({"word": "Paris", "span": (0, 3)}, "expected None (every entity"),
        ({"label": "B-PER"}, "expected None (every entity"),
        ({"span": (0, 3), "segment": 1}, "from 0 to 0"),
        ({"word": "Paris", "colour": 1}, "'colour'"),
        (99, "from 0 to"),
        (True, "position True"),
        (2.5, "expected None (every entity"),
    ]
    for target, part in cases:
        with pytest.raises(UnknownTarget, match=re.escape(part)):
            pellucid.explain(m, TEXTS[0], target=target)
    with pytest.raises(UnknownBaseline, match="positions that would move"):
        pellucid.explain(m, TEXTS[0], method="occlusion", baseline="delete")
    with pytest.raises(InputError, match="'logit' or 'probability'"):
        pellucid.explain(m, TEXTS[0], output="odds")
    classifier = Model(network("BertForSequenceClassification"), word_pieces(), task="token-classification")
    with pytest.raises(UnsupportedModel, match="expected logits of shape"):
        pellucid.explain(classifier, TEXTS[0])
