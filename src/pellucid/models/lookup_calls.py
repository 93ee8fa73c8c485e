"""The calls of a model's embedding modules in one run: what each returns, by the rows of the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor

from ..engine import hooks
from ..errors import UnsupportedModel
from ..problem import picked
from ..randomness import rewound
from .net import Outputs
from .text.collating import Sequences, ids_of, replaced_ids

Run = Callable[[Sequences], Outputs]
"""The model on its own ids: `sequences -> outputs`."""
Calls = list[tuple[int, Tensor | None]]
"""For each call of a watched module: the number of the module, and its output (rows, places, hidden); None where the
output has other rows than the batch."""


@dataclass(frozen=True)
class CallLayout:
    """How the calls of a model's embedding modules lay out the rows of a batch.

    Called with the sequences of a batch and its number of rows, it runs the model and returns its Calls. until: the run
    ends after the call of this number.

    turned: for each call, whether its output has tokens first and rows second. together: whether several rows go
    through the look-ups next to each other; not where a model packs its texts, the first tokens of all of them first.
    """

    run: Run
    modules: tuple[nn.Module, ...]
    turned: tuple[bool, ...]
    together: bool = True

    def __call__(self, sequences: Sequences, rows: int, until: int | None = None) -> Calls:
        if rows == 1 or self.together:
            found = _returned(self.run, self.modules, sequences, until)
            if len(found) > len(self.turned):
                raise other_calls(self.modules[0])
            return [(i, by_row(output, rows, t)) for (i, output), t in zip(found, self.turned, strict=False)]
        row = torch.arange(rows, device=sequences[0].ids.device)
        each = [self(picked(sequences, r, rows), 1, until) for r in row.split(1)]
        if any(shapes(one) != shapes(each[0]) for one in each):
            raise other_calls(self.modules[0])
        return [
            (i, None if t is None else torch.cat([call_output(one[j]) for one in each]))
            for j, (i, t) in enumerate(each[0])
        ]


def call_layout(
    run: Run, modules: tuple[nn.Module, ...], sequences: Sequences, other: Sequences, rows: int
) -> CallLayout:
    """The layout of a model's calls, found by running it on one row alone, on another, and on both together."""
    first = torch.zeros(1, dtype=torch.long, device=sequences[0].ids.device)
    one, two = picked(sequences, first, rows), picked(other, first, rows)
    both = replaced_ids(picked(sequences, first.expand(2), rows), torch.cat([ids_of(one), ids_of(two)]))
    alone = _returned(run, modules, one)
    turned = tuple(isinstance(t, Tensor) and t.ndim == 3 and len(t) > 1 == t.shape[1] for _, t in alone)
    read = CallLayout(run, modules, turned)
    found = read(both, 2), [(i, by_row(t, 1, way)) for (i, t), way in zip(alone, turned, strict=True)], read(two, 1)
    near = lambda a, b: a.shape == b.shape and bool(((a - b).abs() <= 1e-4 * b.abs().max()).all())
    same = lambda ab, a, b: ab is None or a is None or b is None or near(ab, torch.cat([a, b]))
    alike = shapes(found[1]) == shapes(found[2]) and len(found[0]) == len(found[1])
    together = alike and all(same(ab, a, b) for (_, ab), (_, a), (_, b) in zip(*found, strict=True))
    return CallLayout(run, modules, turned, together)


def shapes(outputs: Calls) -> list[tuple[int, torch.Size | None]]:
    """For each call the number of the module, and the shape of its output."""
    return [(i, None if t is None else t.shape) for i, t in outputs]


def _returned(
    run: Run, modules: Sequence[nn.Module], sequences: Sequences, until: int | None = None
) -> list[tuple[int, Outputs]]:
    """For each call of a watched module in a run: the number of the module, and its output (the first of a tuple)."""
    with torch.no_grad(), rewound(sequences[0].ids.device):
        found = hooks.outputs_of(modules, lambda: run(sequences), until)
    calls = [(i, output[0] if isinstance(output, tuple) else output) for i, output in found]
    for i, output in calls:
        if isinstance(output, Tensor) and is_functorch_wrapped_tensor(output):
            raise UnsupportedModel(
                f"The model calls {type(modules[i]).__name__} inside a transform such as torch.vmap, where what it "
                "returns cannot be read; expected embeddings outside of it. Use a method that runs the model on ids, "
                "such as method='occlusion' or 'shapley'."
            )
    return calls


def by_row(output: Outputs, rows: int, turned: bool) -> Tensor | None:
    """A module's output as (rows, places, hidden): it may have tokens first (`turned`), or several sequences to a
    row."""
    if not isinstance(output, Tensor) or output.ndim < 2 or not output.is_floating_point():
        return None
    output = output.transpose(0, 1) if turned else output
    return None if len(output) % rows else output.reshape(rows, -1, output.shape[-1])


def call_output(call: tuple[int, Tensor | None]) -> Tensor:
    """The output of a call that has the rows of the batch."""
    assert call[1] is not None
    return call[1]


def other_calls(module: nn.Module) -> UnsupportedModel:
    """The error for a model that makes other calls for other ids."""
    return UnsupportedModel(
        f"The model calls {type(module).__name__} and its other embeddings in another way for other ids; expected the "
        "same calls for the input and for the baseline. Use a method that runs the model on ids, such as "
        "method='occlusion' or 'shapley', with a token as the baseline."
    )
