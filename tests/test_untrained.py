"""Weights that a checkpoint lacks are random: the answers that depend on them say so, and no other does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import pellucid
from families import FAMILIES, built, classes, model, tokenizer
from pellucid import Model, errors
from pellucid.check import verify
from pellucid.cli import app
from pellucid.models.untrained import drawn

ASKED = {"question": "was it good ?", "context": "the film was good"}


def saved(path: Path, net: Any) -> Path:
    net.save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


def lacking(path: Path, net: Any, prefix: str = "") -> set[str]:
    """The parameters of a model that its checkpoint does not have, by reading the file. prefix: of the names there."""
    held = {name.removeprefix(prefix) for name in load_file(path / "model.safetensors")}
    return {name for name, _ in net.named_parameters()} - held


def random_notes(e: Any) -> list[str]:
    return [note for note in e.notes if "no weights" in note]


@pytest.mark.parametrize(
    ("head", "task", "given", "names"),
    [
        ("ForSequenceClassification", "question-answering", ASKED, "qa_outputs"),
        ("ForMaskedLM", "text-classification", "a good film", "bert.pooler, classifier"),
        ("ForSequenceClassification", "token-classification", "a good film", "classifier"),
    ],
)
def test_a_head_that_the_checkpoint_lacks(tmp_path: Path, head: str, task: str, given: Any, names: str) -> None:
    kept = {"classifier.weight", "classifier.bias"} if task == "token-classification" else set()
    net = built("Bert", f"Bert{head}", num_labels=2)
    saved(tmp_path, net)
    if kept:  # so that the two heads, of one name and shape, differ
        save_file({k: v for k, v in net.state_dict().items() if k not in kept}, tmp_path / "model.safetensors")
    m = pellucid.load(tmp_path, task=task)
    assert {name.rsplit(".", 1)[0] for name in lacking(tmp_path, m.model)} == {
        n.replace("pooler", "pooler.dense") for n in names.split(", ")
    }
    said = (
        f"This checkpoint lacks a trained head for {task}, so its answers mean nothing: it has no weights for {names},"
    )
    for method in ("deeplift", "occlusion"):
        answer = pellucid.explain(m, [given, given], method=method)
        for one in answer:
            for e in one if isinstance(one, pellucid.Explanations) else [one]:
                (note,) = random_notes(e)
                assert note.startswith(said) and task in note
    (problem,) = (p for p in verify(m).problems if "random" in p)
    assert problem.startswith(said)
    shown = CliRunner().invoke(app, ["check", str(tmp_path), "--task", task])
    assert shown.exit_code == 1 and said in " ".join(shown.stdout.split()) and "✓ every" not in shown.stdout


def test_weights_that_no_answer_depends_on_are_not_told(tmp_path: Path) -> None:
    """The pooler of an encoder whose hidden states are averaged."""
    saved(tmp_path, built("Bert", "BertForMaskedLM"))
    m = pellucid.load(tmp_path, task="sentence-similarity")
    assert lacking(tmp_path, m.model, "bert.") == {"pooler.dense.weight", "pooler.dense.bias"} == set(m.untrained)
    assert not random_notes(pellucid.explain(m, ("a good film", "a dull film")))
    assert not any("random" in p for p in verify(m).problems)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_that_has_all_its_weights(tmp_path: Path, family: str) -> None:
    _, head = classes(family)
    net = built(family, head)
    net.save_pretrained(tmp_path)
    again, told = head.from_pretrained(tmp_path, output_loading_info=True)
    assert drawn(again, told["missing_keys"]) == ()


def test_tied_and_computed_weights_are_not_drawn() -> None:
    net = built("Bert", "BertForMaskedLM")
    tied = "cls.predictions.decoder.weight"
    assert drawn(net, {tied}) == () and tied in dict(net.named_parameters(remove_duplicate=False))
    both = drawn(net, {tied, "bert.embeddings.word_embeddings.weight"})
    assert len(both) == 1
    net.bert.embeddings.position_embeddings.weight.requires_grad_(False)
    assert drawn(net, {"bert.embeddings.position_embeddings.weight"}) == ()


def test_the_users_model_stays_as_it_is() -> None:
    net = model("Bert")
    m = Model(net, tokenizer(), untrained=["classifier.weight"])
    net.requires_grad_(False)
    assert random_notes(pellucid.explain(m, "a good film"))
    assert not any(p.requires_grad for p in net.parameters()) and all(p.grad is None for p in net.parameters())


def test_a_head_of_another_shape(tmp_path: Path) -> None:
    saved(tmp_path, model("Bert"))
    with pytest.raises(
        errors.UnsupportedModel, match=r"BertForSequenceClassification.*\(3, 32\), not \(1, 32\)"
    ) as caught:
        pellucid.load(tmp_path, task="multiple-choice")
    assert "task='text-classification'" in str(caught.value)
    transformers.BertConfig.from_pretrained(tmp_path, num_labels=5).save_pretrained(tmp_path)
    with pytest.raises(errors.UnsupportedModel, match=r"\(3,\), not \(5,\).*config\.json.*num_labels"):
        pellucid.load(tmp_path)
    assert torch.is_grad_enabled()
