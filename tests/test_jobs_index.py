"""The index of a run: the same answers as the shards give, however the index is missing, torn or behind."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="pip install 'pellucid[jobs]'")
import pyarrow.compute
import pyarrow.parquet as pq

import pellucid
from pellucid import errors
from pellucid.jobs import Run, index
from pellucid.jobs.blocks import Done
from pellucid.jobs.folder import Folder
from pellucid.jobs.schema import NAMES, row_of, table_of, to_parquet

pc: Any = pyarrow.compute
SHARDS, ROWS = 9, 7
Change = Callable[[Path], object]


def write_shard(out: Path, number: int, seed: int = 0, ids: str = "") -> None:
    """A shard with the columns of a list, drawn at random; no model is asked."""
    drawn = random.Random(number + 1000 * seed)
    rows = []
    for k in range(ROWS):
        row = number * ROWS + k
        failed = drawn.random() < 0.1
        found = row_of(pellucid.Failure(row, "InputError", "why"), f"{ids}{row}", row, "no text", None)
        if not failed:
            names = ("negative", "positive")
            found |= {"error_type": None, "error": None, "text": f"A {drawn.choice(('Good', 'dull'))} film {row}"}
            found |= {"prediction": drawn.choice(names), "label": drawn.choice(names)}
            found |= {"probability": drawn.random(), "scores": [drawn.random()] * drawn.randint(1, 4)}
        rows.append(found)
    (out / "shards").mkdir(parents=True, exist_ok=True)
    (out / "shards" / f"part-{number:09d}-x.parquet").write_bytes(to_parquet(table_of(rows), {}))


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a run with an index of several parts, some shards of which the last part does not cover."""
    monkeypatch.setattr(index, "FEW", 2)
    monkeypatch.setattr(index, "PART_ROWS", 3 * ROWS)
    monkeypatch.setattr(index, "_GROUP", 4)
    for number in range(SHARDS):
        write_shard(tmp_path, number)
    (tmp_path / "manifest.json").write_text(json.dumps({"data": {"columns": {"id": None}}}))
    assert len(pellucid.open(tmp_path).page().rows) == 50 and len(parts(tmp_path)) == 3
    write_shard(tmp_path, SHARDS)
    return tmp_path


def parts(out: Path) -> list[Path]:
    return sorted((out / "_index").glob("*.index"))


def assert_right(out: Path) -> None:
    """A list and its filters say what pandas says of the shards, read by pyarrow alone."""
    run, frame = pellucid.open(out), pq.read_table(out / "shards").to_pandas().sort_values("row", ignore_index=True)
    assert len(run) == len(frame) and run.failures == frame.error_type.notna().sum()
    wrong = frame[(frame.label != frame.prediction) & frame.label.notna() & (frame.probability > 0.3)]
    said = "label <> prediction and probability > 0.3"
    field = (pc.field("label") != pc.field("prediction")) & (pc.field("probability") > 0.3)
    for filter, sort, columns in ((said, "-probability", ["row", "scores"]), (field, "text", ["row", "text"])):
        page, name = run.page(sort, filter=filter, offset=3, limit=8, columns=columns), sort.removeprefix("-")
        expected = wrong.sort_values([name, "row"], ascending=[name == sort, True]).iloc[3:11]
        assert page.total == len(wrong) and [r["row"] for r in page.rows] == expected.row.tolist()
        assert list(page.rows[0]) == columns
        for row, value in zip(page.rows, expected[columns[1]], strict=True):
            assert np.array_equal(row[columns[1]], value)
    assert run.page(search="gOOD").total == frame.text.str.contains("Good").sum()
    long = frame[frame.scores.notna() & (frame.scores.str.len() > 2)]
    some = run.where("len(scores) > 2").where("label = 'positive'")  # only the shards have the scores
    assert sorted(r["row"] for r in some.rows(["row"])) == long[long.label == "positive"].row.tolist()
    assert len(some) == len(some.table()) == (long.label == "positive").sum() == len(some.where(label="positive"))
    above = run.where(label="negative").where("probability > (select avg(probability) from answers)")
    negative = frame[frame.label == "negative"]
    assert len(above) == (negative.probability > negative.probability.mean()).sum()
    done = Done.of(run.folder, numbered=True)
    assert (done.rows, done.failures) == (len(frame), run.failures)
    assert done.has([str(r) for r in range(100)]).tolist() == [r in set(frame.row) for r in range(100)]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Other values in a page whose file says nothing of it but the checksum."""
    content = bytearray(path.read_bytes())
    place = pq.read_metadata(path).row_group(0).column(1).data_page_offset
    for k in range(place + 40, place + 60):
        content[k] ^= 0xFF
    path.write_bytes(bytes(content))


def replace_shard(out: Path) -> None:
    write_shard(out, 2, seed=1)


def same_size(out: Path) -> None:
    """Another shard of the same size and the same time of writing."""
    path = next((out / "shards").glob("part-000000002*"))
    before = path.stat()
    table = pq.read_table(path)
    k = table.schema.get_field_index("row")
    content = to_parquet(table.set_column(k, "row", pc.add(table["row"], 500)), {})
    path.write_bytes(content.ljust(before.st_size, b" "))
    if len(content) == before.st_size:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Change] = {
    "as it is": lambda out: None,
    "no index": lambda out: [p.unlink() for p in parts(out)],
    "torn": lambda out: cut(parts(out)[0]),
    "damaged": lambda out: flip(parts(out)[1]),
    "empty": lambda out: parts(out)[0].write_bytes(b""),
    "not an index": lambda out: pq.write_table(pq.read_table(out / "shards"), parts(out)[0]),
    "of another version": lambda out: pq.write_table(pq.read_table(parts(out)[0]), parts(out)[0]),
    "a shard less": lambda out: next((out / "shards").glob("part-000000002*")).unlink(),
    "many shards more": lambda out: [write_shard(out, k) for k in range(SHARDS + 1, SHARDS + 6)],
    "another shard of that name": replace_shard,
    "another shard of that size and time": same_size,
    "a part twice": lambda out: (out / "_index" / "twice.index").write_bytes(parts(out)[0].read_bytes()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_answers_are_those_of_the_shards(out: Path, change: str) -> None:
    CHANGES[change](out)
    assert_right(out)
    if change in ("torn", "damaged"):
        assert_right(out)  # after it is mended


def test_a_damaged_part_is_noticed(out: Path) -> None:
    """The checksum is what notices: without it the flipped values would be read."""
    flip(parts(out)[1])
    damaged = parts(out)[1].read_bytes()
    part = next(p for p in index.index_of(Folder(str(out))).parts if p.content == str(parts(out)[1]))
    with pytest.raises(index.UNREADABLE):
        part.table(index.INDEXED)
    assert_right(out)
    pellucid.open(out).page()
    assert all(p.read_bytes() != damaged for p in parts(out))


def test_a_folder_that_cannot_be_written_is_read(out: Path) -> None:
    for part in parts(out):
        part.unlink()
    (out / "_index").rmdir()
    (out / "_index").write_text("no folder")
    assert_right(out)


def test_a_page_reads_the_index_alone(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = pellucid.open(out).page("-probability", search="good", limit=5)
    read: list[str] = []
    real = pq.ParquetFile
    monkeypatch.setattr(pq, "ParquetFile", lambda path, **how: (read.append(str(path)), real(path, **how))[1])
    index._in_memory.cache_clear()
    assert pellucid.open(out).page("-probability", search="good", limit=5) == expected
    shards = {path for path in read if "shards" in path}
    assert len(shards) == 1 and read  # that which no part covers


def test_full_parts_stay_and_a_short_one_is_written_anew(out: Path) -> None:
    before = {p.name for p in parts(out)}
    for number in range(SHARDS + 1, SHARDS + 5):
        write_shard(out, number)
    pellucid.open(out).page()
    rows = [pq.read_metadata(p).num_rows for p in parts(out)]
    assert before < {p.name for p in parts(out)} and sorted(rows) == [2 * ROWS, *[3 * ROWS] * 4]
    for number in range(SHARDS + 5, SHARDS + 8):
        write_shard(out, number)
    pellucid.open(out).page()
    assert sorted(pq.read_metadata(p).num_rows for p in parts(out)) == [2 * ROWS, *[3 * ROWS] * 5]
    index_columns = set(pq.read_schema(parts(out)[0]).names)
    assert index_columns < {*NAMES, "shard", "at"}


def test_rows_of_one_number_are_told_apart(bundled: pellucid.Model, tmp_path: Path) -> None:
    rows = [{"text": f"film number {k}", "key": f"k{k}"} for k in range(4)]
    pellucid.run(bundled, rows[1:3], tmp_path, id="key")
    run = pellucid.run(bundled, rows, tmp_path, id="key")
    page = run.page(columns=["row", "id", "text"])
    assert sorted(r["id"] for r in page.rows) == ["k0", "k1", "k2", "k3"]
    assert all(r["text"].endswith(r["id"][1:]) for r in page.rows)
    assert [r["id"] for r in run.page(filter="text like '%1'", columns=["id"]).rows] == ["k1"]
    assert len(run.where("row = 0")) == 2 and len(run.where("text = 'film number 0'")) == 1


def test_what_a_filter_cannot_say_is_an_error(out: Path) -> None:
    run: Run = pellucid.open(out)
    with pytest.raises(errors.InputError, match="which DuckDB cannot read"):
        run.where("probabilty > 0.5")
    assert len(parts(out)) == 3
    assert run.page(filter="row < 0").rows == () and run.page(offset=10_000).rows == ()
