"""How often an attribution puts the word first that decides what a language model says next.

    python benchmarks/probes.py MODEL [PROBES] [--only NAME]

MODEL: the directory of a causal checkpoint. PROBES: a JSON list of {"kind", "prompt", "continuation", "versus", "key"},
the project's own few without it. In each prompt one word, the key, decides between the continuation and another one
("versus"). For each variant two columns, of the log-probability of the continuation and of its contrast with the other:
the share of the probes whose key has the largest score of the prompt's words, and the median of Σ|scores| / |change|,
which is 1 where nothing cancels.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from rivals.lrp import attnlrp_gradients

import pellucid
from pellucid import Explanation, Explanations


@dataclass(frozen=True)
class Probe:
    kind: str
    prompt: str
    continuation: str
    versus: str
    key: str


PROBES = (
    Probe("fact", "The capital city of Norway is", " Oslo", " Rome", "Norway"),
    Probe("fact", "The capital city of Portugal is", " Lisbon", " Berlin", "Portugal"),
    Probe("language", "In Germany, most people speak", " German", " French", "Germany"),
    Probe("language", "In Japan, most people speak", " Japanese", " Greek", "Japan"),
    Probe("agreement", "The keys of the cabinet", " are", " is", "keys"),
    Probe("agreement", "The trees of the park", " are", " is", "trees"),
    Probe("ioi", "Then Mary and John had lunch, and Mary passed the salt to", " John", " Mary", "John"),
    Probe("ioi", "After Lisa and Mark met at the park, Mark threw the ball to", " Lisa", " Mark", "Lisa"),
    Probe("sentiment", "I saw the new film and it was wonderful. In short, the film is", " good", " bad", "wonderful"),
    Probe("opposite", "The opposite of hot is", " cold", " red", "hot"),
    Probe("gender", "The woman looked in the mirror and saw", " herself", " himself", "woman"),
    Probe("sense", "The forest is full of", " trees", " sand", "forest"),
)

END = "end of text"
"""Stands for the unknown token, or else that which ends a text: GPT-2's kin have one for both. "mask" meant it before
there was a filler."""
TOTAL = {"target": "total"}
VARIANTS: dict[str, Mapping[str, Any]] = {
    "the default": {},
    "the default before: end of text × 1, the raw logit": {
        "baseline": END,
        "segments": 1,
        "output": "logit",
        "target": 0,
    },
    "DeepLIFT, end of text × 1": {"baseline": END, "segments": 1},
    "DeepLIFT, end of text × 2": {"baseline": END, "segments": 2},
    'DeepLIFT, " the" × 1': {"baseline": " the", "segments": 1},
    'DeepLIFT, " the" × 2': {"baseline": " the", "segments": 2},
    'DeepLIFT, " _" × 2': {"baseline": " _", "segments": 2},
    'DeepLIFT, " a" × 2': {"baseline": " a", "segments": 2},
    'DeepLIFT, " of" × 2': {"baseline": " of", "segments": 2},
    'DeepLIFT, "," × 2': {"baseline": ",", "segments": 2},
    'DeepLIFT, " and" × 2': {"baseline": " and", "segments": 2},
    'DeepLIFT, " the", " a", ",", " of" averaged × 2': {"baseline": [" the", " a", ",", " of"], "segments": 2},
    "DeepLIFT, mean embedding × 1": {"baseline": "mean", "segments": 1},
    "DeepLIFT, mean embedding × 2": {"baseline": "mean", "segments": 2},
    'leave-one-out, " _"': {"method": "occlusion", "baseline": " _"},
    "leave-one-out, deleted": {"method": "occlusion", "baseline": "delete"},
    "AttnLRP": {"method": "input_x_gradient"},
}


def first(answer: Explanation | Explanations) -> str:
    """The prompt's word with the largest score, its scores summed over the tokens of the continuation."""
    each = list(answer) if isinstance(answer, Explanations) else [answer]
    words = [w for w in each[0].words() if w.segment == 0 and not w.special]
    scores = [sum(float(e.scores[list(w.tokens)].sum()) for e in each) for w in words]
    return words[int(np.argmax(scores))].text.strip(" .,")


def cancelling(e: Explanation) -> float:
    """Σ|scores| over the change that they add up to."""
    return float(np.abs(e.scores).sum()) / max(abs(e.change), 1e-12)


def measured(model: pellucid.Model, probes: Sequence[Probe], how: Mapping[str, Any]) -> list[tuple[float, float]]:
    """The share of keys that come first, and the median of what cancels: of the log-probability and of the contrast."""
    end = model.tokenizer.unk_token or model.tokenizer.eos_token
    how = {k: end if v == END else v for k, v in how.items()}
    found = []
    for contrast in (False, True):
        answers = []
        for p in probes:  # one by one: the cost is no subject here
            item = {"prompt": p.prompt, "continuation": p.continuation, **({"versus": p.versus} if contrast else {})}
            answers.append(pellucid.explain(model, item, **{**TOTAL, **how, **(TOTAL if contrast else {})}))
        keys = [first(e) == p.key for e, p in zip(answers, probes, strict=True)]
        found.append((fmean(keys), median(map(cancelling, answers))))
    return found


def read(path: str | None) -> Sequence[Probe]:
    return PROBES if path is None else [Probe(**p) for p in json.loads(Path(path).read_text("utf-8"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("probes", nargs="?")
    parser.add_argument("--only", action="append", metavar="NAME", help="a variant whose name begins so")
    asked = parser.parse_args()
    model, probes = pellucid.load(asked.model), read(asked.probes)
    print(f"{len(probes)} probes; the default baseline is {model.baseline('mask')}\n")
    print("| answer | first, log-probability | Σ\\|scores\\| / change | first, contrast | Σ\\|scores\\| / change |")
    print("|---|---|---|---|---|")
    for name, how in VARIANTS.items():
        if asked.only is None or any(name.startswith(n) for n in asked.only):
            with attnlrp_gradients() if name == "AttnLRP" else nullcontext():
                cells = " | ".join(f"{share:.2f} | {size:.2f}" for share, size in measured(model, probes, how))
            print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
