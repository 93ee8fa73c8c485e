"""The table TASKS: each kind of model that can be explained, by name."""

from __future__ import annotations

from collections.abc import Sequence

import transformers

from ...errors import InputError, expected, nearest
from .fill_mask import FILL_MASK
from .image_classification import IMAGE_CLASSIFICATION
from .image_text_to_text import IMAGE_TEXT_TO_TEXT
from .multiple_choice import MULTIPLE_CHOICE
from .question_answering import QUESTION_ANSWERING
from .sentence_similarity import SENTENCE_SIMILARITY, embeds
from .task import Asked, Goal, Preparation, Task
from .text2text_generation import TEXT2TEXT_GENERATION
from .text_classification import TEXT_CLASSIFICATION
from .text_generation import TEXT_GENERATION
from .token_classification import TOKEN_CLASSIFICATION
from .zero_shot_classification import ZERO_SHOT

__all__ = ["TASKS", "Asked", "Goal", "Preparation", "Task", "task_named", "task_of"]

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
        IMAGE_TEXT_TO_TEXT,
    )
}


def task_named(name: str) -> Task:
    """Raises InputError where there is none of that name."""
    if name not in TASKS:
        raise InputError(f"Found task={name!r}; {expected(nearest(str(name), TASKS))} one of {', '.join(TASKS)}.")
    return TASKS[name]


def task_of(architectures: Sequence[str] | None) -> Task | None:
    """The task that an architecture's name ends with, or whose class in transformers loads it; an encoder without a
    head compares sentences. A decoder of images and texts is called like an encoder with a decoder."""
    names = architectures or ()
    pictured = _loaded_by(IMAGE_TEXT_TO_TEXT) - _loaded_by(TEXT2TEXT_GENERATION)
    if any(a in pictured and not a.endswith(TEXT_GENERATION.suffixes) for a in names):
        return IMAGE_TEXT_TO_TEXT
    found = next((t for t in TASKS.values() for a in names if a.endswith(t.suffixes)), None)
    heads = (t for t in TASKS.values() if t is not SENTENCE_SIMILARITY)
    found = found or next((t for t in heads if not _loaded_by(t).isdisjoint(names)), None)
    return SENTENCE_SIMILARITY if found is None and any(embeds(a) for a in names) else found


def _loaded_by(task: Task) -> set[str]:
    """The names of the classes that transformers loads for a task."""
    listed = getattr(transformers, task.auto)._model_mapping._model_mapping.values()
    return {name for each in listed for name in (each if isinstance(each, tuple) else (each,))}
