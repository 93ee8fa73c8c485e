"""The engine's targets, measured side by side with Captum (and SHAP, where it is installed) in one process.

    python benchmarks/bench.py [--model DIR] [--texts FILE] [--n 200] [--out docs/benchmarks.md]

Writes a table between the marks of the page, and the numbers behind it as JSON beside it. Each row takes its two sides
in turns on the same texts, model, threads and targets, after one turn of each that is not counted; its value is the
median of the turns' ratios. Peak memory is read from a process of each side's own.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import STEPS, Captum, conductance_of_answer, interpreto_ig, shap_values
from transformers import BertConfig, BertForSequenceClassification

import pellucid
from pellucid.engine.memory import batch_size
from pellucid.engine.passes import gradient_at
from pellucid.methods import METHODS
from pellucid.models.inside.layers import stack

TEXTS = ["A quiet little film, and a wonderful one.", "The plot is thin, but the acting is superb.", "What a waste."]
Run = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """value: the median ratio, theirs/ours where `at_least`, else ours/theirs. target: None where it is told without
    one. ours, theirs: seconds."""

    what: str
    against: str
    target: float | None
    at_least: bool
    value: float
    ours: dict[str, float] = field(default_factory=dict)
    theirs: dict[str, float] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


def seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def summary(times: Sequence[float]) -> dict[str, float]:
    return {"median": float(np.median(times)), "p95": float(np.percentile(times, 95))}


def versus(
    what: str,
    against: str,
    target: float | None,
    at_least: bool,
    sides: Sequence[tuple[Run, Run]],
    turns: int = 1,
    **more: Any,
) -> Row:
    """A row from pairs (ours, theirs), each taken `turns` times in turns."""
    for run in sides[0]:
        run()
    times = np.array([[seconds(ours), seconds(theirs)] for _ in range(turns) for ours, theirs in sides])
    ratios = times[:, 1] / times[:, 0] if at_least else times[:, 0] / times[:, 1]
    value = float(np.median(ratios))
    return Row(what, against, target, at_least, value, summary(times[:, 0]), summary(times[:, 1]), more)


def engine_rows(model: pellucid.Model, texts: list[str]) -> Iterator[Row]:
    """DeepLIFT and the evaluator."""
    captum, explain = Captum(model, "pad"), partial(pellucid.explain, model, baseline="pad")
    some = texts[:60]
    left = float(np.median([e.relative_delta for e in explain(some)]))
    pairs = [(partial(explain, t), partial(captum.ig, t)) for t in some]
    yield versus("DeepLIFT, one text", f"Captum IG, {STEPS} points", 8, True, pairs, residual=left)
    all_of_them = [(lambda: explain(texts), lambda: [captum.layer_ig(t) for t in texts])]
    yield versus(f"DeepLIFT, {len(texts)} texts", "Captum LayerIG, text by text", 25, True, all_of_them, 3)
    with model.borrowed():
        problems = [p for p, _ in packed(model, texts)]
        floor = lambda: [forward_backward(p) for p in problems]
        walk = lambda: [METHODS["deeplift"].solve(p.fixed(positive)) for p in problems]
        yield versus("DeepLIFT's time in a batch", "the model's forward and backward", 1.8, False, [(walk, floor)], 5)
        engine = lambda: [gradient_at(p, [positive], p.x, torch.arange(p.rows)) for p in problems]
        yield versus("one gradient evaluation", "the model's forward and backward", 1.1, False, [(engine, floor)], 5)


def path_rows(model: pellucid.Model, texts: list[str], baseline: str) -> Iterator[Row]:
    """Integrated gradients to 1 %."""
    captum = Captum(model, baseline)
    explain = partial(pellucid.explain, model, method="integrated_gradients", baseline=baseline)
    found, true = explain(texts), explain(texts[:40], n_steps=300)
    off = [float(np.linalg.norm(a.scores - b.scores) / np.linalg.norm(b.scores)) for a, b in zip(found, true)]
    certified = [e.status == "converged" for e in found]
    more = {
        "certified": sum(certified),
        "of": len(texts),
        "certified and wrong, of 40": sum(c and o > 0.01 for c, o in zip(certified, off)),
        "largest error of 40": max(off),
        "mean passes": float(np.mean([e.passes for e in found])),
    }
    passes = summary([e.passes for e in found])
    name = f"IG to 1 %, baseline {baseline}"
    yield Row(f"{name}: passes, median", f"Captum's {STEPS} points", 25, False, passes["median"], more=more)
    yield Row(f"{name}: passes, 95th percentile", f"Captum's {STEPS} points", 45, False, passes["p95"])
    with_size = lambda size, which: seconds(lambda: [captum.ig(t, internal_batch_size=size) for t in which])
    best = min((10, 25, 50), key=lambda size: with_size(size, texts[:25]))
    theirs = lambda: [captum.ig(t, internal_batch_size=best) for t in texts]
    what, against = f"{name}, {len(texts)} texts", f"Captum, {STEPS} points, batches of {best}"
    yield versus(what, against, 2.2, True, [(lambda: explain(texts), theirs)], 2)


def interpreto_rows(model: pellucid.Model, texts: list[str]) -> Iterator[Row]:
    """Integrated gradients of one text, beside interpreto, where it is installed."""
    if find_spec("interpreto"):
        ours = partial(pellucid.explain, model, method="integrated_gradients", baseline="pad")
        pairs = [(partial(ours, t), partial(interpreto_ig, model, t)) for t in texts[:20]]
        yield versus("IG to 1 %, one text", f"interpreto, {STEPS} points", 1, True, pairs)


def depth_rows(model: pellucid.Model, texts: list[str]) -> Iterator[Row]:
    """The conductance of all layers."""
    sweep = {"method": "integrated_gradients", "baseline": "pad", "n_steps": STEPS, "detail": "layers"}
    for net, target, some in ((model, 4.5, texts[:12]), (random_bert(model, 12, 384), 8, texts[:6])):
        captum = Captum(net, "pad")
        pairs = [(partial(pellucid.explain, net, t, **sweep), partial(captum.conductance, t)) for t in some]
        layers = len(captum.layers)
        yield versus(f"conductance of all {layers} layers", "Captum LayerConductance in a loop", target, True, pairs)
        walk = partial(pellucid.explain, net, baseline="pad", detail="layers")
        walks = [(partial(walk, t), loop) for t, (_, loop) in zip(some, pairs)]
        yield versus(f"DeepLIFT of all {layers} layers", "Captum LayerConductance in a loop", None, True, walks)


def answer_rows(given: argparse.Namespace) -> Iterator[Row]:
    """All layers for the start and the end of an answer, and with them all attention matrices, beside Captum's loops:
    it sees no attention but the eager one, of which a module returns the probabilities."""
    if not given.answers:
        return
    model = pellucid.load(given.answers)
    model.model.set_attn_implementation("eager")
    layers = stack(model)
    texts = [("What is important to us?", "It is important to us to include, empower and support humans of all kinds.")]
    if given.passages:
        found = [
            (q["question"], p["context"])
            for article in json.loads(given.passages.read_text("utf-8"))["data"]
            for p in article["paragraphs"]
            for q in p["qas"]
        ]
        texts += [found[i] for i in np.random.default_rng(0).choice(len(found), 3, replace=False)]
    for some in filter(None, (texts[:1], texts[1:])):
        lengths = sorted(len(e) for e in model.encode(some))
        where = " to ".join(str(n) for n in dict.fromkeys([*lengths[:1], *lengths[-1:]])) + " tokens"
        loops = [layers, [m for layer in layers for m in (layer, layer.attention.self)]]
        for modules, detail, what in zip(loops, (("layers",), ("layers", "heads")), ("layers", "layers and attention")):
            ask = partial(pellucid.explain, model, target=[None], baseline="pad", detail=detail)
            loop = partial(conductance_of_answer, model, modules=modules, at_once=50 if len(some) == 1 else 10)
            sweep = partial(ask, method="integrated_gradients", n_steps=STEPS)
            slow, fast = [], []
            for text in some:
                for run in (ask, sweep, *([loop] if len(some) == 1 else [])):
                    run(text)
                median = lambda run, n, text=text: float(np.median([seconds(partial(run, text)) for _ in range(n)]))
                theirs = median(loop, 3 if len(some) == 1 else 1)
                slow.append((median(sweep, 3), theirs))
                fast.append((median(ask, 15), theirs))
            for name, target, times in (("conductance", 9.0, slow), ("DeepLIFT", 100.0, fast)):
                ours, theirs = np.array(times).T
                value, against = float(np.median(theirs / ours)), "Captum LayerConductance in a loop"
                row = f"{name} of an answer's start and end, {what}, {where}"
                whole = target if what == "layers and attention" else None
                yield Row(row, against, whole, True, value, summary(ours), summary(theirs))


def coalition_rows(model: pellucid.Model, texts: list[str]) -> Iterator[Row]:
    """Methods that ask again without some tokens."""
    captum, explain = Captum(model, "pad"), partial(pellucid.explain, model, baseline="pad", target=1)
    left_out = lambda: explain(texts, method="occlusion")
    with model.borrowed():
        problems = [p for p, _ in packed(model, texts)]
        bare = lambda: bare_forwards(problems)
        yield versus("leave-one-out", "the forwards it needs, packed", 1.1, False, [(left_out, bare)], 2)
    yield versus(
        "leave-one-out", "Captum FeatureAblation", 2, True, [(left_out, lambda: [captum.ablation(t) for t in texts])]
    )
    if find_spec("shap"):
        owen = partial(pellucid.explain, model, method="partition_shap", baseline="mask", max_passes=500)
        pairs = [(partial(owen, t), partial(shap_values, model, t, 500)) for t in texts[:10]]
        yield versus("Owen values, 500 evaluations at most", "SHAP's text explainer", 1, True, pairs)


def large_rows(model: pellucid.Model) -> Iterator[Row]:
    """A random BERT-base: 12 layers, 768 wide."""
    net = random_bert(model, 12, 768)
    for tokens, n in ((128, 3), (512, 1)):
        text = " ".join(["film"] * (tokens - 2))
        captum = Captum(net, "pad")
        one = [(partial(pellucid.explain, net, text, baseline="pad"), partial(captum.ig, text, internal_batch_size=10))]
        against = f"Captum IG, {STEPS} points, 10 at a time"
        yield versus(f"DeepLIFT, BERT-base, {tokens} tokens", against, 8, True, one, n)
        (problem, _), *_ = packed(net, [text])
        walk, floor = partial(METHODS["deeplift"].solve, problem.fixed(positive)), partial(forward_backward, problem)
        what, against = f"DeepLIFT's time, BERT-base, {tokens} tokens", "the model's forward and backward"
        yield versus(what, against, 1.8, False, [(walk, floor)], 3)


def random_bert(model: pellucid.Model, layers: int, width: int, tokens: int = 512) -> pellucid.Model:
    """An encoder with the model's own tokenizer and random weights."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(model.tokenizer), hidden_size=width, num_hidden_layers=layers, num_attention_heads=12,
        intermediate_size=4 * width, max_position_embeddings=tokens, pad_token_id=model.tokenizer.pad_token_id,
    )  # fmt: skip
    net = BertForSequenceClassification(config).eval()
    tokenizer = copy(model.tokenizer)
    tokenizer.model_max_length = tokens
    return pellucid.Model(net, tokenizer)


def positive(outputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return outputs[:, 1]


def packed(model: pellucid.Model, texts: list[str]) -> Iterator[tuple[Any, list[Any]]]:
    """The batches that `explain` makes."""
    from pellucid.models.batching import groups

    encodings = model.encode(texts)
    for group in groups([len(e) for e in encodings]):
        batch = [encodings[i] for i in group]
        yield model.problem(batch, "pad", 1), batch


def forward_backward(problem: Any) -> None:
    x = problem.x[0].detach().requires_grad_()
    torch.autograd.grad(problem.outputs((x,))[:, 1].sum(), x)


def bare_forwards(problems: list[Any]) -> None:
    """As many rows of each length as leave-one-out asks for, in batches of the engine's size."""
    with torch.inference_mode():
        for p in problems:
            rows = torch.arange(p.rows).repeat_interleave(p.groups[0].amax(1) + 3)
            each = batch_size(p)
            for i in range(0, len(rows), each):
                p.outputs((p.x[0][rows[i : i + each]],), rows[i : i + each])


def peak(side: str, given: argparse.Namespace) -> float:
    """MiB at the peak of a process of this side's own."""
    command = [sys.executable, __file__, "--peak", side, *(["--model", given.model] if given.model else [])]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


SIDES = ("nothing", "pellucid", "captum", "long nothing", "long walk", "long pass")


def peak_of(side: str, model: pellucid.Model) -> None:
    text = "good film " * 255
    if side.startswith("long"):  # 4,096 tokens, 12 layers, 12 heads
        model = random_bert(model, 12, 384, 4096)
        (problem, _), *_ = packed(model, [" ".join(["film"] * 4094)])
        run = {"walk": lambda: METHODS["deeplift"].solve(problem), "pass": lambda: forward_backward(problem)}
        run.get(side.split()[1], lambda: None)()
    elif side == "pellucid":
        pellucid.explain(model, text, baseline="pad")
    elif side == "captum":
        Captum(model, "pad").ig(text, internal_batch_size=1)
    print(high_water())


def high_water() -> float:
    """MiB that this process held at most. Linux counts in `ru_maxrss` what its parent held when it began."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text("utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory_rows(given: argparse.Namespace) -> Iterator[Row]:
    """As whole processes beside Captum, and above an idle process beside the model's own passes."""
    base, ours, theirs = (peak(side, given) for side in SIDES[:3])
    more = {"MiB above an idle process": {"pellucid": ours - base, "captum": theirs - base}}
    what, against = "peak memory, one text of 512 tokens", "Captum IG, one point at a time"
    yield Row(what, against, 2, False, ours / theirs, {"MiB": ours}, {"MiB": theirs}, more)
    base, ours, theirs = (peak(side, given) for side in SIDES[3:])
    what, against = "peak memory, 4,096 tokens, 12 layers of 12 heads", "the model's forward and backward"
    yield Row(what, against, 3, False, (ours - base) / (theirs - base), {"MiB": ours - base}, {"MiB": theirs - base})


def table(rows: list[Row], texts: int) -> str:
    """Markdown."""
    lines = [
        f"{texts} texts, {torch.get_num_threads()} threads, torch {torch.__version__}, Captum 0.9.",
        "",
        "| what | against | target | measured | |",
        "|---|---|---|---:|---|",
    ]
    for r in rows:
        target = "" if r.target is None else f"{'≥' if r.at_least else '≤'} {r.target:g}"
        said = {True: "reached", False: "not yet", None: ""}[r.reached]
        lines.append(f"| {r.what} | {r.against} | {target} | {r.value:.3g} | {said} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a checkpoint's directory; the bundled model without it")
    parser.add_argument("--texts", type=Path, help="one text per line; what follows a tab is ignored")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--out", type=Path, help="the page to write the table into; the JSON goes beside it")
    parser.add_argument("--only", nargs="*", help="engine, path, depth, coalition, large, memory, answers; all without")
    parser.add_argument("--answers", help="a question-answering checkpoint's directory, for the part of that name")
    parser.add_argument("--passages", type=Path, help="its passages and questions: a JSON file as of SQuAD")
    parser.add_argument("--peak", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    model = pellucid.load(given.model)
    if given.peak:
        peak_of(given.peak, model)
        return
    texts = TEXTS
    if given.texts:
        lines = [line.split("\t")[0] for line in given.texts.read_text("utf-8").splitlines()]
        texts = [lines[i] for i in np.random.default_rng(0).choice(len(lines), given.n, replace=False)]
    parts: dict[str, Callable[[], Any]] = {
        "engine": lambda: engine_rows(model, texts),
        "path": lambda: [
            *path_rows(model, texts, "mask"),
            *path_rows(model, texts, "pad"),
            *interpreto_rows(model, texts),
        ],
        "depth": lambda: depth_rows(model, texts),
        "coalition": lambda: coalition_rows(model, texts),
        "large": lambda: large_rows(model),
        "memory": lambda: memory_rows(given),
        "answers": lambda: answer_rows(given),
    }
    rows: list[Row] = []
    for part in given.only or parts:
        for row in parts[part]():
            print(table([row], len(texts)).splitlines()[-1], file=sys.stderr, flush=True)
            rows.append(row)
        if given.out:
            write(given.out, rows, len(texts))
    print(table(rows, len(texts)))


def write(page: Path, rows: list[Row], texts: int) -> None:
    """The table into the page, and its numbers beside it; rows that were not measured this time stay."""
    numbers = page.with_suffix(".json")
    before = json.loads(numbers.read_text("utf-8"))["rows"] if numbers.exists() else []
    merged = {(r["what"], r["against"]): Row(**{k: v for k, v in r.items() if k != "reached"}) for r in before}
    merged |= {(r.what, r.against): r for r in rows}
    head, rest = page.read_text("utf-8").split("<!-- engine -->\n", 1)
    tail = rest.split("<!-- end engine -->", 1)[1]
    found = table(list(merged.values()), texts)
    page.write_text(f"{head}<!-- engine -->\n{found}<!-- end engine -->{tail}", "utf-8")
    where = {"texts": texts, "machine": platform.machine(), "threads": torch.get_num_threads()}
    data = {**where, "rows": [{**asdict(r), "reached": r.reached} for r in merged.values()]}
    numbers.write_text(json.dumps(data, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
