"""Both passes in one batch: the walk through its halves is the walk through two graphs, or it is refused."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import families
import pellucid
from cases import CASES
from cases.values import rand
from pellucid.captum import DeepLift, LayerDeepLift, LayerDeepLiftShap
from pellucid.errors import GraphMismatch, UnsupportedOperation
from pellucid.numerics.deeplift.checking import multipliers
from pellucid.numerics.deeplift.lockstep import NotHalved, walk
from pellucid.numerics.deeplift.paired_batch import paired_rules
from pellucid.numerics.deeplift.pairs import EVEN, Pairs
from pellucid.numerics.deeplift.recording.recorder import forward_pass
from pellucid.numerics.deeplift.rules.table import NOTED
from tabled import TASKS, TEXTS, explained, listed

deeplift: Any = importlib.import_module("pellucid.methods.deeplift")

TOGETHER = """
    linear mul div bmm einsum gelu silu sigmoid tanh powers roots relu abs log_softmax attention attention_masked
    attention_as_parts layer_norm rms_norm
""".split()
"""Cases in which no tensor is broadcast along the rows: their rules must not refuse."""


def walked(f: Any, x: tuple[Tensor, ...], x0: tuple[Tensor, ...], pairs: Pairs = EVEN) -> tuple[Tensor, list[Tensor]]:
    """Multipliers of a half of the output, and those of x, through one graph of both."""
    both = tuple(torch.cat(ends).requires_grad_() for ends in zip(x, x0, strict=True))
    with forward_pass(both, NOTED):
        y = f(*both)
    g = rand(*(pairs.half(y.shape) or ()), seed=3).to(y)
    return g, walk([y], [y], [g], both, both, paired_rules(pairs), halves=pairs)[0]


def of_rows(f: Any, x: tuple[Tensor, ...], x0: tuple[Tensor, ...]) -> bool | None:
    """Whether f treats every row by itself; None where it cannot run on more rows."""
    try:
        both = f(*(torch.cat(ends) for ends in zip(x, x0, strict=True)))
    except (RuntimeError, IndexError, ValueError, AssertionError, UserWarning):
        return None
    ends = f(*x), f(*x0)
    alone = torch.cat(ends) if both.ndim else torch.stack(ends)
    return both.shape == alone.shape and torch.allclose(both, alone)


@pytest.mark.parametrize("baselines", [1, 2])
def test_every_rule_gives_what_it_gives_apart_or_refuses(baselines: int) -> None:
    done = []
    for name, (f, shapes, positive) in CASES.items():
        x, *others = (
            tuple(rand(*s, seed=i + k, positive=positive) for i, s in enumerate(shapes))
            for k in (1, 6, 11)[: 1 + baselines]
        )
        n, x0 = shapes[0][0] if shapes[0] else 0, tuple(map(torch.cat, zip(*others, strict=True)))
        input_of = torch.arange(n).repeat(baselines)
        pairs, rowwise = EVEN if baselines == 1 else Pairs(n, baselines * n, input_of), of_rows(f, x, others[0])
        if rowwise is None:
            continue
        try:
            g, found = walked(f, x, x0, pairs)
            apart = multipliers(f, tuple(t[input_of] for t in x), x0, g)
        except (NotHalved, UnsupportedOperation, GraphMismatch, IndexError, RuntimeError):
            continue
        assert rowwise, f"{name} mixes the rows, and was not refused"
        done.append(name)
        for a, b in zip(found, apart, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12, msg=name)
    assert set(TOGETHER) <= set(done)


MIXING: dict[str, Any] = {
    "the mean of the batch": lambda a: a - a.mean(0),
    "a sum beside each": lambda a: a * a.sum(0, keepdim=True),
    "every row with every other": lambda a: a @ a.T,
    "columns for rows": lambda a: a.T.tanh().T,
    "a softmax over rows": lambda a: a.softmax(0),
    "one row for all": lambda a: a + a[0],
    "the rows turned over": lambda a: a[torch.arange(len(a)).flip(0)],
    "the rows counted from the end": lambda a: a[-torch.arange(len(a)) - 1],
    "the first row, many times": lambda a: a[torch.tensor([0]), torch.arange(6)],
    "the rows in a row": lambda a: a.reshape(1, -1).softmax(1).view(a.shape),
    "the rows in one dimension more": lambda a: a.unsqueeze(0).softmax(1).squeeze(0),
    "a matrix that depends on them": lambda a: a.new_ones(len(a), 4) @ a[:4],
    "a number of its own for each row": lambda a: a * torch.arange(a.numel()).view(a.shape),
    "a mask of its own for each row": lambda a: a.masked_fill(torch.arange(len(a)).view(-1, 1) < 3, 0.0),
}


@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_the_rows_is_refused(name: str) -> None:
    with pytest.raises((NotHalved, GraphMismatch, UnsupportedOperation)):
        walked(MIXING[name], (rand(4, 6, seed=1),), (rand(4, 6, seed=2),))
    with pytest.raises((NotHalved, GraphMismatch, UnsupportedOperation)):
        walked(MIXING[name], (rand(2, 6, seed=1),), (rand(4, 6, seed=2),), Pairs(2, 4, torch.tensor([0, 0, 1, 1])))


def both_ways(monkeypatch: pytest.MonkeyPatch, ask: Any) -> tuple[list[Any], list[Any], list[bool]]:
    """The answers of `ask` as they come, and those of two passes; and whether each of the first took one pass."""
    took: list[bool] = []
    one_pass = deeplift._together

    def watched(problem: Any) -> Any:
        found = one_pass(problem)
        took.append(found is not None)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(deeplift, "_together", watched)
        together = listed(ask())
        patch.setattr(deeplift, "_together", lambda problem: None)
        return together, listed(ask()), took


MODELS = [
    *(("Bert", attention, "text-classification") for attention in ("eager", "sdpa")),
    *(("Roberta", "sdpa", task) for task in ("question-answering", "fill-mask", "token-classification")),
    *((family, "sdpa", "text-classification") for family in ("GPT2", "Llama", "T5", "ModernBert")),
    ("Qwen3", "sdpa", "text-generation"),
]


@pytest.mark.parametrize(("family", "attention", "task"), MODELS)
def test_a_model_takes_one_pass_and_says_the_same(
    family: str, attention: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    m, row = explained(family, attention, torch.float64, task), TASKS[task]
    for given in row.inputs:
        together, apart, took = both_ways(
            monkeypatch, lambda given=given: pellucid.explain(m, given, **{"baseline": "[UNK]", **row.how})
        )
        assert took == [True]
        for e, e0 in zip(together, apart, strict=True):
            np.testing.assert_allclose(e.scores, e0.scores, rtol=1e-9, atol=1e-12)
            assert e.passes == e0.passes == 2 and e.status == e0.status == "exact"
            assert (e.output, e.baseline_output) == pytest.approx((e0.output, e0.baseline_output), rel=1e-12)
            assert abs(e.delta) <= 1e-12 * (abs(e.output) + np.abs(e.scores).sum())


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_what_is_inside_is_the_same(attention: str, monkeypatch: pytest.MonkeyPatch) -> None:
    m = explained("Bert", attention, torch.float64, "text-classification")
    for how in (
        {"detail": ("layers", "heads")},
        {"detail": "parts"},
        {"target": [0, 2]},
        {"baseline": ["pad", "mask"]},
    ):
        ask = lambda how=how: pellucid.explain(m, TEXTS, **{"target": 1, **how})
        together, apart, took = both_ways(monkeypatch, lambda ask=ask: [e for each in ask() for e in listed(each)])
        assert took and all(took)
        for e, e0 in zip(together, apart, strict=True):
            np.testing.assert_allclose(e.scores, e0.scores, rtol=1e-9, atol=1e-12)
            for name in ("layers", "heads") if "layers" in how.get("detail", ()) else ():
                assert getattr(e0, name).any()
                np.testing.assert_allclose(getattr(e, name), getattr(e0, name), rtol=1e-9, atol=1e-12)
            assert (e0.parts is not None and len(e0.parts) > 1) == (how.get("detail") == "parts")
            for name, part in (e0.parts or {}).items():
                np.testing.assert_allclose(e.parts[name], part, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("family", ["XLNet", "Longformer", "FNet", "GPTNeo"])
def test_a_model_that_cannot_takes_two_and_is_asked_only_once(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    m = explained(family, "eager", torch.float64, "text-classification")
    passes: list[int] = []
    pellucid.explain(
        m, TEXTS[0], "integrated_gradients", target=1, baseline="[UNK]", n_steps=2
    )  # what is measured once for a model
    m.runner.found.mixes_halves = False  # as before the look for paths without a gradient
    m.model.register_forward_hook(lambda _m, args, out: passes.append(len(out.logits)))
    for expected in ([2, 1, 1], [1, 1]):
        passes.clear()
        e = pellucid.explain(m, TEXTS[0], target=1, baseline="[UNK]")
        assert passes == expected and abs(e.delta) < 1e-9


@pytest.mark.parametrize(("family", "attention", "task"), [MODELS[0], MODELS[4], MODELS[5]])
def test_an_input_runs_once_for_all_its_baselines(family: str, attention: str, task: str) -> None:
    m, row, baselines = explained(family, attention, torch.float64, task), TASKS[task], ["[UNK]", "good", "bad"]
    asked: dict[str, Any] = {**row.how, "segments": 1}
    answers = pellucid.explain(m, row.inputs, baseline=baselines, **asked)
    each = [pellucid.explain(m, row.inputs, baseline=b, **asked) for b in baselines]
    for found, *apart in zip(answers, *each, strict=True):
        for e, *ones in zip(listed(found), *map(listed, apart), strict=True):
            assert (e.passes, e.status) == (1 + len(baselines), "exact")
            np.testing.assert_allclose(e.scores, np.mean([one.scores for one in ones], 0), rtol=1e-9, atol=1e-12)


ROW_COUNTS: dict[str, Any] = {
    "the number of rows": lambda x: (x.tanh() / len(x)).sum(1),
    "as many rows as are there": lambda x: x.reshape(2, -1).softmax(-1).reshape(-1, 6)[:, 0],
    "two rows of a constant": lambda x: (x.tanh() + torch.ones(2, 1, dtype=x.dtype)).sum(1),
    "a count of rows that asks for no number": lambda x: (x.tanh() + torch.ones_like(x).cumsum(0) - 1.5).relu().sum(1),
    "a mean without a gradient": lambda x: (x * x.detach().mean(0)).tanh().sum(1),
    "the mean of the batch": lambda x: (x - x.mean(0)).tanh().sum(1),
    "one number for all": lambda x: x.tanh().sum()[None],
    "no other number of rows": lambda x: x.tanh().sum(1) if len(x) == 2 else 1 / 0,
}


def answered(call: Callable[[], Any]) -> Any:
    """What a call returns, or the text of the error that it raises."""
    try:
        return call()
    except (pellucid.errors.PellucidError, ZeroDivisionError) as error:
        return str(error)


def assert_same(found: Any, wanted: Any, rtol: float, atol: float) -> None:
    if isinstance(wanted, str):
        assert found == wanted
    else:
        torch.testing.assert_close(found, wanted, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", ROW_COUNTS)
@pytest.mark.parametrize("rows", [1, 2])
def test_any_function_is_explained_as_it_is_alone(name: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it makes of more rows: the multipliers are those of two passes, or the error is."""
    x, x0 = (rand(rows, 6, seed=k) for k in (1, 2))

    asked = lambda: answered(lambda: DeepLift(ROW_COUNTS[name]).attribute(x, x0, return_convergence_delta=True))
    found = asked()
    monkeypatch.setattr(deeplift, "_proven_halves", lambda problem, known=(), inside=None: None)
    assert_same(found, asked(), rtol=1e-9, atol=1e-10)


def test_a_plain_network_takes_one_pass() -> None:
    net = torch.nn.Sequential(torch.nn.Conv1d(1, 3, 2), torch.nn.ReLU(), torch.nn.MaxPool1d(2), torch.nn.Flatten())
    passes: list[int] = []
    f = lambda x: (passes.append(len(x)), net(x))[1]
    x = rand(2, 1, 7, seed=1).float()
    found, delta = DeepLift(f).attribute(x, target=1, return_convergence_delta=True)
    assert (
        passes == [2, 4, 2] and delta.abs().max() < 1e-6
    )  # the input alone, both together, the baseline for the delta
    assert found.shape == x.shape


class Around(torch.nn.Module):
    """A layer, and another way from the input to the output."""

    def __init__(self, way: Any) -> None:
        super().__init__()
        self.first, self.layer, self.last = (torch.nn.Linear(6, 6).double() for _ in range(3))
        self.way, self.calls = way, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.last(self.way(self, x, self.layer(self.first(x).tanh()).tanh()))


WAYS: dict[str, tuple[Any, int]] = {
    "none": (lambda net, x, h: h, 2),
    "a sum": (lambda net, x, h: (h + x).tanh(), 3),
    "a product": (lambda net, x, h: h * x.sigmoid(), 3),
    "a sum without a gradient": (lambda net, x, h: (h + x.detach().cos()).tanh(), 3),
    "the layer twice": (lambda net, x, h: net.layer(h).tanh(), 5),
}


@pytest.mark.parametrize("rows", [2, 50])
@pytest.mark.parametrize("name", WAYS)
def test_a_layer_is_explained_by_as_many_passes_as_it_takes(
    name: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    way, calls = WAYS[name]
    net, (x, x0) = Around(way), (rand(rows, 6, seed=k) for k in (1, 2))
    ask = lambda: LayerDeepLift(net, net.layer).attribute(x, x0, target=2, return_convergence_delta=True)
    found, delta = ask()
    if rows > 2:  # few numbers share a batch first
        assert net.calls == calls
    monkeypatch.setattr("pellucid.captum.deeplift.multipliers_inside", lambda problem, run: None)
    wanted = ask()
    torch.testing.assert_close((found, delta), wanted, rtol=1e-10, atol=1e-12)
    if name == "none":
        assert delta.abs().max() < 1e-12


LAYERS: dict[str, tuple[str, bool, int]] = {
    "the embeddings": ("bert.embeddings", False, 2),
    "word embeddings beside others": ("bert.embeddings.word_embeddings", False, 3),
    "a matrix product beside others": ("bert.encoder.layer.0.attention.self.query", False, 3),
    "what a matrix product takes in": ("bert.encoder.layer.0.intermediate.dense", True, 3),
    "a block": ("bert.encoder.layer.0", False, 2),
    "the classifier": ("classifier", True, 2),
}


@pytest.mark.parametrize(
    ("name", "by"),
    [
        (n, b)
        for n in LAYERS
        for b in ("ids", "embeddings")
        if (n, b) != ("word embeddings beside others", "embeddings")
    ],
)
def test_layers_of_a_transformer_are_explained_by_two_passes_or_three(
    name: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, (path, at_input, alone) = families.model("Bert", "sdpa").double(), LAYERS[name]
    layer = net.get_submodule(path)
    ids, ids0 = torch.tensor([[2, 7, 8, 9, 3], [2, 9, 9, 7, 3]]), torch.tensor([[2, 5, 8, 5, 3], [2, 5, 5, 5, 3]])
    embed = net.get_input_embeddings()
    f: Any = (lambda x: net(input_ids=x).logits) if by == "ids" else (lambda x: net(inputs_embeds=x).logits)
    x, x0 = (ids, ids0) if by == "ids" else (embed(ids).detach(), embed(ids0).detach())
    passes: list[int] = []
    last = net.classifier.register_forward_hook(lambda *_: passes.append(1))
    found = LayerDeepLift(f, layer).attribute(x, x0, target=1, attribute_to_layer_input=at_input)
    last.remove()
    assert len(passes) == (4 if by == "ids" else alone)  # one more of ids, which do not tell of float64
    change = changed_by(f, [layer], x, x0, at_input)[:, 1]
    torch.testing.assert_close(found.flatten(1).sum(1), change, rtol=1e-9, atol=1e-12)
    monkeypatch.setattr("pellucid.captum.deeplift.multipliers_inside", lambda problem, run: None)
    wanted = LayerDeepLift(f, layer).attribute(x, x0, target=1, attribute_to_layer_input=at_input)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def test_layers_that_take_in_no_floats_are_refused_as_inputs() -> None:
    net, ids = families.model("Bert", "sdpa").double(), torch.tensor([[2, 7, 8, 3], [2, 9, 9, 3]])
    f: Any = lambda x: net(input_ids=x).logits
    layer = net.bert.embeddings.position_embeddings
    assert not LayerDeepLift(f, layer).attribute(ids, ids * 0 + 5, target=1).any()
    with pytest.raises(pellucid.errors.ArgumentError, match=r"torch\.int64"):
        LayerDeepLift(f, layer).attribute(ids, ids * 0 + 5, target=1, attribute_to_layer_input=True)


class Pair(NamedTuple):
    one: Tensor
    two: Tensor


class Several(nn.Module):
    """Two layers one after the other beside other ways; the first gives out two tensors."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.kind, self.draws = kind, False
        self.two, self.after, self.last = (nn.Linear(6, 6).double() for _ in range(3))
        self.first = nn.Module()
        self.first.forward = lambda x: self.kind(self.two(x).tanh(), (x * x).tanh())  # type: ignore[method-assign]

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x)
        h = self.after(a * b + x).tanh()
        h = h + torch.rand_like(h) if self.draws else h
        return self.last(h * b + x).tanh()


@pytest.mark.parametrize("kind", [lambda a, b: (a, b), lambda a, b: [a, b], Pair], ids=["tuple", "list", "named tuple"])
@pytest.mark.parametrize(("rows", "draws"), [(2, False), (60, False), (60, True)])
def test_several_layers_and_several_tensors_are_put_in_together(
    kind: Any, rows: int, draws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    net, (x, x0) = Several(kind), (rand(rows, 6, seed=k) for k in (1, 2))
    net.draws = draws
    for layer in (net.first, [net.first, net.after]):

        def ask(layer: Any = layer) -> Any:
            torch.manual_seed(2)
            return LayerDeepLift(net, layer).attribute(x, x0, target=2)

        found = ask()
        with monkeypatch.context() as patch:
            patch.setattr("pellucid.captum.deeplift.multipliers_inside", lambda problem, run: None)
            assert_same(found, ask(), rtol=1e-10, atol=1e-12)
        if not draws:
            each = [
                t
                for v in (found if isinstance(found, list) else [found])
                for t in (v if isinstance(v, tuple) else (v,))
            ]
            change = changed_by(net, layer if isinstance(layer, list) else [layer], x, x0)[:, 2]
            torch.testing.assert_close(sum(t.sum(1) for t in each), change, rtol=1e-9, atol=1e-12)


def changed_by(f: Any, layers: list[nn.Module], x: Tensor, x0: Tensor, at_input: bool = False) -> Tensor:
    """f(x) − f(x with what the layers give out, or take in, at x0), by hooks of the test's own."""
    at_x0: dict[nn.Module, Any] = {}

    def hooked(hook: Any, x: Tensor) -> Tensor:
        handles = [m.register_forward_pre_hook(hook) if at_input else m.register_forward_hook(hook) for m in layers]
        y = f(x)
        for handle in handles:
            handle.remove()
        return y

    with torch.no_grad():
        hooked(lambda m, *given: at_x0.update({m: given[-1]}), x0)
        return f(x) - hooked(lambda m, *given: at_x0[m], x)


class Rows(nn.Module):
    """A layer that has two rows for each input, or one for all."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.layer, self.last, self.shared = nn.Linear(3, 4).double(), nn.Linear(8, 2).double(), shared

    def forward(self, x: Tensor) -> Tensor:
        if self.shared:
            return self.last(x[:, :1].cos() * self.layer(x[:, :3].mean(0, keepdim=True)).tanh().repeat(1, 2))
        return self.last(self.layer(x.reshape(-1, 3)).tanh().reshape(len(x), -1))


@pytest.mark.parametrize("shared", [True, False])
def test_a_layer_without_a_row_for_each_input_has_one_delta_and_no_mean(shared: bool) -> None:
    torch.manual_seed(1)
    net, (x, x0) = Rows(shared), (rand(5, 6, seed=k) for k in (1, 2))
    found, delta = LayerDeepLift(net, net.layer).attribute(x, x0, target=1, return_convergence_delta=True)
    assert found.any() and found.shape[0] == (1 if shared else 10)
    with torch.no_grad():
        change = (net(x) - net(x0))[:, 1].sum()
    torch.testing.assert_close(delta, (found.sum() - change).reshape(1))
    with pytest.raises(pellucid.errors.ArgumentError, match="one for each pair"):
        LayerDeepLiftShap(net, net.layer).attribute(x, x0[:3], target=1)
    with pytest.raises(pellucid.errors.ArgumentError, match="a row for each input"):
        LayerDeepLift(net, net.layer).compute_convergence_delta(found, x0, x, 1)


READINGS: dict[str, Any] = {
    "a truth value": lambda x: 2.0 if x.abs().sum() else 1.0,
    "a whole number": lambda x: int(x.abs().amax() / 2),
    "a place in a list": lambda x: [1.0, 2.0][x.abs().amax().ceil().clamp(max=1.0).long()],
    "whether all are close": lambda x: 1.0 if torch.allclose(input=x, other=x.new_zeros(())) else 2.0,
    "whether all are equal": lambda x: 1.0 if torch.equal(x, 2 * x) else 2.0,
    "whether one is not zero": lambda x: 2.0 if torch.is_nonzero(x.abs().sum()) else 1.0,
    "whether one is there": lambda x: 2.0 if 2.0 in x else 1.0,
    "a text": lambda x: 2.0 if "2." in f"{x.abs().amax():.1f}" else 1.0,
    "the places of the largest": lambda x: 1.0 + x.abs().max(0).indices.sum(),
}


@pytest.mark.parametrize("name", READINGS)
def test_what_is_read_of_values_is_read_at_the_baseline_too(name: str) -> None:
    """A batch of both tells what the input alone tells, here where nothing of the baseline is larger."""
    x = torch.tensor([[2.0, 0.0, 0.0], [0.0, -2.0, 2.0]], dtype=torch.float64)
    f: Any = lambda x: (x + 1.0).tanh().sum(1) * READINGS[name](x)
    with pytest.raises(pellucid.errors.GraphMismatch, match="different 'other'"):
        DeepLift(f).attribute(x, torch.zeros_like(x))


BEFORE: dict[str, Any] = {
    "nothing": lambda x: x,
    "the first row": lambda x: x - x[:1],
    "the row before": lambda x: x + x.roll(1, 0),
    "the mean of the batch": lambda x: x - x.mean(0),
    "the number of rows": lambda x: x / len(x),
    "a count of rows that asks for no number": lambda x: x + torch.ones_like(x).cumsum(0),
    "as many rows as are there": lambda x: x.reshape(2, -1).softmax(-1).reshape(-1, 6),
    "two rows of a constant": lambda x: x * torch.tensor([[1.0], [2.0]], dtype=x.dtype),
    "no other number of rows": lambda x: x if len(x) == 2 else 1 / 0,
    "a sort of the rows": lambda x: x.sort(0).values,
}


@pytest.mark.parametrize("name", BEFORE)
@pytest.mark.parametrize("rows", [1, 2])
def test_a_layer_is_explained_as_it_is_alone_whatever_comes_before_it(
    name: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch of the input and the baseline is taken only where what comes before the layer keeps its rows apart."""
    torch.manual_seed(1)
    layer, last, (x, x0) = torch.nn.Tanh(), torch.nn.Linear(6, 3).double(), (rand(rows, 6, seed=k) for k in (1, 2))
    passes: list[int] = []

    def f(x: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():  # to ask for the size is to be looked at at the baseline alone too
            passes.append(len(x))
        return last(layer(BEFORE[name](x))).tanh()

    asked = lambda: answered(lambda: LayerDeepLift(f, layer).attribute(x, x0, target=2, return_convergence_delta=True))
    found = asked()
    if name == "nothing":  # the input alone, both together, the baseline for the delta
        assert passes == [rows, 2 * rows, rows]
    monkeypatch.setattr("pellucid.captum.deeplift.multipliers_inside", lambda problem, run: None)
    assert_same(found, asked(), rtol=1e-10, atol=1e-12)


def test_additional_arguments_that_are_mixed_over_their_rows_are_seen() -> None:
    """What is made of them alone is in no graph: the batch of input and baseline repeats their rows."""
    from pellucid.captum import DeepLift, LayerDeepLift

    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.layer, self.b = nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
            return self.b(self.layer(self.a(x) + more.cumsum(0)))

    torch.manual_seed(0)
    net = Mixing().double()
    x, x0, more = torch.randn(2, 4).double(), torch.randn(2, 4).double(), torch.rand(2, 4).double()
    change = (net(x, more) - net(x0, more))[:, 1]
    for method in (DeepLift(net), LayerDeepLift(net, net.layer)):
        found = method.attribute(x, x0, target=1, additional_forward_args=more)
        assert torch.allclose(torch.as_tensor(found).sum(1), change, atol=1e-10)


def test_the_number_of_pieces_tells_the_rows() -> None:
    from pellucid.captum import DeepLift

    torch.manual_seed(0)
    x, x0 = torch.randn(2, 4).double(), torch.randn(2, 4).double()
    f = lambda x: (x + torch.arange(len(x.unbind(0)))[:, None]).tanh().sum(1)
    assert torch.allclose(torch.as_tensor(DeepLift(f).attribute(x, x0)).sum(1), f(x) - f(x0), atol=1e-10)
