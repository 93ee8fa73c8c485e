"""A path without a gradient inside a sum: the answer is not called exact, and its note says where the path is cut."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import pellucid

W = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
X, X0 = torch.randn(2, 1, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
METHODS = ["deeplift", "deep_shap", "integrated_gradients"]


class Detached(nn.Module):
    def forward(self, t: Tensor) -> Tensor:
        return ((t @ W).tanh() + (t @ W).detach().sin()).sum(-1)


class StraightThrough(nn.Module):
    def forward(self, t: Tensor) -> Tensor:
        h = t @ W
        return (h.tanh() + h + (h.round() - h).detach()).sum(-1)


class Frozen(nn.Module):
    def forward(self, t: Tensor) -> Tensor:
        with torch.no_grad():
            z = (t @ W).sin()
        return (t.tanh() + z + torch.zeros_like(t)).sum(-1)


class Data(nn.Module):
    def forward(self, t: Tensor) -> Tensor:
        return (t.tanh() + t.data**2).sum(-1)


class Item(nn.Module):
    def forward(self, t: Tensor) -> Tensor:
        return t.tanh().sum(-1) + t.norm().item()


class Numpy(nn.Module):
    def forward(self, t: Tensor) -> Tensor:
        return (t.tanh() + torch.from_numpy(t.detach().numpy() ** 2)).sum(-1)


class Compared(nn.Module):
    def forward(self, t: Tensor) -> Tensor:
        return t.tanh().sum(-1) + (t > 0).double().sum(-1)


CUT: dict[type[nn.Module], str] = {
    Detached: "detach",
    StraightThrough: "detach",
    Frozen: "no_grad",
    Data: "data",
    Item: "item",
    Numpy: "detach",
    Compared: "gt",
}


@pytest.mark.parametrize("net", CUT)
@pytest.mark.parametrize("method", METHODS)
def test_the_note_says_where_a_path_is_cut(net: type[nn.Module], method: str) -> None:
    a = pellucid.attribute(net(), X, X0, method=method)
    off = net()(X) - net()(X0) - a.values.sum(1)  # type: ignore[union-attr]
    assert off.abs().item() > 1e-3 and a.status in ("inexact", "tolerance_not_met")
    (note,) = a.notes
    assert "carries no gradient" in note and f"{CUT[net]} in {net.__name__} (test_cuts.py, line" in note


UNCUT: list[Callable[[Tensor], Tensor]] = [
    lambda t: (t - t.max().detach()).softmax(-1)[:, 0],
    lambda t: (t.tanh() + torch.ones_like(t)).sum(-1),
    lambda t: (t * t.new_ones(6)).sum(-1),
]


@pytest.mark.parametrize("f", UNCUT)
def test_a_cut_that_changes_nothing_is_not_noted(f: Callable[[Tensor], Tensor]) -> None:
    assert [pellucid.attribute(f, X, X0, method=m).notes for m in METHODS] == [()] * 3


def test_nothing_is_run_again_where_the_scores_add_up() -> None:
    calls: list[int] = []

    def f(t: Tensor) -> Tensor:
        calls.append(1)
        return t.tanh().sum(-1)

    pellucid.attribute(f, X, X0)
    assert len(calls) == 2


def test_a_function_outside_of_a_module_is_found_by_its_line() -> None:
    a = pellucid.attribute(lambda t: (t.exp() + t.detach()).sum(-1), X, X0)
    assert "detach in test_cuts.py, line" in a.notes[0]


def test_a_text_model_with_a_cut_path_has_the_note() -> None:
    from families import tokenizer

    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.out = nn.Embedding(80, 16), nn.Linear(16, 2)

        def forward(self, input_ids: Tensor) -> Tensor:
            h = self.emb(input_ids)
            return self.out((h + h.detach()).mean(1).tanh())

    e = pellucid.explain(pellucid.Model(Cut().eval(), tokenizer()), "the film was great", target=0)
    assert e.status == "inexact" and any("detach in Cut (test_cuts.py" in note for note in e.notes)


@pytest.mark.parametrize("n_steps", [4, 50])
def test_a_fixed_rule_has_the_note_however_many_its_steps(n_steps: int) -> None:
    a = pellucid.attribute(Detached(), X, X0, method="integrated_gradients", n_steps=n_steps)
    assert "detach in Detached" in a.notes[0]


SLOPES = ["saliency", "input_x_gradient", "smoothgrad", "gradient_shap", "expected_gradients"]


@pytest.mark.parametrize("net", CUT)
@pytest.mark.parametrize("method", SLOPES)
def test_gradients_that_promise_no_sum_have_the_note_too(net: type[nn.Module], method: str) -> None:
    (note,) = pellucid.attribute(net(), X, X0, method=method).notes
    assert "carries no gradient" in note and f"{CUT[net]} in {net.__name__} (test_cuts.py, line" in note


@pytest.mark.parametrize("f", UNCUT)
def test_gradients_of_what_is_not_cut_have_no_note(f: Callable[[Tensor], Tensor]) -> None:
    assert [pellucid.attribute(f, X, X0, method=m).notes for m in SLOPES] == [()] * len(SLOPES)


@pytest.mark.parametrize("method", ["saliency", "input_x_gradient"])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_gradient_of_a_function_that_keeps_them_takes_no_further_pass(method: str, rows: int) -> None:
    calls: list[int] = []

    def f(t: Tensor) -> Tensor:
        calls.append(len(t))
        return (t @ W).tanh().softmax(-1)[:, 0] + torch.zeros_like(t)[:, 0]

    pellucid.attribute(f, X.expand(rows, -1), X0, method=method)
    assert calls == ([1, 1] if rows == 1 else [rows, rows, 1, 1])  # the first and the last row alone: rows might mix


@pytest.mark.parametrize("method", SLOPES)
def test_a_path_that_is_cut_in_the_last_row_only_is_noted(method: str) -> None:
    f = lambda t: (t.tanh() + (t.detach() * (t[:, :1] > 5)).sin()).sum(-1)
    a = pellucid.attribute(f, torch.cat([X, X, X + 9]), X0, method=method)
    assert any("carries no gradient" in note and "test_cuts.py, line" in note for note in a.notes)


def test_a_model_is_looked_into_once() -> None:
    from families import tokenizer

    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.out = nn.Embedding(80, 16), nn.Linear(16, 2)

        def forward(self, input_ids: Tensor) -> Tensor:
            CALLS.append(input_ids.shape[0])
            h = self.emb(input_ids)
            return self.out((h + h.detach()).mean(1).tanh())

    m = pellucid.Model(Cut().eval(), tokenizer())
    pellucid.explain(m, "the film was great", "saliency", target=0)
    CALLS.clear()
    e = pellucid.explain(m, "the film was good", "saliency", target=0)
    assert sum(CALLS) == 2 and any("detach in Cut" in note for note in e.notes)


CALLS: list[int] = []
