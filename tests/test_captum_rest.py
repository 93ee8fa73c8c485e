"""Relevance propagation, plots, data loaders and language models in Captum's form, against formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pellucid import captum as ours
from pellucid.errors import ArgumentError, CutGraph


def test_the_epsilon_rule_follows_its_formula() -> None:
    """Rⱼ = aⱼ Σₖ wₖⱼ Rₖ / (zₖ + ε sign zₖ), through a ReLU unchanged."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    x = torch.randn(5, 3).double()
    a, b = net[0], net[2]
    h = a(x).detach()
    z = b(h.relu()).detach()
    share = h.relu() * (b.weight[1] * (z[:, 1] / (z[:, 1] + 1e-9 * z[:, 1].sign()))[:, None])
    wanted = x * ((share / (h + 1e-9 * h.sign())) @ a.weight)
    found, delta = ours.LRP(net).attribute(x, target=1, return_convergence_delta=True)
    torch.testing.assert_close(found, wanted.detach())
    torch.testing.assert_close(delta, z[:, 1] - found.sum(1))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_module_that_is_used_twice_has_no_relevance() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.linear(x))

    with pytest.raises(RuntimeError, match="more than once"):
        ours.LRP(Twice()).attribute(torch.ones(1, 2), target=0)


def test_each_point_goes_alone_where_a_function_returns_one_number() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = torch.randn(1, 3)
    wanted = ours.IntegratedGradients(net).attribute(x, target=1)
    found = ours.IntegratedGradients(lambda x: net(x)[0][1].unsqueeze(0)).attribute(x)
    torch.testing.assert_close(found, wanted)
    layer = ours.LayerConductance(lambda x: net(x)[0][1].unsqueeze(0), net[1]).attribute(x)
    torch.testing.assert_close(layer, ours.LayerConductance(net, net[1]).attribute(x, target=1))


def test_an_output_made_anew_is_one_clear_error() -> None:
    f = lambda x: torch.tensor([x.detach().sum().item()], requires_grad=True)
    with pytest.raises(CutGraph, match="makes its output anew"):
        ours.IntegratedGradients(f).attribute(torch.ones(1, 3))


def test_a_data_loader_is_ablated_as_one_batch() -> None:
    x = torch.randn(5, 3)
    f = lambda x: x[:, 0] * x[:, 1] + x[:, 2]
    whole = ours.FeatureAblation(f).attribute(x)
    parts = ours.DataLoaderAttribution(ours.FeatureAblation(f)).attribute(x.split(2))
    torch.testing.assert_close(parts, whole)


def test_a_feature_of_integers_takes_its_baseline_of_floats() -> None:
    x = torch.tensor([[2, 3]])
    assert ours.FeatureAblation(lambda x: x.float().sum(1)).attribute(x, 0.5).tolist() == [[1.5, 2.5]]


class Bag(nn.Module):
    """A language model whose logits at a place depend on all tokens, later ones too, unless it is causal."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.causal, self.calls = nn.Embedding(10, 10), causal, 0

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        self.calls += 1
        e = self.table(input_ids)
        seen = e.cumsum(1) if self.causal else e.sum(1, keepdim=True).expand_as(e)
        return type("Output", (), {"logits": seen})


class Letters:
    """One token for each digit."""

    def encode(self, text: str, add_special_tokens: bool = True, return_tensors: str | None = None) -> Any:
        ids = [int(c) for c in text]
        return torch.tensor([ids]) if return_tensors else ids

    def decode(self, ids: Any) -> str:
        return "".join(str(int(i)) for i in ids)


@pytest.mark.parametrize("causal", [True, False])
def test_log_probabilities_are_those_of_token_after_token(causal: bool) -> None:
    model = Bag(causal)
    text = ours.TextTemplateInput("{}{}5", ["1", "2"], baselines=["3", "4"])
    found = ours.LLMAttribution(ours.FeatureAblation(model), Letters()).attribute(text, target="678")
    log_p = lambda ids, token: model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)[token]
    each = lambda start: torch.stack([log_p([*start, *[6, 7, 8][:k]], [6, 7, 8][k]) for k in range(3)])
    wanted = torch.stack([each([1, 2, 5]) - each([3, 2, 5]), each([1, 2, 5]) - each([1, 4, 5])], 1)
    assert found.token_attr is not None
    torch.testing.assert_close(found.token_attr, wanted.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.seq_attr, wanted.sum(0).detach(), atol=1e-5, rtol=1e-5)
    assert found.output_tokens == ["6", "7", "8"]


def test_plots_draw_what_is_asked_for() -> None:
    pytest.importorskip("matplotlib")
    view = ours.visualization
    attr, image = np.linspace(-1, 1, 48).reshape(4, 4, 3), np.random.default_rng(0).random((4, 4, 3))
    for method in ("heat_map", "blended_heat_map", "original_image", "masked_image", "alpha_scaling"):
        _, axes = view.visualize_image_attr(attr, image, method, "positive", show_colorbar=True, use_pyplot=False)
        assert len(axes.images) == (2 if method == "blended_heat_map" else 1)
    _, axes = view.visualize_image_attr(attr, sign="all", use_pyplot=False)
    assert np.abs(axes.images[0].get_array()).max() == 1
    _, both = view.visualize_image_attr_multiple(attr, image, ["heat_map"] * 2, ["all"] * 2, use_pyplot=False)
    assert len(both) == 2
    for method, count in (("overlay_individual", 3), ("overlay_combined", 1), ("colored_graph", 3)):
        figure, _ = view.visualize_timeseries_attr(attr[0], image[0], method=method, use_pyplot=False)
        assert len(figure.axes) == count
    with pytest.raises(ArgumentError, match="expected one of heat_map"):
        view.visualize_image_attr(attr, image, "heatmap", use_pyplot=False)


def test_several_outputs_of_one_row_are_summed() -> None:
    """`lambda ids: model(ids)[0][0]` gives all logits of the first row, as in published notebooks."""
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x, how = torch.randn(1, 3), {"return_convergence_delta": True, "n_steps": 20}
    wanted = sum(ours.LayerIntegratedGradients(net, net[0]).attribute(x, target=t, n_steps=20) for t in (0, 1))
    found, delta = ours.LayerIntegratedGradients(lambda x: net(x)[0], net[0]).attribute(x, **how)
    torch.testing.assert_close(found, wanted)
    assert delta.abs() < 1e-5


def test_a_layer_of_one_tensor_in_a_tuple_a_module_used_twice_and_integers_are_as_captum_has_them() -> None:
    peer, own = pytest.importorskip("captum.attr"), ours

    class One(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.last = torch.nn.Linear(4, 4), torch.nn.Linear(4, 3)
            self.block = Block(self.a)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.relu(self.a(self.block(x)[0])))

    class Block(torch.nn.Module):
        def __init__(self, a: torch.nn.Linear) -> None:
            super().__init__()
            self.a = a

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (torch.tanh(self.a(x)),)

    net, x, whole = One(), torch.rand(2, 4, requires_grad=True), torch.tensor([[1, 2, 0, 3], [0, 1, 1, 2]])
    floats = lambda x: net(x.float())
    for name, call in {
        "LayerActivation": lambda of: of.LayerActivation(net, net.block).attribute(x),
        "LayerConductance": lambda of: of.LayerConductance(net, net.block).attribute(x, target=1),
        "NeuronGradient": lambda of: of.NeuronGradient(net, net.a).attribute(x, 1),
        "NeuronIntegratedGradients": lambda of: of.NeuronIntegratedGradients(net, net.a).attribute(x, 1),
        "integers": lambda of: of.LayerConductance(floats, net.last).attribute(whole, target=1),
        "one row": lambda of: of.Lime(floats).attribute(x[:1], target=1, return_input_shape=False).sign() * 0,
    }.items():
        torch.manual_seed(1)
        mine = call(own)
        torch.manual_seed(1)
        torch.testing.assert_close(mine, call(peer), msg=name)


_MOVED = {
    "IntegratedGradients": {},
    "DeepLift": {},
    "DeepLiftShap": {"baselines": torch.tensor([[0, 0, 0], [1, 1, 1]])},
    "GradientShap": {"baselines": torch.tensor([[0, 0, 0], [1, 1, 1]])},
}
_AT_A_LAYER = ("LayerConductance", "InternalInfluence")
_OF_A_NEURON = ("NeuronConductance", "NeuronIntegratedGradients", "NeuronGradient", "NeuronDeepLift")


@pytest.mark.parametrize("name", _MOVED)
def test_whole_numbers_are_explained_as_floats_where_the_function_takes_these(name: str) -> None:
    torch.manual_seed(0)
    net, x, seen = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), torch.tensor([[1, 2, 3], [4, 5, 6]]), {}
    for kind in (torch.int64, torch.float32):
        np.random.seed(0)
        given = {k: v.to(kind) for k, v in _MOVED[name].items()}
        f = lambda x: net(x.float())
        found = getattr(ours, name)(f).attribute(x.to(kind), target=1, return_convergence_delta=True, **given)
        seen[kind] = found
    torch.testing.assert_close(seen[torch.int64], seen[torch.float32])
    assert seen[torch.int64][0].abs().min() > 0


@pytest.mark.parametrize("name", [*_MOVED, *_AT_A_LAYER, *_OF_A_NEURON, "Saliency", "GuidedBackprop", "LRP"])
def test_ids_where_floats_are_needed_are_one_clear_error(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2))
    if name == "LRP":
        net[0].rule = net[1].rule = ours.EpsilonRule()
    ids, given = torch.tensor([[1, 2, 3], [4, 5, 6]]), dict(_MOVED.get(name, {}))
    if name in _OF_A_NEURON:
        given["neuron_selector"] = 0
    if name not in _OF_A_NEURON or name == "NeuronConductance":
        given["target"] = 1
    made = (net, net[2]) if name in (*_AT_A_LAYER, *_OF_A_NEURON) else (net,)
    with pytest.raises(ArgumentError, match=r"Input 0 is a tensor of torch.int64.*expected floats.*embedding layer"):
        getattr(ours, name)(*made).attribute(ids, **given)
