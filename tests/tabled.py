"""What exact DeepLIFT leaves unexplained in each task of each family: measured for docs/models.md and held by tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch

import pellucid
from families import FAMILIES, Family, built, headed, model, tokenizer
from generative import causal_tokenizer

TEXTS = [
    "The movie was great, so good! but the plot is not, and very dull acting.",
    "acting great , but the plot was bad and dull and so very not good",
]


class Pixels:
    """What an image processor of transformers does, for images of 8 by 8."""

    def __call__(self, image: Any, return_tensors: str = "np") -> dict[str, Any]:
        return {"pixel_values": np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1}


def images() -> list[Any]:
    return [np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8) for seed in (0, 1)]


def pieces(row: Family) -> Any:
    """The tokenizer of a family."""
    return tokenizer(row.mask, row.side, row.separators)


@dataclass(frozen=True)
class Column:
    """heads: endings of the names of its classes, of which the first that transformers has is measured. inputs: two, of
    different length. how: as `pellucid.explain`. config: of its models. reader: the tokenizer of a family."""

    heads: tuple[str, ...]
    inputs: list[Any]
    how: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    reader: Callable[[Family], Any] = pieces


TASKS: dict[str, Column] = {
    "text-classification": Column(("ForSequenceClassification",), TEXTS, {"target": 0}, {"num_labels": 3}),
    "question-answering": Column(
        ("ForQuestionAnsweringSimple", "ForQuestionAnswering"),
        [("was the film good ?", TEXTS[0]), ("and the acting ?", TEXTS[1])],
    ),
    "token-classification": Column(("ForTokenClassification",), TEXTS, {"target": {"word": "plot"}}),
    "fill-mask": Column(("ForMaskedLM",), [text.replace("plot", "[MASK]") for text in TEXTS]),
    "text-generation": Column(
        ("ForCausalLM", "LMHeadModel"),
        [(TEXTS[0], " and bad"), (TEXTS[1], " but great")],
        {"output": "logit"},  # as the other columns; that a log-probability adds up is tested in test_task_causal.py
        config={"is_decoder": True},
        reader=lambda row: causal_tokenizer(row.side),
    ),
    "text2text-generation": Column(
        ("ForConditionalGeneration",), [(TEXTS[0], "great film"), (TEXTS[1], "the dull plot")]
    ),
    "multiple-choice": Column(
        ("ForMultipleChoice",),
        [
            {"prompt": TEXTS[0], "choices": ["it was good", "the film is very bad"]},
            {"prompt": TEXTS[1], "choices": ["is dull", "was not so great"]},
        ],
    ),
    "sentence-similarity": Column(
        ("EncoderModel", "Model"), [tuple(TEXTS), ("the acting was not so bad but the plot is very dull .", TEXTS[0])]
    ),
    "image-classification": Column(
        ("ForImageClassification",), images(), {"baseline": "zero"}, reader=lambda _: Pixels()
    ),
}


def head(family: str, task: str) -> Any:
    """The class that does a task; None where transformers has none."""
    found = (headed(family, ending) for ending in TASKS[task].heads)
    return next((c for c in found if c is not None), None)


def explained(family: str, attention: str, dtype: torch.dtype, task: str, seed: int = 0) -> pellucid.Model:
    """A random model of the family for the task, with its tokenizer."""
    column = TASKS[task]
    net = built(family, head(family, task), attention, dtype=dtype, seed=seed, **column.config)
    return pellucid.Model(net, column.reader(FAMILIES[family]), task=task)


MOVES = 0.02
"""The least change of an output, relative to the largest number that is added up."""


@dataclass(frozen=True)
class Measured:
    """residual: the largest |delta| relative to the change of the output. change: the smallest |change|.
    moved: the smallest |change| relative to the largest number that is added up: the output, that of the baseline, or
    Σ|scores|. batched: the largest difference of a score in a padded batch from the score alone, relative to the
    largest; None where there is none to compare."""

    residual: float
    change: float
    moved: float
    batched: float | None = None


@cache
def measured(family: str, attention: str, dtype: torch.dtype, task: str = "text-classification") -> Measured:
    """DeepLIFT on the first random model of the family whose outputs all move: on two inputs, alone and together. One
    that hardly moves says how float32 rounds, not how rules add up. Measured once for all tests that ask. Raises
    PellucidError."""
    for seed in range(20):
        m, inputs, how = explained(family, attention, dtype, task, seed), TASKS[task].inputs, _how(task)
        alone = [listed(pellucid.explain(m, given, **how)) for given in inputs]
        if _measured(_sums(alone)).moved >= MOVES:
            break
    together = [listed(found) for found in pellucid.explain(m, inputs, **how)]
    sums = _sums([*alone, *together])
    pairs = [pair for a, b in zip(alone, together, strict=True) for pair in zip(a, b, strict=True)]
    return _measured(sums, float(max(np.abs(a.scores - b.scores).max() / np.abs(a.scores).max() for a, b in pairs)))


def _how(task: str) -> dict[str, Any]:
    return {"baseline": "[UNK]", **TASKS[task].how}


def _sums(answers: list[list[Any]]) -> list[Any]:
    """For each explanation f(x), f(x0), delta and Σ|scores|."""
    return [(e.output, e.baseline_output, e.delta, np.abs(e.scores).sum()) for es in answers for e in es]


def listed(found: Any) -> list[Any]:
    return [found] if isinstance(found, pellucid.Explanation) else list(found)


def _measured(sums: list[Any], batched: float | None = None) -> Measured:
    """sums: as `_sums`."""
    output, baseline, delta, scores = np.abs(np.array(sums, dtype=np.float64)).T
    change = np.array([abs(float(f) - float(f0)) for f, f0, *_ in sums])
    largest = np.maximum(np.maximum(output, baseline), scores)
    return Measured(float((delta / change).max()), float(change.min()), float((change / largest).min()), batched)


def attributed(family: str, attention: str, dtype: torch.dtype) -> Measured:
    """Through `pellucid.attribute`: pixels, or the embeddings that an encoder reads."""
    net = model(family, attention, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    if family == "ViT":
        x = torch.randn(2, 3, 8, 8, generator=generator).to(dtype)
        a: Any = pellucid.attribute(lambda x: net(pixel_values=x).logits, x, target=1)
    else:
        ids = torch.randint(5, 60, (2, 12), generator=generator)
        x, x0 = (net.get_input_embeddings()(i).detach() for i in (ids, torch.ones_like(ids)))
        start = torch.zeros(2, 1, dtype=torch.long)
        last = lambda x: net(inputs_embeds=x, decoder_input_ids=start[: len(x)]).logits[:, -1]
        a = pellucid.attribute(last, x, x0, target=1)
    return _measured(list(zip(a.output, a.baseline_output, a.delta, a.values.abs().flatten(1).sum(1), strict=True)))


HEADS = {"ForSequenceClassification": "text-classification", "ForCausalLM": "text-generation"}
"""The task of the first table, by the head of the family's model."""


def classifying(family: str, attention: str, dtype: torch.dtype) -> Measured:
    """The family's classifier, of texts where it has one; else what it generates."""
    task = HEADS.get(FAMILIES[family].head)
    return attributed(family, attention, dtype) if task is None else measured(family, attention, dtype, task)
