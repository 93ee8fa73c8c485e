"""Texts with tokens deleted: the model runs on what is left of each text, closed up."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...errors import UnknownBaseline
from ..net import Net
from ..text.collating import Inputs, Padded, Sequences
from ..text.reader import Reader
from .task import RunOne, Without


def closing_up(run: RunOne[Tensor]) -> Callable[[Net, Reader, Tensor], Without]:
    """`Task.without` of a task whose rows are one text each, and whose `run` is given."""

    def without(net: Net, reader: Reader, special: Tensor) -> Without:
        if not special.any(1).all():
            raise UnknownBaseline(
                "Found baseline='delete' for a tokenizer that adds no special tokens, so that nothing would be left of "
                "the text; expected at least one token that stays. Use 'mask', 'pad', 'zero' or 'mean'."
            )
        return shortener(lambda inputs: run(net, None, Padded(dict(inputs))))

    return without


def shortener(run: Callable[[Inputs], Tensor]) -> Without:
    """The answers of a model to texts of which some tokens are deleted.

    run: inputs → outputs (rows, …), the model on its own ids. Inputs that begin with the shape of the ids move
    together. Texts of one length go through together, so there is no padding: the answers are those of the shorter
    texts alone, whichever side the tokenizer pads and however the model counts positions.
    """

    def without(sequences: Sequences, keep: Tensor) -> Tensor:
        (sequence,) = sequences
        count = keep.sum(1)
        parts, places = [], []
        for width in count.unique().tolist():
            rows = (count == width).nonzero().squeeze(1)
            part = {
                name: value[rows][keep[rows]].view(len(rows), width, *value.shape[2:])
                if value.shape[:2] == keep.shape
                else value[rows]
                for name, value in sequence.inputs.items()
            }
            parts.append(run(part))
            places.append(rows)
        return torch.cat(parts)[torch.cat(places).argsort()]

    return without
