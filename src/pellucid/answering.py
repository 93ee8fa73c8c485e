"""One question asked of a batch of inputs: all baselines in the same Problem, and an Explanation for each goal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Any, cast

import torch
from torch import Tensor

from .errors import NonFiniteOutput
from .explanation import Explanation, average
from .methods import Method
from .methods.evaluate import out_of_memory, too_large
from .models import Model, depth
from .models.baselines import name_of
from .models.batching import together
from .models.encoding import Encoding
from .problem import Attribution, Problem

Goals = list[Explanation]
"""One Explanation for each number that a task reads from an input: most have one."""


@dataclass(frozen=True)
class Question:
    """What is asked of every input alike.

    name, method, options: a row of METHODS and its options. target, baselines: as the user gave them.
    how: what else `Model.problem` takes.
    """

    name: str
    method: Method
    options: Mapping[str, Any]
    target: Any
    baselines: Sequence[Any]
    how: Mapping[str, Any]


def answered(model: Model, batch: Sequence[Encoding], question: Question) -> list[Goals]:
    """For each input of a batch its goals' Explanations, averaged over the baselines. The model is borrowed."""
    found: list[dict[int, Goals]] = [{} for _ in batch]
    for part in _parts(batch, question):
        for mine, goals in zip(found, _solved(model, batch, question, part), strict=True):
            mine |= goals
    name = ", ".join(map(name_of, question.baselines))
    return [_averaged([mine[b] for b in sorted(mine)], name) for mine in found]


def _averaged(variants: list[Goals], name: str) -> Goals:
    """For each goal of an input, one Explanation from those of its baselines."""
    if len(variants) == 1:
        return variants[0]
    return [average(same, name) for same in zip(*variants, strict=True)]


def _parts(batch: Sequence[Encoding], question: Question) -> list[list[int]]:
    """Which baselines, by number, go through together. "delete" has no embeddings, so it goes alone."""
    every = range(len(question.baselines))
    if question.method.distribution:
        return [list(every)]
    alone = [b for b in every if isinstance(question.baselines[b], str) and question.baselines[b] == "delete"]
    joined = [b for b in every if b not in alone]
    size = together(len(batch) * max(len(e) for e in batch), max(1, len(joined)))
    return [[b] for b in alone] + [joined[i : i + size] for i in range(0, len(joined), size)]


def _solved(model: Model, batch: Sequence[Encoding], question: Question, part: list[int]) -> list[dict[int, Goals]]:
    """For each input its goals' Explanations for each baseline of a part; for a distribution, under its first.

    Where memory runs out, half of the inputs, or of the baselines, is tried. Raises OutOfMemory.
    """
    try:
        return _explained(model, batch, question, part)
    except NonFiniteOutput:
        if len({len(e) for e in batch}) == 1:
            raise
        # Some models compute NaN for padding, which no answer depends on but a gradient does: go without padding.
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


def _explained(model: Model, batch: Sequence[Encoding], question: Question, part: list[int]) -> list[dict[int, Goals]]:
    start = time.perf_counter()
    given = [question.baselines[b] for b in part]
    problem, alone = _problem(model, batch, question, given)
    answers = question.method.solve(problem, **question.options)
    goals = model.goals(batch, question.target, question.how["output"], answers[0].outputs)
    several = len(given) > 1 and not question.method.distribution
    rows = [(i, b) for i in range(len(batch)) for b in (part if several else part[:1])]
    if several:
        goals = [replace(g, select=lambda out, which, of=g.select: of(out, which // len(given))) for g in goals]
    asked = problem if several else alone
    inside = depth.fields(model, asked, question.how["detail"], answers, goals)
    meta = {**_meta(model, question), "seconds": (time.perf_counter() - start) / len(rows)}
    own = cast(Tensor, asked.mask).cpu()
    found: list[dict[int, Goals]] = [{b: [] for j, b in rows if j == i} for i in range(len(batch))]
    names = {b: name_of(question.baselines[b]) if several else ", ".join(map(name_of, given)) for _, b in rows}
    for answer, goal, more in zip(answers, goals, inside, strict=True):
        scores, error = _token_scores(answer), _token_errors(answer, own)
        for row, (i, b) in enumerate(rows):
            aim, mine = goal.targets[i], scores[row][own[row]].numpy()
            if aim is None:
                continue
            status = answer.row_status[row] if answer.row_status else answer.status
            output, baseline_output = answer.output[row].item(), answer.baseline_output[row].item()
            found[i][b].append(
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
                    notes=(*answer.notes, *model.row.notes(model, batch[i], question.baselines[b])),
                    meta=meta,
                    **more[row],
                )
            )
    return found


def _problem(
    model: Model, batch: Sequence[Encoding], question: Question, given: Sequence[Any]
) -> tuple[Problem, Problem]:
    """A row for each input and baseline, those of an input next to each other; and with a row for each input alone."""
    each = [model.problem(batch, baseline, question.target, **question.how) for baseline in given]
    if len(each) == 1:
        return each[0], each[0]
    x0 = zip(*(p.x0 for p in each), strict=True)
    rows = torch.arange(len(batch), device=each[0].x[0].device).repeat_interleave(len(each))
    return each[0].against(rows, tuple(torch.stack(t, 1).flatten(0, 1) for t in x0)), each[0]


def _token_scores(answer: Attribution) -> Tensor:
    """(rows, tokens) in float64 on the CPU: all inputs together, the hidden dimension summed, or its norm."""
    parts = [v.detach().double().cpu() for v in answer.values]
    parts = [v if v.ndim < 3 else v.norm(dim=-1) if answer.reduction == "norm" else v.sum(-1) for v in parts]
    return torch.stack(parts).sum(0)


def _token_errors(answer: Attribution, own: Tensor) -> Tensor | None:
    """(rows, tokens), as the scores."""
    if answer.error is None:
        return None
    return cast(Tensor, answer.error).cpu().view(len(own), -1, own.shape[1]).sum(1)


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
