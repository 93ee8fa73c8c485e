"""`pellucid.evaluate`: explains the texts by each method, removes their words by rank, and compares what is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from .._explain import AUTO
from ..choices import Choice
from ..choices import keep as keep_choice
from ..console import time_left
from ..errors import InputError, quoted
from ..metrics.bootstrap import draws
from ..models import Model
from ..models.text.encoding import Encoding
from ..models.text.groups import grouped
from ..outcome import Failure
from ..types import Baseline, Groups, Target
from .agreement import Spans, plausibility
from .answers import (
    Answered,
    Asking,
    check_alike,
    control_of,
    explained,
    failures,
    given,
    listed,
    stored,
    tried,
)
from .comparing import compared
from .cost import finished, worked
from .curves import Measured, Removal, measured
from .data import check_limit, inputs_of
from .removal import as_ranked, explained_target, operators_of
from .result import Evaluation
from .rows import CONTROL

Tell = Callable[[str], None]
NEW_TOKENS = 20
"""Tokens that a language model generates where there is no continuation, and a target in it is asked for."""


def evaluate(
    model: Model,
    data: Sequence[Any] | str | Path,
    methods: str | Sequence[str] | None = None,
    baselines: Baseline | Sequence[Baseline | Sequence[Baseline]] = ("mask",),
    *,
    scores: Mapping[str, Sequence[Any]] | None = None,
    limit: int | None = None,
    column: str | int | None = None,
    operators: Sequence[str] | None = None,
    target: Target = None,
    groups: Groups = "word",
    beam: int = 0,
    random_rankings: int = 1,
    rationales: Sequence[Spans] | None = None,
    truncate: bool = False,
    seed: int = 0,
    out: str | Path | None = None,
    keep: bool = False,
    progress: Tell | None = None,
) -> Evaluation:
    """How faithful methods are to this model, on these texts: which to believe, how sure, at what cost.

    model: from `load` or `Model`.
    data: a list of inputs, as `explain` takes them; or the name of a file: .csv, .tsv, .jsonl or .parquet, or .txt
        with one text a line; or the folder of a run over texts (`pellucid.run`), whose answers are measured as they
        stand.
    methods: names in METHODS, each of which is measured with each of the baselines. A random ranking is always added.
        None: deeplift, or where `scores` or a run's answers are given these alone.
    baselines: each is a Baseline, or a list of them whose scores are averaged: `["mask", ["mask", "pad", "zero"]]`.
    scores: what other libraries say, by the name of each: for each input an array with a score for each token, special
        ones too, in the order of `Explanation.tokens`; or an Explanation.
    limit: so many inputs from the beginning.
    column: the column of the inputs in the rows of the data; a number, from 0, for a file without a header. None: the
        row is the input, under the names that `types.Input` says.
    operators: how words are removed, at least two names in OPERATORS; None: by the mask token, and by deletion, or by
        the mean embedding where positions must not move.
    target, truncate: as `explain`. The target needs a probability: one label, one token, or a continuation as a whole
        ("total"), which is what None means for text-generation: the continuation that an input has, or else the one
        token that the model continues it with.
    groups: what is ranked and removed together, see `types.Groups`: words, or the sentences or sources of a prompt. The
        words of a continuation stay, unless groups are lists of tokens.
    beam: also searches for the best and the worst order of each text, keeping so many candidates at each step, as
        "normalised area" needs. It takes about beam·n² evaluations of a text of n words; exact up to 10 words.
    random_rankings: the row of chance is the mean over so many random rankings of each text.
    rationales: for each input the spans that a person marked, (start, end) in characters, or (segment, start, end);
        each Row's `plausibility` then says how well its method agrees.
    seed: of the resampled texts, the random rankings and the random sets of LDS.
    out: a folder, where the explanations of each method are kept as a run (`pellucid.open` reads it). The same call
        again goes on where an earlier one ended.
    keep: whether the recommended method and baseline are kept for this model, as `explain(method="auto")` uses them
        (`pellucid.choices` says where). Baselines need names then. `Evaluation.kept` says whether one was.
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
    if type(beam) is not int or beam < 0:
        raise InputError(f"Found beam={quoted(beam)}; expected a whole number: 0 for no search, or such as 5.")
    if type(random_rankings) is not int or random_rankings < 1:
        raise InputError(f"Found random_rankings={quoted(random_rankings)}; expected a whole number from 1.")
    tell = progress or (lambda line: None)
    ways = operators_of(model, operators)
    answers = _brought(data, column, limit)
    items = [_text(o) for o in answers[0].outcomes] if answers else inputs_of(data, column, limit, tell)
    most = 1 if target is None else NEW_TOKENS
    target = explained_target(model, target)
    asking = Asking(target, truncate, seed, most, None if out is None else Path(out))
    answers += given(scores or {}, len(items))
    if rationales is not None and len(rationales) != len(items):
        raise InputError(f"Found {len(rationales)} rationales; expected one list of spans for each of {len(items)}.")
    asked = _asked(methods if methods is not None else () if answers else ("deeplift",), baselines)
    if keep and (unnamed := [b for _, b in asked if _names(b) is None]):
        raise InputError(f"Found the baseline {quoted(unnamed[0])}; expected baselines that have names, to keep one.")
    for m, b in asked:
        tried(model, items[0], m, b, asking)
    for k, (m, b) in enumerate(asked):
        heard = _heard(tell, f"explaining by {m} ({k + 1} of {len(asked)})", len(items))
        answers.append(explained(model, items, m, b, asking, heard))
    failed = failures(answers)
    with model.borrowed():
        encodings = _encoded(model, items, failed, answers, asking, groups)
        there = list(encodings)
        each = [[a.scores(i) for i in there] for a in answers]
        marked = [rationales[i] for i in there] if rationales is not None else []
        agree = plausibility(list(encodings.values()), each, marked, groups) if marked else [{} for _ in answers]
        found: list[Measured] = [Measured() for _ in range(len(answers) + (beam > 0))]
        for k, way in enumerate(ways):
            heard = _heard(tell, f"removing words by {way!r} ({k + 1} of {len(ways)})", len(encodings))
            removal = Removal(way, target, groups, beam, seed, random_rankings)
            each_way = measured(model, list(encodings.values()), each, removal, heard, control_of(answers))
            for one, more in zip(found, each_way, strict=True):
                one.metrics.update(more.metrics)
                one.curves.update(more.curves)
        alone = forward_backward_seconds(model, list(encodings.values()), target)
    rows, best_order = compared(answers, found, agree, ways, draws(len(there), seed), alone)
    told = tuple(failed[i] for i in sorted(failed))
    result = Evaluation(model.name, model.does.name, len(there), told, ways, rows, alone, seed, best_order)
    return replace(result, kept=keep and _keep(model, result, answers))


def _heard(tell: Tell, what: str, total: int) -> Callable[[int], None]:
    """A function of how many texts are done, which tells so, and how long the rest of them takes at that rate."""
    start = time.monotonic()
    tell(f"{what}: {total} texts …")

    def heard(done: int) -> None:
        left = (time.monotonic() - start) / done * (total - done) if done else None
        tell(f"{what}: {done} of {total} texts · {time_left(left)}")

    return heard


def _keep(model: Model, result: Evaluation, answers: Sequence[Answered]) -> bool:
    """Keeps the recommended row for the model, if there is one that `explain` can make again: whether it did."""
    row = result.choice
    of = [a for a in answers if row is not None and (a.method, a.baseline_name) == (row.method, row.baseline)]
    baselines = _names(of[0].baseline) if of else None
    if row is None or baselines is None:
        return False
    keep_choice(model.model, Choice(row.method, baselines, result.sentence))
    return True


def _names(baseline: Any) -> tuple[str, ...] | None:
    """The names of one baseline or of several; None where one has no name."""
    each = listed(baseline)
    return tuple(each) if all(isinstance(b, str) for b in each) else None


def _brought(data: object, column: object, limit: int | None) -> list[Answered]:
    """The first `limit` answers of a run, where the data is the folder of one. Raises InputError."""
    check_limit(limit)
    run = stored(data) if isinstance(data, (str, Path)) else None
    if run is not None and column is not None:
        raise InputError(f"Found column={quoted(column)}; expected none for the folder of a run, which has its texts.")
    return [] if run is None else [replace(run, outcomes=run.outcomes[:limit])]


def _text(outcome: Any) -> Any:
    """The input that an outcome of a run is about; empty where it failed."""
    return getattr(outcome, "text", "")


def _asked(methods: str | Sequence[str], baselines: Any) -> list[tuple[str, Any]]:
    """Each method with each baseline, and the random ranking once."""
    names = [methods] if isinstance(methods, str) else list(methods)
    each = listed(baselines)
    if AUTO in names:
        raise InputError(f"Found the method {AUTO!r}, which stands for one; expected the names of methods to measure.")
    named = [tuple(sorted(found)) for b in each if (found := _names(b)) is not None]
    if not each or len(set(names)) < len(names) or len(set(named)) < len(named):
        raise InputError(
            f"Found methods={quoted(methods)}, baselines={quoted(baselines)}; expected at least one "
            "baseline, and no method and no baseline twice."
        )
    return [(m, b) for m in names if m != CONTROL for b in each] + [(CONTROL, each[0])]


def _encoded(
    model: Model,
    items: Sequence[Any],
    failed: dict[int, Failure],
    answers: Sequence[Answered],
    how: Asking,
    groups: Groups,
) -> dict[int, Encoding]:
    """The inputs that can be measured, by number; those with fewer than two groups to rank are put into `failed`.
    The model is borrowed. Raises InputError where none is left."""
    numbers = [i for i in range(len(items)) if i not in failed]
    found = dict(zip(numbers, model.encode([items[i] for i in numbers], how.truncate, how.max_new_tokens), strict=True))
    for i, encoding in list(found.items()):
        check_alike(answers, i, encoding)
        found[i] = encoding = as_ranked(encoding, groups)
        if max(grouped(groups, encoding), default=-1) < 1:
            failed[i] = Failure(i, "InputError", f"Input {i} has fewer than two words (groups) that may be removed.")
            del found[i]
    if not found:
        raise InputError(f"None of the {len(items)} inputs could be measured; the first: {failed[min(failed)]}")
    return found


def forward_backward_seconds(model: Model, encodings: Sequence[Encoding], target: Target) -> float:
    """Seconds, as `worked` counts them, of one forward and backward pass of a text, in the batches that `explain`
    makes; the least of three rounds. The model is borrowed."""
    problems = []
    for batch in model.batches(encodings):
        aimed = [model.does.aimed(encodings[i], target) for i in batch]
        problems.append(model.problem(aimed, "zero", target))
    rounds = []
    for _ in range(3):
        finished(model.device)
        start = worked(model.device)
        for problem in problems:
            x = tuple(t.detach().requires_grad_() for t in problem.x)
            with torch.enable_grad():
                outputs = problem.outputs(x)
                total = sum(problem.value(outputs, s).sum() for s in problem.selects(outputs))
            torch.autograd.grad(cast("torch.Tensor", total), x, allow_unused=True)
        finished(model.device)
        rounds.append(worked(model.device) - start)
    return min(rounds) / len(encodings)
