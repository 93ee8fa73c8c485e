"""Integer inputs of `attribute`: categories and token ids, followed through the look-ups that read them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerIntegratedGradients
from torch import Tensor, nn

import pellucid
from pellucid import attribute
from pellucid.errors import GraphMismatch, InputError, UnsupportedOperation

D = torch.float64
ADDS_UP = ["deeplift", "integrated_gradients", "deep_shap"]
NEEDS_GRADIENT = [name for name, row in pellucid.METHODS.items() if not row.only_removes]


class Tabular(nn.Module):
    """Two numbers beside three categories, each with a table of its own."""

    def __init__(self, sizes: tuple[int, ...] = (5, 7, 3), hidden: int = 4):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, hidden) for n in sizes)
        self.layers = nn.Sequential(nn.Linear(2 + hidden * len(sizes), 8), nn.GELU(), nn.Linear(8, 2))
        self.double()

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        each = [table(categories[:, i]) for i, table in enumerate(self.tables)]
        return self.layers(torch.cat([numbers, *each], -1))

    def embedded(self, categories: Tensor) -> list[Tensor]:
        return [table(categories[:, i]).detach() for i, table in enumerate(self.tables)]


NUMBERS = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-0.4, 0.9]], dtype=D)
CATEGORIES = torch.tensor([[4, 6, 0], [1, 2, 2], [0, 5, 1]])
CATEGORIES0 = torch.tensor([[0, 1, 2]])


@pytest.mark.parametrize("method", NEEDS_GRADIENT)
def test_each_category_has_the_score_of_its_embedding(method: str) -> None:
    net = Tabular()
    more: dict[str, Any] = (
        {"noise": 0.0} if method == "smoothgrad" else {}
    )  # noise would depend on the sizes of the tensors it is for
    a = attribute(net, (NUMBERS, CATEGORIES), (0.5, CATEGORIES0), method=method, target=1, **more)
    f = lambda numbers, *each: net.layers(torch.cat([numbers, *each], -1))
    e0 = tuple(net.embedded(CATEGORIES0))
    if pellucid.METHODS[method].groups:  # a category is one group, and so is its embedding
        more["groups"] = (torch.tensor([[0, 1]]), *(torch.full((1, 4), 2 + k) for k in range(3)))
    b = attribute(f, (NUMBERS, *net.embedded(CATEGORIES)), (0.5, *e0), method=method, target=1, **more)
    norm = b.reduction == "norm"
    each = torch.stack([v.norm(dim=-1) if norm else v.sum(-1) for v in b.values[1:]], 1)
    torch.testing.assert_close(a.values, (b.values[0], each))
    assert a.values[1].shape == CATEGORIES.shape
    torch.testing.assert_close(a.output, net(NUMBERS, CATEGORIES)[:, 1].detach())
    torch.testing.assert_close(a.baseline_output, net(torch.full_like(NUMBERS, 0.5), CATEGORIES0.expand(3, 3))[:, 1])
    if method in ADDS_UP:
        total = a.values[0].sum(1) + a.values[1].sum(1)
        torch.testing.assert_close(total, a.output - a.baseline_output, atol=1e-3, rtol=0)


def test_integrated_gradients_are_captums_summed_over_each_table() -> None:
    net = Tabular()
    same = attribute(net, (NUMBERS, CATEGORIES), (NUMBERS, CATEGORIES0), "integrated_gradients", target=0, n_steps=20)
    for i, table in enumerate(net.tables):  # one at a time, the other categories held at the input: so ours as well
        one = torch.where(torch.arange(3) == i, CATEGORIES0, CATEGORIES)
        ours = attribute(net, (NUMBERS, CATEGORIES), (NUMBERS, one), "integrated_gradients", target=0, n_steps=20)
        theirs = LayerIntegratedGradients(net, table).attribute(
            (NUMBERS, CATEGORIES), (NUMBERS, one), target=0, n_steps=20, method="gausslegendre"
        )
        torch.testing.assert_close(ours.values[1][:, i], theirs.sum(-1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum warns of several layers, which none here depends on another of
        theirs = LayerIntegratedGradients(net, [*net.tables]).attribute(
            (NUMBERS, CATEGORIES), (NUMBERS, CATEGORIES0.expand(3, 3)), target=0, n_steps=20, method="gausslegendre"
        )
    torch.testing.assert_close(same.values[1], torch.stack([t.sum(-1) for t in theirs], 1))


TABLE = torch.randn(30, 4, generator=torch.Generator().manual_seed(1), dtype=D)
OTHER = torch.randn(30, 4, generator=torch.Generator().manual_seed(2), dtype=D)
MIX = torch.randn(4, 4, generator=torch.Generator().manual_seed(3), dtype=D)
IDS = torch.tensor([[5, 1, 0, 2, 3], [0, 1, 2, 3, 4], [4, 4, 2, 5, 0], [3, 0, 0, 1, 5]])
IDS0 = torch.tensor([[0, 1, 2, 3, 4]])
FIRST = torch.arange(5) * 6
GRU = nn.GRU(4, 4, dtype=D)
PADDED = nn.Embedding.from_pretrained(TABLE, padding_idx=0)


def head(h: Tensor) -> Tensor:
    """(rows, 5, 4) → (rows,), with each place treated as another."""
    return ((h * torch.arange(1, 6, dtype=D).unsqueeze(-1)) @ MIX).tanh().sum(1).tanh().sum(-1)


def flat_head(h: Tensor) -> Tensor:
    return (h @ MIX).tanh().sum(-1)


def column_by_column(ids: Tensor) -> Tensor:
    buffer = torch.zeros(len(ids), 5, 4, dtype=D)
    for k in range(5):
        buffer[:, k] = F.embedding(ids[:, k], TABLE)
    return head(buffer)


def offset_in_place(ids: Tensor) -> Tensor:
    ids += FIRST
    return head(TABLE[ids])


def without_gradients(ids: Tensor) -> Tensor:
    with torch.no_grad():
        found = TABLE[ids]
    return head(found)


# a look-up, and the vectors (rows, 5, 4) that its ids stand for
SAME: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "F.embedding": (lambda i: head(F.embedding(i, TABLE)), lambda i: TABLE[i]),
    "weight[ids]": (lambda i: head(TABLE[i]), lambda i: TABLE[i]),
    "index_select": (lambda i: head(TABLE.index_select(0, i.flatten()).view(-1, 5, 4)), lambda i: TABLE[i]),
    "gather": (
        lambda i: head(TABLE.gather(0, i.reshape(-1, 1).expand(-1, 4)).view(-1, 5, 4)),
        lambda i: TABLE[i],
    ),
    "one_hot": (lambda i: head(F.one_hot(i, 30).to(D) @ TABLE), lambda i: TABLE[i]),
    "positions last": (lambda i: head(TABLE[i.T].transpose(0, 1)), lambda i: TABLE[i]),
    "flat, positions last": (lambda i: head(TABLE[i.T.flatten()].view(5, -1, 4).transpose(0, 1)), lambda i: TABLE[i]),
    "int32": (lambda i: head(TABLE[i.int()]), lambda i: TABLE[i]),
    "offsets": (lambda i: head(TABLE[i + FIRST]), lambda i: TABLE[i + FIRST]),
    "offsets in place": (offset_in_place, lambda i: TABLE[i + FIRST]),
    "a column at a time": (column_by_column, lambda i: TABLE[i]),
    "in a loop": (lambda i: head(torch.stack([TABLE[c] for c in i.unbind(1)], 1)), lambda i: TABLE[i]),
    "two tables": (lambda i: head(TABLE[i] + OTHER[i]), lambda i: TABLE[i] + OTHER[i]),
    "clamped": (lambda i: head(TABLE[i.clamp(max=3)]), lambda i: TABLE[i.clamp(max=3)]),
    "remapped": (lambda i: head(TABLE[torch.arange(29, -1, -1)[i]]), lambda i: TABLE[29 - i]),
    "turned round": (lambda i: head(TABLE[i.flip(1)].flip(1)), lambda i: TABLE[i]),
    "through a buffer": (lambda i: head(TABLE[torch.zeros(len(i), 5).long().copy_(i)]), lambda i: TABLE[i]),
    "changed in place": (lambda i: head(TABLE[i].mul_(2)), lambda i: 2 * TABLE[i]),
    "without gradients": (without_gradients, lambda i: TABLE[i]),
    "positions": (lambda i: head(TABLE[i] + OTHER[torch.zeros_like(i)]), lambda i: TABLE[i] + OTHER[0]),
    "masked": (lambda i: head(TABLE[i] * (i != 0).unsqueeze(-1)), lambda i: TABLE[i] * (i != 0).unsqueeze(-1)),
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("rows", [1, 4])
def test_an_id_has_what_its_vector_has(name: str, rows: int) -> None:
    f, vectors = SAME[name]
    x = IDS[:rows]
    for method in ("deeplift", "integrated_gradients") if name != "masked" else ():
        a = attribute(f, x, IDS0, method=method)
        b = attribute(head, vectors(x), vectors(IDS0), method=method)
        each, within = b.values.sum(-1), 1e-6 if method == "deeplift" else 2e-2
        assert (a.values - each).norm(dim=1).le(within * each.norm(dim=1)).all()
    _adds_up(f, x, IDS0)


def _adds_up(f: Callable[[Tensor], Tensor], x: Tensor, x0: Tensor) -> pellucid.Attribution:
    a = attribute(f, x, x0)
    y, y0 = f(x.clone()), f(x0.expand(x.shape).clone())
    torch.testing.assert_close(a.output, y)
    torch.testing.assert_close(a.baseline_output, y0)
    torch.testing.assert_close(a.values.sum(1), y - y0, atol=1e-12, rtol=1e-9)
    assert a.status == "exact"
    return a


# what several ids make together, or what is no table
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "multi-hot": lambda i: flat_head(F.one_hot(i, 30).sum(1).to(D) @ TABLE),
    "scattered": lambda i: flat_head(torch.zeros(len(i), 30, dtype=D).scatter_(1, i, 1.0) @ TABLE),
    "set": lambda i: flat_head(_set(i) @ TABLE),
    "bag": lambda i: flat_head(F.embedding_bag(i, TABLE)),
    "bag of the largest": lambda i: flat_head(F.embedding_bag(i, TABLE, mode="max")),
    "bag with offsets": lambda i: flat_head(F.embedding_bag(i.flatten(), TABLE, torch.arange(0, i.numel(), 5))),
    "bag with padding": lambda i: flat_head(F.embedding_bag(i, TABLE, mode="sum", padding_idx=0)),
    "numbers": lambda i: (i.to(D) / 7).tanh().sum(1),
    "products": lambda i: (TABLE[:5, 0] * i).tanh().sum(1),
    "pairs": lambda i: (TABLE[(i[:, 1:] * 5 + i[:, :-1]) % 30]).tanh().sum((1, 2)),
    "twice": lambda i: head(TABLE[i]) + head(TABLE[(i + 1) % 30]).tanh(),
    "recurrent": lambda i: GRU(TABLE[i.T])[0][-1].sum(-1),
    "mean of what is not padding": lambda i: flat_head(
        (PADDED(i) * (i != 0).unsqueeze(-1)).sum(1) / (i != 0).sum(1, keepdim=True).clamp(min=1)
    ),
    "masked_fill": lambda i: head(TABLE[i].masked_fill((i == 0).unsqueeze(-1), 0.0)),
    "where": lambda i: head(torch.where((i > 1).unsqueeze(-1), TABLE[i], OTHER[i])),
    "gate": lambda i: head(TABLE[i]) * (i[:, 0] > 2),
}


def _set(ids: Tensor) -> Tensor:
    buffer = torch.zeros(len(ids), 30, dtype=D)
    for k in range(5):
        buffer[torch.arange(len(ids)), ids[:, k] + 6 * k] = 1.0
    return buffer


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("rows", [1, 4])
def test_ids_that_are_read_together_add_up(name: str, rows: int) -> None:
    a = _adds_up(OTHERS[name], IDS[:rows], IDS0)
    assert a.values.shape == (rows, 5)


def test_a_bag_gives_each_id_its_own_vector() -> None:
    w = MIX[0]
    a = attribute(lambda i: F.embedding_bag(i, TABLE, mode="sum") @ w, IDS, IDS0)
    torch.testing.assert_close(a.values, (TABLE[IDS] - TABLE[IDS0]) @ w)
    a = attribute(lambda i: F.one_hot(i, 30).sum(1).to(D) @ TABLE @ w, IDS[:1], torch.full((1, 5), 9))
    torch.testing.assert_close(a.values, (TABLE[IDS[:1]] - TABLE[9]) @ w)


sparse = partial(torch.sparse_coo_tensor, check_invariants=True)
REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "a masked softmax": (
        lambda i: head((TABLE[i] @ TABLE[i].mT).masked_fill((i == 0).unsqueeze(1), -torch.inf).softmax(-1) @ TABLE[i]),
        r"masked_fill \(test_categories.py, line \d+\)",
    ),
    "a number of Python's": (lambda i: head(TABLE[i]) * int(i.max()), "__int__"),
    "a branch": (lambda i: head(TABLE[i]) if bool((i[:, 0] > 4).any()) else 2 * head(TABLE[i]), "__bool__"),
    "of the whole batch": (lambda i: head(TABLE[i.unique(return_inverse=True)[0]][:1]), "one dimension"),
    "NumPy's": (lambda i: head(TABLE[torch.from_numpy(i.numpy().copy())]), "numpy"),
    "nothing": (lambda i: torch.ones(len(i)), "carries a gradient"),
    "a sparse tensor": (
        lambda i: sparse(i, torch.ones(i.shape[1], dtype=D), (len(TABLE),)).to_dense()[None] @ TABLE[:, 0],
        r"sparse_coo_tensor \(test_categories.py, line \d+\).*method='shapley'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_ids_that_are_read_in_another_way_are_refused(name: str) -> None:
    f, match = REFUSED[name]
    for method in ("deeplift", "input_x_gradient", "integrated_gradients"):
        with pytest.raises((GraphMismatch, InputError, UnsupportedOperation), match=match):
            attribute(f, IDS[:1], IDS0.flip(1), method=method)


def test_truth_values_single_ids_and_a_number_for_a_baseline() -> None:
    net, x = Tabular((5,)), torch.tensor([4, 1, 0])
    f = lambda number, on, ids: net(torch.stack([number, number * on], 1), ids.unsqueeze(1))[:, 0]
    number, on = torch.tensor([1.0, 2.0, 3.0], dtype=D), torch.tensor([True, False, True])
    for x0 in (None, 0, (0.0, False, 0)):
        a = attribute(f, (number, on, x), x0)
        assert [v.shape for v in a.values] == [(3,)] * 3
        zero = f(number * 0, on & False, x * 0)
        torch.testing.assert_close(torch.stack([*a.values]).sum(0), f(number, on, x) - zero)
    with pytest.raises(InputError, match=r"Baseline 2"):
        attribute(f, (number, on, x), (0.0, False, 0.5))


def test_saliency_of_categories_that_are_the_baselines() -> None:
    w = torch.tensor([1.0, 2.0, 3.0], dtype=D)
    f = lambda i: (TABLE[i] @ MIX[0] * w).sum(1)
    ids = torch.zeros(2, 3, dtype=torch.long)
    a = attribute(f, ids, method="saliency")
    torch.testing.assert_close(a.values, (w * MIX[0].norm()).expand(2, 3))
    assert not attribute(f, ids).values.any()


def test_rows_split_with_their_args_and_one_row_may_be_a_number() -> None:
    scale = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=D)
    f = lambda i, s: head(TABLE[i]) * s
    whole = attribute(f, IDS, IDS0, args=scale).values
    for r in range(4):
        alone = attribute(lambda i, s: f(i, s).sum(), IDS[r : r + 1], IDS0, args=scale[r : r + 1]).values
        torch.testing.assert_close(whole[r : r + 1], alone)


def test_a_sample_of_baselines_is_a_mean_over_them() -> None:
    sample = torch.cat([IDS0, IDS0.flip(1), IDS0 * 0])
    f = lambda i: head(TABLE[i])
    a = attribute(f, IDS, sample, method="deep_shap")
    each = torch.stack([attribute(f, IDS, row[None]).values for row in sample])
    torch.testing.assert_close(a.values, each.mean(0))
    for method in ("gradient_shap", "expected_gradients"):
        a = attribute(f, IDS, sample, method=method, n_samples=400)
        assert a.error.shape == a.values.shape
        assert ((a.values.sum(1) - (a.output - a.baseline_output)).abs() <= 4 * a.error.sum(1) + 1e-9).all()


def test_an_id_beyond_its_table_is_named() -> None:
    table = torch.nn.Embedding(10, 6)
    f = lambda n, c: (table(c).mean(1) * n).tanh().sum(-1)
    with pytest.raises(pellucid.PellucidError, match="baseline from 0 to 99"):
        pellucid.attribute(f, (torch.randn(1, 6), torch.tensor([[3, 1]])), (0.0, torch.tensor([[0, 99]])))
