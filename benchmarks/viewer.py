"""How fast the page draws and answers in Chromium: `python benchmarks/viewer.py [--chromium PATH] [--repeats 5]`.

Prints, for a page of 512 tokens × 12 layers × 28 targets and for one of 2,000 texts, its size and the medians of: the
time from the beginning of the navigation until the page is drawn; and the work that pointing at a word makes, its
handler, style and layout together, without the wait for the next frame.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
from playwright.sync_api import Page, sync_playwright

import pellucid
from pellucid import Explanation, Explanations, Target, Token

DRAWN = """() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now()))))"""
HOVER = """() => {
  const root = document.querySelector(".viewer-root").shadowRoot;
  const event = (name) => new PointerEvent(name, { bubbles: true, composed: true });
  return [...root.querySelectorAll(".unit")].slice(0, 100).map((unit) => {
    const start = performance.now();
    unit.dispatchEvent(event("pointerover"));
    root.querySelector(".detail").getBoundingClientRect();
    const taken = performance.now() - start;
    unit.dispatchEvent(event("pointerout"));
    return taken;
  });
}"""


def long() -> Explanations:
    """512 tokens, 12 layers, 28 targets, as an emotion classifier has them: numbers at random, of a model's form."""
    rng, words = np.random.default_rng(0), [f"word{i}" for i in range(510)]
    starts = np.cumsum([0, *(len(w) + 1 for w in words)]).tolist()
    own = [Token(w, i, (s, s + len(w)), word=i) for i, (w, s) in enumerate(zip(words, starts, strict=False))]
    tokens = (Token("[CLS]", 101, special=True), *own, Token("[SEP]", 102, special=True))
    each: list[Explanation] = []
    for i in range(28):
        scores, layers = rng.normal(size=512), rng.normal(size=(12, 512))
        layers[:, 0] += scores.sum() - layers.sum(1)
        elements = {"quantiles": np.sort(rng.normal(size=(12, 512, 5))), "entropy": rng.uniform(5, 9, size=(12, 512))}
        total = float(scores.sum())
        each.append(
            Explanation(
                " ".join(words), tokens, scores, Target(f"emotion {i}", i), "deeplift", "mask", total, 0.0, 0.0,
                layers=layers, elements=elements, prediction="emotion 0", probability=0.5,
            )
        )  # fmt: skip
    return Explanations(tuple(each))


def many() -> Explanations:
    """2,000 texts of one model."""
    text, rng = "It's a great film, though the ending is terribly slow.", np.random.default_rng(0)
    e = pellucid.explain(pellucid.load(), text)
    told = [
        {"scores": e.scores * rng.normal(), "probability": float(rng.uniform()), "label": "negative"}
        for _ in range(2000)
    ]
    return Explanations(tuple(replace(e, text=f"{i}: {text}"[: len(text)], **more) for i, more in enumerate(told)))


def measured(tab: Page, address: str) -> tuple[float, float]:
    """Milliseconds until the page is drawn, and the median of those that pointing at a word takes."""
    tab.goto(address)
    drawn = float(tab.evaluate(DRAWN))
    return drawn, median(tab.evaluate(HOVER))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1100, "height": 900})
        for name, explanations in (("512 tokens x 12 layers x 28 targets", long()), ("2,000 texts", many())):
            path = explanations.save(Path(folder) / "page.html")
            found = [measured(tab, path.as_uri()) for _ in range(given.repeats + 1)][1:]
            drawn, hover = (median(values) for values in zip(*found, strict=True))
            print(f"{name}: {path.stat().st_size / 1e6:.2f} MB, drawn {drawn:.0f} ms, hover {hover:.1f} ms")
        browser.close()


if __name__ == "__main__":
    main()
