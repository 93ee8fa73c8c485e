"""Raises an error where dropout or batch norm runs in training mode."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

from torch.overrides import TorchFunctionMode

from ....errors import UnsupportedOperation
from ...torch_calls import Args, Kwargs, TorchFunction, Value, name_of
from .code_location import module_of, place_of

Call = Callable[[Args, Kwargs], bool]
_RANDOM = "drops units at random, so no two passes are the same"
_OF_BATCH = "normalises with the statistics of the batch, which mixes its rows and changes the module's own"


def _given(args: Args, kwargs: Kwargs, place: int, name: str, default: Value) -> Value:
    return kwargs.get(name, args[place] if len(args) > place else default)


def _drops(p: int, training: int) -> Call:
    """The check of a call of dropout, for the places of its rate and of its flag, which is on where it is not given."""
    return lambda args, kwargs: bool(
        _given(args, kwargs, training, "training", True)
        and (_given(args, kwargs, p, "p", 0.5) if "dropout_p" not in kwargs else kwargs["dropout_p"])
    )


def _recurrent(args: Args, kwargs: Kwargs) -> bool:
    """Whether a recurrent network drops units: a call with both a rate of dropout and the flag.

    The arguments are (input, hx, weights, has_biases, layers, dropout, training, …), or of a packed sequence one place
    later.
    """
    first = 5 if len(args) > 3 and isinstance(args[3], bool) else 6
    return len(args) > first + 1 and bool(args[first] and args[first + 1])


def _of_batch(args: Args, kwargs: Kwargs) -> bool:
    """Whether a batch norm uses the statistics of the batch.

    The arguments are (input, running mean, running variance, weight, bias, training, …). One row without running
    statistics
    does not count: so convolutions standardise their weights (BiT).
    """
    rows = len(_given(args, kwargs, 0, "input", ()))
    keeps = _given(args, kwargs, 1, "running_mean", None) is not None
    return bool(_given(args, kwargs, 5, "training", False)) and (rows > 1 or keeps)


_DROPPING = "dropout alpha_dropout feature_dropout dropout1d dropout2d dropout3d feature_alpha_dropout".split()
TRAINING: dict[str, tuple[str, Call]] = {
    **{name: (_RANDOM, _drops(1, 2)) for name in _DROPPING},
    **{name: (_RANDOM, _recurrent) for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
    "multi_head_attention_forward": (_RANDOM, _drops(10, 13)),
    "scaled_dot_product_attention": (_RANDOM, lambda args, kwargs: _given(args, kwargs, 4, "dropout_p", 0.0) > 0),
    "rrelu": ("draws its slopes at random", lambda args, kwargs: bool(_given(args, kwargs, 3, "training", False))),
    "batch_norm": (_OF_BATCH, _of_batch),
}
"""Torch functions, what they do in training mode, and which of their calls are in it."""


def refuse(name: str, args: Args, kwargs: Kwargs) -> None:
    """Raises UnsupportedOperation for a call of a torch function in training mode."""
    why, is_training = TRAINING.get(name, ("", None))
    if is_training is not None and is_training(args, kwargs):
        raise UnsupportedOperation(f"{name} {why}. {_remedy(name, args, kwargs, sys._getframe(1))}", name)


def _remedy(name: str, args: Args, kwargs: Kwargs, frame: FrameType | None) -> str:
    """What to do about a call in training mode: set its module to evaluation mode, or change the call, which asks for
    it."""
    module, place = module_of(frame), place_of(frame)
    at = f" in {place}" if place else ""
    if module is not None and module.training:
        return f"The module {type(module).__name__}{at} is in training mode; expected evaluation mode. Call .eval()."
    flag, give = _FLAGS.get(name, ("training", "training=self.training"))
    value = args[4] if flag == "dropout_p" and len(args) > 4 else kwargs.get(flag, True)
    asks = "without training=, or with training=True," if name in _DROPPING else f"with {flag}={value}"
    mode = "" if module is None else f"{type(module).__name__} is in evaluation mode; "
    named = f"F.{name}" if name in _DROPPING else name
    return f"{mode}the call of {named} {asks}{at} asks for it in any mode. Expected one that does not: give it {give}."


_FLAGS = {
    "scaled_dot_product_attention": ("dropout_p", "dropout_p=0.0 outside training"),
    **{name: ("train", "train=self.training") for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
}
"""By a torch function, its argument that asks for training mode, and what to write instead."""


class Steady(TorchFunctionMode):
    """Refuses every call in training mode before it is made."""

    def __torch_function__(
        self, func: TorchFunction, types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> Value:
        kwargs = kwargs or {}
        refuse(name_of(func), args, kwargs)
        return func(*args, **kwargs)
