"""An embedding layer that takes embeddings in place of ids, and references of one token."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ArgumentError


class InterpretableEmbeddingBase(nn.Module):
    """Stands in for an embedding layer and returns what it is given, so that embeddings can be a model's input."""

    def __init__(self, embedding: nn.Module, full_name: str) -> None:
        super().__init__()
        self.num_embeddings = getattr(embedding, "num_embeddings", None)
        self.embedding_dim = getattr(embedding, "embedding_dim", None)
        self.embedding, self.full_name = embedding, full_name

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        if not inputs and not kwargs:
            raise ArgumentError("Found no embeddings; expected them as the first argument.")
        given = [t for t in (*inputs, *kwargs.values()) if isinstance(t, Tensor)]
        floats = [t for t in given if t.is_floating_point()]  # a transformer may pass ids=None, and positions beside it
        return next(iter(floats or given), inputs[0] if inputs else None)

    def indices_to_embeddings(self, *input: Any, **kwargs: Any) -> Any:
        """The embeddings of ids, by the layer that this one stands for."""
        return self.embedding(*input, **kwargs)


class TokenReferenceBase:
    """References made of one token, such as padding.

    Examples:
        >>> TokenReferenceBase(reference_token_idx=7).generate_reference(3, device="cpu")
        tensor([7, 7, 7])
    """

    def __init__(self, reference_token_idx: int = 0) -> None:
        self.reference_token_idx = reference_token_idx

    def generate_reference(self, sequence_length: int, device: Any) -> Tensor:
        return torch.full((sequence_length,), self.reference_token_idx, device=device)


def configure_interpretable_embedding_layer(
    model: nn.Module, embedding_layer_name: str = "embedding"
) -> InterpretableEmbeddingBase:
    """Puts an InterpretableEmbeddingBase in the place of a layer, until `remove_interpretable_embedding_layer`."""
    *path, last = embedding_layer_name.split(".")
    owner = reduce(getattr, path, model)
    layer = getattr(owner, last)
    if isinstance(layer, InterpretableEmbeddingBase):
        raise ArgumentError(f"The layer {embedding_layer_name!r} is configured already; remove it first.")
    found = InterpretableEmbeddingBase(layer, embedding_layer_name)
    setattr(owner, last, found)
    return found


def remove_interpretable_embedding_layer(model: nn.Module, interpretable_emb: InterpretableEmbeddingBase) -> None:
    """Puts the layer back."""
    *path, last = interpretable_emb.full_name.split(".")
    setattr(reduce(getattr, path, model), last, interpretable_emb.embedding)
