"""One question asked of a batch of inputs: all baselines and targets in one Problem, an Explanation for each goal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor

from .engine.hooks import OtherIds
from .engine.memory import out_of_memory, too_large
from .errors import NonFiniteOutput, UnsupportedModel
from .explanation import Explanation, average
from .methods import Method
from .models import Model, baseline_probability
from .models.baselines import name_of
from .models.batching import together
from .models.inside import layers
from .models.tasks import Goal
from .models.text.encoding import Encoding
from .notes import as_probable
from .problem import Attribution, Problem
from .randomness import RandomDraws

Goals = list[Explanation]
"""One Explanation for each number that a task reads from an input for a target: most have one."""
Answers = list[Goals]
"""One for each target of a Question."""


@dataclass(frozen=True)
class Question:
    """What is asked of every input alike.

    name, method, options: a row of METHODS and its options. targets, baselines: as the user gave them; the targets
    choose among the outputs of the same passes.
    how: what else `Model.problem` takes.
    """

    name: str
    method: Method
    options: Mapping[str, Any]
    targets: tuple[Any, ...]
    baselines: Sequence[Any]
    how: Mapping[str, Any]


def answered(model: Model, batch: Sequence[Encoding], question: Question) -> list[Answers]:
    """For each input of a batch and each target the Explanations of its goals, averaged over the baselines. The model
    is borrowed."""
    found: list[dict[int, Answers]] = [{} for _ in batch]
    for part in _parts(batch, question):
        for mine, more in zip(found, _solved(model, batch, question, part), strict=True):
            mine |= more
    name = ", ".join(map(name_of, question.baselines))
    return [_averaged([mine[b] for b in sorted(mine)], name) for mine in found]


def _averaged(variants: list[Answers], name: str) -> Answers:
    """For each target and goal of an input, one Explanation from those of its baselines."""
    if len(variants) == 1:
        return variants[0]
    each = zip(*variants, strict=True)
    return [[average(same, name) for same in zip(*goals, strict=True)] for goals in each]


def _parts(batch: Sequence[Encoding], question: Question) -> list[list[int]]:
    """Which baselines, by number, go through together. "delete" has no embeddings, so it goes alone."""
    every = range(len(question.baselines))
    if question.method.distribution:
        return [list(every)]
    alone = [b for b in every if isinstance(question.baselines[b], str) and question.baselines[b] == "delete"]
    joined = [b for b in every if b not in alone]
    size = together(len(batch) * max(len(e) for e in batch), max(1, len(joined)))
    return [[b] for b in alone] + [joined[i : i + size] for i in range(0, len(joined), size)]


def _solved(model: Model, batch: Sequence[Encoding], question: Question, part: list[int]) -> list[dict[int, Answers]]:
    """For each input its Answers for each baseline of a part; for a distribution, under its first.

    Where memory runs out, half of the inputs, or of the baselines, is tried. Raises OutOfMemory.
    """
    try:
        return _explained(model, batch, question, part)
    except OtherIds:
        if not model.follow():
            raise
        return _solved(model, batch, question, part)
    except (NonFiniteOutput, RandomDraws):
        if len({len(e) for e in batch}) == 1:
            raise
        # Some models compute NaN for padding, which no answer depends on but a gradient does, and what draws at random
        # draws for padding too: go without padding.
        size = 1
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        if len(batch) == 1 and (len(part) == 1 or question.method.distribution):
            raise too_large((len(batch[0]),), model.device) from error
        size = len(batch) // 2
    if size:
        pieces = [batch[i : i + size] for i in range(0, len(batch), size)]
        return [one for piece in pieces for one in _solved(model, piece, question, part)]
    half = len(part) // 2
    first, second = (_solved(model, batch, question, some) for some in (part[:half], part[half:]))
    return [a | b for a, b in zip(first, second, strict=True)]


def _explained(
    model: Model, batch: Sequence[Encoding], question: Question, part: list[int]
) -> list[dict[int, Answers]]:
    start, detail = time.perf_counter(), question.how["detail"] - {"parts"}
    problems = [_problem(model, batch, question, question.baselines[b], detail) for b in part]
    alike = len({(p.x[0].dtype, p.x[0].shape) for p in problems}) == 1 and all(p.token_of is None for p in problems)
    if question.method.distribution or alike:
        return _answered_by(model, batch, question, part, problems, start)
    # look-ups that were followed differ from baseline to baseline, and ids are no embeddings
    spent = (time.perf_counter() - start) / len(part)
    apart = [
        _answered_by(model, batch, question, [b], [p], time.perf_counter() - spent)
        for b, p in zip(part, problems, strict=True)
    ]
    return [{b: goals for one in of_input for b, goals in one.items()} for of_input in zip(*apart, strict=True)]


def _answered_by(
    model: Model,
    batch: Sequence[Encoding],
    question: Question,
    part: list[int],
    problems: Sequence[Problem],
    start: float,
) -> list[dict[int, Answers]]:
    """As `_explained`, from a Problem for each baseline of the part, which go through together. start: when the work on
    them began."""
    given, detail = [question.baselines[b] for b in part], question.how["detail"]
    problem, alone = _compared(problems), problems[0]
    heard = question.how["output"] == "logit" and not question.method.distribution and problem.without is None
    listening, kept = baseline_probability.heard(problem) if heard else (problem, {})
    answers = question.method.solve(listening, **question.options)
    each = _goals(model, batch, question, answers[0].outputs)
    goals, of_target = [g for mine in each for g in mine], [t for t, mine in enumerate(each) for _ in mine]
    probable = _as_probable(model, batch, question, each, problem, answers, kept)
    several = len(given) > 1 and not question.method.distribution
    rows = [(i, b) for i in range(len(batch)) for b in (part if several else part[:1])]
    if several:
        goals = [replace(g, select=lambda out, which, of=g.select: of(out, which // len(given))) for g in goals]
    asked = problem if several else alone
    inside = layers.fields(model, asked, detail, answers, goals)
    parts = _in_parts(model, batch, question, given) if "parts" in detail else [[{}] * len(rows)] * len(goals)
    meta = {**_meta(model, question), "seconds": (time.perf_counter() - start) / len(rows)}
    own = cast(Tensor, asked.tokens).cpu()
    found = [{b: [[] for _ in each] for j, b in rows if j == i} for i in range(len(batch))]
    names = {b: name_of(question.baselines[b]) if several else ", ".join(map(name_of, given)) for _, b in rows}
    of_goals = zip(answers, goals, inside, parts, probable, of_target, strict=True)
    for answer, goal, more, in_parts, even, t in of_goals:
        scores, error = _token_scores(answer, asked), _token_errors(answer, asked)
        for row, (i, b) in enumerate(rows):
            aim, mine = goal.targets[i], scores[row][own[row]].numpy()
            if aim is None:
                continue
            status = answer.row_status[row] if answer.row_status else answer.status
            output, baseline_output = answer.output[row].item(), answer.baseline_output[row].item()
            found[i][b][t].append(
                Explanation(
                    text=batch[i].text,
                    tokens=batch[i].tokens,
                    scores=mine,
                    target=aim,
                    method=question.name,
                    baseline=names[b],
                    output=output,
                    baseline_output=baseline_output,
                    delta=output - baseline_output - float(mine.sum()),
                    prediction=goal.predictions[i][0],
                    probability=goal.predictions[i][1],
                    adds_up=question.method.adds_up,
                    passes=answer.row_passes[row] if answer.row_passes else answer.passes,
                    status=status,
                    error=None if error is None or status.obtained == "closed form" else error[row][own[row]].numpy(),
                    notes=(
                        *asked.notes,
                        *answer.notes,
                        *model.row.notes(model, batch[i], question.baselines[b]),
                        *([as_probable(aim.name, names[b])] if even[row] else []),
                    ),
                    meta=meta | _parts_told(in_parts[row], names[b]),
                    parts=in_parts[row].get("scores"),
                    **more[row],
                )
            )
    return found


def _as_probable(
    model: Model,
    batch: Sequence[Encoding],
    question: Question,
    goals: Sequence[Sequence[Goal]],
    problem: Problem,
    answers: Sequence[Attribution],
    kept: Mapping[int, Any],
) -> list[list[bool]]:
    """As `chances.as_probable`, for the goals of each target; a sample of baselines is no one baseline."""
    found: list[list[bool]] = []
    for target, mine in zip(question.targets, goals, strict=True):
        own, output = answers[len(found) : len(found) + len(mine)], question.how["output"]
        if question.method.distribution:
            found += [[False] * len(batch)] * len(mine)
        else:
            found += baseline_probability.as_probable(model, batch, target, output, mine, problem, own, kept)
    return found


def _in_parts(
    model: Model, batch: Sequence[Encoding], question: Question, given: Sequence[Any]
) -> list[list[dict[str, Any]]]:
    """The same question with the parts of the embedding as inputs of their own: another answer, because positions and
    token types have a baseline too. For each goal and row the parts' scores, and what they add up to."""
    problem = _compared([_problem(model, batch, question, baseline, frozenset({"parts"})) for baseline in given])
    answers = question.method.solve(problem, **question.options)
    return [layers.in_parts(model, problem, answer) for answer in answers]


def _parts_told(found: Mapping[str, Any], baseline: str) -> dict[str, Any]:
    """What `Explanation.meta` says of the parts: their baseline, and the sum that they are complete in."""
    if not found:
        return {}
    others = [name for name in found["scores"] if name != "word"]
    at_first = f"{baseline}, with the {' and '.join(others)} of the first token" if others else baseline
    return {"parts": {"baseline": at_first, **{k: v for k, v in found.items() if k != "scores"}}}


def _problem(
    model: Model, batch: Sequence[Encoding], question: Question, baseline: Any, detail: frozenset[str]
) -> Problem:
    how = {**question.how, "detail": detail, "removes": question.method.groups}
    target = lambda outputs: tuple(g.select for mine in _goals(model, batch, question, outputs) for g in mine)
    return replace(model.problem(batch, baseline, question.targets[0], **how), target=target)


def _compared(each: Sequence[Problem]) -> Problem:
    """From the Problems of one batch against several baselines one with a row for each input and baseline, those of an
    input next to each other. Raises UnsupportedModel where they do not have the same positions."""
    first, *others = each
    if not others:
        return first
    places = [p.token_of for p in each]
    alike = all(a is b is None or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairwise(places))
    if not alike:
        raise UnsupportedModel(
            f"{len(each)} baselines are to be compared with at once, and the model looks other things up for each of "
            "them; expected one baseline, or method='deeplift' or 'integrated_gradients', which take them one by one."
        )
    x0 = zip(*(p.x0 for p in each), strict=True)
    rows = torch.arange(first.rows, device=first.x[0].device).repeat_interleave(len(each))
    return first.against(rows, tuple(torch.stack(t, 1).flatten(0, 1) for t in x0))


def _goals(model: Model, batch: Sequence[Encoding], question: Question, outputs: Any) -> list[list[Goal]]:
    """The goals of each target."""
    return [model.goals(batch, target, question.how["output"], outputs) for target in question.targets]


def _token_scores(answer: Attribution, problem: Problem) -> Tensor:
    """(rows, tokens) in float64 on the CPU: all inputs together, the hidden dimension summed, or its norm."""
    parts = [v.detach().double().cpu() for v in answer.values]
    parts = [v if v.ndim < 3 else v.norm(dim=-1) if answer.reduction == "norm" else v.sum(-1) for v in parts]
    return _of_tokens(torch.stack(parts).sum(0), problem)


def _token_errors(answer: Attribution, problem: Problem) -> Tensor | None:
    """(rows, tokens), as the scores."""
    if answer.error is None:
        return None
    mask = cast(Tensor, problem.mask)
    return _of_tokens(cast(Tensor, answer.error).cpu().view(len(mask), -1, mask.shape[1]).sum(1), problem)


def _of_tokens(of_positions: Tensor, problem: Problem) -> Tensor:
    """(rows, positions) summed over the positions of each token, (rows, tokens)."""
    if problem.token_of is None:
        return of_positions
    mask, tokens = cast(Tensor, problem.mask).cpu(), cast(Tensor, problem.own_tokens)
    total = torch.zeros(tokens.shape, dtype=torch.float64)
    return total.scatter_add_(1, problem.token_of.cpu(), of_positions.masked_fill(~mask, 0.0))


@cache
def _versions() -> dict[str, str]:
    """Reading a package's metadata takes as long as a layer of a small model."""
    return {"pellucid": version("pellucid"), "torch": str(torch.__version__), "transformers": version("transformers")}


def _meta(model: Model, question: Question) -> dict[str, Any]:
    config = getattr(model.model, "config", None)
    meta = {
        "model": model.name,
        "revision": getattr(config, "_commit_hash", None),
        "task": model.row.name,
        "attention": getattr(config, "_attn_implementation", None),
        "device": str(model.device),
        "dtype": str(next((p.dtype for p in model.model.parameters()), "")).removeprefix("torch."),
        **({"autocast": str(model.precision).removeprefix("torch.")} if model.precision else {}),
        "options": question.options,
        "seed": question.options.get("seed", 0),
        "versions": _versions(),
        "output": question.how["output"],
    }
    if question.method.groups:
        groups = question.how["groups"]
        meta["groups"] = "function" if callable(groups) else groups or "token"
    return meta
