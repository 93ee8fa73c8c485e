"""`groups=`: what was asked to be taken together is what is shown, one row for each."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import pellucid

TEXT = "The acting is superb. But the plot drags, alas!"
SENTENCES = ["The acting is superb.", "But the plot drags, alas!"]


@pytest.fixture(scope="module")
def model() -> pellucid.Model:
    return pellucid.load()


def printed(found: Any) -> str:
    out = io.StringIO()
    Console(file=out, width=100).print(found)
    return out.getvalue()


@pytest.fixture(scope="module")
def removed(model: pellucid.Model) -> pellucid.Explanation:
    return pellucid.explain(model, TEXT, method="occlusion", groups="sentence")


def test_rows_are_the_sentences_removed(removed: pellucid.Explanation, model: pellucid.Model) -> None:
    view = removed.view().explanations[0]
    assert view.unit == "sentence"
    assert [w.text for w in view.words if not w.special] == SENTENCES
    assert sorted(w.text for w in removed.top(9)) == sorted(SENTENCES)
    mask = model.tokenizer.mask_token_id
    ids = [t.id for t in removed.tokens]
    for word in (
        w for w in view.words if not w.special
    ):  # the output without the sentence, by the model called directly
        without = [mask if i in word.tokens else id for i, id in enumerate(ids)]
        logits = [model.model(input_ids=pellucid_ids(x)).logits[0, removed.target.index].item() for x in (ids, without)]
        assert word.score == pytest.approx(logits[0] - logits[1], abs=1e-4)
    assert any("removed as one" in note for note in removed.notes)
    assert len([r for r in view.passages[0].words if r.text.strip() and r.tokens]) == 2
    assert "drags  " not in printed(removed)


def pellucid_ids(ids: list[int]) -> Any:
    import torch

    return torch.tensor([ids])


def test_exact_scores_are_added_up(model: pellucid.Model) -> None:
    whole, of_words = (pellucid.explain(model, TEXT, groups=groups) for groups in ("sentence", None))
    sums = [of_words.scores[list(s.tokens)].sum() for s in of_words.sentences()]
    assert np.allclose([w.score for w in whole.groups()], sums)
    assert "removed as one" not in " ".join(whole.notes)


def test_one_table_has_one_kind_of_row(model: pellucid.Model, removed: pellucid.Explanation) -> None:
    plain = pellucid.explain(model, TEXT)
    view = pellucid.Explanations((plain, removed)).view()
    assert [[w.text for w in v.words if not w.special] for v in view.explanations] == [SENTENCES, SENTENCES]
    assert view.explanations[0].words[1].score == pytest.approx(plain.sentences()[1].score)
    assert "groups" in view.differing


def test_groups_in_several_places(model: pellucid.Model) -> None:
    asked = {"method": "occlusion", "groups": lambda tokens: [[1, 3], [2, 4]]}
    e = pellucid.explain(model, "good or bad film", **asked)
    assert [w.text for w in e.groups() if not w.special] == ["good … bad", "or … film"]
    assert sum(w.score for w in e.groups()) == pytest.approx(e.scores.sum())
    assert e.view().explanations[0].passages[0].text == "".join(
        r.text for r in e.view().explanations[0].passages[0].words
    )
    assert pellucid.Explanation.from_json(e.to_json()) == e


def test_a_method_that_promises_no_sum_has_no_relative_delta(removed: pellucid.Explanation) -> None:
    assert "relative delta no sum promised" in " ".join(printed(removed).split())
