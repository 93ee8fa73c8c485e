"""What a run reads and in which order, how many workers it takes, and groups of words on the command line."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset
from typer.testing import CliRunner

pytest.importorskip("pyarrow", reason="pip install 'pellucid[jobs]'")
import pellucid
from pellucid.cli import app
from pellucid.jobs import planning
from pellucid.jobs.blocks import Block
from tiny import tiny

TEXTS = [f"{a} {b} film" for a in ("good", "dull", "great") for b in ("a", "not", "the", "so")]


class Numbered(Dataset[Any]):
    """A map-style data set: rows by number, and nothing that iterates."""

    def __init__(self, rows: list[Any]):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Any:
        return self.rows[range(len(self.rows))[i]]


class Streamed(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(TEXTS)


def test_data_sets_of_pytorch_are_read_in_order(tmp_path: Path) -> None:
    model, labelled = tiny(), [{"text": t, "label": i % 2} for i, t in enumerate(TEXTS)]
    kinds: dict[str, tuple[Any, int | None]] = {
        "map-style": (Numbered(TEXTS), len(TEXTS)),
        "map-style with columns": (Numbered(labelled), len(TEXTS)),
        "iterable": (Streamed(), None),
        "loader": (DataLoader(Numbered(labelled), batch_size=5), len(TEXTS)),
    }
    for name, (data, count) in kinds.items():
        run = pellucid.run(model, data, tmp_path / name, shard_rows=5)
        assert [e.text for e in run] == TEXTS, name
        assert run.manifest["counts"] == {"rows": 12, "failures": 0, "total": count, "complete": True}
        if name != "iterable" and name != "map-style":
            assert [e.label for e in run] == [("negative", "positive")[i % 2] for i in range(12)]


def test_rows_of_csv_files_keep_their_order(tmp_path: Path) -> None:
    """Files by name, rows by line, columns by their names, and a row that spans lines or stands after an empty one."""
    (tmp_path / "b.csv").write_text('label,text\n1,"so good , film"\n\n0,dull film\n', "utf-8")
    (tmp_path / "a.csv").write_text('text,label\n"great\nfilm",1\nfilm,0\ngood,1\n', "utf-8")
    expected = ["great\nfilm", "film", "good", "so good , film", "dull film"]
    run = pellucid.run(tiny(), str(tmp_path / "*.csv"), tmp_path / "out", shard_rows=2)
    found = [(r["id"], r["row"], r["text"], r["label"]) for r in run.rows()]
    labels = ["positive", "negative", "positive", "positive", "negative"]
    assert found == [(str(k), k, text, label) for k, (text, label) in enumerate(zip(expected, labels, strict=True))]
    two = pellucid.run(tiny(), [tmp_path / "b.csv", tmp_path / "a.csv"], tmp_path / "two", shard_rows=2)
    assert [e.text for e in two] == expected[3:] + expected[:3]


@dataclass(frozen=True)
class Timed:
    """Stands for a model that takes so many seconds for a row, by the number of threads."""

    seconds: dict[int, float]
    threads: int = 1

    outcomes = SimpleNamespace(model=tiny())

    def with_threads(self, threads: int) -> Timed:
        return Timed(self.seconds, threads)

    def answered(self, block: Block) -> None:
        time.sleep(self.seconds[self.threads] * len(block.items))


@pytest.mark.parametrize(("one", "four", "chosen"), [(0.006, 0.0005, 1), (0.004, 0.003, 4), (0.002, 0.004, 4)], ids=str)
def test_the_faster_number_of_workers_is_chosen(
    monkeypatch: pytest.MonkeyPatch, one: float, four: float, chosen: int
) -> None:
    """Four processes with a thread each, or one with four, whichever has the more rows a second."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(planning, "free_memory", lambda: 10**12)
    some: tuple[Any, ...] = tuple(range(32))
    block = Block(0, tuple(map(str, some)), some, some, (None,) * 32)
    timed: Any = Timed({1: one, 4: four})
    said: list[str] = []
    assert planning.chosen_workers(timed, block, None, said.append)[0] == chosen
    assert said[0].startswith(f"{chosen} worker") and "rows/s with one thread" in said[0]
    monkeypatch.setattr(planning, "free_memory", lambda: 10**9)  # room for one process
    assert planning.chosen_workers(timed, block, None, said.append)[0] == 1


def test_the_command_asks_what_python_asks(bundled: pellucid.Model, tmp_path: Path) -> None:
    """Either goes on in the other's folder, and an answer is an Explanation."""
    (tmp_path / "data.csv").write_text("text\ngood film\n", "utf-8")
    out = str(tmp_path / "out")
    for more in ([], ["--method", "deeplift", "--baseline", "mask"]):
        said = CliRunner().invoke(app, ["run", str(tmp_path / "data.csv"), "--out", out, *more])
        assert said.exit_code == 0, said.output
    (answer,) = pellucid.run(bundled, tmp_path / "data.csv", out)
    assert isinstance(answer, pellucid.Explanation)


def test_groups_of_words_count_as_one(tmp_path: Path) -> None:
    """On the command line; the mean is of the words' own scores, over the places of each text."""
    run = pellucid.run(tiny(), [*TEXTS, *(["good great good film"] * 3)], tmp_path / "out")
    groups = {"Praise": ["good", "GREAT"], "Other": ["dull"]}
    (tmp_path / "groups.json").write_text(json.dumps(groups))
    found = run.summary(unit=groups, support=1)
    for name, words in groups.items():
        wanted = {word.lower() for word in words}
        for target in found.drivers:
            means = [
                np.mean([s for t, s in zip(e.tokens, e.scores, strict=True) if t.text in wanted])
                for e in run
                if e.target.name == target and wanted & set(e.text.split())
            ]
            each = [d for d in found.drivers[target] if d.word == name]
            assert all(d.documents == len(means) and d.mean == pytest.approx(np.mean(means)) for d in each)
    command = ["summary", str(tmp_path / "out"), "--support", "1", "--groups", str(tmp_path / "groups.json")]
    said = CliRunner().invoke(app, command)
    listed = {d.word for each in found.drivers.values() for d in each}
    assert said.exit_code == 0 and listed and listed <= set(groups), said.output
    assert all(name in said.output for name in listed) and "film" not in said.output.split("Where")[0]
    (tmp_path / "groups.json").write_text('{"Praise": "good"}')
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code != 0 and "expected an object of lists of words" in str(refused.exception or refused.output)
