"""The TASKS table: a task is a row here, and a file beside this one."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import InputError
from .answering import QUESTION_ANSWERING
from .causal import TEXT_GENERATION
from .choice import MULTIPLE_CHOICE
from .classification import TEXT_CLASSIFICATION
from .image import IMAGE_CLASSIFICATION
from .masked import FILL_MASK
from .seq2seq import TEXT2TEXT_GENERATION
from .similarity import SENTENCE_SIMILARITY, embeds
from .task import Asked, Goal, Inputs, Task
from .tokens import TOKEN_CLASSIFICATION
from .zero_shot import ZERO_SHOT

__all__ = ["TASKS", "Asked", "Goal", "Inputs", "Task", "task_named", "task_of"]

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        TEXT_CLASSIFICATION,
        ZERO_SHOT,
        QUESTION_ANSWERING,
        TOKEN_CLASSIFICATION,
        FILL_MASK,
        MULTIPLE_CHOICE,
        IMAGE_CLASSIFICATION,
        SENTENCE_SIMILARITY,
        TEXT_GENERATION,
        TEXT2TEXT_GENERATION,
    )
}


def task_named(name: str) -> Task:
    """Raises InputError where there is none of that name."""
    if name not in TASKS:
        raise InputError(f"Found task={name!r}; expected one of {', '.join(TASKS)}.")
    return TASKS[name]


def task_of(architectures: Sequence[str] | None) -> Task | None:
    """The task that an architecture's name ends with; an encoder without a head compares sentences."""
    names = architectures or ()
    found = next((t for t in TASKS.values() for a in names if a.endswith(t.suffixes)), None)
    return SENTENCE_SIMILARITY if found is None and any(embeds(a) for a in names) else found
