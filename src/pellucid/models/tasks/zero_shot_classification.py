"""Zero-shot classification (Yin et al. 2019, 1909.00161): does the text entail "This example is {label}."?

A model of natural language inference reads the text with one hypothesis per label. The label whose entailment logit is
the largest is predicted, its probability the softmax of these logits over the labels. What is explained is a label's
entailment logit, in the tokens of the text and of its hypothesis; as a probability, its softmax against contradiction:
both come from that one pair alone, as its scores must.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...errors import InputError, UnknownTarget, UnsupportedModel, expected, quoted
from ...tokens import Target
from ...types import Target as TargetSpec
from ..batching import groups
from ..net import Net
from ..text.collating import collate
from ..text.encoding import Encoding
from ..text.inputs import TEXT, Form, Given
from ..text.labels import true_label
from ..text.reader import Reader
from ..text.tokenizing import Item
from .shortened_texts import closing_up
from .target_names import label_meant, label_named
from .task import Asked, Goal, Preparation, Task, check_output, finite_logits
from .text_classification import run_classes

TEMPLATE = "This example is {}."

_FORM = (
    f"a mapping {{'text': …, 'labels': ['sports', 'politics'], 'template': {TEMPLATE!r}}}, of which the template "
    "may be left out"
)


@dataclass(frozen=True)
class Hypotheses:
    """The labels that an input asks about. pairs: for each label the text with its hypothesis. entailment: for each
    label its entailment logit; empty before the model has run. chosen: the label that is explained."""

    labels: tuple[str, ...]
    pairs: tuple[Encoding, ...]
    entailment: tuple[float, ...] = ()
    chosen: int = 0


def hypotheses(reader: Reader, items: Sequence[Item], truncate: bool) -> list[Encoding]:
    """Each text with the hypotheses of its labels, of which the first is chosen until the model has run.

    Only the text is cut where a pair is too long. Raises InputError, UnsupportedModel.
    """
    inference_labels(reader.labels)
    given = [_given(i, item) for i, item in enumerate(items)]
    pairs = [(text, template.replace("{}", label)) for text, labels, template in given for label in labels]
    each = iter(reader.encode(pairs, "only_first" if truncate else False))
    return [_of_label(Hypotheses(labels, tuple(next(each) for _ in labels)), 0) for _, labels, _ in given]


def most_probable(net: Net, reader: Reader, encodings: list[Encoding], how: Preparation) -> list[Encoding]:
    """Each text with the hypothesis of its most probable label, found by running the model on all of them."""
    entailment, _ = inference_labels(reader.labels)
    asked = [hypotheses_of(e) for e in encodings]
    entailed = iter(_logits(net, reader, [pair for one in asked for pair in one.pairs]))
    found = []
    for one in asked:
        logits = tuple(next(entailed)[entailment] for _ in one.pairs)
        found.append(_of_label(replace(one, entailment=logits), max(range(len(logits)), key=logits.__getitem__)))
    return found


def hypotheses_of(encoding: Encoding) -> Hypotheses:
    """The labels that an input asks about."""
    assert isinstance(encoding.extra, Hypotheses)
    return encoding.extra


def aimed(encoding: Encoding, target: TargetSpec) -> Encoding:
    """The pair of the label that the target names; that of the most probable one for None. Raises UnknownTarget."""
    if target is None:
        return encoding
    asked = hypotheses_of(encoding)
    labels = asked.labels
    if isinstance(target, int) and not isinstance(target, bool) and 0 <= target < len(labels):
        return _of_label(asked, target)
    if isinstance(target, str) and (one := label_named(target, labels)) is not None:
        return _of_label(asked, one)
    raise UnknownTarget(
        f"Found target={quoted(target)}; {expected(label_meant(target, labels))} None (the most probable "
        f"label), one of the labels {', '.join(map(repr, labels))}, or its number. For several labels "
        "give a list of them."
    )


def entailment_goals(asked: Asked, logits: Tensor) -> list[Goal]:
    """One goal: the logit (rows, classes) of entailment, or its probability against contradiction."""
    finite_logits(logits)
    check_output(asked.output, None)
    both = torch.tensor(inference_labels(asked.labels), device=logits.device)
    targets, predictions = [], []
    for encoding in asked.encodings:
        asked_labels = hypotheses_of(encoding)
        labels = asked_labels.labels
        chances = torch.tensor(asked_labels.entailment, dtype=torch.float64).softmax(0)
        best = int(chances.argmax())
        targets.append(Target(labels[asked_labels.chosen], asked_labels.chosen))
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


def _given(i: int, item: Item) -> tuple[str, tuple[str, ...], str]:
    """The text, the labels and the template of an input. Raises InputError."""
    if not isinstance(item, Mapping) or not {"text", "labels"} <= set(item) <= {"text", "labels", "template"}:
        raise InputError(f"Found {quoted(item, 80)} as input {i}; expected {_FORM}.")
    text, labels, template = item["text"], item["labels"], item.get("template", TEMPLATE)
    words = [text, *labels] if isinstance(labels, (list, tuple)) and labels else [None]
    if not all(isinstance(word, str) and word.strip() for word in words) or len(set(labels)) < len(labels):
        raise InputError(
            f"Found labels={quoted(labels, 80)} for the text {quoted(text, 40)} of input {i}; expected a text with "
            "words, and a list of at least one label, each a different word or several."
        )
    if not isinstance(template, str) or template.count("{}") != 1:
        raise InputError(
            f"Found template={quoted(template)} in input {i}; expected one {{}} in it, such as {TEMPLATE!r}."
        )
    return text, tuple(labels), template


def _logits(net: Net, reader: Reader, encodings: Sequence[Encoding]) -> list[list[float]]:
    """Each pair's logits, by the model on its own ids."""
    found: dict[int, list[float]] = {}
    with torch.no_grad():
        for group in groups([len(e) for e in encodings]):
            (sequence,), _ = collate(reader.tokenizer, [encodings[i] for i in group], net.device)
            given = sequence._replace(inputs={n: v for n, v in sequence.inputs.items() if net.takes(n)})
            found.update(zip(group, finite_logits(run_classes(net, None, given)).tolist(), strict=True))
    return [found[i] for i in range(len(encodings))]


def _of_label(asked: Hypotheses, label: int) -> Encoding:
    """The pair of a label, chosen to be explained."""
    return replace(asked.pairs[label], extra=replace(asked, chosen=label))


def _true(label: object, given: Given, encoding: Encoding, labels: tuple[str, ...]) -> str | None:
    """The true label by name, among the labels that the input asks about."""
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
    run_classes,
    entailment_goals,
    LABELLED,
    hypotheses,
    most_probable,
    aimed,
    without=closing_up(run_classes),
)
