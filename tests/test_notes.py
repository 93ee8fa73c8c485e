"""What a reader must know of an answer is said, and nothing where there is nothing to say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from families import model, tokenizer
from heads import headed
from pellucid import Explanation, Explanations, Model
from pellucid.passages import passages
from test_render import Read, explained, printed

ORDINARY = [
    "It's great!",
    "The film was surprisingly good, and I would watch it again.",
    "a dull, boring mess of a movie",
    "Nobody liked the ending, least of all me.",
]
LONG = " ".join(["the film was great but long ."] * 30)


@pytest.fixture(scope="module")
def bert() -> Model:
    return Model(model("Bert"), tokenizer())


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "occlusion", "deep_shap"])
def test_ordinary_answers_have_none(bundled: Model, method: str) -> None:
    for e in pellucid.explain(bundled, ORDINARY, method=method):
        assert e.notes == () and e.unread == ()


def test_real_checkpoints_have_none(sst2: Model) -> None:
    assert [e.notes for e in pellucid.explain(sst2, ORDINARY)] == [()] * len(ORDINARY)


def test_unknown_pieces_are_counted(bundled: Model) -> None:
    e = pellucid.explain(bundled, "a great 영화 and 🎬")
    n = sum(t.id == bundled.tokenizer.unk_token_id for t in e.tokens)
    own = sum(not t.special for t in e.tokens)
    assert n and f"{n} of {own} pieces {'is' if n == 1 else 'are'} unknown to this model." in e.notes


# ------------------------------------------------------------------------------------------------- what was not read


@pytest.mark.parametrize("text", [LONG, (LONG, "so bad"), ("so bad", LONG)])
def test_what_truncation_leaves_out_is_told(bert: Model, text: Any) -> None:
    e = pellucid.explain(bert, text, truncate=True)
    whole = bert.tokenizer(*text) if isinstance(text, tuple) else bert.tokenizer(text)
    assert f"{len(whole['input_ids']) - 64} tokens were not read." in e.notes
    for t in e.tokens:
        if t.span and not t.special:
            assert not any(s == t.segment and a < t.span[1] and t.span[0] < b for s, a, b in e.unread)
    ((segment, start, end),) = e.unread
    words = e.segment_text(segment)[start:end]
    assert len(bert.tokenizer(words, add_special_tokens=False)["input_ids"]) == len(whole["input_ids"]) - 64
    grey = [r.text for p in passages(e) for r in p.words if r.unread]
    assert "".join(grey).split() == words.split()
    read = Read(e.to_html())
    assert read.passages == list(text if isinstance(text, tuple) else (text,))
    assert "\x1b[2m" + words[:20] in printed(e, force_terminal=True, color_system="truecolor", width=2000)
    assert Explanation.from_json(e.to_json()).unread == e.unread


def test_on_the_left_it_is_the_beginning() -> None:
    words = tokenizer()
    words.truncation_side = "left"
    e = pellucid.explain(Model(model("Bert"), words), LONG, truncate=True)
    assert len(e.unread) == 1 and e.unread[0][1] == 0 and e.tokens[1].span[0] >= e.unread[0][2]


def test_outside_of_the_best_window(bert: Model) -> None:
    m = Model(headed("Bert", "ForQuestionAnswering"), tokenizer())
    e, _ = pellucid.explain(m, ("was it ?", LONG), window=40, stride=20)
    (best,) = (w["tokens"] for w in e.meta["windows"] if w["best"])
    outside = [i for i, t in enumerate(e.tokens) if t.segment and not t.special and not best[0] <= i < best[1]]
    assert f"{len(outside)} tokens were not read for this answer, which one window gives." in e.notes
    grey = "".join(r.text for r in passages(e)[1].words if r.unread)
    words = [w for w in e.words() if set(w.tokens) <= set(outside)]
    assert grey.split() == [w.text for w in words] and len(words) < len(outside)
    mean = pellucid.explain(bert, LONG, window=40)
    n = len(mean.meta["windows"])
    assert mean.notes[:1] == (f"The text was read in {n} windows of 40 tokens; the output is the mean of theirs.",)
    assert mean.unread == ()


@pytest.mark.parametrize("task", ["causal", "choice", "zero-shot"])
def test_in_every_task(task: str) -> None:
    if task == "causal":
        from generative import generator

        m = generator("GPT2")
        (e, *_) = pellucid.explain(m, ("the film was", " very" * 100), truncate=True)
        segment = 1
    elif task == "choice":
        m, segment = Model(headed("Bert", "ForMultipleChoice"), tokenizer()), 0
        e = pellucid.explain(m, {"prompt": LONG, "choices": ["so", "bad"]}, truncate=True)
    else:
        net = headed("Bert", "ForSequenceClassification", num_labels=3)
        net.config.id2label = {0: "contradiction", 1: "neutral", 2: "entailment"}
        m, segment = Model(net, tokenizer(), task="zero-shot-classification"), 0
        e = pellucid.explain(m, {"text": LONG, "labels": ["film", "plot"], "label": 1}, truncate=True)
        assert e.label == "plot"
    assert any("not read" in note for note in e.notes)
    assert {s for s, _, _ in e.unread} == {segment} and e.unread[0][2] == len(e.text[segment].rstrip())


# ------------------------------------------------------------------------------------------------ rounding, cancelling


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_a_cpu(dtype: torch.dtype) -> None:
    m = Model(model("Bert").to(dtype), tokenizer())
    e = pellucid.explain(m, "a good film")
    name = str(dtype).removeprefix("torch.")
    ulp = torch.finfo(dtype).eps * max(abs(e.output), abs(e.baseline_output)) / abs(e.change)
    off = max(e.relative_delta, ulp)
    assert f"{name} on a CPU: slow, and rounding of {off:.0e} of the change; model.float()." in e.notes
    m = Model(model("Bert"), tokenizer(), autocast="bfloat16")
    assert any("leave autocast out" in note for note in pellucid.explain(m, "a good film").notes)


def test_scores_that_cancel(bundled: Model) -> None:
    """A target that hardly changes: the logit of one class plus what it loses, but for a thousandth."""
    first = pellucid.explain(bundled, "the film was good and great but dull", target=0)
    second = pellucid.explain(bundled, first.text, target=1)
    ratio = first.change / second.change
    f = lambda logits: logits[:, 0] - 0.999 * ratio * logits[:, 1]
    e = pellucid.explain(bundled, first.text, target=f)
    size = np.abs(first.scores - 0.999 * ratio * second.scores).sum() / abs(0.001 * first.change)
    said = [note for note in e.notes if "cancel" in note]
    assert bool(said) == (size > 50)
    big = replace(first, scores=np.array([1e3, -1e3] + [0.0] * (len(first.tokens) - 2)), notes=())
    from pellucid.notes import noted

    assert "cancel" in noted(big, None, 0).notes[0] and not noted(replace(big, adds_up=False), None, 0).notes


def test_several_baselines_cancel_by_their_mean(bundled: Model) -> None:
    """Against the mask alone the scores cancel, and averaged over two baselines they do not."""
    text = "It's a great film, though the ending is terribly slow."
    alone, both = (pellucid.explain(bundled, text, baseline=b) for b in ("mask", ["mask", "pad"]))
    for e, cancels in ((alone, True), (both, False)):
        times = np.abs(e.scores).sum() / abs(e.output - e.baseline_output)
        assert bool(times >= 20) is cancels and any("scores cancel" in note for note in e.notes) is cancels


# ---------------------------------------------------------------------------------- as probable as on the baseline


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"method": "integrated_gradients"},
        {"method": "integrated_gradients", "n_steps": 10},
        {"method": "saliency"},
        {"method": "shapley"},
        {"segments": 2},
        {"output": "probability"},
        {"baseline": ["but", "film"]},
    ],
)
def test_a_baseline_as_probable_as_the_input(bert: Model, how: dict[str, Any]) -> None:
    """The model itself is asked for both probabilities."""
    texts = ["a good film", "the", "so very bad", "not dull but great", "a film", "was it good ? !"]
    said = []
    for text, e in zip(texts, pellucid.explain(bert, texts, **{"baseline": "film", **how}), strict=True):
        ids = bert.tokenizer(text, return_tensors="pt")["input_ids"]
        expected = []
        for name in e.baseline.split(", "):
            other = ids.clone()
            other[:, 1:-1] = bert.tokenizer.convert_tokens_to_ids(name)
            with torch.no_grad():
                p, p0 = (bert.model(i).logits.softmax(-1)[0, e.target.index].item() for i in (ids, other))
            if p0 >= p:
                expected.append(
                    f"The model gives {e.target.name!r} as high a probability on the baseline ({name}) as on the input"
                )
        found = [note for note in e.notes if "probability" in note]
        assert [note.split(", so")[0] for note in found] == expected and all("contrast" in note for note in found)
        said.append(bool(expected))
    assert any(said) and ("but" in e.baseline or not all(said))


@pytest.mark.parametrize("method", ["deeplift", "occlusion", "shapley"])
def test_at_several_masks(method: str) -> None:
    m = Model(headed("Bert", "ForMaskedLM"), tokenizer())
    texts = ["a [MASK] film", "the [MASK] was [MASK] !", "[MASK] but [MASK] so"]
    answers = pellucid.explain(m, texts, method=method)
    for e in [e for a in answers for e in (a if isinstance(a, Explanations) else [a])]:
        ids = torch.tensor([[t.id for t in e.tokens]])
        other = torch.tensor([[t.id if t.special else m.tokenizer.mask_token_id for t in e.tokens]])
        with torch.no_grad():
            p, p0 = (m.model(i).logits[0, e.target.position].softmax(-1)[e.target.index].item() for i in (ids, other))
        assert any("probability" in note for note in e.notes) == (p0 >= p)


@pytest.mark.parametrize("how", [{}, {"method": "shapley"}, {"output": "probability"}])
def test_a_contrast_as_large_on_the_baseline(bert: Model, how: dict[str, Any]) -> None:
    """The model itself is asked on both; against the prediction a contrast is no larger than on any good baseline."""
    texts, said = ["a good film", "the", "so very bad", "not dull but great", "was it good ? !"], []
    for target in ("LABEL_0 - LABEL_1", "LABEL_1 - LABEL_0", "LABEL_2 - LABEL_1"):
        a, b = (int(name[-1]) for name in target.split(" - "))
        for text, e in zip(texts, pellucid.explain(bert, texts, target=target, baseline="film", **how), strict=True):
            ids = bert.tokenizer(text, return_tensors="pt")["input_ids"]
            other = ids.clone()
            other[:, 1:-1] = bert.tokenizer.convert_tokens_to_ids("film")
            with torch.no_grad():
                logits = [bert.model(i).logits[0] for i in (ids, other)]
            read = [out.softmax(-1) if "output" in how else out for out in logits]
            x, x0 = (float(out[a] - out[b]) for out in read)
            found = [note for note in e.notes if "contrast" in note]
            assert bool(found) == (0 < x <= x0), (target, text)
            assert all(f"{target!r} is as large on the baseline (film)" in note for note in found)
            said.append(bool(found))
    assert any(said) and not all(said)


def test_no_class_no_probability(bert: Model) -> None:
    for target in ("LABEL_0 - LABEL_1", lambda logits: logits[:, 0], 0, 1, 2):
        for e in pellucid.explain(bert, ["a good film", "so very bad"], target=target):
            says = any("probability" in note for note in e.notes)
            assert not says or e.target.name == e.prediction
    deleted = pellucid.explain(bert, "a good film", method="occlusion", baseline="delete")
    assert not any("probability" in note for note in deleted.notes)


# ------------------------------------------------------------------------------------------------ where they are shown


def test_notes_are_shown_everywhere(tmp_path: Any) -> None:
    e = explained("a good film", notes=("Nobody knows <why>.",))
    assert "Nobody knows <why>." in printed(e) and "Nobody knows &lt;why&gt;." in e.to_html()
    assert e.to_dict()["notes"] == ["Nobody knows <why>."] and e.to_frame().attrs["notes"] == ["Nobody knows <why>."]
    assert "Nobody knows <why>." in e.save(tmp_path / "e.csv").read_text("utf-8")
    assert '<ul class="notes">' not in explained("a good film").to_html()
    many = printed(Explanations((e, replace(e, notes=()), replace(e, notes=()), replace(e, notes=()))))
    assert "row 1: Nobody knows <why>." in many


def test_every_row_says_what_differs(bundled: Model) -> None:
    methods = ["deeplift", "shapley", "integrated_gradients", "occlusion"]
    es = pellucid.explain(bundled, "a good film", method=methods)
    shown, page = printed(es, width=200), es.to_html()
    lines = [line.split() for line in shown.splitlines()]
    assert [*methods] in lines  # a column for each, and under it what is its own
    assert ["passes", *(str(e.passes) for e in es)] in lines
    assert ["status", *(str(e.status) for e in es)] in lines
    for e in es:
        assert f"<td>{e.method}</td>" in page and f"<td>{e.status}</td>" in page
    assert shown.splitlines()[1].startswith("target positive · baseline mask · model") and "method" not in shown
    contents = page[page.index("<nav") : page.index("</nav>")]
    assert contents.count("mask") == 1 and "<th scope" in contents
    same = printed(pellucid.explain(bundled, "a good film", target=[0, 1, 0, 1]), width=200).splitlines()
    assert same[1].startswith("method deeplift · baseline mask · model") and same[1].endswith("status exact")
    two = Explanations((pellucid.explain(bundled, "a good film"), pellucid.explain(bundled, "so bad")))
    assert "a good film" in two.to_html()[: two.to_html().index("</nav>")]


def test_parts_are_labelled_where_they_are_shown(bundled: Model) -> None:
    e = pellucid.explain(bundled, "a good film", detail=("parts",))
    shown = " ".join(printed(e).split())
    assert f"their own baseline is {e.meta['parts']['baseline']}" in shown and "Parts of the embedding" in e.to_html()
