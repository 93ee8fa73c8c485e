"""The ways in which words are removed from a text, and the games that are played with them.

A ranking that is measured with one removal only is measured with that removal's own effects: a text with words masked,
or closed up, is another kind of text than the model was trained on. A row of OPERATORS is a removal.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..engine.coalitions import Game, games_of
from ..errors import InputError, UnsupportedModel, expected, nearest, quoted
from ..models import Model
from ..models.baselines import Spec
from ..models.padding import by_length
from ..models.tasks.continuation import with_fixed_answer
from ..models.text.collating import Padded
from ..models.text.encoding import Encoding
from ..models.text.tokenizer import pads_left
from ..problem import Outputs, Problem, Select, mapped
from ..types import Groups, Target

OUTPUTS = ("probability", "log-odds", "log-probability")
"""What f is: the target's probability p; log p − log(1 − p), which still moves where p is close to 0 or 1, bounded by
±36.0, where p in float64 reaches its last digit; log p, the usual number for a continuation."""
_LAST_DIGIT = 2.0**-52
_LEAST = 1e-300
Drawn = Callable[[Model, Sequence[Encoding]], Tensor]
"""`(model, a batch) -> token ids (rows, tokens)` that stand in the place of the batch's own."""
Sampler = Callable[[Sequence[Encoding]], Drawn]
"""`all texts that are measured -> Drawn`."""


@dataclass(frozen=True)
class Operator:
    """A way to remove words. baseline: what stands in their place, see `types.Baseline`; or a function that makes it
    for a batch, of all texts that are measured. summary: one line for people. change: what is made of the model's
    Problem against that baseline."""

    baseline: str | Sampler
    summary: str
    change: Callable[[Model, Problem], Problem] = lambda model, problem: problem


def _sampled(texts: Sequence[Encoding]) -> Drawn:
    """Tokens of the texts themselves, each as often as it is there, drawn for each place of a text. A text has the same
    draws whatever batch it is in."""
    every = np.array([t.id for e in texts for t in e.tokens if not t.special and t.id >= 0])  # a patch is no token
    if not len(every):
        raise InputError("Found inputs without tokens of a vocabulary; expected some for the operator 'sampled'.")

    def drawn(model: Model, batch: Sequence[Encoding]) -> Tensor:
        width = max(len(e) for e in batch)
        ids = np.full((len(batch), width), every[0])
        for row, e in enumerate(batch):
            own = np.random.default_rng(zlib.crc32(np.array(e.ids).tobytes())).choice(every, len(e))
            place = slice(width - len(e), None) if pads_left(model.tokenizer) else slice(len(e))
            ids[row, place] = own
        return torch.from_numpy(ids).to(model.device)

    return drawn


def _hidden(model: Model, problem: Problem) -> Problem:
    """Tokens are removed by the attention mask: every id stays at its position, and nothing attends to a removed
    one."""
    sequences = problem.args
    if not all(isinstance(s, Padded) and "attention_mask" in s.inputs for s in sequences):
        raise UnsupportedModel(
            "Found a model whose forward takes no attention_mask, or whose look-ups are followed one by one; expected "
            "neither for removal by 'attention mask'. Use 'mask', 'delete' or 'mean'."
        )
    run, own_input = problem.f, problem.x[0]
    seen = torch.cat([s.inputs["attention_mask"] for s in sequences], 1)

    def f(mask: Tensor, own: Tensor, *args: Padded) -> Outputs:
        parts = mask.split([s.ids.shape[1] for s in args], 1)
        hidden = [
            s._replace(inputs={**model.runner.positions(s.inputs["attention_mask"]), **s.inputs, "attention_mask": m})
            for s, m in zip(args, parts, strict=True)
        ]
        return run(own, *hidden)

    assert problem.groups is not None
    stays = problem.groups[0] < 0
    return replace(
        problem, f=f, x=(seen,), x0=(seen * stays.to(seen.dtype),), args=(own_input, *problem.args), resumed=None
    )


OPERATORS: dict[str, Operator] = {
    "mask": Operator("mask", "the mask token in the place of each token; for a decoder its filler"),
    "delete": Operator("delete", "the tokens are gone, and the text is closed up"),
    "mean": Operator("mean", "the mean of all token embeddings in the place of each token's"),
    "pad": Operator("pad", "the padding token in the place of each token"),
    "sampled": Operator(_sampled, "a token drawn from the texts in the place of each, once for a text"),
    "attention mask": Operator("pad", "the tokens stay, and no other token attends to them", _hidden),
}


def operators_of(model: Model, names: Sequence[str] | None) -> tuple[str, ...]:
    """The operators asked for; by default the mask token, and deletion, or the mean embedding where positions must not
    move. Raises InputError for an unknown one, one named twice, and fewer than two."""
    if names is None:
        return ("mask", "delete" if model.does.without is not None else "mean")
    names = [names] if isinstance(names, str) else names
    for name in names:
        if name not in OPERATORS:
            meant = nearest(str(name), OPERATORS)
            raise InputError(f"Found the operator {name!r}; {expected(meant)} one of {', '.join(OPERATORS)}.")
    if len(set(names)) != len(names) or len(names) < 2:
        raise InputError(
            f"Found the operators {', '.join(names) or 'none'}; expected at least two different ones, because a method "
            f"that uses an operator as its own baseline would win by construction: {', '.join(OPERATORS)}."
        )
    return tuple(names)


def as_ranked(encoding: Encoding, groups: Groups) -> Encoding:
    """An encoding whose groups are those that are ranked and removed: by name they are of what the model was given, so
    that the tokens of a continuation stay. Lists of tokens say themselves what they are."""
    return with_fixed_answer(encoding) if groups is None or isinstance(groups, str) else encoding


@dataclass(frozen=True)
class Play:
    """Games about the same texts. numbers: the texts, by number, row by row. games: by the name of the output."""

    numbers: tuple[int, ...]
    games: dict[str, Game]


def plays(
    model: Model, encodings: Sequence[Encoding], operator: str, target: Target, groups: Groups = "word"
) -> list[Play]:
    """The games of encoded texts, in batches. Players are words, or the groups asked for, `as_ranked`. The target is
    fixed at each text. The model is borrowed.

    Raises InputError where the target is several numbers of an input, UnknownBaseline, UnsupportedModel.
    """
    found: list[Play] = []
    encodings = [as_ranked(e, groups) for e in encodings]
    instead = _instead(OPERATORS[operator].baseline, encodings)
    for batch in model.batches(encodings):
        mine = [encodings[i] for i in batch]
        pieces = by_length(mine) if model.must_not_pad(mine) else [list(range(len(mine)))]
        for piece in pieces:
            some = [mine[i] for i in piece]
            games = _games(model, some, OPERATORS[operator], instead(model, some), target, groups)
            found.append(Play(tuple(batch[i] for i in piece), games))
    return found


def _instead(baseline: str | Sampler, texts: Sequence[Encoding]) -> Callable[[Model, Sequence[Encoding]], Spec]:
    """`(model, a batch) -> baseline` of an operator, for the texts that are measured."""
    if isinstance(baseline, str):
        return lambda model, batch: model.baseline(baseline)
    return baseline(texts)


def explained_target(model: Model, target: Target) -> Target:
    """What is measured where the user names no target: a continuation as a whole, for a task that has one."""
    return "total" if target is None and model.does.output == "log-probability" else target


def _games(
    model: Model, encodings: Sequence[Encoding], row: Operator, instead: Spec, target: Target, groups: Groups
) -> dict[str, Game]:
    aimed = [model.does.aimed(e, target) for e in encodings]
    is_sum = target == "total" or (isinstance(target, Mapping) and set(target) == {"span"})

    def goals(outputs: Outputs) -> tuple[Select, ...]:
        each = model.goals(aimed, target, "probability", outputs)
        if len(each) != 1:
            raise InputError(
                f"Found {len(each)} numbers to explain of each input of a {model.does.name} model; expected one. Give "
                "target=…, such as 'start' or 'end' for an answer, 'total' for a continuation."
            )
        if not is_sum and not all(t is None or isinstance(t.index, int) for t in each[0].targets):
            raise InputError(f"Found target={quoted(target)}, which has no probability; expected one label or token.")
        p = _in_double(each[0].select)
        return (
            p,
            lambda out, which: _log_odds(p(out, which)),
            lambda out, which: p(out, which).clamp(min=_LEAST).log(),
        )

    problem = model.problem_of(aimed, instead, goals, groups, removes=True)
    return dict(zip(OUTPUTS, games_of(row.change(model, problem)), strict=True))


def _in_double(select: Select) -> Select:
    """The same number from outputs in float64, so that probabilities close to 1 keep their digits."""
    wide = lambda t: t.double() if t.is_floating_point() else t
    return lambda out, which: select(mapped(wide, out), which)


def _log_odds(p: Tensor) -> Tensor:
    return p.clamp(min=_LAST_DIGIT).log() - (1 - p).clamp(min=_LAST_DIGIT).log()
