"""A task is data: which architectures do it, and how its outputs become scalars with names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from ..errors import InputError, UnknownTarget, UnsupportedModel
from ..explanation import Target
from ..problem import Select


@dataclass(frozen=True)
class Task:
    """name: as in transformers' pipelines. suffix: of its architectures' names. auto: the class that loads them."""

    name: str
    suffix: str
    auto: str
    logits: Callable[[Any, int], Tensor]


def first_logits(outputs: Any, rows: int) -> Tensor:
    """The logits (rows, classes) in a tensor, a tuple or a mapping. Raises UnsupportedModel."""
    found = outputs
    if isinstance(outputs, Mapping):
        found = outputs["logits"] if "logits" in outputs else next(iter(outputs.values()), None)
    elif isinstance(outputs, (tuple, list)):
        found = outputs[0] if outputs else None
    elif hasattr(outputs, "logits"):
        found = outputs.logits
    if isinstance(found, Tensor) and found.ndim == 1 and found.shape[0] == rows:
        found = found.unsqueeze(1)
    if not isinstance(found, Tensor) or found.ndim != 2 or found.shape[0] != rows or not found.is_floating_point():
        shape = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise UnsupportedModel(
            f"The model returned {shape} for {rows} texts; expected logits of shape ({rows}, classes), as a tensor, "
            "the first of a tuple, or the field 'logits'."
        )
    return found


TASKS: dict[str, Task] = {
    "text-classification": Task(
        "text-classification", "ForSequenceClassification", "AutoModelForSequenceClassification", first_logits
    ),
}


def task_of(architectures: Sequence[str] | None) -> Task | None:
    """The task that an architecture's name ends with."""
    return next((t for t in TASKS.values() for a in architectures or () if a.endswith(t.suffix)), None)


def resolve(spec: Any, labels: tuple[str, ...], logits: Tensor, output: str = "logit") -> tuple[Select, list[Target]]:
    """The target's scalar per row, and its name in each row. `logits` (rows, classes) are those at the input.

    output: "logit", or "probability": the softmax of the logits, the sigmoid of a single one.
    """
    if output == "probability":
        if callable(spec):
            raise InputError(
                "Found output='probability' with a target function; expected a label, an index or a contrast. Compute "
                "the probability in the function: target=lambda logits: logits.softmax(-1)[:, 1]."
            )
        select, targets = resolve(spec, labels, logits)
        return (lambda out, which: select(_probabilities(out), which)), targets
    if output != "logit":
        raise InputError(f"Found output={output!r}; expected 'logit' or 'probability'.")
    rows, classes = logits.shape
    if callable(spec):
        name = str(getattr(spec, "__name__", "function"))
        return _function(cast(Callable[[Tensor], Tensor], spec)), [Target(name)] * rows
    if spec is None:
        index = logits.detach().argmax(1)
        return _at(index), [Target(labels[i], i) for i in index.tolist()]
    plus, minus = _label(spec, labels, classes)
    pick = _at(torch.full((rows,), plus, device=logits.device))
    if minus is None:
        return pick, [Target(labels[plus], plus)] * rows
    other = _at(torch.full((rows,), minus, device=logits.device))
    name = f"{labels[plus]} - {labels[minus]}"
    return (lambda out, which: pick(out, which) - other(out, which)), [Target(name, (plus, minus))] * rows


def _probabilities(logits: Tensor) -> Tensor:
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def _at(index: Tensor) -> Select:
    return lambda out, which: out.gather(1, index[which].unsqueeze(1)).squeeze(1)


def _function(spec: Callable[[Tensor], Tensor]) -> Select:
    def select(out: Tensor, which: Tensor) -> Tensor:
        y = spec(out)
        if not isinstance(y, Tensor) or y.shape != (len(out),):
            shape = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise UnknownTarget(
                f"The target function returned {shape} for logits {tuple(out.shape)}; expected a tensor with one "
                f"scalar per row, of shape ({len(out)},), such as logits[:, 1]."
            )
        return y

    return select


def _label(spec: Any, labels: tuple[str, ...], classes: int) -> tuple[int, int | None]:
    if isinstance(spec, int) and not isinstance(spec, bool) and 0 <= spec < classes:
        return spec, None
    if isinstance(spec, str):
        names = {name: i for i, name in reversed(list(enumerate(labels)))}
        names = {**{name.lower(): i for name, i in names.items()}, **names}
        find = lambda name: names.get(name.strip(), names.get(name.strip().lower()))
        if (one := find(spec)) is not None:
            return one, None
        parts = spec.split(" - ")
        for cut in range(1, len(parts)):
            a, b = find(" - ".join(parts[:cut])), find(" - ".join(parts[cut:]))
            if a is not None and b is not None:
                return a, b
        if spec.strip().isdigit() and int(spec) < classes:
            return int(spec), None
    raise UnknownTarget(
        f"Found target={spec!r}; expected one of the labels {', '.join(map(repr, labels))}, an index from 0 to "
        f"{classes - 1}, a contrast such as '{labels[-1]} - {labels[0]}', or a function of the logits."
    )
