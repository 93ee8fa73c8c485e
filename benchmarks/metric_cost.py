"""What measuring costs beside the forward passes that it needs: the aim is at most 1.2 times.

    python benchmarks/metric_cost.py [--model DIR] [--data sst2-dev.tsv] [--texts 500] [--rounds 3]

The answers of two methods and of a random ranking are made first and not timed. Then `pellucid.evaluate` measures them
by mask and by deletion, to the last interval, and each pass of the model in it that removes words is timed by hooks.
Printed is the whole over these bare passes, by the clock and in processor time, which other programs on the machine
change little; and how many tokens go through the model for each of the texts' own, padding included.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from planted import read

import pellucid


def clocks() -> np.ndarray:
    """Seconds by the clock, and of the processor."""
    return np.array([time.perf_counter(), time.process_time()])


@dataclass
class Inside:
    """What the model's passes without a gradient took. seconds: as `clocks`. own, padded: tokens without and with
    padding."""

    seconds: np.ndarray = field(default_factory=lambda: np.zeros(2))
    own: int = 0
    padded: int = 0


@contextmanager
def timed(net: torch.nn.Module) -> Iterator[Inside]:
    found, start = Inside(), np.zeros(2)

    def enter(module: Any, args: Any, kwargs: Any) -> None:
        start[:] = clocks()

    def leave(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        if not torch.is_grad_enabled():
            found.seconds += clocks() - start
            found.own += int(kwargs["attention_mask"].sum())
            found.padded += kwargs["attention_mask"].numel()

    handles = net.register_forward_pre_hook(enter, with_kwargs=True), net.register_forward_hook(leave, with_kwargs=True)
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/sst2-dev.tsv"))
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    model = pellucid.load(given.model)
    texts = [t for t, _ in read(given.data) if len(t.split()) > 2][: given.texts]
    scores = {m: pellucid.explain(model, texts, m) for m in ("deeplift", "input_x_gradient")}
    ratios = []
    for _ in range(given.rounds):
        start = clocks()
        with timed(model.model) as inside:
            pellucid.evaluate(model, texts, (), scores=scores)
        whole = clocks() - start
        ratios.append(whole / inside.seconds)
        print(
            f"{whole[0]:.2f} s, of which the model's passes {inside.seconds[0]:.2f} s: {ratios[-1][0]:.3f} times; in "
            f"processor time {ratios[-1][1]:.3f} times; {inside.padded / inside.own:.3f} tokens for each of the texts'",
            flush=True,
        )
    clock, processor = np.min(ratios, 0)
    print(
        f"{len(texts)} texts, {torch.get_num_threads()} threads: {clock:.3f} times the bare passes at best, "
        f"{processor:.3f} times in processor time"
    )


if __name__ == "__main__":
    main()
