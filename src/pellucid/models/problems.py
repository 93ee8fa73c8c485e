"""From a batch of texts to a Problem, in one of three ways, each checked to be the model's own answer (`own_answer`).

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

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..engine import hooks
from ..errors import UnsupportedModel
from ..problem import Problem, Select, picked
from ..randomness import Draws, joined
from . import baselines, lookups
from .baselines import Spec
from .batch import Batch, batch_of, part_of_batch
from .modality import TEXT
from .net import CHANGES, Outputs
from .own_answer import (
    agrees,
    all_rows_agree,
    check_own_answer,
    distance_from_own,
    how_ids_are_used,
    how_rows_go,
    other_ids,
    tells_apart,
    within_vocabulary,
)
from .pipeline import Pipeline
from .structure import layer_stack
from .tasks.task import Resumed, Without
from .text.collating import replaced_ids
from .text.encoding import Encoding

Goals = Callable[[Outputs], tuple[Select, ...]]
"""The numbers that a target asks for, from the outputs at the input."""
THROUGH_ENCODER = (
    "This encoder–decoder model reads the text twice, and its answer is explained through the encoder: the decoder "
    "reads the text itself on both sides, so that the baseline's output is not the model's own on the baseline."
)


def problem_of(
    pipeline: Pipeline, batch: Batch, baseline: Spec, goals: Goals, removes: bool, detail: frozenset[str]
) -> Problem:
    """The Problem of a batch. removes: whether the method only replaces or deletes tokens, so that ids will do.

    Raises UnsupportedModel where none of the ways gives the model's own answers, UnknownBaseline.
    """
    kind = (
        tuple(tuple(s.inputs) for s in batch.sequences),
        bool(batch.own.all()),
        str(baseline.dtype) if isinstance(baseline, Tensor) else baselines.name_of(baseline),
    )
    part = _part(pipeline, batch, baseline) or batch
    if batch.ids is not None and "rows" not in pipeline.findings:
        pipeline.findings["rows"] = how_rows_go(pipeline, part)
        pipeline.findings["ids"] = how_ids_are_used(pipeline, part)
    on_ids = removes and not detail and batch.ids is not None and (batch.deletes or batch.ids0 is not None)
    if on_ids and (pipeline.task.resumed is None or pipeline.findings.get(kind) == "followed"):
        return _on_ids(pipeline, batch, goals)
    with torch.no_grad(), within_vocabulary(pipeline, batch):
        if "followed" not in (pipeline.findings.get(kind), pipeline.findings.get("all")):
            if part is not batch and kind not in pipeline.findings and tells_apart(part):
                short = _in_place(pipeline, part, baseline if part.ids0 is None else part.ids0, goals)
                if short is not None and agrees(pipeline, part, short):
                    pipeline.findings[kind] = "in place"
            found = _in_place(pipeline, batch, baseline, goals)
            checked = found is not None and (kind in pipeline.findings or agrees(pipeline, batch, found))
            if found is not None and checked and all_rows_agree(pipeline, batch, found):
                if tells_apart(batch):
                    pipeline.findings[kind] = "in place"
                return found
        if on_ids:
            pipeline.findings[kind] = "followed"
            return _on_ids(pipeline, batch, goals)
        if pipeline.task.modality is not TEXT:
            raise UnsupportedModel(
                f"The forward pass to be explained gives other numbers than {type(pipeline.model).__name__} itself on "
                "the same image; expected the same. The model's answers are random or change from call to call, or are "
                "too small to be told from rounding: look at what it returns twice for one image."
            )
        found = _followed(pipeline, batch, baseline, goals)
        check_own_answer(pipeline, batch, found)
        if batch.ids0 is None and batch.ids is not None:  # a token stands in for a baseline without ids
            other = torch.where(batch.kept, batch.ids, other_ids(pipeline, batch.ids)[0])
            stand_in = replace(batch, ids0=other)
            check_own_answer(pipeline, stand_in, _followed(pipeline, stand_in, baseline, goals))
        pipeline.findings[kind] = "followed"
        return found


_LONG = 512
"""Checks of a text with more tokens are made on a part of it, where its task can say which part stands for all."""


def _part(pipeline: Pipeline, batch: Batch, baseline: Spec) -> Batch | None:
    """The part of a long text that what is checked once for a model is checked on; None where all of it is needed: for
    a network of the user's own, one that changes itself, and for embeddings as the baseline.

    The checks are eleven passes. Once for a model, they were made on whichever text came first; on a long one they
    would cost more than its explanation.
    """
    if isinstance(baseline, Tensor) and batch.ids0 is None:
        return None
    (sequence, *more), part_of = batch.sequences, pipeline.task.part
    flat = all(value.shape == batch.own.shape for value in sequence.inputs.values())
    if part_of is None or more or not flat or sequence.roles is None or CHANGES in pipeline.findings:
        return None
    if batch.own.shape[1] <= _LONG or not pipeline.runner.is_known:
        return None
    return part_of_batch(batch, part_of(sequence.roles[:1]))


def distance(pipeline: Pipeline, encoding: Encoding, baseline: Spec) -> float:
    """How far f is from the model's own answers on an input's ids and on its baseline's, relative to the largest number
    in them. Raises as `problem_of`."""
    batch = batch_of(pipeline, [encoding], baseline, None)
    found = problem_of(pipeline, batch, baseline, lambda outputs: (), False, frozenset())
    return distance_from_own(pipeline, batch, found)


def _in_place(pipeline: Pipeline, batch: Batch, baseline: Spec, goals: Goals) -> Problem | None:
    """The output of the embedding module as the input; None where the module embeds something else than the ids."""
    try:
        x = pipeline.point(batch.sequences)
        compared = pipeline.task.modality.baseline
        x0 = x if batch.deletes else compared(pipeline, baseline, batch.sequences, batch.owns, x, batch.kept)
    except hooks.OtherIds:
        return None
    return Problem(
        pipeline.outputs,
        (x,),
        (x0,),
        goals,
        batch.sequences,
        batch.own,
        (batch.groups,),
        _without(pipeline, batch),
        resumed=_resumed(pipeline, batch, x),
        model=pipeline.model if pipeline.runner.is_known else None,
        layers=_layers(pipeline),
        found=pipeline.runner.found,
        draws=_draws(pipeline),
        notes=(THROUGH_ENCODER,) if pipeline.through_encoder else (),
    )


def _followed(pipeline: Pipeline, batch: Batch, baseline: Spec, goals: Goals) -> Problem:
    """What every look-up that depends on the input returns in the model's own pass as the input."""
    assert batch.ids is not None
    changes, blank, others = ~batch.kept, None, [batch.ids0]
    if batch.ids0 is None or torch.equal(batch.ids, batch.ids0):
        others = [torch.where(changes, other, batch.ids) for other in other_ids(pipeline, batch.ids)]
        blank = _blank(baseline) if batch.ids0 is None else lambda module, t: t
    on = lambda ids: replaced_ids(batch.sequences, ids)
    modules = lookups.embedding_modules(pipeline.model, pipeline.runner.named_embeddings)
    run = lambda sequences: pipeline.alone(*sequences)
    found = lookups.followed(
        run,
        modules,
        batch.sequences,
        [on(ids) for ids in others],
        changes,
        blank,
        len(pipeline.runner.named_embeddings),
    )

    def f(x: Tensor, *args: Outputs) -> Outputs:
        if len(x) > 1 and not found.together:
            rows = torch.arange(len(x), device=x.device).split(1)
            return joined([f(x[r], *picked(args, r, len(x))) for r in rows])
        *sequences, places = args
        with lookups.substituted(found, x, places):
            return pipeline.alone(*sequences)

    return Problem(
        f,
        (found.x,),
        (found.x0,),
        goals,
        (*batch.sequences, found.places),
        found.own,
        (batch.groups.gather(1, found.tokens).masked_fill(~found.own, -1),),
        draws=_draws(pipeline),
        layers=_layers(pipeline),
        token_of=found.tokens,
        own_tokens=batch.own,
    )


def _on_ids(pipeline: Pipeline, batch: Batch, goals: Goals) -> Problem:
    """The ids themselves as the input, for a method that never asks for a gradient."""
    ids = batch.ids
    assert ids is not None
    return Problem(
        lambda ids, *sequences: pipeline.alone(*replaced_ids(sequences, ids)),
        (ids,),
        (ids if batch.ids0 is None else batch.ids0,),
        goals,
        batch.sequences,
        batch.own,
        (batch.groups,),
        _without(pipeline, batch),
        elements=ids.shape[1] * pipeline.runner.width,
        draws=_draws(pipeline),
    )


def _layers(pipeline: Pipeline) -> tuple[nn.Module, ...]:
    """`Problem.layers`: those of the network, where it has a list of them."""
    with suppress(UnsupportedModel):
        return tuple(layer_stack(pipeline.model))
    return ()


def _resumed(pipeline: Pipeline, batch: Batch, x: Tensor) -> Resumed | None:
    """`Problem.resumed`, where the beginning of a text may be shared."""
    run = None if batch.deletes else pipeline.task.resumed
    return None if run is None else run(pipeline.runner, x, batch.sequences, batch.owns)


def _without(pipeline: Pipeline, batch: Batch) -> Without | None:
    """`Problem.without`, where tokens are to be deleted."""
    make = pipeline.task.without if batch.deletes else None
    return None if make is None else make(pipeline.runner, pipeline.reader, batch.special)


def _draws(pipeline: Pipeline) -> Draws:
    """`Problem.draws`, as it was found for this network."""
    return Draws(mixes=pipeline.findings.get("rows") == "mixed")


def _blank(baseline: Spec) -> Callable[[nn.Module, Tensor], Tensor]:
    """What a look-up is at a baseline without ids: `(module, its output) -> the same shape`."""
    if isinstance(baseline, Tensor):
        raise UnsupportedModel(
            f"Found embeddings {tuple(baseline.shape)} as the baseline of a model that looks its ids up several times, "
            "or changes them before; expected a token: 'mask', 'pad', or any of the vocabulary."
        )
    if baseline == "mean":
        return lambda module, t: baselines.mean_of(module, t.shape[-1]).expand_as(t)
    return lambda module, t: torch.zeros_like(t)
