"""Every generic operation of PyTorch: exact, or an error that names it; and the page that lists them is up to date."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid
from cases.values import FAR, B, D, W, rand
from pellucid.errors import GraphMismatch, UnsupportedOperation
from pellucid.numerics.deeplift.checking import limit_error, multipliers, summation_error

# -------------------------------------------------------------------------------------------------- activations

ARGUMENTS: dict[str, dict[str, Any]] = {
    "Threshold": {"threshold": 0.1, "value": 20.0},
    "MultiheadAttention": {"embed_dim": 6, "num_heads": 2, "batch_first": True},
    **{name: {"dim": 1} for name in ("Softmax", "Softmin", "LogSoftmax")},
}
REFUSED: dict[str, str] = {}
"""Activation classes without a rule, and the operation that their error names. None today."""


@pytest.mark.parametrize("name", nn.modules.activation.__all__)
def test_every_activation_class(name: str) -> None:
    net = getattr(nn, name)(**ARGUMENTS.get(name, {})).double().eval()
    f: Callable[[Tensor], Tensor] = (lambda a: net(a, a, a)[0]) if name == "MultiheadAttention" else net
    x, x0 = rand(2, 4, 6, seed=1) * 3, rand(2, 4, 6, seed=2) * 3
    if name in REFUSED:
        with pytest.raises(UnsupportedOperation, match=REFUSED[name]):
            multipliers(f, (x,), (x0,), torch.ones_like(f(x)))
        return
    assert summation_error(f, (x,), (x0,)) < 1e-14
    assert limit_error(f, (x,)) < 1e-4


# ---------------------------------------------------------------------------------------------- what is refused

REFUSALS: dict[str, tuple[str, Callable[..., Any], list[tuple[int, ...]]]] = {
    "remainder": ("RemainderBackward0", lambda a: a.remainder(2.0), [(4, 6)]),
    "renorm": ("RenormBackward0", lambda a: a.renorm(2, 0, 3.0), [(4, 6)]),
    "copysign": ("CopysignBackward0", lambda a: torch.copysign(a, B), [(4, 6)]),
    "angle": ("AngleBackward0", lambda a: torch.fft.fft(a).angle(), [(4, 6)]),
    "complex_exp": ("ExpBackward0", lambda a: torch.exp(1j * a).real, [(4, 6)]),
    "polar": ("PolarBackward0", lambda a: torch.polar(a.abs(), a).real, [(4, 6)]),
    "moving_grid": (
        "GridSampler2DBackward0",
        lambda a, grid: F.grid_sample(a, grid / 9, align_corners=False),
        [(2, 3, 4, 4), (2, 3, 3, 2)],
    ),
    "scatter_amax": (
        "ScatterReduceBackward0",
        lambda a: torch.zeros(4, 6, dtype=D).scatter_reduce(1, torch.zeros(4, 2).long(), a[:, :2], "amax"),
        [(4, 6)],
    ),
    "multilabel_margin": (
        "MultilabelMarginLossBackward0",
        lambda a: F.multilabel_margin_loss(a, torch.tensor([[0, 3, -1, 0, 0, 0]] * 4)),
        [(4, 6)],
    ),
    "ctc": (
        "CtcLossBackward0",
        lambda a: F.ctc_loss(a.log_softmax(-1), torch.tensor([[1, 2]] * 2), torch.tensor([5, 5]), torch.tensor([2, 2])),
        [(5, 2, 6)],
    ),
    "inverse": ("LinalgInvExBackward0", lambda a: torch.linalg.inv(a + 6 * torch.eye(3)), [(3, 3)]),
    "determinant": ("LinalgDetBackward0", torch.linalg.det, [(3, 3)]),
    "singular_values": ("LinalgSvdBackward0", torch.linalg.svdvals, [(3, 3)]),
    "matrix_exp": ("LinalgMatrixExpBackward0", torch.linalg.matrix_exp, [(3, 3)]),
    "sparse": ("SparseAddmmBackward0", lambda a: torch.sparse.mm(W.to_sparse(), a.T), [(4, 6)]),
    "hidden_in_place": ("CopySlices", lambda a: torch.vander(a[0], 4), [(4, 6)]),
    "training_batch_norm": ("batch_norm", lambda a: F.batch_norm(a, None, None, training=True), [(4, 6)]),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_an_operation_without_a_rule_is_named(name: str) -> None:
    operation, f, shapes = REFUSALS[name]
    x, x0 = (tuple(rand(*s, seed=k + i) for i, s in enumerate(shapes)) for k in (0, 5))
    with pytest.raises(UnsupportedOperation) as caught:
        multipliers(f, x, x0, torch.ones_like(f(*x)))
    assert caught.value.operation.startswith(operation)


CHOICES: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "sort": ("indices", lambda a: a.sort(1).values),
    "topk": ("indices", lambda a: a.topk(2, 1).values),
    "median": ("indices", lambda a: a.median(1).values),
    "median_of_all": ("median is another element", lambda a: a.median()),
    "index": ("indices", lambda a: a[:, a.argmax(1)]),
    "where": ("condition", lambda a: torch.where(a > 0, a, 2 * a.flip(0))),
    "where_of_another": ("condition", lambda a: torch.where(a[:1] > 0, a, 2 * a)),
    "where_is_a_step": ("condition", lambda a: torch.where(a > 0, a * 0 + 1, a * 0)),
    "masked_fill": ("mask", lambda a: a.masked_fill(a[:1] > 0, 0.0)),
    "embedding_bag_max": ("result3", lambda a: F.embedding_bag(torch.tensor([[0, 1], [2, 3]]), a, mode="max")),
    "nansum": ("replaces other elements", lambda a: (a + torch.where(a > 0, torch.nan, 0.0)).nansum(1)),
    "in_place_mask": ("'masked_fill_' on a view", lambda a: _filled(a * 1)),
    "in_place_factor": ("'mul_' on a view", lambda a: _scaled(a * 1)),
}


def _filled(y: Tensor) -> Tensor:
    y[:, 1:].masked_fill_(y[:, 1:] > 0, 0.0)
    return y


def _scaled(y: Tensor) -> Tensor:
    y[:, 1:].mul_(y[:, 1:].detach())
    return y


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_that_differs_is_named(name: str) -> None:
    what, f = CHOICES[name]
    x, x0 = rand(4, 6, seed=1), rand(4, 6, seed=2)
    with pytest.raises(GraphMismatch, match=what):
        multipliers(f, (x,), (x0,), torch.ones_like(f(x)))


def test_a_choice_that_is_the_same_adds_up() -> None:
    for _, f in list(CHOICES.values())[:3]:
        assert summation_error(lambda a, f=f: f(a + FAR), (rand(4, 6, seed=1),), (rand(4, 6, seed=2),)) < 1e-13


# -------------------------------------------------------------------------------------------------- what is hidden


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_in_float32_and_saturated(cell: Any) -> None:
    """Their fused kernel would be one node; the backends that have it are as before afterwards."""
    backends: list[Any] = [torch.backends.mkldnn, torch.backends.cudnn]
    before = [b.enabled for b in backends]
    net = cell(6, 5, 2, batch_first=True).eval()
    a = pellucid.attribute(lambda x: net(x)[0][:, -1], torch.randn(3, 4, 6) * 20, torch.randn(3, 4, 6) * 20, target=1)
    assert (a.delta.abs() <= 1e-5 * a.values.abs().sum((1, 2))).all()  # pyright: ignore
    assert [b.enabled for b in backends] == before
    with pytest.raises(RuntimeError, match="input"):  # PyTorch's own, of a size that does not fit
        pellucid.attribute(lambda x: net(x[:, :, :2]), torch.randn(3, 4, 6))
    assert [b.enabled for b in backends] == before


def test_a_softmax_hidden_in_multihead_attention_may_saturate() -> None:
    net = nn.MultiheadAttention(6, 2, batch_first=True).double().eval()
    x, x0 = rand(2, 4, 6, seed=1) * 60, rand(2, 4, 6, seed=2) * 60
    assert summation_error(lambda a: net(a, a, a)[0], (x,), (x0,)) < 1e-13


def test_the_padding_row_of_an_embedding_counts() -> None:
    """Its gradient is left out by PyTorch, but its difference is not."""
    f = lambda t: F.embedding(torch.tensor([0, 1, 1]), t, padding_idx=1)
    assert summation_error(f, (rand(3, 4, seed=1),), (rand(3, 4, seed=2),)) < 1e-14


def test_a_long_product_is_exact() -> None:
    x, x0 = 1 + rand(2, 40, seed=1) / 9, 1 + rand(2, 40, seed=2) / 9
    assert summation_error(lambda a: a.prod(1), (x,), (x0,)) < 1e-13
    assert summation_error(lambda a: a.cumprod(1), (x,), (x0,)) < 1e-13


def test_a_pair_shares_its_change_as_in_a_game() -> None:
    """y = f(a, b): a gets ½(f(a,b) − f(a0,b) + f(a,b0) − f(a0,b0))/Δa."""
    a, b, a0, b0, g = (rand(5, seed=i) for i in range(5))
    f = torch.atan2
    expected = g * (f(a, b) - f(a0, b) + f(a, b0) - f(a0, b0)) / 2 / (a - a0)
    torch.testing.assert_close(multipliers(f, (a, b), (a0, b0), g)[0], expected)


# ------------------------------------------------------------------------------------------------------- the page


def _script() -> Any:
    path = Path(__file__).resolve().parents[1] / "scripts" / "operations.py"
    spec = importlib.util.spec_from_file_location("operations", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_rule_is_covered_and_the_page_says_by_what() -> None:
    script = _script()
    assert not script.uncovered(script.covered())
    assert script.PAGE.read_text("utf-8") == script.page(), "run python scripts/operations.py"
