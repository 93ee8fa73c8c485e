"""Any PyTorch function."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid
from pellucid import attribute
from pellucid.errors import CutGraph, GraphMismatch, InputError, NonFiniteOutput, UnknownTarget, UnsupportedOperation


def small(x1: Tensor, x2: Tensor, weight: float = 3.0) -> Tensor:
    return torch.softmax(2 * F.relu(x1) + weight * F.relu(x2 - 1.5), -1)


X = (torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([[2.0, 2.0, -1.0]]))
X0 = (torch.zeros(1, 3), torch.zeros(1, 3))


@pytest.mark.parametrize("target", [0, 1, 2])
@pytest.mark.parametrize("args", [(), 3.0, (2,)])
def test_a_tuple_of_inputs_adds_up_for_every_target(target: int, args: object) -> None:
    a = attribute(small, X, X0, target=target, args=args)
    assert isinstance(a.values, tuple) and [v.shape for v in a.values] == [(1, 3), (1, 3)]
    assert a.delta.abs().item() < 1e-7
    assert a.output - a.baseline_output == pytest.approx(sum(v.sum().item() for v in a.values), abs=1e-6)
    double = attribute(small, tuple(t.double() for t in X), tuple(t.double() for t in X0), target=target, args=args)
    assert double.delta.abs().item() < 1e-15


def test_targets_of_all_forms() -> None:
    f = lambda x: torch.stack([x, 2 * x], -1)
    x = torch.arange(6.0).view(2, 3)
    assert attribute(f, x, target=(1, 0)).output.tolist() == [1, 4]
    assert attribute(f, x, target=[(0, 1), (2, 0)]).output.tolist() == [0, 5]
    assert attribute(lambda x: 2 * x, x, target=torch.tensor([0, 2])).output.tolist() == [0, 10]
    assert attribute(lambda x: 2 * x, x, target=-1).output.tolist() == [4, 10]
    assert attribute(lambda x: x.sum(1), x).output.tolist() == [3, 12]
    assert attribute(lambda x: x.sum(1, keepdim=True), x).output.tolist() == [3, 12]
    assert attribute(lambda x: {"y": x}, x, target=lambda out: out["y"][:, 1]).output.tolist() == [1, 4]
    for method in pellucid.METHODS:
        a, b = (attribute(f, x[:1], method=method) for f in (lambda x: x.tanh().sum(), lambda x: x.tanh().sum(1)))
        torch.testing.assert_close(a.values, b.values)


@pytest.mark.parametrize("method", [m for m in pellucid.METHODS if m != "smoothgrad"])
def test_rows_are_independent_and_split_with_their_args(method: str) -> None:
    weights = torch.randn(5, 3)
    f = lambda x, w: (torch.tanh(x) * w).sum(1)
    x, x0 = torch.randn(5, 3), torch.randn(1, 3)
    whole = attribute(f, x, x0, method=method, args=(weights,)).values
    for i in range(5):
        alone = attribute(f, x[i : i + 1], x0, method=method, args=(weights[i : i + 1],)).values
        torch.testing.assert_close(whole[i : i + 1], alone)


def test_reused_modules_and_functional_calls() -> None:
    shared = nn.Linear(4, 4)
    act = nn.GELU()
    f = lambda x: act(shared(act(shared(x)) + x)).sum(1)
    a = attribute(f, torch.randn(3, 4), torch.randn(3, 4))
    assert a.delta.abs().max() < 1e-6


def test_a_saturated_softmax_adds_up() -> None:
    f = lambda z: torch.softmax(z, -1)
    x, x0 = torch.tensor([[200.0, 0.0, -200.0]]), torch.tensor([[-200.0, 0.0, 200.0]])
    for target in range(3):
        a = attribute(f, x, x0, target=target)
        assert a.delta.abs().item() <= 1e-6 * max(1, (a.output - a.baseline_output).abs().item())
    assert attribute(f, x, x0, target=0).values[0, 0] > 0  # the underflowed probability still counts


def test_saturated_attention_and_masked_positions_add_up() -> None:
    mask = torch.tensor([0.0, 0.0, -torch.inf])
    v = torch.randn(3, 4)

    def f(x: Tensor) -> Tensor:
        return (torch.softmax(x @ x.mT + mask, -1) @ v).sum((1, 2))

    x, x0 = torch.randn(2, 3, 4) * 15, torch.randn(2, 3, 4) * 15
    assert (x @ x.mT).abs().max() > 200
    a = attribute(f, x, x0)
    assert (a.delta.abs() <= 1e-5 * a.values.abs().sum((1, 2))).all()
    assert a.values.abs().sum() > 0
    fused = attribute(lambda q: F.scaled_dot_product_attention(q, q, q, attn_mask=mask.expand(3, 3)).sum((1, 2)), x, x0)
    assert (fused.delta.abs() <= 1e-5 * fused.values.abs().sum((1, 2))).all()


def test_saturated_activations_add_up() -> None:
    for act in (torch.tanh, torch.sigmoid, F.relu, F.gelu, F.silu, F.softplus):
        a = attribute(lambda x, act=act: act(x).sum(1), torch.randn(4, 8) * 60, torch.randn(4, 8) * 60)
        assert (a.delta.abs() <= 1e-6 * a.values.abs().sum(1)).all(), act


def test_in_place_operations() -> None:
    def f(x: Tensor) -> Tensor:
        y = x * 2
        y[:, 0] = x[:, 1] * x[:, 2]
        y += 1
        y.relu_()
        return y.sum(1)

    a = attribute(f, torch.randn(3, 4), torch.randn(3, 4))
    assert a.delta.abs().max() < 1e-6

    def overwritten(x: Tensor) -> Tensor:
        z = x * 2
        y = torch.tanh(z)
        z.add_(1)
        return y.sum(1) + z.sum(1)

    with pytest.raises(pellucid.PellucidError, match="in-place"):
        attribute(overwritten, torch.randn(3, 4))
    with pytest.raises(UnsupportedOperation, match="in-place"):
        attribute(lambda x: (x * 2)[:, :2].tanh_().sum(1), torch.randn(3, 4))


def test_no_gradient_of_a_parameter_is_computed() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    seen: list[int] = []
    for p in net.parameters():
        p.register_hook(lambda g: seen.append(1))
    for method in pellucid.METHODS:
        attribute(lambda x: net(x), torch.randn(2, 4), target=0, method=method)
    assert not seen
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


# ------------------------------------------------------------------------------------------------------- errors


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: object, g: Tensor) -> Tensor:  # pyright: ignore
        return g * 2


class Block(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Twice.apply(x).sum(1)


def test_an_operation_without_a_rule_is_named_with_its_module() -> None:
    with pytest.raises(UnsupportedOperation, match=r"TwiceBackward.*in Block"):
        attribute(nn.Sequential(nn.Linear(3, 3), Block()), torch.randn(2, 3))
    with pytest.raises(UnsupportedOperation, match="RenormBackward0"):
        attribute(lambda x: x.renorm(2, 0, 1.0).sum(1), torch.randn(2, 3))


def test_graphs_that_differ() -> None:
    branch = lambda x: x.tanh().sum(1) if x.sum() > 0 else x.sum(1)
    with pytest.raises(GraphMismatch, match="same operations"):
        attribute(branch, torch.ones(1, 3), -torch.ones(1, 3))
    gate = lambda x: (x * (x > 0).float()).sum(1)
    with pytest.raises(GraphMismatch, match="carries no gradient"):
        attribute(gate, torch.ones(1, 3), -torch.ones(1, 3))
    swapped = lambda a, b: (a.tanh() + b if a.sum() > 0 else b.tanh() + a).sum(1)
    with pytest.raises(GraphMismatch):
        attribute(swapped, (torch.ones(1, 3), torch.ones(1, 3)), (-torch.ones(1, 3), torch.zeros(1, 3)))


def test_a_cut_graph() -> None:
    for cut in (
        lambda x: x.detach().sum(1),
        lambda x: torch.tensor([1.0, 2.0]),
        lambda x: torch.tensor(x.sum(1).tolist(), requires_grad=True),
    ):
        for method in ("deeplift", "saliency", "input_x_gradient"):
            with pytest.raises(CutGraph, match="autograd"):
                attribute(cut, torch.randn(2, 3), method=method)
        for method in ("integrated_gradients", "smoothgrad"):  # where a constant has too few rows, that is said
            with pytest.raises((CutGraph, UnknownTarget), match=r"autograd|one scalar per row"):
                attribute(cut, torch.randn(2, 3), method=method)


def test_dropout_in_training_mode_is_refused() -> None:
    with pytest.raises(UnsupportedOperation, match="eval"):
        attribute(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)), torch.randn(2, 3), target=0)


@pytest.mark.parametrize(
    ("x", "x0", "match"),
    [
        (torch.ones(2, 3).long(), None, "float tensor"),
        ((torch.ones(2, 3), torch.ones(3, 3)), None, "rows"),
        (torch.ones(2, 3), torch.ones(2, 4), "Baseline 0"),
        (torch.ones(2, 3), (torch.ones(2, 3), torch.ones(2, 3)), "2 baselines"),
        (torch.ones(2, 3), "mask", "Baseline 0"),
        ("text", None, "float tensor"),
    ],
)
def test_bad_inputs(x: object, x0: object, match: str) -> None:
    with pytest.raises(InputError, match=match):
        attribute(lambda *t: sum(t).sum(1), x, x0)  # pyright: ignore


def test_bad_outputs() -> None:
    x = torch.randn(2, 3)
    with pytest.raises(UnknownTarget, match="one scalar per row"):
        attribute(lambda x: x, x)
    with pytest.raises(UnknownTarget, match="target=7"):
        attribute(lambda x: x, x, target=7)
    with pytest.raises(UnknownTarget, match="rows first"):
        attribute(lambda x: x.sum(), x)
    with pytest.raises(UnknownTarget, match="dict"):
        attribute(lambda x: {"a": x}, x, target=0)
    with pytest.raises(NonFiniteOutput, match="nan"):
        attribute(lambda x: (x * torch.nan).sum(1), x)
    with pytest.raises(NonFiniteOutput, match="gradient"):
        attribute(lambda x: x.sqrt().sum(1), torch.zeros(2, 3), method="saliency")
