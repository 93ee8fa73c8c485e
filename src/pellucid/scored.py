"""Items that explanations of one input share, such as its words, with the scores of one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Generic, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from .tokens import Array

T = TypeVar("T")


class Unit(Protocol):
    """What has tokens, and whether the tokenizer added them."""

    @property
    def tokens(self) -> tuple[int, ...]: ...
    @property
    def special(self) -> bool: ...


U = TypeVar("U", bound=Unit)


@dataclass(frozen=True, eq=False)
class Scored(Sequence[T]):
    """Each item with its score, made when it is asked for.

    items: the same for all explanations of an input; the scores that stand in them are not read. scores, errors: one
    for each item; None where there are no errors. make: an item from (the item, its score, its error).

    Examples:
        >>> found = Scored("ab", np.array([1.0, 2.0]), None, lambda item, score, error: (item, score))
        >>> found[1], list(found), found == (("a", 1.0), ("b", 2.0))
        (('b', 2.0), [('a', 1.0), ('b', 2.0)], True)
    """

    items: Sequence[T]
    scores: Array
    errors: Array | None
    make: Callable[[T, float, float | None], T]

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, i: int) -> T: ...
    @overload
    def __getitem__(self, i: slice) -> tuple[T, ...]: ...
    def __getitem__(self, i: int | slice) -> T | tuple[T, ...]:
        if isinstance(i, slice):
            return tuple(self[k] for k in range(*i.indices(len(self))))
        error = None if self.errors is None else float(self.errors[i])
        return self.make(self.items[i], float(self.scores[i]), error)

    def __iter__(self) -> Iterator[T]:
        errors = repeat(None) if self.errors is None else self.errors.tolist()
        return map(self.make, self.items, self.scores.tolist(), errors)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)


@dataclass(frozen=True, eq=False)
class Units(Generic[U]):
    """Units of an input, whose scores are the sums of their tokens' scores.

    items: the units; the scores that stand in them are not read. special: of each. tokens: the indices of all their
    tokens, unit by unit; owners: of each of those the number of its unit.
    """

    items: tuple[U, ...]
    special: NDArray[np.bool_]
    tokens: NDArray[np.int64]
    owners: NDArray[np.int64]

    def sums(self, values: Array) -> Array:
        """Of each unit the sum of the values of its tokens; 0 for a unit without tokens."""
        return np.bincount(self.owners, values[self.tokens], len(self.items)).astype(float)

    def scored(self, scores: Array, errors: Array | None, make: Callable[[U, float, float | None], U]) -> Scored[U]:
        """The units with the sums of these scores and errors, one of each token."""
        return Scored(self.items, self.sums(scores), None if errors is None else self.sums(errors), make)

    def largest(self, sums: Array) -> float:
        """The largest |sum|; special units count only where there is nothing else."""
        own = sums[~self.special]
        return float(np.abs(own if len(own) else sums).max(initial=0.0))

    def ranking(self, sums: Array, special: bool = False) -> tuple[int, ...]:
        """The numbers of the units, the largest |sum| first. special: whether special ones are among them."""
        own = np.flatnonzero(~self.special | special)
        return tuple(own[np.argsort(-np.abs(sums[own]), kind="stable")].tolist())


def units(items: Sequence[U]) -> Units[U]:
    sizes = np.array([len(item.tokens) for item in items], dtype=np.int64)
    tokens = np.fromiter(chain.from_iterable(item.tokens for item in items), np.int64, sizes.sum())
    special = np.array([item.special for item in items], dtype=bool)
    return Units(tuple(items), special, tokens, np.repeat(np.arange(len(items)), sizes))
