"""Whether the baselines that `defaults.py` prefers for encoders are better on every set of fresh sentences, by the rule
in docs/faithfulness.md (*How a default is chosen*).

    python benchmarks/confirm.py [--shared ../shared] [--work .leaderboard] [--texts 200]

The sets are SST-2's test sentences, which nothing else here uses, for the three classifiers of the leaderboard, and
sentences of XQuAD for a classifier of another kind: of which of 48 articles a sentence is, trained here in two minutes
on the first four passages of each article and measured on the fifth.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from leaderboard import OPERATORS, entries
from planted import losses, read
from transformers import AutoModelForSequenceClassification

import pellucid
from pellucid.evaluation.rows import Row

CANDIDATES = (["mask", "pad"], ["mask", "pad", "zero"])
LONGEST = 30
"""Words of a sentence."""
EPOCHS = 12


def sentences(shared: Path) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Sentences with the number of their article: those of the first four passages of each, and those of the fifth."""
    data = json.loads((shared / "data" / "xquad.en.json").read_text("utf-8"))["data"]
    trained: list[tuple[str, int]] = []
    fresh: list[tuple[str, int]] = []
    for label, article in enumerate(data):
        for k, passage in enumerate(article["paragraphs"]):
            each = re.split(r"(?<=[.!?]) +", passage["context"])
            (fresh if k == 4 else trained).extend((s, label) for s in each if 5 <= len(s.split()) <= LONGEST)
    return trained, fresh


def topics(shared: Path, folder: Path) -> pellucid.Model:
    """The classifier of articles: MiniLM with a new head."""
    if not (folder / "config.json").exists():
        trained, _ = sentences(shared)
        torch.manual_seed(0)
        start = str(shared / "models" / "minilm-sst2")
        net = AutoModelForSequenceClassification.from_pretrained(
            start, num_labels=48, ignore_mismatched_sizes=True, dtype=torch.float32
        ).train()
        tokenizer = pellucid.load(start).tokenizer
        optimiser = torch.optim.AdamW(net.parameters(), lr=2e-4)
        draw = random.Random(0)
        for epoch in range(EPOCHS):
            draw.shuffle(trained)
            *_, last = losses(net, tokenizer, optimiser, trained, 16, longest=128)
            print(f"articles, epoch {epoch + 1}: loss {last:.3f}", flush=True)
        net.eval().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return pellucid.load(str(folder))


def sets(shared: Path, work: Path, texts: int) -> Iterator[tuple[str, pellucid.Model, Sequence[str]]]:
    """The name of each set, its model and its sentences."""
    rows = [t for t, _ in read(shared / "data" / "sst2-test.tsv") if 4 <= len(t.split()) <= LONGEST]
    random.Random(0).shuffle(rows)
    for entry in entries(shared, None, work, 1, 0):
        yield entry.name, entry.load(), rows[:texts]
    model = topics(shared, work / "articles")
    _, fresh = sentences(shared)
    random.Random(0).shuffle(fresh)
    said = pellucid.explain(model, [t for t, _ in fresh], "saliency")
    right = [e.target.index == label for e, (_, label) in zip(said, fresh, strict=True)]
    print(f"articles: {sum(right)} of {len(fresh)} sentences are told rightly", flush=True)
    yield "articles", model, [t for t, _ in fresh][:texts]


def more(one: Row, than: Row) -> tuple[float, float, float]:
    """How much higher a row's total is than another's, with the ends of the interval; one of them is the best."""
    if one.behind.mean:
        return -one.behind.high, -one.behind.mean, -one.behind.low
    return than.behind.low, than.behind.mean, than.behind.high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--work", type=Path, default=Path(".leaderboard"))
    parser.add_argument("--texts", type=int, default=200)
    given = parser.parse_args()
    better = {", ".join(c): True for c in CANDIDATES}
    print("| set | sentences | baseline | total | less that of mask (95 %) |\n|---|---:|---|---:|---:|")
    for name, model, texts in sets(given.shared, given.work, given.texts):
        for candidate in CANDIDATES:
            found = pellucid.evaluate(model, texts, "deeplift", ["mask", candidate], operators=OPERATORS)
            own, other = (next(r for r in found.rows if r.baseline == b) for b in ("mask", ", ".join(candidate)))
            low, mean, high = more(other, own)
            better[other.baseline] &= low > 0
            ends = f"{mean:.4f} ({low:.4f} to {high:.4f})"
            print(f"| {name} | {found.texts} | {other.baseline} | {other.total.mean:.3f} | {ends} |", flush=True)
    print([f"{name}: {'better on every set' if won else 'not on every set'}" for name, won in better.items()])


if __name__ == "__main__":
    main()
