"""Any PyTorch function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid
from pellucid import attribute
from pellucid.errors import (
    CutGraph,
    GraphMismatch,
    InputError,
    NonFiniteOutput,
    UnknownMethod,
    UnknownTarget,
    UnsupportedOperation,
)
from pellucid.problem import Problem


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
    more = args if isinstance(args, tuple) else (args,)
    change = (small(*X, *more) - small(*X0, *more))[0, target].item()
    assert sum(v.sum().item() for v in a.values) == pytest.approx(change, abs=1e-6)
    double = attribute(small, tuple(t.double() for t in X), tuple(t.double() for t in X0), target=target, args=args)
    assert double.delta.abs().item() < 1e-15


def test_targets_of_all_forms() -> None:
    f = lambda x: torch.stack([x, 2 * x], -1)
    x = torch.arange(6.0).view(2, 3)
    assert attribute(f, x, target=(1, 0)).output.tolist() == [1, 4]
    assert attribute(f, x, target=[(0, 1), (2, 0)]).output.tolist() == [0, 5]
    assert attribute(lambda x: 2 * x, x, target=torch.tensor([0, 2])).output.tolist() == [0, 10]
    for target in (np.array([0, 2]), [np.int64(0), np.int64(2)], [torch.tensor(0), torch.tensor(2)]):
        assert attribute(lambda x: 2 * x, x, target=target).output.tolist() == [0, 10]
    assert attribute(lambda x: 2 * x, x, target=np.int64(1)).output.tolist() == [2, 8]
    assert attribute(lambda x: 2 * x, x, target=-1).output.tolist() == [4, 10]
    assert attribute(lambda x: x.sum(1), x).output.tolist() == [3, 12]
    assert attribute(lambda x: x.sum(1, keepdim=True), x).output.tolist() == [3, 12]
    assert attribute(lambda x: {"y": x}, x, target=lambda out: out["y"][:, 1]).output.tolist() == [1, 4]
    for method in pellucid.METHODS:
        a, b = (attribute(f, x[:1], method=method) for f in (lambda x: x.tanh().sum(), lambda x: x.tanh().sum(1)))
        torch.testing.assert_close(a.values, b.values)


@pytest.mark.parametrize("method", pellucid.METHODS)
def test_what_an_answer_says_of_the_function_is_what_the_function_says(method: str) -> None:
    f = lambda x, w: torch.softmax(x.tanh() * w, -1)
    x, x0, w = torch.randn(3, 4).double(), torch.randn(1, 4).double(), torch.rand(3, 4).double()
    a = attribute(f, x, x0, method=method, target=2, args=w)
    y, y0 = (f(t, w)[:, 2] for t in (x, x0.expand(3, 4)))
    torch.testing.assert_close((a.output, a.baseline_output), (y, y0), atol=1e-14, rtol=0)
    torch.testing.assert_close(a.delta, y - y0 - a.values.sum(1), atol=1e-14, rtol=0)  # pyright: ignore
    if pellucid.METHODS[method].adds_up:
        assert ((y - y0 - a.values.sum(1)).abs() < 1e-2 * (y - y0).abs()).all()  # pyright: ignore


@pytest.mark.parametrize("method", [m for m in pellucid.METHODS if m != "smoothgrad"])
def test_rows_are_independent_and_split_with_their_args(method: str) -> None:
    weights = torch.randn(5, 3)
    f = lambda x, w: (torch.tanh(x) * w).sum(1)
    x, x0 = torch.randn(5, 3), torch.randn(1, 3)
    whole = attribute(f, x, x0, method=method, args=(weights,)).values
    for i in range(5):
        alone = attribute(f, x[i : i + 1], x0, method=method, args=(weights[i : i + 1],)).values
        torch.testing.assert_close(whole[i : i + 1], alone)


class Weights(NamedTuple):
    of: Tensor
    scale: float


@pytest.mark.parametrize("method", ["integrated_gradients", "shapley", "deep_shap"])
def test_named_tuples_among_the_args_stay_what_they_are(method: str) -> None:
    w, x = Weights(torch.randn(3, 4), 2.0), torch.randn(3, 4)
    a = attribute(lambda x, w: (x * w.of).sum(1) * w.scale, x, method=method, args=(w,))
    torch.testing.assert_close(a.values, 2 * x * w.of)


def test_a_sample_of_baselines_may_have_one_row_for_some_inputs() -> None:
    f = lambda a, b: (a * b).sum(1)
    x, sample = (torch.randn(2, 3), torch.randn(2, 3)), torch.randn(5, 3)
    a, b = (attribute(f, x, (x0, sample), method="deep_shap").values for x0 in (1.0, torch.ones(5, 3)))
    torch.testing.assert_close(a, b)


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
    with pytest.raises(UnsupportedOperation, match="in-place operation 'mul_'"):
        attribute(lambda x: (x * 2)[:, :2].mul_(x[:, :2]).sum(1), torch.randn(3, 4))


def test_views_overwritten_by_functions_of_themselves() -> None:
    def f(x: Tensor) -> Tensor:
        y = x * 2
        y[:, :2].tanh_()
        y[:, 1:].sigmoid_()
        y[..., ::2].exp_().clamp_(max=5)
        y.transpose(1, 2)[:, 0].pow_(2)
        F.elu(y.view(3, -1)[:, 3:], inplace=True)
        return y.sum((1, 2))

    x, x0 = torch.randn(3, 4, 6).double(), torch.randn(3, 4, 6).double()
    a = attribute(f, x, x0)
    assert (a.delta.abs() < 1e-14 * a.values.abs().sum((1, 2))).all()
    data_dependent = lambda x: F.relu((x * 2)[:, : 1 + int(x.sum() > 0)], inplace=True)._base.sum((1, 2))
    with pytest.raises(GraphMismatch, match="indices"):
        attribute(data_dependent, x[:1].abs(), -x[:1].abs())


@pytest.mark.parametrize("name", ["ReLU", "ELU", "Hardtanh", "SiLU", "Threshold", "RReLU", "Hardsigmoid", "SELU"])
def test_activations_in_place_are_those_out_of_place(name: str) -> None:
    net = nn.Sequential(nn.Conv1d(4, 3, 3), nn.MaxPool1d(2), nn.Linear(4, 2))  # the pool's result is a view
    x, x0 = torch.randn(3, 4, 10), torch.randn(3, 4, 10)
    given = {"Threshold": (0.1, 3.0)}.get(name, ())
    in_place, plain = (getattr(nn, name)(*given, inplace=k).eval() for k in (True, False))
    for before, after in ((net[:2], net[2:]), (nn.Identity(), net)):
        a, b = (attribute(nn.Sequential(before, act, after), x, x0, target=(1, 0)) for act in (in_place, plain))
        torch.testing.assert_close(a.values, b.values)
        assert a.delta.abs().max() < 1e-5


@pytest.mark.parametrize("method", pellucid.METHODS)
def test_a_function_may_change_its_input_in_place(method: str) -> None:
    x, x0 = torch.randn(2, 3), torch.randn(2, 3)
    before = x.clone(), x0.clone()
    a = attribute(lambda t: t.mul_(2).tanh_().sum(1), x, x0, method=method)
    b = attribute(lambda t: (t * 2).tanh().sum(1), x, x0, method=method)
    torch.testing.assert_close(a.values, b.values)
    assert torch.equal(x, before[0]) and torch.equal(x0, before[1])


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "shapley", "occlusion"])
def test_a_function_may_change_what_else_it_takes_in_place(method: str) -> None:
    f = lambda x, m: (x * m.add_(1).clone()).sum(-1)
    x, m = torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3)
    a = pellucid.attribute(f, x, method=method, args=(m,))
    assert torch.allclose(a.values, 2 * x) and a.output.item() == 12
    assert (m == 1).all()


@pytest.mark.parametrize("method", ["shapley", "occlusion", "partition_shap"])
def test_rows_whose_elements_stay_are_those_of_each_alone(method: str) -> None:
    f = lambda x: (x * torch.tensor([1.0, -2.0, 0.5])).sum(-1).tanh()
    x, groups = torch.tensor([[1.0, 0.3, 2.0], [0.2, 0.1, -1.0]]), torch.tensor([[0, 1, -1]])
    together = pellucid.attribute(f, x, method=method, groups=groups)
    alone = [pellucid.attribute(f, row[None], method=method, groups=groups).values for row in x]
    assert torch.allclose(together.values, torch.cat(alone), atol=1e-6)


@pytest.mark.parametrize("method", pellucid.METHODS)
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_inside_a_context_without_gradients(context: Any, method: str) -> None:
    net, x, weight = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), torch.randn(2, 3), torch.ones(2, 2)
    f = lambda x, w: net(x) * w
    expected = attribute(f, x, method=method, target=1, args=weight)
    with context():
        inside = attribute(f, x.clone(), method=method, target=1, args=weight.clone())
        assert torch.is_inference_mode_enabled() == (context is torch.inference_mode)
        x, weight = x.clone(), weight.clone()
    outside = attribute(f, x, x * 0, method=method, target=1, args=weight)
    torch.testing.assert_close(inside.values, expected.values)
    torch.testing.assert_close(outside.values, expected.values)


@pytest.mark.parametrize("method", pellucid.METHODS)
def test_inputs_of_one_number_a_row(method: str) -> None:
    f = lambda x, y: F.relu(F.relu(x - 1) - F.relu(y)) * 2
    pair, pair0 = (torch.tensor([3.0, 2.5]), torch.tensor([1.0, 0.2])), (0, torch.tensor([0.5]))
    wide = lambda x, y: f(x, y).sum(1)
    a = attribute(f, pair, pair0, method=method)
    b = attribute(wide, tuple(t[:, None] for t in pair), (0, torch.tensor([[0.5]])), method=method)
    for v, w in zip(a.values, b.values, strict=True):
        torch.testing.assert_close(v, w[:, 0])


def test_integers_may_be_removed_and_have_no_gradient() -> None:
    table = torch.randn(9)
    f = lambda ids: table[ids].sum(1) ** 2
    ids = torch.tensor([[1, 2, 3], [4, 4, 8]])
    for method in ("shapley", "occlusion", "kernel_shap", "feature_ablation"):
        a = attribute(f, ids, method=method)
        b = attribute(lambda e: e.sum(1) ** 2, table[ids], table[0].item(), method=method)
        torch.testing.assert_close(a.values, b.values)
    assert attribute(lambda t: t.float().sum(1), ids > 2, method="occlusion").values.dtype == torch.float32
    with pytest.raises(InputError, match=r"fits torch\.int64"):
        attribute(f, ids, 0.5, method="occlusion")


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
    with pytest.raises(GraphMismatch, match="same operations"):
        attribute(swapped, (torch.ones(1, 3), torch.ones(1, 3)), (-torch.ones(1, 3), torch.zeros(1, 3)))


def test_a_cut_graph() -> None:
    constant = lambda x: torch.tensor([1.0, 2.0])
    for cut in (
        constant,
        lambda x: x.detach().sum(1),
        lambda x: torch.tensor(x.sum(1).tolist(), requires_grad=True),
    ):
        for method in ("deeplift", "saliency", "input_x_gradient", "integrated_gradients", "smoothgrad"):
            few = cut is constant and method == "smoothgrad"  # which asks for 50 rows, and gets two
            with pytest.raises(UnknownTarget if few else CutGraph, match="one scalar per row" if few else "autograd"):
                attribute(cut, torch.randn(2, 3), method=method)


def attending(dropout: float) -> Callable[[Tensor], Tensor]:
    net = nn.MultiheadAttention(3, 1, dropout=dropout, batch_first=True)
    return lambda x: net(x[:, None], x[:, None], x[:, None])[0][:, 0]


def recurrent(dropout: float) -> Callable[[Tensor], Tensor]:
    net = nn.LSTM(3, 3, 2, dropout=dropout, batch_first=True)
    return lambda x: net(x[:, None])[0][:, 0]


IN_TRAINING: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "dropout": lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)),
    "batch_norm": lambda: nn.BatchNorm1d(3),
    "rrelu": nn.RReLU,
    "multi_head_attention_forward": lambda: attending(0.5),
    "lstm": lambda: recurrent(0.5),
    "scaled_dot_product_attention": lambda: lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.1),
}


@pytest.mark.parametrize("name", IN_TRAINING)
@pytest.mark.parametrize("method", pellucid.METHODS)
def test_training_mode_is_refused_where_it_makes_a_difference(name: str, method: str) -> None:
    f = IN_TRAINING[name]()
    with pytest.raises(UnsupportedOperation, match=rf"{name} .*(\.eval\(\)|give it dropout_p=0)"):
        attribute(f, torch.randn(2, 3), target=0, method=method)
    if isinstance(f, nn.BatchNorm1d):
        assert f.running_mean is not None and not f.running_mean.any()


def test_training_mode_makes_no_difference_without_dropout() -> None:
    for f in (attending(0.0), recurrent(0.0), nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.0))):
        assert attribute(f, torch.randn(2, 3), target=0).delta.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("x", "x0", "match"),
    [
        (torch.ones(2, 3).long(), None, "float tensor"),
        ((torch.ones(2, 3), torch.ones(3, 3)), None, "rows"),
        (torch.ones(0, 3), None, "rows"),
        (torch.ones(2, 0), None, "elements"),
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
    for outputs, target, expected in (
        (lambda x: x, 7, r"shape \(2, 3\) for 2 rows, .*target=7 .*an index from 0 to 2"),
        (lambda x: x, "positive", r"target='positive' .*an index from 0 to 2"),
        (lambda x: x, [0, 1, 2], "a list of 2 such, one for each row"),
        (lambda x: x.sum(1), 1, "one scalar per row already. Leave target out"),
        (lambda x: x[:, None], 1, r"a tuple of 2 indices, each below its place in \(1, 3\), such as \(0, 0\)"),
    ):
        with pytest.raises(UnknownTarget, match=expected):
            attribute(outputs, x, target=target)
    with pytest.raises(UnknownTarget, match="rows first"):
        attribute(lambda x: x.sum(), x)
    with pytest.raises(UnknownTarget, match="dict"):
        attribute(lambda x: {"a": x}, x, target=0)
    with pytest.raises(NonFiniteOutput, match="nan"):
        attribute(lambda x: (x * torch.nan).sum(1), x)
    with pytest.raises(NonFiniteOutput, match="gradient"):
        attribute(lambda x: x.sqrt().sum(1), torch.zeros(2, 3), method="saliency")


def test_what_does_not_add_up_is_not_called_exact() -> None:
    w = torch.randn(4, dtype=torch.float64)

    def hidden(x: Tensor) -> Tensor:
        with torch.no_grad():
            kept_from_autograd = x.exp().sum(1)
        return x @ w + kept_from_autograd

    x = torch.tensor([[1.0, 2.0, 0.5, -1.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    a = attribute(hidden, x, 0.0)
    assert a.status == "inexact" and a.row_status == ("inexact", "exact")
    assert attribute(lambda x: x @ w, x, 0.0).status == "exact"


def test_targets_that_do_not_fit_into_one_walk_take_several(monkeypatch: pytest.MonkeyPatch) -> None:
    from pellucid.methods import METHODS, graphs

    f = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.LayerNorm(8), torch.nn.Linear(8, 5))
    selects = tuple(lambda out, rows, k=k: out[:, k] for k in range(5))
    problem = Problem(f.double(), (torch.rand(3, 4).double(),), (torch.zeros(3, 4).double(),), lambda outputs: selects)
    together = METHODS["deeplift"].solve(problem)
    monkeypatch.setattr(graphs, "AT_ONCE", 2)
    monkeypatch.setattr(graphs, "batch_size", lambda problem: 1)
    for a, b in zip(together, METHODS["deeplift"].solve(problem), strict=True):
        torch.testing.assert_close(a.values, b.values)
        assert a.delta.abs().max() < 1e-12


def test_recurrent_kernels_are_unfused_where_flags_may_not_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends, "__allow_nonbracketed_mutation_flag", False)  # as `disable_global_flags`
    net, before = nn.LSTM(3, 4, batch_first=True).double(), torch.backends.mkldnn.enabled
    x = torch.rand(2, 5, 3).double()
    a = attribute(lambda x: net(x)[0][:, -1, 0], x, 0.0)
    assert a.delta.abs().max() < 1e-12 and torch.backends.mkldnn.enabled == before


MIXING = {
    "z-scores over the batch": lambda a: (a - a.mean(0)) / a.std(0),
    "softmax over the batch": lambda a: a.softmax(0),
    "all pairs of rows": lambda a: a @ a.T,
    "each row and those after it": lambda a: a.flip(0).cumsum(0).flip(0).tanh(),
}


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "shapley", "saliency", "gradient_shap"])
def test_a_function_that_mixes_rows_is_refused(name: str, method: str) -> None:
    x, x0 = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    with pytest.raises(InputError, match="gives each row the output that it has alone"):
        attribute(MIXING[name], x, x0, target=0, method=method)


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "shapley", "kernel_shap", "occlusion"])
def test_one_row_of_a_function_that_mixes_rows_goes_alone(method: str) -> None:
    f = lambda a: a.softmax(0).mul(a).sum(-1).tanh()
    x, x0 = torch.randn(1, 4, dtype=torch.float64), torch.randn(1, 4, dtype=torch.float64)
    a = attribute(f, x, x0, method=method)
    assert a.output.item() == pytest.approx(f(x).item(), abs=1e-12)
    assert a.baseline_output.item() == pytest.approx(f(x0).item(), abs=1e-12)
    if method != "occlusion":
        assert a.values.sum().item() == pytest.approx((f(x) - f(x0)).item(), abs=1e-2 if "grad" in method else 1e-9)


@pytest.mark.parametrize("method", ["integrated_gradients", "shapley", "occlusion", "expected_gradients"])
def test_a_tensor_of_the_batch_inside_the_function_belongs_to_its_arguments(method: str) -> None:
    x, y = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    with pytest.raises(InputError, match=r"takes 3 rows, and not \d+.*args=\(y,\)"):
        attribute(lambda a: F.cosine_similarity(a, y), x, 0.1, method=method)
    a = attribute(F.cosine_similarity, x, 0.1, method=method, args=(y,))
    torch.testing.assert_close(a.output, F.cosine_similarity(x, y))


def test_a_tensor_of_the_batch_inside_the_function_does_not_matter_to_deeplift() -> None:
    x, y = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    a = attribute(lambda a: F.cosine_similarity(a, y), x, 0.1)
    change = F.cosine_similarity(x, y) - F.cosine_similarity(torch.full_like(x, 0.1), y)
    torch.testing.assert_close(a.values.sum(1), change)


def test_where_the_function_has_no_value_is_said() -> None:
    x = torch.randn(2, 3) + 5
    z = lambda a: (a - a.mean(-1, keepdim=True)) / a.std(-1, keepdim=True)
    for method in ("deeplift", "integrated_gradients", "shapley", "saliency"):
        with pytest.raises(NonFiniteOutput, match=r"nan at the baseline.* in row 0.*choose another baseline"):
            attribute(z, x, 0.0, target=0, method=method)
    x[1, 0] = torch.nan
    with pytest.raises(NonFiniteOutput, match="at the input, in row 1"):
        attribute(lambda a: a.sum(-1), x, 0.0)


NOT_DENSE = {
    "sparse": lambda x: x.to_sparse(),
    "compressed rows": lambda x: x.to_sparse_csr(),
    "nested": lambda x: torch.nested.nested_tensor([x[0], x[1]]),
    "meta": lambda x: x.to("meta"),
    "quantised": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
    "complex": lambda x: torch.complex(x, x),
}


@pytest.mark.filterwarnings("ignore:.*(prototype|beta|quantize)")
@pytest.mark.parametrize("name", NOT_DENSE)
@pytest.mark.parametrize("method", ["deeplift", "saliency", "shapley"])
def test_an_input_that_is_no_dense_tensor_of_numbers_is_refused(name: str, method: str) -> None:
    with pytest.raises(InputError, match="expected a dense float tensor with rows first"):
        attribute(lambda a: a @ torch.ones(3, 1), NOT_DENSE[name](torch.randn(2, 3)), method=method, target=0)


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "saliency"])
def test_a_function_that_runs_without_gradients_only_is_told_apart_from_one_that_fails(method: str) -> None:
    def forward_only(a: Tensor) -> Tensor:  # as flex_attention on a CPU
        if a.requires_grad:
            raise NotImplementedError("no backward pass on this device")
        return a.sum(-1)

    x = torch.randn(2, 3)
    with pytest.raises(UnsupportedOperation, match=r"runs by itself.*no backward pass.*shapley"):
        attribute(forward_only, x, method=method)
    assert attribute(forward_only, x, method="shapley").values.sum(1).tolist() == pytest.approx(x.sum(1).tolist())
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        attribute(lambda a: a @ torch.ones(4, 1), x, method=method, target=0)


def test_complex_outputs_are_refused() -> None:
    x = torch.randn(2, 3)
    with pytest.raises(UnknownTarget, match="complex"):
        attribute(lambda a: torch.complex(a, a).sum(-1), x, 0.5)
    f = lambda a: torch.complex(a, 2 * a).sum(-1).real
    torch.testing.assert_close(attribute(f, x, 0.5).values, x - 0.5)


def test_what_is_no_function_and_no_method_is_said() -> None:
    with pytest.raises(InputError, match="Found a str as the function"):
        attribute("f", torch.ones(1, 2))  # type: ignore[arg-type]
    with pytest.raises(UnknownMethod, match="deeplift"):
        attribute(lambda a: a.sum(-1), torch.ones(1, 2), method=["deeplift", "shapley"])  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["integrated_gradients", "input_x_gradient", "shapley"])
def test_a_gradient_inside_the_function_is_the_functions_own(method: str) -> None:
    slope = torch.func.grad(lambda t: t.pow(3).sum())
    f = lambda a: (a + slope(a)).sum(-1)
    x = torch.randn(2, 4, dtype=torch.float64)
    a = attribute(f, x, method=method)
    torch.testing.assert_close(a.output, (x + 3 * x * x).sum(-1))
    expected = x + 6 * x * x if method == "input_x_gradient" else x + 3 * x * x
    torch.testing.assert_close(a.values, expected, rtol=1e-2, atol=1e-2)


def test_scores_that_cancel_on_no_change_are_not_exact_where_rounding_is_left() -> None:
    """Z-scores of a constant row: each score is some 10⁸, and their sum is nothing."""
    f = lambda a: ((a - a.mean(-1, keepdim=True)) / (a.std(-1, keepdim=True) + 1e-8))[:, 0]
    a = attribute(f, torch.tensor([[0.3, -0.7, 1.2], [0.1, 0.1, 0.1]]))
    off = (a.values.double().sum(1) - f(torch.tensor([[0.3, -0.7, 1.2], [0.1, 0.1, 0.1]]))).abs()
    for status, left in zip(a.row_status or (a.status,) * 2, off.tolist(), strict=True):
        assert (status == "exact") == (left <= 1e-4)
