"""Captum and Pellucid on the same model and texts, in one process: seconds, passes and residual per method.

    python benchmarks/methods.py [--model DIR] [--texts FILE] [--n 20] [--out docs/benchmarks.md]

Without arguments it uses the bundled model and a few sentences of its own. Both explain the predicted class's logit
against the PAD baseline, at the word embeddings. Residual: |f(x) − f(x0) − Σ scores| / |f(x) − f(x0)|. A pass is one
text through the model once. Each method runs once unmeasured, then the two take turns, text by text.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, median_low
from typing import Any

import torch
from captum.attr import DeepLift, InputXGradient, IntegratedGradients, LayerIntegratedGradients, Saliency
from torch import Tensor, nn

import pellucid

TEXTS = [
    "A quiet little film, and a wonderful one.",
    "The plot is thin, but the acting is superb.",
    "It is neither funny nor clever, and it goes on for two hours.",
    "What a waste of time.",
    "One of the best films I have seen this year: sharp, warm and beautifully played.",
]


@dataclass(frozen=True)
class Row:
    method: str
    who: str
    seconds: float
    passes: int
    residual: float


class FromEmbeddings(nn.Module):
    """What Captum's DeepLift needs: a module that takes embeddings and returns logits."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor) -> Tensor:
        return self.net(inputs_embeds=inputs_embeds, attention_mask=attention_mask).logits


def captum_methods(model: pellucid.Model) -> dict[str, tuple[Callable[..., Tensor], int]]:
    """Method → (function of ids, baseline ids, mask and target that returns token scores, passes)."""
    net, wrapped = model.model, FromEmbeddings(model.model)
    embed = model.embedding

    def at_embeddings(make: Any, baseline: bool, **options: Any) -> Callable[..., Tensor]:
        def run(ids: Tensor, ids0: Tensor, mask: Tensor, target: int) -> Tensor:
            x = embed(ids).detach().requires_grad_()
            given = {"baselines": embed(ids0).detach()} if baseline else {}
            found = make(wrapped).attribute(x, target=target, additional_forward_args=(mask,), **given, **options)
            return found.sum(-1)

        return run

    def layer_ig(ids: Tensor, ids0: Tensor, mask: Tensor, target: int) -> Tensor:
        lig = LayerIntegratedGradients(lambda i, m: net(i, attention_mask=m).logits, embed)
        return lig.attribute(ids, ids0, target=target, additional_forward_args=(mask,), n_steps=50).sum(-1)

    return {
        "deeplift": (at_embeddings(DeepLift, True), 2),
        "integrated_gradients": (at_embeddings(IntegratedGradients, True, n_steps=50), 50),
        "integrated_gradients (layer)": (layer_ig, 52),
        "input_x_gradient": (at_embeddings(InputXGradient, False), 1),
        "saliency": (at_embeddings(Saliency, False), 1),
    }


def compare(model: pellucid.Model, texts: list[str]) -> list[Row]:
    net, tok = model.model, model.tokenizer
    theirs = captum_methods(model)
    seconds: dict[tuple[str, str], list[float]] = {}
    residuals: dict[tuple[str, str], list[float]] = {}
    passes: dict[tuple[str, str], list[int]] = {}
    for turn, text in enumerate([texts[0], *texts]):
        batch = tok(text, return_tensors="pt")
        ids, mask = batch["input_ids"], batch["attention_mask"]
        special = torch.tensor([tok.get_special_tokens_mask(ids[0].tolist(), already_has_special_tokens=True)]).bool()
        ids0 = torch.where(special, ids, tok.pad_token_id)
        with torch.no_grad():
            y, y0 = net(ids, attention_mask=mask).logits[0], net(ids0, attention_mask=mask).logits[0]
        target = int(y.argmax())
        change = float(y[target] - y0[target])
        for name, (run, count) in theirs.items():
            ours = name.split(" ")[0]
            start = time.perf_counter()
            total = float(run(ids, ids0, mask, target).sum())
            middle = time.perf_counter()
            e = pellucid.explain(model, text, method=ours, target=target, baseline="pad")
            end = time.perf_counter()
            if turn == 0:
                continue
            for who, took, rest, n in (
                ("Captum", middle - start, abs(change - total) / abs(change), count),
                ("Pellucid", end - middle, e.relative_delta, e.passes),
            ):
                seconds.setdefault((name, who), []).append(took)
                residuals.setdefault((name, who), []).append(rest)
                passes.setdefault((name, who), []).append(n)
    return [Row(*key, median(seconds[key]), median_low(passes[key]), median(residuals[key])) for key in seconds]


def table(rows: list[Row], model: pellucid.Model, texts: list[str]) -> str:
    """Markdown."""
    import captum

    lines = [
        f"Medians over {len(texts)} texts, one at a time; {Path(model.name).name}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, Captum {captum.__version__}.",
        "",
        "| method | library | seconds | passes | residual |",
        "|---|---|---:|---:|---:|",
        *(f"| {r.method} | {r.who} | {r.seconds:.4f} | {r.passes} | {r.residual:.1e} |" for r in rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a checkpoint's directory; the bundled model without it")
    parser.add_argument("--texts", type=Path, help="one text per line; what follows a tab is ignored")
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--out", type=Path, help="also write the table into this file, between its two markers")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    texts = TEXTS
    if given.texts:
        texts = [line.split("\t")[0] for line in given.texts.read_text("utf-8").splitlines()][: given.n]
    model = pellucid.load(given.model)
    found = table(compare(model, texts), model, texts)
    print(found)
    if given.out:
        page = given.out.read_text("utf-8")
        head, rest = page.split("<!-- captum -->\n", 1)
        tail = rest.split("<!-- end -->", 1)[1]
        given.out.write_text(f"{head}<!-- captum -->\n{found}<!-- end -->{tail}", "utf-8")


if __name__ == "__main__":
    main()
