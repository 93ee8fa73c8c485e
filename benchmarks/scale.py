"""How a run grows: the time to go on after N finished rows, a page of them, a summary, and the size of the folder.

    python benchmarks/scale.py [--most 1000000] [--svg docs/scale.svg] [--rows 1000,10000]

The file side is measured alone: shards with real answers of the bundled model, repeated under other row numbers, texts
and probabilities, so that N rows need no N passes. With --rows the whole run is measured too, each in a process of its
own, with the bundled model on short texts: seconds, and the most memory. Prints a line of JSON for each, and draws them
on log–log axes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TEXTS = [f"a {a} {b} film about {c}" for a in ("good", "dull", "fine") for b in ("old", "new") for c in ("war", "love")]


def made(folder: Path, rows: int) -> None:
    """A folder with so many finished rows, and the data that they are of."""
    import pyarrow as pa

    import pellucid
    from pellucid.jobs.blocks import Block
    from pellucid.jobs.schema import to_parquet

    size, drawn = 1024, random.Random(0)
    data = folder / "data.csv"
    with data.open("w") as file:
        file.write("text,label\n")
        file.writelines(f'"{TEXTS[i % len(TEXTS)]}, number {i}",{i % 2}\n' for i in range(rows))
    run = pellucid.run(pellucid.load(), data, folder / "out", limit=size, workers=1)
    first = run.table()
    for block in range(1, -(-rows // size)):
        numbers = range(block * size, min(rows, (block + 1) * size))
        table = first.slice(0, len(numbers))
        table = table.set_column(0, "id", pa.array([str(n) for n in numbers]))
        table = table.set_column(1, "row", pa.array(numbers, pa.int64()))
        table = table.set_column(2, "text", pa.array([f"{TEXTS[n % len(TEXTS)]}, number {n}" for n in numbers]))
        k = table.schema.get_field_index("probability")
        table = table.set_column(k, "probability", pa.array([drawn.random() for _ in numbers]))
        told = {"pellucid.failures": "0", "pellucid.edges": "{}", "pellucid.rows": str(len(numbers))}
        name = Block(block, tuple(str(n) for n in numbers), tuple(numbers), (), ()).name
        (folder / "out" / "shards" / name).write_bytes(to_parquet(table, told))


def files(rows: int) -> dict[str, Any]:
    """Seconds of what is done with so many finished rows."""
    import pellucid

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made(folder, rows)
        model, out = pellucid.load(), folder / "out"
        found: dict[str, Any] = {"what": "files", "rows": rows}
        found["bytes"] = sum(p.stat().st_size for p in (out / "shards").iterdir())

        def timed(name: str, do: Any) -> None:
            began = time.perf_counter()
            do()
            found[name] = round(time.perf_counter() - began, 3)

        timed("resume", lambda: pellucid.run(model, folder / "data.csv", out, workers=1))
        run = pellucid.open(out)
        assert len(run) == rows
        timed("page", lambda: run.page(sort="-probability"))
        timed("search", lambda: run.page(search="old film about war"))
        timed("filter", lambda: run.page(filter="prediction <> label and probability > 0.6"))
        timed("summary", lambda: run.summary() if rows <= 100_000 else None)
        if rows > 100_000:
            del found["summary"]
        return found


def whole(rows: int) -> dict[str, Any]:
    """A run of so many rows with a model, in this process."""
    import pellucid
    from pellucid.jobs.progress import peak_memory

    model = pellucid.load()
    texts = ({"text": TEXTS[i % len(TEXTS)]} for i in range(rows))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        pellucid.run(model, texts, out, workers=1)
    seconds = round(time.perf_counter() - began, 2)
    return {"what": "run", "rows": rows, "seconds": seconds, "memory": round(peak_memory() / 1e6)}


def draw(found: list[dict[str, Any]], svg: str) -> None:
    """The measurements on log–log axes."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    names = {"resume": "start of a run that goes on", "page": "page, sorted", "search": "page, searched"}
    names |= {"filter": "page, filtered by SQL", "summary": "summary", "seconds": "a whole run"}
    for name, said in names.items():
        points = [(f["rows"], f[name]) for f in found if name in f]
        if points:
            axes.loglog(*zip(*points), marker="o", markersize=4, label=said)
    axes.set(xlabel="rows", ylabel="seconds")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(svg, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--rows", default="")
    parser.add_argument("--svg", default="")
    parser.add_argument("--one", default="")
    given = parser.parse_args()
    if given.one:
        what, rows = given.one.split(":")
        print(json.dumps({"files": files, "run": whole}[what](int(rows))))
        return
    asked = [f"files:{n}" for n in (10**k for k in range(3, 10)) if n <= given.most]
    asked += [f"run:{n}" for n in given.rows.split(",") if n]
    found: list[dict[str, Any]] = []
    for one in asked:
        command = [sys.executable, __file__, "--one", one]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
        print(done.stdout.strip(), flush=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    if given.svg:
        draw(found, given.svg)


if __name__ == "__main__":
    main()
