"""Methods that remove tokens: against brute force, against Captum, and against the model on the shorter text."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from families import model, tokenizer
from itself import read, said
from pellucid import METHODS, Model, attribute, errors
from pellucid.engine import coalitions

REMOVING = [name for name, row in METHODS.items() if row.only_removes]
TEXT = "the movie was great, so good! but the plot is very dull. not bad"
NET = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 2)).double().eval()
with torch.no_grad():
    for parameter in NET.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7)) * 0.8)
X = torch.randn(3, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
X0 = torch.randn(3, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.fixture(scope="module")
def bert() -> Model:
    return Model(model("Bert"), tokenizer())


def captum(name: str, **how: Any) -> Tensor:
    attr = pytest.importorskip("captum.attr")
    return getattr(attr, name)(NET).attribute(X, baselines=X0, target=1, **how).double()  # found in float32


# ------------------------------------------------------------------------------------------- the scores are right


def test_shapley_is_the_mean_over_all_orders() -> None:
    expected = torch.zeros_like(X)
    with torch.no_grad():
        for order in permutations(range(6)):
            z, before = X0.clone(), NET(X0)[:, 1]
            for i in order:
                z[:, i] = X[:, i]
                after = NET(z)[:, 1]
                expected[:, i] += (after - before) / 720
                before = after
    for method, how in (("shapley", {}), ("kernel_shap", {"n_samples": 62})):
        a = attribute(NET, X, X0, method=method, target=1, **how)
        torch.testing.assert_close(a.values, expected, atol=1e-10, rtol=0)
        assert a.delta.abs().max() < 1e-12
        assert (a.passes, a.status, a.error) == (64, "exact", None)


def test_shapley_agrees_with_captum() -> None:
    theirs = captum("ShapleyValues")
    torch.testing.assert_close(attribute(NET, X, X0, method="shapley", target=1).values, theirs, atol=2e-5, rtol=0)


def test_kernel_shap_agrees_with_captum() -> None:
    pytest.importorskip("sklearn")
    one, one0 = X[:1], X0[:1]
    attr = pytest.importorskip("captum.attr")
    theirs = attr.KernelShap(NET.float()).attribute(one.float(), one0.float(), target=1, n_samples=3000)
    NET.double()
    ours = attribute(NET, one, one0, method="kernel_shap", target=1).values
    torch.testing.assert_close(ours.float(), theirs, atol=2e-2 * float(ours.abs().max()), rtol=0)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_occlusion_agrees_with_captum(width: int) -> None:
    theirs = captum("Occlusion", sliding_window_shapes=(width,))
    a = attribute(NET, X, X0, method="occlusion", target=1, width=width)
    torch.testing.assert_close(a.values, theirs, atol=1e-6, rtol=0)
    assert a.passes == 2 + 6 - width + 1


def test_feature_ablation_by_groups_agrees_with_captum() -> None:
    mask = torch.tensor([[0, 1, 1, 2, 0, 2]])
    theirs = captum("FeatureAblation", feature_mask=mask)  # it gives every element its group's whole score
    a = attribute(NET, X, X0, method="feature_ablation", target=1, groups=mask)
    torch.testing.assert_close(a.values, theirs / 2, atol=1e-6, rtol=0)
    assert a.passes == 5


def test_one_group_through_a_tuple_of_inputs() -> None:
    f = lambda a, b: (a.sum(1) * b.sum((1, 2))).tanh()
    x = (torch.rand(2, 3), torch.rand(2, 2, 4))
    groups = (torch.tensor([[5, 9, -1]]), torch.tensor([[9, 2], [5, 9]]))
    a = attribute(f, x, method="shapley", groups=groups)
    first, second = a.values
    assert (first[:, 2] == 0).all() and a.delta.abs().max() < 1e-6
    torch.testing.assert_close(second[0, 0], first[0, 1].expand(4))  # one group: 1 element here and 4 there
    assert a.row_passes == (8, 4)  # three groups in the first row; in the second, two
    kept = f(torch.tensor([[0, 0, 1.0]]) * x[0], 0 * x[1])
    torch.testing.assert_close(a.baseline_output, kept)  # what is in no group stays


def test_occlusion_is_sequential_integrated_gradients(bert: Model) -> None:
    e = pellucid.explain(bert, "a good film", method="occlusion", target=1)
    problem = bert.problem(bert.encode(["a good film"]), "mask", 1)
    for i in (1, 2, 3):
        without = problem.x[0].clone()
        without[:, i] = problem.x0[0][:, i]
        word = pellucid.Problem(problem.f, problem.x, (without,), problem.target, problem.args, problem.mask)
        (along,) = METHODS["integrated_gradients"].solve(word, n_steps=300)
        assert float(along.values[0].double().sum()) == pytest.approx(e.scores[i], abs=1e-3)


@pytest.mark.parametrize("method", ["shapley", "kernel_shap", "partition_shap"])
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_they_add_up(bundled: Model, method: str, output: str) -> None:
    how: dict[str, Any] = {"n_samples": 120} if method == "kernel_shap" else {"n_samples": 8}
    for e in pellucid.explain(bundled, ["a good film .", TEXT], method=method, output=output, target=1, **how):
        f, f0 = (said(bundled.model, read(bundled.tokenizer, e.text, by=by))[0] for by in (None, "[MASK]"))
        f, f0 = (y.softmax(0) if output == "probability" else y for y in (f, f0))
        assert e.scores.sum() == pytest.approx((f - f0)[1].item(), rel=1e-5) and e.adds_up
        assert e.scores[0] == e.scores[-1] == 0


@pytest.mark.parametrize("method", ["shapley", "kernel_shap", "lime"])
def test_samples_are_right_within_their_error(method: str) -> None:
    f = lambda x: NET[4](torch.tanh(NET[0](x[:, :6]) + NET[0](x[:, 6:])))  # pyright: ignore
    x, x0 = torch.cat([X, X.flip(0)], 1)[:, :11], torch.cat([X0, X0.flip(0)], 1)[:, :11]
    f11 = lambda x: f(torch.nn.functional.pad(x, (0, 1)))
    few: dict[str, Any] = {"n_samples": 200 if method in ("lime", "kernel_shap") else 30}
    many: dict[str, Any] = {"n_samples": 2048} if method in ("lime", "kernel_shap") else {}
    exact, sampled = (attribute(f11, x, x0, method=method, target=1, **how) for how in (many, few))
    assert (exact.status, sampled.status) == ("closed_form" if method == "lime" else "exact", "sampled")
    assert isinstance(sampled.error, Tensor) and sampled.error.shape == x.shape
    off = (sampled.values - exact.values).abs() / sampled.error  # pyright: ignore
    assert off.max() < 4.5 and off.square().mean().sqrt() < 1.6 and off.mean() > 0.2


def test_sampling_stops_at_the_tolerance(bert: Model) -> None:
    used = []
    for tol in (0.3, 0.15):
        e = pellucid.explain(bert, TEXT, method="shapley", tol=tol)
        assert e.status == "converged" and e.error is not None
        assert np.linalg.norm(e.error) <= tol * np.linalg.norm(e.scores)
        used.append(e.passes)
    assert used[0] < used[1] <= 4096
    short = pellucid.explain(bert, TEXT, method="shapley", tol=1e-6, max_passes=200)
    assert short.status == "tolerance_not_met" and 150 < short.passes <= 200
    fixed = pellucid.explain(bert, TEXT, method="shapley", n_samples=10)
    assert fixed.status == "sampled" and fixed.passes <= 10 * 16 + 2
    owen = pellucid.explain(bert, TEXT, method="partition_shap", tol=0.5, max_passes=150)
    assert owen.status == "converged" and owen.error is not None and owen.relative_delta < 1e-6
    again, other = (pellucid.explain(bert, TEXT, method="shapley", n_samples=10, seed=s) for s in (0, 1))
    np.testing.assert_array_equal(fixed.scores, again.scores)
    assert np.abs(fixed.scores - other.scores).max() > 0


def test_rows_stop_by_themselves(bundled: Model) -> None:
    short, long = pellucid.explain(bundled, ["a good film .", TEXT], method="shapley", tol=0.2)
    assert (short.status, short.passes, short.error) == ("exact", 16, None)
    assert long.status == "converged" and long.error is not None and len(long.error) == len(long.tokens)


# ------------------------------------------------------------------------------------------------- groups and text


def test_words_and_sentences(bundled: Model) -> None:
    text = "Unfathomably good. A dull plot! Watch it."
    e = pellucid.explain(bundled, text, method="shapley", groups="word")
    words = [w for w in e.words() if not w.special]
    assert len(words) < sum(not t.special for t in e.tokens) and e.passes == 2 ** len(words)
    for w in words:  # pieces share evenly
        assert np.ptp(e.scores[list(w.tokens)]) < 1e-7
    sentences = pellucid.explain(bundled, text, method="shapley", groups="sentence")
    assert sentences.passes == 8
    index = lambda start, end: [i for i, t in enumerate(e.tokens) if t.span and start <= t.span[0] < end]
    lists = [index(0, 18), index(19, 31), index(32, 99)]
    same = pellucid.explain(bundled, text, method="shapley", groups=lists)
    np.testing.assert_array_equal(same.scores, sentences.scores)
    by_function = pellucid.explain(bundled, [text, "good"], method="shapley", groups=lambda tokens: [own(tokens)])
    assert [b.passes for b in by_function] == [2, 2]


def own(tokens: Any) -> list[int]:
    return [i for i, t in enumerate(tokens) if not t.special]


def test_a_pair_of_texts_has_its_own_words_and_sentences(bert: Model) -> None:
    e = pellucid.explain(bert, ("a good film . so bad", "the plot is dull"), method="occlusion", groups="sentence")
    assert e.passes == 5
    whole = said(bert.model, read(bert.tokenizer, *e.text))[0, e.target.index]
    for start, end in ((1, 5), (5, 7), (8, 12)):  # each token has its part of what its sentence is worth
        without = said(bert.model, read(bert.tokenizer, *e.text, by="[MASK]", at=range(start, end)))
        worth = (whole - without[0, e.target.index]).item()
        np.testing.assert_allclose(e.scores[start:end], worth / (end - start), atol=1e-5)


@pytest.mark.parametrize("family", ["Bert", "Roberta", "DebertaV2", "ModernBert"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_delete_is_the_model_on_the_shorter_text(family: str, side: str) -> None:
    net, tok = model(family), tokenizer()
    tok.padding_side = side
    m = Model(net, tok)
    texts = ["the film was good", "a dull plot and bad acting"]
    for e in pellucid.explain(m, texts, method="occlusion", baseline="delete", target=1, groups="word"):
        words = str(e.text).split()
        for i in range(len(words)):
            shorter = " ".join(words[:i] + words[i + 1 :])
            expected = pellucid.explain(m, shorter, method="random", target=1).output
            assert e.output - e.scores[i + 1] == pytest.approx(expected, abs=2e-4 * max(1, abs(expected)))
        assert e.baseline == "delete"


@pytest.mark.parametrize("method", REMOVING)
def test_delete_in_a_batch_is_as_alone(bundled: Model, method: str) -> None:
    texts = ["a good film", "so very dull and bad , not good"]
    for text, e in zip(texts, pellucid.explain(bundled, texts, method=method, baseline="delete"), strict=True):
        alone = pellucid.explain(bundled, text, method=method, baseline="delete")
        np.testing.assert_allclose(e.scores, alone.scores, atol=1e-5 * max(1, np.abs(alone.scores).max()))
        if METHODS[method].adds_up:
            f, f0 = (said(bundled.model, read(bundled.tokenizer, t))[0, e.target.index].item() for t in (text, ""))
            assert e.scores.sum() == pytest.approx(f - f0, rel=1e-5)


@pytest.mark.parametrize(("method", "off"), [("deeplift", 1e-4), ("integrated_gradients", 1e-2), ("shapley", 1e-5)])
def test_probabilities(bundled: Model, method: str, off: float) -> None:
    e = pellucid.explain(bundled, "a good film", method=method, output="probability", groups=None)
    assert e.output == pytest.approx(e.probability, abs=1e-6)
    p0 = said(bundled.model, read(bundled.tokenizer, "a good film", by="[MASK]"))[0].softmax(0)[e.target.index].item()
    assert e.scores.sum() == pytest.approx(e.probability - p0, rel=off)  # pyright: ignore[reportOptionalOperand]
    contrast = pellucid.explain(bundled, "a good film", target="positive - negative", output="probability")
    assert contrast.output == pytest.approx(2 * e.output - 1, abs=1e-6) and contrast.relative_delta < 1e-5


def test_a_single_output_has_the_probability_of_its_sigmoid() -> None:
    net = model("Bert")
    net.classifier = nn.Linear(32, 1)
    plain, probable = (
        pellucid.explain(Model(net, tokenizer()), "a good film", output=o) for o in ("logit", "probability")
    )
    assert probable.output == pytest.approx(1 / (1 + np.exp(-plain.output)), abs=1e-6)
    assert probable.relative_delta < 1e-5


# ------------------------------------------------------------------------------------------------------ evaluations


def test_a_coalition_is_evaluated_once(bert: Model) -> None:
    seen: list[Tensor] = []
    forward = bert.model.forward

    def counting(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["input_ids"])
        return forward(*args, **kwargs)

    m = Model(bert.model, bert.tokenizer)
    pellucid.explain(m, "the film was good", method="occlusion")  # what is measured once for a model
    bert.model.forward = counting
    try:
        for method, how in (("shapley", {}), ("kernel_shap", {}), ("partition_shap", {}), ("lime", {"n_samples": 40})):
            seen.clear()
            e = pellucid.explain(m, "the film was good", method=method, **how)
            assert sum(map(len, seen)) == e.passes <= 16
    finally:
        del bert.model.forward


def test_a_row_asks_for_what_it_says() -> None:
    rows: list[int] = []

    def f(x: Tensor) -> Tensor:
        rows.append(len(x))
        return NET(x)

    for method in REMOVING:
        rows.clear()
        a = attribute(f, X, X0, method=method, target=0)
        packed = max(rows) > 3
        alone = 2 + packed + (packed and not METHODS[method].distribution)  # two at x, a packed one, one at x0
        assert a.row_passes is not None and sum(a.row_passes) + alone == sum(rows), method
        assert a.passes == max(a.row_passes)


def test_no_gradient_is_kept_and_the_model_can_still_be_trained() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.mask = nn.Parameter(torch.ones(4)), None

        def forward(self, x: Tensor) -> Tensor:
            if self.mask is None:
                self.mask = torch.tensor([1.0, 0, 1, 1])
            assert torch.is_inference_mode_enabled() or not torch.is_grad_enabled()
            return (x * self.mask * self.weight).sum(1)

    net = Caching()
    attribute(net, torch.ones(1, 4), method="shapley")
    assert net.mask is None  # what the model keeps from a pass is taken back
    attribute(lambda x: net(x), torch.ones(1, 4), method="shapley")
    (torch.ones(4) * net.mask * net.weight).sum().backward()
    assert net.weight.grad is not None


@pytest.mark.parametrize("fits", [3, 0])
def test_a_batch_that_does_not_fit_is_halved(fits: int) -> None:
    def f(x: Tensor) -> Tensor:
        if len(x) > max(fits, 1) or (not fits and torch.is_inference_mode_enabled()):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return NET(x)

    if fits:
        a = attribute(f, X, X0, method="shapley", target=1)
        torch.testing.assert_close(a.values, attribute(NET, X, X0, method="shapley", target=1).values)
    else:
        with pytest.raises(errors.OutOfMemory, match="expected room"):
            attribute(f, X[:1], X0[:1], method="shapley", target=1)


def test_random_is_drawn_for_each_text(bundled: Model) -> None:
    a, b = pellucid.explain(bundled, ["a good film", "a dull film"], method="random")
    assert np.abs(a.scores - b.scores).max() > 0.1
    again, other = (pellucid.explain(bundled, "a good film", method="random", seed=s) for s in (0, 1))
    np.testing.assert_array_equal(a.scores, again.scores)
    assert np.abs(a.scores - other.scores).max() > 0.1


def test_the_average_over_baselines_keeps_an_error(bundled: Model) -> None:
    how: dict[str, Any] = {"method": "shapley", "n_samples": 8}
    e = pellucid.explain(bundled, TEXT, baseline=["mask", "pad", "delete"], **how)
    each = [pellucid.explain(bundled, TEXT, baseline=b, **how).error for b in ("mask", "pad", "delete")]
    np.testing.assert_allclose(e.error, np.mean(each, axis=0))


# ----------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("match", "how"),
    [
        (r"overlap: token 2 \('good'\)", {"groups": [[1, 2], [2, 3]]}),
        (r"leave tokens out: token 3 \('film'\)", {"groups": [[1], [2]]}),
        (r"token 0 \('\[CLS\]'\)", {"groups": [[0, 1], [2, 3]]}),
        ("from 0 to 4", {"groups": [[1, 2], [3, 9]]}),
        ("at least one token index", {"groups": [[1, 2, 3], []]}),
        ("at least one token index", {"groups": [1, 2, 3]}),
        ("'token', 'word', 'sentence'", {"groups": "paragraph"}),
        ("'token', 'word', 'sentence'", {"groups": 3}),
        ("one list of groups for 2 inputs", {"groups": [[1, 2, 3]], "inputs": ["a good film", "a dull film"]}),
        ("needs something in the place", {"method": "deeplift", "baseline": "delete"}),
        ("needs something in the place", {"method": ["deeplift", "shapley"], "baseline": ["mask", "delete"]}),
        ("no name", {"baseline": "no such token here"}),
        ("from 1 to 3", {"method": "occlusion", "width": 4}),
        ("from 1 to 3", {"method": "occlusion", "width": 0}),
        ("max_passes=1", {"max_passes": 1}),
        ("tol=0", {"tol": 0}),
        ("n_samples=3", {"n_samples": 3}),
        ("two pairs of orders", {"inputs": TEXT, "max_passes": 20}),
        ("two pairs of orders", {"inputs": TEXT, "max_passes": 20, "method": "partition_shap"}),
        ("at least 42", {"inputs": TEXT, "method": "kernel_shap", "n_samples": 20}),
        ("at least 19", {"inputs": TEXT, "method": "lime", "n_samples": 10}),
        ("kernel_width=0", {"method": "lime", "kernel_width": 0}),
        ("'logit' or 'probability'", {"output": "odds"}),
        ("target function", {"output": "probability", "target": lambda logits: logits[:, 1]}),
    ],
)
def test_bad_arguments(bundled: Model, match: str, how: dict[str, Any]) -> None:
    with pytest.raises(errors.InputError, match=match) as caught:
        pellucid.explain(bundled, **{"inputs": "a good film", "method": "shapley", **how})
    assert "xpected" in str(caught.value)


def test_a_replacement_the_tokenizer_lacks() -> None:
    bare = tokenizer()
    bare.backend_tokenizer.post_processor = None
    with pytest.raises(errors.UnknownBaseline, match="no special tokens"):
        pellucid.explain(Model(model("Bert"), bare), "a good film", method="occlusion", baseline="delete")


@pytest.mark.parametrize(
    ("match", "groups"),
    [
        ("prefix", torch.zeros(3, 5, dtype=torch.long)),
        ("prefix", torch.zeros(2, 6, dtype=torch.long)),
        ("prefix", torch.zeros(3, 6)),
        ("prefix", [[0, 1, 2, 3, 4, 5]]),
        ("for 2 inputs", (torch.zeros(3, 6, dtype=torch.long),) * 2),
        ("numbers from 0", torch.full((3, 6), -2)),
        ("at least one group", torch.full((3, 6), -1)),
    ],
)
def test_bad_groups_of_a_function(match: str, groups: Any) -> None:
    with pytest.raises(errors.InputError, match=match):
        attribute(NET, X, X0, method="shapley", target=0, groups=groups)
    with pytest.raises(errors.InputError, match="removes groups"):
        attribute(NET, X, X0, target=0, groups=torch.zeros(3, 6, dtype=torch.long))


def test_the_evaluator_packs_all_rows() -> None:
    sizes: list[int] = []

    def f(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return x.sum(1)

    attribute(f, X, X0, method="occlusion")
    assert sizes == [
        3,
        18,
        3,
        1,
        1,
        1,
        1,
    ]  # rows alone: two at x, one at x0, one of the 18
    assert coalitions.games_of(pellucid.Problem(f, (X,), (X0,), lambda out: lambda o, which: o))[0].players == (6, 6, 6)
