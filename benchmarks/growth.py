"""How the cost grows with the length of a text, the number of texts and the number of layers.

    python benchmarks/growth.py [--model DIR] [--texts FILE] [--out docs/growth.svg]

Writes a plot and its numbers as JSON beside it: DeepLIFT and integrated gradients (16 points) next to the model's own
forward and backward pass; seconds, medians of the turns.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench import TEXTS, forward_backward, packed, random_bert, seconds

import pellucid

LENGTHS, COUNTS, LAYERS = (16, 32, 64, 128, 256, 512), (10, 30, 100, 300, 1000, 2000), (2, 4, 8, 16, 24)
POINTS = 16
Runs = dict[str, Callable[[], Any]]


def runs(model: pellucid.Model, texts: list[str]) -> Runs:
    problems = [p for p, _ in packed(model, texts)]
    ig = {"method": "integrated_gradients", "n_steps": POINTS}
    return {
        "forward and backward": lambda: [forward_backward(p) for p in problems],
        "deeplift": lambda: pellucid.explain(model, texts, baseline="pad"),
        f"integrated gradients, {POINTS} points": lambda: pellucid.explain(model, texts, baseline="pad", **ig),
    }


def measured(of: Runs, turns: int) -> dict[str, float]:
    if turns > 1:  # a single turn is of many texts, and long: what ran before has warmed it
        for run in of.values():
            run()
    return {name: float(np.median([seconds(run) for _ in range(turns)])) for name, run in of.items()}


def measure(model: pellucid.Model, texts: list[str]) -> dict[str, dict[int, dict[str, float]]]:
    of_length = lambda n: [" ".join(["film"] * (n - 2))]
    many = [texts[i % len(texts)] for i in range(max(COUNTS))]
    return {
        "tokens in a text": {n: measured(runs(model, of_length(n)), 3) for n in LENGTHS},
        "texts": {n: measured(runs(model, many[:n]), 1) for n in COUNTS},
        "layers": {n: measured(runs(random_bert(model, n, 384), of_length(64)), 3) for n in LAYERS},
    }


def draw(found: dict[str, dict[int, dict[str, float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(12, 3.8), layout="constrained")
    for ax, (what, by_size) in zip(axes, found.items()):
        sizes = list(by_size)
        for name in by_size[sizes[0]]:
            ax.loglog(sizes, [by_size[n][name] for n in sizes], marker="o", ms=4, label=name)
        ax.set_xlabel(what)
        ax.set_xticks(sizes, [str(n) for n in sizes])
        ax.minorticks_off()
        ax.grid(alpha=0.25)
    axes[0].set_ylabel("seconds")
    axes[0].legend(frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a checkpoint's directory; the bundled model without it")
    parser.add_argument("--texts", type=Path, help="one text per line; what follows a tab is ignored")
    parser.add_argument("--n", type=int, default=200, help="how many of them, again and again")
    parser.add_argument("--out", type=Path, default=Path("docs/growth.svg"))
    given = parser.parse_args()
    texts = TEXTS
    if given.texts:
        texts = [line.split("\t")[0] for line in given.texts.read_text("utf-8").splitlines()][: given.n]
    found = measure(pellucid.load(given.model), texts)
    given.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    draw(found, given.out)


if __name__ == "__main__":
    main()
