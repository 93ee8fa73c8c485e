"""Whether padding beside a text changes the model's own answer to the text.

A batch holds texts of different length, and the shorter ones are padded. Most models of transformers' pass over padding
that the attention mask tells them of. Some do not: a convolution reads the positions beside it, a hash or a chunk is
filled with it, a head reads the last position. Their answer to a padded text is no answer to the text, so their batches
hold texts of one length only.

It is measured on the model: the shortest text of a batch, padded as it is there, and alone. A longer padding may change
what a shorter one did not, so the model is asked again when a padding is more than twice as long as the longest one
that was seen to change nothing: that is a few passes in the life of a model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..problem import mapped, picked
from ..randomness import rewound
from .net import Outputs
from .own_answer import furthest_apart, uncompiled
from .pipeline import Pipeline
from .text.encoding import Encoding

WITHIN = {torch.float64: 1e-8, torch.float32: 1e-4}
"""How far apart the answers to a padded and to an unpadded text are at most that differ by rounding alone, relative to
the largest number in them; in half precision WITHIN_HALF."""
WITHIN_HALF = 0.05


def must_not_pad(pipeline: Pipeline, encodings: Sequence[Encoding]) -> bool:
    """Whether padding changes the model's answers, and these inputs, as one batch, would be padded. The model is
    borrowed."""
    if len({e.widths for e in encodings}) == 1:
        return False
    most = [max(each) for each in zip(*(e.widths for e in encodings), strict=True)]
    row = min(range(len(encodings)), key=lambda i: sum(encodings[i].widths))
    added, seen = sum(most) - sum(encodings[row].widths), ("padding", encodings[row].kind)
    if pipeline.pads and added > 2 * int(pipeline.findings.get(seen, "0")):
        if _same_when_padded(pipeline, encodings, row):
            pipeline.findings[seen] = str(added)
        else:
            pipeline.findings["padding"] = "mixes"
    return not pipeline.pads


def by_length(encodings: Sequence[Encoding]) -> list[list[int]]:
    """The numbers of the inputs, those of one length together."""
    found: dict[tuple[int, ...], list[int]] = {}
    for i, e in enumerate(encodings):
        found.setdefault(e.widths, []).append(i)
    return list(found.values())


def _same_when_padded(pipeline: Pipeline, encodings: Sequence[Encoding], row: int) -> bool:
    """Whether the model's answer to one of these inputs is the same padded to the length of the longest, and alone."""
    (padded, owns), (bare, _) = pipeline.collate(encodings), pipeline.collate([encodings[row]])
    which = torch.tensor([row], device=owns[0].device)
    with uncompiled(pipeline):
        with rewound(pipeline.runner.device):
            there = _tensors(pipeline.alone(*picked(padded, which, len(encodings))))
        with rewound(pipeline.runner.device):
            alone = _tensors(pipeline.alone(*bare))
    there = [_like(t, a.shape, [own[row] for own in owns]) for t, a in zip(there, alone, strict=True)]
    if [t.shape for t in there] != [a.shape for a in alone]:
        return False
    return furthest_apart(there, alone).relative <= WITHIN.get(pipeline.runner.coarsest, WITHIN_HALF)


def _like(t: Tensor, shape: torch.Size, owns: Sequence[Tensor]) -> Tensor:
    """A tensor (1, …) without the positions of padding, in each dimension that is longer than in the shape."""
    for dim in range(1, min(t.ndim, len(shape))):
        fits = [o for o in owns if len(o) == t.shape[dim] and int(o.sum()) == shape[dim] < t.shape[dim]]
        t = t.index_select(dim, fits[0].nonzero()[:, 0].to(t.device)) if fits else t
    return t


def _tensors(outputs: Outputs) -> list[Tensor]:
    """All tensors of a nest, in order."""
    found: list[Tensor] = []
    mapped(lambda t: (found.append(t), t)[1], outputs)
    return found
