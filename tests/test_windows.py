"""Documents longer than the model takes: windows that overlap, merged so that the scores still add up."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import pellucid
from families import model, tokenizer
from heads import headed
from itself import read, said
from pellucid import Explanation, Model
from pellucid.cli import app
from pellucid.errors import InputError, TextTooLong, UnknownMethod, UnknownTarget
from pellucid.models.text import windows

WORDS = "the movie was good and the plot was bad but not dull so it is great a very dull film".split()
LONG = " ".join(WORDS * 5)  # 100 tokens, where the model takes 64
SHORT = "a good film"


@pytest.fixture(scope="module")
def m() -> Model:
    return Model(model("Bert"), tokenizer())


def logits(m: Model, slices: list[list[str]], by: str | None = None, at: Any = None) -> Any:
    """(windows, classes): each slice of the words by itself; `by` and `at` as in `itself.read`."""
    return np.concatenate([said(m.model, read(m.tokenizer, " ".join(s), by=by, at=at)).numpy() for s in slices])


def sliced(words: list[str], room: int, stride: int) -> list[list[str]]:
    starts = [*range(0, len(words) - room, stride), len(words) - room]
    return [words[s : s + room] for s in starts]


@pytest.mark.parametrize(("window", "stride"), [(32, 16), (32, 30), (64, 20), (20, None)])
def test_the_mean_of_the_windows_adds_up(m: Model, window: int, stride: int | None) -> None:
    e = pellucid.explain(m, LONG, window=window, stride=stride)
    slices = sliced(WORDS * 5, window - 2, stride or window // 2)
    each = logits(m, slices)
    best = int(each.mean(0).argmax())
    assert e.target.index == best and e.prediction == f"LABEL_{best}"
    assert e.output == pytest.approx(each[:, best].mean(), abs=1e-4)
    empty = logits(m, slices, by="[MASK]")[:, best]
    assert e.baseline_output == pytest.approx(empty.mean(), abs=1e-4)
    assert e.scores.sum() == pytest.approx((each[:, best] - empty).mean(), abs=1e-4)
    assert (len(e.tokens), e.text) == (102, LONG)
    told = e.meta["windows"]
    assert [w["output"] for w in told] == pytest.approx(list(each[:, best]), abs=1e-4)
    assert [b - a for a, b in (w["tokens"] for w in told)] == [window - 2] * len(slices)
    assert [w["baseline_output"] for w in told] == pytest.approx(list(empty), abs=1e-4)


def test_a_token_has_the_mean_of_its_scores(m: Model) -> None:
    e = pellucid.explain(m, LONG, window=52, stride=50, target=1)
    first, second = (pellucid.explain(m, " ".join(s), target=1) for s in sliced(WORDS * 5, 50, 50))
    np.testing.assert_allclose(e.scores[1:51], first.scores[1:-1] / 2, atol=1e-5)
    np.testing.assert_allclose(e.scores[51:-1], second.scores[1:-1] / 2, atol=1e-5)


def test_short_texts_beside_long_ones(m: Model) -> None:
    inputs = [SHORT, LONG, SHORT + " !"]
    together = pellucid.explain(m, inputs, window=32, stride=16)
    for text, e in zip(inputs, together, strict=True):
        alone = pellucid.explain(m, text, window=32, stride=16)
        np.testing.assert_allclose(alone.scores, e.scores, atol=1e-4)
    assert "windows" not in together[0].meta
    np.testing.assert_allclose(pellucid.explain(m, SHORT).scores, together[0].scores, atol=1e-4)


def test_the_longer_text_of_a_pair_is_cut(m: Model) -> None:
    e = pellucid.explain(m, (SHORT, LONG), window=40, stride=20)
    assert e.relative_delta < 1e-4 and len(e.tokens) == 3 + 3 + 100
    (encoding,) = m.encode([(SHORT, LONG)], any_length=True)
    for w in windows.cut(encoding, windows.Windows(40, 20)):
        assert [t.text for t in w.part.tokens[:5]] == ["[CLS]", "a", "good", "film", "[SEP]"]
        assert len(w.part) == 40 and w.part.tokens[-1].special
        assert all(len(values) == 40 for values in w.part.sequences[0].values())


@pytest.mark.parametrize(
    ("target", "number"),
    [
        ("LABEL_2 - LABEL_0", lambda out: out[:, 2] - out[:, 0]),
        (1, lambda out: out[:, 1]),
        (lambda out: out[:, 0] * out[:, 1], lambda out: out[:, 0] * out[:, 1]),
    ],
)
@pytest.mark.parametrize(("method", "off"), [("deeplift", 1e-4), ("integrated_gradients", 2e-2)])
def test_targets_and_methods(m: Model, target: Any, number: Any, method: str, off: float) -> None:
    """A document's number is the mean of its windows', also where it is no linear one."""
    e = pellucid.explain(m, LONG, method=method, target=target, window=40)
    slices = sliced(WORDS * 5, 38, 20)
    f, f0 = (float(number(logits(m, slices, by=by)).mean()) for by in (None, "[MASK]"))
    assert (e.output, e.baseline_output) == pytest.approx((f, f0), abs=1e-4)
    assert e.scores.sum() == pytest.approx(f - f0, abs=off * abs(f - f0) + 1e-5)


def test_several_targets_and_baselines(m: Model) -> None:
    es = pellucid.explain(m, LONG, target=[0, 1], baseline=["mask", "pad"], window=40)
    slices = sliced(WORDS * 5, 38, 20)
    f, masked, padded = (logits(m, slices, by=by).mean(0) for by in (None, "[MASK]", "[PAD]"))
    assert [e.target.index for e in es] == [0, 1]
    for k, e in enumerate(es):
        assert e.scores.sum() == pytest.approx(f[k] - (masked[k] + padded[k]) / 2, abs=1e-4)


def test_survives_json(m: Model) -> None:
    e = pellucid.explain(m, LONG, window=40)
    again = Explanation.from_json(e.to_json())
    assert np.array_equal(again.scores, e.scores) and len(again.meta["windows"]) == len(e.meta["windows"])


def test_groups_within_windows(m: Model) -> None:
    """Leave one out in each window, by the model alone; a token has the mean, 0 where a window does not hold it."""
    e = pellucid.explain(m, LONG, method="occlusion", groups="word", window=40, stride=20, target=1)
    slices = sliced(WORDS * 5, 38, 20)
    whole = logits(m, slices)[:, 1]
    for i in (0, 20, 37, 45, 99):
        starts = [*range(0, len(WORDS * 5) - 38, 20), len(WORDS * 5) - 38]
        losses = [
            whole[k] - logits(m, [slices[k]], by="[MASK]", at=[i - start + 1])[0, 1] if 0 <= i - start < 38 else 0.0
            for k, start in enumerate(starts)
        ]
        assert e.scores[i + 1] == pytest.approx(np.mean(losses), abs=1e-4) and any(losses)


def test_a_window_is_the_documents_whatever_the_method(m: Model) -> None:
    """Occlusion's own option has another name, and one meaning too."""
    alone = pellucid.explain(m, LONG, method="occlusion", window=40)
    for found in (
        pellucid.explain(m, LONG, method=["occlusion"], window=40)[0],
        pellucid.explain(m, LONG, method=["occlusion", "deeplift"], window=40)[0],
        pellucid.explain(m, LONG, method="occlusion", window=40, stride=20),
    ):
        np.testing.assert_array_equal(found.scores, alone.scores)
        assert len(found.meta["windows"]) == len(alone.meta["windows"]) == 5
    two = pellucid.explain(m, SHORT, method="occlusion", width=2)
    both = pellucid.explain(m, SHORT, method=["occlusion", "deeplift"], width=2)[0]
    np.testing.assert_array_equal(two.scores, both.scores)
    assert two.passes == 4 and "windows" not in two.meta  # the text, its baseline, and two places of two
    with pytest.raises(UnknownMethod, match="expected: width=1"):
        pellucid.attribute(lambda x: x.sum(-1), torch.ones(1, 4), method="occlusion", window=2)


# ------------------------------------------------------------------------------------------------- question answering


@pytest.fixture(scope="module")
def qa() -> Model:
    return Model(headed("Bert", "ForQuestionAnswering"), tokenizer())


def test_the_window_with_the_best_answer(qa: Model) -> None:
    item = {"question": "was it good ?", "context": LONG}
    es = pellucid.explain(qa, item, window=40, stride=20)
    (encoding,) = qa.encode([item], any_length=True)
    sums = []
    for w in windows.cut(encoding, windows.Windows(40, 20)):
        words = encoding.text[1][w.part.tokens[6].span[0] : w.part.tokens[-2].span[1]]  # type: ignore[index]
        alone = pellucid.explain(qa, {**item, "context": words})
        sums.append(sum(e.output for e in alone))
    assert sum(e.output for e in es) == pytest.approx(max(sums), abs=1e-4)
    for e in es:
        told = e.meta["windows"]
        assert [w["value"] for w in told] == pytest.approx(sums, abs=1e-4)
        assert e.relative_delta < 1e-4 and len(e.tokens) == len(encoding)
        (best,) = (w for w in told if w["best"])
        a, b = best["tokens"]
        own = np.r_[1 : len(e.tokens) - 1]
        outside = [i for i in own if e.tokens[i].segment == 1 and not e.tokens[i].special and not a <= i < b]
        assert not e.scores[outside].any() and e.scores[a:b].any()
        assert a <= e.target.position < b and best["delta"] == e.delta
    start, end = es
    words = LONG[e.tokens[start.target.position].span[0] : e.tokens[end.target.position].span[1]]
    assert words == start.prediction
    one = pellucid.explain(qa, item, target="end", window=40, stride=20)
    assert one.output == pytest.approx(end.output) and one.target == end.target


def test_an_answer_that_the_user_names(qa: Model) -> None:
    context = f"{LONG} the acting was good"
    es = pellucid.explain(qa, {"question": "was it ?", "context": context}, target="acting", window=40, stride=20)
    assert all(e.tokens[e.target.position].text == "acting" for e in es)
    assert [w["value"] is None for w in es[0].meta["windows"]].count(False) >= 1
    with pytest.raises(UnknownTarget):
        pellucid.explain(qa, {"question": "was it ?", "context": context}, target="zebra", window=40)
    with pytest.raises(UnknownTarget, match="another token in each window"):
        pellucid.explain(qa, {"question": "was it ?", "context": context}, target=3, window=40)


# ------------------------------------------------------------------------------------------------------------- errors


def test_without_a_window_a_long_text_says_so(m: Model) -> None:
    with pytest.raises(TextTooLong, match="window="):
        pellucid.explain(m, LONG)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"window": 65}, "takes 64 tokens"),
        ({"window": 0}, "whole numbers"),
        ({"window": 32, "stride": 0}, "whole numbers"),
        ({"window": 2.5}, "whole numbers"),
        ({"window": 32, "stride": 33}, "tokens are lost"),
        ({"stride": 3}, "without a window"),
        ({"window": 2, "stride": 1}, "room for the text"),
        ({"window": 32, "detail": ("layers",)}, "expected neither"),
        ({"window": 32, "stride": 16, "method": "occlusion", "groups": [[1], [2]]}, "list of groups"),
    ],
)
def test_errors_say_what_to_do(m: Model, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        pellucid.explain(m, LONG, **options)


def test_a_task_without_windows(m: Model) -> None:
    similar = Model(headed("Bert", "Model"), tokenizer())
    with pytest.raises(InputError, match="sentence-similarity has no answer that several windows share"):
        pellucid.explain(similar, (LONG, SHORT), window=32)


def test_on_the_command_line() -> None:
    answer = CliRunner().invoke(app, ["explain", LONG, "--window", "40", "--stride", "20", "--json"])
    assert answer.exit_code == 0, answer.output
    (e,) = json.loads(answer.stdout)["explanations"]
    assert e["relative_delta"] < 1e-4 and len(e["meta"]["windows"]) == 5


@pytest.mark.parametrize("output", ["logit", "probability"])
def test_the_note_on_a_probable_baseline_is_judged_on_the_whole_document(bundled: Model, output: str) -> None:
    """By the means of the windows' own numbers, whatever one window says."""
    good, bad = ["great", "wonderful", "good"] * 10, ["dull", "bad", "awful"] * 10
    told: dict[bool, int] = {True: 0, False: 0}
    for words in (good + bad, good + good + bad, bad + bad + good, ["film"] * 60, good + ["the"] * 90):
        e = pellucid.explain(bundled, " ".join(words), window=32, stride=30, output=output)
        slices, best = sliced(words, 30, 30), e.target.index
        each, empty = (logits(bundled, slices, by=by) for by in (None, "[MASK]"))
        softmax = lambda z: np.exp(z) / np.exp(z).sum(-1, keepdims=True)
        p, p0 = (softmax(z.mean(0))[best] for z in (each, empty))
        if output != "logit":
            p, p0 = (softmax(z).mean(0)[best] for z in (each, empty))
        noted = any("as high a probability" in note for note in e.notes)
        assert noted == (p0 >= p)
        windows_say = (softmax(empty) >= softmax(each))[:, best].any()
        told[noted] += bool(windows_say)
    assert told[False]  # or a window's word would do
