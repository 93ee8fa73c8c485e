"""DeepLIFT with one group apart: its Shapley value by hand, and the routes walked one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from generative import causal_tokenizer, net
from pellucid import Model, attribute, errors
from pellucid.methods import METHODS, stretches
from tiny import tiny

D = torch.float64
NET = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.LayerNorm(12), nn.Linear(12, 4)).to(D).eval()
X, X0 = (torch.randn(5, 6, generator=torch.Generator().manual_seed(k), dtype=D) for k in (1, 2))
APART: dict[str, Any] = {"method": "deeplift_apart"}
TEXTS = ["a good film .", "the plot is not so great , and it was dull !", "good"]


def by_routes(f: Any, x: Tensor, x0: Tensor, own: Tensor, **how: Any) -> Tensor:
    """The mean of both routes, each of two DeepLIFTs. own: true for the elements that are apart."""
    without, alone = torch.where(own, x0, x), torch.where(own, x, x0)
    steps = ((x, without), (without, x0), (x, alone), (alone, x0))
    return torch.stack([attribute(f, a, b, **how).values for a, b in steps]).sum(0) / 2  # pyright: ignore[reportArgumentType]


def leading(values: Tensor) -> Tensor:
    return nn.functional.one_hot(values.argmax(1), values.shape[1]).bool()


def test_a_product_of_two_by_hand() -> None:
    """v(W) = 3·1, v(R) = 1·2, v(W, R) = 6 and v(∅) = 1 of f = a·b·c with c the same at both ends."""
    f = lambda x: x.prod(-1)
    a = attribute(f, torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[1.0, 1.0, 1.0]]), **APART)
    assert a.values.tolist() == [[((3 - 1) + (6 - 2)) / 2, ((2 - 1) + (6 - 3)) / 2, 0]]  # pyright: ignore
    assert (a.delta.item(), a.status, a.passes) == (0, "exact", 4)


def test_each_player_has_its_shapley_value_and_deeplift_shares_it_out() -> None:
    a = attribute(NET, X, X0, target=2, **APART)
    values = a.values
    assert isinstance(values, Tensor)
    own = leading(attribute(NET, X, X0, target=2).values)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        v = {at: NET(torch.where(own, *ends))[:, 2] for at, ends in {"W": (X, X0), "R": (X0, X)}.items()}
        y, y0 = NET(X)[:, 2], NET(X0)[:, 2]
    torch.testing.assert_close(values[own], ((v["W"] - y0) + (y - v["R"])) / 2, atol=1e-12, rtol=0)
    rest = values.masked_fill(own, 0).sum(1)
    torch.testing.assert_close(rest, ((v["R"] - y0) + (y - v["W"])) / 2, atol=1e-12, rtol=0)
    torch.testing.assert_close(values.sum(1), y - y0, atol=1e-10, rtol=0)
    torch.testing.assert_close(values, by_routes(NET, X, X0, own, target=2), atol=1e-12, rtol=0)
    for i in range(5):
        alone = attribute(NET, X[i : i + 1], X0[i : i + 1], target=2, **APART)
        torch.testing.assert_close(alone.values, values[i : i + 1], atol=1e-12, rtol=0)


def test_groups_lead_together_and_what_is_in_none_stays() -> None:
    groups = torch.tensor([[4, 0, 4, -1, 0, -1]])
    kept = torch.where(groups < 0, X, X0)
    deep = attribute(NET, X, kept, target=0).values
    of_groups = torch.stack([deep[:, [1, 4]].sum(1), deep[:, [0, 2]].sum(1)], 1)  # pyright: ignore
    own = torch.where((of_groups.argmax(1) == 0)[:, None], groups == 0, groups == 4)
    a = attribute(NET, X, X0, target=0, groups=groups, **APART)
    torch.testing.assert_close(a.values, by_routes(NET, X, kept, own, target=0), atol=1e-12, rtol=0)
    assert (a.values[:, [3, 5]] == 0).all()  # pyright: ignore
    torch.testing.assert_close(a.baseline_output, NET(kept)[:, 0].detach())


def test_one_group_and_none_leave_deeplift_itself() -> None:
    deep = attribute(NET, X, X0, target=1).values
    a = attribute(NET, X, X0, target=1, groups=torch.zeros(1, 6, dtype=torch.int64), **APART)
    torch.testing.assert_close(a.values, deep, atol=1e-12, rtol=0)
    model = tiny()
    e, d = (pellucid.explain(model, "good", method=method) for method in ("deeplift_apart", "deeplift"))
    np.testing.assert_allclose(e.scores, d.scores, atol=1e-12)
    assert e.meta["groups"] == "word"


def test_each_target_has_a_group_of_its_own_and_its_passes() -> None:
    rows: list[int] = []

    def f(x: Tensor) -> Tensor:
        rows.append(len(x))
        return NET(x)

    selects = tuple(lambda out, which, k=k: out[:, k] for k in range(4))
    problem = pellucid.Problem(f, (X,), (X0,), lambda outputs: selects)
    found = METHODS["deeplift_apart"].solve(problem)
    led = [attribute(NET, X, X0, target=k).values.argmax(1) for k in range(4)]  # pyright: ignore
    most = max(len({int(of[row]) for of in led}) for row in range(5))
    assert most > 1 and rows == [5] * (2 + 2 * most)
    for k, a in enumerate(found):
        alone = attribute(NET, X, X0, target=k, **APART)
        torch.testing.assert_close(a.values[0], alone.values, atol=1e-12, rtol=0)
        assert a.passes == alone.passes == 4 and a.delta.abs().max() < 1e-12


@pytest.mark.parametrize("target", ["negative", "positive"])
def test_words_of_a_text_lead_and_no_special_token_does(target: str) -> None:
    """The lowest-scoring texts too: a special token's score of 0 is then above that of every word."""
    model = tiny()
    together = pellucid.explain(model, TEXTS, target=target, **APART)
    for text, e in zip(TEXTS, together, strict=True):
        alone = pellucid.explain(model, text, target=target, **APART)
        np.testing.assert_allclose(e.scores, alone.scores, atol=1e-12)
        deep = pellucid.explain(model, text, target=target)
        best = max((w for w in deep.words() if not w.special), key=lambda w: w.score)
        with model.borrowed():
            problem = model.problem(model.encode([text]), "mask", target)
            own = torch.zeros(1, len(e.tokens), 1, dtype=torch.bool)
            own[:, list(best.tokens)] = True
            (x,), (x0,) = problem.x, problem.x0
            f = lambda x, p=problem: p.f(x, *p.args)
            at = lambda outputs, index=e.target.index: outputs[:, index]
            expected = by_routes(f, x, x0, own, target=at).sum(-1)[0].detach()
        np.testing.assert_allclose(e.scores, expected.numpy(), atol=1e-12)
        assert abs(e.delta) < 1e-10 and (e.status, e.passes, e.meta["groups"]) == ("exact", 4, "word")


def test_layer_by_layer_is_the_whole_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(net("Llama", "sdpa"), causal_tokenizer())
    ask = lambda: pellucid.explain(model, ("the film was", " not so good"), target=["total", {"span": (0, 4)}], **APART)
    walked, inner = [], stretches.contributions
    monkeypatch.setattr(stretches, "contributions", lambda *given: walked.append(1) or inner(*given))
    whole = ask()
    assert not walked
    monkeypatch.setattr(stretches, "most_for_a_graph", lambda device: 0)
    found = ask()
    assert len(walked) >= 3  # DeepLIFT, and both routes
    for a, b in zip(whole, found, strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-5 * np.abs(a.scores).max())
        assert b.relative_delta < 1e-3


def test_ids_are_set_apart_with_their_groups() -> None:
    table, head = torch.randn(9, 3, dtype=D), nn.Sequential(nn.Linear(9, 6), nn.Tanh(), nn.Linear(6, 1)).to(D)
    ids, groups = torch.tensor([[1, 2, 3], [4, 4, 8]]), torch.tensor([[0, 1, 0]])
    a = attribute(lambda i: head(table[i].flatten(1)), ids, target=0, groups=groups, **APART)
    b = attribute(lambda e: head(e.flatten(1)), table[ids], table[0], target=0, groups=groups, **APART)
    torch.testing.assert_close(a.values, b.values.sum(-1))  # pyright: ignore[reportAttributeAccessIssue]
    counted = lambda i: head(nn.functional.one_hot(i, 9).sum(1).to(D))
    with pytest.raises(errors.InputError, match="ids of several groups at once"):
        attribute(counted, ids, target=0, **APART)
    together = attribute(counted, ids, target=0, groups=torch.zeros(1, 3, dtype=torch.int64), **APART)
    torch.testing.assert_close(together.values, attribute(counted, ids, target=0).values)


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"baseline": "delete"}, "something in the place of each token"),
        ({"detail": "layers"}, "does not look inside"),
        ({"segments": 2}, "no option 'segments'; expected: none"),
    ],
)
def test_what_it_cannot_do_is_said(how: dict[str, Any], match: str) -> None:
    with pytest.raises(errors.PellucidError, match=match):
        pellucid.explain(tiny(), "a good film", **how, **APART)


def test_groups_of_a_text_are_those_that_are_asked_for() -> None:
    model, groups = tiny(), [[1, 3], [2]]
    e = pellucid.explain(model, "a good film", target="positive", groups=groups, **APART)
    problem = model.problem(model.encode(["a good film"]), "mask", "positive")
    (a,) = METHODS["deeplift_apart"].solve(replace(problem, groups=(torch.tensor([[-1, 0, 1, 0, -1]]),)))
    np.testing.assert_allclose(e.scores, a.values[0].sum(-1)[0].numpy(), atol=1e-12)
    assert e.meta["groups"] == groups and not e.notes


def test_what_contributes_nothing_does_not_lead() -> None:
    """The last element has a score of 0, above the others, and the first is the highest of these."""
    f = lambda x: -((x[:, 0] + 2 * x[:, 1]) ** 3) + 0 * x[:, 2]
    x, x0 = torch.tensor([[1.0, 2.0, 3.0]], dtype=D), torch.zeros(1, 3, dtype=D)
    assert attribute(f, x, x0).values.tolist() == [[-25, -100, 0]]  # pyright: ignore[reportAttributeAccessIssue]
    a = attribute(f, x, x0, **APART)
    torch.testing.assert_close(a.values, torch.tensor([[-(1 + 125 - 64) / 2, -(64 + 125 - 1) / 2, 0]], dtype=D))
