"""Two runs side by side, two methods on the same rows, and texts that hang on one place: counted independently."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

pytest.importorskip("pyarrow", reason="pip install 'pellucid[jobs]'")
from scipy import stats

import pellucid
from pellucid.errors import InputError
from pellucid.jobs.agreement import rank_correlation
from pellucid.jobs.comparison import sign_test
from pellucid.jobs.stored import Run


@pytest.fixture(scope="module")
def runs(bundled: pellucid.Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """A run of the bundled model by two methods, and one of that model after "great" was made to mean "awful"."""
    drawn, folder = random.Random(0), tmp_path_factory.mktemp("runs")
    rows = []
    for i in range(60):
        said = "great" if i % 3 == 0 else drawn.choice(["wonderful", "awful", "dull"])
        text = " ".join([*drawn.sample("a the film plot acting scene".split(), 3), said])
        rows.append({"text": text, "label": int(said in ("great", "wonderful")), "key": f"k{i}"})
    changed = pellucid.load()
    weight = changed.model.get_input_embeddings().weight
    great, awful = changed.tokenizer.convert_tokens_to_ids(["great", "awful"])
    with torch.no_grad():
        weight[great] = weight[awful]
    methods = ["deeplift", "integrated_gradients"]
    before = pellucid.run(bundled, rows, folder / "before", id="key", method=methods)
    return before, pellucid.run(changed, rows[:3:-1], folder / "after", id="key")


def test_two_runs_side_by_side(runs: tuple[Run, Run]) -> None:
    before, after = runs
    found = before.beside(after)
    a, b = (run.frame(["id", "prediction", "label"]).set_index("id") for run in runs)
    both = a.add_suffix("_a").join(b.add_suffix("_b"), how="inner")
    assert (found.rows, found.alone) == (56, (4, 0)) and len(both) == 56
    assert found.same == (both.prediction_a == both.prediction_b).sum()
    right_a, right_b = both.prediction_a == both.label_a, both.prediction_b == both.label_b
    assert found.accuracy == pytest.approx((right_a.mean(), right_b.mean()))
    assert (found.mended, found.broken) == ((~right_a & right_b).sum(), (right_a & ~right_b).sum())
    assert found.broken > 10 and all("great" in c.text and c.words[0][0] == "great" for c in found.changed)
    assert sign_test(3, 12) == pytest.approx(stats.binomtest(3, 15).pvalue)
    page = found.to_html()
    assert "<script" not in page and "great" in page
    with pytest.raises(InputError, match="no row with the same id"):
        before.where(id="k0").beside(after.where(id="k9"))


def test_a_run_beside_itself_agrees(runs: tuple[Run, Run]) -> None:
    found = runs[0].beside(runs[0])
    assert found.same == found.rows == 60 and found.agreement.correlation == pytest.approx(1.0)
    assert found.agreement.first == 1.0 and not any(found.drivers.values()) and found.p == 1.0


def test_two_methods_agree_as_spearman_says(runs: tuple[Run, Run]) -> None:
    agreement = runs[0].summary(support=5).agreement["deeplift", "integrated_gradients"]
    each, first = [], []
    for outcome in runs[0]:
        assert isinstance(outcome, pellucid.Explanations)
        a, b = ([w.score for w in e.words() if not w.special] for e in outcome)
        each.append(stats.spearmanr(a, b).statistic)
        first.append(np.argmax(a) == np.argmax(b))
    assert agreement.correlation == pytest.approx(np.mean(each)) and agreement.first == np.mean(first)
    tied = ([1.0, 2.0, 2.0, 3.0, 0.0], [5.0, 5.0, 1.0, 7.0, 2.0])
    assert rank_correlation(*tied) == pytest.approx(stats.spearmanr(*tied).statistic)


def test_texts_that_hang_on_one_word_are_tested_without_it(bundled: pellucid.Model, runs: tuple[Run, Run]) -> None:
    summary = runs[1].summary(model=bundled, support=5)
    place = next(r for r in summary.places if r.word == "one word")
    hang, flips = 0, 0
    for outcome in runs[1]:
        assert isinstance(outcome, pellucid.Explanation)
        words = [w for w in outcome.words() if not w.special]
        strongest = max(words, key=lambda w: abs(w.score))
        if abs(strongest.score) >= np.abs(outcome.scores).sum() / 2:
            hang += 1
            text = str(outcome.text).replace(strongest.text, "").strip()
            with torch.no_grad():
                logits = bundled.model(**bundled.tokenizer(text, return_tensors="pt")).logits
            flips += bundled.labels[int(logits.argmax())] != outcome.prediction
    assert summary.hangs["one word"][0] == hang > 10
    assert place.texts == min(hang, 50) and (place.flips == flips or hang > 50)
