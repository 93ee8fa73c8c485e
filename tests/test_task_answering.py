"""Question answering: start and end of an answer, found as the model's logits say and named by its words."""

from __future__ import annotations

import json
import re
from collections import Counter
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import pellucid
from conftest import SHARED
from pellucid import Explanation, Model
from pellucid.errors import InputError, TextTooLong, UnknownBaseline, UnknownTarget, UnsupportedModel
from pellucid.models.tasks.question_answering import LONGEST
from scripts_of_the_world import SENTENCES, TOKENIZERS, Slow, network, word_pieces

ITEMS = [
    {"question": "Who won?", "context": "The team won in Paris, the film was bad."},
    ("where is the river", "a river is in London. The team lives in Berlin, a great river"),
    {"question": "when", "context": "good bad dull"},
]


def made(name: str = "BertForQuestionAnswering", tokenizer: Any = None, **how: Any) -> Model:
    return Model(network(name, **how), tokenizer or word_pieces())


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(
    "name",
    ["Bert", "DistilBert", "Roberta", "Electra", "Albert", "ModernBert", "GPT2", "Bart"],
)
def test_start_and_end_add_up_and_are_the_models_own_logits(name: str, attention: str) -> None:
    m = made(f"{name}ForQuestionAnswering", attention=attention)
    assert m.does.name == "question-answering"
    for item, found in zip(ITEMS, pellucid.explain(m, ITEMS, baseline="pad"), strict=True):
        question, context = item.values() if isinstance(item, dict) else item
        inputs = m.tokenizer(question, context, return_tensors="pt")
        with torch.no_grad():
            out = m.model(**{k: v for k, v in inputs.items() if k in signature(m.model.forward).parameters})
        for e, side, logits in zip(found, ("start", "end"), (out.start_logits, out.end_logits), strict=True):
            assert e.target.name == side and e.target.index == e.target.position
            assert e.output == pytest.approx(logits[0, e.target.position].item(), abs=2e-5)
            assert e.text == (question, context) and e.tokens[e.target.position].segment == 1
            assert e.relative_delta < 1e-4


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", [word_pieces, lambda side: Slow(word_pieces(side))])
def test_batched_is_single_whichever_side_is_padded(side: str, kind: Any) -> None:
    names = ("BertForQuestionAnswering", "XLNetForQuestionAnsweringSimple")
    for name in names:
        m = made(name, kind(side), dtype=torch.float64)
        together, alone = pellucid.explain(m, ITEMS), [pellucid.explain(m, item) for item in ITEMS]
        for a, b in zip(together, alone, strict=True):
            assert [e.target for e in a] == [e.target for e in b] and a[0].prediction == b[0].prediction
            np.testing.assert_allclose(a.matrix(), b.matrix(), atol=1e-8)
            assert max(e.relative_delta for e in a) < 1e-9


def best_span(e: Explanation, start: np.ndarray, end: np.ndarray) -> tuple[int, int, float]:
    """By trying every span of the context."""
    own = [i for i, t in enumerate(e.tokens) if t.segment == 1 and not t.special]
    p, q = (np.exp(v[own] - v[own].max()) / np.exp(v[own] - v[own].max()).sum() for v in (start, end))
    tried = [(p[i] * q[j], own[i], own[j]) for i in range(len(own)) for j in range(i, min(len(own), i + LONGEST))]
    score, i, j = max(tried)
    return i, j, score


def test_the_predicted_answer_is_the_best_span_of_the_context() -> None:
    m = made(dtype=torch.float64)
    items = [("who is it " + "the " * n, "a great film in Paris , " * 5 + "won " * n) for n in range(4)]
    for item in items:
        first, last = pellucid.explain(m, item)
        with torch.no_grad():
            out = m.model(**m.tokenizer(*item, return_tensors="pt"))
        i, j, score = best_span(first, out.start_logits[0].numpy(), out.end_logits[0].numpy())
        assert (first.target.position, last.target.position) == (i, j)
        assert first.probability == pytest.approx(score) and last.probability == first.probability
        assert first.prediction == item[1][first.tokens[i].span[0] : first.tokens[j].span[1]]  # pyright: ignore


def test_an_answer_is_named_by_its_words_its_place_or_its_characters() -> None:
    m = made()
    item = ("who won", "the team won in Paris, and London; the team lives")
    tokens = pellucid.explain(m, item)[0].tokens
    texts = [t.text if t.segment and not t.special else "" for t in tokens]
    places = lambda target: [e.target.position for e in found(target)]

    def found(target: Any) -> list[Explanation]:
        e = pellucid.explain(m, item, target=target)
        return [e] if isinstance(e, Explanation) else list(e)

    first = texts.index("the")
    assert places("the team") == [first, first + 1]
    second = texts.index("the", first + 1)
    assert places({"answer": "the team", "occurrence": 1}) == [second, second + 1]
    assert places({"span": (16, 21)}) == [texts.index("paris")] * 2
    assert places({"answer": "in Paris", "which": "end"}) == [texts.index("paris")]
    assert places({"which": "start"}) == places("start") == places(None)[:1]
    assert places(["start", "end"]) == places(None)
    assert places(0) == [0, 0] and places({"position": 3, "which": "end"}) == [3]
    assert found("Paris")[0].prediction == found(None)[0].prediction


def test_a_short_answer_is_not_found_inside_a_longer_word() -> None:
    m = made()
    e = pellucid.explain(m, ("who", "within it, it won"), target="it")[0]
    assert e.tokens[e.target.position].span[0] == 7  # pyright: ignore
    inside = pellucid.explain(m, ("who", "within"), target="thin")[0]
    begin, end = inside.tokens[inside.target.position].span  # pyright: ignore
    assert begin <= 2 < end


def test_the_largest_start_is_found_again_in_each_pass() -> None:
    m = made(dtype=torch.float64)
    question, context = ITEMS[1]
    e = pellucid.explain(m, ITEMS[1], target={"which": "start", "at": "max"})
    both = pellucid.explain(m, ITEMS[1], target={"at": "max"}, method="integrated_gradients", tol=1e-3)
    assert e.target.position is None and [b.target.name for b in both] == ["largest start", "largest end"]
    inputs = m.tokenizer(question, context, return_tensors="pt")
    own = torch.tensor([t.segment == 1 and not t.special for t in e.tokens])
    kept = torch.tensor([t.special for t in e.tokens])
    masked = torch.where(kept, inputs["input_ids"], m.tokenizer.mask_token_id)
    with torch.no_grad():
        at_x, at_x0 = (
            m.model(**{**inputs, "input_ids": ids}).start_logits[0][own].max().item()
            for ids in (inputs["input_ids"], masked)
        )
    assert (e.output, e.baseline_output) == pytest.approx((at_x, at_x0)) and e.relative_delta < 1e-9
    assert both[0].output == pytest.approx(at_x)


def test_probabilities_are_the_softmax_over_the_context() -> None:
    m = made(dtype=torch.float64)
    first, last = pellucid.explain(m, ITEMS[0], output="probability")
    assert first.output * last.output == pytest.approx(first.probability)
    assert max(first.relative_delta, last.relative_delta) < 1e-8
    (largest,) = pellucid.explain(m, ITEMS[0], target=[{"which": "end", "at": "max"}], output="probability")
    with torch.no_grad():
        ends = m.model(**m.tokenizer(*ITEMS[0].values(), return_tensors="pt")).end_logits[0]
    own = torch.tensor([t.segment == 1 and not t.special for t in last.tokens])
    p = torch.where(own, ends, -torch.inf).softmax(0)
    assert last.output == pytest.approx(p[last.target.position].item())
    assert largest.output == pytest.approx(p.max().item())
    outside = pellucid.explain(m, ITEMS[0], target={"position": 0, "which": "end"}, output="probability")
    own[0] = True
    assert outside.output == pytest.approx(torch.where(own, ends, -torch.inf).softmax(0)[0].item())


def test_a_function_of_the_logits() -> None:
    def gap(out: Any) -> torch.Tensor:
        return out["end"][:, 5] - out["start"][:, 5]

    e = pellucid.explain(made(), ITEMS[0], target=gap)
    assert e.target.name == "gap" and e.relative_delta < 1e-4
    with pytest.raises(UnknownTarget, match="one scalar per row"):
        pellucid.explain(made(), ITEMS[0], target=lambda out: out["end"])


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("script", SENTENCES)
def test_answers_in_every_script_stand_where_they_were_named(kind: str, script: str) -> None:
    name = "BertForQuestionAnswering" if kind == "word pieces" else "RobertaForQuestionAnswering"
    m = made(name, TOKENIZERS[kind](), max_position_embeddings=140)
    m.tokenizer.model_max_length = 128
    context = SENTENCES[script]
    for word in re.findall(r"[^\s.,!?،؟]+", context):
        first, last = pellucid.explain(m, ("who?", context), target=word)
        begin, end = first.tokens[first.target.position].span, last.tokens[last.target.position].span  # pyright: ignore
        assert begin and end and context[begin[0] :].startswith(word) and context[: end[1]].endswith(word)
        assert first.prediction and first.prediction in context


def test_what_is_wrong_with_a_target_is_said() -> None:
    m = made()
    cases: list[tuple[Any, str]] = [
        ("Rome", "no 'Rome' in 'The team"),
        ("team - The", "target=['team', 'The'], and subtract"),
        ({"answer": "the", "occurrence": 7}, "occurrence=7 of 'the'"),
        ({"answer": "team", "where": 1}, "'where'"),
        ({"answer": "team", "span": (0, 3)}, "expected None or 'start' or 'end'"),
        ({"which": "middle"}, "expected None or 'start' or 'end'"),
        ({"at": "min"}, "'at': 'max'"),
        ({"span": (3, 900)}, "0 <= start < end"),
        ({"span": (3, 4)}, "white space"),
        ({"position": 99}, "from 0 to"),
        ({"answer": 3}, "expected some words"),
        (2.5, "expected None or 'start' or 'end'"),
    ]
    for target, part in cases:
        with pytest.raises(UnknownTarget, match=re.escape(part)):
            pellucid.explain(m, ITEMS[0], target=target)


def test_what_is_wrong_with_an_input_is_said() -> None:
    m = made()
    with pytest.raises(InputError, match="expected a question and its context"):
        pellucid.explain(m, "who won?")
    with pytest.raises(InputError, match="left as a token"):
        pellucid.explain(m, ("who won?", "\u0007"))
    with pytest.raises(InputError, match="'logit' or 'probability'"):
        pellucid.explain(m, ITEMS[0], output="odds")
    with pytest.raises(UnknownBaseline, match="positions that would move"):
        pellucid.explain(m, ITEMS[0], method="occlusion", baseline="delete")
    with pytest.raises(UnsupportedModel, match="XLNetForQuestionAnsweringSimple"):
        pellucid.explain(made("XLNetForQuestionAnswering"), ITEMS[0])


def test_only_the_context_is_cut() -> None:
    m = made()
    item = ("who won in the great river", "the team won in Paris . " * 20)
    with pytest.raises(TextTooLong, match="takes 64"):
        pellucid.explain(m, item)
    e = pellucid.explain(m, item, truncate=True)[0]
    assert len(e.tokens) == 64 and sum(t.segment == 0 and not t.special for t in e.tokens) == 6
    with pytest.raises(TextTooLong, match="leaves no room"):
        pellucid.explain(m, ("who won " * 40, "the team"), truncate=True)
    with pytest.raises(UnknownTarget, match="cut off"):
        pellucid.explain(m, item, truncate=True, target={"answer": "team", "occurrence": 19})


def test_the_command_line_shows_both_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pellucid.cli import app

    m = made()
    m.model.save_pretrained(tmp_path)  # pyright: ignore[reportCallIssue]
    m.tokenizer.save_pretrained(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    asked = ["explain", "Who won?", "--context", "the team won in Paris", "--model", str(tmp_path)]
    shown = CliRunner().invoke(app, asked)
    assert shown.exit_code == 0, shown.output
    first, last = pellucid.explain(m, ("Who won?", "the team won in Paris"))
    for e in (first, last):
        assert e.target.name in shown.output.replace("\n", " ")  # a column for each end
    assert shown.output.startswith(f"{first.prediction}  ") and "context" in shown.output
    document = json.loads(CliRunner().invoke(app, [*asked, "--target", "the team", "--json"]).stdout)
    assert [e["target"]["name"] for e in document["explanations"]] == ["start", "end"]


# ------------------------------------------------------------------------------------------------ a real checkpoint


@pytest.fixture(scope="module")
def minilm() -> Model:
    path = SHARED / "models" / "minilm-qa"
    if not path.is_dir():
        pytest.skip("the fine-tuned MiniLM checkpoint is not on this machine")
    return pellucid.load(path)


@pytest.fixture(scope="module")
def xquad() -> list[dict[str, Any]]:
    """Questions on the shorter paragraphs of the articles that minilm-qa was not trained on."""
    path = SHARED / "data" / "xquad.en.json"
    if not path.is_file():
        pytest.skip("XQuAD is not on this machine")
    articles = json.loads(path.read_text("utf-8"))["data"][41:]
    paragraphs = [p for article in articles for p in article["paragraphs"]]
    short = [p for p in paragraphs if len(p["context"]) < 600]
    return [{**q, "context": p["context"]} for p in short for q in p["qas"][:3]][:30]


def f1(found: str, expected: str) -> float:
    """Over words, without articles, as SQuAD counts."""
    a, b = ([w for w in re.findall(r"\w+", t.lower()) if w not in ("a", "an", "the")] for t in (found, expected))
    same = sum((Counter(a) & Counter(b)).values())
    return 2 * same / (len(a) + len(b)) if same else 0.0


def test_a_real_checkpoint_answers_and_adds_up(minilm: Model, xquad: list[dict[str, Any]]) -> None:
    items = [{"question": q["question"], "context": q["context"]} for q in xquad]
    found = pellucid.explain(minilm, items, truncate=True)
    scores = [max(f1(e[0].prediction, a["text"]) for a in q["answers"]) for e, q in zip(found, xquad, strict=True)]
    assert np.mean(scores) > 0.4
    assert np.median([e.relative_delta for es in found for e in es]) < 1e-5
    for item, together in list(zip(items, found, strict=True))[:3]:
        alone = pellucid.explain(minilm, item, truncate=True)
        np.testing.assert_allclose(together.matrix(), alone.matrix(), atol=1e-5)
    answer = xquad[0]["answers"][0]
    named = pellucid.explain(minilm, items[0], target=answer["text"])
    spans = [e.tokens[e.target.position].span for e in named]
    begin = items[0]["context"].index(answer["text"])
    assert (spans[0][0], spans[1][1]) == (begin, begin + len(answer["text"]))
