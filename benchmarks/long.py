"""What a long prompt costs: memory and time of one explanation, for so many tokens and so many spans of the answer.

    python benchmarks/long.py --model DIR --text FILE --tokens 100 1000 4000 10000 --spans 1 10

Each measurement runs in a process of its own, so that its peak of resident memory is its own. Beside it, the model's
own forward and backward pass with its layers checkpointed (torch.utils.checkpoint) on the same tokens, in a process of
its own too. Prints one JSON document. `--rest 200` is how many tokens of the text are the answer, of which the spans
are equal parts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

import pellucid


def read(model: pellucid.Model, path: Path, tokens: int, rest: int) -> tuple[str, str]:
    """A prompt and a continuation of so many tokens together, from a text that is repeated where it is too short."""
    text = path.read_text(encoding="utf-8")
    ids = model.tokenizer(text)["input_ids"]
    ids = (ids * (1 + tokens // len(ids)))[:tokens]
    begins = next(k for k in range(tokens - rest, tokens) if model.tokenizer.decode(ids[k])[:1] == " ")
    return model.tokenizer.decode(ids[:begins]), model.tokenizer.decode(ids[begins:])


def explained(model: pellucid.Model, pair: tuple[str, str], spans: int) -> dict[str, Any]:
    """One explanation of so many spans of the continuation."""
    step = -(-len(pair[1]) // spans)
    targets = [{"span": (i * step, min((i + 1) * step, len(pair[1])))} for i in range(spans)]
    found = list(pellucid.explain(model, pair, target=targets))
    cancels = [float(abs(e.scores).sum() / abs(e.change)) for e in found]
    return {
        "tokens": len(found[0].tokens),
        "residual": max(e.relative_delta for e in found),
        "status": sorted({str(e.status) for e in found}),
        "sum of |scores| over the change": [round(c, 2) for c in cancels],
    }


def own_pass(model: pellucid.Model, pair: tuple[str, str]) -> dict[str, Any]:
    """The model's own forward and backward pass for the log-probability of the continuation, its layers
    checkpointed."""
    net, ids = model.model, model.tokenizer("".join(pair), return_tensors="pt")["input_ids"].to(model.device)
    rest = len(model.tokenizer(pair[1])["input_ids"])
    net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})  # pyright: ignore
    net.train()  # which checkpointing asks for; this model has no dropout
    x = net.get_input_embeddings()(ids).detach().requires_grad_()  # pyright: ignore
    for p in net.parameters():
        p.requires_grad_(False)
    logits = net(inputs_embeds=x, use_cache=False, logits_to_keep=rest + 1).logits[0, :-1]
    logits.log_softmax(-1).gather(1, ids[0, -rest:, None]).sum().backward()
    return {"tokens": ids.shape[1]}


def one(how: argparse.Namespace) -> dict[str, Any]:
    """One measurement, in this process. On a GPU the better of two calls is told, as the first also loads what the GPU
    runs, and the peak is the allocator's."""
    model = pellucid.load(how.model, task="text-generation", device=how.device)
    config: Any = model.model.config  # beyond the length that it was trained for a model costs the same
    config.max_position_embeddings = max(config.max_position_embeddings, how.tokens[0])
    pair = read(model, how.text, how.tokens[0], min(how.rest, how.tokens[0] // 2))
    gpu = model.device.type == "cuda"
    before, found, best = peak(gpu), {}, {}
    for _ in range(2 if gpu else 1):
        start, cpu = time.perf_counter(), time.process_time()
        found = own_pass(model, pair) if how.own else explained(model, pair, how.spans[0])
        if gpu:
            torch.cuda.synchronize()
        spent = {"seconds": time.perf_counter() - start, "processor seconds": time.process_time() - cpu}
        best = spent if not best or spent["seconds"] < best["seconds"] else best
    return {**found, **{k: round(v, 2) for k, v in best.items()}, "peak GB": peak(gpu), "before GB": before}


def peak(gpu: bool) -> float:
    """Gigabytes at the most so far: of the GPU's allocator, or resident."""
    most = torch.cuda.max_memory_allocated() if gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1e3
    return round(most / 1e9, 2)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--model", required=True)
    asked.add_argument("--text", required=True, type=Path)
    asked.add_argument("--tokens", type=int, nargs="+", default=[100, 1000, 4000, 10000])
    asked.add_argument("--spans", type=int, nargs="+", default=[1, 10])
    asked.add_argument("--rest", type=int, default=200)
    asked.add_argument("--device", help='as `pellucid.load` takes it: "cuda"')
    asked.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked.add_argument("--busy", action="store_true", help="compare processor seconds: others use the machine too")
    asked.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked.add_argument("--own", action="store_true", help=argparse.SUPPRESS)
    how = asked.parse_args()
    if how.one:
        torch.set_num_threads(how.threads)
        print(json.dumps(one(how)))
        return
    rows: list[dict[str, Any]] = []
    spent = "processor seconds" if how.busy else "seconds"
    for tokens in how.tokens:
        own = _apart(how, tokens, 1, ["--own"])
        rows.append({"spans": "own pass, checkpointed", **own})
        for spans in how.spans:
            found = _apart(how, tokens, spans, [])
            rows.append({"spans": spans, **found, "times own": round(found[spent] / own[spent], 2)})
            print(rows[-1], file=sys.stderr, flush=True)
    print(json.dumps(rows, indent=1))


def _apart(how: argparse.Namespace, tokens: int, spans: int, more: list[str]) -> dict[str, Any]:
    """One measurement in a process of its own."""
    words = ["--model", how.model, "--text", str(how.text), "--tokens", str(tokens), "--spans", str(spans)]
    words += ["--rest", str(how.rest), "--threads", str(how.threads), "--one", *more]
    words += ["--device", how.device] if how.device else []
    found = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
    return json.loads(found.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
