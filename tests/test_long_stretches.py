"""DeepLIFT layer by layer: the scores of the whole graph, in the memory of one layer, for every family of decoders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from generative import CAUSAL, cases, causal_tokenizer, net
from pellucid import Explanation, Model, errors
from pellucid.engine import layer_calls, memory
from pellucid.methods import stretches
from pellucid.models import batching, problems
from pellucid.models.tasks import continuation_goals
from pellucid.numerics.attention import logits
from pellucid.numerics.deeplift.recording import recorder
from pellucid.numerics.deeplift.rules import softmax

deeplift = import_module("pellucid.methods.deeplift")  # `pellucid.methods.deeplift` is the function
PAIR = ("the film was", " not so good")
SPANS: list[Any] = ["total", {"span": (0, 4)}, {"span": (4, 12)}]


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many calls of layers were walked one by one, for each answer."""
    found: list[int] = []
    inner = stretches.contributions

    def counted(points: Any) -> Any:
        calls = len(points[0].calls)
        answer = inner(points)
        found.append(calls)
        return answer

    monkeypatch.setattr(stretches, "contributions", counted)
    yield found


@pytest.fixture
def without_room(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Lets no graph, or any, fit into memory as a whole."""
    return lambda large: monkeypatch.setattr(stretches, "most_for_a_graph", lambda device: 0 if large else 1 << 60)


def far(a: Any, b: Any) -> float:
    both = [np.stack([e.scores for e in each]) for each in (a, b)]
    return float(np.abs(both[0] - both[1]).max() / np.abs(both[0]).max())


@pytest.mark.parametrize(("family", "attention"), cases(CAUSAL))
def test_layer_by_layer_is_the_whole_graph(
    family: str, attention: str, walked: list[int], without_room: Callable[[bool], None]
) -> None:
    network = net(family, attention)
    m = Model(network, causal_tokenizer())
    without_room(False)
    whole = pellucid.explain(m, PAIR, target=SPANS)
    assert not walked
    without_room(True)
    found = pellucid.explain(m, PAIR, target=SPANS)
    assert walked == [network.config.num_hidden_layers]
    assert far(whole, found) < 1e-5
    assert all(e.relative_delta < 1e-3 for e in found)


class Around(nn.Module):
    """A network of one's own around a decoder, which it cannot tell to keep no keys and values."""

    def __init__(self, inner: Any, keeps: bool = False):
        super().__init__()
        self.inner, self.config, self.keeps = inner, inner.config, keeps

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        more = {"use_cache": True} if self.keeps else {}
        return self.inner(input_ids=input_ids, attention_mask=attention_mask, **more)


def test_a_network_around_a_decoder_is_walked_too(walked: list[int], without_room: Callable[[bool], None]) -> None:
    """A layer that is run again does not meet the keys and values that its first run kept. What cannot be walked is
    forecast as the whole graph that it takes."""
    inner = net("Llama", "sdpa")
    m, plain = Model(Around(inner), causal_tokenizer(), task="text-generation"), Model(inner, causal_tokenizer())
    without_room(True)
    found, expected = (pellucid.explain(each, PAIR, target=SPANS) for each in (m, plain))
    assert walked == [inner.config.num_hidden_layers] * 2 and far(found, expected) < 1e-5
    assert inner.config.use_cache is True
    assert pellucid.forecast(m, PAIR, "total").by_layer
    keeping = Model(Around(inner, keeps=True), causal_tokenizer(), task="text-generation")
    walked.clear()
    assert far(pellucid.explain(keeping, PAIR, target=SPANS), expected) < 1e-5 and not walked
    assert not pellucid.forecast(keeping, PAIR, "total").by_layer


@pytest.mark.parametrize("large", [False, True])
def test_ten_spans_recompute_what_one_does(
    large: bool, without_room: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each layer's graphs and each block of attention are made as often for ten spans as for one."""
    answer = " so good and not so bad a great plot ."
    words = [{"span": (w.start(), w.end())} for w in re.finditer(r" \S+", answer)]
    m = Model(net("Llama", "sdpa"), causal_tokenizer())
    without_room(large)
    monkeypatch.setattr(softmax, "_BLOCK", 64)
    made: list[str] = []
    for owner, name in ((softmax, "_means"), (layer_calls.LayerCall, "again")):
        inner = getattr(owner, name)
        spy = lambda *args, inner=inner, name=name: made.append(name) or inner(*args)
        monkeypatch.setattr(owner, name, spy)

    def asked(target: Any) -> tuple[list[Any], Counter[str]]:
        made.clear()
        found: Any = pellucid.explain(m, (PAIR[0], answer), target=target)
        return [found] if isinstance(found, Explanation) else list(found), Counter(made)

    alone = [asked(word) for word in words]
    together, count = asked(words)
    assert len(together) == 10
    assert all(one == count for _, one in alone[1:])  # the first also has what is checked once for a model
    assert count["_means"] > 2 * m.model.config.num_hidden_layers * 2  # several blocks in each of two segments
    assert (count["again"] > 0) == large
    assert far([e for each, _ in alone for e in each], together) < 1e-6


def test_many_targets_share_a_walk_some_at_a_time(
    without_room: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each target has multipliers of all logits, so no walk has more than `AT_ONCE` of them; nor does a sentence read
    the logits of the other sentences."""
    monkeypatch.setattr(stretches, "AT_ONCE", 3)
    answer = " so good . not so bad . a great plot ."
    m = Model(net("Llama", "sdpa"), causal_tokenizer())
    asked: list[list[Any]] = [[list(pellucid.explain(m, (PAIR[0], answer), target=t))] for t in (None, "sentences")]
    inner, sizes = stretches.walk, list[int]()
    monkeypatch.setattr(stretches, "walk", lambda y, *more: sizes.append(len(y)) or inner(y, *more))
    log, places = continuation_goals.READ["log-probability"], list[int]()
    spy = lambda logits: places.append(logits.shape[1]) or log(logits)
    without_room(True)
    each = list(pellucid.explain(m, (PAIR[0], answer)))
    assert len(each) > 6 and max(sizes) == 3 and far(asked[0][0], each) < 1e-5
    monkeypatch.setitem(continuation_goals.READ, "log-probability", spy)
    sentences = list(pellucid.explain(m, (PAIR[0], answer), target="sentences"))
    assert len(sentences) == 3 and max(places) < len(each) / 2 and far(asked[1][0], sentences) < 1e-5


def test_checks_of_a_long_text_are_made_on_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = " ".join(["the film was great and the plot was bad"] * 70)
    items: list[Any] = [(prompt, " so good ."), {"documents": [prompt, "a dull plot ."], "question": "was it good"}]
    for item in items:
        scores, widths = [], []
        for most in (512, 10_000):
            tokenizer = causal_tokenizer()
            tokenizer.model_max_length = 1024
            m = Model(net("Llama", "sdpa", max_position_embeddings=1024), tokenizer)
            monkeypatch.setattr(problems, "_LONG", most)
            seen: list[int] = []
            m.model.register_forward_pre_hook(
                lambda _, args, given, seen=seen: seen.append(
                    (given["input_ids"] if given.get("inputs_embeds") is None else given["inputs_embeds"]).shape[1]
                ),
                with_kwargs=True,
            )
            each: list[Any] = list(pellucid.explain(m, [item], target="total", max_new_tokens=3))
            e = each[0]
            e = e if isinstance(e, Explanation) else e[0]
            scores.append(e.scores)
            widths.append(sum(width > 512 for width in seen))
        assert widths[1] - widths[0] >= 8
        assert np.abs(scores[0] - scores[1]).max() == 0


def test_padded_batches_and_one_segment(walked: list[int], without_room: Callable[[bool], None]) -> None:
    m = Model(net("Llama", "sdpa"), causal_tokenizer("left"))
    long = ("the movie was very very dull and bad , but the plot", " is great .")
    without_room(False)
    alone = [pellucid.explain(m, pair, target="total", segments=1) for pair in (PAIR, long)]
    without_room(True)
    together = pellucid.explain(m, [PAIR, long], target="total", segments=1)
    assert walked
    for a, b in zip(alone, together, strict=True):
        assert isinstance(a, Explanation)
        assert isinstance(b, Explanation)
        assert np.abs(a.scores - b.scores).max() < 1e-5 * np.abs(a.scores).max()


def test_what_cannot_fit_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """At least what three points keep: of each layer, of each token a vector."""
    m = Model(net("Llama", "sdpa"), causal_tokenizer("left"))
    whole = pellucid.explain(m, PAIR, target="total")
    assert isinstance(whole, Explanation)
    n = len(whole.tokens)
    config: Any = m.model.config
    least = 3 * config.num_hidden_layers * n * config.hidden_size * 4
    monkeypatch.setattr(memory, "free_memory", lambda: least)
    together = pellucid.explain(m, [PAIR, PAIR], target="total")  # two rows do not fit: one at a time
    assert all(far([whole], [e]) < 1e-5 for e in together)
    monkeypatch.setattr(memory, "free_memory", lambda: least - 1)
    with pytest.raises(errors.OutOfMemory, match=f"for {n} tokens.*Fewer than {n - 1} tokens would fit.*occlusion"):
        pellucid.explain(m, PAIR, target="total")


class ReadsBehindTheBack(torch.nn.Module):
    """A layer that reads what the layer before it left on a shared note, and not what it is given alone."""

    def __init__(self, layer: Any, note: dict[str, Any]):
        super().__init__()
        self.layer, self.note = layer, note

    def forward(self, h: Any, *args: Any, **kwargs: Any) -> Any:
        out = self.layer(h, *args, **kwargs)
        out = out + self.note.get("h", 0)
        self.note["h"] = 0.5 * out
        return out


def test_what_goes_around_a_layer_is_noticed(without_room: Callable[[bool], None], walked: list[int]) -> None:
    """The scores are right all the same: the whole graph is used."""
    whole_net, note = net("Llama", "sdpa"), dict[str, Any]()
    layers = whole_net.model.layers
    whole_net.model.layers = torch.nn.ModuleList([ReadsBehindTheBack(layer, note) for layer in layers])
    whole_net.model.register_forward_pre_hook(lambda *_: note.clear())
    m = Model(whole_net, causal_tokenizer())
    without_room(False)
    whole = pellucid.explain(m, PAIR, target="total")
    without_room(True)
    found = pellucid.explain(m, PAIR, target="total")
    assert not walked
    assert far([whole], [found]) == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("reader", ["a module of a layer", "a layer", "the norm behind the layers"])
@pytest.mark.parametrize("what", ["made", "written in place", "a view", "given back too"])
def test_what_a_layer_made_and_did_not_give_back_is_noticed(
    reader: str, what: str, dtype: torch.dtype, without_room: Callable[[bool], None], walked: list[int]
) -> None:
    """It has no graph there, and bfloat16 says nothing about a residual of some percent."""
    network, note = net("Llama", "sdpa", dtype=dtype), dict[str, Tensor]()
    layers = network.model.layers

    def keep(module: nn.Module, args: Any, out: Tensor) -> None:
        buffer = torch.zeros_like(out)
        buffer[:] = 3 * out
        note["h"] = {"made": 3 * out, "written in place": buffer, "a view": out[..., None]}[what]

    def read(h: Tensor) -> Tensor:
        own = note["h"].flatten(2)
        return h + own.tanh().mean(-1, keepdim=True) * torch.linspace(-1, 1, h.shape[-1], dtype=dtype)

    if what == "given back too":  # the rest of the pass gets another tensor
        forward = layers[0].forward

        def keeping(*args: Any, **kwargs: Any) -> Any:
            note["h"] = forward(*args, **kwargs)
            return note["h"]

        layers[0].forward = keeping
    else:
        layers[0].self_attn.v_proj.register_forward_hook(keep)
    if reader == "a module of a layer":
        layers[1].self_attn.v_proj.register_forward_hook(lambda module, args, out: read(out))
    elif reader == "a layer":
        layers[1].register_forward_hook(lambda module, args, out: read(out))
    else:
        network.model.norm.register_forward_pre_hook(lambda module, args: (read(args[0]),))
    m = Model(network, causal_tokenizer())
    without_room(False)
    whole = pellucid.explain(m, PAIR, target="total")
    without_room(True)
    found = pellucid.explain(m, PAIR, target="total")
    assert not walked and far([whole], [found]) == 0


def test_what_a_layer_keeps_for_itself_does_not_count(without_room: Callable[[bool], None], walked: list[int]) -> None:
    """A constant that one layer makes and all read, a value that only its own layer reads, a question of shape."""
    network, note = net("Llama", "sdpa", dtype=torch.float64), dict[str, Tensor]()

    def keep(module: nn.Module, args: Any, out: Tensor) -> Tensor:
        table = note.setdefault("table", torch.linspace(0, 1, out.shape[-1], dtype=out.dtype).sin())
        note["h"] = out.tanh()
        return note["h"] + 0.1 * table

    def ask(module: nn.Module, args: Any) -> Any:
        assert note["h"].dtype == args[0].dtype and note["h"].shape[1] == len(args[0][0])
        return (args[0] + 0.1 * note["table"].mean() + torch.zeros_like(note["h"]).sum(),)

    for layer in network.model.layers:
        layer.self_attn.v_proj.register_forward_hook(keep)
    network.model.norm.register_forward_pre_hook(ask)
    m = Model(network, causal_tokenizer())
    without_room(False)
    whole = pellucid.explain(m, PAIR, target="total")
    without_room(True)
    found = pellucid.explain(m, PAIR, target="total")
    assert walked == [network.config.num_hidden_layers] and far([whole], [found]) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_call_that_gives_something_else_is_told_from_rounding(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    a = torch.randn(100).to(dtype)
    assert stretches._near(a, a) and stretches._near(a * (1 + 2 * torch.finfo(dtype).eps), a)
    assert not stretches._near(1.1 * a, a) and not stretches._near(-a, a)


def test_the_layers_are_as_they_were() -> None:
    m = net("GPT2")
    before = [dict(layer.__dict__) for layer in m.transformer.h]
    with torch.enable_grad(), pytest.raises(KeyError), layer_calls.cut_at(list(m.transformer.h), None):  # pyright: ignore
        raise KeyError
    assert [dict(layer.__dict__) for layer in m.transformer.h] == before


def test_a_graph_that_does_not_fit_after_all_is_walked_layer_by_layer(
    monkeypatch: pytest.MonkeyPatch, walked: list[int], without_room: Callable[[bool], None]
) -> None:
    network = net("Llama", "sdpa")
    m = Model(network, causal_tokenizer())
    without_room(False)
    whole = pellucid.explain(m, PAIR, target=SPANS)
    ran_out = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB")
    monkeypatch.setattr(deeplift, "_one_by_one", lambda *args: (_ for _ in ()).throw(ran_out))
    assert far(whole, pellucid.explain(m, PAIR, target=SPANS)) < 1e-5
    assert walked == [network.config.num_hidden_layers]
    monkeypatch.setattr(stretches, "contributions", lambda points: (_ for _ in ()).throw(stretches.NotInStretches()))
    with pytest.raises(errors.OutOfMemory):
        pellucid.explain(m, PAIR, target=SPANS)


def test_grouped_heads_that_no_fused_kernel_takes_are_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    m = Model(net("Llama", "sdpa"), causal_tokenizer())
    grouped = pellucid.explain(m, PAIR, target=SPANS)
    seen: list[bool] = []
    inner = logits.fusable

    def spied(*args: Any, **kwargs: Any) -> Any:
        found = inner(*args, **kwargs)
        seen.append(bool(kwargs.get("enable_gqa")) and not found[1]["enable_gqa"])
        return found

    monkeypatch.setattr(logits, "_lacks_grouped_kernel", lambda query: True)
    monkeypatch.setattr(recorder, "fusable", spied)
    assert far(grouped, pellucid.explain(m, PAIR, target=SPANS)) < 1e-5
    assert any(seen)


def test_log_probabilities_of_half_precision_are_summed_in_float32() -> None:
    network = net("Llama", "sdpa", dtype=torch.bfloat16)
    m = Model(network, causal_tokenizer())
    found: list[Any] = list(pellucid.explain(m, [PAIR], target="total"))
    e = found[0]
    ids = torch.tensor([[t.id for t in e.tokens]])
    rest = len(m.tokenizer(PAIR[1])["input_ids"])
    with torch.no_grad():
        raw = network(input_ids=ids).logits[0, -rest - 1 : -1]
    of = lambda t: raw.to(t).log_softmax(-1).gather(1, ids[0, -rest:, None]).sum().item()
    own, rounded = of(torch.float32), of(torch.bfloat16)
    assert e.output == pytest.approx(own, rel=1e-5)
    assert rounded != pytest.approx(own, rel=1e-5)


def test_a_gpu_takes_as_many_positions_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr(batching, "most_for_a_graph", lambda device: 20 * 10**9)
    assert batching.positions(gpu, layers=6, width=384) == 1 << 14
    assert batching.positions(gpu, layers=24, width=1024) == 20 * 10**9 // (48 * 24 * 4 * 1024)
    assert batching.positions(gpu, layers=32, width=4096) == batching.TOKENS
    assert batching.positions(torch.device("cpu"), layers=6, width=384) == batching.TOKENS
