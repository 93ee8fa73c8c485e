"""What is told of the inside of a model, against Captum, autograd and formulas written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from families import model as family
from families import tokenizer
from itself import read
from pellucid import Model, errors

TEXT = "the film was not good , but the plot is great !"


@pytest.fixture(scope="module")
def bert() -> Model:
    return Model(family("Bert", "sdpa", dtype=torch.float64), tokenizer())


class Toy(nn.Module):
    """One block of attention of its own, whose softmax is a module that Captum can name."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 8)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(8, 2)

    def forward(self, input_ids: Tensor) -> Tensor:
        h = self.embed(input_ids)
        for block in self.blocks:
            h = block(h)
        return self.head(h[:, 0])


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))
        self.softmax = nn.Softmax(-1)

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = (f(h).unflatten(-1, (2, 4)).transpose(1, 2) for f in (self.q, self.k, self.v))
        a = self.softmax(2 * q @ k.mT) @ v
        return h + self.out(a.transpose(1, 2).flatten(2)).tanh()


@pytest.fixture(scope="module")
def toy() -> Model:
    torch.manual_seed(3)
    return Model(Toy().double(), tokenizer())


def captum_conductance(model: Model, layers: list[nn.Module], n_steps: int, text: str = TEXT) -> list[Tensor]:
    attr = pytest.importorskip("captum.attr")
    problem = model.problem(model.encode([text]), "mask", 1)
    f = lambda x: model.outputs(x, *problem.args_of(torch.zeros(len(x), dtype=torch.long)))
    each = [
        attr.LayerConductance(f, layer).attribute(*problem.x, *problem.x0, target=1, n_steps=n_steps)
        for layer in layers
    ]
    return [(c[0] if isinstance(c, tuple) else c).detach() for c in each]


def test_layers_agree_with_captums_loop(bert: Model) -> None:
    theirs = captum_conductance(bert, list(bert.model.bert.encoder.layer), 300)
    e = pellucid.explain(bert, TEXT, "integrated_gradients", target=1, n_steps=300, detail=("layers",))
    for ours, c in zip(e.layers, theirs, strict=True):
        np.testing.assert_allclose(ours, c.sum(-1)[0].numpy(), atol=1e-9)


def test_heads_agree_with_captums_loop(toy: Model) -> None:
    theirs = captum_conductance(toy, [b.softmax for b in toy.model.blocks], 100)
    e = pellucid.explain(toy, TEXT, "integrated_gradients", target=1, n_steps=100, detail=("heads",))
    np.testing.assert_allclose(e.heads, torch.cat(theirs).numpy(), atol=1e-9)


def test_heads_of_the_walk_are_those_of_the_rest_of_the_network(toy: Model) -> None:
    """The last block as a function of its attention, its values and its residual stream, by `attribute`."""
    block, net = toy.model.blocks[1], toy.model

    def inside(h: Tensor) -> tuple[Tensor, ...]:
        q, k, v = (f(h).unflatten(-1, (2, 4)).transpose(1, 2) for f in (block.q, block.k, block.v))
        return block.softmax(2 * q @ k.mT), v, h

    def rest(a: Tensor, v: Tensor, h: Tensor) -> Tensor:
        return net.head((h + block.out((a @ v).transpose(1, 2).flatten(2)).tanh())[:, 0])

    first = [net.blocks[0](net.embed(read(tokenizer(), TEXT, by=by)["input_ids"])).detach() for by in (None, "[MASK]")]
    x, x0 = (tuple(t.detach() for t in inside(h)) for h in first)
    expected = pellucid.attribute(rest, x, x0, target=1).values[0]
    e = pellucid.explain(toy, TEXT, target=1, detail=("heads",))
    np.testing.assert_allclose(e.heads[1], expected[0], atol=1e-12)
    assert np.abs(e.heads[1]).max() > 1e-3


def test_to_a_tolerance_they_are_what_captum_tends_to(bert: Model) -> None:
    fine, finer = (captum_conductance(bert, list(bert.model.bert.encoder.layer), n) for n in (500, 1000))
    limit = torch.stack([2 * b - a for a, b in zip(fine, finer, strict=True)]).sum(-1)[:, 0].numpy()  # Richardson
    e = pellucid.explain(bert, TEXT, "integrated_gradients", target=1, tol=1e-4, max_passes=400, detail=("layers",))
    assert e.status == "converged"
    assert np.linalg.norm(e.layers - limit) < 1e-3 * np.linalg.norm(limit)
    assert abs(e.layer_deltas).max() < 1e-3 * abs(e.change)


class Kinked(nn.Module):
    """A block whose gradient jumps (ReLU), or nearly (a steep sigmoid)."""

    def __init__(self, act: Any) -> None:
        super().__init__()
        self.a, self.b, self.act = nn.Linear(8, 24), nn.Linear(24, 8), act

    def forward(self, h: Tensor) -> Tensor:
        return h + self.b(self.act(self.a(h) + h.mean(1, keepdim=True).sum(-1, keepdim=True)))


@pytest.mark.parametrize("act", [torch.relu, lambda z: torch.sigmoid(80 * z)], ids=["relu", "steep"])
def test_where_points_are_many_and_uneven_layers_are_right(act: Any) -> None:
    torch.manual_seed(1)
    toy = Toy()
    toy.blocks = nn.ModuleList([Kinked(act), Kinked(act)])
    model = Model(toy.double(), tokenizer())
    how = {"method": "integrated_gradients", "target": 1, "detail": ("layers",)}
    fine, finer = (pellucid.explain(model, TEXT, n_steps=n, **how).layers for n in (1000, 2000))
    limit = 2 * finer - fine  # Richardson: the fixed rule is of first order
    e = pellucid.explain(model, TEXT, tol=1e-3, max_passes=2000, **how)
    assert e.status == "converged" and e.passes > 41
    assert (np.linalg.norm(e.layers - limit, axis=1) <= 1e-3 * np.linalg.norm(limit, axis=1)).all()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["Bert", "DistilBert", "Roberta", "Albert", "DebertaV2", "ModernBert", "Electra"])
def test_every_layer_is_complete_from_one_walk(name: str, attention: str) -> None:
    if (name, attention) == ("DebertaV2", "sdpa"):
        attention = "eager"  # transformers offers no other
    model = Model(family(name, attention, dtype=torch.float64), tokenizer())
    texts = [TEXT, "a dull film"]
    for e, text in zip(pellucid.explain(model, texts, detail=("layers", "heads")), texts, strict=True):
        assert e.passes == 2 and e.layers.shape == (2, len(e.tokens))
        assert abs(e.layer_deltas).max() < 1e-8 * max(abs(e.change), abs(e.scores).sum())
        assert e.heads.shape == (2, 4, len(e.tokens), len(e.tokens))
        alone = pellucid.explain(model, text, detail=("layers", "heads"))
        np.testing.assert_allclose(alone.layers, e.layers, atol=1e-8 * abs(e.layers).max())
        np.testing.assert_allclose(alone.heads, e.heads, atol=1e-8 * abs(e.heads).max())


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients"])
def test_elements_are_distributed_as_those_of_a_linear_head(toy: Model, method: str) -> None:
    """After the last block an element contributes its weight times its change, and only the first token's do."""
    from scipy.stats import entropy

    e = pellucid.explain(toy, TEXT, method=method, target=1, detail="layers")
    ids = torch.tensor([[t.id for t in e.tokens]])
    masked = torch.tensor([[t.id if t.special else toy.tokenizer.mask_token_id for t in e.tokens]])
    found: list[Tensor] = []
    hook = toy.model.blocks[-1].register_forward_hook(lambda *call: found.append(call[-1]))
    with torch.no_grad(), torch.random.fork_rng():
        toy.model(ids), toy.model(masked)
    hook.remove()
    each = (toy.model.head.weight[1] * (found[0] - found[1])[0, 0]).detach().numpy()
    assert e.elements is not None and e.layers is not None
    assert e.elements["quantiles"].shape == (2, len(e.tokens), 5) and e.elements["entropy"].shape == e.layers.shape
    wanted = np.quantile(each, [0, 0.25, 0.5, 0.75, 1])
    assert e.elements["quantiles"][-1, 0] == pytest.approx(wanted, abs=1e-9)
    assert e.elements["entropy"][-1, 0] == pytest.approx(entropy(np.abs(each), base=2), abs=1e-7)
    assert not e.elements["quantiles"][-1, 1:].any() and not e.elements["entropy"][-1, 1:].any()
    again = pellucid.Explanation.from_json(e.to_json()).elements or {}
    assert all(np.array_equal(again[name], values) for name, values in e.elements.items())
    assert pellucid.explain(toy, TEXT, baseline=["mask", "pad"], detail="layers").elements is None


def test_several_targets_come_from_the_same_pass(bert: Model) -> None:
    both = pellucid.explain(bert, TEXT, target=[0, 1], detail=("layers",))
    for e, target in zip(both, (0, 1), strict=True):
        np.testing.assert_allclose(e.layers, pellucid.explain(bert, TEXT, target=target, detail=("layers",)).layers)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_is_that_of_the_model(attention: str) -> None:
    model = Model(family("Bert", attention), tokenizer())
    batch = model.tokenizer(TEXT, return_tensors="pt")
    eager = family("Bert", "eager")
    with torch.no_grad():
        expected = torch.cat(eager(**batch, output_attentions=True).attentions)
    e = pellucid.explain(model, [TEXT, "bad"], detail=("attentions", "rollout"))[0]
    np.testing.assert_allclose(e.attentions, expected.numpy(), atol=1e-5)
    eye, rolled = np.eye(len(e.tokens)), np.eye(len(e.tokens))
    for layer in expected.numpy():
        rolled = (0.5 * layer.mean(0) + 0.5 * eye) @ rolled
    np.testing.assert_allclose(e.measures["rollout"][-1], rolled, atol=1e-5)
    assert model.model.config._attn_implementation == attention


def test_norms_are_those_of_the_transformed_vectors(bert: Model) -> None:
    e = pellucid.explain(bert, TEXT, detail=("norms", "attentions"))
    layer = bert.model.bert.encoder.layer[1]
    batch = bert.tokenizer(TEXT, return_tensors="pt")
    with torch.no_grad():
        h = bert.model(**batch, output_hidden_states=True).hidden_states[1][0]
        value = layer.attention.self.value(h).view(len(h), 4, 8)
        out = layer.attention.output.dense.weight.view(32, 4, 8)
        f = torch.einsum("khs,dhs->hkd", value, out).numpy()
    a = e.attentions[1]
    np.testing.assert_allclose(e.measures["norm_f"][1], np.linalg.norm(f, axis=-1), rtol=1e-6)
    each = a[..., None] * f[:, None]
    np.testing.assert_allclose(e.measures["norm_af"][1], np.linalg.norm(each, axis=-1), rtol=1e-6)
    np.testing.assert_allclose(e.measures["norm_sum_af"][1], np.linalg.norm(each.sum(0), axis=-1), rtol=1e-6)


def test_attention_times_gradient_is_autograds(toy: Model) -> None:
    e = pellucid.explain(toy, TEXT, target=1, detail=("attention_x_gradient",))
    kept: list[Tensor] = []
    hooks = [
        b.softmax.register_forward_hook(lambda m, a, out: (out.retain_grad(), kept.append(out))[0])
        for b in toy.model.blocks
    ]
    toy.model(toy.tokenizer(TEXT, return_tensors="pt")["input_ids"])[0, 1].backward()
    for hook in hooks:
        hook.remove()
    toy.model.zero_grad()
    expected = torch.cat([p * p.grad for p in kept]).detach().numpy()
    np.testing.assert_allclose(e.measures["attention_x_gradient"], expected, atol=1e-12)


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients"])
def test_parts_are_complete_together(bert: Model, method: str) -> None:
    options: dict[str, Any] = {} if method == "deeplift" else {"n_steps": 400}
    words = tokenizer()
    words.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    e = pellucid.explain(
        Model(bert.model, words), ("a good film", "so bad"), method, target=1, detail=("parts",), **options
    )
    assert set(e.parts) == {"word", "position", "token type"}
    told, bound = e.meta["parts"], 1e-9 if method == "deeplift" else 2e-2
    change = told["output"] - told["baseline_output"]
    assert abs(sum(part.sum() for part in e.parts.values()) - change) < bound * abs(change)
    assert told["baseline"] == "mask, with the token type and position of the first token"
    assert abs(e.delta) < bound * abs(e.change)
    assert e.parts["position"][0] == e.parts["token type"][0] == 0  # the baseline has the first token's
    assert np.flatnonzero(e.parts["token type"]).tolist() == [i for i, t in enumerate(e.tokens) if t.segment == 1]


def at_the_first_token(m: Model, ids: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
    """The logits where every token has the position and type of the first, written out by hand."""
    found = m.model.bert.embeddings  # pyright: ignore[reportAttributeAccessIssue]
    first = found.position_embeddings.weight[0] + found.token_type_embeddings(types[:, :1])
    embedded = found.LayerNorm(found.word_embeddings(ids) + first)
    hooked = found.register_forward_hook(lambda *_: embedded)
    try:
        with torch.no_grad():
            return m.model(input_ids=ids, token_type_ids=types).logits
    finally:
        hooked.remove()


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"baseline": ["mask", "pad"]},
        {"target": [0, 2]},
        {"method": ["deeplift", "integrated_gradients"], "n_steps": 20},
        {"detail": ("layers", "heads", "norms")},
    ],
)
def test_parts_leave_the_scores_as_they_are(bert: Model, how: dict[str, Any]) -> None:
    flat = lambda found: [found] if isinstance(found, pellucid.Explanation) else list(found)
    detail = how.pop("detail", ()) if "detail" in how else ()
    plain = flat(pellucid.explain(bert, "a good film", detail=detail, **how))
    both = flat(pellucid.explain(bert, "a good film", detail=(*detail, "parts"), **how))
    ids = bert.tokenizer("a good film", return_tensors="pt")["input_ids"]
    for a, b in zip(plain, both, strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-12)
        assert (a.output, a.baseline_output, a.delta) == pytest.approx((b.output, b.baseline_output, b.delta))
        assert (a.baseline, a.passes, a.status) == (b.baseline, b.passes, b.status)
        told, outputs = b.meta["parts"], []
        for name in b.baseline.split(", "):
            changed = ids.clone()
            changed[:, 1:-1] = bert.tokenizer.convert_tokens_to_ids({"mask": "[MASK]", "pad": "[PAD]"}[name])
            outputs.append(at_the_first_token(bert, changed, torch.zeros_like(ids))[0, b.target.index].item())
        assert told["baseline_output"] == pytest.approx(np.mean(outputs), rel=1e-9)
        total = sum(part.sum() for part in (b.parts or {}).values())
        assert told["output"] == pytest.approx(a.output)
        assert told["delta"] == pytest.approx(told["output"] - told["baseline_output"] - total, abs=1e-12)
        assert abs(told["delta"]) < (1e-9 if b.method == "deeplift" else 0.1) * abs(a.output)


def test_a_module_as_the_input(bert: Model) -> None:
    deep = pellucid.explain(bert, TEXT, at="bert.encoder.layer.0")
    layers = pellucid.explain(bert, TEXT, detail=("layers",)).layers
    np.testing.assert_allclose(deep.scores, layers[0], atol=1e-9)
    read = pellucid.explain(bert, TEXT, detail=("layers",), at=["bert.encoder.layer.1", "bert.embeddings.LayerNorm"])
    np.testing.assert_allclose(read.layers[1], layers[1], atol=1e-9)  # in the order in which the model computes them
    assert read.layers.shape[0] == 2 and abs(read.layer_deltas).max() < 1e-9


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"detail": ("layer",)}, "layers"),
        ({"detail": ("layers",), "method": "occlusion"}, "deeplift, integrated_gradients"),
        ({"at": "bert.encoder.layer.9"}, "no module of that name"),
        ({"at": "bert.pooler"}, "an activation for each token"),
        ({"at": "bert.encoder.layer.0", "detail": ("parts",)}, "Leave 'parts' out"),
    ],
)
def test_what_cannot_be_told_is_said(bert: Model, wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InputError, match=message):
        pellucid.explain(bert, TEXT, **wanted)


def test_a_model_without_layers_or_attention_says_so() -> None:
    class Flat(nn.Module):
        def __init__(self, blocks: bool) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(100, 4), nn.Linear(4, 2)
            self.blocks = nn.ModuleList([nn.Linear(4, 4)]) if blocks else None

        def forward(self, input_ids: Tensor) -> Tensor:
            h = self.embed(input_ids)
            return self.head((h if self.blocks is None else self.blocks[0](h)).mean(1))

    with pytest.raises(errors.UnsupportedModel, match="no list of layers"):
        pellucid.explain(Model(Flat(False), tokenizer()), TEXT, detail=("layers",))
    with pytest.raises(errors.UnsupportedModel, match="No attention could be seen in layer 0"):
        pellucid.explain(Model(Flat(True), tokenizer()), TEXT, detail=("heads",))


def test_layers_whose_parts_are_in_lists_of_their_own() -> None:
    """XLM: attention, norms and feed-forward parts in four lists. What ends a layer is the last."""
    m = Model(family("XLM", dtype=torch.float64), tokenizer())
    e = pellucid.explain(m, TEXT, target=0, detail=("layers",))
    assert e.layers.shape[0] == 2 and abs(e.layer_deltas).max() < 1e-9


def test_the_list_that_the_configuration_counts_is_that_of_the_layers() -> None:
    """A longer one, as MarkupLM's embeddings of each depth of a page, is something else."""
    net = family("Bert", dtype=torch.float64)
    expected = pellucid.explain(Model(net, tokenizer()), TEXT, target=0, detail=("layers",))
    net.bert.embeddings.depths = nn.ModuleList(nn.Embedding(3, 4) for _ in range(9))
    found = pellucid.explain(Model(net, tokenizer()), TEXT, target=0, detail=("layers",))
    np.testing.assert_array_equal(found.layers, expected.layers)


def test_layers_that_are_never_called_as_modules_say_so() -> None:
    with pytest.raises(errors.UnsupportedModel, match=r"Layer 0 \(SqueezeBertModule\) was never called"):
        pellucid.explain(Model(family("SqueezeBert"), tokenizer()), TEXT, target=0, detail=("layers",))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_layers_that_only_part_of_the_text_passes_through_say_so(dtype: torch.dtype) -> None:
    """Embeddings that enter behind a layer, as those that Gemma 4 has for each. Named, the modules are a part."""

    class Twice(Toy):
        def forward(self, input_ids: Tensor) -> Tensor:
            h = x = self.embed(input_ids)
            for block in self.blocks:
                h = block(h) + x
            return self.head(h[:, 0])

    torch.manual_seed(3)
    m = Model(Twice().to(dtype), tokenizer())
    with pytest.raises(errors.UnsupportedModel, match="passed through the output of layer 0 of Twice; expected all"):
        pellucid.explain(m, TEXT, target=0, detail=("layers",))
    named = pellucid.explain(m, TEXT, target=0, detail=("layers",), at=["blocks.0", "blocks.1"])
    assert abs(named.layer_deltas[0]) > 0.01 * abs(named.change) and named.relative_delta < 1e-5
