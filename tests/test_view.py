"""A View holds all that is shown, as JSON: the text exactly, sums that add up, and nothing of the user's disk."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pellucid
from pellucid import Explanation, Explanations, Model, Target, Token
from pellucid.public_names import model_name
from test_render import HOSTILE, WORLD, explained, printed


def one(e: Explanation) -> dict[str, Any]:
    """The JSON of the only explanation of a View."""
    document = json.loads(e.view().to_json())
    assert document["schema_version"] == 1
    (found,) = document["explanations"]
    return found


@pytest.mark.parametrize("text", [*HOSTILE, *WORLD, "One. Two!  Three"])
def test_the_runs_of_every_level_are_the_text_and_add_up(text: str) -> None:
    scores = np.random.default_rng(0).normal(size=len(explained(text).tokens))
    e = explained(text, scores=scores)
    (passage,) = one(e)["passages"]
    for level in ("tokens", "words", "sentences"):
        runs = passage[level]
        assert "".join(run["text"] for run in runs) == text == passage["text"]
        assert all(run["text"] == text[run["start"] : run["end"]] for run in runs)
        assert sum(run["score"] for run in runs) == pytest.approx(scores.sum(), abs=1e-12)
        assert sorted(i for run in runs for i in run["tokens"]) == list(range(len(e.tokens)))


def test_indices_lead_from_tokens_to_words_and_sentences_and_back() -> None:
    v = one(explained("surprisingly good. But not amazing!", {"good": 2.0, "amazing": -3.0}))
    for level in ("word", "sentence"):
        for i, token in enumerate(v["tokens"]):
            assert i in v[f"{level}s"][token[level]]["tokens"]
    assert [v["words"][i]["text"] for i in v["ranking"]][:2] == ["amazing", "good"]
    assert [v["words"][i]["text"] for i in v["strongest"]][:2] == ["amazing", "good"]
    assert all(not v["words"][i]["special"] for i in v["ranking"]) and v["peak"] == 3.0


@pytest.mark.parametrize(
    ("task", "count", "roles"),
    [
        ("question-answering", 2, ["question", "context"]),
        ("zero-shot-classification", 2, ["text", "hypothesis"]),
        ("text-generation", 2, ["prompt", "continuation"]),
        ("text2text-generation", 2, ["source", "continuation"]),
        ("multiple-choice", 3, ["prompt", "choice 1", "choice 2"]),
        ("text-classification", 2, ["text 1", "text 2"]),
        ("text-classification", 1, ["text"]),
        ("text-generation", 5, ["text 1", "text 2", "text 3", "text 4", "text 5"]),
    ],
)
def test_texts_have_the_names_of_their_roles(task: str, count: int, roles: list[str]) -> None:
    texts = ("so good",) * count
    e = explained(texts if count > 1 else texts[0], meta={"task": task})
    assert [p["role"] for p in one(e)["passages"]] == roles
    if count > 1:
        assert all(role in printed(e) and f">{role}</p>" in e.to_html() for role in roles)


def test_a_generation_is_a_matrix_without_what_was_not_yet_there() -> None:
    tokens = tuple(Token(t, i, (0, 1), word=i, segment=int(i > 1)) for i, t in enumerate("abcde"))
    base = explained(("ab", "cde"), tokens=tokens, scores=np.zeros(5), meta={"task": "text-generation"})
    rows = [np.array([1.0, -2, 0, 0, 0]), np.array([0.5, 0, 3, 0, 0]), np.array([0.1, 0, 0, 4, 0])]
    es = Explanations(tuple(replace(base, scores=s, target=Target("x", 1, position=2 + i)) for i, s in enumerate(rows)))
    (found,) = json.loads(es.view().to_json())["generations"]
    assert found["scores"] == [[1, -2, None, None, None], [0.5, 0, 3, None, None], [0.1, 0, 0, 4, None]]
    assert (found["rows"], found["explanations"], found["first"], found["peak"]) == ([2, 3, 4], [0, 1, 2], 2, 4)
    assert explained("good").view().generations == ()
    again = tuple(replace(e, method="occlusion") for e in es)
    both = Explanations(tuple(e for pair in zip(es, again, strict=True) for e in pair)).view().generations
    assert [(g.method, g.explanations) for g in both] == [("deeplift", (0, 2, 4)), ("occlusion", (1, 3, 5))]


def test_what_differs_and_what_is_common() -> None:
    e = explained("good film")
    view = Explanations((e, replace(e, method="ig", passes=9, notes=("slow",)))).view()
    assert view.differing == ("method", "passes") and view.own == (("deeplift", "2"), ("ig", "9"))
    assert ("baseline", "mask") in [(f.name, f.value) for f in view.common]
    assert view.same_input and [(n.text, n.rows) for n in view.notes] == [("slow", (2,))]
    assert not Explanations((e, explained("bad film"))).view().same_input


def test_large_arrays_only_where_they_are_asked_for() -> None:
    e = explained("good")
    n = len(e.tokens)
    heads = np.random.default_rng(0).normal(size=(2, 3, n, n))
    e = replace(e, heads=heads, attentions=heads**2, measures={"norm_f": heads})
    assert one(e)["heads"] is None and one(e)["attentions"] is None
    whole = json.loads(e.view(include=("heads", "attentions")).to_json())["explanations"][0]
    assert whole["heads"] == heads.tolist() and whole["attentions"] == (heads**2).tolist()
    assert whole["measures"]["norm_f"] == heads.tolist()


def test_the_parts_and_an_image() -> None:
    e = explained("good")
    parts = {"word": e.scores, "position": -e.scores}
    told = {"baseline": "mask, at the first", "output": 1.0, "baseline_output": 1.0, "delta": 0.0}
    found = one(replace(e, parts=parts, meta={"parts": told}))["parts"]
    assert found["scores"]["word"] == e.scores.tolist() and found["sums"]["position"] == -e.scores.sum()
    assert found["baseline"] == "mask, at the first" and found["sentence"] in printed(
        replace(e, parts=parts, meta={"parts": told}), width=300
    )
    patches = tuple(Token(f"{i // 3},{i % 3}", 0) for i in range(6))
    assert one(explained("", tokens=patches, scores=np.zeros(6)))["grid"] == [2, 3]
    assert one(e)["grid"] is None


def test_json_without_numbers_that_are_not_finite() -> None:
    e = explained("good film")
    e = replace(e, scores=np.full(len(e.tokens), np.nan), meta={"odd": float("inf"), "what": object})
    assert one(e)["tokens"][0]["score"] is None and one(e)["meta"]["odd"] is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bert-base-uncased", "bert-base-uncased"),
        ("org/bert", "org/bert"),
        ("/home/me/models/bert", "bert"),
        ("./models/bert/", "bert"),
        ("~/bert", "bert"),
        (r"C:\\Users\\me\\bert", "bert"),
        ("runs/3/checkpoint-500", "checkpoint-500"),
        ("/root/.cache/huggingface/hub/models--org--bert-base/snapshots/0a1b2c", "org/bert-base"),
        ("/root/.cache/huggingface/hub/models--org--bert-base", "org/bert-base"),
        (None, ""),
    ],
)
def test_a_path_is_no_name_of_a_model(name: str | None, shown: str) -> None:
    assert model_name({"model": name}) == shown
    if name is not None and name != shown:
        e = explained("good film", meta={"model": name})
        for text in (printed(e), e.to_html(), e.view().to_json(), Explanations((e, e)).to_html(), str(e)):
            assert name not in text and shown in text
        assert e.meta["model"] == name and Explanation.from_json(e.to_json()).meta["model"] == name


def test_a_true_label_is_shown(bundled: Model) -> None:
    e = pellucid.explain(bundled, {"text": "a good film", "label": 1})
    assert e.label == "positive" and one(e)["label"] == "positive" and "label positive" in printed(e, width=200)


def half_written() -> Explanations:
    """ "year" continued by "2018", a word of four tokens: the targets are its second and its fourth."""
    spans = [(0, 4), (1, 2), (2, 3), (3, 4), (4, 5)]
    tokens = tuple(Token(w, i, spans[i], False, 0, int(i > 0)) for i, w in enumerate(["year", "2", "0", "1", "8"]))
    rows = {2: [1.0, 3.0, 0, 0, 0], 4: [0.5, 0.25, 2.0, 4.0, 0]}
    each: list[Explanation] = []
    for at, scores in rows.items():
        told = (("year", " 2018"), tokens, np.array(scores), Target(tokens[at].text, at, at), "deeplift", "filler")
        each.append(Explanation(*told, sum(scores), 0.0, 0.0, meta={"task": "text-generation"}))
    return Explanations(tuple(each))


def test_a_half_written_word_is_cut_before_the_target() -> None:
    es = half_written()
    assert [(w.text, w.score) for w in es[0].view().explanations[0].words] == [("year", 1.0), ("2", 3.0), ("018", 0.0)]
    assert [(w.text, w.score) for w in es[0].top(2)] == [("2", 3.0), ("year", 1.0)]
    assert [w.text for w in es[0].words()] == ["year", "2018"]
    views = es.view().explanations  # one cut for all targets, so that the rows of a table are the same words
    assert [[w.text for w in v.words] for v in views] == [["year", "2", "01", "8"]] * 2
    assert [[w.score for w in v.words] for v in views] == [[1.0, 3.0, 0.0, 0.0], [0.5, 0.25, 6.0, 0.0]]
    for v in views:
        for passage in v.passages:
            assert "".join(run.text for run in passage.words) == passage.text
    printed = str(es)
    assert "2018 +" not in printed and "2 +3.000" in printed


def test_the_tokens_of_a_continuation_are_counted_from_its_first() -> None:
    views = half_written().view().explanations
    assert [v.facts[0].value for v in views] == ["0 at token 2", "8 at token 4"]
