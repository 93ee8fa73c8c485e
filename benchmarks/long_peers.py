"""What Captum, inseq and FlashTrace need for the same prompts as `long.py`, for so many tokens of the answer.

    python benchmarks/long_peers.py --model DIR --text FILE --peer captum-ig --tokens 100 --answer 2

Captum and inseq explain each token of an answer with passes of its own, so seconds are told for one token as well.
Peers: captum-ig (LLMGradientAttribution over LayerIntegratedGradients), captum-ablation (LLMAttribution over
FeatureAblation, token by token, all tokens of the answer at once), inseq-ig (integrated gradients), inseq-saliency,
flashtrace (unsigned shares, of the whole answer at once). Points of a path go through the model one by one, since 50
graphs of a long prompt fit nowhere. Prints one JSON document, with processor seconds of this process.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

PEERS = ("captum-ig", "captum-ablation", "inseq-ig", "inseq-saliency", "flashtrace")


def captum_of(net: Any, tokenizer: Any, prompt: str, answer: str, gradient: bool, steps: int) -> Callable[[], Any]:
    """One of Captum's two attributions for language models, ready to run."""
    from captum.attr import (
        FeatureAblation,
        LayerIntegratedGradients,
        LLMAttribution,
        LLMGradientAttribution,
        TextTokenInput,
    )

    given = TextTokenInput(prompt, tokenizer)
    if gradient:
        path = LayerIntegratedGradients(net, net.get_input_embeddings())
        each = LLMGradientAttribution(path, tokenizer)
        return lambda: each.attribute(given, target=answer, n_steps=steps, internal_batch_size=1)
    removed = LLMAttribution(FeatureAblation(net), tokenizer)
    return lambda: removed.attribute(given, target=answer, perturbations_per_eval=1)


def inseq_of(net: Any, name: str, prompt: str, answer: str, method: str, steps: int) -> Callable[[], Any]:
    """inseq's attribution, ready to run."""
    import inseq

    model = inseq.load_model(net, method, tokenizer=name)
    more = {"n_steps": steps, "internal_batch_size": 1} if method == "integrated_gradients" else {}
    return lambda: model.attribute(prompt, prompt + answer, show_progress=False, clean_special_chars=False, **more)


def flashtrace_of(net: Any, tokenizer: Any, prompt: str, answer: str, tokens: int) -> Callable[[], Any]:
    """FlashTrace's attribution of the whole answer, without hops, ready to run."""
    from flashtrace import FlashTrace

    net.set_attn_implementation("eager")
    tracer = FlashTrace(net, tokenizer, chunk_tokens=128, sink_chunk_tokens=32)
    return lambda: tracer.trace(prompt=prompt, target=answer, output_span=(0, tokens - 1), hops=0)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--model", required=True)
    asked.add_argument("--text", required=True, type=Path)
    asked.add_argument("--peer", required=True, choices=PEERS)
    asked.add_argument("--tokens", type=int, default=100)
    asked.add_argument("--answer", type=int, default=1, help="tokens of the answer")
    asked.add_argument("--steps", type=int, default=50, help="of integrated gradients, which each take as long")
    asked.add_argument("--threads", type=int, default=1)
    how = asked.parse_args()
    torch.set_num_threads(how.threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(how.model)
    net = transformers.AutoModelForCausalLM.from_pretrained(how.model).eval()
    ids = tokenizer(how.text.read_text("utf-8"))["input_ids"][: how.tokens]
    prompt, answer = tokenizer.decode(ids[: -how.answer]), tokenizer.decode(ids[-how.answer :])
    peer, _, kind = how.peer.partition("-")
    if peer == "flashtrace":
        run = flashtrace_of(net, tokenizer, prompt, answer, how.answer)
    elif peer == "captum":
        run = captum_of(net, tokenizer, prompt, answer, kind == "ig", how.steps)
    else:
        run = inseq_of(net, how.model, prompt, answer, "integrated_gradients" if kind == "ig" else kind, how.steps)
    peak = lambda: round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    before, start = peak(), time.process_time()
    run()
    seconds = time.process_time() - start
    told = {
        "peer": how.peer,
        "steps": how.steps,
        "tokens": how.tokens,
        "answer tokens": how.answer,
        "peak GB": peak(),
        "before GB": before,
    }
    print(json.dumps({**told, "seconds": round(seconds, 1), "for one token": round(seconds / how.answer, 1)}))


if __name__ == "__main__":
    main()
