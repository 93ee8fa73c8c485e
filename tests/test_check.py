"""`pellucid check`: what a model is made of, whether each operation has a rule, and the residual that is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import pellucid
from families import model, tokenizer
from heads import headed
from pellucid import Model
from pellucid.cli import app
from pellucid.verifying import LIMIT, TEXTS, verify


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
        assert probe["batched"] < 1e-4


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
    from pellucid.numerics.rules import RULES

    monkeypatch.setitem(RULES, "GeluBackward0", lambda n, n0, g: (n(g[0]),))  # the gradient is no multiplier
    report = verify(Model(model("Bert"), tokenizer()))
    assert report.probes[0].relative_delta > LIMIT
    assert any("residual of probe 1" in problem for problem in report.problems)


def test_a_model_that_mixes_its_batch_fails() -> None:
    class Mixing(Custom):
        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            h = self.embed(input_ids) * attention_mask.unsqueeze(-1)
            return self.head(h.sum(1) * len(h))

    report = verify(Model(Mixing(), tokenizer()))
    assert not report.missing and any("differently in a batch" in problem for problem in report.problems)


def test_what_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = model("Bert")
    with torch.no_grad():
        broken.classifier.weight.fill_(torch.nan)
    answer = run(monkeypatch, Model(broken, tokenizer()))
    assert answer.exit_code == 1 and "NonFiniteOutput" in answer.stdout


@pytest.mark.parametrize("head", ["Model", "ForMultipleChoice", "ForQuestionAnswering", "ForMaskedLM"])
def test_other_tasks_have_probes(head: str) -> None:
    report = verify(Model(headed("Bert", head), tokenizer()))
    assert report.probes and not report.missing
    assert max(p.relative_delta for p in report.probes) < LIMIT


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
    assert stop.value.code == 1 and "no directory" in capsys.readouterr().err
