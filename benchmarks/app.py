"""How long the app takes to answer, beside the model's own time.

    python benchmarks/app.py [--model PATH] [--rounds 50]

A text of 20 tokens is explained by the running app, from the request to the parsed answer, as its page does; beside it
the model's own forward and backward pass in this process, and `pellucid.explain`. The numbers are medians, taken in
turns so that all meet the same machine. The app less the model should stay below 150 ms. The last line is what a person
waits for: from a key pressed to the picture drawn, the 150 ms included that the page waits for the next key.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import torch

import pellucid

TEXT = "the plot is thin , but the cast is wonderful and the ending made me cry twice ."


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def own(model: pellucid.Model) -> Callable[[], object]:
    """The model's forward pass, and a backward pass from the predicted class to the embeddings."""
    ids = model.tokenizer(TEXT, return_tensors="pt")

    def run() -> object:
        x = model.embedding(ids["input_ids"]).detach().requires_grad_()
        given = {name: value for name, value in ids.items() if name != "input_ids"}
        return torch.autograd.grad(model.model(inputs_embeds=x, **given).logits.max(), x)

    return run


def typed(address: str, rounds: int) -> float | None:
    """The median from a key pressed to the picture drawn; None without a browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        page.fill("[data-part=text]", TEXT)
        page.locator(".answer .viewer").wait_for()
        found: list[float] = []
        for i in range(rounds):
            word, script = (
                f"twice{'abcdefghij'[i % 10]}",
                (
                    "(word) => document.querySelector('.answer > div').shadowRoot.querySelector('.reading')"
                    ".textContent.includes(word)"
                ),
            )
            began = time.perf_counter()
            page.fill("[data-part=text]", TEXT.replace("twice", word))
            page.wait_for_function(script, arg=word, polling="raf")
            found.append(1000 * (time.perf_counter() - began))
        browser.close()
    return statistics.median(found)


def main() -> None:
    given = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    given.add_argument("--model")
    given.add_argument("--rounds", type=int, default=50)
    asked = given.parse_args()
    command = [sys.executable, "-u", "-m", "pellucid", "app", "--no-browser", *([asked.model] if asked.model else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = next(m[0] for line in process.stdout if (m := re.search(r"http://\S+", line)))
            origin, _, token = address.partition("/?token=")
            headers = {"authorization": f"Bearer {token}"}
            body = json.dumps({"input": TEXT}).encode()

            def app() -> Any:
                request = urllib.request.Request(f"{origin}/api/explain", body, headers)
                with urllib.request.urlopen(request) as answer:
                    return json.load(answer)

            model = pellucid.load(asked.model)
            works = {"model": own(model), "explain": lambda: pellucid.explain(model, TEXT), "app": app}
            for work in [*works.values()] * 3:
                work()
            times = {name: [] for name in works}
            for _ in range(asked.rounds):
                for name, work in works.items():
                    times[name].append(milliseconds(work))
            median = {name: statistics.median(each) for name, each in times.items()}
            print(f"{len(model.tokenizer(TEXT)['input_ids'])} tokens, medians of {asked.rounds} rounds")
            for name, says in (("model", "forward and backward"), ("explain", "pellucid.explain"), ("app", "the app")):
                print(f"{says:22}{median[name]:8.1f} ms")
            print(f"{'the app less the model':22}{median['app'] - median['model']:8.1f} ms")
            if (drawn := typed(address, asked.rounds)) is not None:
                print(f"{'a key until the picture':22}{drawn:8.1f} ms")
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
