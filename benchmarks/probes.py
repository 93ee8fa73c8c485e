"""How often an attribution puts the word first that decides what a model says.

    python benchmarks/probes.py MODEL [PROBES] [--only NAME]

MODEL: the directory of a causal checkpoint, or of a classifier of sentiment. PROBES, for a causal one: a JSON list of
{"kind", "prompt", "continuation", "versus", "key"}, the project's own few without it. In each prompt one word, the key,
decides between the continuation and another one ("versus"). For each variant two columns, of the log-probability of the
continuation and of its contrast with the other: the share of the probes whose key has the largest score of the prompt's
words, and the median of Σ|scores| / |change|, which is 1 where nothing cancels. For a classifier sentences are made in
which one word was exchanged (a negation, the one strong word, a name), and those are probes in which its prediction
changes with that word.
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
    "AttnLRP": {"method": "input_x_gradient", "baseline": "zero"},
}


@dataclass(frozen=True)
class Exchange:
    """A sentence, the word in it that may decide, and the word that stands there in the other sentence."""

    kind: str
    sentence: str
    key: str
    other: str

    @property
    def texts(self) -> tuple[str, str]:
        return self.sentence.format(self.key), self.sentence.format(self.other)


def exchanges() -> list[Exchange]:
    """Sentences about films in which one word is exchanged."""
    good, bad = ("good", "great", "funny", "wonderful", "moving"), ("bad", "dull", "awful", "boring", "poor")
    negated = ("the film is {} %s", "this was {} a %s story", "it was {} %s to watch with my brother")
    strong = (
        "i saw the film on monday with my brother and it was {}",
        "a {} film about two men who cross the country in an old car",
        "what happens in the second half of this story is {}",
        "the actors speak in the first scene and the result is {}",
    )
    named = ("it looks like a film by {}", "the new {} film", "{} plays the main part here")
    names = ("spielberg", "kubrick", "hitchcock", "pixar", "scorsese"), ("seagal", "sandler", "schneider", "madonna")
    found = [Exchange("negation", t % w, "not", "really") for t in negated for w in (*good, *bad)]
    found += [Exchange("strong word", t, a, b) for t in strong for a, b in zip(good, bad, strict=True)]
    found += [Exchange("strong word", t, b, a) for t in strong for a, b in zip(good, bad, strict=True)]
    return found + [Exchange("name", t, a, b) for t in named for x, y in (names, names[::-1]) for a in x for b in y]


CLASSIFIED: dict[str, Mapping[str, Any]] = {
    "the default": {},
    "DeepLIFT, mask × 2": {"segments": 2},
    "DeepLIFT, pad": {"baseline": "pad"},
    "DeepLIFT, mask and pad": {"baseline": ["mask", "pad"]},
    "DeepLIFT, mask, pad and zero": {"baseline": ["mask", "pad", "zero"]},
    "DeepLIFT, mean embedding": {"baseline": "mean"},
    "integrated gradients to 1 %": {"method": "integrated_gradients"},
    "leave-one-out, mask": {"method": "occlusion"},
    "leave-one-out, deleted": {"method": "occlusion", "baseline": "delete"},
    "kernel SHAP (200), mask": {"method": "kernel_shap", "n_samples": 200},
    "AttnLRP": {"method": "input_x_gradient", "baseline": "zero"},
    "random": {"method": "random"},
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


def deciding(model: pellucid.Model) -> list[Exchange]:
    """The sentences in which the model's prediction changes with the exchanged word."""
    every = exchanges()
    said = [e.prediction for e in pellucid.explain(model, [t for x in every for t in x.texts], "random")]
    return [x for x, a, b in zip(every, said[::2], said[1::2], strict=True) if a != b]


def found_first(model: pellucid.Model, probes: Sequence[Exchange], how: Mapping[str, Any]) -> dict[str, float]:
    """The share of each kind of probes whose exchanged word comes first."""
    answers = pellucid.explain(model, [x.texts[0] for x in probes], **how)
    hits: dict[str, list[bool]] = {}
    for probe, e in zip(probes, answers, strict=True):
        hits.setdefault(probe.kind, []).append(first(e) == probe.key)
    return {kind: fmean(each) for kind, each in hits.items()}


def classified(model: pellucid.Model, only: Sequence[str] | None) -> None:
    """Prints the table of a classifier."""
    probes = deciding(model)
    kinds = {kind: sum(x.kind == kind for x in probes) for kind in dict.fromkeys(x.kind for x in probes)}
    print(f"{len(probes)} of {len(exchanges())} sentences, whose prediction changes with the word\n")
    print(f"| answer | {' | '.join(f'{kind} ({n})' for kind, n in kinds.items())} |")
    print("|---|" + "---|" * len(kinds))
    for name, how in CLASSIFIED.items():
        if only is None or any(name.startswith(n) for n in only):
            with attnlrp_gradients() if name == "AttnLRP" else nullcontext():
                shares = found_first(model, probes, how)
            print(f"| {name} | {' | '.join(f'{shares[kind]:.2f}' for kind in kinds)} |", flush=True)


def read(path: str | None) -> Sequence[Probe]:
    return PROBES if path is None else [Probe(**p) for p in json.loads(Path(path).read_text("utf-8"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("probes", nargs="?")
    parser.add_argument("--only", action="append", metavar="NAME", help="a variant whose name begins so")
    asked = parser.parse_args()
    model, probes = pellucid.load(asked.model), read(asked.probes)
    if model.does.name != "text-generation":
        classified(model, asked.only)
        return
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
