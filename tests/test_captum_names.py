"""Captum's names over Pellucid, on toy functions whose answers are known, and beside Captum itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from browser import browser
from pellucid import captum as ours
from pellucid.errors import ArgumentError, CutGraph


class ReluDifference(nn.Module):
    """relu(relu(x1) − 1 − relu(x2)), the example of the paper on integrated gradients."""

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return torch.relu(torch.relu(x1) - 1 - torch.relu(x2))


def test_integrated_gradients_reproduces_the_published_case() -> None:
    x = (torch.tensor([3.0]), torch.tensor([1.0]))
    values, delta = ours.IntegratedGradients(ReluDifference()).attribute(x, n_steps=500, return_convergence_delta=True)
    assert [round(v.item(), 2) for v in values] == [1.5, -0.5]
    assert delta.abs().item() < 0.01


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.Softmax(-1))


def test_deeplift_adds_up_for_every_target() -> None:
    torch.manual_seed(1)
    model, x = net(), torch.randn(5, 3)
    for target in (0, 1):
        values = ours.DeepLift(model).attribute(x, target=target)
        change = (model(x) - model(torch.zeros_like(x)))[:, target]
        assert torch.allclose(values.sum(1), change, atol=1e-6)


def test_a_row_of_deeplift_does_not_depend_on_its_batch() -> None:
    model, x = net(), torch.randn(5, 3)
    whole = ours.DeepLift(model).attribute(x, target=0)
    assert torch.allclose(ours.DeepLift(model).attribute(x[2:3], target=0), whole[2:3], atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["Saliency", "InputXGradient", "GuidedBackprop", "Deconvolution"])
def test_gradient_classes_agree_with_captum(name: str) -> None:
    peer = pytest.importorskip("captum.attr")
    model, x = net(), torch.randn(5, 3)
    expected = getattr(peer, name)(model).attribute(x.clone().requires_grad_(), target=1)
    assert torch.allclose(getattr(ours, name)(model).attribute(x, target=1), expected, atol=1e-7)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["LayerConductance", "LayerIntegratedGradients", "LayerGradientXActivation"])
def test_layer_classes_agree_with_captum(name: str) -> None:
    peer = pytest.importorskip("captum.attr")
    model, x = net(), torch.randn(5, 3)
    expected = getattr(peer, name)(model, model[1]).attribute(x.clone().requires_grad_(), target=1)
    assert torch.allclose(getattr(ours, name)(model, model[1]).attribute(x, target=1), expected, atol=1e-6)


def test_ablation_and_shapley_values_of_a_product() -> None:
    f = lambda x: x[:, 0] * x[:, 1] + x[:, 2]
    x = torch.tensor([[2.0, 3.0, 5.0]])
    assert ours.FeatureAblation(f).attribute(x).tolist() == [[6.0, 6.0, 5.0]]
    assert ours.ShapleyValues(f).attribute(x).tolist() == [[3.0, 3.0, 5.0]]
    assert ours.KernelShap(f).attribute(x, n_samples=200).sum().item() == pytest.approx(11, abs=1e-3)
    assert torch.allclose(ours.KernelShap(lambda x: x.sum(1)).attribute(x, n_samples=50), x, atol=1e-3)


def test_a_detached_output_says_what_to_change() -> None:
    f = lambda x: torch.tensor([x.detach().sum().item()])
    with pytest.raises(CutGraph, match=r"torch\.tensor"):
        ours.Saliency(f).attribute(torch.ones(1, 2))


def test_ids_say_what_to_take_instead() -> None:
    with pytest.raises(ArgumentError, match="LayerIntegratedGradients"):
        ours.IntegratedGradients(nn.Embedding(3, 2)).attribute(torch.tensor([[1]]), target=0)


def test_importing_the_names_imports_neither_captum_nor_transformers() -> None:
    code = "import sys, pellucid.captum; print([n for n in ('captum', 'transformers') if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_visualized_text_is_escaped_and_has_the_convergence_score() -> None:
    record = ours.visualization.VisualizationDataRecord(
        torch.tensor([0.5, -0.5]), 0.9, "<b>", 1, "pos", 0.0, ["<script>", "ok"], 0.125
    )
    shown = ours.visualization.visualize_text([record])
    page = shown._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page and "<b>" not in page
    assert "0.125" in page and "0.125" in str(shown)


def test_the_pieces_of_a_table_of_ones_own_are_escaped_and_coloured() -> None:
    v = ours.visualization
    cell = v.format_word_importances(["<b>", "ok"], torch.tensor([0.5, -0.5]))
    assert cell.startswith("<td") and "&lt;b&gt;" in cell and "<b>" not in cell and cell.count("<mark") == 2
    assert v.format_word_importances([], None) == "<td></td>"
    assert "&lt;i&gt;" in v.format_classname("<i>") and "&quot;" in v.format_tooltip("a", '"')
    assert [v.format_special_tokens(t) for t in ("<s>", "ok")] == ["#s", "ok"]
    with pytest.raises(ArgumentError, match="1 attributions for 2 words"):
        v.format_word_importances(["a", "b"], [1.0])


def test_visualized_text_in_a_narrow_window_scrolls_alone_keeps_spaces_and_begins_where_its_script_does() -> None:
    texts = [["two   spaces", "</td>"], ["الفيلم", "رائع"], ["word" * 50, "ok"]]
    record = ours.visualization.VisualizationDataRecord
    shown = ours.visualization.visualize_text(
        [record([0.5, -0.5], 0.9, "A", "A", "A", 0.0, words, 0.0) for words in texts], legend=False
    )
    with browser() as running:
        page = running.new_page(viewport={"width": 390, "height": 700})
        page.set_content(shown.data)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        marks = page.locator("mark")
        assert [marks.nth(i).inner_text() for i in range(2)] == texts[0]
        first, second = (marks.nth(i).bounding_box()["x"] for i in (2, 3))
        assert first > second, "an Arabic text begins on the right"
