"""Is a metric wrong that puts attention, rollout and SmoothGrad of a language model no higher than chance?

    python benchmarks/sinks.py MODEL [--shared ../shared] [--prompts 16] [--words 7]

A decoder's attention goes to its first token whatever the text says (an attention sink: Xiao et al. 2023, 2309.17453).
For short prompts of the leaderboard are printed, for each method: how often it ranks the first word first; its total
less that of chance, with its interval; and the same after its first word is put last and nothing else is changed.
Chance is the mean of 32 random rankings, each measured from both ends. Where the second number is above chance and the
first is not, the method knows something about the other words, and the sink hides it: the metric tells them apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from leaderboard import OPERATORS, entries, words
from rivals import RIVALS

import pellucid
from pellucid.evaluation.curves import Measured, Removal, measured
from pellucid.metrics.bootstrap import Interval, draws, interval

DRAWN = 32
OURS: dict[str, dict[str, Any]] = {
    "DeepLIFT, the default": {},
    "smoothgrad": {"method": "smoothgrad", "n_samples": 8},
    "saliency": {"method": "saliency"},
}
THEIRS = ("attention, last layer", "attention rollout")
Scores = list[np.ndarray]
"""Of the tokens of each prompt."""


def first_last(model: pellucid.Model, items: Sequence[Any], scores: Scores) -> tuple[Scores, float]:
    """The scores with the first word below all others; and how often it was above all others."""
    found, first = [], []
    for item, each in zip(items, scores, strict=True):
        prompt = [w for w in pellucid.explain(model, item, "random", target="total").words() if w.segment == 0]
        sums = [each[list(w.tokens)].sum() for w in prompt if not w.special]
        first.append(int(np.argmax(sums)) == 0)
        changed = each.copy()
        changed[list(prompt[0].tokens)] = -1e6
        found.append(changed)
    return found, float(np.mean(first))


def total(found: Sequence[Measured]) -> np.ndarray:
    """Comprehensiveness less sufficiency of each prompt, the mean over the operators and over the rankings."""
    of = lambda one, way, metric: one.metrics[way, "probability", metric]
    each = [of(one, w, "comprehensiveness") - of(one, w, "sufficiency") for one in found for w in OPERATORS]
    return np.mean(each, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--words", type=int, default=7)
    given = parser.parse_args()
    (entry,) = [e for e in entries(given.shared, given.model, Path(), 1, 10**6) if e.causal]
    model, items = entry.load(), [i for i in entry.items if words(i["prompt"]) <= given.words][: given.prompts]
    ask = lambda **how: [e.scores for e in pellucid.explain(model, items, target="total", **how)]
    named = {name: ask(**how) for name, how in OURS.items()}
    named |= {name: [RIVALS[name](model, item, "total") for item in items] for name in THEIRS}
    changed = {name: first_last(model, items, scores) for name, scores in named.items()}
    drawn = [ask(method="random", seed=k) for k in range(DRAWN)]
    every = [*named.values(), *(scores for scores, _ in changed.values())]
    every += [[way * s for s in one] for one in drawn for way in (1, -1)]
    found: list[Measured] = [Measured() for _ in every]
    with model.borrowed():
        encodings = model.encode(items)
        for operator in OPERATORS:
            for one, more in zip(found, measured(model, encodings, every, Removal(operator, "total")), strict=True):
                one.metrics.update(more.metrics)
    resampled, n = draws(len(items)), len(named)
    chance = total(found[2 * n :])
    print(f"{len(items)} prompts; total of chance {chance.mean():.3f}\n")
    print("| method | first word first | total − chance | the same, the first word last |\n|---|---:|---:|---:|")
    for k, (name, (_, first)) in enumerate(changed.items()):
        each = [interval(total([found[i]]) - chance, resampled) for i in (k, n + k)]
        print(f"| {name} | {first:.2f} | {' | '.join(map(_short, each))} |")


def _short(i: Interval) -> str:
    return f"{i.mean:.3f} ({i.low:.3f} to {i.high:.3f})"


if __name__ == "__main__":
    main()
