"""Reads the metrics of every method and text from one evaluation of all removals, operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
from jaxtyping import Bool, Float

from ..engine.coalitions import Game, every_target
from ..metrics.faithfulness import METRICS, Evidence
from ..metrics.removal_curves import curves_of_targets, order_of, search_orders
from ..metrics.word_scores import group_scores
from ..models import Model
from ..models.text.encoding import Encoding
from ..types import Groups, Target
from .removal import OUTPUTS, plays

KEPT_SETS = 32
"""Random sets of groups of a text, for LDS; each group is in half of them on average."""
SHARES = np.linspace(0, 1, 21)
"""The shares of the groups at which a mean curve is drawn."""
MOST, LEAST = "most relevant first", "least relevant first"
_STEEPEST, _FLATTEST = "steepest", "flattest"

PerText = Float[np.ndarray, " texts"]
Scores = Float[np.ndarray, " tokens"]
Key = tuple[str, str, str]
"""Operator, output, metric."""
_Curves = dict[str, dict[int, Float[np.ndarray, "players+1 outputs"]]]


@dataclass(frozen=True)
class Measured:
    """One method on every text. metrics: text by text; NaN where a metric has no value. curves: the probability while
    words are removed, for each operator and end that removal begins with, at SHARES (texts, shares)."""

    metrics: dict[Key, PerText] = field(default_factory=dict)
    curves: dict[tuple[str, str], Float[np.ndarray, "texts shares"]] = field(default_factory=dict)


@dataclass(frozen=True)
class Removal:
    """How words are removed. operator: a name in OPERATORS. target: as `explain`, one number. groups: what is removed
    together. beam: the width of the search for the best and the worst order; 0 for none. seed: of the random sets.
    random_rankings: so many stand for chance."""

    operator: str
    target: Target
    groups: Groups = "word"
    beam: int = 0
    seed: int = 0
    random_rankings: int = 1


def measured(
    model: Model,
    encodings: Sequence[Encoding],
    scores: Sequence[Sequence[Scores]],
    how: Removal,
    heard: Callable[[int], None] = lambda done: None,
    control: int | None = None,
) -> list[Measured]:
    """The metrics of each method, and with a beam last those of the best order that the search finds.

    scores: for each method those of all tokens of each text. heard: told how many texts are done. control: the number
    of the method whose ranking is random. Each of its metrics is the mean over `how.random_rankings`, of which the
    method's own is the first, and over both ends of each: the reverse of a random ranking is random too, so the area
    between is 0, as chance has it. The model is borrowed. Raises as `plays`.
    """
    found = [Measured() for _ in range(len(scores) + (how.beam > 0))]
    done = 0
    for play in plays(model, encodings, how.operator, how.target, how.groups):
        game = play.games[OUTPUTS[0]]
        own = [{row: group_scores(game, row, each[i]) for row, i in enumerate(play.numbers)} for each in scores]
        more = range(len(own), len(own) + (0 if control is None else how.random_rankings - 1))
        own += [{row: _drawn(game.players[row], how.seed, i, k) for row, i in enumerate(play.numbers)} for k in more]
        orders = _orders(game, own, how.beam)
        kept = {row: _kept(n, how.seed) for row, n in enumerate(game.players)}
        curves, of_kept = curves_of_targets(game, orders), every_target(game, kept)
        for k, one in enumerate(found):
            rankings = [k, *more] if k == control else [k if k < len(scores) else len(own)]
            for row, i in enumerate(play.numbers):
                for t, output in enumerate(OUTPUTS):
                    each = [
                        Evidence(
                            curves[f"{r} {MOST}"][row][:, t],
                            curves[f"{r} {LEAST}"][row][:, t],
                            *_extremes(curves, row, t),
                            own[r][row] if r < len(own) else None,
                            kept[row],
                            of_kept[row][:, t],
                        )
                        for r in rankings
                    ]
                    each += [e.reversed for e in each] if k == control else []
                    _put(one, how.operator, output, i, len(encodings), each)
        heard(done := done + len(play.numbers))
    return found


def _orders(game: Game, own: Sequence[dict[int, np.ndarray]], beam: int) -> dict[str, dict[int, np.ndarray]]:
    """The orders by name: of each method from both ends; with a beam those of the search, which stand for one more
    method too."""
    orders: dict[str, dict[int, np.ndarray]] = {}
    for k, rows in enumerate(own):
        orders[f"{k} {MOST}"] = {row: order_of(s) for row, s in rows.items()}
        orders[f"{k} {LEAST}"] = {row: order[::-1] for row, order in orders[f"{k} {MOST}"].items()}
    if beam:
        bounds = {row: search_orders(game, row, beam) for row in range(len(game.players))}
        orders[_STEEPEST] = orders[f"{len(own)} {MOST}"] = {row: b.steepest for row, b in bounds.items()}
        orders[_FLATTEST] = orders[f"{len(own)} {LEAST}"] = {row: b.flattest for row, b in bounds.items()}
    return orders


def _extremes(curves: _Curves, row: int, t: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The curves of the best and the worst order of the first output, for which they were searched."""
    if t or _STEEPEST not in curves:
        return None, None
    return curves[_STEEPEST][row][:, t], curves[_FLATTEST][row][:, t]


def _drawn(players: int, *seed: int) -> Float[np.ndarray, " players"]:
    """Scores at random, the same for a text in whatever batch it is."""
    return np.random.default_rng(seed).random(players)


def _kept(players: int, seed: int) -> Bool[np.ndarray, "sets players"]:
    return np.random.default_rng([seed, players]).random((KEPT_SETS, players)) < 0.5


def _put(one: Measured, operator: str, output: str, i: int, texts: int, each: Sequence[Evidence]) -> None:
    """Puts what the evidence of text i says into its place: the mean, where there is more than one."""
    for name, metric in METRICS.items():
        values = [v for evidence in each if (v := metric.measure(evidence)) is not None]
        if values:
            one.metrics.setdefault((operator, output, name), np.full(texts, np.nan))[i] = fmean(values)
    if output == OUTPUTS[0]:
        for end, curves in ((MOST, [e.most for e in each]), (LEAST, [e.least for e in each])):
            curve = np.mean(curves, 0)
            at = np.interp(SHARES * (len(curve) - 1), np.arange(len(curve)), curve)
            one.curves.setdefault((operator, end), np.full((texts, len(SHARES)), np.nan))[i] = at
