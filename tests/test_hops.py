"""Hops: each row of sentences × sentences is complete, and the composition along them is the product of shares."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from generative import generator
from pellucid import Explanations, Hops, Model, errors
from test_sources import DOCUMENTS

ANSWER = " so good . the acting was bad . it was great ."
ITEM = {"documents": DOCUMENTS, "question": "was it good", "continuation": ANSWER}


@pytest.fixture(scope="module")
def m() -> Model:
    return generator("Llama")


@pytest.fixture(scope="module")
def answer(m: Model) -> Explanations:
    found = pellucid.explain(m, [ITEM], target="sentences", method=["deeplift"])[0]
    assert isinstance(found, Explanations)
    return found


def test_each_row_is_the_change_that_the_model_says(m: Model, answer: Explanations) -> None:
    hops = pellucid.trace_hops(answer)
    assert [row.sentence for row in hops.rows] == ["so good .", "the acting was bad .", "it was great ."]
    assert hops.columns == (
        "first: the film was great .",
        "second: a dull plot .",
        "question: was it good",
        "template",
        "sentence 1",
        "sentence 2",
        "sentence 3",
    )
    assert m.filler is not None
    ids = [t.id for t in answer[0].tokens]
    blank = [t.id if t.special else m.filler.id for t in answer[0].tokens]
    with torch.no_grad():
        read = [m.model(input_ids=torch.tensor([given])).logits[0, :-1].log_softmax(-1) for given in (ids, blank)]
    at, at0 = (each.gather(1, torch.tensor(ids[1:])[:, None])[:, 0] for each in read)
    for row, own in zip(hops.rows, (slice(-12, -9), slice(-9, -4), slice(-4, None)), strict=True):
        assert sum(row.scores) + row.delta == pytest.approx(row.change, abs=1e-6)
        assert row.change == pytest.approx(float((at - at0)[own].sum()), abs=1e-4)
    assert np.count_nonzero(np.triu(hops.matrix()[:, hops.prompt :], 1)) == 0


def test_the_composition_is_the_product_of_shares(answer: Explanations) -> None:
    hops = pellucid.trace_hops(answer)
    m, change, n = hops.matrix(), np.array([row.change for row in hops.rows]), hops.prompt
    shares = m / change[:, None]
    # all paths from sentence 3 back: straight, over 1, over 2, and over 2 and 1
    through = [shares[2, n] + shares[2, n + 1] * shares[1, n], shares[2, n + 1], 1.0]
    expected = change[2] * sum(w * shares[j, :n] for j, w in enumerate(through))
    assert hops.composed[:n] == pytest.approx(expected, rel=1e-5, abs=1e-9)
    assert [row.arrived for row in hops.rows] == pytest.approx([change[2] * w for w in through], rel=1e-5)
    assert sum(hops.composed) == pytest.approx(change[2], rel=1e-9)
    assert hops.direct == hops.rows[2].scores
    first = pellucid.trace_hops(answer, 0)
    assert first.composed[:n] == pytest.approx(first.direct[:n])
    assert [row.arrived for row in first.rows[1:]] == [0, 0]


def test_a_sentence_whose_scores_cancel_passes_on_nothing(answer: Explanations) -> None:
    from dataclasses import replace

    e = answer[1]
    flat = replace(e, output=e.baseline_output, delta=-float(e.scores.sum()))
    hops = pellucid.trace_hops([answer[0], flat, answer[2]])
    assert not hops.rows[1].passes
    assert hops.rows[1].left == hops.rows[1].arrived != 0
    assert sum(hops.composed) == pytest.approx(hops.rows[2].change, rel=1e-9)
    assert "(cancels)" in str(hops)


def test_hops_in_the_terminal_and_in_the_view(answer: Explanations) -> None:
    hops = pellucid.trace_hops(answer)
    assert isinstance(hops, Hops)
    shown = str(hops)
    assert "3. it was great ." in shown and "composition" in shown and "second: a dull plot ." in shown
    view = json.loads(answer.view().to_json())
    assert {"schema_version": 1, **view["hops"]} == json.loads(json.dumps(hops.to_dict()))
    assert answer[:1].view().hops is None


@pytest.mark.parametrize(
    "change", [lambda es: es[1:], lambda es: es[:2], lambda es: [], lambda es: [es[1], es[0], es[2]]]
)
def test_other_explanations_are_refused(answer: Explanations, change: Any) -> None:
    with pytest.raises(errors.InputError, match="all sentences"):
        pellucid.trace_hops(change(answer))
    with pytest.raises(errors.InputError, match="one of 3 sentences"):
        pellucid.trace_hops(answer, 3)


def test_a_baseline_that_keeps_the_answer_has_no_hops(m: Model) -> None:
    cited = pellucid.cite(m, ITEM, verify=False)
    assert isinstance(cited, pellucid.Citations)
    with pytest.raises(errors.InputError, match="baseline='filler'"):
        cited.hops()


def test_an_answer_of_one_token_owes_all_to_the_prompt(m: Model) -> None:
    item = {"documents": ["the film was great ."], "question": "was it good", "continuation": " good"}
    cited = pellucid.cite(m, item, baseline="filler", verify=False)
    assert isinstance(cited, pellucid.Citations)
    hops = cited.hops()
    assert sum(hops.composed) == pytest.approx(hops.rows[0].change) and hops.composed[-1] == hops.rows[0].left
    assert "<" in cited.to_html()


@pytest.mark.parametrize("wrong", [None, "abc", [1, 2], 3])
def test_what_is_no_answer_is_refused(wrong: Any, answer: Explanations) -> None:
    with pytest.raises(errors.InputError, match="sentences of one answer"):
        pellucid.trace_hops(wrong)
    with pytest.raises(errors.InputError, match="number of one of"):
        pellucid.trace_hops(answer, 1.5)  # pyright: ignore
