"""Baselines: what an input is compared with.

A baseline has the input's positions and its special tokens; everything else in it is made uninformative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..errors import UnknownBaseline, quoted
from .text.filler import ANSWER_KEPT, Filler, token_id
from .text.tokenizer import Tokenizer, special_id

Spec = str | Filler | Tensor
"""A baseline: one that the user gave (`types.Baseline`), or the filler that its name stands for."""
Embed = Callable[[Tensor], Tensor]


def name_of(spec: Spec) -> str:
    """A baseline's name in an Explanation."""
    return str(spec) if isinstance(spec, (str, Filler)) else f"tensor {tuple(spec.shape)}"


def meant(spec: Spec, tokenizer: Tokenizer, filler: Callable[[], Filler | None], decodes: bool) -> Spec:
    """What a baseline's name means with this tokenizer: `spec` itself, or what is named in its place.

    "filler", or the name that an Explanation has for it: the tokenizer's filler. "mask" where the tokenizer has no mask
    token: for a decoder its filler; for another model its unknown token, its padding token, the token that ends a text,
    or zero. Padding comes second, because its embedding is often 0, where a norm divides by almost nothing.
    """
    missing = isinstance(spec, str) and spec == "mask" and special_id(tokenizer, "mask") is None
    if isinstance(spec, str) and (spec.startswith("filler") or (missing and decodes)):
        found = filler()
        if found is not None and spec.endswith(ANSWER_KEPT):
            found = replace(found, keeps_answer=True)
            spec = spec.removesuffix(ANSWER_KEPT) if spec == f"filler{ANSWER_KEPT}" else spec
        if found is not None and spec in ("mask", "filler", str(found)):
            return found
        if spec == "filler":
            raise UnknownBaseline(
                "Found baseline='filler' for a tokenizer without an ordinary token; expected one whose vocabulary has "
                "a word or a letter. Use 'pad', 'zero', 'mean' or a token."
            )
    if not missing:
        return spec
    names = ("unk_token", "pad_token", "eos_token")
    return next((token for name in names if (token := getattr(tokenizer, name, None))), "zero")


def deletes(spec: Spec, task: str, able: bool) -> bool:
    """Whether the baseline is "delete". task: the task's name. able: whether its tokens can be deleted.

    Raises UnknownBaseline where they cannot, because what the task reads belongs to positions, which would move.
    """
    if not isinstance(spec, str) or spec != "delete":
        return False
    if not able:
        raise UnknownBaseline(
            f"Found baseline='delete' for the task {task!r}, whose outputs belong to positions that would move; "
            "expected a baseline that keeps them: 'mask', 'pad', 'zero', 'mean', a token or a text."
        )
    return True


def ids_of(spec: Spec, ids: Tensor, kept: Tensor, tokenizer: Tokenizer) -> Tensor | None:
    """The baseline's token ids (rows, tokens); None for a baseline that has none: zero, mean, or embeddings.

    spec: see `types.Baseline`. ids (rows, tokens). kept (rows, tokens): special tokens and padding, which stay.
    """
    if isinstance(spec, Filler):
        return torch.where(kept, ids, spec.id)
    if isinstance(spec, Tensor):
        return None if spec.is_floating_point() else torch.where(kept, ids, _expanded(spec, ids, kept.shape))
    if spec in ("zero", "mean"):
        return None
    if not isinstance(spec, str) or not spec:
        raise UnknownBaseline(
            f"Found baseline={spec!r}; expected 'mask', 'pad', 'zero', 'mean', 'filler', a token, a text, a tensor, or "
            "a list."
        )
    if spec in ("mask", "pad"):
        token = special_id(tokenizer, spec)
        if token is None:
            raise UnknownBaseline(
                f"This tokenizer has no {spec} token, so baseline={spec!r} means nothing here. Use "
                f"{_available(tokenizer)}, or any token of its vocabulary."
            )
    else:
        token = token_id(spec, tokenizer)
    return _from_text(spec, ids, kept, tokenizer) if token is None else torch.where(kept, ids, token)


def embedded(
    spec: Spec, ids: Tensor, x: Tensor, kept: Tensor, tokenizer: Tokenizer, embed: Embed, mean: Callable[[], Tensor]
) -> Tensor:
    """The baseline's embeddings (rows, tokens, hidden).

    spec, ids, kept: as `ids_of`. x: the embeddings of ids. embed: ids → embeddings. mean: the average embedding at each
    place (tokens, hidden).
    """
    own = ~kept.unsqueeze(-1)
    if isinstance(spec, Tensor) and spec.is_floating_point():
        return torch.where(own, _expanded(spec, x, kept.shape), x)
    found = ids_of(spec, ids, kept, tokenizer)
    if found is not None:
        return embed(found)
    return x.masked_fill(own, 0.0) if spec == "zero" else torch.where(own, mean().to(x), x)


def mean_of(module: nn.Module, width: int | None = None) -> Tensor:
    """The average (hidden,) of a table. Raises UnknownBaseline where the module is none, or has another width."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2 or width not in (None, weight.shape[1]):
        raise UnknownBaseline(
            f"baseline='mean' needs an embedding matrix, and {type(module).__name__} has none. Use 'mask', 'pad' or "
            "'zero'."
        )
    return weight.detach().mean(0)


def _available(tokenizer: Tokenizer) -> str:
    """The names of the baselines that a tokenizer has, for a message."""
    names = [n for n in ("mask", "pad") if special_id(tokenizer, n) is not None]
    return ", ".join(f"baseline={n!r}" for n in [*names, "zero", "mean"])


def _from_text(spec: str, ids: Tensor, kept: Tensor, tokenizer: Tokenizer) -> Tensor:
    """The ids (rows, tokens) of a text in the place of the input's own. Raises UnknownBaseline where it has another
    number of tokens."""
    own = (~kept).sum(1)
    words = tokenizer(spec, add_special_tokens=False)["input_ids"]
    other = next((i for i, n in enumerate(own.tolist()) if n != len(words)), None)
    if other is not None:
        raise UnknownBaseline(
            f"Found baseline={quoted(spec)}, which is no name (mask, pad, zero, mean, filler) and no single token of "
            f"this vocabulary; as a text it has {len(words)} tokens, where an input has {int(own[other])}. Expected "
            "as many in every input."
        )
    return ids.masked_scatter(~kept, torch.tensor(words, device=ids.device).repeat(len(ids)))


def _expanded(spec: Tensor, like: Tensor, tokens: torch.Size) -> Tensor:
    """The user's tensor in the shape and type of another. Raises UnknownBaseline where it does not fit."""
    try:
        return spec.to(like).expand(like.shape)
    except RuntimeError as error:
        shape = tuple(like.shape[1:]) if spec.is_floating_point() else "tokens, hidden"
        raise UnknownBaseline(
            f"Found a baseline tensor of shape {tuple(spec.shape)} and type {spec.dtype}; expected one that fits "
            f"{shape} (embeddings: tokens, hidden) or {tuple(tokens[1:])} (token ids, int64)."
        ) from error
