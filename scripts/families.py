"""Writes docs/models.md: every family of models, what it is measured to leave unexplained, with every attention.

python scripts/families.py
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import transformers

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from families import FAMILIES, Measured, attentions, classes, measured  # noqa: E402

PAGE = ROOT / "docs" / "models.md"


class Row(NamedTuple):
    family: str
    model: str
    attention: str
    float32: Measured
    float64: Measured


def rows() -> Iterator[Row]:
    """One for each family and each attention that transformers offers it on a CPU."""
    for family in FAMILIES:
        for attention in attentions(family):
            found = (measured(family, attention, dtype) for dtype in (torch.float32, torch.float64))
            yield Row(family, classes(family)[1].__name__, attention, *found)


def rendered(found: list[Row]) -> str:
    """The page."""
    largest = (max(getattr(row, dtype).residual for row in found) for dtype in ("float32", "float64"))
    head = HEAD.format(len({row.family for row in found}), transformers.__version__, torch.__version__, *largest)
    lines = [
        f"| {row.family} | `{row.model}` | {row.attention} | {row.float32.residual:.0e} | {row.float64.residual:.0e} "
        f"| {_apart(row.float32)} |"
        for row in found
    ]
    return head + "\n".join(lines) + "\n" + FOOT


def _apart(m: Measured) -> str:
    return "not batched" if m.batched is None else f"{m.batched:.0e}"


HEAD = """# Models

What exact DeepLIFT leaves unexplained, measured: the residual |f(x) − f(x0) − Σ scores| relative to the change of the
output |f(x) − f(x0)|, the largest over two texts, alone and in one padded batch. {} families and variants, with
transformers {} and torch {} on a CPU. The largest residual is {:.0e} in float32 and {:.0e} in float64.

Each model is random and small, of two layers, with matrices scaled up about twelvefold so that nothing stays in its
linear range; a real checkpoint of the family runs the same operations. Made by `python scripts/families.py` from
`tests/families.py`; `tests/test_families.py` holds every row to 1e-4 and 1e-9.

*In a batch* is the largest difference of a score in a padded batch from the score alone, relative to the largest score.

| family | model | attention | float32 | float64 | in a batch |
|---|---|---|---|---|---|
"""

FOOT = """
- Pegasus and ViT are explained through `pellucid.attribute`: the embeddings that the encoder reads, and pixels.
- *Not batched*: the model's own answer to a text changes with the padding beside it. A Nystromformer convolves over
  padding; a BigBird with block-sparse attention draws its random blocks by the length of the batch, and runs full
  attention where a text is shorter than its blocks.
- A mixture of experts (Mixtral) is exact where the tokens of input and baseline take the same experts in the same
  order, and raises `GraphMismatch` otherwise. Its row has one expert; the routed model is in the tests.
- An encoder–decoder is explained through the embeddings that its encoder reads. What BART's decoder reads of the same
  text is not part of the change.
- A baseline whose embedding is 0 (a padding row, `"zero"`) puts an RMS norm where 1/σ is 1/√ε. The scores still add up,
  but they are large and cancel: the residual in float32 then is that of large numbers. Use a token with an embedding.
"""

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    PAGE.write_text(rendered(list(rows())), "utf-8")
