"""What the model itself says: run on ids, as a user of transformers runs it, and no part of Pellucid."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import signature
from typing import Any

import torch
from torch import Tensor


def read(tokenizer: Any, *text: str, by: str | None = None, at: Iterable[int] | None = None) -> dict[str, Tensor]:
    """The inputs of one text or pair. by: the token that takes the place of those at `at` (None: of all that are not
    special); at these places nothing else changes."""
    inputs = dict(tokenizer(*text, return_tensors="pt", return_special_tokens_mask=True))
    special = inputs.pop("special_tokens_mask")[0].bool()
    if by is not None:
        places = torch.nonzero(~special).flatten() if at is None else torch.tensor(list(at))
        inputs["input_ids"][0, places] = tokenizer.convert_tokens_to_ids(by)
    return inputs


def said(net: Any, inputs: dict[str, Tensor]) -> Tensor:
    """The logits, without the arguments that the model does not take."""
    takes = signature(net.forward).parameters
    with torch.no_grad():
        found = net(**{name: value for name, value in inputs.items() if name in takes})
    return found if isinstance(found, Tensor) else found.logits


def times_gradient(f: Any, x: Tensor, x0: Tensor) -> Tensor:
    """(x − x0) × the gradient of the number f(x), summed over the last dimension: for each token what it is worth."""
    x = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(f(x), x)
    return ((x - x0) * g).sum(-1).detach()
