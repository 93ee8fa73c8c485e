"""Records torch functions that run several operations inside, such as an LSTM, where Python sees a single call.

The inner operations are seen one level below, by a `TorchDispatchMode`, and noted on their nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ...torch_calls import Args, Kwargs, TorchFunction, Value
from ..metadata import CALL, INPUT, SLICES
from ..nodes import node_of

HIDING = frozenset(
    """
    multi_head_attention_forward lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell
    lp_pool1d lp_pool2d lp_pool3d tanhshrink softmin gumbel_softmax pad poisson_nll_loss _pad_packed_sequence
    """.split()
)
"""Torch functions that call others inside, where a recording of Python's calls does not see them."""
_VIEWS = frozenset({SLICES, "SliceBackward0", "AsStridedBackward0", "TransposeBackward0"})
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})


def hides(name: str, args: Args, kwargs: Kwargs) -> bool:
    """Whether a call of a torch function runs inner operations whose nodes need notes."""
    circular = lambda a: isinstance(a, str) and a == "circular"
    return name in HIDING and (name != "pad" or any(map(circular, (*args, *kwargs.values()))))


def run_seen(name: str, call: TorchFunction, args: Args, kwargs: Kwargs, noted: Mapping[str, str]) -> Value:
    """The result of the call, with notes on the nodes of its inner operations.

    noted: as in `recorder.Recording`.
    """
    with _unfused(name), _Below(noted) as seen:
        out = call(*args, **kwargs)
    for source, result, node_name in seen.inputs:
        node = node_of(result)
        if node is not None and node.name().startswith(node_name) and INPUT not in node.metadata:
            node.metadata[INPUT] = (source, source._version)
    if seen.in_place == {"copy_"}:
        _name_copies(out)
    return out


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Σ x1·x2/(max(‖x1‖, ε)·max(‖x2‖, ε)), by operations that autograd sees.

    PyTorch's own function sets the bound ε where autograd does not see it.
    """
    kind = torch.promote_types(x1.dtype, x2.dtype)
    both = [t.to(kind) for t in torch.broadcast_tensors(x1, x2)]
    a, b = (t / torch.linalg.vector_norm(t, 2, dim, True).clamp_min(eps) for t in both)
    return (a * b).sum(dim)


SHOWN: dict[str, TorchFunction] = {"cosine_similarity": cosine_similarity}
"""Torch functions that change a value out of autograd's sight, and the same in operations that autograd sees."""


class _Below(TorchDispatchMode):
    """Keeps the input of every operation whose node keeps only its result, and the names of in-place calls."""

    def __init__(self, noted: Mapping[str, str]):
        super().__init__()
        self.noted = noted
        self.inputs: list[tuple[Tensor, Tensor, str]] = []
        self.in_place: set[str] = set()

    def __torch_dispatch__(
        self, func: TorchFunction, types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> Value:
        name = func.overloadpacket.__name__
        overwrites = name.endswith("_") and not name.endswith("__")
        node_name = self.noted.get(name.strip("_")) if args and isinstance(args[0], Tensor) else None
        source = None if node_name is None else args[0].detach().clone() if overwrites else args[0].detach()
        out = func(*args, **(kwargs or {}))
        if overwrites:
            self.in_place.add(name)
        first = out[0] if isinstance(out, tuple) and out else out
        if source is not None and node_name is not None and isinstance(first, Tensor):
            self.inputs.append((source, first, node_name))
        return out


@contextmanager
def _unfused(name: str) -> Iterator[None]:
    """Switches fused recurrent kernels off inside, each of which would be one node without parts."""
    switches = _FUSED if name in _RECURRENT else ()
    before = [is_on() for is_on, _ in switches]
    try:
        for _, put in switches:
            put(False)
        yield
    finally:
        for (_, put), on in zip(switches, before, strict=True):
            put(on)


_FUSED = (
    (torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),
    (torch._C._get_cudnn_enabled, torch._C._set_cudnn_enabled),
)
"""What `torch.backends.mkldnn.enabled` and `torch.backends.cudnn.enabled` read and set, also where
`torch.backends.disable_global_flags` forbids to set these."""


def _name_copies(out: Value) -> None:
    """Notes that the in-place operations on views below `out`, whose calls were not seen, are copies."""
    stack = [node_of(t) for t in (out if isinstance(out, tuple) else (out,)) if isinstance(t, Tensor)]
    while stack:
        node = stack.pop()
        while node is not None and node.name() in _VIEWS:
            if node.name() == SLICES:
                node.metadata.setdefault(CALL, ("copy_", (), (), None))
            node = node.next_functions[0][0]
