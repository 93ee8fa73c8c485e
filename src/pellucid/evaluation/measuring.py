"""`pellucid.evaluate`: explains the texts by each method, removes their words by rank, and compares what is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float

from .._explain import explain
from ..errors import InputError, quoted
from ..explanation import Explanation
from ..metrics.bootstrap import Draws, Interval, draws, interval
from ..metrics.faithfulness import METRICS, Metric
from ..metrics.removal_curves import order_of, removal_curves
from ..metrics.word_scores import group_scores
from ..models import Model
from ..models.batching import groups as batches
from ..models.text.encoding import Encoding
from ..outcome import Failure
from ..types import Baseline, Target
from .data import inputs_of
from .removal import OUTPUTS, operators_of, plays
from .result import CONTROL, Cell, Evaluation, Row

NEW_TOKENS = 20
Tell = Callable[[str], None]
PerText = Float[np.ndarray, " texts"]
Key = tuple[str, str, str]
"""Operator, output, metric."""


@dataclass(frozen=True)
class _Explained:
    """What one method with one baseline said of every input, and what that took."""

    method: str
    outcomes: list[Any]
    seconds: float


def evaluate(
    model: Model,
    data: Sequence[Any] | str | Path,
    methods: str | Sequence[str] = ("deeplift",),
    baselines: Baseline | Sequence[Baseline | Sequence[Baseline]] = ("mask",),
    *,
    limit: int | None = None,
    column: str | int | None = None,
    operators: Sequence[str] | None = None,
    target: Target = None,
    truncate: bool = False,
    seed: int = 0,
    progress: Tell | None = None,
) -> Evaluation:
    """How faithful methods are to this model, on these texts: which to believe, how sure, at what cost.

    model: from `load` or `Model`.
    data: a list of inputs, as `explain` takes them; or the name of a file: .csv, .tsv, .jsonl or .parquet, or .txt
        with one text a line.
    methods: names in METHODS, each of which is measured with each of the baselines. A random ranking is always added.
    baselines: each is a Baseline, or a list of them whose scores are averaged: `["mask", ["mask", "pad", "zero"]]`.
    limit: so many inputs from the beginning.
    column: the column of the inputs in the rows of the data; a number, from 0, for a file without a header. None: the
        row is the input, under the names that `types.Input` says.
    operators: how words are removed, at least two names in OPERATORS; None: by the mask token and by deletion.
    target, truncate: as `explain`. The target needs a probability: one label, or one token.
    seed: of the resampled texts.
    progress: called with a line on what is being done.

    Each method ranks the words of each text, the sum of a word's tokens from the highest to the lowest; special tokens
    are not ranked. Words are removed in that order and in the reverse, and the metrics are read from the target's
    probability and log-odds on the way. All removals of all methods go through the model together, equal ones once.
    Differences between methods are paired by text; "tied" is where their 95 % interval holds 0. An input that cannot be
    explained by one of the methods is left out for all of them, and listed.
    Returns an Evaluation. Raises InputError, and what `explain` raises.
    Sources: DeYoung et al. 2020 (1911.03429), Achtibat et al. 2024 (2402.05602).

    Examples:
        >>> import pellucid
        >>> texts = ["it is great", "dull, and far too long", "a gripping film", "I did not like it"]
        >>> found = pellucid.evaluate(pellucid.load(), texts, ["deeplift", "saliency"])
        >>> [row.method for row in found.rows][0], found.texts, found.operators
        ('deeplift', 4, ('mask', 'delete'))
    """
    if not isinstance(model, Model):
        raise InputError(f"Found a {type(model).__name__} as the model; expected pellucid.load('name-or-path').")
    tell = progress or (lambda line: None)
    ways = operators_of(model, operators)
    items = inputs_of(data, column, limit)
    names = [methods] if isinstance(methods, str) else list(methods)
    given = list(baselines) if isinstance(baselines, (list, tuple)) else [baselines]
    asked = [(m, b) for m in names if m != CONTROL for b in given] + [(CONTROL, given[0])] if given else []
    if not asked or len(set(names)) < len(names):
        raise InputError(
            f"Found methods={quoted(methods)}, baselines={quoted(baselines)}; expected each at least once, none twice."
        )
    answers: list[_Explained] = []
    for k, (m, b) in enumerate(asked):
        tell(f"explaining {len(items)} texts by {m} ({k + 1} of {len(asked)}) …")
        answers.append(_explained(model, items, m, b, target, truncate, seed))
    failures = _failures(answers)
    there = [i for i in range(len(items)) if i not in failures]
    if not there:
        raise InputError(f"None of the {len(items)} inputs could be measured; the first: {failures[min(failures)]}")
    each = [[cast("Explanation", a.outcomes[i]) for i in there] for a in answers]
    with model.borrowed():
        encodings = model.encode([items[i] for i in there], truncate, NEW_TOKENS)
        found: list[dict[Key, PerText]] = [{} for _ in asked]
        for way in ways:
            tell(f"removing words by {way!r} …")
            _measure(model, encodings, each, way, target, found)
        alone = _forward_backward_seconds(model, encodings, target)
    rows = _rows(answers, each, found, ways, draws(len(there), seed), alone)
    failed = tuple(failures[i] for i in sorted(failures))
    return Evaluation(model.name, model.does.name, len(there), failed, ways, rows, alone, seed)


def _explained(
    model: Model, items: list[Any], method: str, baseline: Any, target: Target, truncate: bool, seed: int
) -> _Explained:
    several = isinstance(baseline, (list, tuple))
    explain(model, items[:1], method=CONTROL, target=target, truncate=truncate, errors="return")  # not cold, when timed
    start = time.perf_counter()
    outcomes = explain(
        model,
        list(items),
        method=method,
        baseline=list(baseline) if several else baseline,
        target=target,
        truncate=truncate,
        max_new_tokens=NEW_TOKENS,
        errors="return",
        **({"seed": seed} if method == CONTROL else {}),
    )
    return _Explained(method, list(outcomes), (time.perf_counter() - start) / len(items))


def _failures(answers: Sequence[_Explained]) -> dict[int, Failure]:
    """The inputs that one of the methods could not explain, by number, and those without two words to rank. Raises
    InputError where an input has several explanations."""
    found: dict[int, Failure] = {}
    for answer in answers:
        for i, outcome in enumerate(answer.outcomes):
            if isinstance(outcome, Failure):
                found.setdefault(i, outcome)
            elif not isinstance(outcome, Explanation):
                raise InputError(
                    f"Found {len(outcome)} explanations of input {i}; expected one. Give target=…, such as 'start' or "
                    "'end' for an answer, or the number of a token."
                )
            elif sum(not w.special for w in outcome.words()) < 2:
                found.setdefault(
                    i, Failure(i, "InputError", f"Input {i} has fewer than two words, which rank nothing.")
                )
            elif not np.isfinite(outcome.scores).all():
                found.setdefault(i, Failure(i, "NonFiniteOutput", f"A score of input {i} is not finite."))
    return found


def _measure(
    model: Model,
    encodings: Sequence[Encoding],
    each: Sequence[Sequence[Explanation]],
    operator: str,
    target: Target,
    found: Sequence[dict[Key, PerText]],
) -> None:
    """Puts the metrics of one operator into `found`, for each method text by text."""
    for play in plays(model, encodings, operator, target):
        first = play.games[OUTPUTS[0]]
        orders: dict[str, dict[int, Any]] = {}
        for k, answers in enumerate(each):
            mine = {row: order_of(group_scores(first, row, answers[i].scores)) for row, i in enumerate(play.numbers)}
            orders |= {f"{k}": mine, f"{k} reversed": {row: order[::-1] for row, order in mine.items()}}
        for output, game in play.games.items():
            curves = removal_curves(game, orders)
            for k in range(len(each)):
                for row, i in enumerate(play.numbers):
                    for name, metric in METRICS.items():
                        values = found[k].setdefault((operator, output, name), np.full(len(encodings), np.nan))
                        values[i] = metric.measure(curves[f"{k}"][row], curves[f"{k} reversed"][row])


def _rows(
    answers: Sequence[_Explained],
    each: Sequence[Sequence[Explanation]],
    found: Sequence[dict[Key, PerText]],
    ways: Sequence[str],
    drawn: Draws,
    alone: float,
) -> tuple[Row, ...]:
    """The rows, the best total first."""
    of_way = [
        {w: f[w, "probability", "comprehensiveness"] - f[w, "probability", "sufficiency"] for w in ways} for f in found
    ]
    totals = [cast("PerText", np.mean(list(t.values()), axis=0)) for t in of_way]
    best = max(range(len(totals)), key=lambda k: totals[k].mean())
    control = next(k for k, a in enumerate(answers) if a.method == CONTROL)
    leaders = {key: _leader([f[key] for f in found], METRICS[key[2]]) for key in found[0]}
    rows = [
        Row(
            method=a.method,
            baseline=each[k][0].baseline,
            total=interval(totals[k], drawn),
            behind=interval(totals[best] - totals[k], drawn),
            better_than_random=interval(totals[k] - totals[control], drawn),
            by_operator={w: interval(v, drawn) for w, v in of_way[k].items()},
            cells=tuple(
                Cell(*key, interval(v, drawn), _behind(v, leaders[key], METRICS[key[2]], drawn))
                for key, v in found[k].items()
            ),
            passes=float(np.mean([e.passes for e in each[k]])),
            seconds=a.seconds,
            cost=a.seconds / alone,
        )
        for k, a in enumerate(answers)
    ]
    return tuple(sorted(rows, key=lambda r: -r.total.mean))


def _leader(values: Sequence[PerText], metric: Metric) -> PerText:
    pick = max if metric.better == "higher" else min
    return pick(values, key=lambda v: v.mean())


def _behind(values: PerText, leader: PerText, metric: Metric, drawn: Draws) -> Interval:
    return interval(leader - values if metric.better == "higher" else values - leader, drawn)


def _forward_backward_seconds(model: Model, encodings: Sequence[Encoding], target: Target) -> float:
    """Seconds of one forward and backward pass of a text, in the batches that `explain` makes; the least of three
    rounds. The model is borrowed."""
    problems = []
    for batch in batches([len(e) for e in encodings], kinds=[e.kind for e in encodings]):
        aimed = [model.does.aimed(encodings[i], target) for i in batch]
        problems.append(model.problem(aimed, "zero", target))
    rounds = []
    for _ in range(3):
        start = time.perf_counter()
        for problem in problems:
            x = tuple(t.detach().requires_grad_() for t in problem.x)
            with torch.enable_grad():
                outputs = problem.outputs(x)
                total = sum(problem.value(outputs, s).sum() for s in problem.selects(outputs))
            torch.autograd.grad(cast("torch.Tensor", total), x, allow_unused=True)
        rounds.append(time.perf_counter() - start)
    return min(rounds) / len(encodings)
