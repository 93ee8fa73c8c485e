"""Where and how a model runs: devices, autocast, compiled layers. The answers are the same, or say how far off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from families import model, tokenizer
from itself import read, said
from pellucid import Model, errors
from test_no_mutation import state

TEXTS = ["a good film", "the movie was not so bad , but the plot is dull"]


@pytest.fixture(scope="module")
def net() -> Any:
    return model("Bert", scale=4.0)


# ------------------------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "occlusion", "deep_shap", "gradient_shap"])
def test_autocast_rounds_and_its_rounding_shows(bundled: Model, method: str) -> None:
    half = Model(bundled.model, bundled.tokenizer, autocast=torch.bfloat16)
    halves, wholes = (pellucid.explain(m, TEXTS, method=method, target=1) for m in (half, bundled))
    for a, b in zip(halves, wholes, strict=True):
        rounding = 2**-8 * max(abs(b.output), abs(b.baseline_output))  # of bfloat16, in the output alone
        assert 0 < np.abs(a.scores - b.scores).max() < 4 * rounding
        assert abs(a.output - b.output) < 4 * rounding
        with torch.autocast("cpu", torch.bfloat16):
            own = [said(bundled.model, read(bundled.tokenizer, a.text, by=by))[0, 1].item() for by in (None, "[MASK]")]
        assert [a.output, a.baseline_output] == pytest.approx(own, abs=rounding)
        assert a.meta["autocast"] == "bfloat16" and "autocast" not in b.meta
    if method == "deeplift":
        assert max(b.relative_delta for b in wholes) < 1e-5 < max(a.relative_delta for a in halves) < 0.02


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["Bert", "DistilBert", "Llama"])
def test_the_walk_crosses_an_autocast_graph(family: str, attention: str) -> None:
    m = Model(model(family, attention, scale=4.0), tokenizer(), autocast="bfloat16")
    for e in pellucid.explain(m, TEXTS, baseline="pad", target=0):
        assert abs(e.delta) < 8 * 2**-8 * max(abs(e.output), abs(e.baseline_output))
        exact = pellucid.explain(Model(m.model, m.tokenizer), e.text, baseline="pad", target=0)
        assert np.corrcoef(e.scores, exact.scores)[0, 1] > 0.95


def test_the_autocast_output_is_that_of_the_model_under_autocast(net: Any) -> None:
    m = Model(net, tokenizer(), autocast="bfloat16")
    inputs = m.tokenizer(TEXTS[0], return_tensors="pt")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = net(**inputs).logits[0, 1].item()
    assert pellucid.explain(m, TEXTS[0], target=1).output == expected
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("autocast", ["float64", "half-ish", torch.float32, 16])
def test_a_precision_that_is_none(net: Any, autocast: Any) -> None:
    with pytest.raises(errors.InputError, match="'bfloat16' or 'float16'"):
        Model(net, tokenizer(), autocast=autocast)


# --------------------------------------------------------------------------------------------------------- devices


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "meta", "mps:7", ""])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(errors.InputError, match=r"lacks; expected one of cpu"):
        pellucid.load(device=device)


def test_the_cpu_is_always_there() -> None:
    assert pellucid.load(device="cpu").device == pellucid.load(device=torch.device("cpu")).device


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is one")
@pytest.mark.parametrize("device", ["cuda", "mps", "cuda:0"])
def test_an_accelerator_that_is_not_there(device: str) -> None:
    with pytest.raises(errors.InputError, match=device):
        pellucid.load(device=device)


# ------------------------------------------------------------------------------------------------------- compiling


@pytest.mark.parametrize("method", ["occlusion", "deeplift", "integrated_gradients"])
def test_compiled_layers_answer_as_the_model_does(net: Any, method: str) -> None:
    before = state(net)
    compiled = Model(net, tokenizer(), compile="eager")  # traced, not generated: a test needs no C compiler
    calls = 0
    each: Any = compiled.runner.layers

    def counted(call: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            assert not torch.is_grad_enabled()
            return call(*args, **kwargs)

        return run

    for layer, call in each.items():
        each[layer] = counted(call)
    plain = pellucid.explain(Model(net, tokenizer()), TEXTS, method=method)
    for _ in range(2):
        for a, b in zip(pellucid.explain(compiled, TEXTS, method=method), plain, strict=True):
            np.testing.assert_allclose(a.scores, b.scores, atol=1e-5 * np.abs(b.scores).max())
    assert (calls > 0) == (method == "occlusion")  # a pass whose graph is walked runs as it is
    assert state(net) == before


def test_what_hooks_into_a_layer_keeps_it_from_being_compiled(net: Any) -> None:
    compiled, plain = Model(net, tokenizer(), compile="eager"), Model(net, tokenizer())
    name = next(n for n, m in net.named_modules() if n.endswith("encoder.layer.0"))
    for how in ({"at": name}, {"detail": ("attentions",)}):
        for a, b in zip(
            pellucid.explain(compiled, TEXTS, method="occlusion", **how),
            pellucid.explain(plain, TEXTS, method="occlusion", **how),
            strict=True,
        ):
            np.testing.assert_allclose(a.scores, b.scores, atol=1e-5 * np.abs(b.scores).max())
    seen: list[int] = []
    handle = net.get_submodule(f"{name}.attention").register_forward_hook(lambda *_: seen.append(1))
    pellucid.explain(compiled, TEXTS[0], method="occlusion")
    handle.remove()
    assert seen


def test_a_compiler_that_fails_or_is_none(net: Any) -> None:
    with pytest.raises(errors.InputError, match="a backend among"):
        Model(net, tokenizer(), compile="magic")

    def broken(*_: Any) -> Any:
        raise ValueError("no C compiler")

    m, before = Model(net, tokenizer(), compile="eager"), state(net)
    for layer in m.runner.layers:
        m.runner.layers[layer] = torch.compile(layer._call_impl, backend=broken)
    with pytest.raises(errors.UnsupportedModel, match="Leave out compile=True"):
        pellucid.explain(m, TEXTS[0], method="occlusion")
    assert state(net) == before
