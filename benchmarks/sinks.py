"""Is a metric wrong that puts attention, rollout and SmoothGrad of a language model no higher than chance?

    python benchmarks/sinks.py MODEL [--shared ../shared] [--prompts 24] [--words 12] [--separator '<|endoftext|>']

A decoder's attention goes to its first token whatever the text says (an attention sink: Xiao et al. 2023, 2309.17453).
For short prompts are printed, for each method: how often it ranks the first word first; its total less
that of chance, with its interval; the same after its first word is put last and nothing else is changed; and its total
less that of chance where the tokenizer begins each text with the separator of the documents that the model was trained
on, as most decoders' do, so that the sink is no word and is not ranked. Chance is the mean of 32 random rankings, each
measured from both ends. A ranking by place stands beside them, the first word highest: it knows nothing of the words.
Where a later number is above chance and the first is not, the method knows something about the other words, and the
sink hides it: the metric tells them apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from leaderboard import OPERATORS, likely, words
from rivals import RIVALS
from tokenizers import processors

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
PLACE = "where a word stands: the first one highest"
"""What knows nothing of the words."""
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


def begun(model: pellucid.Model, separator: str) -> None:
    """Lets the model's tokenizer begin each text with a token of its own, which counts as special."""
    mark = (separator, model.tokenizer.convert_tokens_to_ids(separator))
    own = processors.TemplateProcessing(single=f"{separator} $A", pair=f"{separator} $A $B", special_tokens=[mark])  # pyright: ignore
    model.tokenizer._tokenizer.post_processor = own


def less_chance(model: pellucid.Model, items: Sequence[Any], scores: Sequence[Scores]) -> tuple[list[Interval], float]:
    """The total of each method less that of chance, and that of chance."""
    drawn = [
        [e.scores for e in pellucid.explain(model, items, "random", target="total", seed=k)]  # pyright: ignore
        for k in range(DRAWN)
    ]
    every = [*scores, *([way * s for s in one] for one in drawn for way in (1, -1))]
    found: list[Measured] = [Measured() for _ in every]
    with model.borrowed():
        encodings = model.encode(items)
        for operator in OPERATORS:
            for one, more in zip(found, measured(model, encodings, every, Removal(operator, "total")), strict=True):
                one.metrics.update(more.metrics)
    chance, resampled = total(found[len(scores) :]), draws(len(items))
    return [interval(total([one]) - chance, resampled) for one in found[: len(scores)]], float(chance.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--words", type=int, default=12)
    parser.add_argument("--separator", default="<|endoftext|>")
    given = parser.parse_args()
    model = pellucid.load(str(given.model))
    items = list(islice((i for i in likely(model, given.shared) if words(i["prompt"]) <= given.words), given.prompts))
    ask = lambda **how: [e.scores for e in pellucid.explain(model, items, target="total", **how)]
    every = lambda: {
        **{name: ask(**how) for name, how in OURS.items()},
        **{name: [RIVALS[name](model, item, "total") for item in items] for name in THEIRS},
        PLACE: [-np.arange(len(s), dtype=float) for s in ask(method="random")],
    }
    named = every()
    changed = {name: first_last(model, items, scores) for name, scores in named.items()}
    plain, chance = less_chance(model, items, [*named.values(), *(scores for scores, _ in changed.values())])
    begun(model, given.separator)
    after, chance_after = less_chance(model, items, list(every().values()))
    print(f"{len(items)} prompts; total of chance {chance:.3f}, after {given.separator} {chance_after:.3f}\n")
    print("| method | first word first | total − chance | the same, the first word last | after the separator |")
    print("|---|---:|---:|---:|---:|")
    for k, (name, (_, first)) in enumerate(changed.items()):
        print(f"| {name} | {first:.2f} | {' | '.join(map(_short, (plain[k], plain[len(named) + k], after[k])))} |")


def _short(i: Interval) -> str:
    return f"{i.mean:.3f} ({i.low:.3f} to {i.high:.3f})"


if __name__ == "__main__":
    main()
