"""Edits that matter: every claim about a reduced or a flipped text is held against the model called directly, and
fewest against exhaustive search."""

from __future__ import annotations

import json
from itertools import combinations, product
from typing import Any

import pytest
import torch

import pellucid
from pellucid.errors import InputError

TEXTS = [
    "the plot is thin but the cast is wonderful",
    "I did not like it at all",
    "neither dull nor boring",
]


@pytest.fixture(scope="module")
def model() -> pellucid.Model:
    return pellucid.load()


def asked(model: pellucid.Model, texts: list[Any]) -> torch.Tensor:
    """The probabilities (texts, classes) that the network itself gives, one text at a time."""
    each = [model.tokenizer(*((t,) if isinstance(t, str) else t), return_tensors="pt") for t in texts]
    with torch.no_grad():
        return torch.cat([model.model(**e).logits.softmax(-1) for e in each])


@pytest.mark.parametrize("text", TEXTS)
def test_a_reduction_is_the_smallest_there_is(model: pellucid.Model, text: str) -> None:
    r, words = pellucid.reduce(model, text, max_passes=2000), text.split()
    own = asked(model, [text])[0]
    sizes = range(1, len(words) + 1)
    for size in sizes:  # fewest words first, all sets of each size
        sets = [" ".join(s) for s in combinations(words, size)]
        found = asked(model, sets)
        keep = found.argmax(1) == own.argmax()
        if keep.any():
            break
    assert r.minimal and len(r.kept) == size
    assert r.reduced_probability == pytest.approx(found[keep][:, own.argmax()].max().item(), abs=1e-5)
    assert asked(model, [r.reduced])[0, own.argmax()].item() == pytest.approx(r.reduced_probability, abs=1e-5)
    assert r.prediction == model.labels[own.argmax()] and r.probability == pytest.approx(own.max().item(), abs=1e-5)
    assert sorted([*r.kept, *r.removed]) == sorted(words)


def test_where_not_every_set_can_be_tried_the_prediction_is_kept_still(model: pellucid.Model) -> None:
    text = "it is not that I did not like the film, but it was far too long for what it had to say"
    r = pellucid.reduce(model, text, max_passes=5)
    own = asked(model, [text, r.reduced]).argmax(1)
    assert own[0] == own[1] and r.found and len(r.kept) < 10
    assert r.passes < 120


def test_a_list_gives_what_each_text_alone_gives(model: pellucid.Model) -> None:
    alone = [pellucid.reduce(model, t).reduced for t in TEXTS]
    assert [r.reduced for r in pellucid.reduce(model, TEXTS)] == alone
    flips = [pellucid.flip(model, t).flipped for t in TEXTS]
    assert [f.flipped for f in pellucid.flip(model, TEXTS)] == flips
    assert pellucid.reduce(model, []) == [] and pellucid.flip(model, []) == []


def test_each_text_of_a_pair_keeps_a_word(model: pellucid.Model) -> None:
    r = pellucid.reduce(model, ("a wonderful film", "really good"))
    assert isinstance(r.reduced, tuple) and all(r.reduced) and len(r.kept) == 2
    assert asked(model, [r.text, r.reduced]).argmax(1).unique().numel() == 1


@pytest.mark.parametrize("text", ["It is a great film", "a good and funny story", TEXTS[1]])
def test_a_flip_by_given_words_is_the_smallest_there_is(model: pellucid.Model, text: str) -> None:
    candidates = ["poor", "long", "always", "nice"]
    f = pellucid.flip(model, text, candidates=candidates, max_passes=20000, max_replacements=2)
    words, own = text.split(), asked(model, [text])[0]
    found: list[str] = []
    for count in (1, 2):
        for at in combinations(range(len(words)), count):
            for put in product(candidates, repeat=count):
                edited = [dict(zip(at, put, strict=True)).get(k, w) for k, w in enumerate(words)]
                found.append(" ".join(edited))
        flips = [t for t, p in zip(found, asked(model, found), strict=True) if p.argmax() != own.argmax()]
        if flips:
            break
    assert f.found == bool(flips)
    if flips:
        assert f.minimal and len(f.replaced) == count and f.flipped in flips


@pytest.mark.parametrize("text", ["It's a great film!", "a dull, lifeless mess", "I loved every minute of it."])
def test_a_flip_from_the_vocabulary_is_what_the_model_says(model: pellucid.Model, text: str) -> None:
    f = pellucid.flip(model, text)
    before, after = asked(model, [text, str(f.flipped)])
    assert f.found and before.argmax() != after.argmax()
    assert f.prediction == model.labels[before.argmax()] and f.flipped_prediction == model.labels[after.argmax()]
    assert (f.probability, f.flipped_probability) == pytest.approx((before.max().item(), after.max().item()), abs=1e-5)
    for r in f.replaced:
        assert text[slice(*r.span)] == r.before and r.after.isalpha() and r.after in str(f.flipped)
        assert len(model.tokenizer.tokenize(r.after)) == 1


def test_a_flip_that_cannot_be_found_is_said_to_be_none(model: pellucid.Model) -> None:
    f = pellucid.flip(model, "a wonderful, wonderful film", candidates=["great"])
    assert not f.found and not f.minimal and f.prediction == f.flipped_prediction
    assert "still says" in str(f)


def test_first_order_finds_what_lowers_the_lead(model: pellucid.Model) -> None:
    """With a budget too small for every word, the best of the first order still flips."""
    f = pellucid.flip(model, "It's a great film!", max_passes=400)
    assert f.found and len(f.replaced) == 1 and f.passes <= 400


def test_a_label_to_flip_to(model: pellucid.Model) -> None:
    f = pellucid.flip(model, "a dull, lifeless mess", to="positive")
    assert f.found and f.flipped_prediction == "positive"
    with pytest.raises(InputError, match="predicts already"):
        pellucid.flip(model, "a dull, lifeless mess", to="negative")
    with pytest.raises(InputError, match="negative, positive"):
        pellucid.flip(model, "a dull, lifeless mess", to="neutral")


def test_results_are_plain_data_and_print(model: pellucid.Model, capsys: pytest.CaptureFixture[str]) -> None:
    r, f = pellucid.reduce(model, "good film"), pellucid.flip(model, "good \x1b[31mfilm")
    assert json.loads(json.dumps(r.to_dict()))["kept"] == [*r.kept]
    assert json.loads(json.dumps(f.to_dict()))["replaced"][0]["after"] == f.replaced[0].after
    r.show()
    f.show()
    assert r.prediction in (told := capsys.readouterr().out) and "\x1b[31m" not in told


def test_the_model_is_left_as_it_was(model: pellucid.Model) -> None:
    model.model.train()
    try:
        pellucid.flip(model, "good film")
        assert model.model.training and all(p.grad is None for p in model.model.parameters())
    finally:
        model.model.eval()


@pytest.mark.parametrize("ask", [pellucid.reduce, pellucid.flip])
def test_what_is_no_classifier_is_refused(ask: Any, model: pellucid.Model) -> None:
    with pytest.raises(InputError, match="as the model"):
        ask(model.model, "good")
    other = pellucid.Model(model.model, model.tokenizer, task="token-classification")
    with pytest.raises(InputError, match="token-classification"):
        ask(other, "good")
    with pytest.raises(InputError, match="beam"):
        ask(model, "good", beam=0)
    with pytest.raises(InputError, match="empty"):
        ask(model, "")


def test_a_kept_word_that_argues_against_the_prediction_is_said() -> None:
    from dataclasses import replace

    model = pellucid.load()
    for text in ("not bad at all, though the plot drags", "a good film that is never dull"):
        e, r = pellucid.explain(model, text), pellucid.reduce(model, text)
        scores = {w.text: w.score for w in e.words()}
        assert r.against == tuple(w for w in r.kept if scores[w] < 0)
        assert "are deleted" in r.sentence
    assert "argues against" in replace(r, against=r.kept[:1]).sentence
