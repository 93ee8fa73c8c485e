"""Operations that no rule and no gradient can cross, such as checkpointed or quantised layers, and what to do about
them."""

from __future__ import annotations

from ...errors import UnsupportedOperation

_RECOMPUTED = (
    "The forward pass recomputes a part of itself during the backward pass (torch.utils.checkpoint), where nothing of "
    "the first run is left to compare or to differentiate; expected one that keeps what it computes. Switch "
    "checkpointing off where the model is not in training, or use a method that needs no gradient, such as "
    "method='occlusion'."
)
_NO_DERIVATIVE = (
    "The forward pass goes through an operation that PyTorch has no derivative of, such as a layer quantised to int8; "
    "expected operations on floating-point tensors. Load the model without quantisation (dtype=torch.bfloat16 halves "
    "its size), or use a method that needs no gradient, such as method='occlusion'."
)
UNDERIVED: dict[str, str] = {
    "CheckpointFunctionBackward": _RECOMPUTED,
    "torch::autograd::WarnNotImplemented": _NO_DERIVATIVE,
    "torch::autograd::NotImplemented": _NO_DERIVATIVE,
}
"""By autograd's names: those that no method that needs a gradient can cross."""
OPAQUE: dict[str, str] = {
    **UNDERIVED,
    "CompiledFunctionBackward": (
        "The function was compiled (torch.compile), and its graph is one operation without parts; expected the "
        "function itself. Pass what was compiled, or use method='integrated_gradients', which needs no parts."
    ),
}
"""Those that have no parts for DeepLIFT to cross."""


def checked(operations: frozenset[str]) -> frozenset[str]:
    """`operations` unchanged. Raises UnsupportedOperation where one of them has no derivative."""
    for name in operations & UNDERIVED.keys():
        raise UnsupportedOperation(UNDERIVED[name], name)
    return operations


class keeping:
    """Inside, a walk that meets a saved tensor which checkpointing recomputes, and cannot, raises
    UnsupportedOperation."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RuntimeError) and "torch.utils.checkpoint" in str(error):
            raise UnsupportedOperation(_RECOMPUTED, "checkpoint") from error
