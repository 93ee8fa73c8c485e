"""Writes docs/models.md: what every family of models is measured to leave unexplained, with every attention and task.

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

from families import FAMILIES, attentions, classes  # noqa: E402
from pellucid.errors import PellucidError  # noqa: E402
from tabled import TASKS, Measured, classifying, head, measured  # noqa: E402

PAGE = ROOT / "docs" / "models.md"
DTYPES = torch.float32, torch.float64


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
            found = (classifying(family, attention, dtype) for dtype in DTYPES)
            yield Row(family, classes(family)[1].__name__, attention, *found)


class Cell(NamedTuple):
    """What was measured, in float32 and float64; or the error that says why nothing was."""

    measured: tuple[Measured, Measured] | None = None
    error: PellucidError | None = None


Cells = dict[tuple[str, str, str], Cell | None]
"""By family, attention and task; None where transformers has no such head."""


def cells() -> Cells:
    keys = [(family, attention, task) for family in FAMILIES for attention in attentions(family) for task in TASKS]
    return {key: cell(*key) for key in keys}


def cell(family: str, attention: str, task: str) -> Cell | None:
    if head(family, task) is None:
        return None
    try:
        float32, float64 = (measured(family, attention, dtype, task) for dtype in DTYPES)
    except PellucidError as error:
        return Cell(error=error)
    return Cell((float32, float64))


def written(family: str, task: str, found: Cell | None) -> str:
    """A cell as the table shows it: float32 / float64, and the marks that FOOT_OF_TASKS explains."""
    if found is None:
        return "–"
    if found.measured is None:
        return f"`{type(found.error).__name__}`"
    float32, float64 = found.measured
    return f"{float32.residual:.0e} / {float64.residual:.0e}{'†' if task in FAMILIES[family].mixes else ''}"


def of_tasks(found: Cells) -> str:
    """The second table, with its head and notes."""
    numbers = [each.measured for each in found.values() if each is not None and each.measured is not None]
    largest = (max(m.residual for m in each) for each in zip(*numbers, strict=True))
    batched = [
        max((m.batched for m in each if m.batched is not None), default=0.0) for each in zip(*numbers, strict=True)
    ]
    lines = [f"| family | attention | {' | '.join(TASKS)} |", "|---|---|" + "---|" * len(TASKS)]
    for family, attention in dict.fromkeys(key[:2] for key in found):
        shown = (written(family, task, found[family, attention, task]) for task in TASKS)
        lines.append(f"| {family} | {attention} | {' | '.join(shown)} |")
    errors = {(f, task): each.error for (f, _, task), each in found.items() if each is not None and each.error}
    reasons = [f"- {f}, {task}: `{type(error).__name__}`. *{error}*" for (f, task), error in errors.items()]
    top = HEAD_OF_TASKS.format(len(numbers), *largest, *batched)
    return top + "\n".join(lines) + "\n\n" + "\n".join(reasons) + "\n" + FOOT_OF_TASKS


def rendered(found: list[Row]) -> str:
    """The first table, with its head and notes."""
    largest = (max(getattr(row, dtype).residual for row in found) for dtype in ("float32", "float64"))
    head = HEAD.format(len({row.family for row in found}), transformers.__version__, torch.__version__, *largest)
    lines = [
        f"| {row.family} | `{row.model}` | {row.attention} | {row.float32.residual:.0e} | {row.float64.residual:.0e} "
        f"| {_apart(row.family, row.float32)} |"
        for row in found
    ]
    return head + "\n".join(lines) + "\n" + FOOT


def _apart(family: str, m: Measured) -> str:
    mark = "†" if FAMILIES[family].mixes else ""
    return "not batched" if m.batched is None else f"{m.batched:.0e}{mark}"


HEAD = """# Models

What exact DeepLIFT leaves unexplained, measured on {} families and variants of models, with transformers {}
and torch {} on a CPU. The residual is |f(x) − f(x0) − Σ scores|, relative to the change of the output |f(x) −
f(x0)|. Each number is the largest over two texts, explained alone and in one padded batch. The largest
residual of all is {:.0e} in float32 and {:.0e} in float64.

Each model is random and small: it has two layers, and its matrices are scaled up about twelvefold, so that
nothing stays in its linear range. A real checkpoint of the family runs the same operations. `python
scripts/families.py` makes this page from `tests/families.py` and `tests/tabled.py`, and
`tests/test_families.py` makes sure that every row of this table stays below 1e-4 (float32) and 1e-9
(float64).

The column *in a batch* says how far a score in a batch of two texts is at most from the same score of the text alone,
relative to the largest score. The batch is padded, except where a † says that padding would change the model's answers.

| family | model | attention | float32 | float64 | in a batch |
|---|---|---|---|---|---|
"""

FOOT = """
- Pegasus and ViT are explained through `pellucid.attribute`: Pegasus from the embeddings that its encoder reads, ViT
  from pixels.
- A family that has no text classifier (Apertus, Lfm2, Mamba, …) is measured on the continuation of a text.
- †: the model's answer to a text changes with the padding beside the text (in `tests/families.py` under `mixes`). That
  is found when the first padded batch is asked; from then on the model's batches hold texts of one length, so that each
  answer is the text's own, and the column compares scores in such a batch. A Nystromformer and a ConvBert convolve
  over padding, and an FNet transforms padding together with the text. A BigBird with block-sparse attention draws its
  random blocks by the length of the batch, and runs full attention where a text is shorter than its blocks.
- A mixture of experts (Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE, GPT-OSS, GraniteMoe, Ernie 4.5, DeepseekV2, GLM-4-MoE) is
  exact also where input and baseline take different experts, which costs all experts on all tokens. JetMoe, Phimoe,
  and a DeepseekV3 with several groups of experts raise `GraphMismatch` there. The model in its row has one expert; the
  tests have one that routes between several.
- DeepLIFT refuses YOSO and Reformer with an error that names the operation: their attention hashes in custom autograd
  functions.
- A classifier with a decoder is explained through its encoder, and a note says so. What the decoder reads of the same
  text is not part of the change.
- A baseline whose embedding is 0 (a padding row, `"zero"`) makes the factor 1/σ of an RMS norm 1/√ε. The rules of the
  norms split such a change so that scores stay as large as the output's change (docs/idea.md, *Between extremes*).
"""

HEAD_OF_TASKS = """
## Tasks

The same residual in every task that transformers has a head for, as *float32 / float64*. Each number is the largest
over two inputs, explained alone and in one padded batch, and over all targets of each input (start and end of an
answer, every token of a continuation). {} cells have numbers. The largest residual is {:.0e} in float32 and {:.0e} in
float64. A score in a padded batch differs from the same score of the input alone by at most {:.0e} and {:.0e} of the
largest score.

Each model is the first of twenty random ones whose outputs all change by at least 2 % of the largest number that is
added up (the output, or Σ|scores|). Of a smaller change, float32 would leave only the rounding of large numbers.
`tests/test_table.py` makes sure that every cell stays below 1e-4 and 1e-9, and that every error keeps its message.

"""

FOOT_OF_TASKS = """- –: transformers has no such head for the family.
- †: padding changes the model's answers, as above, so that texts go by length. A Funnel mixes padding where it
  answers for each token: it pools neighbouring tokens, and spreads them out again.
- Each cell measures transformers' own class with that head, and what that class takes: a decoder (`is_decoder=True`)
  for text generation with BERT and its kin, `ForQuestionAnsweringSimple` for XLNet, the encoder alone
  (`T5EncoderModel`) for sentence similarity with T5. BART compares sentences by the output of its decoder; it is
  explained by the embeddings that its encoder reads.
- A BigBird with sparse attention reads the tokens after a token too, so that it generates no text from left to right.
  Transformers turns that attention off at the first text that is shorter than its blocks, and leaves it off. In
  Pellucid each text is answered as by a model that has read no other, and the model is afterwards as it was.
- A Longformer answers questions and chooses among answers only with three separators, `<s> a </s></s> b </s>`, as its
  own tokenizer writes them. With other separators it refuses, and `UnsupportedModel` says so.
"""

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    PAGE.write_text(rendered(list(rows())) + of_tasks(cells()), "utf-8")
