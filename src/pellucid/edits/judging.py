"""What a classifier decides of edited texts, and how its decision changes with their embeddings.

A search is a generator: it yields `Ask`s and receives the model's answers. The searches of many texts go on side by
side, so that what all of them ask in a step goes through the model in the same batches.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from ..errors import InputError, UnsupportedModel
from ..models import Model
from ..models.tasks.text_classification import MULTI_LABEL, REGRESSION, TEXT_CLASSIFICATION
from ..models.text.encoding import Encoding

Text = str | tuple[str, ...]


@dataclass(frozen=True)
class Decision:
    """What a classifier says of a text: the label, its index and probability, and the logits (classes,)."""

    label: str
    index: int
    probability: float
    logits: Tensor

    def lead(self, index: int) -> float:
        """The logit of a class less the largest of the others: above 0 where that class is predicted."""
        others = self.logits.clone()
        others[index] = -torch.inf
        return (self.logits[index] - others.max()).item()


@dataclass(frozen=True)
class Slope:
    """The gradient (tokens, hidden) of the lead of a class with respect to a text's token embeddings, those embeddings,
    and the encoding whose tokens they are."""

    gradient: Tensor
    embeddings: Tensor
    encoding: Encoding


@dataclass(frozen=True)
class Ask:
    """Texts to be decided; where `slope_of` is the index of a class, the Slopes of its lead are asked for instead."""

    texts: tuple[Text, ...]
    slope_of: int | None = None


Found = TypeVar("Found")
Search = Generator[Ask, list[Any], Found]


def check_classifies(model: object, asking: str) -> None:
    """Raises InputError unless the model is a Model that chooses one of several labels. asking: the function's name."""
    if not isinstance(model, Model):
        raise InputError(
            f"Found a {type(model).__name__} as the model; expected pellucid.load('name-or-path') or "
            "pellucid.Model(model, tokenizer)."
        )
    expected = f"pellucid.{asking} edits the text of a classifier, whose prediction is one of several labels"
    if model.does.name != TEXT_CLASSIFICATION.name:
        raise InputError(f"Found a model for {model.does.name}; {expected}. Use a text-classification model.")
    kind = model.reader.problem_type
    if kind in (REGRESSION, MULTI_LABEL) or len(model.labels) == 1:
        found = "one output" if len(model.labels) == 1 else f"config.problem_type {kind!r}"
        raise InputError(f"Found a model with {found}; {expected}. Use pellucid.explain for this model.")


def driven(model: Model, searches: Sequence[Search[Found]]) -> list[Found]:
    """What each search returns. The model is borrowed."""
    found: dict[int, Found] = {}
    waiting: dict[int, tuple[Search[Found], Ask]] = {}

    def advance(i: int, search: Search[Found], answer: list[Any] | None) -> None:
        try:
            waiting[i] = search, (next(search) if answer is None else search.send(answer))
        except StopIteration as end:
            found[i] = end.value

    for i, search in enumerate(searches):
        advance(i, search, None)
    with model.borrowed():
        while waiting:
            asked, answers = dict(waiting), dict[int, list[Any]]()
            waiting.clear()
            plain = [i for i, (_, ask) in asked.items() if ask.slope_of is None]
            decided = iter(decide(model, [t for i in plain for t in asked[i][1].texts]))
            answers |= {i: [next(decided) for _ in asked[i][1].texts] for i in plain}
            steep = [i for i in asked if i not in answers]
            wanted = [(t, asked[i][1].slope_of or 0) for i in steep for t in asked[i][1].texts]
            sloped = iter(slopes(model, wanted))
            answers |= {i: [next(sloped) for _ in asked[i][1].texts] for i in steep}
            for i, (search, _) in asked.items():
                advance(i, search, answers[i])
    return [found[i] for i in range(len(searches))]


def decide(model: Model, texts: Sequence[Text]) -> list[Decision]:
    """The model's decision for each text, in order; texts of similar length share a batch."""
    encodings = model.encode(texts) if texts else []
    found: dict[int, Decision] = {}
    for batch in model.batches(encodings):
        with torch.no_grad():
            logits, predictions = _run(model, [encodings[i] for i in batch])
        for row, i in enumerate(batch):
            label, probability = predictions[row]
            found[i] = Decision(str(label), int(logits[row].argmax()), cast(float, probability), logits[row].cpu())
    return [found[i] for i in range(len(texts))]


def slopes(model: Model, texts: Sequence[tuple[Text, int]]) -> list[Slope]:
    """For each text and the index of a class, the gradient of the lead of that class."""
    encodings = model.encode([t for t, _ in texts]) if texts else []
    found: dict[int, Slope] = {}
    for batch in model.batches(encodings):
        mine = [encodings[i] for i in batch]
        sequences, owns = model.collate(mine)
        x = model.pipeline.embedded(sequences[0]).detach().requires_grad_()
        with torch.enable_grad():
            logits = cast(Tensor, model.pipeline.outputs(x, *sequences))
            index = torch.tensor([texts[i][1] for i in batch], device=logits.device)
            own = torch.nn.functional.one_hot(index, logits.shape[1]).bool()
            lead = logits[own] - logits.masked_fill(own, -torch.inf).amax(1)
            (gradient,) = torch.autograd.grad(lead.sum(), x)
        for row, i in enumerate(batch):
            keep = owns[0][row]
            found[i] = Slope(gradient[row][keep].cpu(), x.detach()[row][keep].cpu(), encodings[i])
    return [found[i] for i in range(len(texts))]


def table_of(model: Model) -> Tensor:
    """The embedding table (vocabulary, hidden). Raises UnsupportedModel where the embedding is no table."""
    if not isinstance(model.embedding, nn.Embedding):
        raise UnsupportedModel(
            f"Found a {type(model.embedding).__name__} as the model's embedding; expected an nn.Embedding, whose rows "
            "are compared with the gradient. Give candidates=[…], a list of words, to try each of them."
        )
    return model.embedding.weight.detach().cpu()


def _run(model: Model, batch: Sequence[Encoding]) -> tuple[Tensor, Sequence[tuple[str | None, float | None]]]:
    sequences, _ = model.collate(batch)
    logits = cast(Tensor, model.pipeline.alone(*sequences))
    if logits.shape[1] < 2:
        raise InputError(
            "Found a model with one output; expected one that chooses between several labels. Use pellucid.explain."
        )
    predictions = model.goals(batch, None, None, logits)[0].predictions
    return logits, predictions
