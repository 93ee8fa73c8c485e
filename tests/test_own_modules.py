"""Modules of a user's own, and models that were wrapped, compiled, quantised or left in some state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint
from transformers import (
    CLIPConfig,
    CLIPModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
)

import pellucid
from families import model, tokenizer
from itself import read, said
from pellucid import Model, errors
from test_no_mutation import state

TEXTS = ["the film was great , so good", "a dull plot !", "it is"]


class Own(nn.Module):
    """Embeds, reads and averages; `read` gets the module, the embeddings and the mask."""

    def __init__(self, read: Callable[[Any, Tensor, Tensor], Tensor], **parts: nn.Module):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.read = nn.Embedding(100, 8), nn.Linear(8, 3), read
        for name, part in parts.items():
            setattr(self, name, part)
        self.double()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.head(self.read(self, self.embed(input_ids), attention_mask).mean(1))


class Unmasked(Own):
    """Told nothing of padding."""

    def forward(self, input_ids: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(input_ids, torch.ones_like(input_ids))


def packed(net: Any, x: Tensor, mask: Tensor) -> Tensor:
    rows = pack_padded_sequence(x, mask.sum(1), batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(net.rnn(rows)[0], batch_first=True)[0]


def in_place(net: Any, x: Tensor, mask: Tensor) -> Tensor:
    x += 0.5
    x[:, 0] *= 2
    return x.tanh_()


def lstm() -> nn.Module:
    return nn.LSTM(8, 4, batch_first=True, bidirectional=True)


OWN: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: Unmasked(lambda net, x, mask: net.rnn(x)[0], rnn=lstm()),
    "packed": lambda: Own(packed, rnn=lstm()),
    "convolution": lambda: Unmasked(lambda net, x, mask: net.conv(x.mT).relu().mT, conv=nn.Conv1d(8, 8, 3, padding=1)),
    "in place": lambda: Unmasked(in_place),
}


@pytest.mark.parametrize("name", OWN)
def test_a_list_gives_what_each_gives_alone(name: str) -> None:
    """Padding that a module does not know of would be read as text."""
    m = Model(OWN[name]().train(), tokenizer())
    for text, e in zip(TEXTS, pellucid.explain(m, TEXTS), strict=True):
        with torch.no_grad():
            inputs = {k: v for k, v in tokenizer()(text, return_tensors="pt").items() if m.takes(k)}
            expected = m.model(**inputs)[0, e.target.index].item()
        assert e.output == pytest.approx(expected) and e.relative_delta < 1e-9
        np.testing.assert_allclose(e.scores, pellucid.explain(m, text).scores, atol=1e-12)


def test_padding_on_the_left_of_a_model_that_reads_the_first_token() -> None:
    m = Model(model("Bert", dtype=torch.float64), tokenizer(side="left"))
    for text, e in zip(TEXTS, pellucid.explain(m, TEXTS), strict=True):
        np.testing.assert_allclose(e.scores, pellucid.explain(m, text).scores, atol=1e-12)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # PyTorch's, of a pass without gradient
@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_module_that_recomputes(method: str, reentrant: bool) -> None:
    net = Unmasked(lambda net, x, mask: checkpoint(net.part, x, use_reentrant=reentrant), part=nn.Linear(8, 8))
    with pytest.raises(errors.UnsupportedOperation, match=r"torch\.utils\.checkpoint.*occlusion"):
        pellucid.explain(Model(net, tokenizer()), TEXTS[0], method=method)
    plain = Unmasked(lambda net, x, mask: net.part(x), part=net.part)
    found, same = (pellucid.explain(Model(n, tokenizer()), TEXTS[0], method="occlusion") for n in (net, plain))
    np.testing.assert_allclose(found.scores, same.scores, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "saliency"])
def test_a_quantised_model_has_no_gradient(method: str) -> None:
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this PyTorch has no int8 kernels")
    net = torch.ao.quantization.quantize_dynamic(model("Bert"), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(errors.UnsupportedOperation, match=r"quantised to int8.*occlusion"):
        pellucid.explain(Model(net, tokenizer()), TEXTS[0], method=method)
    e = pellucid.explain(Model(net, tokenizer()), TEXTS[0], method="occlusion", target=1)
    assert e.output == pytest.approx(said(net, read(tokenizer(), TEXTS[0]))[0, 1].item(), abs=1e-5)
    assert e.scores[1:-1].all() and e.scores[0] == e.scores[-1] == 0


@pytest.mark.parametrize("method", ["deeplift", "occlusion", "integrated_gradients"])
def test_a_compiled_model_runs_as_it_is(method: str) -> None:
    """Compiled code would not notice the hooks, and has no parts."""
    plain = OWN["in place"]()
    expected = pellucid.explain(Model(plain, tokenizer()), TEXTS[0], method=method)
    compiled: Any = torch.compile(plain, backend="eager")
    ids = tokenizer()(TEXTS[0], return_tensors="pt")["input_ids"]
    compiled(ids)
    found = pellucid.explain(Model(compiled, tokenizer()), TEXTS[0], method=method)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-12)


class Kept(Unmasked):
    """Writes into itself at every call."""

    def __init__(self) -> None:
        super().__init__(lambda net, x, mask: x.tanh())
        self.calls, self.shapes = 0, dict[Any, Any]()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, input_ids: Tensor) -> Tensor:
        self.calls += 1
        self.shapes[self.calls] = input_ids.shape
        self.last, self.seen = input_ids, self.seen + 1
        return super().forward(input_ids)


def test_what_a_model_writes_into_itself_is_put_back() -> None:
    net = Kept()
    seen = net.seen
    pellucid.explain(Model(net, tokenizer()), TEXTS)
    assert net.calls == 0 and net.shapes == {} and net.seen is seen and not hasattr(net, "last")


@pytest.mark.parametrize("config", [{"output_hidden_states": True}, {"output_attentions": True}])
@pytest.mark.parametrize("family", ["Bert", "GPT2", "T5"])
def test_hooks_that_a_model_puts_into_itself_are_taken_out(family: str, config: dict[str, Any]) -> None:
    net = model(family, dtype=torch.float64, **config)
    before = state(net)
    e = pellucid.explain(Model(net, tokenizer(mask=False)), TEXTS[0], detail=("layers",))
    assert e.relative_delta < 1e-9 and state(net) == before


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (lambda y: {"scores": y}, "a dict of 'scores'"),
        (lambda y: (None, y), "a tuple whose first is a NoneType"),
        (lambda y: y.detach().numpy(), "a ndarray"),
        (lambda y: y.unsqueeze(1), r"torch.float64 \(1, 1, 3\)"),
    ],
)
def test_an_answer_without_logits_is_described(answer: Callable[[Tensor], Any], match: str) -> None:
    class Answers(Unmasked):
        def forward(self, input_ids: Tensor) -> Any:
            return answer(super().forward(input_ids))

    with pytest.raises(errors.UnsupportedModel, match=f"returned {match} for 1 texts; expected logits"):
        pellucid.explain(Model(Answers(lambda net, x, mask: x), tokenizer()), TEXTS[0])


def test_an_input_and_a_baseline_laid_out_otherwise_in_memory() -> None:
    """PyTorch's operations depend on strides."""
    torch.manual_seed(0)
    f = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).double()
    x, x0 = (torch.randn(2, 3, 8, 8, dtype=torch.float64) for _ in range(2))
    expected = pellucid.attribute(f, x, x0, target=1)
    turned = x.to(memory_format=torch.channels_last)
    for a, b in ((turned, x0), (x, x0.to(memory_format=torch.channels_last)), (turned, None)):
        found = pellucid.attribute(f, a, b, target=1)
        assert found.delta.abs().max() < 1e-12
        if b is not None:
            torch.testing.assert_close(found.values, expected.values)


class FixedImage(nn.Module):
    """A model of texts and images whose image stays the same."""

    def __init__(self, towers: nn.Module, pixels: Tensor):
        super().__init__()
        self.towers, self.pixels = towers, pixels

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "pixel_values": self.pixels}
        return self.towers(**given).logits_per_text


def test_two_towers_are_refused_and_what_the_error_advises_works() -> None:
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    reader = tokenizer()
    text = {**size, "vocab_size": len(reader), "eos_token_id": 3, "max_position_embeddings": 32}
    config = CLIPConfig(text_config=text, vision_config={**size, "image_size": 16, "patch_size": 8}, projection_dim=8)
    torch.manual_seed(0)
    towers, pixels = CLIPModel(config).eval(), torch.randn(3, 3, 16, 16)
    with pytest.raises(pellucid.errors.UnsupportedModel, match="holds the image"):
        pellucid.Model(towers, reader)
    net = FixedImage(towers, pixels)
    e = pellucid.explain(pellucid.Model(net, reader), "a good film", target=2)
    with torch.no_grad():
        given = reader("a good film", return_tensors="pt")
        assert e.output == pytest.approx(net(given["input_ids"], given["attention_mask"])[0, 2].item(), abs=1e-4)
    assert e.relative_delta < 1e-4
    a = pellucid.attribute(
        lambda x: towers(pixel_values=x, input_ids=given["input_ids"]).logits_per_image, pixels, target=0
    )
    assert (a.delta.abs() <= 1e-4 * (a.output - a.baseline_output).abs() + 1e-6).all()


def test_a_model_of_sound_is_refused_and_what_the_error_advises_works() -> None:
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    net = Wav2Vec2ForSequenceClassification(config).eval()
    with pytest.raises(pellucid.errors.UnsupportedModel, match=r"pellucid.attribute\(lambda x: model\(x\).logits"):
        pellucid.Model(net, Wav2Vec2FeatureExtractor())
    x = torch.randn(2, 400)
    a = pellucid.attribute(lambda x: net(x).logits, x, target=0)
    with torch.no_grad():
        torch.testing.assert_close(a.output, net(x).logits[:, 0])
    assert (a.delta.abs() <= 1e-4 * (a.output - a.baseline_output).abs()).all()


@pytest.mark.parametrize("most", [1, 2, 8, 40])
@pytest.mark.parametrize("method", ["deeplift", "occlusion"])
def test_a_network_that_depends_on_the_number_of_rows_answers_each_text_alone(most: int, method: str) -> None:
    net = Own(lambda net, x, mask: x * mask.unsqueeze(2) * (1.0 + 0.5 * (len(x) > most)))
    m = Model(net, tokenizer())
    found = pellucid.explain(m, TEXTS * 16, method=method, target=1)
    for text, e in zip(TEXTS * 16, found, strict=True):
        given = m.tokenizer(text, return_tensors="pt")
        assert e.output == pytest.approx(net(given["input_ids"], given["attention_mask"])[0, 1].item(), rel=1e-6)
        assert e.relative_delta < 1e-6
