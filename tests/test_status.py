"""A closed set of words for what an answer is worth, and the one rule that says which of them it has."""

from __future__ import annotations

import re

import pytest
import torch

import pellucid
from pellucid.errors import InputError
from pellucid.status import Status, combined, graded


@pytest.mark.parametrize(
    ("delta", "change", "size", "largest", "precision", "expected"),
    [
        (9e-5, 1.0, 1.0, 1.0, "float32", Status.EXACT),
        (2e-4, 1.0, 1.0, 1.0, "float32", Status.ROUNDED),  # within √ε of the numbers, not of the change
        (0.64, 1.0, 1.0, 1.0, "float32", Status.INEXACT),
        (2e-4, 1.0, 1e12, 1e12, "float32", Status.ROUNDED),
        (1e-6, 1.0, 1.0, 1.0, "float64", Status.INEXACT),
        (1e-12, 1.0, 1.0, 1.0, "float64", Status.EXACT),
        (7e-4, 1.0, 1.0, 1.0, "float16", Status.ROUNDED),
        (0.0, 0.0, 0.0, 0.0, "float32", Status.EXACT),
        (1e-7, 0.0, 1.0, 1.0, "float32", Status.EXACT),  # nothing changed: beside the scores
    ],
)
def test_exact_is_rounding_of_the_change(
    delta: float, change: float, size: float, largest: float, precision: str, expected: Status
) -> None:
    rounding = torch.finfo(getattr(torch, precision)).eps ** 0.5
    assert graded(delta, change, size, largest, precision, rounding) is expected


def test_a_combination_has_the_least_of_its_parts() -> None:
    assert combined(["exact", "exact"]) is Status.EXACT
    assert combined(["tolerance_not_met", "converged"]) is Status.TOLERANCE_NOT_MET
    assert combined(Status) is Status.INEXACT


def test_every_status_says_what_to_do_where_something_is_left_to_do() -> None:
    for status in Status:
        assert len(status.message) > 40
        if status.holds is False:
            assert re.search(r"\b[Uu]se ", status.message)


def test_methods_that_promise_no_sum_are_not_exact() -> None:
    model = pellucid.load()
    for method in ("saliency", "input_x_gradient", "occlusion", "lime"):
        e = pellucid.explain(model, "It's great!", method=method)
        assert e.status is Status.CLOSED_FORM and not e.adds_up
    assert pellucid.explain(model, "It's great!", method="shapley").status is Status.EXACT


def test_a_word_outside_the_set_is_refused() -> None:
    e = pellucid.explain(pellucid.load(), "It's great!")
    assert pellucid.Explanation.from_json(e.to_json()).status is Status.EXACT
    with pytest.raises(InputError, match="expected one of exact"):
        pellucid.Explanation.from_dict({**e.to_dict(), "status": "tolerance_not_met, converged"})
