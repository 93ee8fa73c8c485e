"""Finds which input ids each looked-up number came from, by changing one id at a time.

A model may shift its ids, clamp them, reverse them, look several columns up in one table, or count them; and its rows
may stand in any dimension of what it looks up. One integer of the input is changed, and the numbers that then change in
the look-ups were made of it. A number that depends on several integers belongs to all of them, evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from ...errors import InputError

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Layout:
    """Where the rows of a batch stand in the value of a look-up.

    dim: in which dimension. shared: whether they share the dimension with something else.
    first: for a shared dimension, whether all of row 0 comes before all of row 1; else the first of each row comes
        first.
    """

    dim: int
    shared: bool
    first: bool = True

    def by_row(self, t: Shaped[Tensor, ...], rows: int) -> Shaped[Tensor, "rows ..."]:
        """The look-up with rows first (rows, …)."""
        if not self.shared:
            return t.movedim(self.dim, 0)
        sizes = (rows, -1) if self.first else (-1, rows)
        return t.unflatten(self.dim, sizes).movedim(self.dim + (not self.first), 0)

    def back(self, t: Tensor) -> Tensor:
        """A look-up with rows first, laid out as the function has it."""
        if not self.shared:
            return t.movedim(0, self.dim)
        return t.movedim(0, self.dim + (not self.first)).flatten(self.dim, self.dim + 1)


def layout(alone: Tensor, rows: int, others: Tensor, more: int) -> Layout:
    """Finds where the rows stand in a look-up, from its values for two batches of different size. Raises InputError.

    alone: the value for a batch of `rows` rows. others: the value for a batch of `more` rows that begins with the same
        rows.
    """
    a, b = alone.shape, others.shape
    grown = [d for d in range(len(a)) if len(a) == len(b) and a[d] != b[d]]
    if len(grown) != 1 or b[grown[0]] * rows != more * a[grown[0]] or a[grown[0]] % rows:
        raise InputError(
            f"A look-up returned {tuple(a)} for {rows} rows and {tuple(b)} for {more}; expected the rows of the input "
            "in one dimension of it. A row of the function's output must depend on that row of the input only: look "
            "ids up row by row, not through torch.unique or a mean over the batch."
        )
    (dim,) = grown
    if a[dim] == rows:
        return Layout(dim, False)
    ways = [Layout(dim, True, first) for first in (True, False)]
    off = [(way.by_row(others, more)[:rows].double() - way.by_row(alone, rows).double()).abs().sum() for way in ways]
    return ways[int(off[1] < off[0])]


Read = Callable[[Tensors, Tensor], list[Tensor]]
"""`(ids, rows) -> look-ups`, (n, …) each, where ids[i] (n, …) belong to rows `rows` (n,)."""

_AT_ONCE = 1 << 22
"""Numbers of look-ups that are compared together."""


def places(read: Read, x: Tensors, x0: Tensors, at_x: Sequence[Tensor], at_x0: Sequence[Tensor]) -> list[Tensor] | None:
    """For each look-up, the triples (row, element, position): the number at this position was made of this id of the
    row. None where a look-up depends on ids that matter only together with others.

    One id at a time is changed to the baseline's id, or to another id where both are the same, and the numbers that
    change in a look-up were made of it. Where that does not account for all, because a number depends on several at
    once, the ids of the baseline are changed to the input's as well. The other numbers of a vector that an id changes
    in part are that id's too, where they are no other id's.

    x, x0: ids (rows, …). at_x, at_x0: the look-ups there, (rows, …) each. Elements are numbered through all inputs, and
    positions through a look-up's row.
    """
    found = [_changed(read, x, x0, at_x), _neighbours(read, x, x0, at_x)]
    for more in (lambda: _changed(read, x0, x, at_x0), None):
        owned = [torch.cat(each).unique(dim=0) for each in zip(*found, strict=True)]
        if _accounted(read, x, x0, at_x, at_x0, owned):
            return [_whole_vectors(triples, a) for triples, a in zip(owned, at_x, strict=True)]
        if more is not None:
            found.append(more())
    return None


def _accounted(
    read: Read, x: Tensors, x0: Tensors, at_x: Sequence[Tensor], at_x0: Sequence[Tensor], found: Sequence[Tensor]
) -> bool:
    """Whether the look-ups hang on the ids that they were found to be made of, and on no others.

    Half of the ids are changed at once, as often as it takes for any two ids to be told apart. A number whose ids are
    all changed is to be what it is at x0, and one of whose ids none is changed what it is at x. What is the same at x
    and at x0 has no score, and need not.

    The parameters are those of `places`, and the triples of each look-up.
    """
    sizes = [flat(t).shape[1] for t in x]
    element, rows = torch.arange(sum(sizes), device=x[0].device), torch.arange(len(x[0]), device=x[0].device)
    for bit in range(max(1, (sum(sizes) - 1).bit_length())):
        for side in (0, 1):
            changed = (element >> bit) % 2 == side
            pairs = zip(changed.split(sizes), x, x0, strict=True)
            ids = tuple(torch.where(some.view(1, *a.shape[1:]), b, a) for some, a, b in pairs)
            for value, triples, a, b in zip(read(ids, rows), found, at_x, at_x0, strict=True):
                row, own, position = triples.T
                none, place = torch.zeros_like(flat(a), dtype=torch.int64), (row, position)
                of_all = none.index_put(place, torch.ones_like(row), accumulate=True)
                of_changed = none.index_put(place, changed[own].long(), accumulate=True)
                moved = (of_changed == of_all) & (of_all > 0) & (flat(value) != flat(b))
                moved |= (of_changed == 0) & (flat(value) != flat(a))
                if bool((moved & (flat(a) != flat(b))).any()):
                    return False
    return True


def shared(
    values: Sequence[Shaped[Tensor, "rows ..."]], found: Sequence[Int[Tensor, "_ 3"]], elements: int
) -> Float[Tensor, "rows elements"]:
    """The values of look-ups, given to the ids that the look-ups were made of: evenly where there are several.

    What was made of no id goes to the ids of its row that own nothing.

    values: those of each look-up. found: for each look-up the triples of `places`. elements: how many ids a row has.
    """
    rows = len(values[0])
    total = torch.zeros(rows, elements, dtype=torch.float64, device=values[0].device)
    idle = torch.ones_like(total)
    for triples in found:
        idle[triples[:, 0], triples[:, 1]] = 0
    idle = torch.where(idle.any(1, keepdim=True), idle, torch.ones_like(idle))
    for value, triples in zip(values, found, strict=True):
        v, (row, element, position) = flat(value).double(), triples.T
        count = torch.zeros_like(v).index_put_((row, position), torch.ones((), dtype=v.dtype, device=v.device), True)
        total.index_put_((row, element), v[row, position] / count[row, position], True)
        left = torch.where(count == 0, v, 0).sum(1, keepdim=True)
        total += left * idle / idle.sum(1, keepdim=True)
    return total


def flat(t: Shaped[Tensor, "rows ..."]) -> Shaped[Tensor, "rows numbers"]:
    """The numbers of each row in one dimension: (rows, …) → (rows, numbers)."""
    return t.unsqueeze(-1).flatten(1)


def _changed(read: Read, x: Tensors, other: Tensors, at: Sequence[Tensor]) -> list[Tensor]:
    """The triples of what changes in each look-up when one id of x becomes the id that `other` has there."""
    pairs = torch.cat([flat(a) != flat(b) for a, b in zip(x, other, strict=True)], 1).nonzero()
    found: list[list[Tensor]] = [[pairs.new_zeros(0, 3)] for _ in at]
    for chunk in pairs.split(max(1, _AT_ONCE // max(1, sum(flat(a).shape[1] for a in at)))):
        if not len(chunk):
            continue
        rows, element = chunk.T
        for k, value in enumerate(read(_one_changed(x, other, rows, element), rows)):
            which, position = (flat(value) != flat(at[k])[rows]).nonzero().T
            found[k].append(torch.stack([rows[which], element[which], position], 1))
    return [torch.cat(each) for each in found]


def _one_changed(
    x: Tensors, other: Tensors, rows: Int[Tensor, " points"], element: Int[Tensor, " points"]
) -> tuple[Shaped[Tensor, "points ..."], ...]:
    """x of some rows (points,), with the id that `other` has at one element of each."""
    found, start = [], 0
    for a, b in zip(x, other, strict=True):
        ids, n = flat(a)[rows].clone(), flat(a).shape[1]
        own = ((element >= start) & (element < start + n)).nonzero().squeeze(1)
        ids[own, element[own] - start] = flat(b)[rows[own], element[own] - start]
        found.append(ids.view(-1, *a.shape[1:]))
        start += n
    return tuple(found)


def _neighbours(read: Read, x: Tensors, x0: Tensors, at: Sequence[Tensor]) -> list[Tensor]:
    """As `_changed`, for ids that are the same in x and x0: each becomes another id of its column, or the next
    number."""
    others, nearest = [], []
    for a, b in zip(x, x0, strict=True):
        low, high = (end.to(a.dtype) for end in torch.cat([a, b]).long().aminmax(dim=0, keepdim=True))
        other = torch.where(a != low, low, high)
        others.append(torch.where(a == b, other, a))
        above = a + 1 if a.dtype != torch.bool and a.device.type == "cpu" else a  # elsewhere an error ends the process
        near = ~a if a.dtype == torch.bool else torch.where(a > 0, a - 1, above)
        nearest.append(torch.where((a == b) & (other == a), near, a))
    safe = _changed(read, x, tuple(others), at)
    try:
        return [torch.cat(both) for both in zip(safe, _changed(read, x, tuple(nearest), at), strict=True)]
    except (IndexError, RuntimeError):  # the neighbour is no id of its table
        return safe


def _owned(triples: Int[Tensor, "triples 3"], at: Shaped[Tensor, "rows ..."]) -> Bool[Tensor, "rows numbers"]:
    """(rows, numbers) true for the numbers of a look-up that were made of some id."""
    own = torch.zeros(flat(at).shape, dtype=torch.bool, device=at.device)
    own[triples[:, 0], triples[:, 2]] = True
    return own


def _whole_vectors(triples: Int[Tensor, "triples 3"], at: Shaped[Tensor, "rows ..."]) -> Int[Tensor, "more 3"]:
    """The triples, with more for numbers that no id owns: they go to the id that owns the rest of their vector.

    A vector is what the last dimension holds. Where a vector belongs to several ids, no triples are added.
    """
    size = at.shape[-1] if at.ndim > 1 else 1
    row, element, position = triples.T
    vectors = torch.stack([row, position // size, element], 1).unique(dim=0)
    if len(vectors[:, :2].unique(dim=0)) < len(vectors):
        return triples
    row, vector, element = vectors.repeat_interleave(size, 0).T
    position = vector * size + torch.arange(size, device=at.device).repeat(len(vectors))
    rest = ~_owned(triples, at)[row, position]
    return torch.cat([triples, torch.stack([row, element, position], 1)[rest]])
