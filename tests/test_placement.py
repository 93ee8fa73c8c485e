"""Where the weights of a model are: what is offloaded answers as what is in memory, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

import pellucid
from families import model, tokenizer
from generative import causal_tokenizer, net
from pellucid import Model
from pellucid.engine.memory import graph_size
from pellucid.errors import UnsupportedModel
from pellucid.evaluation.randomising import cascading_randomisation
from pellucid.jobs.identity import identity
from pellucid.methods import stretches


def offloaded(folder: Path, decoder: Any, places: dict[str, str]) -> Any:
    """A random decoder as transformers loads it with a device_map. places: of the modules that are not in memory."""
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    decoder.save_pretrained(folder / "checkpoint")
    leaves = [name for name, module in decoder.named_modules() if not [*module.children()]]
    rest = {name: "cpu" for name in leaves if not name.startswith(tuple(places))}
    return type(decoder).from_pretrained(
        folder / "checkpoint", device_map={**rest, **places}, offload_folder=folder / "weights", dtype=torch.float32
    )


@pytest.mark.parametrize("large", [False, True])
def test_offloaded_layers_answer_as_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    whole = net("Llama", "sdpa")
    own = offloaded(tmp_path, whole, {"model.layers.1": "disk"})
    assert any(p.is_meta for p in own.parameters())
    monkeypatch.setattr(stretches, "most_for_a_graph", lambda device: 0 if large else 1 << 60)
    models = [Model(each, causal_tokenizer()) for each in (whole, own)]
    for method in ("deeplift", "integrated_gradients", "occlusion"):
        a, b = (pellucid.explain(m, ("the film was", " not so good"), target="total", method=method) for m in models)
        np.testing.assert_array_equal(a.scores, b.scores)
        assert a.output == b.output
    assert [p.is_meta for p in own.parameters()].count(True) > 2
    digests = [identity(m)["digest"] for m in models]
    assert digests[0] == digests[1]
    with torch.no_grad():
        whole.model.layers[1].mlp.up_proj.weight[0, 0] += 1
    assert identity(models[0])["digest"] != digests[1]
    with pytest.raises(UnsupportedModel, match="offloaded weights, which cannot be shuffled"):
        cascading_randomisation(models[1], ["a film"])


def test_graphs_keep_the_weights_that_a_pass_loads(tmp_path: Path) -> None:
    whole = net("Llama", "sdpa")
    own = offloaded(tmp_path, whole, {"model.layers": "disk"})
    of = lambda each: graph_size(cast(Any, SimpleNamespace(x=(torch.zeros(1, 4, 8),), layers=list(each.model.layers))))
    weights = sum(p.numel() * p.element_size() for p in whole.model.layers.parameters())
    assert of(own) - of(whole) == 2 * weights


def test_an_offloaded_embedding_is_refused(tmp_path: Path) -> None:
    own = offloaded(tmp_path, net("Llama", "sdpa"), {"model.embed_tokens": "disk"})
    with pytest.raises(UnsupportedModel, match=r"weights of the model's Embedding offloaded.*in memory"):
        Model(own, causal_tokenizer())


def test_several_devices_are_refused() -> None:
    """What loads the layers of a second GPU, as accelerate's hook says where it loads to."""
    own = model("Bert")
    for k, layer in enumerate(own.bert.encoder.layer):
        for module in layer.modules():
            module.to("meta")
            module._hf_hook = SimpleNamespace(offload=True, execution_device=k)
    with pytest.raises(UnsupportedModel, match=r"are on cpu, cuda:0, cuda:1.*one device"):
        Model(own, tokenizer())


def test_weights_without_values_are_refused() -> None:
    net = model("Bert")
    net.classifier.to("meta")
    with pytest.raises(UnsupportedModel, match="meta"):
        Model(net, tokenizer())
    with pytest.raises(UnsupportedModel, match="meta"):
        Model(model("Bert").to("meta"), tokenizer())
