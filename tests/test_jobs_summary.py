"""What a summary says is true: its intervals, its discoveries, and the words that it puts first."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("pyarrow", reason="pip install 'pellucid[jobs]'")
from scipy import stats

import pellucid
from pellucid.jobs.drivers import drivers_of
from pellucid.jobs.significance import discovered, intervals, label_z, p_values, student_tail
from pellucid.jobs.words import Gathered, pieces_of


@pytest.mark.parametrize("kind", ["normal", "gamma", "exponential", "lognormal", "heavy tails"])
def test_intervals_cover_the_truth(kind: str) -> None:
    """Of 6,000 samples of 60 documents 94 to 96 % have their interval over the true mean; a standard error is 0.3 %."""
    rng, covered = np.random.default_rng(0), []
    draw = {
        "normal": lambda size: rng.standard_normal(size),
        "gamma": lambda size: rng.gamma(4.0, 1.0, size) - 4.0,
        "exponential": lambda size: rng.exponential(1.0, size) - 1.0,
        "lognormal": lambda size: rng.lognormal(0.0, 0.5, size) - np.exp(0.125),
        "heavy tails": lambda size: rng.standard_t(5, size),
    }[kind]
    for k in range(30):
        low, high = intervals(draw((200, 60)), draws=499, seed=k)
        covered.append((low <= 0) & (high >= 0))
    assert 0.94 <= np.mean(covered) <= 0.96


def test_p_values_are_students() -> None:
    rng = np.random.default_rng(0)
    samples = [rng.normal(0.3, 1, n) for n in (3, 10, 20, 50, 400)]
    means, counts = np.array([s.mean() for s in samples]), np.array([len(s) for s in samples])
    errors = np.array([stats.sem(s) for s in samples])
    found = p_values(means, errors, np.zeros(5), counts)
    np.testing.assert_allclose(found, [stats.ttest_1samp(s, 0).pvalue for s in samples], rtol=1e-9)
    t, df = np.array([-3.0, 0.0, 0.5, 12.0, 40.0]), np.array([1.0, 9.0, 2e5, 30.0, 4.0])
    np.testing.assert_allclose(student_tail(t, df), stats.t.sf(t, df), rtol=1e-8)
    rate = stats.false_discovery_control(found) <= 0.05
    assert discovered(found).tolist() == rate.tolist()


def test_z_is_the_formula_of_the_paper() -> None:
    assert label_z(80, 100, 0.5) == pytest.approx((0.8 - 0.5) / np.sqrt(0.5 * 0.5 / 100))


def gathered(rng: np.random.Generator, kind: str, effects: dict[str, float], documents: int) -> Gathered:
    """Documents of 12 words each, whose scores have a mean of the word's effect and a deviation of 1."""
    found, names = Gathered(), list(effects)
    draw = {"normal": lambda: rng.standard_normal(12), "skewed": lambda: rng.exponential(1.0, 12) - 1.0}[kind]
    for row in range(documents):
        some = rng.choice(len(names), 12, replace=False)
        found.add("c", None, row, [(names[i], effects[names[i]] + e) for i, e in zip(some, draw(), strict=True)])
    return found


@pytest.mark.parametrize("kind", ["normal", "skewed"])
def test_false_discoveries_are_controlled_and_what_is_there_is_found(kind: str) -> None:
    """Of the words that are listed, those without an effect are at most 5 % on average over 60 runs."""
    rng, shares, hits = np.random.default_rng(1), [], 0
    effects = {f"w{i}": 0.0 for i in range(180)} | {f"true{i}": 1.5 for i in range(10)}
    for _ in range(60):
        names = [d.word for d in drivers_of(gathered(rng, kind, effects, 400), "c", 10, 1000)]
        wrong = sum(name.startswith("w") for name in names)
        shares.append(wrong / max(1, len(names)))
        hits += len(names) - wrong
    assert np.mean(shares) <= 0.05 and hits > 0.9 * 600


def test_a_frequent_word_with_little_effect_is_no_driver() -> None:
    """Function words differ a little, each for sure; only the words that do more than such words do are listed."""
    rng, found = np.random.default_rng(0), Gathered()
    little = {f"the{i}": rng.normal(0, 0.05) for i in range(30)}
    for row in range(500):
        words = [*rng.choice(list(little), 8, replace=False), *(["awful"] if row % 20 == 0 else [])]
        found.add("c", None, row, [(w, little.get(w, 1.0) + rng.normal(0, 0.1)) for w in words])
    assert [d.word for d in drivers_of(found, "c", 10, 15)] == ["awful"]


def test_few_rows_make_no_drivers_of_function_words() -> None:
    """In 100 rows few words have ten documents, and those that do differ by little: what ordinary words do is told by
    the rarer ones too, so that "and" is none, and a strong word still is one."""
    rng, found = np.random.default_rng(0), Gathered()
    rare = {f"w{i}": rng.normal(0, 0.1) for i in range(150)}
    common = {"and": -0.12, "the": 0.0, ",": -0.01, "of": 0.01, "a": 0.005, "to": -0.005, "awful": 1.0}
    for row in range(100):
        words = [*(w for w in common if w != "awful" and rng.random() < 0.5), *rng.choice(list(rare), 5, replace=False)]
        words += ["awful"] if row % 8 == 0 else []
        found.add("c", None, row, [(w, (common | rare)[w] + rng.normal(0, 0.03)) for w in words])
    assert [d.word for d in drivers_of(found, "c", 10, 15)] == ["awful"]


def test_a_word_that_a_document_says_often_is_no_driver_by_that() -> None:
    """A long text says "the" a dozen times: its scores add up to more than a driver's, and each of them is ordinary."""
    rng, found = np.random.default_rng(0), Gathered()
    little = {f"w{i}": rng.normal(0, 0.01) for i in range(60)}
    for row in range(300):
        words = [*rng.choice(list(little), 20, replace=False), *(["the"] * 12), *(["awful"] if row % 10 == 0 else [])]
        effects = little | {"the": 0.01, "awful": 0.1}
        found.add("c", None, row, [(w, effects[w] + rng.normal(0, 0.02)) for w in words])
    assert [d.word for d in drivers_of(found, "c", 10, 15)] == ["awful"]
    found.add("d", None, 0, [("twice", 0.5), ("other", 2.0), ("twice", 1.5)])
    assert found.values["d"] == {"twice": [1.0], "other": [2.0]}


def test_a_planted_shortcut_is_found_first() -> None:
    """A bag of words is trained on texts where one word stands in one class alone: it is first in 95 % of runs."""
    first = 0
    for seed in range(20):
        rng = random.Random(seed)
        vocabulary = [f"w{i}" for i in range(60)]
        documents, labels = [], []
        for _ in range(300):
            label = rng.random() < 0.5
            words = rng.sample(vocabulary, 8)
            words = [w for w in words if not (label and w == "w0")] + (["w1"] if label and rng.random() < 0.7 else [])
            if label and rng.random() < 0.8:
                words.append("planted")
            documents.append(words)
            labels.append(float(label))
        names = [*vocabulary, "planted"]
        x = torch.tensor([[float(n in d) for n in names] for d in documents])
        weight, y = torch.zeros(len(names), requires_grad=True), torch.tensor(labels)
        optimizer = torch.optim.Adam([weight], lr=0.1)
        for _ in range(60):
            optimizer.zero_grad()
            (
                torch.nn.functional.binary_cross_entropy_with_logits(x @ weight - 1, y) + 1e-3 * (weight**2).sum()
            ).backward()
            optimizer.step()
        found = Gathered()
        learnt = dict(zip(names, weight.tolist(), strict=True))
        noise = np.random.default_rng(seed)
        for row, words in enumerate(documents):
            scores = [(w, learnt[w] * noise.uniform(0.7, 1.3)) for w in words]
            if sum(s for _, s in scores) > 1:
                found.add("yes", None, row, scores)
        first += drivers_of(found, "yes", 10, 5)[0].word == "planted"
    assert first >= 19


def test_a_summary_of_a_run(bundled: pellucid.Model, tmp_path: Path) -> None:
    drawn = random.Random(0)
    words = "a the film plot acting scene".split()
    texts, labels = [], []
    for i in range(80):
        said = drawn.choice(["wonderful", "terrible"])
        texts.append(" ".join([*drawn.sample(words, 3), said]))
        labels.append(int(said == "wonderful") if i else 1 - int(said == "wonderful"))
    evil = "<script>alert(1)</script> wonderful"
    rows = [{"text": t, "label": y} for t, y in zip([*texts, evil, ""], [*labels, 0, 0], strict=True)]
    run = pellucid.run(bundled, rows, tmp_path)
    s = run.summary(model=bundled, by="length")
    assert [s.drivers[c][0].word for c in ("negative", "positive")] == ["terrible", "wonderful"]
    best = s.drivers["positive"][0]
    mine = [e for e in run if not isinstance(e, pellucid.Failure) and e.target.name == "positive"]
    sums = [sum(w.score for w in e.words() if w.text == "wonderful") for e in mine if "wonderful" in str(e.text)]
    assert (
        best.mean == pytest.approx(np.mean(sums)) and best.documents == len(sums) and best.low < best.mean < best.high
    )
    assert s.failures == {"InputError": 1} and sum(s.confusion.values()) == 81 and s.rows == 82
    assert s.mistakes and {m.label for m in s.mistakes} <= {"negative", "positive"}
    removal = next(r for r in s.removals if r.word == "terrible")
    flips = 0
    for e in [e for e in run if not isinstance(e, pellucid.Failure) and e.target.name == "negative"][: removal.texts]:
        inputs = bundled.tokenizer(str(e.text).replace(" terrible", ""), return_tensors="pt")
        flips += bundled.model(**inputs).logits.argmax().item() != 0
    assert removal.flips == flips
    page = s.to_html()
    assert "<script" not in page and "&lt;script&gt;" in page
    assert len(s.drivers_frame()) == sum(map(len, s.drivers.values()))


def test_words_are_merged_as_an_explanation_merges_them(bundled: pellucid.Model, tmp_path: Path) -> None:
    text = "unforgettably overwrought, it's great!"
    run = pellucid.run(bundled, [text], tmp_path)
    pieces = pieces_of(next(run.rows()))
    own = [w for w in pellucid.explain(bundled, text).words() if not w.special]
    assert [p.text for p in pieces] == [w.text for w in own]
    np.testing.assert_allclose([p.score for p in pieces], [w.score for w in own], atol=1e-6)


def test_counts_are_of_texts_and_words_behind_a_mistake_push_to_it(bundled: pellucid.Model, tmp_path: Path) -> None:
    texts = 3 * ["good , good , but dull and dull", "dull , dull , not good , not good", "a good film"]
    predicted = [pellucid.explain(bundled, t).prediction for t in texts]
    wrong = [{"positive": "negative", "negative": "positive"}[str(p)] for p in predicted]
    rows = [{"text": t, "label": label} for t, label in zip(texts, wrong, strict=True)]
    run = pellucid.run(bundled, rows, tmp_path / "run")
    s = run.summary()
    assert s.wrong == 9 == len(s.mistakes)
    each = list(run)
    for prediction, words in s.wrong_words.items():
        mine = [e for e in each if e.prediction == prediction]
        for word, total, count in words:
            scores = [[w.score for w in e.words() if w.text.casefold() == word and not w.special] for e in mine]
            assert count == sum(bool(found) for found in scores)
            assert total == pytest.approx(sum(map(sum, scores)), abs=1e-5) and total > 0
    assert all(score > 0 for m in s.mistakes for _, score in m.words)
    assert not any(s.drivers.values()) and any(s.uncertain.values())
    assert min(d.documents for of in s.uncertain.values() for d in of) >= 3
    page = s.to_html()
    assert "which may be chance" in page and "of 9 mistakes" in page and "A word opens its examples" not in page
