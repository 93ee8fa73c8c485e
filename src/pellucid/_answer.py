"""Explains one batch of inputs by one method: all its baselines and targets together, an Explanation for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor

from .attribution import Attribution, Attributions
from .averaging import average
from .engine.hooks import OtherIds
from .engine.memory import out_of_memory, too_large
from .errors import InputError, NonFiniteOutput, UnsupportedModel
from .explanation import Explanation
from .methods import METHODS, Method
from .models import Model, baseline_probability
from .models.baselines import Spec, name_of
from .models.batching import together
from .models.inside import layers
from .models.padding import by_length
from .models.tasks import Goal
from .models.text.encoding import Encoding
from .models.text.groups import grouped
from .notes import as_probable
from .problem import Outputs, Problem, Select
from .randomness import RandomDraws
from .request import Request
from .types import Groups
from .version import __version__

Goals = list[Explanation]
"""One Explanation for each number that a task reads from an input for a target: most have one."""
Answers = list[Goals]
"""One for each target of a Request."""


Hear = Callable[[Encoding, int, Outputs], None]
"""`(input, the number of a baseline, the model's outputs at it)`, one row each."""


def batch_explained(
    model: Model, batch: Sequence[Encoding], request: Request, hear: Hear | None = None
) -> list[Answers]:
    """For each input of a batch and each target the Explanations of its goals, averaged over the baselines. The model
    is borrowed. request: of one method, as `for_each_method` makes it. hear: is told what the model returned at the
    baselines, where the method has asked for that."""
    asked = _Asked(model, batch, request, hear)
    found: list[dict[int, Answers]] = [{} for _ in batch]
    for part in _parts(asked):
        for mine, more in zip(found, _solved(asked, part), strict=True):
            mine |= more
    name = ", ".join(map(name_of, request.baselines))
    return [_averaged([mine[b] for b in sorted(mine)], name) for mine in found]


@dataclass(frozen=True)
class _Asked:
    """A Request of one method, asked of a batch of encoded inputs."""

    model: Model
    batch: Sequence[Encoding]
    request: Request
    hear: Hear | None = None

    @property
    def method(self) -> Method:
        return METHODS[self.request.methods[0]]

    @property
    def groups(self) -> Groups:
        """Those that were asked for, or else the method's own; None where it has none."""
        return self.method.unit if self.request.groups is None else self.request.groups

    def of(self, some: Sequence[int]) -> _Asked:
        """The same Request, asked of some inputs of the batch, by number."""
        return replace(self, batch=[self.batch[i] for i in some])

    def goals(self, outputs: Outputs) -> list[list[Goal]]:
        """The goals of each target, from the model's outputs at the input."""
        return [self.model.goals(self.batch, t, self.request.output, outputs) for t in self.request.targets]

    def problem(self, baseline: Spec, detail: frozenset[str], aims: _Aims) -> Problem:
        """The batch against one baseline."""
        r, removes = self.request, self.method.only_removes
        return self.model.problem_of(self.batch, baseline, aims, self.groups, detail, r.at, removes)

    def solved(self, problem: Problem) -> Attributions:
        return self.method.solve(problem, **self.request.options)


@dataclass
class _Aims:
    """A Problem's target: the goals of all targets of a request. `each` holds them, target by target, from when the
    Problem is solved."""

    asked: _Asked
    each: list[list[Goal]] = field(default_factory=list)

    def __call__(self, outputs: Outputs) -> tuple[Select, ...]:
        self.each = self.asked.goals(outputs)
        return tuple(goal.select for mine in self.each for goal in mine)


def _averaged(variants: list[Answers], name: str) -> Answers:
    """For each target and goal of an input, one Explanation from those of its baselines."""
    if len(variants) == 1:
        return variants[0]
    each = zip(*variants, strict=True)
    return [[average(same, name) for same in zip(*goals, strict=True)] for goals in each]


def _parts(asked: _Asked) -> list[list[int]]:
    """Which baselines, by number, go through together. "delete" has no embeddings, so it goes alone."""
    baselines = asked.request.baselines
    every = range(len(baselines))
    if asked.method.distribution:
        return [list(every)]
    alone = [b for b in every if isinstance(baselines[b], str) and baselines[b] == "delete"]
    joined = [b for b in every if b not in alone]
    positions = len(asked.batch) * max(len(e) for e in asked.batch)
    size = together(positions, max(1, len(joined)), asked.model.runner.at_once)
    return [[b] for b in alone] + [joined[i : i + size] for i in range(0, len(joined), size)]


def _solved(asked: _Asked, part: list[int]) -> list[dict[int, Answers]]:
    """For each input its Answers for each baseline of a part; for a distribution, under its first.

    Where padding changes the answers, inputs of one length go together. Where memory runs out, half of the inputs,
    or of the baselines, is tried. Raises OutOfMemory.
    """
    batch = asked.batch
    pieces = [[i] for i in range(len(batch))]
    try:
        if not asked.model.must_not_pad(batch):
            return _explained(asked, part)
        pieces = by_length(batch)
    except OtherIds:
        with asked.model.following() as before:
            if before:
                raise
            return _solved(asked, part)
    except (NonFiniteOutput, RandomDraws):
        if len({len(e) for e in batch}) == 1:
            raise
        # Some models compute NaN for padding, which no answer depends on but a gradient does, and what draws at random
        # draws for padding too: go without padding.
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        if len(batch) == 1 and (len(part) == 1 or asked.method.distribution):
            raise too_large((len(batch[0]),), asked.model.device) from error
        middle = len(batch) // 2
        pieces = [list(range(middle)), list(range(middle, len(batch)))] if middle else []
    if pieces:
        return _in_order([(some, _solved(asked.of(some), part)) for some in pieces])
    half = len(part) // 2
    first, second = (_solved(asked, some) for some in (part[:half], part[half:]))
    return [a | b for a, b in zip(first, second, strict=True)]


def _in_order(parts: Sequence[tuple[Sequence[int], list[dict[int, Answers]]]]) -> list[dict[int, Answers]]:
    """The answers of parts of a batch, each with the numbers of its inputs, in the order of the batch."""
    found = {i: one for numbers, answers in parts for i, one in zip(numbers, answers, strict=True)}
    return [found[i] for i in sorted(found)]


def _explained(asked: _Asked, part: list[int]) -> list[dict[int, Answers]]:
    start, detail, aims = time.perf_counter(), asked.request.detail - {"parts"}, _Aims(asked)
    problems = [asked.problem(asked.request.baselines[b], detail, aims) for b in part]
    alike = len({(p.x[0].dtype, p.x[0].shape) for p in problems}) == 1 and all(p.token_of is None for p in problems)
    if asked.method.distribution or alike:
        return _answered(asked, part, problems, aims, start)
    # look-ups that were followed differ from baseline to baseline, and ids are no embeddings
    spent = (time.perf_counter() - start) / len(part)
    apart = [_answered(asked, [b], [p], aims, time.perf_counter() - spent) for b, p in zip(part, problems, strict=True)]
    return [{b: goals for one in of_input for b, goals in one.items()} for of_input in zip(*apart, strict=True)]


def _answered(
    asked: _Asked, part: list[int], problems: Sequence[Problem], aims: _Aims, start: float
) -> list[dict[int, Answers]]:
    """As `_explained`, from a Problem for each baseline of the part, which go through together. start: when the work on
    them began."""
    model, batch, request, method = asked.model, asked.batch, asked.request, asked.method
    given, detail = [request.baselines[b] for b in part], request.detail
    problem, alone = _compared(problems), problems[0]
    wanted = request.output == "logit" or asked.hear is not None
    heard = wanted and not method.distribution and problem.without is None
    listening, kept = baseline_probability.heard(problem) if heard else (problem, {})
    answers = asked.solved(listening)
    goals, of_target = [g for mine in aims.each for g in mine], [t for t, mine in enumerate(aims.each) for _ in mine]
    probable = _as_probable(asked, aims.each, problem, answers, kept)
    several = len(given) > 1 and not method.distribution
    rows = [(i, b) for i in range(len(batch)) for b in (part if several else part[:1])]
    if asked.hear is not None:
        for row, at_baseline in kept.items():
            asked.hear(batch[rows[row][0]], rows[row][1], at_baseline)
    if several:
        goals = [replace(g, select=lambda out, which, of=g.select: of(out, which // len(given))) for g in goals]
    solved = problem if several else alone
    inside = layers.fields(model.pipeline, solved, detail, answers, goals)
    parts = _in_parts(asked, given) if "parts" in detail else [[{}] * len(rows)] * len(goals)
    meta = {**_meta(asked), "seconds": (time.perf_counter() - start) / len(rows)}
    own = cast(Tensor, solved.tokens).cpu()
    told = [_groups_told(asked, encoding) for encoding in batch]
    found = [{b: [[] for _ in aims.each] for j, b in rows if j == i} for i in range(len(batch))]
    names = {b: name_of(request.baselines[b]) if several else ", ".join(map(name_of, given)) for _, b in rows}
    of_goals = zip(answers, goals, inside, parts, probable, of_target, strict=True)
    for answer, goal, more, in_parts, even, t in of_goals:
        scores, error = _token_scores(answer, solved), _token_errors(answer, solved)
        outputs, baseline_outputs = answer.output.tolist(), answer.baseline_output.tolist()
        for row, (i, b) in enumerate(rows):
            aim, mine = goal.targets[i], scores[row][own[row]].numpy()
            if aim is None:
                continue
            status = answer.row_status[row] if answer.row_status else answer.status
            output, baseline_output = outputs[row], baseline_outputs[row]
            found[i][b][t].append(
                Explanation(
                    text=batch[i].text,
                    text_names=batch[i].names,
                    tokens=batch[i].tokens,
                    scores=mine,
                    target=aim,
                    method=request.methods[0],
                    baseline=names[b],
                    output=output,
                    baseline_output=baseline_output,
                    delta=output - baseline_output - float(mine.sum()),
                    prediction=goal.predictions[i][0],
                    probability=goal.predictions[i][1],
                    probabilities=goal.classes[i] if goal.classes else None,
                    adds_up=method.adds_up,
                    passes=answer.row_passes[row] if answer.row_passes else answer.passes,
                    status=status,
                    error=None if error is None or status.obtained == "closed form" else error[row][own[row]].numpy(),
                    notes=(
                        *solved.notes,
                        *answer.notes,
                        *goal.notes,
                        *_shared_evenly(asked),
                        *model.notes(batch[i], request.baselines[b]),
                        *([as_probable(aim, names[b])] if even[row] else []),
                    ),
                    meta=meta
                    | told[i]
                    | ({"output": goal.output} if goal.output else {})
                    | ({"step": goal.steps[i]} if goal.steps else {})
                    | ({"target_probability": goal.chances[i]} if goal.chances else {})
                    | _parts_told(in_parts[row], names[b]),
                    parts=in_parts[row].get("scores"),
                    **more[row],
                )
            )
    return found


def _as_probable(
    asked: _Asked,
    goals: Sequence[Sequence[Goal]],
    problem: Problem,
    answers: Sequence[Attribution],
    kept: Mapping[int, Outputs],
) -> list[list[bool]]:
    """As `baseline_probability.as_probable`, for the goals of each target; a sample of baselines is no one baseline."""
    found: list[list[bool]] = []
    model, batch, output = asked.model, asked.batch, asked.request.output
    for target, mine in zip(asked.request.targets, goals, strict=True):
        own = answers[len(found) : len(found) + len(mine)]
        if asked.method.distribution:
            found += [[False] * len(batch)] * len(mine)
        else:
            found += baseline_probability.as_probable(model, batch, target, output, mine, problem, own, kept)
    return found


def _in_parts(asked: _Asked, given: Sequence[Spec]) -> list[list[dict[str, Any]]]:
    """The same Request with the parts of the embedding as inputs of their own: another answer, because positions and
    token types have a baseline too. For each goal and row the parts' scores, and what they add up to."""
    aims = _Aims(asked)
    problem = _compared([asked.problem(baseline, frozenset({"parts"}), aims) for baseline in given])
    return [layers.in_parts(asked.model.pipeline, problem, answer) for answer in asked.solved(problem)]


def _parts_told(found: Mapping[str, Any], baseline: str) -> dict[str, Any]:
    """What `Explanation.meta` says of the parts: their baseline, and the sum that they are complete in."""
    if not found:
        return {}
    others = [name for name in found["scores"] if name != "word"]
    at_first = f"{baseline}, with the {' and '.join(others)} of the first token" if others else baseline
    return {"parts": {"baseline": at_first, **{k: v for k, v in found.items() if k != "scores"}}}


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
    if len({(t.dtype, t.shape) for p in each for t in p.x0[:1]}) > 1:
        raise InputError(
            f"Found {len(each)} baselines, of which some are tokens and some are embeddings; expected one of the two, "
            "because this method takes values of one kind from all of them."
        )
    x0 = zip(*(p.x0 for p in each), strict=True)
    rows = torch.arange(first.rows, device=first.x[0].device).repeat_interleave(len(each))
    return first.against(rows, tuple(torch.stack(t, 1).flatten(0, 1) for t in x0))


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
    return {"pellucid": __version__, "torch": str(torch.__version__), "transformers": version("transformers")}


def _meta(asked: _Asked) -> dict[str, Any]:
    model, request = asked.model, asked.request
    config = getattr(model.model, "config", None)
    meta = {
        "model": model.name,
        "revision": getattr(config, "_commit_hash", None),
        "task": model.does.name,
        "attention": getattr(config, "_attn_implementation", None),
        "device": str(model.device),
        "dtype": str(next((p.dtype for p in model.model.parameters()), "")).removeprefix("torch."),
        **({"autocast": str(model.precision).removeprefix("torch.")} if model.precision else {}),
        "options": dict(request.options),
        "seed": request.options.get("seed", 0),
        "versions": _versions(),
        "output": request.output,
    }
    return meta


def _groups_told(asked: _Asked, encoding: Encoding) -> dict[str, Any]:
    """What `Explanation.meta` says of the groups: their name, or the tokens of each where they have none."""
    groups = asked.groups
    if groups is None or isinstance(groups, str):
        return {"groups": groups or "token"} if groups or asked.method.groups else {}
    of: dict[int, list[int]] = {}
    for i, group in enumerate(grouped(groups, encoding)):
        if group >= 0:
            of.setdefault(group, []).append(i)
    return {"groups": list(of.values())}


def _shared_evenly(asked: _Asked) -> list[str]:
    """The note on groups that were removed whole, whose tokens have no scores of their own."""
    groups = asked.request.groups
    whole = asked.method.only_removes and groups is not None and groups not in ("token", "word")
    name = groups if isinstance(groups, str) else "group"
    return [f"Each {name} was removed as one, and shares its score evenly among its tokens."] if whole else []
