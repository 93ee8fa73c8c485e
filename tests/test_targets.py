"""A list of targets: what each of them gives alone, for the forward passes of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

import pellucid
import test_task_answering as answering
import test_task_causal as causal
import test_task_masked as masked
import test_task_seq2seq as seq2seq
import test_task_tokens as tokens
import test_task_zero_shot as zero_shot
from families import built, model, tokenizer
from pellucid import Explanation, Model
from pellucid.errors import UnknownTarget
from tiny import tiny

TEXTS = ["It's great!", "The plot is thin, but I would watch it again."]
LABELS = ["positive", "negative", 0, "positive - negative", lambda logits: logits[:, 1] * 2 - logits[:, 0], None]


@contextmanager
def counted(m: Model) -> Iterator[list[int]]:
    """The rows of each forward pass of the model."""
    rows: list[int] = []
    shape = lambda given: next(v.shape[0] for v in given.values() if isinstance(v, torch.Tensor))
    handle = m.model.register_forward_pre_hook(lambda _, args, kwargs: rows.append(shape(kwargs)), with_kwargs=True)
    try:
        yield rows
    finally:
        handle.remove()


def listed(found: Any) -> list[Explanation]:
    return [found] if isinstance(found, Explanation) else list(found)


def same(a: Explanation, b: Explanation, tolerance: float) -> None:
    assert (a.target, a.method, a.baseline, a.prediction) == (b.target, b.method, b.baseline, b.prediction)
    assert (a.output, a.baseline_output) == pytest.approx((b.output, b.baseline_output), rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(a.scores, b.scores, atol=tolerance * np.abs(b.scores).max())


HOW: dict[str, dict[str, Any]] = {
    "deeplift": {},
    "deeplift, segments": {"segments": 2},
    "integrated_gradients": {"n_steps": 5},
    "input_x_gradient": {},
    "saliency": {},
    "smoothgrad": {"n_samples": 3},
    "gradient_shap": {"n_samples": 6, "baseline": ["mask", "zero"]},
    "deep_shap": {"baseline": ["mask", "zero"]},
    "occlusion": {},
    "shapley": {"n_samples": 6},
    "lime": {"n_samples": 30},
    "random": {},
}


@pytest.mark.parametrize("name", HOW)
def test_labels_share_the_passes_of_one(name: str) -> None:
    some, texts = tiny(), ["the film was great !", "a dull plot , and yet it is not so good as great ."]
    method = name.split(",")[0]
    pellucid.explain(some, texts, method=method, target=1, **HOW[name])  # what is measured once for a model
    with counted(some) as passes:
        together = pellucid.explain(some, texts, method=method, target=LABELS, **HOW[name])
    for k, target in enumerate(LABELS):
        with counted(some) as of_one:
            alone = pellucid.explain(some, texts, method=method, target=target, **HOW[name])
        assert passes == of_one != []
        for many, one in zip(together, alone, strict=True):
            same(many[k], one, 1e-4)
            assert len(many) == len(LABELS)


def test_integrated_gradients_to_a_tolerance_share_their_points(bundled: Model) -> None:
    both = ["positive", "negative"]
    pellucid.explain(bundled, TEXTS, method="input_x_gradient", target=1)  # what is measured once for a model
    with counted(bundled) as passes:
        together = pellucid.explain(bundled, TEXTS, method="integrated_gradients", target=both)
    most = []
    for k, target in enumerate(both):
        with counted(bundled) as of_one:
            alone = pellucid.explain(bundled, TEXTS, method="integrated_gradients", target=target)
        most.append(sum(of_one))
        for many, one in zip(together, alone, strict=True):
            assert many[k].status == one.status == "converged"
            same(many[k], one, 0.02)
    assert sum(passes) < 0.75 * sum(most)


def test_targets_are_outermost_and_methods_stay_apart(bundled: Model) -> None:
    how = {"target": ["negative", None], "method": ["occlusion", "deeplift"], "baseline": ["mask", "zero"]}
    for text, es in zip(TEXTS, pellucid.explain(bundled, TEXTS, **how), strict=True):
        assert [e.method for e in es] == ["occlusion", "deeplift"] * 2
        assert [e.target.name for e in es] == ["negative"] * 2 + [es[2].prediction] * 2
        for e in es:
            target = e.target.name
            same(e, pellucid.explain(bundled, text, method=e.method, target=target, baseline=["mask", "zero"]), 1e-4)
    with pytest.raises(UnknownTarget, match="funny"):
        pellucid.explain(bundled, TEXTS, target=["positive", "funny"])


def test_what_is_inside_is_each_targets_own(bundled: Model) -> None:
    detail = ("layers", "heads", "attention_x_gradient")
    a, b = pellucid.explain(bundled, TEXTS[1], target=["positive", "negative"], detail=detail)
    for e in (a, b):
        alone = pellucid.explain(bundled, TEXTS[1], target=e.target.name, detail=detail)
        for mine, other in ((e.layers, alone.layers), (e.heads, alone.heads)):
            np.testing.assert_allclose(mine, other, atol=1e-4)
        np.testing.assert_allclose(
            e.measures["attention_x_gradient"], alone.measures["attention_x_gradient"], atol=1e-4
        )


TASKS: dict[str, tuple[Callable[[], Model], list[Any], list[Any]]] = {
    "question answering": (answering.made, answering.ITEMS, ["start", None, {"at": "max"}, "end"]),
    "tokens": (tokens.made, tokens.TEXTS, [{"position": 1}, None, {"position": 2, "label": "B-LOC - O"}]),
    "masks": (masked.made, masked.TEXTS, [None, {"mask": 0}, {"fill": "good - bad"}]),
    "generation": (lambda: causal.generator("GPT2"), [causal.PAIR, causal.LONG], ["total", None, 0]),
    "text to text": (lambda: seq2seq.coder("T5"), [seq2seq.PAIR, seq2seq.LONG], [1, "total", None]),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", ["deeplift", "occlusion"])
def test_every_task_shares_the_passes_of_one(task: str, method: str) -> None:
    make, items, targets = TASKS[task]
    m = make()
    pellucid.explain(m, items, target=targets)  # whether two passes may be one is found once
    with counted(m) as passes:
        together = pellucid.explain(m, items, target=targets, method=method)
    every: list[list[Explanation]] = [[] for _ in items]
    for target in targets:
        with counted(m) as of_one:
            for mine, found in zip(every, pellucid.explain(m, items, target=target, method=method), strict=True):
                mine += listed(found)
        assert passes == of_one != []
    for many, one in zip(together, every, strict=True):
        assert len(many) == len(one)
        for a, b in zip(many, one, strict=True):
            same(a, b, 1e-3)


def test_zero_shot_shares_among_the_targets_of_one_hypothesis() -> None:
    m, item = zero_shot.made(), zero_shot.ITEMS[0]
    pellucid.explain(m, item)  # what is measured once for a model
    with counted(m) as passes:
        together = pellucid.explain(m, item, target=["river", "film", 2, "FILM"])
    for many, target in zip(together, ["river", "film", "river", "film"], strict=True):
        with counted(m) as of_one:
            same(many, pellucid.explain(m, item, target=target), 1e-4)
        encoding, *explained = of_one
        assert passes == [encoding, *explained, *explained]


LONG = " ".join("the movie was good and the plot was bad but not dull so it is great a very dull film".split() * 5)


def test_windows_of_a_document_share_their_passes() -> None:
    m = Model(model("Bert"), tokenizer())
    targets = [1, None, 0, "LABEL_1 - LABEL_0"]
    pellucid.explain(m, "a good film")  # what is measured once for a model
    with counted(m) as passes:
        together = pellucid.explain(m, [LONG, "a good film"], target=targets, window=32)
    for k, target in enumerate(targets):
        with counted(m) as of_one:
            alone = pellucid.explain(m, [LONG, "a good film"], target=target, window=32)
        assert passes == of_one != []
        for many, one in zip(together, alone, strict=True):
            same(many[k], one, 1e-4)


def test_the_best_window_is_each_targets_own() -> None:
    m = answering.made()
    context = "The team won in Paris. The film was bad, and the acting dull. London is a great river city. " * 4
    item, targets = ("who won", context), ["Paris", None, "start", {"answer": "London", "occurrence": 3}]
    together = iter(pellucid.explain(m, item, target=targets, window=40))
    for target in targets:
        for one in listed(pellucid.explain(m, item, target=target, window=40)):
            many = next(together)
            same(many, one, 1e-4)
            for a, b in zip(many.meta["windows"], one.meta["windows"], strict=True):
                assert (a["tokens"], a["value"], a["best"]) == (b["tokens"], pytest.approx(b["value"]), b["best"])
    assert next(together, None) is None


# -------------------------------------------------------------------------------------- a function that raises


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda o: o.start_logits[:, 5], "AttributeError: 'dict' object has no attribute 'start_logits'"),
        (lambda o: o["begin"][:, 5], "KeyError: 'begin'"),
        (lambda o: o["start"][:, 500], "IndexError: index 500"),
        (lambda o: o["start"] @ o["end"], "RuntimeError: "),
    ],
)
def test_a_function_that_raises_is_told_what_it_is_given(function: Any, error: str) -> None:
    net = built("Bert", "BertForQuestionAnswering")
    m, asked = Model(net, tokenizer()), {"question": "was it ?", "context": "the film was good"}
    tokens = len(tokenizer()("was it ?", "the film was good")["input_ids"])
    with pytest.raises(UnknownTarget) as caught:
        pellucid.explain(m, asked, target=function)
    said = str(caught.value)
    assert error in said and "'start', 'end'" in said and f", {tokens})" in said and caught.value.__cause__ is not None
    e = pellucid.explain(m, asked, target=lambda o: o["start"][:, 5])
    inputs = tokenizer()("was it ?", "the film was good", return_tensors="pt")
    with torch.no_grad():
        assert e.output == pytest.approx(net(**inputs).start_logits[0, 5].item(), abs=1e-4)


def test_a_function_that_raises_for_attribute() -> None:
    with pytest.raises(UnknownTarget, match=r"AttributeError: .*'logits'.*a tensor of shape \(1, 2\)"):
        pellucid.attribute(lambda x: x, torch.ones(1, 2), target=lambda o: o.logits)


def test_no_lack_of_memory_is_taken_for_a_wrong_function() -> None:
    def full(o: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        pellucid.attribute(lambda x: x, torch.ones(1, 2), target=full)
