"""Answers that could be wrong and add up all the same: each is refused, right, or says so."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertPreTrainedModel

import pellucid
from families import model, tokenizer
from pellucid import Model, attribute
from pellucid.errors import GraphMismatch, InputError, UnknownTarget, UnsupportedModel, UnsupportedOperation

FIRST, SECOND = "a dull film", "a good film"


def word(text: str) -> int:
    return tokenizer()(text, add_special_tokens=False)["input_ids"][0]


class Net(nn.Module):
    """Reads `body(net, ids)`, (rows, 16), made of its tables `e` and `e2`."""

    def __init__(self, body: Callable[[Any, Tensor], Tensor]):
        super().__init__()
        torch.manual_seed(0)
        self.e, self.e2, self.out, self.body = nn.Embedding(100, 16), nn.Embedding(100, 16), nn.Linear(16, 2), body
        self.register_buffer("bonus", (torch.arange(100) == word("good")).float().unsqueeze(1))
        self.config = SimpleNamespace(id2label={0: "no", 1: "yes"}, num_labels=2)
        self.eval()

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.out(self.body(self, input_ids))


# ---------------------------------------------------------------------------------- the model's own forward pass

BY_HAND: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "compared": lambda net, i: (i == word("good")).any(1).float(),
    "stacked": lambda net, i: (torch.stack([i, i]) == word("good")).any(0).any(1).float(),
    "indexed": lambda net, i: net.bonus[i, 0].sum(1),  # pyright: ignore
    "data": lambda net, i: (i.data == word("good")).any(1).float(),
    "turned": lambda net, i: (word("good") == i.T).any(0).float(),
    "by name": lambda net, i: torch.eq(input=i, other=word("good")).any(1).float(),
}


@pytest.mark.parametrize("how", BY_HAND)
@pytest.mark.parametrize("together", [True, False])
def test_ids_that_are_read_by_hand_in_any_way_are_found_in_every_text(how: str, together: bool) -> None:
    m = Model(Net(lambda net, i: net.e(i).tanh().mean(1) + BY_HAND[how](net, i).unsqueeze(1)), tokenizer())
    with pytest.raises(UnsupportedModel, match="on the same ids"):
        pellucid.explain(m, [FIRST, SECOND] if together else FIRST, target=1)
        pellucid.explain(m, SECOND, target=1)


class Mine(BertPreTrainedModel):
    """A head of one's own on a model of transformers, which looks at the ids by itself."""

    def __init__(self, config: BertConfig):
        super().__init__(config)
        self.bert, self.classifier = BertModel(config), nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> tuple[Tensor]:
        h = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state[:, 0]
        return (self.classifier(h) + 5 * (input_ids == word("good")).any(1, keepdim=True).float(),)


class Around(nn.Module):
    """A model of transformers as the only part of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.net = model("Bert").float()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        own = self.net(input_ids, attention_mask=attention_mask).logits
        return own + 5 * (input_ids == word("good")).any(1, keepdim=True).float()


def _mine() -> Mine:
    return Mine(BertConfig(vocab_size=100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)).eval()


@pytest.mark.parametrize("make", [_mine, Around])
def test_a_network_made_of_one_of_transformers_is_the_users_own(make: Callable[[], nn.Module]) -> None:
    m = Model(make().eval(), tokenizer(), "text-classification")
    pellucid.explain(m, FIRST, "saliency", baseline="zero", target=1)
    with pytest.raises(UnsupportedModel, match="on the same ids"):
        pellucid.explain(m, [FIRST, SECOND], target=1)


def test_a_first_text_that_is_its_own_baseline_hides_no_other() -> None:
    m = Model(Net(lambda net, i: net.e(i).mean(1) + (i == word("good")).any(1, keepdim=True).float()), tokenizer())
    with pytest.raises(UnsupportedModel, match="on the same ids"):
        pellucid.explain(m, ["[MASK] [MASK] [MASK]", SECOND], target=1)


@pytest.mark.parametrize(("offset", "more"), [(0, 1e-3), (100, 0.02), (1000, 0.2)])
def test_a_large_output_hides_no_other_answer(offset: float, more: float) -> None:
    reads = lambda net, i: offset + net.e(i).mean(1) + more * (i == word("good")).any(1, keepdim=True).float()
    with pytest.raises(UnsupportedModel, match="on the same ids"):
        pellucid.explain(Model(Net(reads), tokenizer()), SECOND, target=1)


TOGETHER: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "either of two": lambda net, i: net.e2(((i[:, 1] > 4) | (i[:, 2] > 4)).long() * 2 + (i[:, 3] > 4).long()),
    "most of three": lambda net, i: net.e2(((i[:, 1:4] > 4).sum(1) >= 2).long() * 2 + (i[:, 1] > 4).long()),
}


@pytest.mark.parametrize("how", TOGETHER)
def test_tokens_that_matter_only_together_are_no_other_tokens(how: str) -> None:
    m = Model(Net(TOGETHER[how]), tokenizer())
    with pytest.raises(UnsupportedModel, match="single tokens"):
        pellucid.explain(m, SECOND, target=1)
    assert pellucid.explain(m, SECOND, "shapley", target=1).status == "exact"


def test_a_wrapper_that_spreads_a_model_over_devices_is_looked_through() -> None:
    net = model("Bert").float()
    m = Model(nn.DataParallel(net), tokenizer())
    assert m.labels == Model(net, tokenizer()).labels and m.labels
    np.testing.assert_array_equal(
        pellucid.explain(m, FIRST).scores, pellucid.explain(Model(net, tokenizer()), FIRST).scores
    )


def test_the_word_embeddings_are_a_place_like_any_other() -> None:
    m = Model(model("Bert").float(), tokenizer())
    name = next(n for n, part in m.model.named_modules() if part is m.embedding)
    plain, at = pellucid.explain(m, FIRST), pellucid.explain(m, FIRST, at=name)
    np.testing.assert_allclose(at.scores, plain.scores, atol=1e-6)
    assert at.baseline_output == pytest.approx(plain.baseline_output, abs=1e-6)
    layers = pellucid.explain(m, FIRST, at=[name], detail="layers").layers
    np.testing.assert_allclose(layers[0], plain.scores, atol=1e-6)  # pyright: ignore


def test_a_refused_call_changes_no_later_answer() -> None:
    m = Model(model("Bert").float(), tokenizer())
    before = pellucid.explain(m, FIRST, "saliency").scores
    with pytest.raises(InputError, match=r"Found at='bert.encoder'"):
        pellucid.explain(m, FIRST, at="bert.encoder")
    np.testing.assert_array_equal(pellucid.explain(m, FIRST, "saliency").scores, before)
    assert pellucid.explain(m, FIRST, detail="parts").parts


def test_an_operation_in_place_that_autograd_cannot_undo_is_named() -> None:
    def unit(net: Net, ids: Tensor) -> Tensor:
        h = net.e(ids)
        h /= h.norm(dim=-1, keepdim=True)
        return h.mean(1)

    with pytest.raises(UnsupportedOperation, match=r"runs by itself.*inplace operation"):
        pellucid.explain(Model(Net(unit), tokenizer()), FIRST, target=1)


# ---------------------------------------------------------------------------------------------------- any function

BOUNDS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "clamp": lambda a, b: a.clamp(max=b),
    "leaky relu": lambda a, b: F.leaky_relu(-a, b),
    "elu": lambda a, b: F.elu(-a, b),
    "threshold": lambda a, b: F.threshold(a, 9.0, b),
    "softshrink": lambda a, b: F.softshrink(a, b),
}


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "saliency"])
@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_that_is_read_out_of_the_input_is_a_cut_path(name: str, method: str) -> None:
    f = lambda x: torch.stack([BOUNDS[name](row[0], row[1].item()) for row in x])
    a = attribute(f, torch.tensor([[4.0, 3.0]]), torch.tensor([[0.5, 1.0]]), method)
    assert "item in" in a.notes[0] and a.status in ("inexact", "closed_form", "tolerance_not_met")


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda x: x.sum(1) + 5 * (x[:, 1] - x[:, 2]).detach(), [1.0, 2.0, 2.0]),
        (lambda x: (x + (x.round() - x).detach()).sum(1), [0.4, 0.6, 2.0, 1.0]),
        (lambda x: 1e3 + x.sum(1) * 0.1 + 0.05 * x.detach().sum(1), [0.5, -1.0, 0.25, 1.0]),
    ],
)
def test_a_cut_whose_effect_is_nothing_here_or_small_beside_the_output_is_said(f: Any, x: list[float]) -> None:
    a = attribute(f, torch.tensor([x]))
    assert "detach in" in a.notes[0] and a.status == "inexact"


ONE_ROW = {
    "norm": lambda x: x.sum(1) / (x.norm() + 1e-6),
    "mean": lambda x: x.sum(1) * (1 + x.mean()),
    "count": lambda x: x.sum(1) / len(x),
    "softmax": lambda x: (x.softmax(0) * x).sum(1),
}


@pytest.mark.parametrize("method", ["shapley", "kernel_shap", "occlusion", "smoothgrad"])
@pytest.mark.parametrize("name", ONE_ROW)
def test_one_row_is_not_packed_with_its_own_points_where_rows_mix(name: str, method: str) -> None:
    x, alone = torch.tensor([[1.0, 2.0, -1.0, 0.5]]), lambda x: torch.cat([ONE_ROW[name](row) for row in x.split(1)])
    torch.testing.assert_close(
        attribute(ONE_ROW[name], x, method=method).values, attribute(alone, x, method=method).values
    )


@pytest.mark.parametrize("method", ["shapley", "kernel_shap", "partition_shap"])
def test_a_function_with_two_answers_is_not_exact(method: str) -> None:
    draws = np.random.default_rng(0)
    f = lambda x: ((x + torch.from_numpy(draws.normal(size=x.shape)).to(x)) ** 2).sum(1)
    a = attribute(f, torch.tensor([[1.0, 2.0, -1.0]]), method=method)
    assert a.status == "inexact" and "different answers to the same input" in a.notes[0]


@pytest.mark.parametrize("method", ["deeplift", "shapley", "kernel_shap", "partition_shap"])
def test_outputs_that_are_rounded_themselves_are_not_exact(method: str) -> None:
    w = torch.arange(1.0, 7)
    assert attribute(lambda x: 1e5 + x @ w * 0.01, torch.randn(1, 6), method=method).status == "rounded"
    assert attribute(lambda x: x @ w * 0.01, torch.randn(1, 6), method=method).status == "exact"


def test_a_number_that_moves_a_look_up_is_no_ids_score() -> None:
    torch.manual_seed(0)
    table, ids, n = nn.Embedding(10, 8), torch.tensor([[1, 2, 3]]), torch.tensor([[2.0, 5.0]])
    f = lambda n, i: table((i + (n[:, :1] > 1).long()) % 10).mean((1, 2))
    with pytest.raises(GraphMismatch, match="other inputs"):
        attribute(f, (n, ids), (0.0, ids))
    ones = torch.ones(1, 4, dtype=torch.long)
    with pytest.raises(GraphMismatch, match="matter only together"):
        attribute(lambda i: table(((i[:, :3] > 0).sum(1) > 1).long() * 2 + (i[:, 3] > 0).long()).sum(1), ones, ones * 0)


def test_memory_that_tensors_of_a_module_share_is_shared_in_its_passes() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("a", torch.zeros(4))
            self.b = self.a[:2]

        def forward(self, x: Tensor) -> Tensor:
            self.a.fill_(1)  # pyright: ignore
            return x.sum(1) * (1 + self.b.sum())

    net = Views()
    assert attribute(net, torch.ones(1, 2)).output.item() == 6
    assert net.a.sum() == 0 and net.b.data_ptr() == net.a.data_ptr()  # pyright: ignore


def test_an_error_in_another_number_of_rows_takes_no_answer_away() -> None:
    f = lambda x: torch.stack([x[0].pow(2).sum(), x[1].pow(2).sum()])
    assert attribute(f, torch.tensor([[1.0, 2.0], [3.0, 4.0]])).values.tolist() == [[1, 4], [9, 16]]


def test_values_that_cancel_are_said() -> None:
    a = attribute(lambda x: 1e4 * x[:, 0] - 1e4 * x[:, 1], torch.tensor([[1.0, 0.9999]]))
    assert "values cancel in 1 of 1 rows" in a.notes[0]


# --------------------------------------------------------------------------------------------- what a user asks for

COUNTER = iter(range(1_000_000))
TARGETS: dict[str, Callable[[Tensor], Tensor]] = {
    "a forgotten dim": lambda y: y[:, 1] - y[:, 1].mean(),
    "a softmax over rows": lambda y: y.softmax(0)[:, 1],
    "a number for each row": lambda y: y[:, 1] * torch.arange(1, len(y) + 1),
    "random": lambda y: y[:, 1] + torch.rand(len(y)),
    "a counter": lambda y: y[:, 1] + next(COUNTER),
}


@pytest.mark.parametrize("method", ["deeplift", "shapley", "occlusion"])
@pytest.mark.parametrize("name", TARGETS)
def test_a_target_that_mixes_rows_or_varies_is_refused(name: str, method: str) -> None:
    m = Model(model("Bert").float(), tokenizer())
    with pytest.raises(UnknownTarget, match="one scalar per row, the same each time"):
        pellucid.explain(m, [FIRST, SECOND], method, target=TARGETS[name])
    with pytest.raises(UnknownTarget, match="one scalar per row, the same each time"):
        attribute(lambda x: x * 2, torch.randn(3, 2), method=method, target=TARGETS[name])


@pytest.mark.parametrize("method", ["shapley", "kernel_shap", "occlusion"])
def test_a_function_that_depends_on_the_number_of_rows_is_refused(method: str) -> None:
    with pytest.raises(InputError, match="that this row has alone"):
        attribute(lambda x: x.sum(1) * (2.0 if len(x) > 3 else 1.0), torch.randn(3, 4), method=method)


@pytest.mark.parametrize("method", ["deeplift", "shapley", "partition_shap", "occlusion"])
def test_the_baseline_at_a_layer_is_the_models_own(method: str) -> None:
    m = Model(model("Bert").float(), tokenizer())
    own = pellucid.explain(m, FIRST, target=1).baseline_output
    e = pellucid.explain(m, FIRST, method, at="bert.encoder.layer.1", target=1)
    assert e.baseline_output == pytest.approx(own, abs=1e-6)
    with pytest.raises(InputError, match="baseline='delete'"):
        pellucid.explain(m, FIRST, "occlusion", at="bert.encoder.layer.1", baseline="delete")


@pytest.mark.parametrize("baseline", ["mask", "zero", "mean"])
def test_ids_that_are_read_by_hand_are_found_against_every_baseline(baseline: str) -> None:
    m = Model(Net(lambda net, i: net.e(i).mean(1) * (1 + (i == word("good")).sum(1, keepdim=True))), tokenizer())
    with pytest.raises(UnsupportedModel, match="on the same ids"):
        pellucid.explain(m, SECOND, baseline=baseline, target=1)


def test_errors_about_ids_are_ours_with_every_method() -> None:
    table, ids = torch.randn(10, 4), torch.tensor([[1, 2, 3]])
    with pytest.raises(UnsupportedOperation, match="runs by itself"):
        attribute(torch.vmap(lambda row: table[row].tanh().sum()), ids)
    for method in ("deeplift", "occlusion", "shapley", "lime"):
        with pytest.raises(InputError, match="its baseline from 99 to 99"):
            attribute(lambda i: table[i].sum((1, 2)), ids, torch.full_like(ids, 99), method=method)


@pytest.mark.parametrize("method", ["occlusion", "shapley"])
def test_truth_values_and_class_numbers_are_numbers(method: str) -> None:
    x = torch.tensor([[3.0, 1.0, 2.0]])
    assert attribute(lambda x: x.sum(1) > 2, x, method=method).output.tolist() == [1.0]
    assert attribute(lambda x: x.argmin(1), x, method=method).output.tolist() == [1.0]
