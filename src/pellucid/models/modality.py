"""How inputs of one kind reach a network and what they are compared with: texts here, images in their task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModel
from . import baselines
from .baselines import Spec
from .net import Net
from .structure import reading_side, table_of, tables
from .text.collating import Owns, Padded, Sequences, collate, widths
from .text.encoding import Encoding
from .text.reader import Reader
from .text.tokenizer import Tokenizer


class Embedder(Protocol):
    """What a baseline is made with. embedded: the embeddings (rows, tokens, hidden) of the k-th sequence of a batch.
    mean_embedding: the average embedding (hidden,) of the k-th sequence's vocabulary."""

    @property
    def tokenizer(self) -> Tokenizer: ...
    def embedded(self, sequence: Padded, k: int = 0) -> Tensor: ...
    def mean_embedding(self, k: int = 0) -> Tensor: ...


@dataclass(frozen=True)
class Modality:
    """A kind of input. reader: the name of transformers' class that turns such inputs into numbers. takes: the argument
    of the model's forward that gets them.
    tokenizer: `what the user gave -> tokenizer`: what reads texts; the object itself where it reads nothing else.
        Raises UnsupportedModel.
    reads_text: whether a part of an input is a text.
    values: `(net, sequence) -> (rows, positions, numbers)`: what a sequence that is not embedded is, such as the pixels
        of patches; None for one that a module embeds.

    embedding: `(network, tokenizer) -> module`: the module whose output is explained. Raises UnsupportedModel.
    collate: `(net, reader, encodings) -> (sequences, owns)`: a batch as the model's inputs, and which positions are a
        row's own.
    baseline: `(embedder, spec, sequences, owns, x, kept) -> x0`, the embeddings of the baseline, like x, which are
        those of all sequences (rows, tokens, hidden); kept (rows, tokens) are the positions that stay.
    """

    reader: str
    takes: str
    embedding: Callable[[nn.Module, Tokenizer], nn.Module]
    collate: Callable[[Net, Reader, Sequence[Encoding]], tuple[Sequences, Owns]]
    baseline: Callable[[Embedder, Spec, Sequences, Owns, Tensor, Tensor], Tensor]
    tokenizer: Callable[[Any], Tokenizer] = lambda given: given
    reads_text: bool = False
    values: Callable[[Net, Padded], Tensor | None] = lambda net, sequence: None


def _padded_ids(net: Net, reader: Reader, encodings: Sequence[Encoding]) -> tuple[Sequences, Owns]:
    """Texts as token ids, padded."""
    return collate(reader.tokenizer, encodings, net.device)


def _other_tokens(embedder: Embedder, spec: Spec, sequences: Sequences, owns: Owns, x: Tensor, kept: Tensor) -> Tensor:
    """The embeddings of a text's baseline: of other tokens, zero, the mean, or those that the user gave."""

    def embed(ids: Tensor) -> Tensor:
        parts = enumerate(zip(sequences, ids.split(widths(owns), 1), strict=True))
        return torch.cat([embedder.embedded(s.with_ids(part), k) for k, (s, part) in parts], 1)

    def mean() -> Tensor:
        return torch.cat([embedder.mean_embedding(k).expand(n, -1) for k, n in enumerate(widths(owns))])

    ids = torch.cat([s.ids for s in sequences], 1)
    return baselines.embedded(spec, ids, x, kept, embedder.tokenizer, embed, mean)


def _reading_module(net: nn.Module, tokenizer: Tokenizer) -> nn.Module:
    """The module that embeds token ids: as the model says, or the first table as large as the vocabulary; where there
    is none of that size, the only module that is called "…Embeddings" (CANINE hashes characters), or the first table.
    What else looks ids up is found when the model runs (`lookups`)."""
    for module in net.modules():
        if (told := table_of(reading_side(module))) is not None:
            return told
    vocabulary = getattr(tokenizer, "vocab_size", 0)
    every = tables(net)
    wide = [m for m in every if m.num_embeddings >= vocabulary]
    called = [m for m in net.modules() if type(m).__name__.endswith("Embeddings")]
    found = wide or (called if len(called) == 1 else every)
    if not found:
        raise UnsupportedModel(
            f"Found no embedding module in {type(net).__name__}; expected one that embeds token ids. Name yours, if it "
            "is of another class: pellucid.Model(..., embeddings='path.to.module'). If the network looks its ids up in "
            "a parameter, as by F.embedding(ids, weight), let it call an nn.Embedding (nn.Embedding.from_pretrained("
            "weight)), or explain the ids: pellucid.attribute(lambda ids: model(ids), ids, other_ids, target=0), with "
            "ids = tokenizer(text, return_tensors='pt')['input_ids']."
        )
    return found[0]


TEXT = Modality("AutoTokenizer", "input_ids", _reading_module, _padded_ids, _other_tokens, reads_text=True)
