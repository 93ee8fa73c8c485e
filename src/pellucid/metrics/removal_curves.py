"""Removal curves: the output of f while the groups of its input are removed one after the other.

A removal curve of n groups has n + 1 values: v[k] is f with the first k groups of an order removed, so that v[0] is
f(x) and v[n] is f with every group removed. The same coalitions answer for insertion: an insertion curve is the removal
curve of the reversed order, read from its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

from ..engine.coalitions import Game, every_target, values
from ..errors import InputError

Order = Int[np.ndarray, " players"]
Curve = Float[np.ndarray, " players+1"]
EXACT_PLAYERS = 10
"""Up to this many groups, the best and the worst order are found among all orders, from 2ⁿ evaluations."""


def order_of(scores: Sequence[float] | Float[np.ndarray, " players"]) -> Order:
    """The groups from the highest score to the lowest, signed; of equal scores, the first group first.

        order_of([0.1, 2.0, -1.0])    # array([1, 0, 2])

    Raises InputError where a score is not a number.
    """
    found = np.asarray(scores, dtype=float)
    if np.isnan(found).any():
        raise InputError(f"the scores {found} hold NaN, which has no rank: rank finite scores")
    return np.argsort(-found, kind="stable")


def removal_curves(game: Game, orders: Mapping[str, Mapping[int, Order]]) -> dict[str, dict[int, Curve]]:
    """The removal curve (players + 1,) of each row, for each named set of orders: one order for each row.

    The curves of all names and all rows are evaluated together, and each coalition once: every curve of a row shares
    both of its ends. Raises InputError for an order that is not a permutation of the row's groups; NonFiniteOutput,
    OutOfMemory.
    """
    every = curves_of_targets(game, orders)
    return {name: {row: found[:, game.k] for row, found in rows.items()} for name, rows in every.items()}


def curves_of_targets(
    game: Game, orders: Mapping[str, Mapping[int, Order]]
) -> dict[str, dict[int, Float[np.ndarray, "players+1 targets"]]]:
    """As `removal_curves`, of all targets of the game's Problem."""
    for name, rows in orders.items():
        for row, order in rows.items():
            _checked(order, game.players[row], name, row)
    asked: dict[int, list[np.ndarray]] = {}
    for rows in orders.values():
        for row, order in rows.items():
            asked.setdefault(row, []).append(_coalitions(order))
    found = every_target(game, {row: np.concatenate(each) for row, each in asked.items()})  # one packed evaluation
    parts = {row: iter(np.split(v, len(asked[row]))) for row, v in found.items()}
    return {name: {row: next(parts[row]) for row in rows} for name, rows in orders.items()}


@dataclass(frozen=True)
class OrderBounds:
    """The orders whose removal curves have the least and the greatest mean over steps 1 to n.

    steepest: the order whose output falls fastest: the best ranking that there is. flattest: the worst ranking.
    """

    steepest: Order
    flattest: Order


def search_orders(game: Game, row: int, beam: int = 5) -> OrderBounds:
    """Searches for the best and the worst order of a row's groups, for NAOPC (Edin et al. 2024, arXiv 2408.08137).

    Exact up to EXACT_PLAYERS groups, by the shortest path through all subsets (2ⁿ evaluations). Beyond, a beam search
    keeps the `beam` best subsets of each size, so that its answer is a bound from inside, not the extreme.
    Raises InputError for a beam below 1.
    """
    if beam < 1:
        raise InputError(f"beam={beam}, and a search keeps at least 1 subset: give 1 or more")
    n = game.players[row]
    if n <= EXACT_PLAYERS:
        subsets = [s for k in range(n + 1) for s in combinations(range(n), k)]
        values(game, {row: np.stack([_present(s, n) for s in subsets])})
        beam = 2**n
    return OrderBounds(_search(game, row, beam, min), _search(game, row, beam, max))


Pick = Callable[[float, float], float]


def _search(game: Game, row: int, beam: int, pick: Pick) -> Order:
    """The order with the least (pick = min) or greatest (max) sum of the removal curve, among the subsets kept."""
    n = game.players[row]
    sign = 1.0 if pick is min else -1.0
    kept: dict[frozenset[int], tuple[float, tuple[int, ...]]] = {frozenset(): (0.0, ())}
    for _ in range(n):
        reached: dict[frozenset[int], tuple[float, tuple[int, ...]]] = {}
        for removed, (total, order) in kept.items():
            for group in set(range(n)) - removed:
                key = removed | {group}
                if key not in reached or total < reached[key][0]:
                    reached[key] = (total, (*order, group))
        keys = list(reached)
        found = values(game, {row: np.stack([_present(tuple(k), n) for k in keys])})[row]
        sums = {k: (reached[k][0] + sign * float(v), reached[k][1]) for k, v in zip(keys, found, strict=True)}
        kept = dict(sorted(sums.items(), key=lambda item: item[1])[:beam])
    return np.array(min(kept.values())[1], dtype=int)


def _coalitions(order: Order) -> Bool[np.ndarray, "players+1 players"]:
    """The groups that are present while those of `order` are removed one after the other."""
    n = len(order)
    rank = np.empty(n, dtype=int)
    rank[order] = np.arange(n)
    return rank[None, :] >= np.arange(n + 1)[:, None]


def _present(removed: tuple[int, ...], n: int) -> Bool[np.ndarray, " players"]:
    present = np.ones(n, dtype=bool)
    present[list(removed)] = False
    return present


def _checked(order: Order, n: int, name: str, row: int) -> None:
    if sorted(np.asarray(order).tolist()) != list(range(n)):
        raise InputError(f"the order {order} of {name!r} is no permutation of the {n} groups of row {row}")
