"""How a run grows: the time to go on after N finished rows, a page of them, a summary, and the size of the folder.

    python benchmarks/scale.py [--most 1000000] [--rows 1000,10000,100000] [--svg docs/scale.svg]

The file side is measured alone: shards with real answers of the bundled model, repeated under other row numbers, texts
and probabilities, so that N rows need no N passes. With --rows the whole run is measured too, each in a process of its
own, on short texts with an encoder of one layer and random weights, so that what is not the model shows: seconds, and
the memory that stays (resident at the end) and the most. Prints a line of JSON for each, writes all beside the picture,
and draws them on log–log axes.
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

from bench import random_bert

ASKED: dict[str, dict[str, Any]] = {
    "page": {"sort": "-probability"},
    "search": {"search": "old film about war"},
    "filter": {"filter": "prediction <> label and probability > 0.6"},
}
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
        timed("first", lambda: run.page(sort="-probability"))  # writes the index
        assert len(run) == rows
        timed("again", lambda: pellucid.run(model, folder / "data.csv", out, workers=1))
        for name, asked in ASKED.items():
            runs = []
            for _ in range(3):
                began = time.perf_counter()
                run.page(**asked)
                runs.append(time.perf_counter() - began)
            found[name] = round(sorted(runs)[1], 3)
        index = out / "_index"
        found["index_bytes"] = sum(p.stat().st_size for p in index.iterdir()) if index.is_dir() else 0
        if rows <= 100_000:
            timed("summary", run.summary)
        return found


def whole(rows: int) -> dict[str, Any]:
    """A run of so many rows with a model, in this process."""
    import pellucid
    from pellucid.jobs.progress import peak_memory

    model = random_bert(pellucid.load(), 1, 48)
    texts = ({"text": f"{TEXTS[i % len(TEXTS)]}, number {i}"} for i in range(rows))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        pellucid.run(model, texts, out, workers=1)
        found = {"what": "run", "rows": rows, "seconds": round(time.perf_counter() - began, 2)}
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return found | {"resident": round(resident / 1e6), "memory": round(peak_memory() / 1e6)}


def draw(found: list[dict[str, Any]], svg: str) -> None:
    """The measurements on log–log axes: seconds, the disk, memory."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    seconds = {"resume": "start of a run that goes on, no index", "again": "the same with its index"}
    seconds |= {
        "first": "first page, writes the index",
        "page": "page, sorted",
        "search": "page, searched",
        "filter": "page, filtered by SQL",
        "summary": "summary",
    }
    seconds |= {"seconds": "a whole run, one layer"}
    sizes = {"bytes": "shards", "index_bytes": "index"}
    memory = {"memory": "at most", "resident": "at the end"}
    for axes, said, names in zip(panels, ("seconds", "MB on disk", "MB of memory"), (seconds, sizes, memory)):
        for name, label in names.items():
            points = [(f["rows"], f[name] / (1e6 if axes is panels[1] else 1)) for f in found if f.get(name)]
            if points:
                axes.loglog(*zip(*points), marker="o", markersize=4, label=label)
        axes.set(xlabel="rows", ylabel=said)
        axes.grid(alpha=0.3)
        outside = {"loc": "upper left", "bbox_to_anchor": (1.02, 1)} if axes is panels[0] else {}
        axes.legend(frameon=False, fontsize=8, **outside)
    panels[2].set_ylim(100, 10_000)
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
        Path(given.svg).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        draw(found, given.svg)


if __name__ == "__main__":
    main()
