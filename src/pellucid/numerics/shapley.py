"""Shapley and Owen values: the share of each of n players in what they win together, from the values of coalitions.

A coalition is a row of n bools, true for the players present; `v` of it is a number. The Shapley value is

    φᵢ = Σ_{S ∌ i} |S|!·(n−|S|−1)!/n! · (v(S ∪ i) − v(S))             (Shapley 1953)

the mean over all orders of the players of what each adds on entering. Σφ = v(all) − v(none): efficiency. Formulas only,
in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import comb

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

Values = NDArray[np.float64]
Coalitions = NDArray[np.bool_]
Orders = NDArray[np.int64]


def every_coalition(n: int) -> Bool[np.ndarray, "coalitions players"]:
    """All 2ⁿ coalitions: player i is in coalition k where bit i of the number k is set."""
    return (np.arange(1 << n)[:, None] >> np.arange(n)) & 1 == 1


def shapley(v: Float[np.ndarray, " coalitions"]) -> Float[np.ndarray, " players"]:
    """The Shapley values (n,), exact, from the values (2ⁿ,) of `every_coalition(n)`."""
    n = len(v).bit_length() - 1
    size = every_coalition(n).sum(1)
    weight = np.array([1 / (n * comb(n - 1, s)) for s in range(n)])
    result = np.empty(n)
    for i in range(n):
        without = np.flatnonzero((np.arange(len(v)) >> i) & 1 == 0)
        result[i] = weight[size[without]] @ (v[without | 1 << i] - v[without])
    return result


# ------------------------------------------------------------------------------------------------------- sampling


def orders(n: int, seed: int) -> Iterator[Int[np.ndarray, " players"]]:
    """Random orders of n players, the same for the same seed (Castro et al. 2009)."""
    random = np.random.default_rng(seed)
    while True:
        yield random.permutation(n)


def hierarchy_orders(n: int, seed: int) -> Iterator[Int[np.ndarray, " players"]]:
    """Random orders in which every block of the hierarchy stays together: at each split, either half comes first."""
    random = np.random.default_rng(seed)

    def order(first: int, last: int) -> list[int]:
        if last - first == 1:
            return [first]
        middle = halfway(first, last)
        halves = [order(first, middle), order(middle, last)]
        return [i for half in (halves if random.random() < 0.5 else halves[::-1]) for i in half]

    while True:
        yield np.array(order(0, n))


def with_reverses(drawn: Int[np.ndarray, "orders players"]) -> Int[np.ndarray, "orders_and_reverses players"]:
    """Each order and its reverse, next to each other. The errors of the two tend to be opposite (Mitchell et al.
    2022)."""
    return np.stack([drawn, drawn[:, ::-1]], 1).reshape(-1, drawn.shape[1])


def entering(drawn: Int[np.ndarray, "orders players"]) -> Bool[np.ndarray, "orders places players"]:
    """The coalitions of each order as its players enter: first nobody, then one player more at a time, until all are
    present."""
    place = np.argsort(drawn, 1)
    return place[:, None, :] < np.arange(drawn.shape[1] + 1)[None, :, None]


def added(
    drawn: Int[np.ndarray, "orders players"], v: Float[np.ndarray, "orders places"]
) -> Float[np.ndarray, "orders players"]:
    """What each player added on entering, from the values of the coalitions of `entering(drawn)`."""
    result = np.empty(drawn.shape)
    np.put_along_axis(result, drawn, np.diff(v, axis=1), 1)
    return result


def mean_and_error(
    samples: Float[np.ndarray, "samples players"],
) -> tuple[Float[np.ndarray, " players"], Float[np.ndarray, " players"]]:
    """The mean of independent samples, and its standard error."""
    return samples.mean(0), samples.std(0, ddof=1) / np.sqrt(len(samples))


# ------------------------------------------------------------------------------------- a hierarchy of the players


def halfway(first: int, last: int) -> int:
    """Where a block of players, from `first` to `last` − 1, is cut in two, so that the halves differ by one player at
    most."""
    return (first + last + 1) // 2


def owen_contexts(n: int) -> tuple[Bool[np.ndarray, "contexts players"], Int[np.ndarray, " contexts"]]:
    """The coalitions that a player may find on entering, with the number of that player.

    The hierarchy halves the players again and again. When a player enters, at each split above it the other half is
    present as a whole or not at all, so a player d splits deep has 2^d contexts, all equally likely.
    """
    contexts: list[Coalitions] = []
    players: list[Orders] = []

    def descend(first: int, last: int, outside: Coalitions) -> None:
        if last - first == 1:
            contexts.append(outside)
            players.append(np.full(len(outside), first))
            return
        middle = halfway(first, last)
        for a, b, c, d in ((first, middle, middle, last), (middle, last, first, middle)):
            present = outside.copy()
            present[:, c:d] = True
            descend(a, b, np.concatenate([outside, present]))

    descend(0, n, np.zeros((1, n), dtype=bool))
    return np.concatenate(contexts), np.concatenate(players)


def owen_size(n: int) -> int:
    """The number of contexts in `owen_contexts(n)`, about n²."""
    return 1 if n == 1 else 2 * (owen_size(n // 2) + owen_size(n - n // 2))


def owen(
    players: Int[np.ndarray, " contexts"],
    v_with: Float[np.ndarray, " contexts"],
    v_without: Float[np.ndarray, " contexts"],
) -> Float[np.ndarray, " players"]:
    """The Owen values, exact, for the hierarchy of `owen_contexts` (Owen 1977; over nested blocks, Winter 1989).

    players: as from `owen_contexts`. v_with, v_without: the values of its contexts with the player and without.
    """
    return np.bincount(players, v_with - v_without) / np.bincount(players)
