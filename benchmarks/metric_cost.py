"""What measuring costs beside the forward passes that it needs: the aim is at most 1.2 times.

    python benchmarks/metric_cost.py [--model DIR] [--data sst2-dev.tsv] [--texts 500] [--rounds 3]

The answers of two methods and of a random ranking are made first and not timed. Then `pellucid.evaluate` measures them
by mask and by deletion, and each pass of the model in it is timed by hooks. Printed is what the rest takes: the whole
over the bare passes; and the bare passes over the same tokens in batches without padding, which says how well they are
packed. To be run on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from planted import read

import pellucid
from pellucid.evaluation.curves import Removal, measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/sst2-dev.tsv"))
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    model = pellucid.load(given.model)
    texts = [t for t, _ in read(given.data) if len(t.split()) > 2][: given.texts]
    methods = ("deeplift", "input_x_gradient", "random")
    scores = [[e.scores for e in pellucid.explain(model, texts, method)] for method in methods]
    inside = [0.0, 0, 0]  # seconds, own tokens, tokens with padding

    def enter(module: Any, args: Any, kwargs: Any) -> None:
        mask = kwargs["attention_mask"]
        inside[1] += int(mask.sum())
        inside[2] += mask.numel()
        enter.start = time.perf_counter()

    def leave(module: Any, args: Any, output: Any) -> None:
        inside[0] += time.perf_counter() - enter.start

    ratios = []
    for _ in range(given.rounds):
        inside[:] = [0.0, 0, 0]
        handles = [
            model.model.register_forward_pre_hook(enter, with_kwargs=True),
            model.model.register_forward_hook(leave),
        ]
        start = time.perf_counter()
        with model.borrowed():
            encodings = model.encode(texts)
            for way in ("mask", "delete"):
                measured(model, encodings, scores, Removal(way, None))
        whole = time.perf_counter() - start
        for handle in handles:
            handle.remove()
        ratios.append(whole / inside[0])
        print(
            f"{whole:.2f} s, of which the model's passes {inside[0]:.2f} s: {ratios[-1]:.3f} times; "
            f"{inside[2] / inside[1]:.3f} tokens with padding for each of the texts' own",
            flush=True,
        )
    print(f"{len(texts)} texts, {torch.get_num_threads()} threads: {min(ratios):.3f} times the bare passes at best")


if __name__ == "__main__":
    main()
