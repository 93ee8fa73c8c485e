"""Zero-shot classification (Yin et al. 2019, 1909.00161): does the text entail "This example is {label}."?

A model of natural language inference reads the text with one hypothesis per label. The label whose entailment logit is
the largest is predicted, its probability the softmax of these logits over the labels. What is explained is a label's
entailment logit, in the tokens of the text and of its hypothesis; as a probability, its softmax against contradiction:
both come from that one pair alone, as its scores must.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...errors import InputError, UnknownTarget, UnsupportedModel
from ...explanation import Target
from ..batching import groups
from ..text.encoding import Encoding, encode
from ..text.groups import closing_up
from ..text.inputs import TEXT, Form, Given
from ..text.inputs import label_named as true_label
from .target_names import label_named
from .task import Asked, Goal, Task, checked, checked_output, one_sequence
from .text_classification import class_logits

if TYPE_CHECKING:
    from ..model import Model

TEMPLATE = "This example is {}."

_FORM = (
    f"a mapping {{'text': …, 'labels': ['sports', 'politics'], 'template': {TEMPLATE!r}}}, of which the template "
    "may be left out"
)
_run = one_sequence(class_logits)


def hypotheses(model: Model, items: Sequence[Any], truncate: bool, max_new_tokens: int) -> list[Encoding]:
    """Each text with the hypothesis of its most probable label; `asked` holds those of all labels, and their logits.

    Only the text is cut where a pair is too long. Raises InputError, UnsupportedModel.
    """
    entailment, _ = inference_labels(model.labels)
    given = [_given(i, item) for i, item in enumerate(items)]
    pairs = [(text, template.replace("{}", label)) for text, labels, template in given for label in labels]
    encodings = encode(model.tokenizer, pairs, model.limit, "only_first" if truncate else False)
    entailed = [row[entailment] for row in _logits(model, encodings)]
    found = []
    for _, labels, _ in given:
        mine, encodings = encodings[: len(labels)], encodings[len(labels) :]
        logits, entailed = entailed[: len(labels)], entailed[len(labels) :]
        asked = {"labels": labels, "logits": tuple(logits), "pairs": tuple(mine)}
        found.append(_of_label(asked, max(range(len(labels)), key=logits.__getitem__)))
    return found


def aimed(encoding: Encoding, target: Any) -> Encoding:
    """The pair of the label that the target names; that of the most probable one for None. Raises UnknownTarget."""
    if target is None:
        return encoding
    labels = encoding.asked["labels"]
    if isinstance(target, int) and not isinstance(target, bool) and 0 <= target < len(labels):
        return _of_label(encoding.asked, target)
    if isinstance(target, str) and (one := label_named(target, labels)) is not None:
        return _of_label(encoding.asked, one)
    raise UnknownTarget(
        f"Found target={target!r:.60}; expected None (the most probable label), one of the labels "
        f"{', '.join(map(repr, labels))}, or its number. For several labels give a list of them."
    )


def entailment_goals(asked: Asked, logits: Tensor) -> list[Goal]:
    """One goal: the logit (rows, classes) of entailment, or its probability against contradiction."""
    checked(logits)
    checked_output(asked.output, None)
    both = torch.tensor(inference_labels(asked.labels), device=logits.device)
    targets, predictions = [], []
    for encoding in asked.encodings:
        labels, index = encoding.asked["labels"], encoding.asked["label"]
        chances = torch.tensor(encoding.asked["logits"], dtype=torch.float64).softmax(0)
        best = int(chances.argmax())
        targets.append(Target(labels[index], index))
        predictions.append((labels[best], chances[best].item()))
    if asked.output == "probability":
        return [Goal(lambda out, which: out.index_select(1, both).softmax(1)[:, 0], targets, predictions)]
    return [Goal(lambda out, which: out[:, int(both[0])], targets, predictions)]


def inference_labels(labels: Sequence[str]) -> tuple[int, int]:
    """The indices of entailment and of contradiction, or what stands for it. Raises UnsupportedModel."""
    named = lambda start: next((i for i, label in enumerate(labels) if label.lower().startswith(start)), None)
    entailment = named("entail")
    if entailment is None or len(labels) < 2:
        raise UnsupportedModel(
            "Zero-shot classification needs a model of natural language inference, with a label 'entailment'; found "
            f"the labels {', '.join(map(repr, labels)) or 'none'}. Name them in config.id2label, or load another model."
        )
    contradiction = named("contradict")
    return entailment, contradiction if contradiction is not None else len(labels) - 1 if entailment == 0 else 0


def _given(i: int, item: Any) -> tuple[str, tuple[str, ...], str]:
    """The text, the labels and the template of an input. Raises InputError."""
    if not isinstance(item, Mapping) or not {"text", "labels"} <= set(item) <= {"text", "labels", "template"}:
        raise InputError(f"Found {item!r:.80} as input {i}; expected {_FORM}.")
    text, labels, template = item["text"], item["labels"], item.get("template", TEMPLATE)
    words = [text, *labels] if isinstance(labels, (list, tuple)) and labels else [None]
    if not all(isinstance(word, str) and word.strip() for word in words) or len(set(labels)) < len(labels):
        raise InputError(
            f"Found labels={labels!r:.80} for the text {text!r:.40} of input {i}; expected a text with words, and a "
            "list of at least one label, each a different word or several."
        )
    if not isinstance(template, str) or template.count("{}") != 1:
        raise InputError(
            f"Found template={template!r:.60} in input {i}; expected one {{}} in it, such as {TEMPLATE!r}."
        )
    return text, tuple(labels), template


def _logits(model: Model, encodings: Sequence[Encoding]) -> list[list[float]]:
    """Each pair's logits, by the model on its own ids."""
    found: dict[int, list[float]] = {}
    with torch.no_grad():
        for group in groups([len(e) for e in encodings]):
            sequences, _ = model.collate([encodings[i] for i in group])
            found.update(zip(group, checked(_run(model, None, *sequences)).tolist(), strict=True))
    return [found[i] for i in range(len(encodings))]


def _of_label(asked: Mapping[str, Any], label: int) -> Encoding:
    return replace(asked["pairs"][label], asked={**asked, "label": label})


def _true(label: Any, given: Given, encoding: Encoding, labels: tuple[str, ...]) -> str | None:
    return true_label(label, tuple(given.parts["labels"]))


LABELLED = Form(
    (
        {
            "text": ("sequence", *TEXT),
            "labels": ("labels", "candidate_labels"),
            "template": ("template", "hypothesis_template"),
        },
    ),
    _FORM,
    optional=frozenset({"template"}),
    listed=frozenset({"labels"}),
    labels=("label", "gold_label", "answer", "category"),
    named=_true,
    ids=False,
)

ZERO_SHOT = Task(
    "zero-shot-classification",
    (),  # no architecture says so: it is asked for by name
    "AutoModelForSequenceClassification",
    _run,
    entailment_goals,
    hypotheses,
    LABELLED,
    aimed,
    without=closing_up,
)
