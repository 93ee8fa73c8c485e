"""What an explanation will take, said in advance: counted passes and measured memory are the judge."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import pellucid
from generative import causal_tokenizer, net
from pellucid import Model, errors
from pellucid.cli import app
from pellucid.engine import memory
from pellucid.methods import stretches

PAIR = ("the film was", " not so good")


def test_tokens_targets_and_passes_are_those_of_the_answer() -> None:
    m = Model(net("Llama", "sdpa"), causal_tokenizer())
    for target in (None, "total", ["total", {"span": (0, 4)}]):
        found, answer = pellucid.forecast(m, PAIR, target), pellucid.explain(m, PAIR, target=target)  # type: ignore
        each = [answer] if isinstance(answer, pellucid.Explanation) else list(answer)
        assert found.tokens == len(each[0].tokens) and found.passes == each[0].passes
        assert found.targets == len(each)
    for target in ("sentences", "runner-up", "so", {"runner-up": 1}, [0, "total"]):
        answer = pellucid.explain(m, ("the film was", " so. so good"), target=target, method=["deeplift"])
        assert pellucid.forecast(m, ("the film was", " so. so good"), target).targets == len(answer)  # type: ignore
    for segments in (1, 2):
        how: Any = {"target": "total", "baseline": [" the", " a"], "segments": segments}
        assert pellucid.forecast(m, PAIR, **how).passes == pellucid.explain(m, PAIR, **how).passes == 3 * segments


def test_a_long_input_has_the_targets_of_its_answer() -> None:
    """The probe is a part of the text, and the targets are of all of it; what names nothing is refused as it is."""
    (tokenizer := causal_tokenizer()).model_max_length = 4096
    m = Model(net("Llama", "sdpa", max_position_embeddings=4096), tokenizer)
    pair = ("the film was good " * 200, " so good." * 80)
    found = pellucid.forecast(m, pair, "sentences", groups="sentence", output="probability")
    assert found.targets == 80 and found.tokens > 900
    for target in ("nonsense", 9999, {"span": (5, 5)}):
        with pytest.raises(errors.UnknownTarget) as told:
            pellucid.explain(m, PAIR, target=target)
        with pytest.raises(errors.UnknownTarget) as said:
            pellucid.forecast(m, PAIR, target)
        assert str(said.value) == str(told.value)
    for how in ({"method": "occlusion"}, {"window": 64}, {"detail": ["layers"]}):
        with pytest.raises(errors.InputError, match=f"Found {next(iter(how))}=.*for a forecast; expected none: "):
            pellucid.forecast(m, PAIR, **how)  # type: ignore[arg-type]


def test_time_grows_with_targets_and_with_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pellucid._forecast._probe", lambda model, part: (1.0, 4, model.alone(*part.sequences)))
    network = net("Llama", "sdpa")
    m = Model(network, causal_tokenizer())
    one, two = (pellucid.forecast(m, PAIR, t).seconds for t in ("total", ["total", {"span": (0, 4)}]))
    assert two - one == pytest.approx(one * 3 / (3 + 3))  # three forward passes, and a walk of 1.5 through two segments
    layers = [p for layer in network.model.layers for p in layer.parameters() if p.ndim > 1]
    weights, width, n = sum(p.numel() for p in layers), network.config.hidden_size, pellucid.forecast(m, PAIR).tokens
    cost = lambda k: 2 * weights * k + 4 * network.config.num_hidden_layers * width * k * k
    assert one == pytest.approx(6 * cost(n) / cost(4))


def test_layer_by_layer_where_the_graphs_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    m = Model(net("Llama", "sdpa"), causal_tokenizer())
    whole = pellucid.forecast(m, PAIR)
    monkeypatch.setattr(stretches, "most_for_a_graph", lambda device: 0)
    apart = pellucid.forecast(m, PAIR)
    assert (whole.by_layer, apart.by_layer) == (False, True)
    assert whole.fits and apart.fits and "layer by layer" in str(apart)
    monkeypatch.setattr("pellucid._forecast.free_on", lambda device: 10)
    assert not pellucid.forecast(m, PAIR).fits and "spans of the answer" in str(pellucid.forecast(m, PAIR))


def test_memory_is_near_what_the_graphs_hold() -> None:
    model = pellucid.load()
    text = "It's great! " * 60
    held: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t) or t, lambda t: t):
        pellucid.explain(model, text)
    own = {t.data_ptr(): t.numel() * t.element_size() for t in held if not isinstance(t, torch.nn.Parameter)}
    assert abs(math.log(pellucid.forecast(model, text).memory / sum(own.values()))) < math.log(3)


def test_the_command_line_says_it_and_stops() -> None:
    result = CliRunner().invoke(app, ["explain", "It's great!", "It is slow and dull.", "--dry-run"])
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    assert first.startswith("7 tokens, 1 target: about 0 s, ") and second.startswith("8 tokens, 1 target")
    result = CliRunner().invoke(app, ["explain", "It's great!", "--dry-run", "--json"])
    (one,) = json.loads(result.stdout)["forecasts"]
    assert (one["tokens"], one["targets"], one["passes"], one["fits"]) == (7, 1, 2, True)
    refused = CliRunner().invoke(app, ["explain", "It's great!", "--dry-run", "--save", "x.json"]).exception
    assert isinstance(refused, errors.InputError) and "x.json" in str(refused) and not Path("x.json").exists()


def test_several_inputs_are_refused() -> None:
    with pytest.raises(errors.InputError, match="expected one"):
        pellucid.forecast(pellucid.load(), ["a", "b"])


def test_free_memory_is_of_the_device() -> None:
    assert memory.free_on(torch.device("cpu")) == pytest.approx(memory.free_memory(), rel=0.5)
    seen: Any = pellucid.forecast(pellucid.load(), "It's great!").free
    assert seen > 0
