"""Every example runs as it stands, and what it prints is right: compared with the models called directly."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu
from transformers import BertConfig, BertForQuestionAnswering

import pellucid
from conftest import SHARED

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NUMBER = r"([-+]?\d+\.?\d*(?:e[-+]\d+)?)"


class Done(NamedTuple):
    """An example that has run: what it printed, and the names that it left behind."""

    printed: str
    names: dict[str, Any]

    def found(self, pattern: str) -> list[Any]:
        """Every match in what was printed; NUMBER in the pattern matches, and returns, a number."""
        return re.findall(pattern.replace("NUMBER", NUMBER), self.printed)


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def runs(name: str, *arguments: str) -> Done:
        path = EXAMPLES / name
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(path.read_text("utf-8"), str(path), "exec"), names)
        return Done(capsys.readouterr().out, names)

    return runs


def test_every_example_has_a_test() -> None:
    tested = Path(__file__).read_text("utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f'run("{path.name}"' not in tested] == []


# ---------------------------------------------------------------------------------------------- question answering


def passes(done: Done) -> tuple[Any, Any, Any]:
    """The question and context as the tokenizer reads them, and the model's own outputs: on these, and with a padding
    token in the place of every token that is not special."""
    net, tokenizer = done.names["model"].model, done.names["model"].tokenizer
    net.set_attn_implementation("eager")
    inputs = tokenizer(done.names["QUESTION"], done.names["CONTEXT"], return_tensors="pt")
    special = torch.tensor([place is None for place in inputs.sequence_ids(0)])
    padded = {**inputs, "input_ids": torch.where(special, inputs.input_ids, tokenizer.pad_token_id)}
    with torch.no_grad():
        return inputs, net(**inputs, output_attentions=True), net(**padded)


def test_question_answering_on_the_bundled_classifier(run: Run) -> None:
    done = run("question_answering.py")
    _, at_text, at_baseline = passes(done)
    ((before, after, delta),) = done.found(r"positive of 'positive': NUMBER -> NUMBER, delta NUMBER")
    assert float(after) == pytest.approx(at_text.logits[0, 1].item(), abs=6e-4)
    assert float(before) == pytest.approx(at_baseline.logits[0, 1].item(), abs=6e-4)
    assert abs(float(delta)) < 1e-4
    ((*at, attention),) = done.found(r"layer (\d+), head (\d+), from (\d+) to (\d+) .* attention of NUMBER")
    layer, head, query, key = map(int, at)
    assert float(attention) == pytest.approx(at_text.attentions[layer][0, head, query, key].item(), abs=6e-3)
    (furthest,) = done.found(r"conductances differ by at most NUMBER")  # from Captum's
    assert float(furthest) < 1e-5


@pytest.fixture(params=["random", "minilm-qa"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path, bundled: pellucid.Model) -> Path:
    """A model with a question-answering head: one made here, and a trained one where it is on this machine."""
    if request.param != "random":
        path = SHARED / "models" / request.param
        return path if path.is_dir() else pytest.skip("the question-answering checkpoint is not on this machine")
    torch.manual_seed(1)
    sizes = {"hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 96}
    config = BertConfig(vocab_size=len(bundled.tokenizer), **sizes, initializer_range=0.2)
    BertForQuestionAnswering(config).save_pretrained(tmp_path)
    bundled.tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_question_answering_on_a_question_answering_model(run: Run, checkpoint: Path) -> None:
    done = run("question_answering.py", str(checkpoint), "untimed")
    inputs, at_text, at_baseline = passes(done)
    answers = done.found(r"(start|end) of '(.*)': NUMBER -> NUMBER, delta NUMBER")
    assert [side for side, *_ in answers] == ["start", "end"]
    for side, answer, before, after, delta in answers:
        (match,) = re.finditer(re.escape(answer), done.names["CONTEXT"])
        token = inputs.char_to_token(0, match.start() if side == "start" else match.end() - 1, 1)
        assert float(after) == pytest.approx(at_text[f"{side}_logits"][0, token].item(), abs=6e-4)
        assert float(before) == pytest.approx(at_baseline[f"{side}_logits"][0, token].item(), abs=6e-4)
        assert abs(float(delta)) < 1e-4
    sides, parts = ("start", "end"), ("word", "token type", "position")
    assert all(f"{side}, {part}:" in done.printed for side in sides for part in parts)


# ------------------------------------------------------------------------ a module and a data loader of one's own


def gradients(net: Any, points: Tensor, mask: Tensor, label: int) -> Tensor:
    """The gradient of one logit with respect to embeddings (points, tokens, hidden), by a forward pass of this file."""
    points = points.clone().requires_grad_()
    hidden = net.encoder(inputs_embeds=points, attention_mask=mask.expand(len(points), -1)).last_hidden_state
    return torch.autograd.grad(net.head(hidden.mean(1))[:, label].sum(), points)[0]  # one text: no padding


def test_own_module_with_a_data_loader(run: Run) -> None:
    done = run("own_module.py")
    net, tokenizer, rows = done.names["net"], done.names["bundled"].tokenizer, done.names["ROWS"]
    told = done.found(r"label LABEL_(\d), prediction LABEL_(\d), probability NUMBER, delta NUMBER\n  (.*)")
    assert len(told) == 2 * len(rows)
    table = net.encoder.get_input_embeddings()
    for i, (label, predicted, probability, delta, scores) in enumerate(told):
        row = rows[i % len(rows)]
        inputs = tokenizer(row["text"], return_tensors="pt")
        with torch.no_grad():
            p = net(inputs.input_ids, inputs.attention_mask).softmax(-1)[0]
        assert int(label) == row["label"] and int(predicted) == int(p.argmax())
        assert float(probability) == pytest.approx(p.max().item(), abs=6e-5)
        shown = [piece.rsplit(":", 1) for piece in scores.split()]
        assert [token for token, _ in shown] == tokenizer.convert_ids_to_tokens(inputs.input_ids[0])
        mask, special = inputs.attention_mask, torch.tensor([s is None for s in inputs.sequence_ids(0)])
        x = table(inputs.input_ids).detach()
        x0 = torch.where(special[:, None], x, table.weight[tokenizer.pad_token_id].detach())
        if i < len(rows):  # SmoothGrad: the size of the gradient, averaged over noise of its own
            noise = 0.15 * (x.max() - x.min()) * torch.randn(400, *x.shape[1:])
            own, allowed = gradients(net, x + noise, mask, int(predicted)).abs().mean(0).norm(dim=-1), 0.1
        else:  # integrated gradients: the midpoint rule at 400 points
            t = (torch.arange(400).view(-1, 1, 1) + 0.5) / 400
            mean = gradients(net, x0 + t * (x - x0), mask, int(predicted)).mean(0)
            own, allowed = ((x - x0)[0] * mean).sum(-1), 0.02
            assert abs(float(delta)) < 0.01
        normalised = own / own.abs().max()
        assert torch.tensor([float(s) for _, s in shown]) == pytest.approx(normalised, abs=allowed)


# ------------------------------------------------------------------------------------------------------ generation


def test_generation_with_a_model_made_on_the_spot(run: Run) -> None:
    done = run("generation.py")
    model = done.names["model"]
    prompt = model.tokenizer(done.names["PROMPT"], return_tensors="pt").input_ids[0]
    filler = torch.full((1,), model.tokenizer.convert_tokens_to_ids("the"))
    answers = done.found(r"'(\S+)': log-probability NUMBER -> NUMBER, delta NUMBER\n  (.*)")
    assert len(answers) == 4 and "matrix: 4 generated tokens × 9 tokens" in done.printed
    ids, ids0 = prompt, filler.expand(len(prompt))
    for k, (word, before, after, delta, scores) in enumerate(answers):
        with torch.no_grad():
            at_text, at_baseline = (model.model(i[None]).logits[0, -1].log_softmax(-1) for i in (ids, ids0))
        best = at_text.argmax()
        assert word == model.tokenizer.convert_ids_to_tokens(int(best))
        assert float(after) == pytest.approx(at_text[best].item(), abs=6e-5)
        assert float(before) == pytest.approx(at_baseline[best].item(), abs=6e-5)
        shown = [float(s) for s in re.findall(rf"\S+ {NUMBER}", scores)]
        assert sum(shown) == pytest.approx((at_text[best] - at_baseline[best]).item(), abs=9 * 6e-5 + 1e-4)
        assert not any(shown[len(prompt) + k :]) and abs(float(delta)) < 1e-4
        if k == 0:
            first = at_text.sort(descending=True)
        ids, ids0 = torch.cat((ids, best[None])), torch.cat((ids0, filler))
    ((token, other, lead),) = done.found(r"\n(\S+) - (\S+): \S+ -> NUMBER, mostly")
    assert [token, other] == model.tokenizer.convert_ids_to_tokens(first.indices[:2].tolist())
    assert float(lead) == pytest.approx((first.values[0] - first.values[1]).item(), abs=6e-5)


# ---------------------------------------------------------------------------------------------------- any function


def test_any_function_of_numbers_and_a_category(run: Run) -> None:
    done = run("any_function.py")
    net, numbers, city = (done.names[name] for name in ("net", "numbers", "city"))
    first, _, last = net.layers
    with torch.no_grad():
        x = torch.cat((numbers, net.cities.weight[city]), 1)
        x0 = torch.cat((torch.zeros_like(numbers), net.cities.weight[:1].expand(len(x), -1)), 1)
        z, z0 = first(x), first(x0)
        multipliers = (last.weight[0] * (gelu(z) - gelu(z0)) / (z - z0)) @ first.weight  # DeepLIFT's rescale rule
        contributions = multipliers * (x - x0)
        expected = torch.cat((contributions[:, :3], contributions[:, 3:].sum(1, keepdim=True)), 1)
    shown = torch.tensor([float(s) for s in done.found(r"\n  (?!left)\S+ +NUMBER")]).view(2, 4)
    assert shown == pytest.approx(expected, abs=6e-5)
    outputs = torch.tensor([[float(y) for y in pair] for pair in done.found(r"logit NUMBER -> NUMBER")])
    assert outputs[:, 0] == pytest.approx(last(gelu(z0))[:, 0].detach(), abs=6e-5)
    assert outputs[:, 1] == pytest.approx(net(numbers, city)[:, 0].detach(), abs=6e-5)
    assert done.printed.count("status exact") == 2


# -------------------------------------------------------------------------------------- jobs that people write down


def pictures(folder: Path) -> set[str]:
    """The names of the pictures in a folder, each of which is a PNG of some size."""
    found = list(folder.glob("*.png"))
    assert all(path.read_bytes()[:4] == b"\x89PNG" and path.stat().st_size > 3000 for path in found)
    return {path.stem for path in found}


def test_a_classifier_step_by_step(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run("classifier_step_by_step.py", str(tmp_path))
    scores = dict(done.found(r"(?m)^(\w+) +NUMBER$"))
    same = pellucid.explain(pellucid.load(), done.names["REVIEWS"][0], method="integrated_gradients", baseline="pad")
    assert {w.text for w in same.top(5)} == scores.keys()
    assert all(float(scores[w.text]) == pytest.approx(w.score, abs=6e-4) for w in same.top(5))
    page = (tmp_path / "reviews.html").read_text("utf-8")
    assert [e.label for e in done.names["answers"]] == ["positive", "negative", "positive"]
    assert all(text in page for text in ("positive", "negative")) and pictures(tmp_path) == {"layers"}


def test_smoothgrad_of_a_batch(run: Run, tmp_path: Path) -> None:
    done = run("smoothgrad_batch.py", str(tmp_path))
    net, tokenizer = done.names["model"].model, done.names["model"].tokenizer
    batch = tokenizer(done.names["TITLES"], return_tensors="pt", padding=True)
    with torch.no_grad():
        classes = net(**batch).logits.argmax(-1).tolist()
    shares = done.found(r"(\w+): (\S+) has NUMBER%")
    assert [net.config.id2label[i] for i in classes] == [label for label, _, _ in shares]
    assert all(0 < float(share) <= 100 for _, _, share in shares) and (tmp_path / "smoothgrad.html").exists()


def test_methods_compared(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run("methods_compared.py", str(tmp_path))
    ((exact, _),) = done.found(r"deeplift: delta NUMBER, relative NUMBER, exact")
    ((probability, delta),) = done.found(r"probability NUMBER, delta NUMBER")
    net, tokenizer = done.names["model"].model, done.names["model"].tokenizer
    with torch.no_grad():
        own = net(**tokenizer(done.names["TEXT"], return_tensors="pt")).logits.softmax(-1).max().item()
    assert float(probability) == pytest.approx(own, abs=6e-5)
    assert abs(float(exact)) < 1e-4 and abs(float(delta)) < 1e-5 and pictures(tmp_path) == {"compare"}


INSIDE = {"layers", "distribution", "attention", "heads", "norms"}


def test_the_inside_of_an_answer(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run("answer_inside.py", str(tmp_path))
    assert pictures(tmp_path) == INSIDE and len(done.found(r"(?m)^(word|position|token type): ")) == 3
    (e,) = done.names["found"]
    net, tokenizer = done.names["model"].model, done.names["model"].tokenizer
    net.set_attn_implementation("eager")
    with torch.no_grad():
        own = net(**tokenizer(e.text[0], e.text[1], return_tensors="pt"), output_attentions=True)
    assert e.output == pytest.approx(own.logits.max().item(), abs=1e-4)
    assert e.attentions[2] == pytest.approx(own.attentions[2][0].numpy(), abs=1e-5)


@pytest.mark.skipif(not (SHARED / "models" / "minilm-qa").is_dir(), reason="needs ../shared/models/minilm-qa")
def test_the_inside_of_a_real_answer(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run("answer_inside.py", str(tmp_path), str(SHARED / "models" / "minilm-qa"))
    start, end = done.names["found"]
    assert (start.target.name, end.target.name) == ("start", "end") and "Turin" in start.prediction
    assert pictures(tmp_path) == INSIDE


# ---------------------------------------------------------------------------------------------------- Captum's names


@pytest.mark.filterwarnings("ignore")
def test_captums_names_on_a_classifier(run: Run, tmp_path: Path) -> None:
    done = run("captum_classifier.py", str(tmp_path))
    net, tokenizer, texts = (done.names[name] for name in ("net", "tokenizer", "TEXTS"))
    with torch.no_grad():
        change = (net(done.names["ids"]).logits - net(done.names["ids0"]).logits)[0, 1].item()
        p = net(**tokenizer(texts, return_tensors="pt", padding=True)).logits.softmax(-1)
    assert "not torch.tensor(" in done.printed and "restored True" in done.printed
    for total, delta in done.found(r"(?:gradients|deeplift): sum NUMBER, delta NUMBER"):
        assert float(total) == pytest.approx(change, abs=1e-3) and abs(float(delta)) < 1e-3
    told = done.found(r"label (\d), probability NUMBER, shares \[(.*)\]")
    assert [int(label) for label, *_ in told] == p.argmax(-1).tolist()
    assert [float(found) for _, found, _ in told] == pytest.approx(p.max(-1).values.tolist(), abs=6e-5)
    assert all(sum(map(float, shares.split(","))) == pytest.approx(1, abs=0.01) for *_, shares in told)
    assert "growing" in (tmp_path / "classifier.html").read_text("utf-8")


@pytest.mark.filterwarnings("ignore")
def test_captums_names_on_question_answering(run: Run) -> None:
    done = run("captum_question_answering.py")
    net, ids, (ids0, types0, places0) = (done.names[name] for name in ("net", "ids", "references"))
    types, places, mask = (done.names[name] for name in ("types", "places", "mask"))
    at = lambda i, t, p: net(i, token_type_ids=t, position_ids=p, attention_mask=mask)
    with torch.no_grad():
        own, words, all_three = at(ids, types, places), at(ids0, types, places), at(ids0, types0, places0)
    sides = done.found(r"(start|end) at (\d+): sum NUMBER, delta NUMBER")
    for k, (side, best, total, delta) in enumerate(sides):
        assert int(best) == int(own[f"{side}_logits"].argmax())
        change = own[k].max() - words[k].max()
        assert float(total) - float(delta) == pytest.approx(change.item(), abs=2e-4)
    parts = [float(n) for n in done.found(r"embeddings: NUMBER")]
    assert sum(parts) == pytest.approx((own[0].max() - all_three[0].max()).item(), abs=0.02)  # at 20 points
    assert len(sides) == 2 and len(done.found(r"layer \d: conductance NUMBER")) == len(net.bert.encoder.layer)
