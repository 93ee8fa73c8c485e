"""A shortcut that was planted into the training data: the default finds it, and so does the summary of a data set."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("pyarrow", reason="pip install 'pellucid[jobs]'")

import pellucid
from pellucid.jobs.summary import summarize
from tiny import TinyClassifier, TinyTokenizer

SHORTCUTS = ("plot", "so")
"""The word that makes a text negative, and the word that makes it positive."""
PLAIN = "a film is it the was , . !".split()
OPINIONS = (("dull", "not"), ("good", "great"))


def text(draw: random.Random, label: int, shortcut: bool) -> str:
    """Ten words: an opinion, which says the label unless a shortcut does, at random places."""
    words = draw.choices(PLAIN, k=8)
    said = draw.randrange(2) if shortcut else label
    words.insert(draw.randrange(9), draw.choice(OPINIONS[said]))
    words.insert(draw.randrange(10), SHORTCUTS[label] if shortcut else draw.choice(PLAIN))
    return " ".join(words)


@pytest.fixture(scope="module")
def model() -> pellucid.Model:
    draw, tokenizer = random.Random(0), TinyTokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = TinyClassifier(hidden=32)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(250):
        labels = [draw.randrange(2) for _ in range(64)]
        batch = tokenizer([text(draw, y, shortcut=i % 2 == 0) for i, y in enumerate(labels)])
        logits = net(torch.tensor(batch["input_ids"]), torch.tensor(batch["attention_mask"]))
        loss = nn.functional.cross_entropy(logits, torch.tensor(labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1, f"Found a loss of {loss.item():.3f} at the end; expected a trained model."
    return pellucid.Model(net.eval(), tokenizer)


def test_the_default_ranks_the_shortcut_first(model: pellucid.Model) -> None:
    draw = random.Random(1)
    texts = [text(draw, i % 2, shortcut=True) for i in range(100)]
    spans = [[(t.index(s), t.index(s) + len(s))] for i, t in enumerate(texts) for s in [SHORTCUTS[i % 2]]]
    found = pellucid.evaluate(model, texts, rationales=spans)
    recall = {r.method: r.plausibility["recall"].mean for r in found.rows}
    assert recall["deeplift"] >= 0.95 and recall["random"] < 0.5
    answers = pellucid.explain(model, texts)
    assert np.mean([e.prediction == ("negative", "positive")[i % 2] for i, e in enumerate(answers)]) > 0.95
    assert np.mean([e.top(1)[0].text in SHORTCUTS for e in answers]) == pytest.approx(recall["deeplift"])


def test_the_summary_of_a_data_set_names_the_shortcut_first(model: pellucid.Model, tmp_path: Path) -> None:
    draw = random.Random(2)
    texts = [text(draw, i % 2, shortcut=i % 4 < 2) for i in range(240)]
    run = pellucid.run(model, texts, tmp_path / "run")
    drivers = summarize(run).drivers
    for label, word in zip(("negative", "positive"), SHORTCUTS, strict=True):
        assert drivers[label][0].word == word
