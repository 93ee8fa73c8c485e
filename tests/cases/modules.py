"""Cases of modules of torch.nn that run several operations inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def module(net: nn.Module, call: Callable[[nn.Module, Tensor], Any] = lambda net, a: net(a)) -> Callable[[Tensor], Any]:
    """A module in evaluation mode and float64, with parameters large enough to leave the range in which it is nearly
    linear."""
    generator = torch.Generator().manual_seed(0)
    net = net.double().eval()
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=p.dtype) * 0.5
    return lambda a: call(net, a)


def first(net: nn.Module, a: Tensor) -> Tensor:
    return net(a)[0]


def attending(net: nn.Module, a: Tensor) -> Tensor:
    return net(a, a, a)[0]


PADDING = torch.tensor([[False, False, False, True], [False] * 4])

CASES: dict[str, Any] = {
    "lstm": (module(nn.LSTM(6, 5, 2, batch_first=True), first), [(2, 4, 6)], False),
    "lstm_both_ways": (module(nn.LSTM(6, 5, bidirectional=True, proj_size=3), first), [(4, 2, 6)], False),
    "gru": (module(nn.GRU(6, 5, 2, batch_first=True), first), [(2, 4, 6)], False),
    "rnn": (module(nn.RNN(6, 5, 2, batch_first=True), first), [(2, 4, 6)], False),
    "rnn_relu": (module(nn.RNN(6, 5, nonlinearity="relu"), first), [(4, 2, 6)], False),
    "lstm_cell": (module(nn.LSTMCell(6, 5), first), [(4, 6)], False),
    "gru_cell": (module(nn.GRUCell(6, 5)), [(4, 6)], False),
    "rnn_cell": (module(nn.RNNCell(6, 5)), [(4, 6)], False),
    "multihead": (module(nn.MultiheadAttention(6, 2, batch_first=True), attending), [(2, 4, 6)], False),
    "multihead_fused": (
        module(nn.MultiheadAttention(6, 2, batch_first=True), lambda net, a: net(a, a, a, need_weights=False)[0]),
        [(2, 4, 6)],
        False,
    ),
    "encoder_layer": (module(nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)), [(2, 4, 6)], False),
    "encoder_padded": (
        module(
            nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), 1, enable_nested_tensor=False),
            lambda net, a: net(a, src_key_padding_mask=PADDING),
        ),
        [(2, 4, 6)],
        False,
    ),
    "decoder_layer": (
        module(nn.TransformerDecoderLayer(6, 2, 8, batch_first=True), lambda net, a: net(a, a + 1)),
        [(2, 4, 6)],
        False,
    ),
    "batch_norm": (module(nn.BatchNorm1d(6)), [(4, 6)], False),
    "instance_norm": (module(nn.InstanceNorm1d(3, affine=True)), [(2, 3, 5)], False),
    "rms_norm": (module(nn.RMSNorm(6)), [(4, 6)], False),
    "local_response_norm": (module(nn.LocalResponseNorm(3)), [(2, 6, 4)], False),
    "bilinear_module": (module(nn.Bilinear(6, 6, 3), lambda net, a: net(a, a + 1)), [(4, 6)], False),
}
