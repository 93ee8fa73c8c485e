"""A run over a data set: every row once, whatever happens, and the same numbers as a run that nothing disturbed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="pip install 'pellucid[jobs]'")
import duckdb
import pandas
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import pellucid
from commands import Command, start
from pellucid import Explanation, Failure, errors
from pellucid.jobs.schema import outcome_of, row_of, table_of
from pellucid.sources import source_of

ROWS = 96
compute: Any = pc


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    drawn = random.Random(0)
    words = "good bad a the film acting plot dull great never fine".split()
    texts = [" ".join(drawn.choices(words, k=drawn.randint(1, 12))) for _ in range(ROWS)]
    texts[7], texts[50] = "", "good " * 600
    path = tmp_path_factory.mktemp("data") / "texts.csv"
    pandas.DataFrame({"text": texts, "label": [i % 2 for i in range(ROWS)], "genre": ["a", "b"] * (ROWS // 2)}).to_csv(
        path, index=False
    )
    return path


@pytest.fixture(scope="module")
def whole(bundled: pellucid.Model, data: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """The rows of a run that nothing disturbed, in a process of its own."""
    out = tmp_path_factory.mktemp("whole")
    done = started(data, out)
    assert done.ended() == 1 and "2 of them failures" in done.text, done.text
    return rows_of(out)


def started(data: Path, out: Path, *more: str) -> Command:
    """A run in a process of its own."""
    said = out.with_name(f"{out.name}-said")
    said.mkdir(exist_ok=True)
    return start(said, "run", str(data), "--out", str(out), "--shard-rows", "8", *more)


def wait_for_a_shard(out: Path) -> None:
    began = time.monotonic()
    while not list((out / "shards").glob("part*")) and time.monotonic() - began < 60:
        time.sleep(0.005)


def rows_of(out: Path) -> pa.Table:
    """All rows, by any reader of Parquet."""
    return pq.read_table(out / "shards").sort_by("row")


def same(a: pa.Table, b: pa.Table) -> bool:
    """Bit for bit: the values of every column, and no row more."""
    return a.replace_schema_metadata(None).equals(b.replace_schema_metadata(None))


def test_a_row_has_the_numbers_of_explain(bundled: pellucid.Model, whole: pa.Table) -> None:
    assert whole["row"].to_pylist() == list(range(ROWS))
    assert whole["error_type"].to_pylist()[7] == "InputError" and whole["error_type"].to_pylist()[50] == "TextTooLong"
    for k in (0, 33, 95):
        row = whole.slice(k, 1).to_pylist()[0]
        alone = pellucid.explain(bundled, {"text": row["text"], "label": k % 2})
        np.testing.assert_allclose(row["scores"], alone.scores, atol=1e-5)
        assert (row["prediction"], row["label"], row["tokens"]) == (
            alone.prediction,
            alone.label,
            [t.text for t in alone.tokens],
        )
        assert json.loads(row["data"])["genre"] == "ab"[k % 2]


def test_killed_at_random_moments_it_goes_on(data: Path, whole: pa.Table, tmp_path: Path) -> None:
    drawn, kills = random.Random(int(os.environ.get("PELLUCID_SEED", "1"))), int(os.environ.get("PELLUCID_KILLS", "3"))
    for _ in range(kills):
        run = started(data, tmp_path)
        wait_for_a_shard(tmp_path)
        time.sleep(drawn.random() * 0.6)
        run.process.kill()
        run.ended()
        for shard in (tmp_path / "shards").glob("*.parquet"):
            pq.read_table(shard)  # none is torn
    assert started(data, tmp_path).ended() == 1
    assert same(rows_of(tmp_path), whole) and not list(tmp_path.rglob(".writing-*"))


def test_interrupted_it_says_so_and_goes_on(data: Path, whole: pa.Table, tmp_path: Path) -> None:
    for _ in range(5):  # a run may end before it hears of it
        shutil.rmtree(tmp_path / "shards", ignore_errors=True)
        run = started(data, tmp_path)
        wait_for_a_shard(tmp_path)
        os.kill(run.process.pid, signal.SIGINT)
        run.ended()
        if len(rows_of(tmp_path)) < ROWS:
            break
    assert run.ended() == 1 and "the same command goes on" in run.text and "Traceback" not in run.text
    assert 0 < len(rows_of(tmp_path)) < ROWS
    assert started(data, tmp_path).ended() == 1 and same(rows_of(tmp_path), whole)


def test_workers_that_are_killed_lose_nothing(data: Path, whole: pa.Table, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    drawn, kills = random.Random(1), int(os.environ.get("PELLUCID_KILLS", "1"))
    killed = 0
    while killed < kills:
        shutil.rmtree(tmp_path / "shards", ignore_errors=True)
        run = started(data, tmp_path, "--workers", "2")
        wait_for_a_shard(tmp_path)
        time.sleep(drawn.random() * 0.1 if killed else 0)
        children = psutil.Process(run.process.pid).children() if run.process.is_alive() else []
        if children:
            children[killed % len(children)].kill()
            killed += 1
        assert run.ended() == 1, run.text
        assert same(rows_of(tmp_path), whole)


def test_a_second_run_in_the_folder_is_refused(data: Path, tmp_path: Path) -> None:
    from pellucid.jobs.folder import Folder

    folder = Folder(str(tmp_path))
    folder.make()
    with folder.locked():
        done = started(data, tmp_path)
        assert done.ended() == 1 and "Another run writes" in done.text and "Traceback" not in done.text


def test_another_request_model_or_data_is_refused(bundled: pellucid.Model, data: Path, tmp_path: Path) -> None:
    import torch

    pellucid.run(bundled, data, tmp_path, limit=4)
    with pytest.raises(errors.RunError, match=r"baselines is \['mask'\] there and \['pad'\] here"):
        pellucid.run(bundled, data, tmp_path, limit=4, baseline="pad")
    other = pellucid.load()
    with torch.no_grad():
        next(other.model.parameters()).add_(0.01)
    with pytest.raises(errors.RunError, match="the model is"):
        pellucid.run(other, data, tmp_path, limit=4)
    changed = [{"text": f"another {k}", "label": 0, "genre": "a"} for k in range(4)]
    with pytest.raises(errors.RunError, match="Row 0 of the data"):
        pellucid.run(bundled, changed, tmp_path)
    assert len(pellucid.run(bundled, data, tmp_path, limit=6)) == 6  # more of the same is welcome


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="a disk of its own needs root")
def test_a_full_disk_tears_nothing(bundled: pellucid.Model, data: Path, whole: pa.Table, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        done = started(data, small)
        assert done.ended() == 1 and "No space left" in done.text and "Traceback" not in done.text
        written = rows_of(small)
        assert 0 < len(written) < ROWS
        subprocess.run(["mount", "-o", "remount,size=10m", str(small)], check=True)
        assert started(data, small).ended() == 1
        assert same(rows_of(small), whole)
    finally:
        # Lazy: the reader of Parquet above closes its files in threads of its own, a moment later.
        subprocess.run(["umount", "--lazy", str(small)], check=True)


def test_bad_rows_are_failures_with_their_number(bundled: pellucid.Model, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    lines = ['{"text": "good"}', "no json", '{"text": null}', '{"text": 3}', '{"text": "\\ud800"}', '{"text": "fine"}']
    file.write_text("\n".join(lines) + "\n", "utf-8")
    with pytest.raises(errors.RunError, match="4 failures"):
        pellucid.run(bundled, file, tmp_path / "few", max_failures=2)
    with file.open("a") as more:
        more.write('{"text": "' + "x " * 50_000 + '"}\n{"text": "' + "x" * 1_000_000 + '"}\n')
    run = pellucid.run(bundled, file, tmp_path / "out")
    found = list(run)
    assert [isinstance(o, Failure) for o in found] == [False, True, True, True, True, False, True, False]
    assert [o.index for o in found if isinstance(o, Failure)] == [1, 2, 3, 4, 6]
    assert found[1].type == "UnreadableRow" and "input 2" in found[2].message and "Input 4" in found[4].message


def test_an_outcome_comes_back_as_it_was(bundled: pellucid.Model) -> None:
    asked: dict[str, Any] = {"detail": ["layers", "heads", "parts", "rollout"]}
    for e in (
        pellucid.explain(bundled, "a good film", **asked),
        pellucid.explain(bundled, ("a", "b c"), method=["deeplift", "shapley"]),
        Failure(0, "InputError", "why"),
    ):
        back = outcome_of(table_of([row_of(e, "0", 0, "t", None)]).to_pylist()[0])
        strip = lambda x: {**x.to_dict(), "meta": {k: v for k, v in x.to_dict()["meta"].items() if k != "seconds"}}
        if isinstance(e, Explanation):
            assert strip(back) == strip(e)
        elif isinstance(e, Failure):
            assert back == e
        else:
            assert list(map(strip, back)) == list(map(strip, e))


def test_filters_pages_and_other_readers(bundled: pellucid.Model, data: Path, whole: pa.Table, tmp_path: Path) -> None:
    run = pellucid.run(bundled, data, tmp_path)
    frame = whole.to_pandas()
    sure = frame[frame.probability > 0.9]
    assert len(run.where(compute.field("probability") > 0.9)) == len(sure)
    assert len(run.where("label <> prediction")) == (frame.label.notna() & (frame.label != frame.prediction)).sum()
    page = run.page(sort="-probability", search="GOOD", offset=2, limit=3)
    has = frame[frame.text.str.contains("good")].sort_values(["probability", "row"], ascending=[False, True])
    assert [r["row"] for r in page.rows] == has.row[2:5].tolist() and page.total == len(has)
    count = duckdb.sql(f"select count(*), sum(len(scores)) from '{tmp_path}/shards/*.parquet'").fetchall()[0]
    assert count == (ROWS, sum(len(s) for s in frame.scores.dropna()))
    with pytest.raises(errors.InputError, match="did you mean 'probability'"):
        run.page(sort="probabilty")
    assert os.path.getsize(run.folder.shards()[0]) / ROWS < 2000


def test_ids_and_added_rows(bundled: pellucid.Model, tmp_path: Path) -> None:
    rows = [{"text": f"film number {k}", "key": f"k{k}"} for k in range(6)]
    pellucid.run(bundled, rows[1:4], tmp_path / "out", id="key")
    run = pellucid.run(bundled, rows, tmp_path / "out", id="key")
    assert sorted(r["id"] for r in run.rows()) == [f"k{k}" for k in range(6)]
    page = run.page(sort="id")  # some numbers of rows are there twice; a place is there once
    opened = [run.at(*place) for place in page.places]
    assert [e.text for e in opened] == [r["text"] for r in page.rows] == [f"film number {k}" for k in range(6)]
    assert len({r["row"] for r in page.rows}) < 6
    with pytest.raises(IndexError, match="no row 6"):
        run.at(page.places[0][0], 6)
    with pytest.raises(errors.RunError, match="'k1' twice"):
        pellucid.run(bundled, [rows[1], rows[1]], tmp_path / "twice", id="key")
    with pytest.raises(errors.InputError, match="columns are 'text', 'key'"):
        pellucid.run(bundled, rows, tmp_path / "none", id="kee")


def test_formats_say_the_same(bundled: pellucid.Model, tmp_path: Path) -> None:
    table = pandas.DataFrame({"sentence": ["it 's good", 'a "quoted, film"', "naïve\tline"], "label": [1, 0, 1]})
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    table.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    table.to_parquet(tmp_path / "a.parquet")
    form = bundled.does.form
    texts = []
    for name in ("a.csv", "a.tsv", "a.jsonl", "a.parquet"):
        source = source_of(tmp_path / name, form)
        assert source.columns == ("sentence", "label") and source.count == 3
        texts.append([source.parse(r)["sentence"] for r in source.raw()])
    texts.append([r["sentence"] for r in source_of(table, form).raw()])
    assert all(t == table.sentence.tolist() for t in texts)
    (tmp_path / "b.tsv").write_text('one "bad film\t0\ngood film, all of it\t1\n', "utf-8")
    source = source_of(tmp_path / "b.tsv", form)
    assert source.columns == ("text", "label") and source.count == 2 and "no header" in source.notes[0]


def test_a_dry_run_writes_nothing_and_maps_add_columns(bundled: pellucid.Model, data: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    said: list[str] = []
    run = pellucid.run(bundled, data, tmp_path / "none", dry_run=True, tell=said.append)
    assert not (tmp_path / "none").exists() and run.plan is not None and run.plan.left == ROWS
    assert "96 rows" in said[-1] and "MB on disk" in said[-1]
    rows = datasets.Dataset.from_dict({"text": ["a good film", "", "dull"], "label": [1, 0, 0]})
    mapped = rows.map(pellucid.mapper(bundled), batched=True, load_from_cache_file=False)
    assert mapped["prediction"][1] is None and "empty" in mapped["error"][1]
    np.testing.assert_allclose(mapped["scores"][0], pellucid.explain(bundled, "a good film").scores, atol=1e-5)
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_an_address_is_a_folder_too(bundled: pellucid.Model) -> None:
    pytest.importorskip("fsspec")
    texts = [f"a good film, number {k}" for k in range(6)]
    out = f"memory://run-{os.getpid()}"
    pellucid.run(bundled, texts[:4], out, shard_rows=2)
    run = pellucid.run(bundled, texts, out, shard_rows=2)
    assert [e.text for e in pellucid.open(out)] == texts and run.manifest["counts"]["complete"]
    run.folder.write("lock.json", json.dumps({"at": time.time(), "process": 1}).encode())
    with pytest.raises(errors.RunError, match="Another run writes"):
        pellucid.run(bundled, texts, out)
