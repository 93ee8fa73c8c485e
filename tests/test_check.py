"""`pellucid check`: what a model is made of, whether each operation has a rule, and the residual that is measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

import pellucid
from families import model, tokenizer
from heads import headed
from itself import read, said
from pellucid import Model
from pellucid.check import LIMIT, TEXTS, verify
from pellucid.cli import app


class Cubed(torch.autograd.Function):
    """A user's own operation, which no table can know."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(100, 8), nn.Linear(8, 2)

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        h: Any = Cubed.apply(self.embed(input_ids))
        h = h * attention_mask.unsqueeze(-1)
        return self.head(h.sum(1))


def run(monkeypatch: pytest.MonkeyPatch, m: Model, *arguments: str) -> Any:
    monkeypatch.setattr("pellucid.models.load", lambda *_, **__: m)
    return CliRunner().invoke(app, ["check", "somewhere", *arguments])


def test_the_bundled_model_passes(bundled: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = run(monkeypatch, bundled, "--json")
    assert answer.exit_code == 0
    report = json.loads(answer.stdout)
    assert report["passed"] and not report["problems"] and report["task"] == "text-classification"
    assert report["labels"] == ["negative", "positive"] and report["attention"] == "sdpa"
    assert (report["dtype"], report["device"], report["baseline"]) == ("float32", "cpu", "mask")
    assert all(o["covered"] for o in report["operations"])
    assert {"AddmmBackward0", "NativeLayerNormBackward0"} <= {o["name"] for o in report["operations"]}
    for text, probe in zip(TEXTS, report["probes"], strict=True):
        e = pellucid.explain(bundled, text)
        assert probe["text"] == text and probe["relative_delta"] == pytest.approx(e.relative_delta)
        for name, inputs in (("output", {}), ("baseline_output", {"by": bundled.tokenizer.mask_token})):
            logits = said(bundled.model, read(bundled.tokenizer, text, **inputs))[0]
            assert probe[name] == pytest.approx(logits[e.target.index].item(), abs=1e-5)
        assert probe["moved"] and probe["batched"] < 1e-4
    worst = max(probe["relative_delta"] for probe in report["probes"])
    shown = run(monkeypatch, bundled).stdout
    assert f"the scores of 3 probes add up, at worst to {worst:.1g} of the change" in " ".join(shown.split())
    assert re.search(r"attention +sdpa, fused", shown) and re.search(r"baseline +mask", shown)


def test_an_operation_without_a_rule_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    m = Model(Custom(), tokenizer())
    answer = run(monkeypatch, m)
    assert answer.exit_code == 1
    assert "CubedBackward" in answer.stdout and "not measured" in answer.stdout
    report = json.loads(run(monkeypatch, m, "--json").stdout)
    assert not report["passed"] and report["probes"] == []
    (missing,) = (o for o in report["operations"] if not o["covered"])
    assert missing["name"] == "CubedBackward" and missing["where"].startswith("Custom (test_check.py")
    assert verify(m).missing == ("CubedBackward",)


def test_a_large_residual_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from pellucid.numerics.deeplift.rules.table import RULES

    monkeypatch.setitem(RULES, "GeluBackward0", lambda n, n0: lambda g: (n(g[0]),))  # the gradient is no multiplier
    report = verify(Model(model("Bert"), tokenizer()))
    assert report.probes[0].relative_delta > LIMIT
    assert any("residual of probe 1" in problem for problem in report.problems)


def test_a_model_that_mixes_its_batch_is_explained_row_by_row() -> None:
    class Mixing(Custom):
        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            h = self.embed(input_ids) * attention_mask.unsqueeze(-1)
            return self.head(h.sum(1) * len(h))

    report = verify(Model(Mixing(), tokenizer()))
    assert not report.problems and [p.batched for p in report.probes] == [0.0] * 3  # its rows go one at a time


def test_what_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = model("Bert")
    with torch.no_grad():
        broken.classifier.weight.fill_(torch.nan)
    answer = run(monkeypatch, Model(broken, tokenizer()))
    assert answer.exit_code == 1 and "NonFiniteOutput" in answer.stdout


def test_without_an_input_nothing_passes(bundled: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    report = verify(bundled, [])
    assert report.problems == ("No input was given, so nothing was measured; expected at least one.",)
    assert not report.to_dict()["passed"] and report.baseline == "not measured"
    monkeypatch.setattr("pellucid.check._probes", lambda model: [])
    shown = run(monkeypatch, bundled)
    assert shown.exit_code == 1 and "✓" not in shown.stdout
    assert re.search(r"attention +sdpa \(not measured\)", shown.stdout)


def test_probes_that_are_their_own_baseline_measure_nothing() -> None:
    """A tokenizer that knows no word of them, and no mask: what stands in for it is what it reads."""
    known = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
    known.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    blind = PreTrainedTokenizerFast(tokenizer_object=known, pad_token="[PAD]", unk_token="[UNK]")
    report = verify(Model(model("Bert"), blind))
    assert [p.moved for p in report.probes] == [False] * 3 and not report.missing
    (problem,) = report.problems
    assert "Every score is 0, so nothing was measured" in problem and "'[UNK]'" in problem


def test_other_targets_in_a_batch_are_a_difference() -> None:
    """Its answer is another class where the same text is beside it, which two other texts do not show."""

    class Crowded(Custom):
        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            h = self.embed(input_ids).tanh() * attention_mask.unsqueeze(-1)
            twice = 1.0 if len(h) == 2 and torch.equal(h[0], h[1]) else -1.0
            return self.head(h.sum(1)) + 500 * torch.tensor([twice, -twice])

    report = verify(Model(Crowded(), tokenizer()))
    assert [p.batched for p in report.probes] == [None] * 3
    assert any("other targets are found there" in problem for problem in report.problems)


def test_operations_are_those_of_every_input() -> None:
    class Longer(Custom):
        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            h = self.embed(input_ids)
            h = Cubed.apply(h) if input_ids.shape[1] > 8 else h.tanh()
            return self.head((h * attention_mask.unsqueeze(-1)).sum(1))  # pyright: ignore[reportOptionalOperand]

    report = verify(Model(Longer(), tokenizer()), ["a film", "the film was so good , but the plot is dull"])
    assert report.missing == ("CubedBackward",) and report.probes == ()
    assert "TanhBackward0" in {o.name for o in report.operations}


HEADS = ["Model", "ForMultipleChoice", "ForQuestionAnswering", "ForMaskedLM", "ForTokenClassification", "LMHeadModel"]


@pytest.mark.parametrize("head", HEADS)
def test_other_tasks_have_probes(head: str) -> None:
    words = tokenizer()
    words.model_max_length = 128
    how: dict[str, Any] = {"dtype": torch.float64, "max_position_embeddings": 128, "is_decoder": head == "LMHeadModel"}
    net = headed("Bert", head, **how)
    report = verify(Model(net, words))
    assert report.problems == () and len(report.probes) == 3
    assert all(p.moved and p.relative_delta < 1e-9 for p in report.probes)


def test_images_have_probes() -> None:
    def processor(image: Any, return_tensors: str) -> Any:
        return {"pixel_values": np.asarray(image, np.float32)[:8, :8].transpose(2, 0, 1)[None] / 127.5 - 1}

    report = verify(Model(model("ViT"), processor))
    assert report.problems == () and len(report.probes) == 3 and report.baseline == "zero"


def test_the_users_own_inputs(bundled: Model) -> None:
    report = verify(bundled, ["A good film.", "A bad one."])
    assert [p.text for p in report.probes] == ["A good film.", "A bad one."]


def test_a_checkpoint_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pellucid.cli import main

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr("sys.argv", ["pellucid", "check", str(tmp_path / "nowhere")])
        main()
    assert stop.value.code == 2 and "no directory" in capsys.readouterr().err
