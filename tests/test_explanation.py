"""The frozen result: spans, words, JSON both ways, frames."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from html import unescape
from pathlib import Path
from unicodedata import category, normalize

import numpy as np
import pytest

import pellucid
from families import tokenizer
from pellucid import Explanation, Explanations, Model
from pellucid.answers import Answers
from pellucid.errors import InputError, UnknownMethod
from pellucid.models.text.tokenizing import encode

WHOLE = ["text", "target", "method", "model", "prediction", "probability", "label"]
TEXT = "Très naïve, 😀 한국어 영화가 xyzzyq it's “GREAT” — مرحبا"


@pytest.fixture(scope="module")
def found(bundled: Model) -> Explanation:
    return pellucid.explain(bundled, TEXT)


def test_spans_point_at_the_right_characters(found: Explanation) -> None:
    words = {w.text for w in found.words() if not w.special}
    assert {"Très", "naïve", ",", "😀", "한국어", "영화가", "xyzzyq", "it", "GREAT", "مرحبا"} <= words
    assert all((t.span is None) == t.special for t in found.tokens)
    pieces = [(t.text.removeprefix("##"), TEXT[slice(*t.span)]) for t in found.tokens if t.span]
    plain = lambda text: "".join(c for c in normalize("NFD", text.lower()) if category(c) != "Mn")
    known = [(piece, shown) for piece, shown in pieces if piece != "[UNK]"]
    assert len(known) > 10 and all(normalize("NFC", piece) == normalize("NFC", plain(shown)) for piece, shown in known)


def test_words_survive_the_delta(found: Explanation) -> None:
    assert sum(w.score for w in found.words()) == pytest.approx(found.scores.sum(), abs=1e-12)
    assert sum(len(w.tokens) for w in found.words()) == len(found.tokens)
    assert [w.text for w in found.top(3)] == [
        w.text for w in sorted((w for w in found.words() if not w.special), key=lambda w: -abs(w.score))[:3]
    ]


def test_it_is_frozen(found: Explanation) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.delta = 0.0  # pyright: ignore
    with pytest.raises(ValueError, match="read-only"):
        found.scores[0] = 1.0


def test_json_both_ways(found: Explanation, bundled: Model) -> None:
    pair = pellucid.explain(bundled, ("a good film", "not bad"), target="positive - negative", baseline=["mask", "pad"])
    for e in (found, pair):
        again = Explanation.from_json(e.to_json())
        assert again.to_dict() == e.to_dict()
        assert again.tokens == e.tokens and again.target == e.target and again.text == e.text
        np.testing.assert_array_equal(again.scores, e.scores)
    assert found.to_dict()["schema_version"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff", "JSON"),
        ("{", "JSON"),
        ("[]", "list"),
        ("{}", "schema_version"),
        ('{"schema_version": 99}', "99.*reads 1"),
        ('{"schema_version": 1}', "'tokens'.*what to_dict"),
    ],
)
def test_json_that_is_not_ours(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Explanation.from_json(text)


def test_equal_is_the_same_in_every_number(found: Explanation, bundled: Model) -> None:
    deep = pellucid.explain(bundled, "a good film", detail=("layers", "parts", "norms"))
    for e in (found, deep):
        for again in (Explanation.from_json(e.to_json()), pickle.loads(pickle.dumps(e)), copy.deepcopy(e)):
            assert again == e and hash(again) == hash(e)
            assert not again.scores.flags.writeable
    assert deep.layers is not None and found != deep and found != "found"
    assert dataclasses.replace(deep, layers=deep.layers + 1e-12) != deep


def test_several_are_read_again(bundled: Model, tmp_path: Path) -> None:
    es = pellucid.explain(bundled, "a good film", target=["positive", "negative"])
    assert Explanations.from_json(es.to_json()) == es == pickle.loads(pickle.dumps(es))
    assert Explanations.from_json(es.save(tmp_path / "two.json").read_text("utf-8")) == es
    assert Explanations.from_json(es[0].save(tmp_path / "one.json").read_text("utf-8")) == es[:1]
    with pytest.raises(InputError, match=r"Explanations\.from_dict"):
        Explanation.from_json(es.to_json())
    for data in ({"explanations": 5}, {"explanations": [5]}, {"error": {"type": "CutGraph"}, "explanations": []}):
        with pytest.raises(InputError, match=r"expected|Expected"):
            Explanations.from_dict(data)


def test_a_matrix_needs_rows_of_one_length(bundled: Model) -> None:
    a, b = pellucid.explain(bundled, ["a good film", "bad"])
    for items in ((), (a, b)):
        with pytest.raises(InputError, match="tokens; expected"):
            Explanations(items).matrix()


def test_frame(found: Explanation) -> None:
    pytest.importorskip("pandas")
    frame = dataclasses.replace(found, label="positive", meta={**found.meta, "model": "/home/me/bert"}).to_frame()
    assert list(frame.columns) == ["token", "id", "start", "end", "special", "word", "segment", "score", *WHOLE]
    assert frame["score"].sum() == pytest.approx(found.scores.sum())
    assert len(frame) == len(found.tokens)
    one = frame.iloc[3]
    assert one["text"] == TEXT and TEXT[one["start"] : one["end"]] == TEXT[slice(*found.tokens[3].span or ())]
    told = (found.target.name, "deeplift", "bert", found.prediction, found.probability, "positive")
    assert tuple(one[WHOLE[1:]]) == told


def test_a_frame_of_several(bundled: Model) -> None:
    pytest.importorskip("pandas")
    es = pellucid.explain(bundled, ("a good film", "so bad"), target=["positive", "negative"])
    frame = es.to_frame()
    assert list(frame.columns)[:2] == ["explanation", "token"] and list(frame.columns)[-7:] == WHOLE
    for i, e in enumerate(es):
        mine = frame[frame["explanation"] == i]
        assert mine["score"].tolist() == e.scores.tolist() and set(mine["target"]) == {e.target.name}
        assert set(mine["text"]) == {"a good film", "so bad"}
        for text, start, end, token in zip(mine["text"], mine["start"], mine["end"], mine["token"], strict=True):
            assert start is not None and (token.startswith("[") or text[start:end].startswith(token[0]))


MANY = "It was slow. But the end! I cried… Twice\n\nGo and see it."


def test_sentences_add_up(bundled: Model) -> None:
    e = pellucid.explain(bundled, MANY)
    found = e.sentences()
    assert [s.text for s in found if not s.special] == [
        "It was slow.",
        "But the end!",
        "I cried…",
        "Twice",
        "Go and see it.",
    ]
    assert sum(s.score for s in found) == pytest.approx(e.scores.sum(), abs=1e-12)
    assert sorted(i for s in found for i in s.tokens) == list(range(len(e.tokens)))
    second = [float(e.scores[i]) for i, t in enumerate(e.tokens) if t.span and 13 <= t.span[0] < 25]
    assert next(s.score for s in found if s.text == "But the end!") == pytest.approx(sum(second), abs=1e-12)


def test_spans_and_what_is_in_none_add_up(bundled: Model) -> None:
    e = pellucid.explain(bundled, ("a good film", "a dull plot"), target="positive")
    film, dull, empty = e.spans([(0, 2, 11), (1, 2, 6), (1, 1, 2)])
    own = lambda segment, words: sum(w.score for w in e.words() if w.segment == segment and w.text in words)
    assert (film.text, dull.text, empty.text, empty.tokens) == ("good film", "dull", " ", ())
    assert film.score == pytest.approx(own(0, {"good", "film"})) and dull.score == pytest.approx(own(1, {"dull"}))
    left = e.scores.sum() - sum(s.score for s in (film, dull, empty))
    rest = set(range(len(e.tokens))) - {*film.tokens, *dull.tokens}
    assert left == pytest.approx(sum(float(e.scores[i]) for i in rest), abs=1e-12)
    with pytest.raises(InputError, match=r"\(segment, start, end\)"):
        e.spans([(2, 11)])  # of which of the two texts?


def test_a_token_goes_to_the_span_that_has_most_of_it() -> None:
    tokens = (pellucid.Token("abcdef", 1, (0, 6)),)
    e = Explanation("abcdef", tokens, np.array([1.0]), pellucid.Target("x"), "m", "b", 1.0, 0.0, 0.0)
    assert [s.score for s in e.spans([(0, 2), (2, 6)])] == [0.0, 1.0]
    assert [s.score for s in e.spans([(3, 6), (0, 3)])] == [1.0, 0.0]
    for spans, said in (
        ([(0, 3), (2, 4)], "overlap"),
        ([(0, 9)], "6 long"),
        ([(1, 0, 3)], "segment"),
        ([(3, 3)], "before end"),
        ([(1,)], "expected"),
    ):
        with pytest.raises(InputError, match=said):
            e.spans(spans)  # pyright: ignore[reportArgumentType]


def test_print_shows_what_the_terminal_shows(bundled: Model, capsys: pytest.CaptureFixture[str]) -> None:
    e, other = pellucid.explain(bundled, "a good film", target=["positive", "negative"])
    for shown in (e, Explanations((e, other)), Answers([e, other])):
        text = str(shown)
        assert "good" in text and "positive" in text and "\x1b" not in text and "\n" not in repr(e)
        shown.show()
        lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
        assert "".join(lines).replace(" ", "")[:20] == "".join(text.splitlines()).replace(" ", "")[:20]
    assert "residual" in str(e) and max(map(len, str(e).splitlines())) <= 100


def test_answers_are_a_list_that_displays_as_a_table(
    bundled: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")

    class Failure:
        index, type, message = 1, "TextTooLong", "600 tokens"

    several = pellucid.explain(bundled, "so <b>bad</b>", target=["positive", "negative"])
    e = pellucid.explain(bundled, "a good film")
    answers = Answers([e, Failure(), several])
    assert answers == [answers[0], answers[1], several] and isinstance(answers, list) and len(answers) == 3
    assert type(answers[1:]) is Answers and answers[1:] == list(answers)[1:] and type(answers.copy()) is Answers
    again = pickle.loads(pickle.dumps(Answers([e, several])))
    assert type(again) is Answers and again == [e, several] and repr(again) == repr([e, several])
    table, html = str(answers), unescape(answers._repr_html_())
    for part in ("a good film", "TextTooLong: 600 tokens", "negative", e.top(1)[0].text, "exact"):
        assert part in table and part in html
    assert "<b>bad" not in html and "&lt;b&gt;bad" in html
    many = Answers([e] * 23)
    assert str(many).count("a good film") == 20 and "… and 3 more of 23" in str(many)
    assert "… and 3 more of 23" in many._repr_html_()
    answers.save(tmp_path / "answers.json")
    assert list(Explanations.from_json((tmp_path / "answers.json").read_text("utf-8"))) == [e, *several]
    answers.save(tmp_path / "answers.html")
    page = (tmp_path / "answers.html").read_text("utf-8")
    assert page == answers.to_html() == Explanations((e, *several)).to_html() and "a good film" in html
    with pytest.raises(InputError, match="Found no explanations"):
        Answers([Failure()]).save(tmp_path / "none.json")
    pytest.importorskip("pandas")
    frame = answers.to_frame()
    inputs = [0] * len(e.tokens) + [1] + [2] * sum(len(x.tokens) for x in several)
    assert list(frame["input"]) == inputs and list(frame["error"].dropna()) == ["TextTooLong: 600 tokens"]
    assert frame["score"].sum() == pytest.approx(sum(x.scores.sum() for x in (e, *several)), abs=1e-9)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ig", "integrated_gradients"),
        ("IxG", "input_x_gradient"),
        ("grad", "saliency"),
        ("loo", "occlusion"),
        ("integrated-gradient", "integrated_gradients"),
        ("IntegratedGradients", "integrated_gradients"),
        ("deep_lift", "deeplift"),
        ("shaply", "shapley"),
        ("kernelshap", "kernel_shap"),
    ],
)
def test_a_method_that_is_nearly_right(bundled: Model, name: str, meant: str) -> None:
    with pytest.raises(UnknownMethod, match=f"did you mean '{meant}'"):
        pellucid.explain(bundled, "a good film", method=name)
    with pytest.raises(UnknownMethod) as raised:
        pellucid.explain(bundled, "a good film", method="zzz")
    assert "did you mean" not in str(raised.value)


def test_every_abbreviation_is_of_a_method() -> None:
    from pellucid.methods import ABBREVIATIONS

    assert set(ABBREVIATIONS.values()) <= set(pellucid.METHODS) and not set(ABBREVIATIONS) & set(pellucid.METHODS)


def test_relative_delta_without_a_change() -> None:
    tokens = (pellucid.Token("a", 1), pellucid.Token("b", 2))
    make = lambda scores: Explanation("a b", tokens, np.array(scores), pellucid.Target("x"), "m", "b", 1.0, 1.0, 0.1)
    assert make([1.0, -1.1]).relative_delta == pytest.approx(0.1 / 2.1)
    assert make([0.0, 0.0]).relative_delta == pytest.approx(0.1)


def test_several(bundled: Model) -> None:
    es = pellucid.explain(bundled, "a good film", target=["positive", "negative"])
    assert isinstance(es, Explanations) and len(es) == 2 and isinstance(es[:1], Explanations)
    np.testing.assert_array_equal(es.matrix(), [es[0].scores, es[1].scores])
    assert [e["target"]["name"] for e in es.to_dict()["explanations"]] == ["positive", "negative"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        es.items = ()  # pyright: ignore


def test_pairs_have_segments_and_their_own_spans() -> None:
    (e,) = encode(tokenizer(), [("the good film", "a bad plot")], None)
    own = [t for t in e.tokens if not t.special]
    assert [(t.text, t.segment, t.span) for t in own if t.text in ("good", "bad")] == [
        ("good", 1 - 1, (4, 8)),
        ("bad", 1, (2, 5)),
    ]


def test_a_tokenizer_without_offsets_is_aligned() -> None:
    class Plain:
        """As a tokenizer written in Python: no offsets, no word ids."""

        def __init__(self) -> None:
            self.fast = tokenizer()

        def __call__(self, text: list[str], pair: list[str] | None, **how: object) -> dict[str, list[list[int]]]:
            out = self.fast(text, pair)
            return {k: out[k] for k in ("input_ids", "attention_mask")}

        def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
            return self.fast.convert_ids_to_tokens(ids)

        def get_special_tokens_mask(self, ids: list[int], already_has_special_tokens: bool) -> list[int]:
            return [int(i in (2, 3)) for i in ids]

    fast, plain = (encode(t, [("The film was good", "so bad")], None)[0] for t in (tokenizer(), Plain()))
    assert [t.span for t in fast.tokens] == [t.span for t in plain.tokens]
    assert [t.segment for t in fast.tokens if not t.special] == [t.segment for t in plain.tokens if not t.special]
