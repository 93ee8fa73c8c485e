"""From the scores of tokens to the scores of a game's groups, which a metric ranks.

Special tokens belong to no group: they are never removed, and never ranked. The scores of a word's pieces are summed
before words are ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ..engine.coalitions import Game
from ..errors import InputError


def groups_of_tokens(game: Game, row: int) -> Int[np.ndarray, " tokens"]:
    """The group of each of the row's tokens, in the order of its explanation's tokens; −1 for a token of none."""
    problem = game.problem
    own = cast(Tensor, problem.tokens)[row].cpu()
    groups = game.groups[0][row].cpu()
    if problem.token_of is not None:  # a position for each look-up of a token: bring each back to its token
        there = cast(Tensor, problem.mask)[row].cpu()
        of_token = own.long() * 0 - 1
        of_token[problem.token_of[row].cpu()[there]] = groups[there]
        groups = of_token
    return groups[own].numpy()


def group_scores(
    game: Game, row: int, scores: Sequence[float] | Float[np.ndarray, " tokens"]
) -> Float[np.ndarray, " players"]:
    """The sum of the scores (tokens,) of each group's tokens, by the group's number.

    scores: of all tokens of the row, special ones too, as `Explanation.scores`. Raises InputError where there are not
    as many as the row has tokens, which means that they belong to another input.
    """
    groups, given = groups_of_tokens(game, row), np.asarray(scores, dtype=float)
    if given.shape != groups.shape:
        raise InputError(f"Found scores of shape {given.shape}; expected one for each of the {len(groups)} tokens.")
    return summed(given, groups, game.players[row])


def summed(
    scores: Float[np.ndarray, " tokens"], groups: Int[np.ndarray, " tokens"], players: int
) -> Float[np.ndarray, " players"]:
    """The sum of the scores of each group's tokens. groups: of each token its group's number; −1 for none."""
    own = groups >= 0
    return np.bincount(groups[own], weights=scores[own], minlength=players)
