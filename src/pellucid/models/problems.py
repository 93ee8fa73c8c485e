"""From a batch of texts to a Problem, in one of three ways, and the check that it is the model's own answer.

What is explained is the forward pass that the model makes of its own ids: f at x is to be the model's answer on the
input's ids, and f at x0 its answer on the baseline's, where the baseline has ids. The ways:

- In place of the embedding module (`_in_place`): the embeddings are looked up here, and put into the model's own pass.
  It is right where the model looks each id up once, as it is. Nearly every model does.
- Followed (`_followed`): what all look-ups return is taken from the model's own passes, call by call.
- On ids (`_on_ids`): a method that only replaces or deletes tokens needs no embeddings. The model runs on ids.

Whether the first way is right is measured on the model, once for each kind of input and baseline: one pass. One kind of
model is known not to pass, and its answers say so: a classifier with an encoder and a decoder, which reads its text
twice, is explained through the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..engine import hooks
from ..errors import UnknownBaseline, UnsupportedModel
from ..problem import Problem, picked
from ..randomness import Draws, joined, kept, rewound
from . import baselines, lookups
from .text.encoding import Encoding
from .text.groups import grouped

if TYPE_CHECKING:
    from .modality import Sequences
    from .model import Model

Goals = Callable[[Any], Any]
End = tuple[str, Tensor, Tensor | None]
"""A place of the first row at which f is compared with the model: its name, the point, and its ids."""
WITHIN = {torch.float64: 1e-8, torch.float32: 3e-4}
"""How far apart two answers are at most that differ by rounding alone, relative to the largest number in them; in
half precision WITHIN_HALF."""
WITHIN_HALF = 0.05
THROUGH_ENCODER = (
    "This encoder–decoder model reads the text twice, and its answer is explained through the encoder: the decoder "
    "reads the text itself on both sides, so that the baseline's output is not the model's own on the baseline."
)


@dataclass(frozen=True)
class Batch:
    """A batch of texts or images on its way to a Problem.

    sequences: the model's inputs. owns: for each sequence which positions are a row's own; own: those of all sequences.
    special: (rows, tokens) special tokens. kept: what no baseline changes, these and padding. groups: (rows, tokens)
    the group of each token, −1 for none. ids: (rows, tokens), None for images. ids0: those of the baseline, None where
    it has none. deletes: whether tokens are to be deleted instead.
    """

    sequences: Sequences
    owns: tuple[Tensor, ...]
    own: Tensor
    special: Tensor
    kept: Tensor
    groups: Tensor
    ids: Tensor | None
    ids0: Tensor | None
    deletes: bool


def batch_of(model: Model, encodings: Sequence[Encoding], baseline: Any, groups: Any) -> Batch:
    """Raises UnknownBaseline, InputError."""
    sequences, owns = model.collate(encodings)
    own = torch.cat(owns, 1)
    special, members = torch.zeros_like(own), torch.full(own.shape, -1, device=own.device)
    special[own] = torch.tensor([t.special for e in encodings for t in e.tokens], device=own.device)
    members[own] = torch.tensor([g for e in encodings for g in grouped(groups, e)], device=own.device)
    kept, deletes = special | ~own, baselines.deletes(baseline, model.row)
    ids = lookups.ids_of(sequences) if "input_ids" in sequences[0] else None
    ids0 = None
    if ids is not None and not deletes:
        ids0 = baselines.ids_of(baseline, ids, kept, model.tokenizer)
    return Batch(sequences, owns, own, special, kept, members, ids, ids0, deletes)


def problem_of(
    model: Model, batch: Batch, baseline: Any, goals: Goals, removes: bool, detail: frozenset[str]
) -> Problem:
    """The Problem of a batch. removes: whether the method only replaces or deletes tokens, so that ids will do.

    Raises UnsupportedModel where none of the ways gives the model's own answers, UnknownBaseline.
    """
    kind = (
        tuple(map(tuple, batch.sequences)),
        str(baseline.dtype) if isinstance(baseline, Tensor) else baselines.name_of(baseline),
    )
    if batch.ids is not None and "rows" not in model.ways:
        model.ways["rows"] = _rows_found(model, batch)
    on_ids = removes and not detail and batch.ids is not None and (batch.deletes or batch.ids0 is not None)
    if on_ids and (model.row.resumed is None or model.ways.get(kind) == "followed"):
        return _on_ids(model, batch, goals)
    with torch.no_grad(), _within_vocabulary(model, batch):
        if "followed" not in (model.ways.get(kind), model.ways.get("all")):
            found = _in_place(model, batch, baseline, goals)
            if found is not None and (kind in model.ways or _agrees(model, batch, found)):
                if _tells(batch):
                    model.ways[kind] = "in place"
                return found
        if on_ids:
            model.ways[kind] = "followed"
            return _on_ids(model, batch, goals)
        found = _followed(model, batch, baseline, goals)
        _check_own(model, batch, found)
        model.ways[kind] = "followed"
        return found


def _in_place(model: Model, batch: Batch, baseline: Any, goals: Goals) -> Problem | None:
    """The output of the embedding module as the input; None where the module embeds something else than the ids."""
    try:
        x = torch.cat([model.embedded(s, k) for k, s in enumerate(batch.sequences)], 1)
        against = lambda: model.row.reads.baseline(model, baseline, batch.sequences, batch.owns, x, batch.kept)
        x0 = x if batch.deletes else against()
    except hooks.OtherIds:
        return None
    return Problem(
        model.outputs,
        (x,),
        (x0,),
        goals,
        batch.sequences,
        batch.own,
        (batch.groups,),
        _without(model, batch),
        resumed=_resumed(model, batch, x),
        model=model.model if model.is_known else None,
        found=model.found,
        draws=_draws(model),
        notes=(THROUGH_ENCODER,) if model.through_encoder else (),
    )


def _followed(model: Model, batch: Batch, baseline: Any, goals: Goals) -> Problem:
    """What every look-up that depends on the input returns in the model's own pass as the input."""
    assert batch.ids is not None
    changes, blank, others = ~batch.kept, None, [batch.ids0]
    if batch.ids0 is None or torch.equal(batch.ids, batch.ids0):
        others = [torch.where(changes, other, batch.ids) for other in _other_ids(model, batch.ids)]
        blank = _blank(baseline) if batch.ids0 is None else lambda module, t: t
    on = lambda ids: lookups.replaced_ids(batch.sequences, ids)
    modules = lookups.embedding_modules(model.model, model.named_embeddings)
    run = lambda sequences: model.alone(*sequences)
    found = lookups.followed(
        run, modules, batch.sequences, [on(ids) for ids in others], changes, blank, len(model.named_embeddings)
    )

    def f(x: Tensor, *args: Any) -> Any:
        if len(x) > 1 and not found.together:
            rows = torch.arange(len(x), device=x.device).split(1)
            return joined([f(x[r], *picked(args, r, len(x))) for r in rows])
        *sequences, places = args
        with lookups.substituted(found, x, places):
            return model.alone(*sequences)

    return Problem(
        f,
        (found.x,),
        (found.x0,),
        goals,
        (*batch.sequences, found.places),
        found.own,
        (batch.groups.gather(1, found.tokens).masked_fill(~found.own, -1),),
        draws=_draws(model),
        token_of=found.tokens,
        own_tokens=batch.own,
    )


def _on_ids(model: Model, batch: Batch, goals: Goals) -> Problem:
    """The ids themselves as the input, for a method that never asks for a gradient."""
    ids = batch.ids
    assert ids is not None
    return Problem(
        lambda ids, *sequences: model.alone(*lookups.replaced_ids(sequences, ids)),
        (ids,),
        (ids if batch.ids0 is None else batch.ids0,),
        goals,
        batch.sequences,
        batch.own,
        (batch.groups,),
        _without(model, batch),
        elements=ids.shape[1] * model.width,
        draws=_draws(model),
    )


def _resumed(model: Model, batch: Batch, x: Tensor) -> Callable[..., Any] | None:
    """`Problem.resumed`, where the beginning of a text may be shared."""
    run = None if batch.deletes else model.row.resumed
    return None if run is None else run(model, x, batch.sequences, batch.owns)


def _without(model: Model, batch: Batch) -> Callable[..., Any] | None:
    """`Problem.without`, where tokens are to be deleted."""
    return model.row.without(model, batch.special) if batch.deletes and model.row.without is not None else None


# -------------------------------------------------------------------------------------------- the model's own answer


def _draws(model: Model) -> Draws:
    return Draws(mixes=model.ways.get("rows") == "mixed")


def _rows_found(model: Model, batch: Batch) -> str:
    """Whether the rows of a batch are "apart", or "mixed" where one changes the answer to another.

    Raises UnsupportedModel where the same ids have two answers, and torch's generator has nothing to do with it.
    """
    ids = lookups.ids_of(_first_row(batch))
    other = torch.where(batch.kept[:1], ids, _other_ids(model, ids)[0])
    on = lambda ids: lookups.replaced_ids(_first_row(batch, len(ids)), ids)
    with _uncompiled(model):
        (first, drew), (again, _), (second, _), (pair, _) = (
            kept(lambda s=s: model.alone(*s), model.device) for s in map(on, (ids, ids, other, torch.cat([ids, other])))
        )
    if _furthest(again, first).beyond(model):
        raise UnsupportedModel(
            f"{type(model.model).__name__} gives two answers to the same ids: it draws at random from a generator of "
            "its own (NumPy's, say), or changes with every call; expected one answer to one input. Make it draw from "
            "torch's generator, or the same numbers each time, and keep nothing between calls."
        )
    return "apart" if drew or not _furthest(joined([first, second]), pair).beyond(model) else "mixed"


def _uncompiled(model: Model) -> AbstractContextManager[object]:
    """No gradient is taken inside, and layers are not compiled: for a check it is not worth it."""
    return torch.enable_grad() if model.compile else torch.no_grad()


def _agrees(model: Model, batch: Batch, found: Problem) -> bool:
    """Whether f gives the model's own answers: at the input, at the baseline, and at a text whose first half is the
    baseline's. Where the baseline has no ids, other ids of the vocabulary stand in for it."""
    ends = _ends(model, batch, found)
    try:
        if batch.ids is not None and not model.through_encoder:
            ids = batch.ids[:1]
            if len(ends) < 2:
                other = torch.where(batch.kept[:1], ids, _other_ids(model, ids)[0])
                parts = enumerate(lookups.replaced_ids(_first_row(batch), other))
                ends.append(("other ids", torch.cat([model.embedded(s, k) for k, s in parts], 1), other))
            (_, x, _), (_, x0, ids0) = ends
            assert ids0 is not None
            first = 2 * batch.own[:1].cumsum(1) <= batch.own[:1].sum()
            half = torch.where(first.unsqueeze(2), x0, x), torch.where(first, ids0, ids)
            ends.append(("a text between the two", *half))
        return not _apart(model, batch, found, ends).beyond(model)
    except hooks.OtherIds:
        return False


def distance(model: Model, encoding: Encoding, baseline: Any) -> float:
    """How far f is from the model's own answers on an input's ids and on its baseline's, relative to the largest number
    in them. Raises as `problem_of`."""
    batch = batch_of(model, [encoding], baseline, None)
    found = problem_of(model, batch, baseline, lambda outputs: (), False, frozenset())
    return _apart(model, batch, found, _ends(model, batch, found)).relative


def _tells(batch: Batch) -> bool:
    """Whether the first row differs from its baseline, so that an agreement on it says something."""
    return batch.ids is None or batch.ids0 is None or not torch.equal(batch.ids[:1], batch.ids0[:1])


def _check_own(model: Model, batch: Batch, found: Problem) -> None:
    """Raises UnsupportedModel where f does not give the model's own answers at the ends."""
    apart = _apart(model, batch, found, _ends(model, batch, found))
    if not apart.beyond(model):
        return
    raise UnsupportedModel(
        f"The forward pass to be explained gives {apart.mine:.6g} on {apart.where}, where "
        f"{type(model.model).__name__} itself gives {apart.own:.6g} on the same ids; expected the same number. The "
        "model reads ids in another way than through its embedding modules (it compares them, looks them up by hand), "
        "or its answers are random. Use a method that runs the model on ids, such as method='occlusion' or 'shapley', "
        "with a token as the baseline; or name the modules that embed all it reads: pellucid.Model(..., "
        "embeddings=['path.to.module', …])."
    )


def _first_row(batch: Batch, n: int = 1) -> Sequences:
    """The sequences of the first row, n times."""
    return picked(batch.sequences, torch.zeros(n, dtype=torch.long, device=batch.own.device), len(batch.own))


def _ends(model: Model, batch: Batch, found: Problem) -> list[End]:
    """The first row at the input, and at the baseline where that has ids."""
    ends: list[End] = [("the input", found.x[0][:1], None if batch.ids is None else batch.ids[:1])]
    if batch.ids0 is not None and (found.token_of is not None or not model.through_encoder):
        ends.append(("the baseline", found.x0[0][:1], batch.ids0[:1]))
    return ends


@dataclass(frozen=True)
class _Apart:
    """Where two answers are furthest apart: the two numbers there, and how far they are from each other, relative to
    the largest number of the second answer. where: the name of the place, if any."""

    mine: float = 0.0
    own: float = 0.0
    relative: float = 0.0
    where: str = ""

    def beyond(self, model: Model) -> bool:
        """Whether that is more than rounding."""
        return self.relative > WITHIN.get(model.coarsest, WITHIN_HALF)


def _furthest(mine: Any, own: Any) -> _Apart:
    """Where what a task reads from a model is furthest from what it reads from it elsewhere."""
    furthest = _Apart()
    for a, b in zip(_numbers(mine), _numbers(own), strict=True):
        off, worst = (a - b).abs(), int((a - b).abs().argmax())
        relative = float(off[worst]) / (float(b.abs().max()) or 1.0)
        if relative > furthest.relative:  # not where the model's own answer is NaN
            furthest = _Apart(float(a[worst]), float(b[worst]), relative)
    return furthest


def _apart(model: Model, batch: Batch, found: Problem, ends: Sequence[End]) -> _Apart:
    """Where f is furthest from the model's own answers at these ends of the first row."""
    row, own = torch.zeros(1, dtype=torch.long, device=batch.own.device), _first_row(batch)
    every = []
    for name, point, ids in ends:
        with rewound(model.device), _uncompiled(model):
            theirs = model.alone(*(own if ids is None else lookups.replaced_ids(own, ids)))
        with rewound(model.device), _uncompiled(model):
            mine = found.f(point, *found.args_of(row))
        every.append(replace(_furthest(mine, theirs), where=name))
    return max(every, key=lambda apart: apart.relative)


def _numbers(outputs: Any) -> list[Tensor]:
    """What a task reads from a model, each tensor as one row of numbers."""
    if isinstance(outputs, Tensor):
        return [outputs.detach().flatten().double()]
    parts = outputs.values() if isinstance(outputs, Mapping) else outputs
    return [t for part in parts for t in _numbers(part)]


# ------------------------------------------------------------------------------------------------------------ details


@contextmanager
def _within_vocabulary(model: Model, batch: Batch) -> Iterator[None]:
    """Raises UnknownBaseline where the baseline's ids are none of the model's."""
    try:
        yield
    except (IndexError, UnsupportedModel) as error:
        beyond = isinstance(error, IndexError) or isinstance(error.__cause__, IndexError)
        if batch.ids0 is None or not beyond:
            raise
        try:
            model.alone(*_first_row(batch))
        except (IndexError, UnsupportedModel):  # the input's own ids, or what stands beside them, are beyond it too
            raise error from None
        own = batch.ids0[~batch.kept]
        raise UnknownBaseline(
            f"Found a baseline of token ids from {int(own.min())} to {int(own.max())}; expected ids that the model "
            "has an embedding for."
        ) from error


def _blank(baseline: Any) -> Callable[[nn.Module, Tensor], Tensor]:
    """What a look-up is at a baseline without ids: `(module, its output) -> the same shape`."""
    if isinstance(baseline, Tensor):
        raise UnsupportedModel(
            f"Found embeddings {tuple(baseline.shape)} as the baseline of a model that looks its ids up several times, "
            "or changes them before; expected a token: 'mask', 'pad', or any of the vocabulary."
        )
    if baseline == "mean":
        return lambda module, t: baselines.mean_of(module, t.shape[-1]).expand_as(t)
    return lambda module, t: torch.zeros_like(t)


def _other_ids(model: Model, ids: Tensor) -> list[Tensor]:
    """Ids that differ from these, twice, from both ends of the vocabulary: a model that clamps hides one of them."""
    special = sorted(i for i in model.tokenizer.all_special_ids if i is not None) or [0]
    low, high = special[0], int(ids.max())
    return [torch.where(ids == end, end - 1 if end else 1, end) for end in (low, high)]
