"""A run from S3 to S3, by a server of this machine that speaks its protocol: the rows are those of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="pip install 'pellucid[jobs]'")
import pellucid
from pellucid import errors
from pellucid.jobs import index
from tiny import tiny

TEXTS = [f"{a} {b} film" for a in ("good", "dull", "great") for b in ("a", "not", "the", "so")]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The file system of a server with a bucket."""
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("s3fs", reason="pip install s3fs")
    moto = pytest.importorskip("moto.server", reason="pip install 'moto[server]'")
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    files.mkdir("bucket")
    yield files
    server.stop()


def test_a_run_from_s3_to_s3(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "FEW", 2)
    monkeypatch.setattr(index, "PART_ROWS", 4)
    lines = "".join(f"{text},{i % 2}\n" for i, text in enumerate(TEXTS))
    store.pipe("bucket/in/a.csv", f"text,label\n{lines}".encode())
    (tmp_path / "a.csv").write_text(f"text,label\n{lines}")
    out, model = "s3://bucket/out", tiny()
    begun = pellucid.run(model, "s3://bucket/in/*.csv", out, shard_rows=2, limit=6)
    assert len(begun) == 6
    run = pellucid.run(model, "s3://bucket/in/*.csv", out, shard_rows=2)
    alone = pellucid.run(model, tmp_path / "a.csv", tmp_path / "out", shard_rows=2)
    drop = lambda run: run.table().sort_by("row").replace_schema_metadata(None)
    assert drop(pellucid.open(out)).equals(drop(alone)) and run.manifest["counts"]["complete"]
    for asked in ({"sort": "-probability"}, {"search": "GOOD"}, {"filter": "prediction <> label"}):
        assert run.page(**asked) == alone.page(**asked)
    parts = store.ls("bucket/out/_index", detail=False)
    assert len(parts) == 3
    store.pipe(parts[0], b"torn")
    assert run.page("-probability") == alone.page("-probability")
    store.rm(store.ls("bucket/out/shards", detail=False)[0])
    assert len(run) == 10 and run.page().total == 10
    assert len(pellucid.run(model, "s3://bucket/in/*.csv", out, shard_rows=2)) == 12
    with run.folder.locked(), pytest.raises(errors.RunError, match="Another run writes"):
        pellucid.run(model, "s3://bucket/in/*.csv", out, shard_rows=2)
