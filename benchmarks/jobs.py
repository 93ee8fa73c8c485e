"""Throughput of a run beside `explain(list)` in memory, on the same rows, and beside runs with several workers.

    python benchmarks/jobs.py DATA MODEL [--rows 4096] [--turns 3] [--workers 2]

In one process, in turns. Prints a line of JSON: rows a second of each, medians of the turns, and the ratios;
`run_of_list_processor` is the ratio of processor times, which others on the machine disturb less. A run with one worker
has the threads of this process; with several each has its share of them, and loads the model first, which is measured
apart (`start`, seconds) by a run of as many rows as there are workers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import islice
from statistics import median
from typing import Any

import pellucid
from pellucid.sources import source_of


def seconds(model: pellucid.Model, rows: list[dict[str, Any]], workers: int | None) -> tuple[float, float]:
    """Of `explain` where workers is None, and else of a run; and the processor's seconds in this process."""
    began, worked = time.perf_counter(), time.process_time()
    if workers is None:
        pellucid.explain(model, rows)
    else:
        with tempfile.TemporaryDirectory() as out:
            pellucid.run(model, rows, out, workers=workers, shard_rows=min(2048, -(-len(rows) // workers)))
    return time.perf_counter() - began, time.process_time() - worked


def measured(model: pellucid.Model, rows: list[dict[str, Any]], turns: int, workers: int) -> dict[str, Any]:
    seconds(model, rows[:64], 1)  # loads kernels and libraries
    found: dict[int | None, list[float]] = {None: [], 1: [], workers: []}
    worked: dict[int | None, list[float]] = {how: [] for how in found}
    for _ in range(turns):
        for how in found:
            wall, processor = seconds(model, rows, how)
            found[how].append(wall)
            worked[how].append(processor)
    start = seconds(model, rows[:workers], workers)[0] if workers > 1 else 0.0
    processor = [listed / run for listed, run in zip(worked[None], worked[1], strict=True)]
    ratios = [listed / run for listed, run in zip(found[None], found[1], strict=True)]
    told: dict[str, Any] = {"rows": len(rows), "list": len(rows) / median(found[None])}
    told |= {"run": len(rows) / median(found[1]), "run_of_list": median(ratios)}
    told["run_of_list_processor"] = median(processor)
    if workers > 1:
        best = max(told["list"], told["run"])
        several = len(rows) / median(found[workers])
        steady = len(rows) / (median(found[workers]) - start)
        told |= {"workers": workers, "start": start, "several": several, "several_of_best": several / best}
        told |= {"several_after_start": steady, "several_after_start_of_best": steady / best}
    return {name: round(value, 3) for name, value in told.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("model", help="a checkpoint's directory; 'bundled' for the one that comes with Pellucid")
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    model = pellucid.load(None if given.model == "bundled" else given.model)
    source = source_of(given.data, model.does.form)
    column = next(name for name in source.columns if name in ("text", "sentence"))
    rows = [{"text": row[column]} for row in islice(source.rows(), given.rows)]
    print(json.dumps(measured(model, rows, given.turns, given.workers)))


if __name__ == "__main__":
    main()
