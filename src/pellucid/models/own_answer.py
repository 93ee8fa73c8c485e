"""Checks that the function to be explained gives the same numbers as the unmodified model.

f at x is to be the model's answer on the input's ids, and f at x0 its answer on the baseline's ids, where the baseline
has ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from ..engine import borrowing, hooks
from ..errors import UnknownBaseline, UnsupportedModel
from ..numerics.deeplift.recording.recorder import READS
from ..numerics.torch_calls import Args, Kwargs, TorchFunction, Value, name_of
from ..problem import Problem, picked
from ..randomness import joined, kept, rewound
from .batch import Batch, row_of, telling_row
from .net import CHANGES, Outputs
from .pipeline import Pipeline
from .text.collating import Sequences, ids_of, replaced_ids

End = tuple[str, Tensor, Tensor | None]
"""A place at which f is compared with the model: its name, the points, and their ids."""
WITHIN = {torch.float64: 1e-8, torch.float32: 3e-4}
"""How far apart two answers are at most that differ by rounding alone, relative to the largest number in them; in
half precision WITHIN_HALF. Where an answer may differ from the model's own, it is so much less that a change in the
output is right to OF_CHANGE."""
WITHIN_HALF = 0.05
_CROWD, _ELEMENTS = 64, 1 << 19
"""Rows that a network of the user's own is asked for at once, to see whether their number matters; and how many
elements their embeddings have at most together."""
OF_CHANGE = 1e-4
"""How far f may be from the model's own answer, relative to how far the answers at two ends are apart; rounding of
ULPS times the precision is always allowed."""
ULPS = 8


def how_rows_go(pipeline: Pipeline, batch: Batch) -> str:
    """How the rows of a batch go through the model: "apart", or "mixed" where one row changes the answer to another, in
    a pair of rows or, for a network of the user's own, in a crowd of them.

    Raises UnsupportedModel where the same ids have two answers, and torch's generator has nothing to do with it.
    """
    row = telling_row(batch)
    ids = ids_of(row_of(batch, row))
    other = torch.where(batch.kept[row], ids, other_ids(pipeline, ids)[0])
    on = lambda ids: replaced_ids(row_of(batch, row, len(ids)), ids)
    run = lambda ids: kept(lambda: pipeline.alone(*on(ids)), pipeline.runner.device)
    with uncompiled(pipeline):
        (first, drew), (again, _) = run(ids), run(ids)
        (second, _), (pair, _) = run(other), run(torch.cat([ids, other]))
    if furthest_apart(again, first).beyond(pipeline):
        raise UnsupportedModel(
            f"{type(pipeline.model).__name__} gives two answers to the same ids: it draws at random from a generator "
            "of its own (NumPy's, say), or keeps something between calls, outside of its modules; expected one answer "
            "to one input. Make it draw from torch's generator, or the same numbers each time, and keep nothing."
        )
    if CHANGES in pipeline.findings:
        pipeline.findings[CHANGES] = _how_changes_matter(pipeline, on(ids), first)
    if drew:
        return "apart"
    if furthest_apart(joined([first, second]), pair).beyond(pipeline):
        return "mixed"
    if pipeline.runner.is_known:
        return "apart"
    more = max(0, min(_CROWD, _ELEMENTS // (ids.shape[1] * pipeline.runner.width)) - 2)
    with uncompiled(pipeline):
        crowd, _ = run(torch.cat([ids, other, *[ids] * more]))
    alone = joined([first, second, *[first] * more])
    return "mixed" if furthest_apart(alone, crowd).beyond(pipeline) else "apart"


CHANGED = (
    "The model changes itself in a forward pass, and then gives another answer to the same input. Each pass here began "
    "with what the model held before the call, and the model holds it still."
)
"""The note on an answer of a model that does."""


def _how_changes_matter(pipeline: Pipeline, sequences: Sequences, first: Outputs) -> str:
    """The finding CHANGES of a network that a pass changed: whether its answer after a pass is another than the
    first."""
    with borrowing.one_pass(pipeline.model), uncompiled(pipeline), rewound(pipeline.runner.device):
        pipeline.findings[CHANGES] = "kept"
        pipeline.alone(*sequences)
        with rewound(pipeline.runner.device):
            second = pipeline.alone(*sequences)
    return "put back, as it matters" if furthest_apart(second, first).beyond(pipeline) else "put back"


def agrees(pipeline: Pipeline, batch: Batch, found: Problem) -> bool:
    """Whether f gives the model's own answers: at the input, at the baseline, and at a text whose first half is the
    baseline's. Where the baseline has no ids, other ids of the vocabulary stand in for it."""
    row = telling_row(batch)
    ends = _ends(pipeline, batch, found, row)
    try:
        if batch.ids is not None and not pipeline.through_encoder:
            ids = batch.ids[row]
            if len(ends) < 2:
                other = torch.where(batch.kept[row], ids, other_ids(pipeline, ids)[0])
                ends.append(("other ids", pipeline.point(replaced_ids(row_of(batch, row), other)), other))
            (_, x, _), (_, x0, ids0) = ends
            assert ids0 is not None
            first = 2 * batch.own[row].cumsum(1) <= batch.own[row].sum()
            half = torch.where(first.unsqueeze(2), x0, x), torch.where(first, ids0, ids)
            ends.append(("a text between the two", *half))
        return not _apart(pipeline, batch, found, ends, row).beyond(pipeline)
    except hooks.OtherIds:
        return False


def all_rows_agree(pipeline: Pipeline, batch: Batch, found: Problem) -> bool:
    """Whether f gives the model's own answers at the ends of every row.

    A network that is none of transformers' may read the ids of one text in another way than those of the text before.
    It is asked again for each length of texts, and for every batch where it uses ids for more than a look-up.
    """
    if pipeline.runner.is_known:
        return True
    length = ("length", batch.own.shape[1])
    if pipeline.findings.get("ids") == "looked up" and length in pipeline.findings:
        return True
    agree = not _of_rows(pipeline, batch, found).beyond(pipeline)
    if agree and tells_apart(batch):
        pipeline.findings[length] = "checked"
    return agree


class _Uses(TorchFunctionMode):
    """Sees whether tensors of ids, or what shares their memory, go into anything but a look-up."""

    def __init__(self, ids: Sequence[Tensor]):
        super().__init__()
        self.memory, self.by_hand = {t.untyped_storage().data_ptr() for t in ids}, False

    def __torch_function__(
        self, func: TorchFunction, types: Value, args: Args = (), kwargs: Kwargs | None = None
    ) -> Value:
        if func not in READS and name_of(func) not in ("embedding", "size", "dim") and not self.by_hand:
            with torch._C.DisableTorchFunction():
                self.by_hand = any(map(self._is_ids, tree_leaves((args, kwargs or {}))))
        return func(*args, **(kwargs or {}))

    def _is_ids(self, a: object) -> bool:
        return isinstance(a, Tensor) and (
            is_functorch_wrapped_tensor(a) or a.untyped_storage().data_ptr() in self.memory
        )


def how_ids_are_used(pipeline: Pipeline, batch: Batch) -> str:
    """Whether the ids of a row are only "looked up", or used "by hand" too: compared, counted, turned."""
    if pipeline.runner.is_known:
        return "looked up"
    sequences = row_of(batch, telling_row(batch))
    with uncompiled(pipeline), rewound(pipeline.runner.device), _Uses([s.ids for s in sequences]) as uses:
        for sequence in sequences:
            pipeline.runner.called(sequence.inputs)
    return "by hand" if uses.by_hand else "looked up"


def _of_rows(pipeline: Pipeline, batch: Batch, found: Problem) -> _Apart:
    """Where f is furthest from the model's own answers at the ends: of one row for a model of transformers', and of
    every row for a network of the user's own."""
    of_all = batch.ids is not None and not pipeline.runner.is_known
    rows = torch.arange(len(batch.own), device=batch.own.device) if of_all else telling_row(batch)
    parts = rows.split(1) if found.draws.apart else (rows,)
    each = [_apart(pipeline, batch, found, _ends(pipeline, batch, found, part), part) for part in parts]
    return max(each, key=_Apart.times)


def check_own_answer(pipeline: Pipeline, batch: Batch, found: Problem) -> None:
    """Raises UnsupportedModel where f does not give the model's own answers at the ends."""
    apart = _of_rows(pipeline, batch, found)
    if not apart.beyond(pipeline):
        return
    raise UnsupportedModel(
        f"The forward pass to be explained gives {apart.mine:.6g} on {apart.where}, where "
        f"{type(pipeline.model).__name__} itself gives {apart.own:.6g} on the same ids; expected the same number. The "
        "model reads ids in another way than through its embedding modules (it compares them, looks them up by hand), "
        "or its answers are random. Use a method that runs the model on ids, such as method='occlusion' or 'shapley', "
        "with a token as the baseline; or name the modules that embed all it reads: pellucid.Model(..., "
        "embeddings=['path.to.module', …])."
    )


def distance_from_own(pipeline: Pipeline, batch: Batch, found: Problem) -> float:
    """How far f is from the model's own answers at the ends, relative to the largest number in them."""
    row = telling_row(batch)
    return _apart(pipeline, batch, found, _ends(pipeline, batch, found, row), row).relative


def tells_apart(batch: Batch) -> bool:
    """Whether a row differs from its baseline, so that an agreement on it says something."""
    return batch.ids is None or batch.ids0 is None or not torch.equal(batch.ids, batch.ids0)


def _ends(pipeline: Pipeline, batch: Batch, found: Problem, rows: Tensor) -> list[End]:
    """The points at which f is compared with the model: the rows' inputs, and their baselines where these have ids."""
    ends: list[End] = [("the input", found.x[0][rows], None if batch.ids is None else batch.ids[rows])]
    if batch.ids0 is not None and (found.token_of is not None or not pipeline.through_encoder):
        ends.append(("the baseline", found.x0[0][rows], batch.ids0[rows]))
    return ends


@dataclass(frozen=True)
class _Apart:
    """Where two answers are furthest apart: the two numbers there, and how far they are from each other, relative to
    the sizes (`_sizes`) of the second answer. where: the name of the place, if any. change: how far the model's own
    answers at two such places are apart, relative to the same sizes, where that is known."""

    mine: float = 0.0
    own: float = 0.0
    relative: float = 0.0
    where: str = ""
    change: float = torch.inf

    def beyond(self, pipeline: Pipeline) -> bool:
        """Whether that is more than rounding."""
        dtype = pipeline.runner.coarsest
        least = ULPS * torch.finfo(dtype).eps
        return self.relative > min(WITHIN.get(dtype, WITHIN_HALF), max(least, OF_CHANGE * self.change))

    def times(self) -> float:
        """How far apart, in terms of the change."""
        return self.relative / max(min(self.change, 1.0), ULPS * torch.finfo(torch.float64).eps)


def furthest_apart(mine: Outputs, own: Outputs) -> _Apart:
    """Where what a task reads from a model is furthest from what it reads from it elsewhere."""
    furthest = _Apart()
    for a, b in zip(_numbers(mine), _numbers(own), strict=True):
        finite = a.isfinite() & b.isfinite()
        off = torch.where(finite, (a - b).abs() / _sizes(b), torch.where(a == b, 0.0, torch.inf))
        off = off.masked_fill(b.isnan(), 0.0)  # where the model's own answer is NaN, nothing is to be compared
        worst = int(off.argmax())
        if float(off[worst]) > furthest.relative:
            furthest = _Apart(float(a[worst]), float(b[worst]), float(off[worst]))
    return furthest


_MASKED = 1e4
"""From this size on a number may stand for −∞, as that of a token which cannot be an answer."""


def _sizes(numbers: Tensor) -> Tensor:
    """For each number the size that its rounding goes by: the largest size of all, without those that may stand for −∞,
    or the number's own."""
    sizes = numbers.abs().nan_to_num(posinf=0.0)
    ordinary = sizes[sizes < _MASKED]
    largest = ordinary.max() if len(ordinary) else sizes.max()
    return sizes.maximum(largest if largest > 0 else torch.ones_like(largest))


def _apart(pipeline: Pipeline, batch: Batch, found: Problem, ends: Sequence[End], rows: Tensor) -> _Apart:
    """Where f is furthest from the model's own answers at these ends of these rows."""
    own = picked(batch.sequences, rows, len(batch.own))
    every, answers = [], []
    for name, points, ids in ends:
        with rewound(pipeline.runner.device), uncompiled(pipeline):
            theirs = pipeline.alone(*(own if ids is None else replaced_ids(own, ids)))
        with rewound(pipeline.runner.device), uncompiled(pipeline):
            mine = found.f(points, *found.args_of(rows))
        every.append(replace(furthest_apart(mine, theirs), where=name))
        answers.append(theirs)
    furthest = max(every, key=lambda apart: apart.relative)
    if len(answers) < 2:
        return furthest
    return replace(furthest, change=max(furthest_apart(answers[0], other).relative for other in answers[1:]))


def _numbers(outputs: Outputs) -> list[Tensor]:
    """What a task reads from a model, each tensor as one row of numbers."""
    if isinstance(outputs, Tensor):
        return [outputs.detach().flatten().double()]
    parts = outputs.values() if isinstance(outputs, Mapping) else outputs
    return [t for part in parts for t in _numbers(part)]


def uncompiled(pipeline: Pipeline) -> AbstractContextManager[object]:
    """Inside, layers run uncompiled, which for a check is faster than compiling them: compiled layers do so where
    gradients are enabled, and else gradients are off."""
    return torch.enable_grad() if pipeline.runner.layers else torch.no_grad()


@contextmanager
def within_vocabulary(pipeline: Pipeline, batch: Batch) -> Iterator[None]:
    """Raises UnknownBaseline where the baseline's ids are none of the model's."""
    try:
        yield
    except (IndexError, UnsupportedModel) as error:
        beyond = isinstance(error, IndexError) or isinstance(error.__cause__, IndexError)
        if batch.ids0 is None or not beyond:
            raise
        try:
            pipeline.alone(*row_of(batch, telling_row(batch)))
        except (IndexError, UnsupportedModel):  # the input's own ids, or what stands beside them, are beyond it too
            raise error from None
        own = batch.ids0[~batch.kept]
        raise UnknownBaseline(
            f"Found a baseline of token ids from {int(own.min())} to {int(own.max())}; expected ids that the model "
            "has an embedding for."
        ) from error


def other_ids(pipeline: Pipeline, ids: Tensor) -> list[Tensor]:
    """Ids that differ from these, twice, from both ends of the vocabulary: a model that clamps hides one of them."""
    special = sorted(i for i in pipeline.tokenizer.all_special_ids if i is not None) or [0]
    low, high = special[0], int(ids.max())
    return [torch.where(ids == end, end - 1 if end else 1, end) for end in (low, high)]
