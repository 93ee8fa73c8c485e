"""Text classification: one of several labels, several at once, or a number."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import InputError, UnsupportedModel
from ...problem import Select
from ...tokens import Target
from ...types import Target as TargetSpec
from ..net import Outputs
from ..text.collating import Inputs
from .shortened_texts import closing_up
from .target_names import label_index, named_labels
from .task import (
    PROBABILITIES,
    Asked,
    Goal,
    Prediction,
    Task,
    are_probabilities,
    at,
    by_function,
    check_output,
    described,
    field,
    finite_logits,
    one_sequence,
)

MULTI_LABEL = "multi_label_classification"
REGRESSION = "regression"


def class_logits(outputs: Outputs, inputs: Inputs) -> Tensor:
    """The logits (rows, classes) in a tensor, a tuple or a mapping. Raises UnsupportedModel."""
    rows = len(next(iter(inputs.values())))
    found = field(outputs, "logits")
    if isinstance(found, Tensor) and found.ndim == 1 and found.shape[0] == rows:
        found = found.unsqueeze(1)
    if not isinstance(found, Tensor) or found.ndim != 2 or found.shape[0] != rows or not found.is_floating_point():
        raise UnsupportedModel(
            f"The model returned {described(outputs, found)} for {rows} texts; expected logits of shape ({rows}, "
            "classes), as a tensor, the first of a tuple, or the field 'logits'."
        )
    return found


def label_goals(asked: Asked, logits: Tensor) -> list[Goal]:
    """One goal: the most probable class, a label, an index, a contrast or a function of the logits (rows, classes)."""
    finite_logits(logits)
    check_output(asked.output, asked.target)
    names = named_labels(asked.labels, logits.shape[1])
    select, targets = resolve(asked.target, names, logits)
    if asked.problem_type == REGRESSION:
        if asked.output == "probability":
            raise InputError(
                "Found output='probability' for a regression model (config.problem_type is 'regression'), whose output "
                "is a number and no logit; expected output='logit', which explains the number itself."
            )
        return [Goal(select, targets, [(target.name, None) for target in resolve(None, names, logits)[1]])]
    if are_probabilities(asked, logits):
        classes = class_probabilities(names, logits.log())
        return [Goal(select, targets, predicted(names, logits.log()), (PROBABILITIES,), classes)]
    apart = logits.shape[1] == 1 or asked.problem_type == MULTI_LABEL
    of = _of_probabilities(select, apart) if asked.output == "probability" else select
    return [Goal(of, targets, predicted(names, logits, apart), classes=class_probabilities(names, logits, apart))]


def predicted(names: tuple[str, ...], logits: Tensor, apart: bool = False) -> list[Prediction]:
    """The most probable class of each row and its probability; for a single output, its name and None.

    apart: every class has a probability of its own, as where several labels hold at once.
    """
    if logits.shape[1] == 1:
        return [(names[0], None)] * len(logits)
    best = probabilities(logits.detach().double(), apart).max(1)
    return [(names[i], p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


def class_probabilities(names: tuple[str, ...], logits: Tensor, apart: bool = False) -> list[dict[str, float]]:
    """The probability of every class in each row, by its label; none for a single output. apart: as `predicted`."""
    if logits.shape[1] == 1 or len(set(names)) < len(names):
        return []
    each = probabilities(logits.detach().double(), apart).tolist()
    return [dict(zip(names, row, strict=True)) for row in each]


def probabilities(logits: Tensor, apart: bool) -> Tensor:
    """(…, classes): the sigmoid of each logit where classes are apart, and else their softmax."""
    return logits.sigmoid() if apart else logits.softmax(-1)


def resolve(spec: TargetSpec, labels: tuple[str, ...], logits: Tensor) -> tuple[Select, list[Target]]:
    """The target's scalar per row, and its name in each row. `logits` (rows, classes) are those at the input."""
    rows = len(logits)
    if callable(spec):
        select, name = by_function(spec)
        return select, [Target(name)] * rows
    if spec is None:
        index = logits.detach().argmax(1)
        return at(index), [Target(labels[i], i) for i in index.tolist()]
    plus, minus = label_index(spec, labels)
    every = lambda label: torch.full((rows,), label, device=logits.device)
    if minus is None:
        return at(every(plus)), [Target(labels[plus], plus)] * rows
    name = f"{labels[plus]} - {labels[minus]}"
    return at(every(plus), every(minus)), [Target(name, (plus, minus))] * rows


def _of_probabilities(select: Select, apart: bool) -> Select:
    """The same number of the probabilities as of the logits."""
    return lambda out, which: select(probabilities(out, apart), which)


run_classes = one_sequence(class_logits)
"""The class logits (rows, classes) of a batch of texts."""

TEXT_CLASSIFICATION = Task(
    "text-classification",
    ("ForSequenceClassification",),
    "AutoModelForSequenceClassification",
    run_classes,
    label_goals,
    without=closing_up(run_classes),
    windows="mean",
    of_labels=True,
)
