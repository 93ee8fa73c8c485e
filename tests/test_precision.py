"""Half precision and adapters: what is finite, what adds up to how much, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from families import model, tokenizer
from itself import read, said
from pellucid import Model

TEXTS = ["a good film", "the movie was not so bad , but it is dull !", "great acting"]
HALF = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_half_precision_tells_the_same(dtype: Any, attention: str) -> None:
    """On the same weights, rounded once, so that only the arithmetic differs."""
    half = model("Bert", attention, scale=4.0, dtype=dtype)
    full = Model(model("Bert", attention, scale=4.0, dtype=dtype).float(), tokenizer())
    for e, exact in zip(
        pellucid.explain(Model(half, tokenizer()), TEXTS, target=1),
        pellucid.explain(full, TEXTS, target=1),
        strict=True,
    ):
        assert np.isfinite(e.scores).all()
        assert np.corrcoef(e.scores, exact.scores)[0, 1] > 0.99
        assert e.output == pytest.approx(said(half, read(tokenizer(), e.text))[0, 1].item(), rel=torch.finfo(dtype).eps)
        rounding = torch.finfo(dtype).eps * max(abs(e.output), abs(e.baseline_output))  # of the logits themselves
        assert abs(e.delta) < 2 * rounding + 0.02 * np.abs(exact.scores).sum()
        assert e.meta["dtype"] == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("method", ["integrated_gradients", "input_x_gradient", "occlusion", "saliency"])
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_other_methods_in_half_precision(dtype: Any, method: str) -> None:
    """What float32 says on the same weights, and of the model's own output."""
    half = model("Bert", "sdpa", scale=4.0, dtype=dtype)
    e = pellucid.explain(Model(half, tokenizer()), TEXTS[1], method=method, target=1)
    f, f0 = (said(half, read(tokenizer(), TEXTS[1], by=by))[0, 1].item() for by in (None, "[MASK]"))
    assert (e.output, e.baseline_output) == pytest.approx((f, f0), rel=2 * torch.finfo(dtype).eps)
    full = Model(model("Bert", "sdpa", scale=4.0, dtype=dtype).float(), tokenizer())
    exact = pellucid.explain(full, TEXTS[1], method=method, target=1).scores
    least = {torch.float16: 0.99, torch.bfloat16: 0.8}[dtype]
    assert np.corrcoef(e.scores, exact)[0, 1] > least
    assert 0.8 < np.linalg.norm(e.scores) / np.linalg.norm(exact) < 1.25


def test_a_checkpoint_in_half_precision_is_loaded_in_float32(tmp_path: Any) -> None:
    model("Bert", dtype=torch.bfloat16).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    full, own = pellucid.load(tmp_path), pellucid.load(tmp_path, dtype="auto")
    assert {p.dtype for p in full.model.parameters()} == {torch.float32}
    assert {p.dtype for p in own.model.parameters()} == {torch.bfloat16}
    assert pellucid.explain(full, TEXTS[0]).relative_delta < 1e-4


# ------------------------------------------------------------------------------------------------------------- adapters


class LoRA(nn.Module):
    """What PEFT puts in the place of a linear layer: W x + s·B A x (Hu et al. 2021, 2106.09685), base layer kept."""

    def __init__(self, base: nn.Linear, rank: int = 2):
        super().__init__()
        self.base_layer = base.requires_grad_(False)
        self.lora_dropout = nn.ModuleDict({"default": nn.Dropout(0.5)})
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, base.out_features, bias=False)})
        self.scaling = {"default": 2.0}

    def forward(self, x: Any) -> Any:
        result = self.base_layer(x)
        more = self.lora_B["default"](self.lora_A["default"](self.lora_dropout["default"](x)))
        return result + more * self.scaling["default"]


def adapted(net: Any) -> Any:
    torch.manual_seed(1)
    for layer in net.bert.encoder.layer:
        layer.attention.self.query = LoRA(layer.attention.self.query)
        layer.attention.self.value = LoRA(layer.attention.self.value)
    return net


class Wrapped(nn.Module):
    """As PeftModel: a shell that hands everything on."""

    def __init__(self, net: Any):
        super().__init__()
        self.base_model = net

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base_model"), name)


@pytest.mark.parametrize("shell", [lambda net: net, Wrapped], ids=["bare", "wrapped"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_model_with_adapters(attention: str, shell: Any) -> None:
    net = adapted(model("Bert", attention)).train()  # as it is while it is trained: dropout is off meanwhile
    m = Model(shell(net), tokenizer())
    merged = model("Bert", attention)
    for layer, own in zip(merged.bert.encoder.layer, net.bert.encoder.layer, strict=True):
        for name in ("query", "value"):
            lora, linear = getattr(own.attention.self, name), getattr(layer.attention.self, name)
            with torch.no_grad():
                linear.weight += 2.0 * lora.lora_B["default"].weight @ lora.lora_A["default"].weight
    expected = pellucid.explain(Model(merged, tokenizer()), TEXTS)
    for e, same in zip(pellucid.explain(m, TEXTS), expected, strict=True):
        assert e.relative_delta < 1e-4
        np.testing.assert_allclose(e.scores, same.scores, atol=1e-4 * np.abs(same.scores).max())
    assert net.training and all(p.grad is None for p in net.parameters())


def test_a_cast_of_float64_to_half_precision_rounds_as_the_function_itself_does() -> None:
    f = lambda x: (x.bfloat16() * 3).sum(1)
    x, x0 = (
        torch.tensor([[0.1234567, 2.3456789]], dtype=torch.float64),
        torch.tensor([[0.5, -1.0]], dtype=torch.float64),
    )
    a = pellucid.attribute(f, x, x0)
    assert a.output.double().equal(f(x).double()) and a.baseline_output.double().equal(f(x0).double())
    assert a.status != "exact" or abs(float(a.delta)) < 1e-12


def test_a_cast_that_stays_in_float64_meets_what_was_made_in_float32() -> None:
    """As the angles of rotary embeddings: positions made as float32, times frequencies cast to float32."""
    x, x0 = torch.randn(2, 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind()
    scale = torch.linspace(0.1, 1, 4, dtype=torch.float64)

    def f(x: torch.Tensor) -> torch.Tensor:
        angles = scale.float()[:, None] @ torch.arange(4, dtype=torch.float32)[None]
        tilted = x.float() @ torch.arange(16).float().view(4, 4)  # the function itself rounds to float32
        return (x @ angles.cos().to(x.dtype)).tanh().sum(1) + tilted.double().tanh().sum(1)

    found = pellucid.attribute(f, x, x0)
    assert found.status == "exact" and found.delta.abs().item() < 1e-9
    assert found.output.item() == pytest.approx(f(x).item(), rel=1e-5)
    assert found.baseline_output.item() == pytest.approx(f(x0).item(), rel=1e-5)
