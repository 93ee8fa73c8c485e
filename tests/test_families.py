"""Every family of transformers, with every attention it offers: the scores add up, alone and in padded batches."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import pellucid
from families import FAMILIES, attentions, model, tokenizer
from itself import read, said
from pellucid import Model
from pellucid.engine.experts import lined_up
from pellucid.errors import GraphMismatch
from pellucid.numerics.deeplift.rules.experts import Chosen
from tabled import TEXTS, classifying

ROWS = [(family, attention) for family in FAMILIES for attention in attentions(family)]


@pytest.mark.parametrize(("family", "attention"), ROWS)
def test_in_float64(family: str, attention: str) -> None:
    found = classifying(family, attention, torch.float64)
    assert found.residual <= 1e-9
    assert found.batched is None or found.batched <= 1e-9
    assert found.change > 1e-3


@pytest.mark.parametrize(("family", "attention"), ROWS)
def test_in_float32(family: str, attention: str) -> None:
    found = classifying(family, attention, torch.float32)
    assert found.residual <= 1e-4
    assert found.batched is None or found.batched <= 1e-5


@pytest.mark.parametrize("family", [f for f in FAMILIES if FAMILIES[f].head == "ForSequenceClassification"])
def test_the_output_is_that_of_the_model_itself(family: str) -> None:
    net, row = model(family), FAMILIES[family]
    tok = tokenizer(row.mask, row.side)
    takes = inspect.signature(net.forward).parameters
    inputs = {k: v for k, v in tok(TEXTS[0], return_tensors="pt").items() if k in takes}
    with torch.no_grad():
        expected = net(**inputs).logits[0, 2].item()
    e = pellucid.explain(Model(net, tok), TEXTS[0], target=2, baseline="[UNK]", method="input_x_gradient")
    assert e.output == pytest.approx(expected, rel=1e-5)  # to the bit, but for MPNet, whose positions are followed
    walked = pellucid.explain(Model(net, tok), TEXTS[0], target=2, baseline="dull")
    assert walked.output == pytest.approx(expected, rel=1e-4, abs=1e-4)
    if not net.config.is_encoder_decoder:  # of these the decoder reads the text itself, also at the baseline
        empty = said(net, read(tok, TEXTS[0], by="dull"))[0, 2].item()
        assert walked.baseline_output == pytest.approx(empty, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("family", ["Bert", "DebertaV2", "ModernBert", "XLNet", "Funnel", "Longformer", "Bart", "T5"])
def test_pairs_short_texts_and_contrasts(family: str) -> None:
    m = Model(model(family, dtype=torch.float64), tokenizer(side=FAMILIES[family].side))
    texts: list[object] = ["a dull film", ("it was very bad . and not good", "the plot is dull"), TEXTS[0]]
    together = pellucid.explain(m, texts, target="LABEL_1 - LABEL_2")
    for text, e in zip(texts, together, strict=True):
        alone = pellucid.explain(m, text, target="LABEL_1 - LABEL_2")
        assert max(e.relative_delta, alone.relative_delta) <= 1e-9
        np.testing.assert_allclose(e.scores, alone.scores, atol=1e-10)


# ------------------------------------------------------------------------------------------------------- routes


def routed(implementation: str, dtype: torch.dtype = torch.float32) -> Model:
    """A Mixtral with one layer of four experts, two for each token."""
    how = {"num_local_experts": 4, "num_experts_per_tok": 2, "num_hidden_layers": 1}
    net = model("Mixtral", dtype=dtype, experts_implementation=implementation, **how)
    return Model(net, tokenizer(mask=False))


@pytest.mark.parametrize(("implementation", "dtype"), [("eager", torch.float64), ("grouped_mm", torch.float32)])
def test_equal_routes_add_up(implementation: str, dtype: torch.dtype) -> None:
    m = routed(implementation, dtype)
    ids = m.tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    x = m.embedding(ids)[0].detach()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    e = pellucid.explain(m, TEXTS[0], baseline=x + 0.01 * x.abs().mean() * noise, target=0)
    assert np.abs(e.scores).max() > 1e-3
    assert abs(e.delta) <= (1e-9 * abs(e.change) if dtype == torch.float64 else 1e-5 * abs(e.output))


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm"])
@pytest.mark.parametrize("segments", [1, 2])
def test_tokens_that_take_other_experts_add_up(implementation: str, segments: int) -> None:
    """Alone and in a batch; the ends are those of the model called on ids, whose router rounds to float32."""
    m = routed(implementation, torch.float64 if implementation == "eager" else torch.float32)
    off = 1e-9 if implementation == "eager" else 3e-5
    routes: list[torch.Tensor] = []
    router = m.model.model.layers[0].mlp.gate
    handle = router.register_forward_hook(lambda _m, _a, out: routes.append(out[2].sort().values))
    ends = [said(m.model, read(m.tokenizer, TEXTS[0], by=by))[0, 0].item() for by in (None, "[UNK]")]
    handle.remove()
    assert not torch.equal(*routes)  # else nothing is tried here
    how: dict[str, Any] = {"baseline": "[UNK]", "target": 0, "segments": segments}
    (e, _), alone = pellucid.explain(m, TEXTS[:2], **how), pellucid.explain(m, TEXTS[0], **how)
    assert (e.output, e.baseline_output) == pytest.approx(ends, abs=3e-6)
    assert e.scores.sum() == pytest.approx(ends[0] - ends[1], abs=3e-5)
    assert abs(e.delta) <= off * abs(e.change)
    assert e.status == "exact"
    np.testing.assert_allclose(e.scores, alone.scores, atol=off)


def test_experts_that_cannot_be_run_on_all_tokens_are_refused() -> None:
    """A function does not tell which modules it runs."""
    m = routed("eager")
    x, x0 = (m.embedding(read(m.tokenizer, TEXTS[0], by=by)["input_ids"]).detach() for by in (None, "[UNK]"))
    with pytest.raises(GraphMismatch, match=r"MixtralTopKRouter .*other experts than the baseline") as caught:
        pellucid.attribute(lambda x: m.model(inputs_embeds=x).logits, x, x0, target=0)
    assert "Use a method that needs no gradient, such as method='shapley'" in str(caught.value)
    for method in ("shapley", "partition_shap"):
        e = pellucid.explain(m, TEXTS[0], baseline="[UNK]", target=0, method=method)
        assert e.scores.sum() == pytest.approx(e.output - e.baseline_output, abs=1e-6)


def test_a_jump_belongs_to_the_scores_whose_order_changed() -> None:
    """y = v₁ where the first of three scores is the largest, else v₂: the first two share the jump by how far each
    moved, and the third, and a score in a row that takes one choice at both ends, get nothing."""
    values = torch.tensor([[[5.0], [1.0], [9.0]]]).expand(2, 3, 1)
    f = lambda x: Chosen.apply(values, x, x.argmax(1, keepdim=True)).flatten(1).sum(1)  # pyright: ignore
    x, x0 = torch.tensor([[4.0, 1.0, 0.0], [3.0, 1.0, 0.0]]), torch.tensor([[1.0, 2.0, -1.0], [2.0, 1.0, 0.0]])
    a = pellucid.attribute(f, x, x0)
    assert torch.as_tensor(a.values).tolist() == [[3.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    tied = lambda x: Chosen.apply(values, 0 * x, x.argmax(1, keepdim=True)).flatten(1).sum(1)  # pyright: ignore
    with pytest.raises(GraphMismatch, match="are tied"):
        pellucid.attribute(tied, x, x0)


def test_choices_are_lined_up() -> None:
    index, before = torch.tensor([[3, 1, 2], [0, 1, 2], [2, 1, 0]]), torch.tensor([[1, 0, 4], [0, 1, 2], [0, 2, 3]])
    assert lined_up(index, before).tolist() == [[1, 3, 2], [0, 1, 2], [0, 2, 1]]


# ------------------------------------------------------------------------------------------- padding and its ids


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", ["GPT2", "GPTNeo", "OPT", "Llama"])
def test_padding_on_either_side_changes_nothing(family: str, side: str) -> None:
    """Also for a classifier that names no padding id, which by itself refuses more than one row."""
    unnamed = {} if family == "OPT" else {"pad_token_id": None}
    net = model(family, dtype=torch.float64, **unnamed)
    m = Model(net, tokenizer(mask=False, side=side))
    alone = [pellucid.explain(m, text, target=0, baseline="[UNK]") for text in TEXTS]
    together = pellucid.explain(m, TEXTS, target=0, baseline="[UNK]")
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-10)
    assert (net.config.pad_token_id is None) == bool(unnamed)


def test_a_padding_id_that_was_lent_is_taken_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    net = model("GPT2", pad_token_id=None)

    def failing(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(net.score, "forward", failing)
    with pytest.raises(KeyboardInterrupt):
        pellucid.explain(Model(net, tokenizer(mask=False)), TEXTS, target=0, baseline="[UNK]")
    assert net.config.pad_token_id is None


# ------------------------------------------------------------------------------------ the embedding's own shapes


def test_as_many_texts_as_tokens_in_a_model_that_turns_its_ids() -> None:
    """XLNet embeds (tokens, rows): with as many of the one as of the other, only the ids tell."""
    m = Model(model("XLNet", dtype=torch.float64), tokenizer(side="left"))
    texts = ["good film", "bad plot", "dull film", "great plot"]
    together = pellucid.explain(m, texts, target=0)
    assert len(together[0].tokens) == len(texts)
    for text, e in zip(texts, together, strict=True):
        np.testing.assert_allclose(e.scores, pellucid.explain(m, text, target=0).scores, atol=1e-12)
        assert e.relative_delta < 1e-9


def test_an_encoder_and_a_decoder_that_share_the_module() -> None:
    """The first call is the encoder's; the decoder's start token is not part of the text."""
    net = model("T5", dtype=torch.float64)
    body = net.transformer
    body.encoder.embed_tokens = body.decoder.embed_tokens = body.shared
    e = pellucid.explain(Model(net, tokenizer(mask=False)), TEXTS[0], target=0, baseline="[UNK]")
    apart = model("T5", dtype=torch.float64)
    expected = pellucid.explain(Model(apart, tokenizer(mask=False)), TEXTS[0], target=0, baseline="[UNK]")
    np.testing.assert_allclose(e.scores, expected.scores, atol=1e-12)


def test_an_embedding_that_is_called_with_other_ids_first() -> None:
    class Prompted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = torch.nn.Embedding(100, 8), torch.nn.Linear(8, 2)

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            prompt = self.embed(torch.zeros(1, 3, dtype=torch.long))
            return self.head(torch.tanh(self.embed(input_ids)).mean(1) + prompt.mean(1))

    net, tok = Prompted().double().eval(), tokenizer()
    ids = torch.tensor([tok("a good film")["input_ids"]])
    masked = ids.clone()
    masked[:, 1:-1] = tok.mask_token_id
    e = pellucid.explain(Model(net, tok), "a good film", target=0)
    with torch.no_grad():
        expected = net(ids)[0, 0].item(), net(masked)[0, 0].item()
    assert (e.output, e.baseline_output) == pytest.approx(expected, abs=1e-12) and e.status == "exact"


@pytest.mark.parametrize("method", ["deeplift", "occlusion", "integrated_gradients"])
def test_a_model_that_goes_on_in_place_after_its_embedding(method: str) -> None:
    """CTRL multiplies its embeddings in place: the point it was given must stay what it was."""

    class Scaled(torch.nn.Module):
        def __init__(self, in_place: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embed, self.head = torch.nn.Embedding(100, 8), torch.nn.Linear(8, 2)
            self.in_place = in_place

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            h = self.embed(input_ids)
            h = h.mul_(3) if self.in_place else h * 3
            return self.head(torch.tanh(h.cumsum(1)).mean(1))

    found, expected = (
        pellucid.explain(Model(Scaled(in_place).double().eval(), tokenizer()), TEXTS, method=method, target=0)
        for in_place in (True, False)
    )
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-12)


def test_an_embedding_that_hashes_characters_is_found() -> None:
    """CANINE has no matrix as large as its vocabulary, and says of no module that it embeds."""
    config = transformers.CanineConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, num_hash_buckets=64
    )
    torch.manual_seed(0)
    net = transformers.CanineForSequenceClassification(config).eval()
    e = pellucid.explain(Model(net, tokenizer()), TEXTS[0], target=0, baseline="[UNK]")
    f, f0 = (said(net, read(tokenizer(), TEXTS[0], by=by))[0, 0].item() for by in (None, "[UNK]"))
    assert len(e.tokens) == 21 and e.scores.sum() == pytest.approx(f - f0, rel=1e-4)


def test_landmarks_of_a_nystromformer() -> None:
    """Its length must be that of the configuration; an iterated inverse of a matrix is made of products."""
    settings = {"num_landmarks": 3, "segment_means_seq_len": 21}
    for dtype, most in ((torch.float32, 1e-4), (torch.float64, 1e-9)):
        e = pellucid.explain(
            Model(model("Nystromformer", dtype=dtype, scale=4.0, **settings), tokenizer()), TEXTS[0], target=0
        )
        assert len(e.tokens) == 21 and e.relative_delta <= most


def test_the_output_of_no_token_is_lost_where_the_model_pads_by_itself() -> None:
    m = Model(model("Longformer", dtype=torch.float64), tokenizer())
    e = pellucid.explain(m, "good film not bad", target=0)
    assert len(e.tokens) % 4 != 0 and e.relative_delta < 1e-9
    assert all(abs(s) > 0 for s, t in zip(e.scores, e.tokens, strict=True) if not t.special)


@pytest.mark.parametrize("family", ["Llama", "Mistral", "Qwen3", "Gemma2", "Gemma3Text", "T5"])
def test_a_baseline_of_zeros_keeps_scores_of_the_size_of_the_change(family: str) -> None:
    """Where the residual stream is 0, 1/σ of an RMS norm is 1/√ε; scores must neither grow with it nor cancel."""
    net = model(family)
    with torch.no_grad():
        net.get_input_embeddings().weight[0] = 0  # as a padding row is
    for baseline in ("zero", "pad"):
        e = pellucid.explain(pellucid.Model(net, tokenizer()), "a good film , but dull", baseline=baseline)
        assert e.relative_delta < 1e-4 and abs(e.scores).max() < 20 * abs(e.change)


@pytest.mark.parametrize("norm", [torch.nn.LayerNorm, torch.nn.RMSNorm])
def test_a_stack_of_norms_at_zero(norm: type[torch.nn.Module]) -> None:
    parts = [part for _ in range(4) for part in (norm(16), torch.nn.Linear(16, 16, bias=False))]
    f = torch.nn.Sequential(*parts).double()
    x = torch.randn(3, 16, dtype=torch.float64)
    for x0 in (torch.zeros_like(x), 1e-4 * torch.randn_like(x)):
        a = pellucid.attribute(f, x, x0, target=1)
        assert (abs(a.delta) < 1e-12 * a.values.abs().sum(1)).all() and a.values.abs().max() < 100
