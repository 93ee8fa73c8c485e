"""The targets of the engine, measured side by side with Captum in one process, as medians of ratios.

    python benchmarks/bench.py [--model DIR] [--texts FILE] [--n 200] [--out docs/benchmarks.md]

Writes a table between the marks of the page, and the numbers behind it as JSON beside it. Each row takes its two sides
in turns on the same texts, model, threads and targets; peak memory is read from a process of each side's own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path = sys.path[1:]  # not this folder: `captum` is the library

import numpy as np
import torch
from captum.attr import FeatureAblation, IntegratedGradients, LayerIntegratedGradients
from torch import Tensor

import pellucid
from pellucid.methods import METHODS
from pellucid.methods.evaluate import gradient_at
from pellucid.models.batching import groups

TEXTS = ["A quiet little film, and a wonderful one.", "The plot is thin, but the acting is superb.", "What a waste."]
STEPS = 50


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ratios(ours: Callable[[], Any], theirs: Callable[[], Any], turns: int) -> list[float]:
    """theirs / ours, turn by turn, after one of each that is not counted."""
    ours()
    theirs()
    return [seconds(theirs) / seconds(ours) for _ in range(turns)]


class Captum:
    """What Captum's users write, for one text: the PAD baseline at the word embeddings."""

    def __init__(self, model: pellucid.Model):
        self.net, self.tok, self.embed = model.model, model.tokenizer, model.embedding

    def prepare(self, text: str) -> tuple[Tensor, Tensor, Tensor, int]:
        batch = self.tok(text, return_tensors="pt")
        ids = batch["input_ids"]
        special = self.tok.get_special_tokens_mask(ids[0].tolist(), already_has_special_tokens=True)
        ids0 = torch.where(torch.tensor([special]).bool(), ids, self.tok.pad_token_id)
        with torch.no_grad():
            target = int(self.net(**batch).logits.argmax())
        return ids, ids0, batch["attention_mask"], target

    def ig(self, text: str, **how: Any) -> Tensor:
        ids, ids0, mask, target = self.prepare(text)
        f = lambda x, m: self.net(inputs_embeds=x, attention_mask=m).logits
        return IntegratedGradients(f).attribute(
            self.embed(ids), self.embed(ids0), target, (mask,), n_steps=STEPS, **how
        )

    def layer_ig(self, text: str) -> Tensor:
        ids, ids0, mask, target = self.prepare(text)
        lig = LayerIntegratedGradients(lambda i, m: self.net(i, attention_mask=m).logits, self.embed)
        return lig.attribute(ids, ids0, target, (mask,), n_steps=STEPS)

    def ablation(self, text: str) -> Tensor:
        ids, ids0, mask, target = self.prepare(text)
        f = lambda i, m: self.net(i, attention_mask=m).logits
        return FeatureAblation(f).attribute(ids, ids0, target, (mask,))


def measure(model: pellucid.Model, texts: list[str]) -> list[dict[str, Any]]:
    captum, found = Captum(model), []
    explain = lambda what, **how: pellucid.explain(model, what, baseline="pad", **how)

    def row(what: str, against: str, target: str, value: float, reached: bool, **more: Any) -> None:
        found.append({"what": what, "against": against, "target": target, "value": value, "reached": reached, **more})
        print(f"{what}: {value:.3g} (target {target})", file=sys.stderr, flush=True)

    some = texts[:25]
    one = [r for text in some for r in ratios(lambda t=text: explain(t), lambda t=text: captum.ig(t), 1)]
    rest = statistics.median(e.relative_delta for e in explain(some))
    value = statistics.median(one)
    row("DeepLIFT, one text", "Captum IG, 50 points", "≥ 8 ×", value, value >= 8 and rest <= 1e-5, residual=rest)

    value = statistics.median(ratios(lambda: explain(texts), lambda: [captum.layer_ig(t) for t in texts], 1))
    row(f"DeepLIFT, {len(texts)} texts", "Captum LayerIG, text by text", "≥ 25 ×", value, value >= 25)

    encodings = model.encode(texts)
    batches = [[encodings[i] for i in g] for g in groups([len(e) for e in encodings])]
    with model.borrowed():
        problems = [model.problem(b, "pad", 1) for b in batches]
        floor = lambda: [forward_backward(p) for p in problems]
        value = 1 / statistics.median(ratios(lambda: [METHODS["deeplift"].solve(p) for p in problems], floor, 3))
        row("DeepLIFT's time in a batch", "the model's forward and backward", "≤ 1.8 ×", value, value <= 1.8)
        engine = lambda: [gradient_at(p, lambda o, r: o[:, 1], p.x, torch.arange(p.rows)) for p in problems]
        value = 1 / statistics.median(ratios(engine, floor, 3))
        row("one gradient evaluation", "the model's forward and backward", "≤ 1.1 ×", value, value <= 1.1)

    start = time.perf_counter()
    found_ig = explain(texts, method="integrated_gradients")
    took = time.perf_counter() - start
    passes = [e.passes for e in found_ig]
    true = explain(texts[:50], method="integrated_gradients", n_steps=300)
    off = [float(np.linalg.norm(a.scores - b.scores) / np.linalg.norm(b.scores)) for a, b in zip(found_ig, true)]
    certified = [e.status == "converged" for e in found_ig]
    wrong = sum(c and o > 0.01 for c, o in zip(certified, off))
    more = {"certified": sum(certified), "of": len(texts), "wrong among 50": wrong, "largest error": max(off)}
    median, p95 = float(np.median(passes)), float(np.percentile(passes, 95))
    row("IG to 1 %: passes, median", "Captum's 50 points", "≤ 25", median, median <= 25, **more)
    row("IG to 1 %: passes, 95th percentile", "Captum's 50 points", "≤ 45", p95, p95 <= 45)
    with_batches = lambda size, which: seconds(lambda: [captum.ig(t, internal_batch_size=size) for t in which])
    best = min((with_batches(size, some), size) for size in (10, 25, 50))
    value = with_batches(best[1], texts) / took
    row(f"IG to 1 %, {len(texts)} texts", f"Captum, 50 points, batches of {best[1]}", "≥ 2.2 ×", value, value >= 2.2)

    occlusion = lambda: explain(texts, method="occlusion", target=1)
    value = 1 / statistics.median(ratios(occlusion, lambda: bare_forwards(model, problems), 1))
    row("leave-one-out", "the forwards it needs, packed", "≤ 1.1 ×", value, value <= 1.1)
    value = statistics.median(ratios(occlusion, lambda: [captum.ablation(t) for t in texts], 1))
    row("leave-one-out", "Captum FeatureAblation", "≥ 2 ×", value, value >= 2)
    return found


def forward_backward(problem: Any) -> None:
    x = problem.x[0].detach().requires_grad_()
    torch.autograd.grad(problem.outputs((x,))[:, 1].sum(), x)


def bare_forwards(model: pellucid.Model, problems: list[Any]) -> None:
    """As many rows of each length as leave-one-out asks for, in batches of the engine's size."""
    with torch.inference_mode():
        for p in problems:
            rows = torch.arange(p.rows).repeat_interleave(p.groups[0].amax(1) + 3 if p.groups else p.mask.sum(1))
            each = max(1, (1 << 19) // p.x[0][0].numel())
            for i in range(0, len(rows), each):
                p.outputs((p.x[0][rows[i : i + each]],), rows[i : i + each])


def peak(side: str, given: argparse.Namespace) -> float:
    """MiB at the peak of a process that explains one text of 512 tokens."""
    command = [sys.executable, __file__, "--peak", side, *(["--model", given.model] if given.model else [])]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def peak_of(side: str, model: pellucid.Model) -> None:
    text = "good film " * 255
    if side == "pellucid":
        pellucid.explain(model, text, baseline="pad")
    elif side == "captum":
        Captum(model).ig(text, internal_batch_size=1)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a checkpoint's directory; the bundled model without it")
    parser.add_argument("--texts", type=Path, help="one text per line; what follows a tab is ignored")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--out", type=Path, help="the page to write the table into; the JSON goes beside it")
    parser.add_argument("--peak", choices=["pellucid", "captum", "nothing"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    model = pellucid.load(given.model)
    for p in model.model.parameters():
        p.requires_grad_(False)  # a kindness to Captum, which would compute their gradients too
    if given.peak:
        peak_of(given.peak, model)
        return
    texts = TEXTS
    if given.texts:
        lines = [line.split("\t")[0] for line in given.texts.read_text("utf-8").splitlines()]
        texts = [lines[i] for i in np.random.default_rng(0).choice(len(lines), given.n, replace=False)]
    rows = measure(model, texts)
    base = peak("nothing", given)
    ours, theirs = peak("pellucid", given), peak("captum", given)
    rows.append({"what": "peak memory, one text of 512 tokens", "against": "Captum IG, one point at a time",
                 "target": "≤ 2 ×", "value": ours / theirs, "reached": ours <= 2 * theirs,
                 "MiB": {"pellucid": ours, "captum": theirs, "model alone": base}})  # fmt: skip
    table = ["| what | against | target | measured | |", "|---|---|---|---:|---|"]
    for r in rows:
        said = "reached" if r["reached"] else "not yet"
        table.append(f"| {r['what']} | {r['against']} | {r['target']} | {r['value']:.3g} | {said} |")
    head = f"{len(texts)} texts, {torch.get_num_threads()} threads, torch {torch.__version__}.\n\n"
    print(head + "\n".join(table))
    if given.out:
        page = given.out.read_text("utf-8")
        before, rest = page.split("<!-- engine -->\n", 1)
        after = rest.split("<!-- end engine -->", 1)[1]
        text = "\n".join([f"{before}<!-- engine -->", head + "\n".join(table), f"<!-- end engine -->{after}"])
        given.out.write_text(text, "utf-8")
        given.out.with_suffix(".json").write_text(json.dumps({"texts": len(texts), "rows": rows}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
