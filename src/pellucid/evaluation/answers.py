"""What each method said of every input, and what that took: explained here, read from a run, or given by the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import numpy as np
from jaxtyping import Float

from .._explain import explain
from ..errors import InputError, UnknownBaseline
from ..explanation import Explanation
from ..models import Model
from ..models.text.encoding import Encoding
from ..outcome import Failure, Outcome
from ..tokens import Target as Explained
from ..types import Target
from .cost import Cost, measured
from .rows import CONTROL


@dataclass(frozen=True)
class Asking:
    """How inputs are explained; each as `explain`. out: the folder in which a run for each method goes on."""

    target: Target
    truncate: bool
    seed: int
    max_new_tokens: int
    out: Path | None = None


@dataclass(frozen=True)
class Answered:
    """One method's answers. method: its name. baseline: as the user gave it; None for scores that were given.
    outcomes: an Explanation, a Failure or the scores of all tokens, for each input. cost: of one input; None where it
    was not measured."""

    method: str
    baseline: Any
    outcomes: Sequence[Outcome | Float[np.ndarray, " tokens"]]
    cost: Cost | None

    @property
    def baseline_name(self) -> str:
        return next((o.baseline for o in self.outcomes if isinstance(o, Explanation)), "")

    @property
    def passes(self) -> float | None:
        """Of one explanation, on average over the inputs that were explained."""
        each = [o.passes for o in self.outcomes if isinstance(o, Explanation)]
        return float(np.mean(each)) if each else None

    def scores(self, i: int) -> Float[np.ndarray, " tokens"]:
        """Of all tokens of input i, special ones too."""
        found = self.outcomes[i]
        return found.scores if isinstance(found, Explanation) else cast("Float[np.ndarray, ' tokens']", found)


def explained(
    model: Model, items: Sequence[Any], method: str, baseline: Any, how: Asking, heard: Callable[[int], None]
) -> Answered:
    """Explains all inputs by one method. With `how.out` the answers are kept there, and those that are there already
    are not asked for again. heard: told how many inputs are done."""
    asked = _options(method, baseline, how)
    if how.out is not None:
        from ..jobs import run  # needs pyarrow

        folder = how.out / f"{method}_{quote('+'.join(map(str, listed(baseline))), safe='+')}"
        begun = folder.exists()
        found, cost = measured(
            lambda: run(model, list(items), folder, **asked, progress=lambda p: heard(p.done)), model.device
        )
        each = None if begun else _of_one(cost, len(items))
        return Answered(method, baseline, list(found), each)
    answers, cost = measured(
        lambda: explain(model, list(items), **asked, errors="return", progress=lambda p: heard(p.done)), model.device
    )
    return Answered(method, baseline, list(answers), _of_one(cost, len(items)))


def tried(model: Model, item: Any, method: str, baseline: Any, how: Asking) -> None:
    """Explains one input: what a method does once for a model is done then, and is not of each text. Raises what is
    wrong with the method, whatever the input, and UnknownBaseline."""
    (found,) = explain(model, [item], **_options(method, baseline, how), errors="return")
    if isinstance(found, Failure) and found.type == UnknownBaseline.__name__:
        raise UnknownBaseline(found.message)


def listed(baseline: Any) -> list[Any]:
    """The baselines whose scores are averaged."""
    return list(baseline) if isinstance(baseline, (list, tuple)) else [baseline]


def _options(method: str, baseline: Any, how: Asking) -> dict[str, Any]:
    """What `explain` is given."""
    return {
        "method": method,
        "baseline": listed(baseline),
        "target": how.target,
        "truncate": how.truncate,
        "max_new_tokens": how.max_new_tokens,
        **({"seed": how.seed} if method == CONTROL else {}),
    }


def _of_one(cost: Cost, inputs: int) -> Cost:
    """What one input took, of so many."""
    return replace(cost, seconds=cost.seconds / inputs, work=cost.work / inputs)


def stored(folder: str | Path) -> Answered | None:
    """The answers of a run over a data set (`pellucid.run`); None where there is no such folder. Raises InputError for
    a run of several methods."""
    if not Path(folder).is_dir():
        return None
    from ..jobs import open  # needs pyarrow

    run = open(folder)
    asked = run.manifest["request"]
    methods = asked["methods"]
    if len(methods) > 1:
        raise InputError(
            f"Found the run {str(folder)!r} of {len(methods)} methods ({', '.join(methods)}); expected a run of one. "
            "Run each in a folder of its own, or give evaluate the data and methods=[…]."
        )
    return Answered(methods[0], asked["baselines"], list(run), None)


def given(scores: Mapping[str, Sequence[Any]], inputs: int) -> list[Answered]:
    """The scores that a user brings, a list for each name. Raises InputError where there are not as many as inputs."""
    found: list[Answered] = []
    for name, of_inputs in scores.items():
        if len(of_inputs) != inputs:
            raise InputError(
                f"Found scores of {len(of_inputs)} inputs by {name!r}; expected one array for each of the {inputs}."
            )
        try:
            outcomes = [o if isinstance(o, (Explanation, Failure)) else np.asarray(o, dtype=float) for o in of_inputs]
        except (TypeError, ValueError) as error:
            raise InputError(
                f"Found scores by {name!r} that are no numbers: {error}. Expected arrays of them."
            ) from error
        found.append(Answered(name, None, outcomes, None))
    return found


def control_of(answers: Sequence[Answered]) -> int:
    """The number of the random ranking, which is always there; the last of that name, as scores that are given may have
    it too."""
    return max(k for k, a in enumerate(answers) if a.method == CONTROL)


def failures(answers: Sequence[Answered]) -> dict[int, Failure]:
    """The inputs that one of the methods could not explain, by number. Raises InputError where an input has several
    explanations."""
    found: dict[int, Failure] = {}
    for answer in answers:
        for i, outcome in enumerate(answer.outcomes):
            if isinstance(outcome, Failure):
                found.setdefault(i, replace(outcome, index=i))
            elif not isinstance(outcome, (Explanation, np.ndarray)):
                raise InputError(
                    f"Found {len(outcome)} explanations of input {i}; expected one. Give target=…, such as 'start' or "
                    "'end' for an answer, or the number of a token."
                )
            elif not np.isfinite(answer.scores(i)).all():
                found.setdefault(i, Failure(i, "NonFiniteOutput", f"A score of input {i} is not finite."))
    return found


def check_alike(answers: Sequence[Answered], i: int, encoding: Encoding) -> None:
    """Raises InputError where an answer about input i has other tokens than the model reads, or explains another target
    than the one that is measured."""
    target = cast("Explanation", answers[control_of(answers)].outcomes[i]).target
    for answer in answers:
        outcome = answer.outcomes[i]
        ids = [t.id for t in outcome.tokens] if isinstance(outcome, Explanation) else None
        if (ids is not None and ids != encoding.ids) or answer.scores(i).shape != (len(encoding),):
            raise InputError(
                f"Found scores by {answer.method!r} of other tokens of input {i}; expected one for each of the "
                f"{len(encoding)} tokens that the model reads, special ones too, as `Explanation.tokens`."
            )
        if isinstance(outcome, Explanation) and outcome.target != target:
            raise InputError(
                f"Found an explanation by {answer.method!r} of input {i} for {_named(outcome.target)}; expected one "
                f"for {_named(target)}, which is what is measured. Give evaluate the target=… of the explanations."
            )


def _named(target: Explained | None) -> str:
    return "no target" if target is None else repr(target.name)
