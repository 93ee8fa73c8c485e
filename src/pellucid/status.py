"""The status of an answer: a word from a closed set that says how the scores were obtained, and whether they add up.

Three things are kept apart: how the scores were obtained (by a closed form, a fixed rule, to a tolerance, or from a
sample), whether the method promises that they add up to the change in the output, and whether they did. Each member of
`Status` is a combination of the three that can occur, and its message says what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

EXACT_WITHIN = {"float64": 1e-8, "float32": 1e-4}
"""The largest |delta|, relative to the change in the output, of an answer that is called exact, by the precision that
it was computed in."""
EXACT_WITHIN_HALF = 1e-5
"""The same in any shorter precision, where a residual as small as float32's is luck."""


class Status(StrEnum):
    """How an answer was obtained and whether it adds up: a word, with a `message` that says what to do.

    obtained: "closed form", "fixed rule", "tolerance" or "sample".
    promises: whether the method promises that the scores add up; None where it depends on the method
        (`Explanation.adds_up`).
    holds: whether they did add up; None where nothing was promised, or where the residual itself tells.

    Examples:
        >>> Status("exact") is Status.EXACT, Status.EXACT == "exact"
        (True, True)
        >>> Status.ROUNDED.holds, Status.SAMPLED.obtained
        (False, 'sample')
    """

    obtained: str
    promises: bool | None
    holds: bool | None
    message: str

    def __new__(cls, word: str, obtained: str, promises: bool | None, holds: bool | None, message: str) -> Status:
        self = str.__new__(cls, word)
        self._value_ = word
        self.obtained, self.promises, self.holds, self.message = obtained, promises, holds, message
        return self

    EXACT = (
        "exact",
        "closed form",
        True,
        True,
        "The scores add up to the change in the output; what is left over is rounding.",
    )
    CLOSED_FORM = (
        "closed_form",
        "closed form",
        False,
        None,
        "The scores are exactly what the method defines, and it does not promise that they add up: the residual is "
        "what they leave unexplained. For scores that add up use method='deeplift'.",
    )
    FIXED_STEPS = (
        "fixed_steps",
        "fixed rule",
        True,
        None,
        "A fixed number of steps was taken, and the residual says how far off they are. Raise n_steps, or leave it out "
        "to integrate to a tolerance.",
    )
    CONVERGED = ("converged", "tolerance", True, True, "The estimated error and the residual are within the tolerance.")
    SAMPLED = (
        "sampled",
        "sample",
        None,
        None,
        "The scores are the mean of a random sample, and `error` is their standard error. Raise n_samples for a "
        "smaller one.",
    )
    ROUNDED = (
        "rounded",
        "closed form",
        True,
        False,
        "The change in the output is small beside the numbers that were added up, so rounding leaves more of it over "
        "than an exact answer may. Use a higher precision (model.float(), or model.double()), or a baseline that the "
        "output differs from more.",
    )
    INEXACT = (
        "inexact",
        "closed form",
        True,
        False,
        "The scores do not add up to the change in the output, by more than rounding of the numbers that were seen, or "
        "they add up by chance, because they miss a part of the function. Where a part of the function runs without a "
        "gradient or draws at random, the notes say so: let that part carry a gradient, or use a method that needs "
        "none, such as method='shapley'. Else far larger numbers than the output cancel inside the function: use "
        "float64.",
    )
    TOLERANCE_NOT_MET = (
        "tolerance_not_met",
        "tolerance",
        True,
        False,
        "The estimated error or the residual is still above the tolerance. Raise max_passes, allow a larger tol, or "
        "use method='deeplift', which needs neither.",
    )


_WORTH = (
    Status.EXACT,
    Status.CONVERGED,
    Status.CLOSED_FORM,
    Status.FIXED_STEPS,
    Status.SAMPLED,
    Status.ROUNDED,
    Status.TOLERANCE_NOT_MET,
    Status.INEXACT,
)
"""From the one that says most of an answer to the one that says least."""


def combined(statuses: Iterable[Status | str]) -> Status:
    """The status of an answer that is made of several answers (rows, windows, baselines): the one that claims least.

    Examples:
        >>> combined(["exact", "sampled", "converged"])
        <Status.SAMPLED: 'sampled'>
    """
    return max(map(Status, statuses), key=_WORTH.index)


def graded(
    delta: float, change: float, size: float, largest: float, precision: str, rounding: float, ulp: float = 0.0
) -> Status:
    """The status of an answer in closed form whose scores should add up, by its residual: exact, rounded or inexact.

    delta: the residual. change: the change in the output.
    size: what the residual is compared with where the output did not change: Σ|scores|, but no more than the output
        itself, or 1, because scores far larger than that cancel, and leave their rounding over.
    largest: the largest number that was added up.
    precision: the name of the type that the numbers were computed in, such as "float32".
    rounding: how far off a sum in that precision may be, relative to `largest`.
    ulp: the rounding of the outputs themselves. Scores that are differences of outputs leave no residual, and are no
        better than these.

    Examples:
        >>> graded(1e-7, 1.0, 1.0, 1.0, "float32", 3e-4)
        <Status.EXACT: 'exact'>
    """
    scale = abs(change) or size
    within = EXACT_WITHIN.get(precision, EXACT_WITHIN_HALF) * scale
    if abs(delta) <= within and (ulp <= within or change == 0):
        return Status.EXACT
    return Status.ROUNDED if abs(delta) <= rounding * largest else Status.INEXACT
