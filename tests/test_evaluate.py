"""Evaluation: masked and closed-up texts against the model called directly, and a random ranking is the worst."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pellucid
from pellucid.evaluation import removal
from pellucid.metrics.removal_curves import order_of, removal_curves
from pellucid.metrics.word_scores import group_scores

TEXTS = ["an unbelievably gripping film", "dull, and far too long", "it is great"]


@pytest.fixture(scope="module")
def model() -> pellucid.Model:
    return pellucid.load()


def probability(model: pellucid.Model, ids: list[int], label: int, hidden: list[int] | None = None) -> float:
    mask = torch.tensor([[0 if i in (hidden or []) else 1 for i in range(len(ids))]])
    with torch.no_grad():
        logits = model.model(input_ids=torch.tensor([ids]), attention_mask=mask).logits
    return logits.double().softmax(-1)[0, label].item()


@pytest.mark.parametrize("operator", ["mask", "pad", "delete", "attention mask"])
def test_a_curve_is_what_the_model_says_of_the_changed_ids(model: pellucid.Model, operator: str) -> None:
    token = {"mask": model.tokenizer.mask_token_id, "pad": model.tokenizer.pad_token_id}.get(operator)
    answers = [pellucid.explain(model, text) for text in TEXTS]
    with model.borrowed():
        for play in removal.plays(model, model.encode(TEXTS), operator, None):
            for row, number in enumerate(play.numbers):
                e, game = answers[number], play.games["probability"]
                words = [w for w in e.words() if not w.special]
                order = order_of(group_scores(game, row, e.scores))
                assert order.tolist() == sorted(range(len(words)), key=lambda k: -words[k].score)
                curves = {o: removal_curves(g, {"e": {row: order}})["e"][row] for o, g in play.games.items()}
                gone: list[int] = []
                for k in range(len(words) + 1):
                    gone += words[order[k - 1]].tokens if k else ()
                    ids = [t.id for t in e.tokens]
                    if operator == "delete":
                        ids = [i for n, i in enumerate(ids) if n not in gone]
                    elif token is not None:
                        ids = [token if n in gone else i for n, i in enumerate(ids)]
                    hidden = gone if operator == "attention mask" else []
                    p = probability(model, ids, e.target.index, hidden)
                    assert curves["probability"][k] == pytest.approx(p, abs=1e-6)
                    assert curves["log-odds"][k] == pytest.approx(np.log(p / (1 - p)), abs=1e-4)


def test_the_mean_embedding_stands_for_removed_words(model: pellucid.Model) -> None:
    (text,) = TEXTS[2:]
    table = model.embedding.weight
    with model.borrowed():
        (play,) = removal.plays(model, model.encode([text]), "mean", "positive")
        n = play.games["probability"].players[0]
        curve = removal_curves(play.games["probability"], {"e": {0: np.arange(n)}})["e"][0]
    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    x = table[ids].detach().clone()
    x[:, 1:-1] = table.mean(0).detach()
    with torch.no_grad():
        p = model.model(inputs_embeds=x, attention_mask=torch.ones_like(ids)).logits.softmax(-1)[0, 1].item()
    assert curve[-1] == pytest.approx(p, abs=1e-6)


def test_one_operator_alone_is_refused(model: pellucid.Model) -> None:
    with pytest.raises(pellucid.PellucidError, match="by construction"):
        removal.operators_of(model, ["mask"])
    with pytest.raises(pellucid.PellucidError, match="'mask'"):
        removal.operators_of(model, ["masc", "delete"])
    assert removal.operators_of(model, None) == ("mask", "delete")


def test_scores_of_another_input_are_refused(model: pellucid.Model) -> None:
    with model.borrowed():
        (play,) = removal.plays(model, model.encode(["it is great"]), "mask", None)
        with pytest.raises(pellucid.PellucidError, match="tokens"):
            group_scores(play.games["probability"], 0, [1.0, 2.0])
