"""What the documents say of the code is so: files that they name exist, code that they show runs."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

import pellucid
from pellucid.status import Status

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ROOT, ROOT / "src" / "pellucid", ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FILE = re.compile(r"(?:[\w.-]+/)*[\w-]+\.(?:py|md)\b")
LINK = re.compile(r"\]\((?!http)([^)#]+)\)")


def missing(page: str) -> list[str]:
    """The files that a page names, by a path or by a name alone, and that no room has."""
    names = {*FILE.findall(page), *LINK.findall(page)}
    return sorted(name for name in names if not any((room / name).exists() for room in ROOMS))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_file_that_a_document_names_exists(page: Path) -> None:
    assert missing(page.read_text("utf-8")) == []


def test_a_file_that_does_not_exist_is_found() -> None:
    assert missing("`models/tasks.py`, `problem.py`, [here](docs/none.md)") == ["docs/none.md", "models/tasks.py"]


def test_the_glossary_has_every_status_once_and_says_how_its_scores_were_obtained() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", (ROOT / "docs" / "glossary.md").read_text("utf-8"), re.M)
    ways = {"closed form": "a closed form", "tolerance": "a tolerance", "sample": "a random sample"}
    assert dict(rows) == {s.value: ways.get(s.obtained, "a fixed number of steps") for s in Status}
    assert len(rows) == len(Status)


def test_the_terms_of_the_glossary_are_sorted_and_short() -> None:
    terms = re.findall(r"^- \*\*(.+?)\*\* – (.+(?:\n  .+)*)", (ROOT / "docs" / "glossary.md").read_text("utf-8"), re.M)
    names = [re.sub(r"\W+", " ", name).strip().casefold() for name, _ in terms]
    assert len(names) >= 30 and names == sorted(names)
    assert [name for name, meaning in terms if meaning.count("\n") > 1] == []


def test_the_code_in_the_readme_runs(bundled: pellucid.Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Block after block, with a small model in the place of the checkpoint and of the user's own."""
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 4, "intermediate_size": 64}
    labels = {"id2label": {0: "negative", 1: "positive"}, "label2id": {"negative": 0, "positive": 1}}
    config = BertConfig(vocab_size=len(bundled.tokenizer), **sizes, **labels, initializer_range=0.2)
    model = pellucid.Model(BertForSequenceClassification(config).eval(), bundled.tokenizer)
    table = torch.randn(4, 3)
    names = {
        **{"my_model": model.model, "my_tokenizer": model.tokenizer, "text": "It's great!"},
        **{"f": nn.Linear(3, 2), "x": torch.randn(2, 3), "x0": torch.zeros(2, 3)},
        "net": lambda numbers, ids: numbers + table[ids],
        **{"numbers": torch.randn(2, 3), "categories": torch.tensor([1, 3]), "usual": torch.tensor([0])},
    }
    monkeypatch.setattr(pellucid, "load", lambda name: model)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 4 and (tmp_path / "why.html").exists()
    assert names["e"].relative_delta < 1e-4 and names["a"].delta.abs().max() < 1e-5


def test_the_session_in_contributing_is_what_python_prints() -> None:
    found = doctest.testfile(str(ROOT / "CONTRIBUTING.md"), module_relative=False)
    assert found.attempted == 3 and found.failed == 0
