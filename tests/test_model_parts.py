"""The parts of a Model: what runs, what reads, and the tasks that are handed both."""

from __future__ import annotations

import copy
from collections.abc import Hashable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid
from families import model, tokenizer
from generative import coder, generator
from pellucid import Model, errors
from pellucid.methods.perturb import _fingerprint
from pellucid.models.tasks import TASKS, Preparation
from pellucid.models.text.collating import Padded
from test_own_modules import Own
from test_task_image import Processor, image
from test_task_image import net as image_net
from test_task_masked import made as masked
from test_task_zero_shot import ITEMS
from test_task_zero_shot import made as zero_shot

# ------------------------------------------------------------------------------------------------------ how it is shown


def test_a_model_is_shown_in_one_line(bundled: Model) -> None:
    assert repr(bundled) == (
        "Model('pellucid-sentiment (bundled)': text-classification, labels negative/positive, 512 tokens, cpu, float32)"
    )
    net = copy.deepcopy(model("Bert"))
    net.config._name_or_path = "/home/someone/models/minilm-sst2"
    for n, shown in ((2, "labels class 0/class 1"), (5, "class 3/class 4, "), (6, ", 6 labels, ")):
        net.config.id2label = {i: f"class {i}" for i in range(n)}
        assert repr(Model(net, tokenizer())).startswith("Model('minilm-sst2': text-classification, ")
        assert shown in repr(Model(net, tokenizer()))


def test_what_a_model_does_not_say_is_left_out() -> None:
    own = repr(Model(Own(lambda net, x, mask: x), tokenizer()))
    assert own.startswith("Model('Own': text-classification, ") and "label" not in own and own.endswith("cpu, float64)")
    assert "\n" not in own


# ------------------------------------------------------------------------------------------------- what a task is given


@dataclass
class Stub:
    """A network without weights: its logits are the sums and the counts of the ids."""

    model: nn.Module = field(default_factory=nn.Identity)
    embedding: nn.Module = field(default_factory=nn.Identity)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    pads_left: bool = False
    findings: dict[Hashable, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def takes(self, name: str) -> bool:
        return name == "input_ids"

    def forward(self, inputs: Any, x: Tensor | None = None, **more: Any) -> Any:
        self.seen += [*inputs, *more]
        return inputs["input_ids"].sum(1, keepdim=True) * torch.tensor([[1.0, 2.0]])


def test_a_task_needs_no_model() -> None:
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    stub = Stub()
    found = TASKS["text-classification"].run(stub, None, Padded({"input_ids": ids}))
    assert found.tolist() == [[6, 12], [15, 30]] and stub.seen == ["input_ids"]


@pytest.mark.parametrize(
    ("made", "item"),
    [
        (lambda: generator("GPT2"), "the film was"),
        (lambda: coder("T5"), "the film was"),
        (zero_shot, ITEMS[0]),
        (lambda: Model(image_net(), Processor()), image()),
        (masked, "the [MASK] was good"),
    ],
    ids=["text-generation", "text2text-generation", "zero-shot-classification", "image-classification", "fill-mask"],
)
def test_reading_runs_no_network(made: Any, item: Any) -> None:
    m = made()
    runs: list[int] = []
    handle = m.model.register_forward_pre_hook(lambda *_: runs.append(1))
    try:
        read = m.does.encode(m.reader, [item], False)
        assert not runs
        (prepared,) = m.does.prepare(m.runner, m.reader, read, Preparation(max_new_tokens=2))
        assert bool(runs) == (m.does.name != "fill-mask")
    finally:
        handle.remove()
    (encoded,) = m.encode([item], max_new_tokens=2)
    assert (prepared.text, prepared.tokens, prepared.roles) == (encoded.text, encoded.tokens, encoded.roles)


# ---------------------------------------------------------------------------------------------- roles beside the inputs


@pytest.mark.parametrize(
    ("made", "items"),
    [
        (lambda: generator("GPT2"), [("the film was", " good"), ("a", " bad plot")]),
        (lambda: coder("T5"), [("the film was", "good"), ("a plot", "it is bad")]),
        (masked, ["the [MASK] was good", "a [MASK] !"]),
    ],
    ids=["text-generation", "text2text-generation", "fill-mask"],
)
def test_a_tasks_roles_are_no_input_of_the_network(made: Any, items: list[Any]) -> None:
    m = made()
    sequences, owns = m.collate(m.encode(items))
    for sequence, own in zip(sequences, owns, strict=True):
        assert all(m.takes(name) for name in sequence.inputs)
        assert sequence.roles is not None and sequence.roles.shape == own.shape
        assert not sequence.roles[~own].any() and sequence.roles[own].any()
    seen: set[str] = set()
    handle = m.model.register_forward_pre_hook(lambda _m, args, kwargs: seen.update(kwargs), with_kwargs=True)
    try:
        pellucid.explain(m, items)
    finally:
        handle.remove()
    assert seen and all(m.takes(name) for name in seen)


# --------------------------------------------------------------------------------------------------- what is found out


def test_what_is_found_out_belongs_to_one_model() -> None:
    """Whether a network is causal is measured for each Model: the network may have been changed between."""
    m = generator("GPT2")
    m.encode([("the film was", " good")])
    assert m.ways and m.ways is m.runner.findings
    net: Any = m.model
    inner = net.transformer.wte

    class Backwards(nn.Module):
        def forward(self, ids: Tensor) -> Tensor:
            return inner(ids) + inner(ids).flip(1)

    net.transformer.wte = Backwards()
    net.get_input_embeddings = lambda: net.transformer.wte
    again = Model(net, m.tokenizer, "text-generation")
    with pytest.raises(errors.UnsupportedModel, match="from the tokens after it too"):
        again.encode([("the film was", " good")])


def test_a_limit_is_passed_over_where_windows_cut(bundled: Model) -> None:
    long = "good film " * 600
    with pytest.raises(errors.TextTooLong):
        bundled.encode([long])
    (encoding,) = bundled.encode([long], any_length=True)
    assert len(encoding) > 1200 and bundled.limit == 512
    with pytest.raises(errors.TextTooLong):
        bundled.encode([long])


def test_the_tokenizer_may_be_set_until_it_is_first_used() -> None:
    net, tok = model("Bert"), tokenizer()
    m = Model(net, tok)
    repr(m)
    tok.model_max_length = 7
    assert m.limit == 7 and "7 tokens" in repr(m)


def test_a_sampler_is_seeded_by_the_ids_of_a_text(bundled: Model) -> None:
    """Texts of one length are sampled differently, and each as it is alone."""
    texts = ["the film was good and long", "the plot was dull and long", "good"]
    alone = [_fingerprint(bundled.problem(bundled.encode([text]), "mask", None), 0) for text in texts]
    together = bundled.problem(bundled.encode(texts), "mask", None)
    assert alone == [_fingerprint(together, row) for row in range(3)]
    assert len({0, *alone}) == 4


def test_baselines_of_any_reader_have_notes() -> None:
    m = generator("GPT2")
    (encoding,) = m.encode([("the film was", " good")])
    reads = SimpleNamespace(tokenizer=m.tokenizer)
    assert m.does.notes(reads, encoding, "delete") == m.notes(encoding, "delete")
    assert m.notes(encoding, "mask") == ()
