"""What a thousand million texts on a hundred GPUs would take, from parts measured on this machine.

    python benchmarks/cost.py [--texts 1e9] [--gpus 100] [--rate 1000] [--price 2.5]

rate: rows a second of one GPU, which `pellucid run DATA --out DIR --dry-run` measures. price: of a GPU hour. The parts
are CPU seconds of one core, for texts of about 20 words: what the process that gives out blocks does for a row, what a
worker does for a row besides the model, and what a run that goes on does for a row that is done. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import pickle
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pellucid
from pellucid.jobs.blocks import Done, blocks_of
from pellucid.jobs.columns import columns_of
from pellucid.jobs.folder import Folder
from pellucid.jobs.index import extend
from pellucid.jobs.schema import row_of, table_of, to_parquet
from pellucid.sources import source_of

ROWS, BLOCK = 100_000, 1024
WORDS = "the a film plot and acting of it is not never good dull great with for but an its by".split()


def taken(do: Callable[[], Any]) -> float:
    """CPU seconds, the least of three turns."""
    turns = []
    for _ in range(3):
        began = time.process_time()
        do()
        turns.append(time.process_time() - began)
    return min(turns)


def parts(place: Path) -> dict[str, float]:
    """Seconds for a row, and bytes for a row."""
    drawn, model = random.Random(0), pellucid.load()
    texts = [" ".join(drawn.choices(WORDS, k=drawn.randint(5, 35))) for _ in range(ROWS)]
    (place / "data.csv").write_text("text,label\n" + "".join(f"{t},{i % 2}\n" for i, t in enumerate(texts)), "utf-8")
    out = Folder(str(place / "out"))
    out.make()

    def given() -> None:
        source = source_of(place / "data.csv", model.does.form)
        columns = columns_of(source, model.does.form)
        for block in blocks_of(source, columns, BLOCK, Done.of(out, numbered=True)):
            pickle.dumps(block)

    answers = pellucid.explain(model, texts[:BLOCK])
    number = iter(range(10**9))

    def written() -> bytes:
        first = next(number) * BLOCK
        rows = [row_of(e, str(first + k), first + k, None, '{"source": "csv"}') for k, e in enumerate(answers)]
        return to_parquet(table_of(rows), {"pellucid.edges": "{}"})

    found = {"give_out": taken(given) / ROWS, "write": taken(written) / BLOCK}
    number = iter(range(ROWS // BLOCK))
    for k in range(ROWS // BLOCK):
        size = out.write(f"shards/part-{k:09d}.parquet", written())
    found["bytes"] = size / BLOCK
    began = time.process_time()
    extend(out)
    found["index"] = (time.process_time() - began) / ROWS
    found["index_bytes"] = sum(p.stat().st_size for p in (place / "out" / "_index").iterdir()) / ROWS
    found["done"] = taken(lambda: Done.of(out, numbered=True)) / ROWS
    return found


def model_of(part: dict[str, float], texts: float, gpus: int, rate: float, price: float) -> dict[str, Any]:
    """What all would take. One process gives out blocks, reads the index back and makes it; the rest is shared."""
    hours = texts / (gpus * rate) / 3600
    alone = part["give_out"] + part["index"]
    return {
        "gpu_hours": gpus * hours,
        "price": gpus * hours * price,
        "hours_where_gpus_are_the_limit": hours,
        "hours_where_the_giver_is_the_limit": texts * alone / 3600,
        "rate_at_which_the_giver_is_the_limit": 1 / alone / gpus,
        "share_of_a_worker_that_writes": part["write"] * rate,
        "terabytes": texts * (part["bytes"] + part["index_bytes"]) / 1e12,
        "shards": texts / BLOCK,
        "gigabytes_of_ids": texts * 8 / 1e9,
        "hours_to_go_on_at_the_end": texts * (part["done"] + part["give_out"]) / 3600,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=float, default=1e9)
    parser.add_argument("--gpus", type=int, default=100)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--price", type=float, default=2.5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        part = parts(Path(place))
    all_of_it = model_of(part, given.texts, given.gpus, given.rate, given.price)
    for name, each in {"parts": part, "model": all_of_it}.items():
        print(json.dumps({name: {key: float(f"{value:.3g}") for key, value in each.items()}}))


if __name__ == "__main__":
    main()
