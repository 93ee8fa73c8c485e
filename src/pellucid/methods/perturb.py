"""Methods that evaluate the model with some groups of tokens replaced or deleted, such as Shapley values; no gradients.

A group is one token unless `groups` says otherwise. The groups of a row are the players of a cooperative game
(`engine/coalitions.py`). Sampled scores carry their standard error, and each row stops by itself. Draws depend on the
seed and on how many groups a row has, never on the other rows of a batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import islice

import numpy as np
import torch

from ..attribution import Attribution, Attributions
from ..engine.coalitions import Game, attribution, games_of, values
from ..errors import InputError
from ..numerics import shapley as formulas
from ..numerics import surrogates
from ..numerics.shapley import Orders, Values
from ..problem import Problem
from ..status import Status

_EXACT = 12
"""Up to so many groups all 2ⁿ coalitions are asked for."""
_FIRST = 8
"""Pairs of orders before the first look at the error: a spread estimated from fewer is itself too uncertain."""


def per_target(play: Callable[..., Attribution]) -> Callable[..., Attributions]:
    """Makes a method for one game into a method for a Problem: it plays one game for each target, sharing every
    evaluation."""

    @wraps(play)
    def method(problem: Problem, *args: object, **options: object) -> Attributions:
        return tuple(play(game, *args, **options) for game in games_of(problem))

    return method


@per_target
def occlusion(game: Game, width: int = 1) -> Attribution:
    """f(x) − f(x without the group): leave one out (Zeiler & Fergus 2014, 1311.2901; Li et al. 2016, 1612.08220).

    width: how many neighbouring groups are removed together, at every place. A group's score is then the mean over the
        places where it is removed.

    Sequential integrated gradients (Enguehard 2023, 2305.15853), which replace one word at a time along a path of its
    own, equal leave-one-out in the output that is explained: summed over a word, their integral is f(x) − f(x without
    the word), by completeness, and that costs one pass here.
    """
    fewest = min(game.players)
    if not isinstance(width, int) or not 1 <= width <= max(fewest, 1):
        raise InputError(
            f"occlusion got width={width!r} for an input of {fewest} groups; expected from 1 to {fewest}. Use a "
            "smaller width, or finer groups."
        )
    removed = {row: _neighbours(n, width) for row, n in enumerate(game.players)}
    found = values(game, {row: ~r for row, r in removed.items()})
    whole = game.output.tolist()
    scores = [(whole[row] - found[row]) @ r / r.sum(0) for row, r in removed.items()]
    return attribution(game, scores, [Status.CLOSED_FORM] * len(scores))


def feature_ablation(problem: Problem) -> Attributions:
    """f(x) − f(x without the group), each group once: `occlusion` with a width of one, under the name Captum uses."""
    return occlusion(problem)


@per_target
def shapley(
    game: Game, tol: float = 0.05, max_passes: int = 4096, n_samples: int | None = None, seed: int = 0
) -> Attribution:
    """Shapley values: the mean over all orders of the groups of what each adds on entering (Shapley 1953).

    Exact up to 12 groups, as far as max_passes allows. Beyond that over random orders, each with its reverse (Castro et
    al. 2009; Mitchell et al. 2022, 2104.12199), until the norm of the standard errors is below `tol` times that of the
    scores, or max_passes are used up. n_samples: so many orders instead, whatever the error. Either way the scores add
    up, and `error` holds each one's standard error.
    """
    _check("shapley", tol, max_passes, n_samples)
    exact = {
        row: formulas.every_coalition(n)
        for row, n in enumerate(game.players)
        if n <= _EXACT and 2**n <= _exact_budget(n, max_passes, n_samples)
    }
    found = values(game, exact)
    scores = {row: formulas.shapley(v) for row, v in found.items()}
    return _completed(game, scores, formulas.orders, "shapley", tol, max_passes, n_samples, seed)


@per_target
def partition_shap(
    game: Game, tol: float = 0.05, max_passes: int = 4096, n_samples: int | None = None, seed: int = 0
) -> Attribution:
    """Owen values: Shapley values in which neighbours stay together (Owen 1977; SHAP's partition explainer for text).

    The groups are halved again and again, and only the orders count in which no half is interrupted by another. That
    takes about n² evaluations instead of 2ⁿ: exact where max_passes allows it, else sampled as `shapley` is.
    """
    _check("partition_shap", tol, max_passes, n_samples)
    contexts = {}
    for row, n in enumerate(game.players):
        budget = _exact_budget(n, max_passes, n_samples)
        if formulas.owen_size(n) <= 4 * budget:
            without, players = formulas.owen_contexts(n)
            present = without.copy()
            present[np.arange(len(players)), players] = True
            if len(np.unique(np.packbits(np.concatenate([present, without]), axis=1), axis=0)) <= budget:
                contexts[row] = present, without, players
    found = values(game, {row: np.concatenate([present, without]) for row, (present, without, _) in contexts.items()})
    scores = {row: formulas.owen(players, *np.split(found[row], 2)) for row, (_, _, players) in contexts.items()}
    return _completed(game, scores, formulas.hierarchy_orders, "partition_shap", tol, max_passes, n_samples, seed)


@per_target
def kernel_shap(game: Game, n_samples: int = 1024, seed: int = 0) -> Attribution:
    """Shapley values as the solution of a weighted regression (Lundberg & Lee 2017, 1705.07874).

    n_samples: at most so many coalitions. Where that is all of them, exact; else the largest and smallest are all
    taken, the others drawn in complementary pairs (Covert & Lee 2021, 2012.01536), and `error` holds standard errors.
    """
    for n in game.players:
        least = min(2 * n + 8, 2**n - 2)
        if not isinstance(n_samples, int) or n_samples < least:
            raise InputError(
                f"kernel_shap got n_samples={n_samples!r} for an input of {n} groups; expected at least {least}: each "
                "group alone and all without it, and four pairs drawn. Raise n_samples, or use coarser groups."
            )
    designs = [surrogates.kernel_shap_design(n, n_samples, seed) for n in game.players]
    found = values(game, {row: _with_ends(d.coalitions) for row, d in enumerate(designs)})
    fits = [surrogates.kernel_shap(d, found[row][2:], *found[row][:2]) for row, d in enumerate(designs)]
    return attribution(
        game, [phi for phi, _ in fits], [_status(d, Status.EXACT) for d in designs], [error for _, error in fits]
    )


@per_target
def lime(
    game: Game, n_samples: int = 1000, kernel_width: float = 0.25, ridge: float = 1.0, seed: int = 0
) -> Attribution:
    """The slopes of a ridge regression on which groups are present, near the whole (Ribeiro et al. 2016, 1602.04938).

    n_samples: how many coalitions are drawn. kernel_width: σ of the weights exp(−D²/σ²), D the cosine distance (0 to
    1). ridge: its penalty. They are the slopes of a local model: their sum need not be the change in the output.
    """
    if not (kernel_width > 0 and ridge >= 0):
        raise InputError(
            f"lime got kernel_width={kernel_width!r}, ridge={ridge!r}; expected a width above 0 and a ridge of at "
            "least 0."
        )
    for n in game.players:
        if not isinstance(n_samples, int) or n_samples < n + 2:
            raise InputError(
                f"lime got n_samples={n_samples!r} for an input of {n} groups; expected at least {n + 2}, one more "
                "than its unknowns. Raise n_samples, or use coarser groups."
            )
    designs = [surrogates.lime_design(n, n_samples, kernel_width, seed) for n in game.players]
    found = values(game, {row: d.coalitions for row, d in enumerate(designs)})
    fits = [surrogates.lime(d, found[row], ridge) for row, d in enumerate(designs)]
    return attribution(
        game, [phi for phi, _ in fits], [_status(d, Status.CLOSED_FORM) for d in designs], [error for _, error in fits]
    )


@per_target
def random(game: Game, seed: int = 0) -> Attribution:
    """Standard normal scores, the control that every comparison needs. A text has the same scores for the same seed."""
    scores = [
        np.random.default_rng([seed, _fingerprint(game.problem, row)]).standard_normal(n)
        for row, n in enumerate(game.players)
    ]
    return attribution(game, scores, [Status.SAMPLED] * len(scores))


# ------------------------------------------------------------------------------------------------------- sampling


def _completed(
    game: Game,
    scores: dict[int, Values],
    draw: Callable[[int, int], Iterator[Orders]],
    name: str,
    tol: float,
    max_passes: int,
    n_samples: int | None,
    seed: int,
) -> Attribution:
    """Makes the Attribution of a game in which some rows have their scores, and the others are sampled here.

    All rows without scores draw pairs of orders, round by round, until each row is done by itself.

    scores: the exact scores of the rows that have them. draw: `(players, seed) -> random orders`. The others are the
    parameters of the method, and its name.
    """
    rows = [row for row in range(len(game.players)) if row not in scores]
    for row in rows:
        if n_samples is None and max_passes < (least := 4 * (game.players[row] - 1) + 2):
            raise InputError(
                f"{name} got max_passes={max_passes!r} for an input of {game.players[row]} groups; expected at least "
                f"{least}, two pairs of orders, which a standard error needs. Raise max_passes, or use coarser groups."
            )
    streams = {row: draw(game.players[row], seed) for row in rows}
    samples: dict[int, Values] = {row: np.zeros((0, game.players[row])) for row in rows}
    status = dict.fromkeys(scores, Status.EXACT)
    while rows:
        used = game.passes()
        drawn = {}
        for row in rows:
            n, so_far = game.players[row], len(samples[row])
            affordable = (max_passes - max(used[row], 2)) // (2 * (n - 1))  # besides the two ends
            left = affordable if n_samples is None else -(-n_samples // 2) - so_far
            if so_far and left < 1:
                status[row] = Status.TOLERANCE_NOT_MET if n_samples is None else Status.SAMPLED
                continue
            pairs = min(max(_FIRST, so_far // 2), left)
            drawn[row] = formulas.with_reverses(np.stack(list(islice(streams[row], pairs))))
        found = values(game, {row: formulas.entering(o).reshape(-1, o.shape[1]) for row, o in drawn.items()})
        for row, o in drawn.items():
            added = formulas.added(o, found[row].reshape(len(o), -1))
            samples[row] = np.concatenate([samples[row], added.reshape(-1, 2, o.shape[1]).mean(1)])
            mean, error = formulas.mean_and_error(samples[row])
            if n_samples is None and np.linalg.norm(error) <= tol * np.linalg.norm(mean):
                status[row] = Status.CONVERGED
        rows = [row for row in rows if row not in status]
    fits = {row: formulas.mean_and_error(s) for row, s in samples.items()}
    every = range(len(game.players))
    return attribution(
        game,
        [scores[row] if row in scores else fits[row][0] for row in every],
        [status[row] for row in every],
        [fits[row][1] if row in fits else None for row in every],
    )


def _exact_budget(n: int, max_passes: int, n_samples: int | None) -> int:
    """How many evaluations an exact answer may take: no more than the sample that was asked for would take."""
    return max_passes if n_samples is None else min(max_passes, n_samples * (n - 1) + 2)


def _check(name: str, tol: float, max_passes: int, n_samples: int | None) -> None:
    least = [(max_passes, 2), (4 if n_samples is None else n_samples, 4)]
    if not tol > 0 or not all(isinstance(given, int) and given >= n for given, n in least):
        raise InputError(
            f"{name} got tol={tol!r}, max_passes={max_passes!r}, n_samples={n_samples!r}; expected tol above 0, "
            "max_passes of at least 2, and n_samples None (sample until tol) or at least 4 orders."
        )


# -------------------------------------------------------------------------------------------------------- details


def _neighbours(n: int, width: int) -> np.ndarray:
    """(places, groups) true for the neighbouring groups that are removed at a place."""
    offset = np.arange(n)[None, :] - np.arange(n - width + 1)[:, None]
    return (offset >= 0) & (offset < width)


def _with_ends(coalitions: np.ndarray) -> np.ndarray:
    """The coalitions, with that of no player and that of all players in front."""
    ends = np.zeros((2, coalitions.shape[1]), dtype=bool)
    ends[1] = True
    return np.concatenate([ends, coalitions])


def _status(design: surrogates.Design, exact: Status) -> Status:
    return exact if design.exact else Status.SAMPLED


def _fingerprint(problem: Problem, row: int) -> int:
    """A number computed from a text's token ids without padding; 0 for a row that has none."""
    found = 0
    for args in problem.args:
        inputs = getattr(args, "inputs", args)
        for name, ids in sorted(inputs.items()) if isinstance(inputs, dict) else []:
            if isinstance(ids, torch.Tensor) and problem.mask is not None and ids.shape == problem.mask.shape:
                own = ids[row][problem.mask[row]].cpu().numpy()
                found = zlib.crc32(own.astype(np.int64).tobytes(), zlib.crc32(name.encode(), found))
    return found
