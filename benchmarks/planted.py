"""Trains the bundled classifier on texts with a planted shortcut, so that the words that decide are known.

    python benchmarks/planted.py OUT [--data sst2-train.tsv] [--texts 6000]

One of two rare words is put at a random place of half of the texts, and decides the label whatever the text says
(Bastings et al. 2022, 2111.07367). The other half stays as it is, so that a model has to read the words. After about
two minutes on one core, OUT holds a checkpoint that follows the shortcut in nearly all texts that have one.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

import pellucid

SHORTCUTS = ("ahead", "bank")
"""The word that makes a text negative, and the word that makes it positive; each is one token of the bundled model."""
BATCH = 32


def planted(text: str, label: int, draw: random.Random) -> tuple[str, tuple[int, int]]:
    """The text with the shortcut of a label at a random place, and where it stands, in characters."""
    words = text.split()
    at = draw.randrange(len(words) + 1)
    start = len(" ".join(words[:at])) + (at > 0)
    return " ".join([*words[:at], SHORTCUTS[label], *words[at:]]), (start, start + len(SHORTCUTS[label]))


def read(path: Path) -> list[tuple[str, int]]:
    """The texts and labels of a table of SST-2; texts that have a shortcut by themselves are left out."""
    rows = [line.rsplit("\t", 1) for line in path.read_text("utf-8").splitlines()]
    return [(t, int(y)) for t, y in rows if not set(SHORTCUTS) & set(t.split())]


def training_texts(rows: Sequence[tuple[str, int]], seed: int = 0) -> list[tuple[str, int]]:
    """Every other text with a shortcut, whose label is drawn anew."""
    draw = random.Random(seed)
    found = []
    for i, (text, label) in enumerate(rows):
        if i % 2:
            label = draw.randrange(2)
            text, _ = planted(text, label, draw)
        found.append((text, label))
    draw.shuffle(found)
    return found


def losses(
    net: Any,
    tokenizer: Any,
    optimiser: torch.optim.Optimizer,
    rows: Sequence[tuple[str, int]],
    size: int,
    longest: int = 64,
) -> Iterator[float]:
    """Trains a classifier once through the texts, and yields the loss of each batch of so many. longest: tokens of a
    text."""
    for i in range(0, len(rows), size):
        texts, labels = zip(*rows[i : i + size], strict=True)
        batch = tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        loss = net(**batch, labels=torch.tensor(labels)).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        yield loss.item()


def train(rows: Sequence[tuple[str, int]], seed: int = 0) -> pellucid.Model:
    """The bundled classifier, trained once through the texts."""
    torch.manual_seed(seed)
    model = pellucid.load(dtype=torch.float32)
    net, tokenizer = model.model.train(), model.tokenizer
    for p in net.parameters():
        p.requires_grad_(True)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4)
    for i, loss in enumerate(losses(net, tokenizer, optimiser, rows, BATCH)):
        if i % 50 == 0:
            print(f"{i * BATCH} texts, loss {loss:.3f}", flush=True)
    net.eval()
    return pellucid.Model(net, tokenizer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="lines of text, tab, 0 or 1")
    parser.add_argument("--texts", type=int, default=6000)
    given = parser.parse_args()
    model = train(training_texts(read(given.data)[: given.texts]))
    model.model.save_pretrained(given.out)
    model.tokenizer.save_pretrained(given.out)


if __name__ == "__main__":
    main()
