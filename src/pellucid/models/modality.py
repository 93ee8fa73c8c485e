"""How what a task reads becomes what a model takes, and what it is compared with: token ids here, pixels elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModel
from . import baselines
from .text.encoding import Encoding, collate, widths

if TYPE_CHECKING:
    from .model import Model

Sequences = tuple[dict[str, Tensor], ...]
"""For each sequence of a batch its inputs by name, rows first."""


@dataclass(frozen=True)
class Modality:
    """reader: transformers' class that turns what is read into numbers. takes: the argument of the model's forward.

    embedding: `model -> module`: the one whose output is explained. Raises UnsupportedModel.
    collate: `(model, encodings) -> (sequences, owns)`: a batch's inputs, and which positions are a row's own.
    baseline: `(model, spec, sequences, owns, x, kept) -> x0`, like x, the embeddings (rows, tokens, hidden) of all
        sequences; kept (rows, tokens) are the positions that stay.
    """

    reader: str
    takes: str
    embedding: Callable[[Model], nn.Module]
    collate: Callable[[Model, Sequence[Encoding]], tuple[Sequences, tuple[Tensor, ...]]]
    baseline: Callable[[Model, Any, Sequences, tuple[Tensor, ...], Tensor, Tensor], Tensor]


def _padded_ids(model: Model, encodings: Sequence[Encoding]) -> tuple[Sequences, tuple[Tensor, ...]]:
    return collate(model.tokenizer, encodings, model.device)


def _other_tokens(
    model: Model, spec: Any, sequences: Sequences, owns: tuple[Tensor, ...], x: Tensor, kept: Tensor
) -> Tensor:
    def embed(ids: Tensor) -> Tensor:
        parts = enumerate(zip(sequences, ids.split(widths(owns), 1), strict=True))
        return torch.cat([model.embedded({**s, "input_ids": part}, k) for k, (s, part) in parts], 1)

    def mean() -> Tensor:
        return torch.cat([model.mean_embedding(k).expand(n, -1) for k, n in enumerate(widths(owns))])

    ids = torch.cat([s["input_ids"] for s in sequences], 1)
    return baselines.embedded(spec, ids, x, kept, model.tokenizer, embed, mean)


def _reading_module(model: Model) -> nn.Module:
    """The module that embeds token ids: as the model says, or the first table as large as the vocabulary; where there
    is none of that size, the only module that is called "…Embeddings" (CANINE hashes characters), or the first table.
    What else looks ids up is found when the model runs (`lookups`)."""
    for module in model.model.modules():
        if _embeds(side := reading_side(module)):
            return side.get_input_embeddings()
    vocabulary = getattr(model.tokenizer, "vocab_size", 0)
    tables = [m for m in model.model.modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag))]
    wide = [m for m in tables if m.num_embeddings >= vocabulary]
    called = [m for m in model.model.modules() if type(m).__name__.endswith("Embeddings")]
    found = wide or (called if len(called) == 1 else tables)
    if not found:
        raise UnsupportedModel(
            f"Found no embedding module in {type(model.model).__name__}; expected one that embeds token ids. Name "
            "yours: pellucid.Model(..., embeddings='path.to.module')."
        )
    return found[0]


def reading_side(module: Any) -> Any:
    """The side that reads the text: an encoder that embeds by itself (a module of its own, tied to the shared one by
    weight), also where no decoder goes with it (T5EncoderModel); else the whole."""
    encoder = module.get_encoder() if hasattr(module, "get_encoder") else module
    return encoder if _embeds(encoder) else module


def _embeds(module: Any) -> bool:
    try:
        return isinstance(module.get_input_embeddings(), nn.Module)
    except (NotImplementedError, AttributeError):
        return False


def embedding_names(net: nn.Module) -> str:
    """The dotted names of a model's embeddings, for a message."""
    names = [n for n, m in net.named_modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag))]
    return ", ".join(map(repr, names)) or "none"


TEXT = Modality("AutoTokenizer", "input_ids", _reading_module, _padded_ids, _other_tokens)
