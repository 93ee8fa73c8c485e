"""Faults of Captum's names that were wrong in silence, and mistakes that newcomers make: each with the right answer."""

from __future__ import annotations

import copy
import operator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import pellucid
from pellucid import captum as ours


class Counting(nn.Module):
    """A network that counts up before a layer and down behind it, and looks at the count in between."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.layer, self.last = (nn.Linear(6, 6) for _ in range(3))
        self.depth = 0

    def forward(self, x: Tensor) -> Tensor:
        self.depth += 1
        h = self.layer(self.first(x).tanh() * self.depth)
        y = self.last(h.tanh() + x)
        self.depth -= 1
        return y


@pytest.mark.parametrize("rows", [2, 60])
def test_a_pass_goes_to_its_end_and_leaves_no_model_changed(rows: int) -> None:
    torch.manual_seed(0)
    net, x = Counting(), torch.randn(rows, 6)
    for ask in (
        lambda: ours.LayerDeepLift(net, net.layer).attribute(x, target=1),
        lambda: ours.NeuronDeepLift(net, net.layer).attribute(x, 0),
        lambda: ours.NeuronIntegratedGradients(net, net.layer).attribute(x, 0),
    ):
        first = ask()
        torch.testing.assert_close(ask(), first)
        assert net.depth == 0


class Written(nn.Module):
    """A network that bounds its weights in each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last, self.weight = nn.Linear(4, 5), nn.Linear(5, 2), nn.Parameter(torch.randn(5, 5) * 9)

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data = torch.renorm(self.weight.data, 2, 0, maxnorm=0.5)
        return self.last(self.layer(x).tanh() @ self.weight).tanh()


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("rows", [2, 200])
def test_parameters_are_written_themselves(trained: bool, rows: int) -> None:
    torch.manual_seed(0)
    x, written = torch.randn(rows, 4), Written().requires_grad_(trained)
    with torch.no_grad():
        change = (copy.deepcopy(written)(x) - copy.deepcopy(written)(x * 0))[:, 1]
    for ask in (lambda net: ours.DeepLift(net), lambda net: ours.LayerDeepLift(net, net.layer)):
        found = ask(copy.deepcopy(written)).attribute(x, target=1)
        torch.testing.assert_close(found.sum(1), change, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [2, 200])
def test_a_value_that_was_lost_is_missed(rows: int) -> None:
    torch.manual_seed(0)
    first, last, x = nn.Linear(3, 4), nn.Linear(4, 2), torch.randn(rows, 3)
    f: Any = lambda x: last(first(x).tanh() + nn.functional.one_hot(first(x).argmax(1), 4) * 0.3)
    with pytest.raises(pellucid.errors.GraphMismatch, match="such as ShapleyValueSampling"):
        ours.DeepLift(f).attribute(x, target=1)


def test_a_layer_that_checkpointing_runs_again_is_refused() -> None:
    block, last = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)), nn.Linear(3, 2)
    f: Any = lambda x: last(checkpoint(block, x, use_reentrant=False) + x)
    for rows in (2, 200):
        with pytest.raises(pellucid.errors.UnsupportedModel, match="checkpointing"):
            ours.LayerDeepLift(f, block[0]).attribute(torch.randn(rows, 3), target=1)
        found = ours.LayerDeepLift(f, last).attribute(torch.randn(rows, 3), target=1)
        assert found.shape == (rows, 2)


class Addition_Module(nn.Module):
    """As Captum's own, which is told by its name."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


SUMS: dict[str, Any] = {
    "a + b": lambda a, b: a + b,
    "a += b": lambda a, b: operator.iadd(a, b),
    "a.add_(b)": lambda a, b: a.add_(b),
    "torch.add": lambda a, b: torch.add(a, b, alpha=0.5),
    "a - b": lambda a, b: a - b,
    "a -= b": lambda a, b: operator.isub(a, b),
    "of several": lambda a, b: a + b + a,
    "spread": lambda a, b: a + b.mean((2, 3), keepdim=True),
}


@pytest.mark.parametrize("name", [*SUMS, "Captum's module"])
def test_relevance_is_shared_by_the_terms_of_a_sum(name: str) -> None:
    """Without biases the relevances of a residual network sum to its output."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = (nn.Conv2d(n, 4, 3, padding=1, bias=False) for n in (3, 4))
            self.relu, self.pool, self.last = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2, bias=False)
            self.plus = Addition_Module()

        def forward(self, x: Tensor) -> Tensor:
            h = self.relu(self.one(x))
            return self.last(self.pool(SUMS.get(name, self.plus)(self.two(h), h)).flatten(1))

    torch.manual_seed(0)
    net, x = Residual().double(), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    found, delta = ours.LRP(net).attribute(x, target=1, return_convergence_delta=True)
    torch.testing.assert_close(found.flatten(1).sum(1), net(x)[:, 1].detach(), rtol=1e-5, atol=1e-9)
    assert delta.abs().max() < 1e-7


NET = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
MISTAKES: dict[str, tuple[Any, str]] = {
    "three targets for two rows": (
        lambda: ours.IntegratedGradients(NET).attribute(torch.ones(2, 4), target=[0, 1, 2]),
        "Found 3 targets for 2 rows",
    ),
    "a class of one number": (
        lambda: ours.Saliency(lambda x: NET(x)[:, 0]).attribute(torch.ones(2, 4), target=1),
        "expected none: the output is one number",
    ),
    "a layer by its path": (lambda: ours.LayerDeepLift(NET, "0"), "expected a module of the model"),
    "one baseline for two values": (
        lambda: ours.TextTemplateInput("{} in {}", ["a", "b"], baselines=["c"]),
        "expected one for each of the values",
    ),
    "noise on ids": (
        lambda: ours.sensitivity_max(lambda t: t[0].float(), torch.ones(1, 4).long()),
        "noise cannot be added to ids",
    ),
    "a whole number": (
        lambda: ours.Saliency(lambda x: NET(x).argmax(1)).attribute(torch.ones(2, 4)),
        "as argmax gives",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_of_newcomers_say_what_to_change(name: str) -> None:
    work, message = MISTAKES[name]
    with pytest.raises(pellucid.PellucidError, match=message):
        work()


def test_other_names_stay_captums_and_arrays_are_targets() -> None:
    with pytest.raises(ImportError, match=r"from captum\.attr import LayerGradCam"):
        exec("from pellucid.captum import LayerGradCam")
    assert not hasattr(ours, "Nothing")
    x = torch.randn(2, 4)
    for method in (ours.Saliency(NET), ours.IntegratedGradients(NET)):
        wanted = method.attribute(x, target=[2, 0])
        assert torch.equal(method.attribute(x, target=np.array([2, 0])), wanted)
    record = ours.visualization.VisualizationDataRecord(
        torch.tensor([0.1, 0.2]), torch.tensor(0.9), torch.tensor(1), torch.tensor(0), "x", 0.3, ["a", "b"], 0.1
    )
    assert "0 | 1 (0.90) | x" in ours.visualization.visualize_text([record]).text
