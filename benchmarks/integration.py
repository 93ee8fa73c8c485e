"""How the time of integrated gradients grows with the passes, and how far off they are by then.

    python benchmarks/integration.py [--budgets 97 200 400 1000 2000] [--rows 12]

Two small networks whose gradient along the path no polynomial follows: ReLU, and a steep sigmoid. They cost next to
nothing to evaluate, so what is measured is the method's own work. The reference is a midpoint rule of 100,000 points in
float64; `off` is the distance from it relative to its norm, and `said` the estimated error, the worst of all rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor

import pellucid

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "ReLU": torch.relu,
    "sigmoid(100 z)": lambda z: torch.sigmoid(100 * z),
}
INPUTS, WIDTH, DEPTH = 30, 128, 2


def network(act: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """DEPTH layers at random, and one output."""
    draw = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)
    sizes = [INPUTS] + [WIDTH] * DEPTH
    layers = [(normal(a, b) * (2 / a) ** 0.5, 0.3 * normal(b)) for a, b in pairwise(sizes)]
    last = normal(WIDTH)

    def f(x: Tensor) -> Tensor:
        for weight, bias in layers:
            x = act(x @ weight + bias)
        return x @ last

    return f


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", type=int, nargs="+", default=[97, 200, 400, 1000, 2000], help="max_passes")
    parser.add_argument("--rows", type=int, default=12)
    given = parser.parse_args()
    x = torch.randn(given.rows, INPUTS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    size = lambda values: values.norm(dim=1)
    print("| function | passes of a row | seconds | ms a pass | off | said |\n|---|---:|---:|---:|---:|---:|")
    for name, act in ACTIVATIONS.items():
        f, how = network(act), cast(Any, {"method": "integrated_gradients"})
        true: Any = pellucid.attribute(f, x, x * 0, n_steps=100_000, rule="midpoint", **how).values
        pellucid.attribute(f, x, x * 0, **how)  # what is done once
        for most in given.budgets:
            start = time.perf_counter()
            a: Any = pellucid.attribute(f, x, x * 0, tol=1e-12, max_passes=most, **how)
            seconds = time.perf_counter() - start
            off, said = (float((size(v) / size(true)).max()) for v in (a.values - true, a.error))
            each = 1000 * seconds / sum(a.row_passes)
            print(f"| {name} | {a.passes} | {seconds:.2f} | {each:.2f} | {off:.0e} | {said:.0e} |", flush=True)


if __name__ == "__main__":
    main()
