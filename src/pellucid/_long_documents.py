"""Documents longer than the model takes: their windows explained, and the Explanations merged into one.

"mean": the document's output is the mean of its windows' outputs,  F = 1/W Σ f_w,  and so a token's score is the mean
of its scores in all windows, 0 where it is not part of one. Means of what adds up add up: Σ scores + delta =
F − F_baseline, with delta the mean of the windows' residuals. The target is fixed once for the whole document, by the
mean of the windows' logits. A token that more windows cover counts in more of the W terms: those at the ends of the
document are covered by fewer.

"best": one window answers, the one where the sum of what is explained (the logits of an answer's start and end) is
largest, and its scores are the document's; the tokens that it does not cover have 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ._answer import Answers, batch_explained
from .errors import InputError, UnknownTarget, quoted
from .explanation import Explanation
from .models import Model
from .models.baseline_probability import is_as_large, is_shown
from .models.baselines import name_of
from .models.batching import groups as batches
from .models.tasks import TASKS, Goal
from .models.text.encoding import Encoding, left_out
from .models.text.windows import Window, Windows, cut
from .notes import as_probable
from .problem import Outputs
from .request import Request
from .status import combined


def explained(model: Model, batch: Sequence[Encoding], request: Request, windows: Windows | None) -> list[Answers]:
    """As `batch_explained`, with documents longer than a window in windows."""
    if windows is None:
        return batch_explained(model, batch, request)
    short = [e for e in batch if len(e) <= windows.size]
    whole = iter(batch_explained(model, short, request) if short else ())
    return [next(whole) if len(e) <= windows.size else _in_windows(model, e, request, windows) for e in batch]


def _in_windows(model: Model, document: Encoding, request: Request, windows: Windows) -> Answers:
    task, groups = model.does, request.groups
    if task.windows is None:
        able = ", ".join(name for name, row in TASKS.items() if row.windows)
        raise InputError(
            f"A text of {len(document)} tokens is longer than window={windows.size}, and {task.name} has no answer "
            f"that several windows share; expected one of {able}. Shorten the text, or pass truncate=True."
        )
    if request.detail or request.at:
        raise InputError("Found detail= or at= with a text in windows; expected neither: explain its parts one by one.")
    if not (groups is None or isinstance(groups, str) or callable(groups)):
        raise InputError(
            "Found a list of groups for a text in windows; expected 'token', 'word', 'sentence' or a function."
        )
    merged = MERGES[task.windows](model, document, request, cut(document, windows))
    about = {"window": windows.size, "stride": windows.stride}
    return [[replace(e, meta={**e.meta, **about}) for e in goals] for goals in merged]


def _mean(model: Model, document: Encoding, request: Request, windows: Sequence[Window]) -> Answers:
    parts = [w.part for w in windows]
    alike = [p.widths for p in parts] if model.must_not_pad(parts) else []
    groups = batches([len(p) for p in parts], len(request.baselines), model.runner.at_once, alike)
    with torch.no_grad():
        outputs = [model.alone(*model.collate([parts[i] for i in group])[0]) for group in groups]
    whole = torch.cat(outputs).mean(0, keepdim=True)
    each = [model.goals([document], target, request.output, whole)[0] for target in request.targets]
    aims = [goal.targets[0] for goal in each]
    given = request.targets
    fixed = [a.index if t is None and a is not None else t for t, a in zip(request.targets, aims, strict=True)]
    request = replace(request, targets=tuple(fixed))
    number, heard = {id(part): i for i, part in enumerate(parts)}, dict[tuple[int, int], Outputs]()
    hear = lambda part, b, outputs: heard.update({(number[id(part)], b): outputs})
    found: dict[int, Answers] = {}
    for group in groups:
        answers = batch_explained(model, [parts[i] for i in group], request, hear)
        found |= dict(zip(group, answers, strict=True))
    merged: Answers = []
    for t, (asked, goal) in enumerate(zip(given, each, strict=True)):
        prediction, probability = goal.predictions[0]
        one = averaged(document, windows, [found[i][t][0] for i in range(len(windows))])
        classes = goal.classes[0] if goal.classes else None
        one = replace(one, prediction=prediction, probability=probability, probabilities=classes)
        for b, baseline in enumerate(request.baselines):
            at_baseline = [heard.get((i, b)) for i in range(len(windows))]
            shown = not callable(asked) and is_shown(goal, 0, asked)
            probable = is_as_large(goal, 0, one.output, one.baseline_output) or (
                shown and _is_as_probable(model, document, request, asked, goal, outputs, at_baseline)
            )
            note = as_probable(one.target, name_of(baseline))
            one = replace(one, notes=(*(n for n in one.notes if n != note), *([note] if probable else [])))
        merged.append([one])
    return merged


def _is_as_probable(
    model: Model,
    document: Encoding,
    request: Request,
    target: Any,
    goal: Goal,
    outputs: Sequence[Outputs],
    at_baseline: Sequence[Outputs | None],
) -> bool:
    """Whether a document's class is as probable on a baseline as on the document, by the means of its windows: what one
    window says on the matter need not be so of all.

    outputs: those at the input. at_baseline: for each window those at the baseline, None where no method has asked.
    """
    told = [outputs for outputs in at_baseline if outputs is not None]
    if len(told) < len(at_baseline):
        return False
    ends = [torch.cat([*outputs]), torch.cat(told)]
    row = torch.zeros(1, dtype=torch.long, device=model.device)
    if request.output != "logit":
        p, p0 = (goal.select(end, row.expand(len(end))).mean() for end in ends)
    else:
        p, p0 = (end.mean(0, keepdim=True) for end in ends)
        chance = model.goals([document], target, "probability", p)[0].select
        p, p0 = chance(p, row), chance(p0, row)
    return bool(p0 >= p)


def averaged(document: Encoding, windows: Sequence[Window], each: Sequence[Explanation]) -> Explanation:
    """The Explanation of the mean of the windows' outputs."""
    spread = lambda values: np.mean([_placed(document, w, v) for w, v in zip(windows, values, strict=True)], axis=0)
    scores = spread([e.scores for e in each])
    output, baseline_output = (float(np.mean([getattr(e, k) for e in each])) for k in ("output", "baseline_output"))
    estimated = all(e.error is not None for e in each)
    return replace(
        each[0],
        text=document.text,
        tokens=document.tokens,
        scores=scores,
        error=spread([e.error for e in each]) if estimated else None,
        output=output,
        baseline_output=baseline_output,
        delta=output - baseline_output - float(scores.sum()),
        passes=sum(e.passes for e in each),
        status=combined(e.status for e in each),
        notes=tuple(dict.fromkeys(note for e in each for note in e.notes)),
        meta={**each[0].meta, "windows": [_told(w, e) for w, e in zip(windows, each, strict=True)]},
    )


def _best(model: Model, document: Encoding, request: Request, windows: Sequence[Window]) -> Answers:
    with torch.no_grad():
        outputs = [model.alone(*model.collate([w.part])[0]) for w in windows]
    each = [_values(model, target, request, windows, outputs) for target in request.targets]
    best = [max((i for i, v in enumerate(vs) if v is not None), key=lambda i, vs=vs: vs[i] or 0.0) for vs in each]
    found: Answers = [[] for _ in request.targets]
    for b in dict.fromkeys(best):
        numbers = [t for t, i in enumerate(best) if i == b]
        asked = replace(request, targets=tuple(request.targets[t] for t in numbers))
        for t, goals in zip(numbers, batch_explained(model, [windows[b].part], asked)[0], strict=True):
            found[t] = [_of_window(document, windows, b, each[t], e) for e in goals]
    return found


def _values(
    model: Model, target: Any, request: Request, windows: Sequence[Window], outputs: Sequence[Outputs]
) -> list[float | None]:
    """What a target's value is in each window; None where the window does not have it. Raises UnknownTarget."""
    if isinstance(target, int) or (isinstance(target, Mapping) and "position" in target):
        raise UnknownTarget(
            f"Found target={quoted(target)}, a token's number, which is another token in each window; expected the "
            "text of an answer or its span in the context."
        )
    one_side = isinstance(target, str) and target in ("start", "end")  # of the answer that is best as a whole
    values: list[float | None] = []
    unknown: UnknownTarget | None = None
    row = torch.zeros(1, dtype=torch.long, device=model.device)
    for w, out in zip(windows, outputs, strict=True):
        try:
            goals = model.goals([w.part], None if one_side else target, request.output, out)
            values.append(sum(g.select(out, row).item() for g in goals))
        except UnknownTarget as error:  # the answer that is named is not in this window
            values.append(None)
            unknown = error
    if all(v is None for v in values) and unknown is not None:
        raise unknown
    return values


def _of_window(
    document: Encoding, windows: Sequence[Window], best: int, values: Sequence[float | None], e: Explanation
) -> Explanation:
    """The Explanation of the document that the best of its windows answers."""
    w = windows[best]
    told = [
        {"tokens": w.slice, "value": v, "best": i == best} for i, (w, v) in enumerate(zip(windows, values, strict=True))
    ]
    about = [{**t, **_told(w, e)} if t["best"] else t for t in told]
    return replace(
        e,
        text=document.text,
        tokens=document.tokens,
        scores=_placed(document, w, e.scores),
        error=None if e.error is None else _placed(document, w, e.error),
        target=_moved(e.target, w.places),
        unread=left_out(document.tokens, [document.tokens[i] for i in w.places]),
        meta={**e.meta, "windows": about},
    )


def _placed(document: Encoding, window: Window, values: Any) -> Any:
    """A window's values (its tokens,) in the document (tokens,), 0 elsewhere."""
    full = np.zeros(len(document))
    full[list(window.places)] = values
    return full


def _moved(target: Any, places: Sequence[int]) -> Any:
    """A target whose token is numbered as in the document."""
    if target.position is None:
        return target
    place = places[target.position]
    return replace(target, position=place, index=place if target.index == target.position else target.index)


def _told(window: Window, e: Explanation) -> dict[str, Any]:
    return {
        "tokens": window.slice,
        "output": e.output,
        "baseline_output": e.baseline_output,
        "delta": e.delta,
        "prediction": e.prediction,
    }


MERGES: dict[str, Callable[[Model, Encoding, Request, Sequence[Window]], Answers]] = {"mean": _mean, "best": _best}
"""How the windows of a document make one answer, by `Task.windows`."""
