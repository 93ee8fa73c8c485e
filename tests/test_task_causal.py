"""Text generation: every token of a continuation, complete row by row, whatever the padding and the family."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

import pellucid
from families import model, tokenizer
from generative import CAUSAL, cases, causal_tokenizer, generator, net
from itself import read, said, times_gradient
from pellucid import Explanation, Explanations, Model, errors
from pellucid.cli.inputs import read_inputs
from pellucid.methods import METHODS
from pellucid.models.runner import Runner

PAIR = ("the film was", " not so good")
LONG = ("the movie was very very dull and bad , but the plot", " is great .")


def logits(m: Model, text: str) -> torch.Tensor:
    """(tokens, vocabulary), as transformers' users compute them."""
    with torch.no_grad():
        return m.model(**m.tokenizer(text, return_tensors="pt")).logits[0]


def far(a: Explanation, b: Explanation) -> float:
    return float(np.abs(a.scores - b.scores).max() / np.abs(b.scores).max())


# ---------------------------------------------------------------------------------------------------- every family


@pytest.mark.parametrize(("family", "attention"), cases(CAUSAL))
def test_each_row_is_complete_and_later_tokens_have_no_part(family: str, attention: str) -> None:
    for dtype, most in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        m = generator(family, attention=attention, dtype=dtype)
        es = pellucid.explain(m, PAIR, baseline="[UNK]")
        matrix = es.matrix()
        empty = said(m.model, read(m.tokenizer, "".join(PAIR), by="[UNK]"))[0].log_softmax(-1)
        assert matrix.shape == (3, 6)
        plain = logits(m, PAIR[0] + PAIR[1]).log_softmax(-1)
        for k, e in enumerate(es):
            assert e.target.position == 3 + k and e.tokens[3 + k].id == e.target.index
            assert e.output == pytest.approx(plain[2 + k, e.target.index].item(), rel=1e-4, abs=1e-5)
            change = (plain[2 + k, e.target.index] - empty[2 + k, e.target.index]).item()
            assert matrix[k].sum() == pytest.approx(change, rel=1e-4, abs=1e-5)  # its casts to float32 stay
            assert abs(e.delta) < most * np.abs(e.scores).sum()
            assert (matrix[k, 3 + k :] == 0).all() and (matrix[k, : 3 + k] != 0).any()


@pytest.mark.parametrize(
    ("family", "attention"),
    [("GPT2", "sdpa"), ("GPT2", "eager"), ("Llama", "sdpa"), ("OPT", "sdpa"), ("Bloom", "eager")],
)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_is_what_each_gives_alone(family: str, attention: str, side: str) -> None:
    m = generator(family, side, attention=attention)
    together = pellucid.explain(m, [PAIR, LONG, ("a plot", " .")])
    for item, found in zip([PAIR, LONG, ("a plot", " .")], together, strict=True):
        alone = pellucid.explain(m, item)
        alone, found = ([e] if isinstance(e, Explanation) else list(e) for e in (alone, found))
        assert [e.target for e in alone] == [e.target for e in found]
        assert max(map(far, found, alone)) < 1e-5


@pytest.mark.parametrize(
    ("family", "side"), [*((f, "left") for f in ("GPT2", "OPT", "Bloom", "Llama")), *((f, "right") for f in CAUSAL)]
)
def test_leaving_one_out_on_a_shared_prefix(family: str, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    m = generator(family, side)
    problem = m.problem(m.encode([PAIR, LONG]), "[UNK]", None)
    apart = METHODS["occlusion"].solve(replace(problem, resumed=None))
    seen = []
    forward = Runner.forward
    monkeypatch.setattr(Runner, "forward", lambda *a, **k: (seen.append("past_key_values" in k), forward(*a, **k))[1])
    shared = METHODS["occlusion"].solve(problem)
    assert any(seen)
    for a, b in zip(shared, apart, strict=True):
        assert (a.values[0] - b.values[0]).abs().max() < 1e-5 * b.values[0].abs().max()
        assert ((a.values[0] == 0) >= (b.values[0] == 0)).all()
        assert a.row_passes == b.row_passes


def test_a_shared_prefix_saves_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    tok = causal_tokenizer()
    tok.model_max_length = 200
    m = Model(net("GPT2", n_positions=200, max_position_embeddings=200), tok)
    text = " ".join(["the film was great but the plot is bad and"] * 10)
    problem = m.problem(m.encode([(text, " good")]), "[UNK]", None)
    tokens = []
    forward = Runner.forward

    def counted(self: Runner, inputs: Any, x: Any = None, **more: Any) -> Any:
        tokens.append(inputs["input_ids"].numel())
        return forward(self, inputs, x, **more)

    monkeypatch.setattr(Runner, "forward", counted)
    counts = []
    for each in (problem, replace(problem, resumed=None)):
        tokens.clear()
        METHODS["occlusion"].solve(each)
        counts.append(sum(tokens))
    n = problem.x[0].shape[1]
    assert counts[1] >= n * n and counts[1] / counts[0] > 1.6


@pytest.mark.parametrize("method", ["integrated_gradients", "shapley", "input_x_gradient", "kernel_shap"])
def test_other_methods(method: str) -> None:
    """Against the model alone: its logits where the tokens are [UNK], and autograd's gradient."""
    m = generator("Llama")
    es = pellucid.explain(m, PAIR, method=method, baseline="[UNK]", output="logit")
    inputs, empty = (read(m.tokenizer, "".join(PAIR), by=by) for by in (None, "[UNK]"))
    f, f0 = said(m.model, inputs)[0], said(m.model, empty)[0]
    assert [e.target.index for e in es] == inputs["input_ids"][0, 3:].tolist()
    x, x0 = (m.model.get_input_embeddings()(i["input_ids"]) for i in (inputs, empty))  # pyright: ignore
    for k, e in enumerate(es):
        at = 2 + k, e.target.index
        np.testing.assert_allclose(e.scores[3 + k :], 0, atol=1e-6 if method == "kernel_shap" else 0)
        if METHODS[method].adds_up:
            assert e.scores.sum() == pytest.approx((f[at] - f0[at]).item(), rel=2e-2)
        else:
            expected = times_gradient(lambda x, at=at: m.model(inputs_embeds=x).logits[0][at], x, x0)[0]
            np.testing.assert_allclose(e.scores, expected, atol=1e-5)


# ------------------------------------------------------------------------------------------------------- generation


@pytest.mark.parametrize("family", ["GPT2", "Llama"])
def test_what_is_generated_is_what_generate_says(family: str) -> None:
    m = generator(family)
    config: Any = m.model.generation_config
    config.do_sample, config.temperature, config.num_beams, config.max_length = True, 0.7, 3, 17
    before = copy.deepcopy(config.to_dict())
    es = pellucid.explain(m, "the film was", max_new_tokens=5)
    assert config.to_dict() == before
    ids = m.tokenizer("the film was", return_tensors="pt")["input_ids"]
    for _ in range(5):
        ids = torch.cat([ids, m.model(ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
    assert [t.id for t in es[0].tokens] == ids[0].tolist()
    assert [e.target.index for e in es] == ids[0, 3:].tolist()
    assert all(e.prediction == e.target.name for e in es)
    assert es[0].text[0] == "the film was"
    assert pellucid.explain(m, ["the film was"], max_new_tokens=5)[0].matrix().tolist() == es.matrix().tolist()


def test_a_generated_token_tells_its_rank_and_its_rivals() -> None:
    m = generator("GPT2")
    for e in pellucid.explain(m, PAIR):
        chances = m.model(torch.tensor([[t.id for t in e.tokens]])).logits[0, e.target.position - 1].softmax(-1)
        step, own = e.meta["step"], chances[e.target.index]
        assert step["probability"] == pytest.approx(own.item(), rel=1e-4)
        assert step["rank"] == 1 + int((chances > own).sum())
        assert [p for _, p in step["strongest"]] == pytest.approx(chances.topk(5).values.tolist(), rel=1e-4)
        assert step["strongest"][0] == [e.prediction, pytest.approx(e.probability)]


def test_the_end_token_ends_it() -> None:
    m = generator("GPT2")
    ids = [e.target.index for e in pellucid.explain(m, "the film was", max_new_tokens=5)]
    m.model.generation_config.eos_token_id = [ids[1]]  # pyright: ignore
    es = pellucid.explain(m, "the film was", max_new_tokens=5)
    assert [e.target.index for e in es] == ids[:2]
    assert es[0].tokens[-1].special and es[0].tokens[-1].span is None


def test_spans_of_what_is_given() -> None:
    e = pellucid.explain(generator("GPT2"), PAIR)[0]
    assert e.text == PAIR
    assert [PAIR[t.segment][slice(*t.span)] for t in e.tokens] == "the film was not so good".split()
    assert [t.segment for t in e.tokens] == [0, 0, 0, 1, 1, 1]
    assert [w.text for w in e.words()] == "the film was not so good".split()


# ---------------------------------------------------------------------------------------------------------- targets


def log_p(m: Model, prompt: str, continuation: str) -> np.ndarray:
    ids = m.tokenizer(prompt + continuation)["input_ids"]
    n = len(m.tokenizer(prompt)["input_ids"])
    p = logits(m, prompt + continuation).log_softmax(-1)
    return np.array([p[i - 1, ids[i]].item() for i in range(n, len(ids))])


def test_the_numbers_that_can_be_asked_for() -> None:
    m = generator("GPT2", dtype=torch.float64)
    each = log_p(m, *PAIR)
    ask = lambda **how: pellucid.explain(m, PAIR, **how)
    total = ask(target="total")
    assert total.output == pytest.approx(each.sum()) and total.relative_delta < 1e-9
    assert total.target.name == PAIR[1] and (total.scores[5:] == 0).all() and total.scores[4] != 0
    assert [e.output for e in ask()] == [e.output for e in ask(output="log-probability")] == pytest.approx(each)
    assert [e.output for e in ask(output="probability")] == pytest.approx(np.exp(each).tolist())
    assert ask(target="total", output="probability").output == pytest.approx(np.exp(each.sum()))
    assert ask(target={"span": (5, 12)}).output == pytest.approx(each[1:].sum())
    assert ask(target={"span": (5, 12)}).target.name == "so good"
    assert ask(target=-1).target == ask(target="good").target == ask()[2].target
    raw = logits(m, "".join(PAIR))
    good, bad = m.tokenizer.convert_tokens_to_ids(["good", "bad"])
    for spec, k in (("good - bad", 0), ({"token": "good - bad", "position": 2}, 2)):
        e = ask(target=spec)
        assert e.output == pytest.approx((raw[2 + k, good] - raw[2 + k, bad]).item()) and e.relative_delta < 1e-9
        assert e.target.name == "good - bad" and e.target.index == (good, bad) and e.target.position == 3 + k
    assert ask(target={"token": bad}, output="logit").output == pytest.approx(raw[2, bad].item())
    assert ask(target={"token": bad}).output == pytest.approx(raw.log_softmax(-1)[2, bad].item())
    assert ask(output="logit")[0].output == pytest.approx(raw[2, ask()[0].target.index].item())
    assert [ask(output=o)[0].meta["output"] for o in (None, "logit")] == ["log-probability", "logit"]
    assert [e.target.name for e in ask(target=[0, "total"])] == ["not", PAIR[1]]


def test_a_probability_too_small_for_its_numbers_is_refused() -> None:
    """Of 60 words it is some e^-200: 0 in float32, whose scores would all be 0; in float64 it is what it is."""
    pair = (PAIR[0], " so good and bad" * 15)
    m, precise = generator("GPT2"), generator("GPT2", dtype=torch.float64)
    with pytest.raises(errors.InputError, match=r"log-probability is -\d+\.\d: .*'log-probability'.*'sentences'"):
        pellucid.explain(m, pair, target="total", output="probability")
    e = pellucid.explain(precise, pair, target="total", output="probability")
    assert 0 < e.output == pytest.approx(np.exp(log_p(precise, *pair).sum()), rel=1e-9)
    assert e.relative_delta < 1e-6 and (e.scores != 0).any()
    assert pellucid.explain(m, pair, target="total", output="logit").meta["output"] == "log-probability"


@pytest.mark.parametrize("cut", range(3, 10))
def test_spans_that_meet_in_a_token_add_up_to_the_total(cut: int) -> None:
    m, text = generator("GPT2", dtype=torch.float64), PAIR[1]
    a, b, total = pellucid.explain(m, PAIR, target=[{"span": (0, cut)}, {"span": (cut, len(text))}, "total"])
    each = log_p(m, *PAIR)
    assert a.output + b.output == pytest.approx(total.output)
    first = a.target.name.split()
    assert [*first, *b.target.name.split()] == text.split() and a.output == pytest.approx(each[: len(first)].sum())
    assert bool(a.notes) == (text[:cut].split() != first)
    inside = pellucid.explain(m, PAIR, target={"span": (10, 11)})
    assert inside.target.name == "good" and inside.output == pytest.approx(each[2])
    assert "cuts a token" in inside.notes[0]


def test_the_same_word_twice_is_two() -> None:
    es = pellucid.explain(generator("GPT2"), ("the", " film is so so good"), target="so")
    assert isinstance(es, Explanations) and [e.target.position for e in es] == [3, 4]


@pytest.mark.parametrize(("family", "side"), [("GPT2", "left"), ("Bloom", "right"), ("Gemma2", "left")])
def test_two_continuations(family: str, side: str) -> None:
    m = generator(family, side, dtype=torch.float64)
    items = [
        {"prompt": "the film was", "continuation": " good", "versus": " not so bad"},
        {"prompt": "the movie was very very dull , and", "continuation": " the plot is bad", "versus": " it is great"},
    ]
    alone, mixed = [pellucid.explain(m, i) for i in items], pellucid.explain(m, [items[0], PAIR, items[1]])
    for item, e, again in zip(items, alone, [mixed[0], mixed[2]], strict=True):
        own, other = (log_p(m, item["prompt"], item[name]).sum() for name in ("continuation", "versus"))
        assert e.output == pytest.approx(own - other) and e.relative_delta < 1e-9
        assert e.text == tuple(item.values()) and far(again, e) < 1e-9
        first = [pellucid.explain(m, (item["prompt"], item[n]), target="total") for n in ("continuation", "versus")]
        n = len(m.tokenizer(item["prompt"])["input_ids"])
        np.testing.assert_allclose(e.scores[:n], first[0].scores[:n] - first[1].scores[:n], atol=1e-9)
    assert isinstance(mixed[1], Explanations)


# ------------------------------------------------------------------------------------------------------------- chat


TEMPLATE = "{% for m in messages %}[CLS] {{ m.role }} : {{ m.content | trim }} [SEP]{% endfor %}[CLS] a :"


def test_a_conversation() -> None:
    m = generator("Llama")
    messages = [{"role": "the", "content": "so good !"}, {"role": "a", "content": " the plot is bad"}]
    with pytest.raises(errors.InputError, match=r"no chat template.*Give the text as a prompt"):
        pellucid.explain(m, {"messages": messages})
    m.tokenizer.chat_template = TEMPLATE
    es = pellucid.explain(m, {"messages": messages, "continuation": " great"}, output="log-probability", target=[0])
    (e,) = es
    assert e.text == ("so good !", " the plot is bad", " great")
    shown = [e.text[t.segment][slice(*t.span)] for t in e.tokens if not t.special]
    assert shown == "so good ! the plot is bad great".split()
    assert all(t.span is None and e.scores[i] == 0 for i, t in enumerate(e.tokens) if t.special)
    written = m.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert [t.id for t in e.tokens[:-1]] == m.tokenizer(written, add_special_tokens=False)["input_ids"]
    assert e.relative_delta < 1e-4
    assert len(pellucid.explain(m, {"messages": messages}, max_new_tokens=3)) == 3
    m.tokenizer.chat_template = "{{ messages[0].content | upper }}"
    with pytest.raises(errors.InputError, match="does not write message 0"):
        pellucid.explain(m, {"messages": messages, "continuation": " great"})
    for message in ({"role": "user"}, {"content": "so"}, {"role": "user", "content": [{"type": "image"}]}):
        with pytest.raises(errors.InputError, match="expected a list of"):
            pellucid.explain(m, {"messages": [message]})
    m.tokenizer.chat_template = "{{ raise_exception('the roles must alternate') }}"
    with pytest.raises(errors.InputError, match=r"refused the messages \(the, a\).*must alternate.*Expected"):
        pellucid.explain(m, {"messages": messages})


WITH_TOOLS = (
    "{% if tools %}[CLS] {% for t in tools %}{{ t.name }} {% endfor %}[SEP]{% endif %}{% for m in messages %}[CLS] "
    "{{ m.role }} : {{ m.content | trim }}{% for c in m.tool_calls or [] %} {{ c.name }}{% endfor %} [SEP]{% endfor %}"
    "[CLS] a :"
)


def test_tools_are_a_part_of_their_own_and_a_call_of_one_is_explained(tmp_path: Path) -> None:
    """What the model reads is what its template writes of the tools and the calls; each token is in one part."""
    m = generator("Llama")
    m.tokenizer.chat_template = WITH_TOOLS
    tools: list[Any] = [{"name": "film"}, {"name": "plot"}]
    asked = {"role": "the", "content": "film so good"}
    call: dict[str, Any] = {"role": "a", "tool_calls": [{"name": "plot"}]}
    for content in (None, ""):
        messages = [
            {"role": "it", "content": ""},
            asked,
            {**call, "content": content},
            {"role": "not", "content": "bad"},
        ]
        e = pellucid.explain(m, {"messages": messages, "tools": tools, "continuation": " great"}, target="total")
        plain = [{**each, "content": each["content"] or ""} for each in messages]
        written = m.tokenizer.apply_chat_template(plain, tools=tools, add_generation_prompt=True, tokenize=False)
        assert [t.id for t in e.tokens[:-1]] == m.tokenizer(written, add_special_tokens=False)["input_ids"]
        assert [s.name for s in e.sources()] == ["tools", "the", "not", "continuation", "template"]
        words = [[e.tokens[i].text for i in s.tokens] for s in e.sources()[:3]]
        assert words == [["film", "plot"], ["film", "so", "good"], ["bad"]]
        assert sorted(i for s in e.sources() for i in s.tokens) == list(range(len(e.tokens)))
    parts = {**asked, "content": [{"type": "text", "text": "film "}, {"type": "text", "text": "so good"}]}
    one, two = (
        pellucid.explain(m, {"messages": [each], "continuation": " great"}, target=0) for each in (parts, asked)
    )
    assert one.text == two.text and np.array_equal(one.scores, two.scores)
    chat = tmp_path / "chat.json"
    chat.write_text(json.dumps({"messages": [asked], "tools": tools}))
    (given,) = read_inputs([], None, chat=str(chat))
    assert given == {"messages": [asked], "tools": tools}
    m.tokenizer.chat_template = TEMPLATE
    with pytest.raises(errors.InputError, match=r"Found tools .*does not write"):
        pellucid.explain(m, {"messages": [asked], "tools": tools})


def test_strings_that_a_tokenizer_cannot_stop_at_are_named() -> None:
    m = generator("Llama")
    config: Any = m.model.generation_config
    config.stop_strings = ["great"]
    with pytest.raises(errors.InputError, match=r"stop_strings=\['great'\].*give a continuation"):
        pellucid.explain(m, "the film", target="total")


def test_a_message_that_says_what_the_template_says() -> None:
    """The role of the messages is "a" too, and "and" begins so: the group of each message has its own words."""
    m = generator("Llama")
    m.tokenizer.chat_template = TEMPLATE
    contents = ["a", "and a plot", " a "]
    messages = [{"role": "a", "content": content} for content in contents]
    e = pellucid.explain(m, {"messages": messages, "continuation": " a"}, target="total")
    assert isinstance(e, Explanation)
    at, own = 0, {}
    for k, content in enumerate(contents):  # "[CLS] a : ", the content, " [SEP]": as the template says
        at += 4
        own[k] = set(range(at - 1, at - 1 + len(content.split())))
        at += len(content.split())
    for k, places in own.items():
        assert {i for i, t in enumerate(e.tokens) if t.segment == k and not t.special} == places
    m.tokenizer.chat_template = "{{ messages[0].content | upper }} {{ messages[0].content }} {{ messages[0].content }}"
    with pytest.raises(errors.InputError, match="message 0"):
        pellucid.explain(m, {"messages": messages[:1], "continuation": " a"})


# ------------------------------------------------------------------------------------------------ tokenizers, models


def test_pieces_of_characters_and_words() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bare = Tokenizer(models.BPE({c: i for i, c in enumerate(["<end>", *alphabet])}, []))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    bare.decoder = decoders.ByteLevel()  # pyright: ignore
    tok = PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="<end>", model_max_length=64)
    m = Model(net("GPT2", vocab_size=len(tok)), tok)
    es = pellucid.explain(m, ("영화", " 👍 ok"))
    assert len(es) == 8 and es[0].baseline == "filler 'a'" and max(e.relative_delta for e in es) < 1e-4
    assert [es[0].text[t.segment][slice(*t.span)] for t in es[0].tokens] == [
        *"영영영화화화",
        "",
        *"👍👍👍👍",
        "",
        *"ok",
    ]
    from pellucid.models.text.decoding import spelled

    ids = tok(" 👍 ok")["input_ids"]
    tokens = spelled(tok, tok("영화")["input_ids"], ids, " 👍 ok", 1)
    assert [t.span for t in tokens] == [(1, 1), *[(1, 2)] * 4, (3, 3), (3, 4), (4, 5)]


def test_what_stands_in_for_a_mask() -> None:
    tok = causal_tokenizer()
    m = Model(net("GPT2"), tok)
    assert pellucid.explain(m, PAIR)[0].baseline == "filler 'the'"
    assert pellucid.explain(m, PAIR, baseline=["mask", "zero"])[0].baseline == "filler 'the', zero"
    encoder = Model(model("Bert"), tok)
    assert encoder.baseline("mask") == "[UNK]"
    tok.unk_token = None
    assert encoder.baseline("mask") == "[PAD]"
    tok.pad_token = None
    assert encoder.baseline("mask") == "zero"
    assert Model(model("Bert"), tokenizer()).baseline("mask") == "mask"
    assert str(Model(model("GPT2"), causal_tokenizer()).baseline("mask")) == "filler 'the'"


def test_its_own_module() -> None:
    class Bigram(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = torch.nn.Embedding(90, 8), torch.nn.Linear(8, 90)

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.table(input_ids).tanh())

    es = pellucid.explain(Model(Bigram().eval(), causal_tokenizer(), task="text-generation"), PAIR)
    assert all(np.flatnonzero(e.scores).tolist() == [2 + k] for k, e in enumerate(es))
    with pytest.raises(errors.InputError, match=r"no generate\(\)"):
        pellucid.explain(Model(Bigram().eval(), causal_tokenizer(), task="text-generation"), "the film")


class Around(torch.nn.Module):
    """A network around a decoder. virtual: how many vectors of its own it puts before the text."""

    def __init__(self, inner: Any, virtual: int = 0):
        super().__init__()
        self.inner, self.config = inner, inner.config
        self.soft = torch.nn.Parameter(torch.randn(virtual, inner.config.hidden_size))

    def get_input_embeddings(self) -> Any:
        return self.inner.get_input_embeddings()

    def run(self, ids: torch.Tensor, **more: Any) -> Any:
        x = self.get_input_embeddings()(ids)
        return self.inner(inputs_embeds=torch.cat([self.soft.expand(len(ids), -1, -1), x], 1), **more)


class TakesAnything(Around):
    def forward(self, input_ids: torch.Tensor, **more: Any) -> Any:
        return self.run(input_ids)


class HandsOn(Around):
    def forward(self, input_ids: torch.Tensor, logits_to_keep: Any = 0) -> Any:
        return self.run(input_ids, logits_to_keep=logits_to_keep)


class TakesIds(Around):
    def forward(self, input_ids: torch.Tensor) -> Any:
        return self.run(input_ids)


@pytest.mark.parametrize("kind", [TakesAnything, HandsOn, TakesIds])
def test_a_wrapper_with_vectors_of_its_own_before_the_text_is_refused(kind: type[Around]) -> None:
    """Where each token's logits are is known of no such network; without such vectors it is the decoder."""
    inner, t = net("Llama"), causal_tokenizer()
    plain = pellucid.explain(Model(inner, t), PAIR, target="total")
    same = pellucid.explain(Model(kind(inner), t, task="text-generation"), PAIR, target="total")
    assert far(same, plain) < 1e-5 and same.output == pytest.approx(plain.output, rel=1e-6)
    with pytest.raises(errors.UnsupportedModel, match="vectors of its own"):
        pellucid.explain(Model(kind(inner, 4), t, task="text-generation"), PAIR, target="total")


def test_a_model_that_reads_both_ways() -> None:
    from transformers import BertConfig, BertLMHeadModel

    config = BertConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    with pytest.raises(errors.UnsupportedModel, match="is_decoder=True"):
        pellucid.explain(Model(BertLMHeadModel(config).eval(), causal_tokenizer()), PAIR)
    config.is_decoder = True
    es = pellucid.explain(Model(BertLMHeadModel(config).eval(), causal_tokenizer()), PAIR)
    assert max(e.relative_delta for e in es) < 1e-4


# ----------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("error", "match", "how"),
    [
        (errors.UnknownTarget, "a token of the continuation", {"target": "movie"}),
        (errors.UnknownTarget, "index from 0 to 2", {"target": 3}),
        (errors.UnknownTarget, "no token is in", {"target": {"span": (40, 50)}}),
        (errors.UnknownTarget, "start, end", {"target": {"span": 4}}),
        (errors.UnknownTarget, "position 9", {"target": {"token": "good", "position": 9}}),
        (errors.UnknownTarget, "one token of the vocabulary", {"target": {"token": "wonderful"}}),
        (errors.InputError, "'log-probability'", {"output": "odds"}),
        (errors.InputError, "a prompt, a pair", {"inputs": {"prompt": "a", "versus": " b"}}),
        (errors.InputError, "a prompt, a pair", {"inputs": {"txt": "a"}}),
        (errors.InputError, "at least one token", {"inputs": ("the film", "")}),
        (errors.InputError, "max_new_tokens=0", {"inputs": "the film", "max_new_tokens": 0}),
        (
            errors.UnknownTarget,
            "with 'versus'",
            {"inputs": {"prompt": "a", "continuation": "a", "versus": "b"}, "target": 0},
        ),
        (errors.TextTooLong, "room for a continuation", {"inputs": ("the " * 70, "film")}),
        (errors.TextTooLong, "truncate=True", {"inputs": ("the film", " was" * 70)}),
    ],
)
def test_errors(error: type[Exception], match: str, how: dict[str, Any]) -> None:
    with pytest.raises(error, match=match) as caught:
        pellucid.explain(generator("GPT2"), **{"inputs": PAIR, **how})
    assert "xpected" in str(caught.value)


def test_truncation_keeps_the_beginning() -> None:
    m = generator("GPT2")
    m.tokenizer.model_max_length = 5
    es = pellucid.explain(m, ("the film", " was" * 70), truncate=True)
    assert len(es[0].tokens) == 5 and len(es) == 3
    assert len(pellucid.explain(m, "the film")) == 3


def spacing() -> Model:
    """A generator whose tokenizer has a word with the space before it, and another token for the word without."""
    words = "[UNK] the Ġfilm Ġwas Ġnot Ġgood good Ġ".split()
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    names = ["input_ids", "attention_mask"]
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", model_input_names=names)
    return Model(net("GPT2"), fast)


def test_a_token_is_named_with_the_space_before_it_or_without() -> None:
    everything = pellucid.explain(spacing(), ("the film was", " not good"))
    for spelled in ("not", " not", "Ġnot"):
        e = pellucid.explain(spacing(), ("the film was", " not good"), target=spelled)
        assert e.target == everything[0].target


def test_a_continuation_without_the_space_that_belongs_before_it_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log-probabilities in the note are those that transformers gives the two spellings."""
    m, far = spacing(), "pellucid.models.tasks.text_generation.FAR"
    plain = logits(m, "the film was").log_softmax(-1)[-1]
    bare, spaced = (plain[m.tokenizer.convert_tokens_to_ids(token)].item() for token in ("good", "Ġgood"))
    ratio = float(np.exp(spaced - bare))
    monkeypatch.setattr(far, ratio / 2)
    said = " ".join(pellucid.explain(m, ("the film was", "good")).notes)
    assert f"log-probability of {bare:.2f}; with one, ' good', it would be {spaced:.2f}." in said
    for pair in (("the film was", " good"), ("the film was ", "good")):
        assert "without a space" not in " ".join(pellucid.explain(m, pair).notes)
    monkeypatch.setattr(far, ratio * 2)
    assert "without a space" not in " ".join(pellucid.explain(m, ("the film was", "good")).notes)
