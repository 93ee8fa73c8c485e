"""Throughput and memory of a run beside `explain(list)` in memory, on the same rows.

    python benchmarks/jobs.py DATA MODEL [--rows N] [--workers N]

Prints a line of JSON for each: rows a second, and the most memory (MB) of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time


def measured(how: str, data: str, model: str, rows: int, workers: int) -> dict[str, float | str]:
    import pellucid
    from pellucid.jobs.planning import peak_memory
    from pellucid.sources import source_of

    loaded = pellucid.load(model)
    source = source_of(data, loaded.does.form)
    texts = [source.parse(raw)["text"] for raw, _ in zip(source.raw(), range(rows))]
    pellucid.explain(loaded, texts[:16])
    began = time.perf_counter()
    if how == "list":
        pellucid.explain(loaded, texts)
    else:
        with tempfile.TemporaryDirectory() as out:
            pellucid.run(loaded, data, out, column="text", limit=rows, workers=workers)
    seconds = time.perf_counter() - began
    return {"how": how, "rows": len(texts), "rows_a_second": len(texts) / seconds, "memory": peak_memory() / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--how", default="")
    given = parser.parse_args()
    if given.how:
        print(json.dumps(measured(given.how, given.data, given.model, given.rows, given.workers)))
        return
    for how in ("list", "run"):
        subprocess.run([sys.executable, *sys.argv, "--how", how], check=True)


if __name__ == "__main__":
    main()
