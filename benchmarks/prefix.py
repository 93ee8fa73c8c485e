"""Leave-one-out over a prompt, with and without the keys and values of the common beginning shared.

    python benchmarks/prefix.py [--tokens 512] [--repeats 3]

A random GPT-2 of 12 layers, 256 wide. Prints the median seconds of both ways, their ratio, and the largest difference
of a score relative to the largest score. One process, the ways in turn.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from generative import causal_tokenizer
from pellucid import Model
from pellucid.methods import METHODS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = causal_tokenizer()
    tokenizer.model_max_length = asked.tokens
    config = GPT2Config(
        vocab_size=100, n_positions=asked.tokens, n_embd=256, n_layer=12, n_head=8, eos_token_id=3, bos_token_id=2
    )
    model = Model(GPT2LMHeadModel(config).eval(), tokenizer)
    words = "the film was great but the plot is not so good and".split()
    prompt = " ".join(words[i % len(words)] for i in range(asked.tokens - 1))
    with model.borrowed():
        problem = model.problem(model.encode([(prompt, " good")]), "[UNK]", None)
    ways = {"shared": problem, "apart": replace(problem, resumed=None)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    scores = {}
    for _ in range(asked.repeats):
        for name, each in ways.items():
            start = time.perf_counter()
            with model.borrowed():
                scores[name] = METHODS["occlusion"].solve(each)[0].values[0].double()
            seconds[name].append(time.perf_counter() - start)
    shared, apart = (statistics.median(seconds[name]) for name in ways)
    off = (scores["shared"] - scores["apart"]).abs().max() / scores["apart"].abs().max()
    print(f"{asked.tokens} tokens, {torch.get_num_threads()} threads, median of {asked.repeats}")
    print(f"shared {shared:.2f} s, apart {apart:.2f} s: {apart / shared:.2f} × faster; scores differ by {off:.1e}")


if __name__ == "__main__":
    main()
