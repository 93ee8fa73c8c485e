"""What an input is compared with: the same positions, their special tokens kept, everything else made uninformative."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import UnknownBaseline

if TYPE_CHECKING:
    from .tasks import Task

Embed = Callable[[Tensor], Tensor]


def name_of(spec: Any) -> str:
    """A baseline's name in an Explanation."""
    return spec if isinstance(spec, str) else f"tensor {tuple(spec.shape)}"


def meant(spec: Any, tokenizer: Any) -> Any:
    """`spec`; or for "mask", where the tokenizer has no mask token, as those of causal models, what stands in for it
    and is named in its place: its unknown token, its padding token, the token that ends a text, or zero. Padding comes
    second, because its embedding is often 0, where a norm divides by almost nothing."""
    if not isinstance(spec, str) or spec != "mask" or getattr(tokenizer, "mask_token_id", None) is not None:
        return spec
    names = ("unk_token", "pad_token", "eos_token")
    return next((token for name in names if (token := getattr(tokenizer, name, None))), "zero")


def deletes(spec: Any, special: Tensor, task: Task) -> bool:
    """Whether the baseline is "delete". Raises UnknownBaseline where nothing would be left of a row, or where what the
    task reads belongs to positions, which would move.

    special: (rows, tokens), the tokens that stay.
    """
    if not isinstance(spec, str) or spec != "delete":
        return False
    if not task.deletes:
        raise UnknownBaseline(
            f"Found baseline='delete' for the task {task.name!r}, whose outputs belong to positions that would move; "
            "expected a baseline that keeps them: 'mask', 'pad', 'zero', 'mean', a token or a text."
        )
    if not special.any(1).all():
        raise UnknownBaseline(
            "Found baseline='delete' for a tokenizer that adds no special tokens, so that nothing would be left of the "
            "text; expected at least one token that stays. Use 'mask', 'pad', 'zero' or 'mean'."
        )
    return True


def ids_of(spec: Any, ids: Tensor, kept: Tensor, tokenizer: Any) -> Tensor | None:
    """The baseline's token ids (rows, tokens); None for a baseline that has none: zero, mean, or embeddings.

    spec: see `types.Baseline`. ids (rows, tokens). kept (rows, tokens): special tokens and padding, which stay.
    """
    if isinstance(spec, Tensor):
        return None if spec.is_floating_point() else torch.where(kept, ids, _expanded(spec, ids, kept.shape))
    if spec in ("zero", "mean"):
        return None
    if not isinstance(spec, str) or not spec:
        raise UnknownBaseline(
            f"Found baseline={spec!r}; expected 'mask', 'pad', 'zero', 'mean', a token, a text, a tensor, or a list."
        )
    if spec in ("mask", "pad"):
        token = getattr(tokenizer, f"{spec}_token_id", None)
        if token is None:
            raise UnknownBaseline(
                f"This tokenizer has no {spec} token, so baseline={spec!r} means nothing here. Use "
                f"{_available(tokenizer)}, or any token of its vocabulary."
            )
    else:
        token = token_id(spec, tokenizer)
    return _from_text(spec, ids, kept, tokenizer) if token is None else torch.where(kept, ids, token)


def embedded(
    spec: Any, ids: Tensor, x: Tensor, kept: Tensor, tokenizer: Any, embed: Embed, mean: Callable[[], Tensor]
) -> Tensor:
    """The baseline's embeddings (rows, tokens, hidden).

    spec, ids, kept: as `ids_of`. x: the embeddings of ids. embed: ids → embeddings. mean: the average embedding at each
    place (tokens, hidden).
    """
    own = ~kept.unsqueeze(-1)
    if isinstance(spec, Tensor) and spec.is_floating_point():
        return torch.where(own, _expanded(spec, x, kept.shape), x)
    found = ids_of(spec, ids, kept, tokenizer)
    if found is None:
        return x.masked_fill(own, 0.0) if spec == "zero" else torch.where(own, mean().to(x), x)
    try:
        return embed(found)
    except IndexError as error:
        raise UnknownBaseline(
            f"Found a baseline of token ids from {int(found.min())} to {int(found.max())}; expected ids that the model "
            "has an embedding for."
        ) from error


def _available(tokenizer: Any) -> str:
    names = [n for n in ("mask", "pad") if getattr(tokenizer, f"{n}_token_id", None) is not None]
    return ", ".join(f"baseline={n!r}" for n in [*names, "zero", "mean"])


def token_id(spec: str, tokenizer: Any) -> int | None:
    """The id of a token of the vocabulary, written as the tokenizer writes it or as a word that is one token."""
    found = tokenizer.get_vocab().get(spec)
    if found is None:
        ids = tokenizer(spec, add_special_tokens=False)["input_ids"]
        unknown = getattr(tokenizer, "unk_token_id", None)
        found = ids[0] if len(ids) == 1 and ids[0] != unknown else None
    return found


def _from_text(spec: str, ids: Tensor, kept: Tensor, tokenizer: Any) -> Tensor:
    own = (~kept).sum(1)
    words = tokenizer(spec, add_special_tokens=False)["input_ids"]
    if any(int(n) != len(words) for n in own):
        raise UnknownBaseline(
            f"Found baseline={spec!r:.60}, which is no name (mask, pad, zero, mean) and no single token of this "
            f"vocabulary; as a text it has {len(words)} tokens, where the input has {int(own[0])}. Expected as many."
        )
    return ids.masked_scatter(~kept, torch.tensor(words, device=ids.device).repeat(len(ids)))


def _expanded(spec: Tensor, like: Tensor, tokens: torch.Size) -> Tensor:
    try:
        return spec.to(like).expand(like.shape)
    except RuntimeError as error:
        shape = tuple(like.shape[1:]) if spec.is_floating_point() else "tokens, hidden"
        raise UnknownBaseline(
            f"Found a baseline tensor of shape {tuple(spec.shape)} and type {spec.dtype}; expected one that fits "
            f"{shape} (embeddings: tokens, hidden) or {tuple(tokens[1:])} (token ids, int64)."
        ) from error
