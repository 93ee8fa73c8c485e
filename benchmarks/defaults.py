"""Which baseline, and how many segments, DeepLIFT should use by default: encoders or decoders, by the rule in
docs/faithfulness.md (*How a default is chosen*).

    python benchmarks/defaults.py encoders|decoders [--shared ../shared] [--language-model DIR] [--work .leaderboard]
                                   [--inputs 48] [--device cuda]

The texts are, for the classifiers of the leaderboard, its sentences; and for a language model what the leaderboard asks
it, and more of the same. Answers are kept in --work. Printed are the candidates in the order of their mean ranks, each
with the share of draws in which it is better than the default.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from leaderboard import BEAM, METRICS, OPERATORS, asked, entries
from probes import deciding, first
from probes import read as probes_of

import pellucid
from pellucid.evaluation import curves
from pellucid.metrics import faithfulness
from pellucid.metrics.bootstrap import LEVEL, draws

FEW = 4
"""Passes that a candidate may take; a row of more is printed and not chosen."""


@contextmanager
def met_at(cut: float | None) -> Iterator[None]:
    """Within, two segments meet at this part of the path."""
    own = sys.modules["pellucid.methods.deeplift"]
    with nullcontext() if cut is None else patch.object(own, "GROWTH", math.log(cut) / math.log(0.5)):
        yield


@dataclass(frozen=True)
class Candidate:
    """options: of `explain`. cut: where two segments meet; None for the library's own. in_turn: tokens that stand one
    after the other in the baseline, from the first again at the end."""

    options: Mapping[str, Any]
    cut: float | None = None
    in_turn: tuple[str, ...] = ()

    def explained(self, model: pellucid.Model, items: Sequence[Any], target: Any) -> Sequence[Any]:
        with met_at(self.cut):
            if not self.in_turn:
                return pellucid.explain(model, list(items), target=target, **self.options)
            ids = model.tokenizer.convert_tokens_to_ids(model.tokenizer.tokenize("".join(self.in_turn)))
            baselines = [torch.tensor(ids).repeat(len(e))[: len(e)] for e in model.encode(list(items))]
            return [
                pellucid.explain(model, item, target=target, baseline=baseline, **self.options)
                for item, baseline in zip(items, baselines, strict=True)
            ]


DEFAULT = "the default"
ENCODERS = {
    DEFAULT: Candidate({}),
    "pad": Candidate({"baseline": "pad"}),
    "zero": Candidate({"baseline": "zero"}),
    "mean": Candidate({"baseline": "mean"}),
    "mask, 2 segments": Candidate({"segments": 2}),
    "mask, 3 segments": Candidate({"segments": 3}),
    "mask and pad": Candidate({"baseline": ["mask", "pad"]}),
    "mask and zero": Candidate({"baseline": ["mask", "zero"]}),
    "mask and mean": Candidate({"baseline": ["mask", "mean"]}),
    "mask, pad and zero": Candidate({"baseline": ["mask", "pad", "zero"]}),
}
FREQUENT = (" the", " of", " and", " to", " in", " a", " is", " that")
DECODERS = {
    DEFAULT: Candidate({}),
    **{
        f"{name!r}, 2 segments, cut at {cut}": Candidate({"baseline": name, "segments": 2}, cut)
        for name, cuts in ((" a", (0.4, 0.3, 0.5)), (" the", (0.3, 0.5)), (" _", (0.4,)))
        for cut in cuts
    },
    "' the' and ' a', 1 segment": Candidate({"baseline": [" the", " a"], "segments": 1}),
    "' the' and ' a', 2 segments": Candidate({"baseline": [" the", " a"], "segments": 2}),
    **{
        f"{name} in turn, {n} segment{'s' * (n > 1)}": Candidate({"segments": n}, in_turn=tokens)
        for name, tokens in (("' the' and ' a'", (" the", " a")), ("eight frequent words", FREQUENT))
        for n in (1, 2)
    },
    "' the', 1 segment": Candidate({"baseline": " the", "segments": 1}),
    "' the', 3 segments": Candidate({"baseline": " the", "segments": 3}),
    "' a', 3 segments": Candidate({"baseline": " a", "segments": 3}),
    "mean, 2 segments": Candidate({"baseline": "mean", "segments": 2}),
    "pad, 2 segments": Candidate({"baseline": "pad", "segments": 2}),
}


Probed = dict[str, list[bool]]
"""For each kind of probes, of which of them the deciding word comes first."""


@dataclass(frozen=True)
class Entry:
    """A model. items: the texts that are measured. probed: what a candidate makes of the probes."""

    name: str
    load: Callable[..., pellucid.Model]
    items: Callable[[pellucid.Model], Sequence[Any]]
    target: Any
    probed: Callable[[pellucid.Model, Candidate], Probed]


def encoders(shared: Path, work: Path, inputs: int) -> list[Entry]:
    """The classifiers of the leaderboard, and its sentences."""
    found = entries(shared, None, work, inputs, 0)
    return [Entry(e.name, e.load, lambda m, e=e: e.items, e.target, _classified) for e in found]


def decoders(shared: Path, language_model: Path, inputs: int) -> list[Entry]:
    """A language model, and what the leaderboard asks it, more of it."""
    probes = probes_of(str(shared / "cases" / "probes.json"))

    def continued(model: pellucid.Model, candidate: Candidate) -> Probed:
        decided = [{"prompt": p.prompt, "continuation": p.continuation} for p in probes]
        contrasts = [{**a, "versus": p.versus} for a, p in zip(decided, probes, strict=True)]
        found: Probed = {}
        for kind, items in (("log-probability", decided), ("contrast", contrasts)):
            answers = candidate.explained(model, items, "total")
            found[kind] = [first(e) == p.key for e, p in zip(answers, probes, strict=True)]
        return found

    load = partial(pellucid.load, str(language_model))
    items = lambda model: list(islice(asked(model, shared), inputs))
    return [Entry(language_model.resolve().name, load, items, "total", continued)]


def _classified(model: pellucid.Model, candidate: Candidate) -> Probed:
    found: Probed = {}
    probes = deciding(model)
    for probe, e in zip(probes, candidate.explained(model, [x.texts[0] for x in probes], None), strict=True):
        found.setdefault(probe.kind, []).append(first(e) == probe.key)
    return found


Values = dict[str, np.ndarray]
"""For each cell, or kind of probes, a value for each candidate and text (candidates, texts), more of it better."""


def measured(
    entry: Entry, candidates: Mapping[str, Candidate], work: Path, device: str | None
) -> tuple[Values, Values, list[float]]:
    """The cells, measured on a device, the probes, and the passes of each candidate."""
    folder, model = work / "defaults" / entry.name, entry.load()
    folder.mkdir(parents=True, exist_ok=True)
    items = entry.items(model)
    if _kept(folder / "items.json", lambda: items) != list(items):
        raise SystemExit(f"{folder} is of other inputs: take another --work")
    said: list[dict[str, Any]] = []
    for name, candidate in candidates.items():
        said.append(_kept(folder / f"{name}.json", lambda c=candidate: _answers(entry, model, items, c)))
        print(entry.name, "|", name, "|", said[-1]["passes"], flush=True)
    cells = _cells(entry, entry.load(device=device), items, [[np.array(s) for s in one["scores"]] for one in said])
    kinds = said[0]["probed"]
    probes = {f"{entry.name} {kind}": np.array([one["probed"][kind] for one in said], float) for kind in kinds}
    return cells, probes, [one["passes"] for one in said]


def _cells(entry: Entry, model: pellucid.Model, items: Sequence[Any], scores: Sequence[Sequence[np.ndarray]]) -> Values:
    """The leaderboard's cells."""
    found: Values = {}
    with model.borrowed():
        encodings = model.encode(list(items))
        for operator in OPERATORS:
            heard = lambda done, o=operator: print(f"{entry.name} | {o} | {done} of {len(items)}", flush=True)
            each = curves.measured(model, encodings, scores, curves.Removal(operator, entry.target, beam=BEAM), heard)
            for output, metric in METRICS:
                sign = 1.0 if faithfulness.METRICS[metric].better == "higher" else -1.0
                of = [one.metrics[operator, output, metric] for one in each[: len(scores)]]
                found[f"{entry.name} {operator} {output} {metric}"] = sign * np.stack(of)
    return found


def _answers(entry: Entry, model: pellucid.Model, items: Sequence[Any], candidate: Candidate) -> dict[str, Any]:
    each, probed = candidate.explained(model, items, entry.target), entry.probed(model, candidate)
    return {"scores": [e.scores.tolist() for e in each], "passes": max(e.passes for e in each), "probed": probed}


def _kept(path: Path, made: Callable[[], Any]) -> Any:
    if not path.exists():
        path.write_text(json.dumps(made()), "utf-8")
    return json.loads(path.read_text("utf-8"))


def mean_ranks(cells: Values, probes: Values) -> tuple[np.ndarray, np.ndarray]:
    """The mean rank of each candidate, 1 the best, over cells and over probes alike; and that of each draw (draws,
    candidates)."""
    halves = []
    for seed, part in enumerate((cells, probes)):
        each = []
        for values in part.values():
            drawn = draws(values.shape[1], seed)
            means = np.concatenate([np.nanmean(values, 1)[None], np.nanmean(values[:, drawn], 2).T])
            each.append(_ranks(means.round(12)))
        halves.append(np.mean(each, 0))
    found = np.mean(halves, 0)
    return found[0], found[1:]


def _ranks(means: np.ndarray) -> np.ndarray:
    """Of each row (draws, candidates), from 1 for the greatest; equal values share the mean of their ranks."""
    above = (means[:, None, :] > means[:, :, None]).sum(2)
    equal = (means[:, None, :] == means[:, :, None]).sum(2)
    return above + (equal + 1) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("encoders", "decoders"))
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--language-model", type=Path)
    parser.add_argument("--work", type=Path, default=Path(".leaderboard"))
    parser.add_argument("--inputs", type=int, default=48)
    parser.add_argument("--device", help="where words are removed, such as cuda")
    given = parser.parse_args()
    if given.kind == "decoders" and given.language_model is None:
        parser.error("decoders need --language-model, the directory of a causal checkpoint")
    lm, shared, n = given.language_model, given.shared, given.inputs
    models = encoders(shared, given.work, n) if given.kind == "encoders" else decoders(shared, lm, n)
    candidates = DECODERS if given.kind == "decoders" else ENCODERS
    cells, probes, passes = {}, {}, []
    for entry in models:
        of_model = measured(entry, candidates, given.work, given.device)
        cells, probes = cells | of_model[0], probes | of_model[1]
        passes = of_model[2]
    print(table(list(candidates), cells, probes, passes))


def table(names: Sequence[str], cells: Values, probes: Values, passes: Sequence[float]) -> str:
    """The candidates in the order of their mean ranks, and what the rule says of them."""
    ranks, drawn = mean_ranks(cells, probes)
    default = names.index(DEFAULT)
    better = (drawn < drawn[:, [default]]).mean(0)
    total = lambda k: np.mean(
        [v[k].mean() for key, v in cells.items() if "comprehensiveness" in key or "sufficiency" in key]
    )
    area = lambda k: np.mean([v[k].mean() for key, v in cells.items() if "area between" in key])
    heads = ["candidate", "mean rank", "better than the default", "total", "area, log-odds", *probes, "passes"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for k in np.argsort(ranks, kind="stable").tolist():
        numbers = [f"{ranks[k]:.2f}", f"{better[k]:.3f}", f"{2 * total(k):.3f}", f"{area(k):.2f}"]
        lines.append(
            f"| {' | '.join([names[k], *numbers, *(f'{v[k].mean():.2f}' for v in probes.values()), str(passes[k])])} |"
        )
    few = [k for k in np.argsort(ranks, kind="stable").tolist() if passes[k] <= FEW]
    best = few[0]
    stays = best == default or better[best] < (1 + LEVEL) / 2
    verdict = "the default stays" if stays else f"{names[best]} replaces the default"
    return "\n".join([*lines, "", f"Best of at most {FEW} passes: {names[best]}; {verdict}."])


if __name__ == "__main__":
    main()
