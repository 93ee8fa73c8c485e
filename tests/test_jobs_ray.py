"""The same rows from Ray actors, one of which is killed, as from one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="pip install 'pellucid[ray]'")
import pyarrow.parquet as pq

import pellucid

CODE = """
import os, sys, threading, time, pellucid, psutil, ray
out, kills = sys.argv[1], sys.argv[2] == "kill"
ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
def kill():
    while not os.listdir(f"{out}/shards"):
        time.sleep(0.01)
    actors = [p for p in psutil.Process().children(recursive=True) if "_Actor" in " ".join(p.cmdline())]
    actors[0].kill()
    print("killed", flush=True)
if kills:
    os.makedirs(f"{out}/shards")
    threading.Thread(target=kill, daemon=True).start()
texts = [f"a {'good' if i % 3 else 'bad'} film, number {i}" for i in range(160)]
print(pellucid.run(pellucid.load(), texts, out, shard_rows=8, workers=2, ray=kills or None))
"""


def test_an_actor_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    tables = []
    for how in ("plain", "kill"):
        env = {**os.environ, "RAY_DISABLE_IMPORT_WARNING": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-W", "ignore", "-c", CODE, str(tmp_path / how), how]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=env)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.startswith("killed") == (how == "kill")
        tables.append(pq.read_table(tmp_path / how / "shards").sort_by("row").replace_schema_metadata(None))
    assert len(tables[0]) == 160 and tables[0].equals(tables[1])


NODES = """
import os, sys, threading, time, pellucid, ray
from ray.cluster_utils import Cluster
out = sys.argv[1]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
def lose():
    while len(os.listdir(f"{out}/shards")) < 3:
        time.sleep(0.01)
    cluster.remove_node(nodes[0], allow_graceful=False)
    print("lost", flush=True)
os.makedirs(f"{out}/shards")
threading.Thread(target=lose, daemon=True).start()
texts = [f"a {'good' if i % 3 else 'bad'} film, number {i}" for i in range(160)]
print(pellucid.run(pellucid.load(), texts, out, shard_rows=8, workers=2, ray=True))
"""


@pytest.mark.skipif("PELLUCID_SLOW" not in os.environ, reason="two Ray nodes take a minute: PELLUCID_SLOW=1")
def test_a_node_that_is_lost_loses_nothing(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", NODES, str(tmp_path / "nodes")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=env)
    assert done.returncode == 0 and "lost" in done.stdout, done.stderr[-2000:]
    found = pq.read_table(tmp_path / "nodes" / "shards").sort_by("row")
    alone = pellucid.run(pellucid.load(), found["text"].to_pylist(), tmp_path / "alone", shard_rows=8)
    assert len(found) == 160 and found["scores"].equals(alone.table().sort_by("row")["scores"])
