"""Records the parts of each attention in a forward pass: probabilities, values and output projection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..torch_calls import Args, Kwargs, TorchFunction, Value, name_of
from .logits import attention_logits


@dataclass
class Attention:
    """The parts of one call of attention.

    probabilities: the attention probabilities.
    values: what the probabilities weigh; None where it was not seen.
    weight: the linear map from the joined outputs of all heads, heads · size, to the hidden dimension; None where not
        seen.
    """

    probabilities: Float[Tensor, "rows heads queries keys"]
    values: Float[Tensor, "rows heads keys size"] | None = None
    weight: Float[Tensor, "joined hidden"] | None = None

    @property
    def projection(self) -> Float[Tensor, "heads size hidden"] | None:
        """The linear map from each head's output to the hidden dimension; None where a part of it was not seen."""
        if self.weight is None or self.values is None:
            return None
        return self.weight.unflatten(0, (self.values.shape[1], self.values.shape[-1]))


_PRODUCTS = frozenset({"matmul", "bmm", "__matmul__"})
_MAPS = {"linear": 1, "addmm": 2, "matmul": 1}
"""Linear maps, and the place of their weight."""
_TOLD = frozenset({"scaled_dot_product_attention", "softmax", "_softmax", *_PRODUCTS, *_MAPS})


class Attending(TorchFunctionMode):
    """Tells of each attention in a forward pass, while the model runs unmodified.

    Fused attention runs in its parts, so that its probabilities are there. A softmax with four dimensions is taken for
    attention, the product that its result goes into for the values, and the linear map after that for the projection.
    """

    def __init__(self, tell: Callable[[Attention], None]):
        super().__init__()
        self.tell = tell
        self.last: Attention | None = None

    def __torch_function__(
        self, func: TorchFunction, types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> Value:
        kwargs, name = kwargs or {}, name_of(func)
        if name not in _TOLD:
            return func(*args, **kwargs)
        if name == "scaled_dot_product_attention":
            return self._unfused(*args, **kwargs)
        out = func(*args, **kwargs)
        if name in ("softmax", "_softmax"):
            if out.ndim == 4:
                self._attends(out)
        elif self.last is not None and name in _PRODUCTS and self.last.values is None:
            left, right = args[0], args[1] if len(args) > 1 else kwargs.get("other")
            p = self.last.probabilities
            if isinstance(right, Tensor) and left.shape == p.shape and right.shape[-2] == p.shape[-1]:
                self.last.values = right
        elif self.last is not None and self.last.values is not None and self.last.weight is None:
            self.last.weight = _weight(name, args, self.last.values)
        return out

    def _attends(self, p: Tensor) -> None:
        self.last = Attention(p)
        self.tell(self.last)

    def _unfused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        lowest = torch.finfo(query.dtype).min  # not −inf: a query without any key would be NaN
        p = torch.softmax(attention_logits(query, key, attn_mask, is_causal, scale, enable_gqa, lowest), -1)
        if enable_gqa:
            value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
        if p.ndim == 4:
            self._attends(p)
            assert self.last is not None
            self.last.values = value
        return p @ value


def _weight(name: str, args: Args, values: Tensor) -> Tensor | None:
    """The weight (inputs, outputs) of a linear map that takes all heads' outputs next to each other."""
    place = _MAPS.get(name)
    weight = args[place] if place is not None and len(args) > place else None
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        return None
    weight = weight.detach().T if name == "linear" else weight.detach()
    return weight if weight.shape[0] == values.shape[1] * values.shape[-1] else None
