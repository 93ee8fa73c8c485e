"""Text to text: every token of a target from the source and from the target's tokens before it, complete together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

import families
import pellucid
from families import tokenizer
from generative import CODERS, cases, coder, net
from itself import times_gradient
from pellucid import Explanation, Explanations, Model, errors

PAIR = ("the film was great", "a movie so good")
LONG = ("the plot was very very dull and the acting is bad", "so bad !")


def parts(m: Model, source: str, target: str) -> tuple[Any, torch.Tensor, list[int]]:
    """The source's inputs, what the decoder reads before each target token, and the target's ids."""
    inputs = m.tokenizer(source, return_tensors="pt")
    ids = m.tokenizer(target, add_special_tokens=False)["input_ids"]
    return inputs, torch.tensor([[0, 2, *ids]]), ids  # its start token, and [CLS], which begins every text


def logits(m: Model, source: str, target: str) -> torch.Tensor:
    """(target's tokens, vocabulary), as transformers' users compute them."""
    inputs, decoder, ids = parts(m, source, target)
    with torch.no_grad():
        out = m.model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], decoder_input_ids=decoder)
    return out.logits[0, 1 : 1 + len(ids)]


def far(a: Explanation, b: Explanation) -> float:
    return float(np.abs(a.scores - b.scores).max() / np.abs(b.scores).max())


@pytest.mark.parametrize(("family", "attention"), cases(CODERS))
def test_source_and_target_prefix_are_complete_together(family: str, attention: str) -> None:
    for dtype, most in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        m = coder(family, attention=attention, dtype=dtype)
        es = pellucid.explain(m, PAIR)
        plain, (_, decoder, ids) = logits(m, *PAIR), parts(m, *PAIR)
        assert isinstance(es, Explanations) and es.matrix().shape == (4, 6 + 2 + 4)
        assert [t.id for t in es[0].tokens[6:]] == decoder[0].tolist()
        for k, e in enumerate(es):
            assert (e.target.index, e.target.position) == (ids[k], 8 + k)
            rounding = 1e-5 * float(plain.abs().max())  # of the largest logit
            assert e.output == pytest.approx(plain[k, ids[k]].item(), rel=1e-4, abs=rounding)
            assert e.relative_delta < most
            assert (e.scores[8 + k :] == 0).all() and (e.scores[1:5] != 0).all()
            assert (e.scores[8 : 8 + k] != 0).all() and (e.scores[[0, 5, 6, 7]] == 0).all()


def test_a_word_of_the_source_is_deleted() -> None:
    """The model itself, on the source without the word."""
    m = coder("T5", dtype=torch.float64)
    es = pellucid.explain(m, PAIR, method="occlusion", baseline="delete")
    inputs, decoder, ids = parts(m, *PAIR)
    source = inputs["input_ids"]
    whole = logits(m, *PAIR)
    for i in range(1, source.shape[1] - 1):
        keep = [j for j in range(source.shape[1]) if j != i]
        with torch.no_grad():
            left = m.model(input_ids=source[:, keep], decoder_input_ids=decoder).logits[0, 1:]
        for k, e in enumerate(es):
            assert e.scores[i] == pytest.approx((whole[k, ids[k]] - left[k, ids[k]]).item(), abs=1e-9)


def test_where_the_tokens_are() -> None:
    e = pellucid.explain(coder("T5"), PAIR)[0]
    assert e.text == PAIR and e.baseline == "[UNK]"
    shown = [(t.segment, PAIR[t.segment][slice(*t.span)]) for t in e.tokens if t.span]
    assert shown == [(i, word) for i, text in enumerate(PAIR) for word in text.split()]
    assert [t.text for t in e.tokens if t.special] == ["[CLS]", "[SEP]", "[PAD]", "[CLS]"]


@pytest.mark.parametrize(
    ("family", "side"), [("T5", "left"), ("Bart", "right"), ("Bart", "left"), ("MBart", "right"), ("Pegasus", "left")]
)
def test_a_padded_batch_is_what_each_gives_alone(family: str, side: str) -> None:
    m = coder(family, side)
    items = [("a plot", "so bad"), LONG]
    for item, found in zip(items, pellucid.explain(m, items), strict=True):
        alone = pellucid.explain(m, item)
        assert [e.target for e in alone] == [e.target for e in found]
        assert max(map(far, found, alone)) < 1e-5


@pytest.mark.parametrize("family", ["T5", "Bart"])
def test_one_module_may_embed_for_both_sides(family: str) -> None:
    apart = coder(family, dtype=torch.float64)
    before = pellucid.explain(apart, PAIR)
    net: Any = apart.model
    net.set_input_embeddings(net.get_input_embeddings())
    together = Model(net, apart.tokenizer)
    assert net.get_decoder().get_input_embeddings() is together.embedding
    np.testing.assert_allclose(pellucid.explain(together, PAIR).matrix(), before.matrix(), atol=1e-12)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", "input_x_gradient"])
def test_other_methods(method: str) -> None:
    """Against the model alone, its own tokens [UNK] one by one or all together, on both sides; and autograd."""
    m, pair, unknown = coder("T5"), ("a plot", "so bad"), 1
    inputs, decoder, ids = parts(m, *pair)
    how = {"n_steps": 300} if method == "integrated_gradients" else {}
    es = pellucid.explain(m, pair, method=method, baseline="[UNK]", output="logit", **how)
    assert [e.target.index for e in es] == ids and len(es[0].tokens) == 4 + 4
    whole = torch.cat([inputs["input_ids"], decoder], 1)
    own = torch.tensor([not t.special for t in es[0].tokens])
    run = lambda ids: m.model(input_ids=ids[:, :4], decoder_input_ids=ids[:, 4:]).logits[0].detach()
    f, f0 = run(whole), run(torch.where(own, unknown, whole))
    for k, e in enumerate(es):
        at = 1 + k, ids[k]
        np.testing.assert_allclose(e.scores[6 + k :], 0, atol=1e-5)
        if method == "integrated_gradients":
            assert e.scores.sum() == pytest.approx((f[at] - f0[at]).item(), rel=2e-2, abs=1e-4)
        elif method == "occlusion":
            one = torch.eye(8, dtype=torch.bool) & own
            expected = [(f[at] - run(torch.where(o, unknown, whole))[at]).item() for o in one]
            np.testing.assert_allclose(e.scores, expected, atol=1e-5)
        else:
            x, x0 = (m.model.shared(i) for i in (whole, torch.where(own, unknown, whole)))  # pyright: ignore
            run_on = lambda x, at=at: m.model(inputs_embeds=x[:, :4], decoder_inputs_embeds=x[:, 4:]).logits[0][at]
            np.testing.assert_allclose(e.scores, times_gradient(run_on, x, x0)[0], atol=1e-4)


@pytest.mark.parametrize("family", ["T5", "Bart"])
def test_what_is_generated_is_what_generate_says(family: str) -> None:
    m = coder(family)
    config: Any = m.model.generation_config
    config.num_beams, config.length_penalty, config.forced_eos_token_id = 4, 2.0, None
    before = config.to_dict()
    es = pellucid.explain(m, PAIR[0], max_new_tokens=4)
    assert config.to_dict() == before
    inputs, ids = m.tokenizer(PAIR[0], return_tensors="pt"), torch.tensor([[0]])
    for _ in range(4):
        out = m.model(input_ids=inputs["input_ids"], decoder_input_ids=ids).logits[:, -1]
        ids = torch.cat([ids, out.argmax(-1, keepdim=True)], 1)
    es = [es] if isinstance(es, Explanation) else es
    assert [t.id for t in es[0].tokens[6:]] == ids[0].tolist()
    assert all(e.prediction == e.target.name for e in es)


def test_the_numbers_that_can_be_asked_for() -> None:
    m = coder("Bart", dtype=torch.float64)
    raw, (_, _, ids) = logits(m, *PAIR), parts(m, *PAIR)[:3]
    each = raw.log_softmax(-1)[torch.arange(4), ids]
    total = pellucid.explain(m, {"source": PAIR[0], "target": PAIR[1]}, target="total")
    assert total.output == pytest.approx(each.sum().item()) and total.relative_delta < 1e-9
    assert pellucid.explain(m, PAIR, target="so").target.position == 10
    e = pellucid.explain(m, PAIR, target={"token": "great - bad", "position": 1})
    assert e.output == pytest.approx((raw[1, 11] - raw[1, 13]).item())
    assert pellucid.explain(m, PAIR, target={"span": (2, 7)}).target.name == "movie"


@pytest.mark.parametrize(
    ("error", "match", "how"),
    [
        (errors.UnknownTarget, "a token of the continuation", {"target": "film"}),
        (errors.InputError, "a source, a pair", {"inputs": {"source": "a", "target": 4}}),
        (errors.InputError, "a source, a pair", {"inputs": {"prompt": "a"}}),
        (errors.InputError, "a source, a pair", {"inputs": ("a", " ")}),
        (errors.TextTooLong, "64", {"inputs": ("the " * 70, "film")}),
        (errors.TextTooLong, "truncate=True", {"inputs": ("the film", "was " * 70)}),
    ],
)
def test_errors(error: type[Exception], match: str, how: dict[str, Any]) -> None:
    with pytest.raises(error, match=match):
        pellucid.explain(coder("T5"), **{"inputs": PAIR, **how})


def of_two(decoder: int = 32) -> Any:
    """An encoder and a decoder of their own, put together: nothing is shared."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {**families.COMMON, **families.SHAPE}
    reads = transformers.BertConfig(**shape)
    writes = transformers.BertConfig(**{**shape, "hidden_size": decoder}, is_decoder=True, add_cross_attention=True)
    net = transformers.EncoderDecoderModel(
        transformers.EncoderDecoderConfig(encoder=reads.to_dict(), decoder=writes.to_dict(), decoder_start_token_id=0)
    )
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(12.0 if p.ndim > 1 else 1.0)
    return net.double().eval()


def untied() -> Any:
    found = net("T5", dtype=torch.float64)
    found.get_decoder().embed_tokens.weight = torch.nn.Parameter(torch.randn(100, 32).double())
    return found


@pytest.mark.parametrize("made", [of_two, untied])
def test_each_side_may_embed_for_itself(made: Any) -> None:
    m = Model(made(), tokenizer())
    assert m.does.name == "text2text-generation"
    plain, (_, _, ids) = logits(m, *PAIR), parts(m, *PAIR)
    for baseline in ("[UNK]", "mean", "zero"):
        for k, e in enumerate(pellucid.explain(m, PAIR, baseline=baseline)):
            assert e.output == pytest.approx(plain[k, ids[k]].item(), rel=1e-4)
            assert e.relative_delta < 1e-9 and (e.scores[8 : 8 + k] != 0).all() and (e.scores[8 + k :] == 0).all()


def test_the_mean_is_that_of_each_sides_vocabulary() -> None:
    net = untied()
    e = pellucid.explain(Model(net, tokenizer()), PAIR, baseline="mean", target=-1)
    inputs, decoder, ids = parts(Model(net, tokenizer()), *PAIR)
    reads, writes = (m.get_input_embeddings() for m in (net.get_encoder(), net.get_decoder()))
    with torch.no_grad():
        x, x_out = reads(inputs["input_ids"]), writes(decoder)
        x[:, 1:-1], x_out[:, 2:] = reads.weight.mean(0), writes.weight.mean(0)
        out = net(inputs_embeds=x, decoder_inputs_embeds=x_out).logits[0, len(ids), ids[-1]]
    assert e.baseline_output == pytest.approx(out.item())


def test_models_that_cannot_be_followed() -> None:
    with pytest.raises(errors.UnsupportedModel, match=r"as 32 numbers \(Embedding\), its decoder as 16"):
        pellucid.explain(Model(of_two(decoder=16), tokenizer()), PAIR)
    headless = net("Bart")
    headless.config.decoder_start_token_id = headless.generation_config.decoder_start_token_id = None
    with pytest.raises(errors.UnsupportedModel, match="decoder_start_token_id"):
        pellucid.explain(Model(headless, tokenizer()), PAIR)
    with pytest.raises(errors.UnsupportedModel, match="no decoder"):
        pellucid.explain(Model(net("GPT2"), tokenizer(), task="text2text-generation"), PAIR)
