"""What a decoder's answer is by default: against a filler, on two segments, of a log-probability; and what it reads
where tokens are deleted."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import probes

import pellucid
from conftest import SHARED
from families import model, tokenizer
from generative import causal_tokenizer, coder, generator, net
from pellucid import Model, errors
from pellucid.models.tasks import text_generation
from pellucid.models.text.filler import filler_of, token_id

PAIR = ("the film was", " not so good")
UNKNOWN = "<unk>"

# ---------------------------------------------------------------------------------------------------------- the filler


def fast(made: Tokenizer) -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token=UNKNOWN)


def trained(kind: str, text: str) -> Any:
    """A tokenizer trained on a text: byte-level or SentencePiece's way of writing."""
    made = Tokenizer(models.BPE(unk_token=UNKNOWN))
    alphabet: list[str] = []
    if kind == "bytes":
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace()  # pyright: ignore
    how: Any = {"vocab_size": 400, "special_tokens": [UNKNOWN], "initial_alphabet": alphabet, "show_progress": False}
    made.train_from_iterator([text] * 20, trainers.BpeTrainer(**how))
    return fast(made)


def characters(letters: str) -> Any:
    made = Tokenizer(models.WordLevel({c: i for i, c in enumerate([UNKNOWN, *letters])}, unk_token=UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")  # pyright: ignore
    return fast(made)


ENGLISH = "the cat and the dog are in the house of the king , and the man is in it"
GERMAN = "Der Hund und die Katze sind in dem Haus und der Mann sieht die Frau und das Kind."
CHINESE = "我的猫在家里，他的狗不在。这是我的书，你的书在哪里？"
KOREAN = "나는 학교에 갔다. 고양이는 집에 있다. 그는 한국에 산다"


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@pytest.mark.parametrize(
    ("text", "name"),
    [(ENGLISH, "filler ' the'"), (GERMAN, "filler ' und'"), (CHINESE, "filler '的'"), (KOREAN, "filler '에'")],
)
def test_a_filler_is_a_frequent_word_by_a_name_that_can_be_read(kind: str, text: str, name: str) -> None:
    found = filler_of(trained(kind, text))
    assert str(found) == name


@pytest.mark.parametrize(
    ("letters", "name"),
    [("zyxabc", "filler 'z'"), ("ABC", "filler 'A'"), (".,01", "filler '0'"), (".,", "filler '.'")],
)
def test_a_tokenizer_of_characters_has_one_too(letters: str, name: str) -> None:
    assert str(filler_of(characters(letters))) == name


def test_a_vocabulary_without_an_ordinary_token_has_none() -> None:
    empty = fast(Tokenizer(models.WordLevel({UNKNOWN: 0, "<pad>": 1}, unk_token=UNKNOWN)))
    assert filler_of(empty) is None
    m = Model(net("GPT2"), empty)
    with pytest.raises(errors.UnknownBaseline, match="expected one whose vocabulary has"):
        m.baseline("filler")
    assert m.baseline("mask") == UNKNOWN


def test_a_token_is_looked_up_without_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    tok = trained("bytes", ENGLISH)
    known = tok.get_vocab()
    monkeypatch.setattr(type(tok), "get_vocab", lambda self: pytest.fail("the vocabulary was built"))
    assert token_id("Ġthe", tok) == token_id(" the", tok) == known["Ġthe"]
    assert token_id("the house", tok) is None and token_id("no such thing", tok) is None


# -------------------------------------------------------------------------------------------------- what explain does


def own_log_p(m: Model, ids: list[int], token: int) -> float:
    """log p(token | ids), as transformers' users compute it."""
    with torch.no_grad():
        return m.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)[token].item()


@pytest.mark.parametrize("family", ["GPT2", "Llama", "Gemma2"])
def test_the_default_is_the_filler_on_two_segments_of_a_log_probability(family: str) -> None:
    m = generator(family, dtype=torch.float64)
    ids = m.tokenizer("".join(PAIR))["input_ids"]
    the = m.tokenizer.convert_tokens_to_ids("the")
    for k, e in enumerate(pellucid.explain(m, PAIR)):
        assert (e.baseline, e.meta["options"], e.meta["output"]) == (
            "filler 'the'",
            {"segments": 2},
            "log-probability",
        )
        assert e.passes == 3 and e.relative_delta < 1e-9
        assert e.output == pytest.approx(own_log_p(m, ids[: 3 + k], ids[3 + k]))
        assert e.baseline_output == pytest.approx(own_log_p(m, [the] * (3 + k), ids[3 + k]))
    again = pellucid.explain(m, PAIR, baseline="the", segments=2, output="log-probability")
    np.testing.assert_allclose(again.matrix(), pellucid.explain(m, PAIR).matrix(), atol=1e-12)
    named = pellucid.explain(m, PAIR, baseline="filler 'the'")
    assert named[0].baseline == "filler 'the'" and (named.matrix() == pellucid.explain(m, PAIR).matrix()).all()


def test_what_is_asked_for_wins() -> None:
    m = generator("GPT2")
    ask = lambda **how: pellucid.explain(m, PAIR, **how)[0]
    assert ask(segments=1).meta["options"] == {"segments": 1} and ask(segments=1).passes == 2
    assert ask(baseline="[UNK]").meta["options"] == {} and ask(baseline="[UNK]").baseline == "[UNK]"
    assert ask(baseline=["zero", "filler"]).meta["options"] == {"segments": 2}
    assert "segments" not in ask(method="integrated_gradients").meta["options"]
    both = pellucid.explain(m, PAIR, target=0, method=["deeplift", "occlusion"])
    assert [e.meta["options"] for e in both] == [{"segments": 2}, {}]
    bert = pellucid.explain(Model(model("Bert"), tokenizer()), "a good film", baseline="filler")
    assert (bert.baseline, bert.meta["options"], bert.passes) == ("filler 'the'", {}, 2)
    assert bert.meta["output"] == "logit"


def test_a_decoder_that_classifies() -> None:
    e = pellucid.explain(Model(model("GPT2"), causal_tokenizer()), "a good film")
    assert (e.baseline, e.meta["options"], e.meta["output"]) == ("filler 'the'", {"segments": 2}, "logit")
    assert e.relative_delta < 1e-4


def test_the_runner_up() -> None:
    m = generator("GPT2", dtype=torch.float64)
    ids = m.tokenizer("".join(PAIR))["input_ids"]
    with torch.no_grad():
        log_p = m.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    es = pellucid.explain(m, [PAIR, ("a dull plot", " .")], target="runner-up")[0]
    for k, e in enumerate(es):
        others = log_p[2 + k].clone()
        others[ids[3 + k]] = -torch.inf
        rival = int(others.argmax())
        assert e.target.index == (ids[3 + k], rival) and e.target.position == 3 + k
        assert e.target.name == f"{m.tokenizer.decode([ids[3 + k]])} - {m.tokenizer.decode([rival]) or f'[{rival}]'}"
        assert e.output == pytest.approx((log_p[2 + k, ids[3 + k]] - others[rival]).item())
    (one,) = [pellucid.explain(m, PAIR, target={"runner-up": 1})]
    assert one.target == es[1].target and one.output == pytest.approx(es[1].output)
    with pytest.raises(errors.UnknownTarget, match="'runner-up'"):
        pellucid.explain(m, PAIR, target={"runner-up": "good"})


def test_a_model_is_asked_once_whether_it_is_causal(monkeypatch: pytest.MonkeyPatch) -> None:
    m = generator("GPT2")
    asked = []
    run = text_generation.logits_at
    monkeypatch.setattr(text_generation, "logits_at", lambda *a, **k: (asked.append(1), run(*a, **k))[1])
    for _ in range(3):
        m.encode([PAIR])
    assert len(asked) == 1


# ------------------------------------------------------------------------------------------------------------ deleted


def without(ids: list[int], i: int) -> list[int]:
    return ids[:i] + ids[i + 1 :]


@pytest.mark.parametrize("family", ["GPT2", "Llama", "Bloom", "OPT"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_leaving_one_out_is_the_model_on_the_shortened_ids(family: str, side: str) -> None:
    m = generator(family, side, dtype=torch.float64)
    items = [PAIR, ("the movie was very very dull and", " bad .")]
    for (prompt, text), es in zip(
        items, pellucid.explain(m, items, method="occlusion", baseline="delete"), strict=True
    ):
        ids, n = m.tokenizer(prompt + text)["input_ids"], len(m.tokenizer(prompt)["input_ids"])
        for k, e in enumerate(es):
            before, token = ids[: n + k], ids[n + k]
            whole = own_log_p(m, before, token)
            own = [whole - own_log_p(m, without(before, i), token) for i in range(n + k)]
            np.testing.assert_allclose(e.scores[: n + k], own, atol=1e-9)
            assert np.abs(e.scores[n + k :]).max() < 1e-12 and e.baseline == "delete"
            assert e.baseline_output == pytest.approx(own_log_p(m, [m.tokenizer.cls_token_id], token))
            assert len(e.notes) == 1 and "after '[CLS]' alone" in e.notes[0]


@pytest.mark.parametrize("method", ["shapley", "kernel_shap", "partition_shap", "lime", "feature_ablation"])
def test_every_method_that_removes_groups_deletes(method: str) -> None:
    m = generator("GPT2", dtype=torch.float64)
    es = pellucid.explain(m, ("the film", " was so good"), method=method, baseline="delete")
    assert all(e.relative_delta < 1e-9 for e in es) or not es[0].adds_up
    if method == "shapley":  # of two tokens: the mean over both orders
        ids, begin = m.tokenizer("the film was")["input_ids"], m.tokenizer.cls_token_id
        v = {s: own_log_p(m, [ids[i] for i in s] or [begin], ids[2]) for s in ((), (0,), (1,), (0, 1))}
        first = (v[0,] - v[()] + v[0, 1] - v[1,]) / 2
        assert es[0].scores[0] == pytest.approx(first)


def test_words_of_a_prompt_with_another_continuation_are_deleted() -> None:
    m = generator("GPT2", dtype=torch.float64)
    item = {"prompt": "the film was", "continuation": " good", "versus": " not bad"}
    e = pellucid.explain(m, item, method="occlusion", baseline="delete", groups="word")
    ids = m.tokenizer("the film was")["input_ids"]
    good, no, bad = m.tokenizer.convert_tokens_to_ids(["good", "not", "bad"])

    def contrast(before: list[int]) -> float:
        return own_log_p(m, before, good) - own_log_p(m, before, no) - own_log_p(m, [*before, no], bad)

    own = [contrast(ids) - contrast(without(ids, i)) for i in range(3)]
    np.testing.assert_allclose(e.scores[:3], own, atol=1e-9)
    assert e.scores[4] == pytest.approx(-own_log_p(m, [*ids, no], bad) + own_log_p(m, ids, bad))


def test_a_source_loses_tokens_too() -> None:
    m = coder("T5", dtype=torch.float64)
    e = pellucid.explain(m, ("the film was good", "a film"), method="occlusion", baseline="delete", target=0)
    ids = m.tokenizer("the film was good")["input_ids"]
    start = torch.tensor([[t.id for t in e.tokens[len(ids) :]][: e.target.position - len(ids)]])

    def logit(source: list[int]) -> float:
        with torch.no_grad():
            return m.model(torch.tensor([source]), decoder_input_ids=start).logits[0, -1, e.target.index].item()

    own = [0.0 if e.tokens[i].special else logit(ids) - logit(without(ids, i)) for i in range(len(ids))]
    np.testing.assert_allclose(e.scores[: len(ids)], own, atol=1e-9)


def test_nothing_to_begin_with_is_said() -> None:
    m = generator("GPT2")
    for name in ("cls_token", "pad_token", "sep_token"):
        setattr(m.tokenizer, name, None)
    with pytest.raises(errors.UnknownBaseline, match="a token that begins a text"):
        pellucid.explain(m, PAIR, method="occlusion", baseline="delete")


# -------------------------------------------------------------------------------------------------- what people see


def test_no_bytes_on_the_screen() -> None:
    from rich.console import Console

    tok = trained("bytes", ENGLISH)
    tok.backend_tokenizer.decoder = decoders.ByteLevel()
    tok.chat_template = "{% for m in messages %}user\n{{ m.content }}\n{% endfor %}it is"
    m = Model(net("GPT2", vocab_size=len(tok)), tok)
    es = pellucid.explain(
        m, {"messages": [{"role": "user", "content": "the 영화 is 👍"}], "continuation": "\n the café"}
    )
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(es)
    console.print(es[0])
    screen = [console.export_text(), es.to_html().split("</style>")[-1], *(e.target.name for e in es)]
    written = {t.text for t in es[0].tokens}
    assert {"Ġthe", "Ċ"} <= written
    for text in screen:
        assert not set("ĠĊìíðŁÃ©") & set(text)
    assert "⏎" in screen[0] and "⏎" in screen[1] and es[0].target.name == "⏎"


# ------------------------------------------------------------------------------------------------- a real checkpoint

REAL = SHARED / "models" / "smollm2"


def test_the_deciding_word_comes_first() -> None:
    if not REAL.is_dir():
        pytest.skip("SmolLM2 is not on this machine")
    m = pellucid.load(REAL)
    items = [(p.prompt, p.continuation) for p in probes.PROBES]
    found = [probes.first(pellucid.explain(m, item)) == p.key for item, p in zip(items, probes.PROBES, strict=True)]
    assert np.mean(found) >= 0.85


def test_the_benchmark_finds_the_word_that_alone_counts() -> None:
    """A model whose next token is decided by one word of the prompt, whatever the others are."""

    class Keyed(torch.nn.Module):
        def __init__(self, key: int) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(90, 4)
            torch.nn.init.zeros_(self.table.weight)
            with torch.no_grad():
                self.table.weight[key, 0] = 1.0
            self.head = torch.nn.Linear(4, 90)

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.table(input_ids).cumsum(1))

    tok = causal_tokenizer()
    good = tok.convert_tokens_to_ids("good")
    net = Keyed(tok.convert_tokens_to_ids("plot")).eval()
    with torch.no_grad():
        net.head.weight[good, 0] = 9.0
    m = Model(net, tok, task="text-generation")
    probe = probes.Probe("toy", "the plot was so very", " good", " bad", "plot")
    ((share, size), (contrast, _)) = probes.measured(m, [probe, replace(probe, key="was")], {})
    assert share == contrast == 0.5 and size == pytest.approx(1, abs=1e-5)
