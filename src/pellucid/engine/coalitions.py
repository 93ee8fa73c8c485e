"""Runs a function with some groups of its input removed, for Shapley values and occlusion.

The Problem is played as a cooperative game: its groups are the players, and the value of a coalition, a set of players
that are present, is f with all other groups removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..attribution import Attribution, solved, with_status
from ..numerics.shapley import Coalitions, Values
from ..problem import Outputs, Problem, Select, Tensors, by_row
from ..status import Status, combined
from .groups import groups_of
from .memory import batched
from .passes import value_at_x


@dataclass(frozen=True)
class Game:
    """A Problem as a game about one of its targets.

    problem: the Problem, its targets fixed. selects: all of its targets. k: the number of the target of this game.
    outputs, output: f at x, and the target's value there (rows,).
    groups: for each input (rows, …), the player that a position belongs to; −1 where it belongs to none.
    players: how many players each row has.
    known: the value of each target (targets,) by (row, packed coalition), shared by the games of all targets, so that
        no coalition is evaluated twice.
    asked: the (row, packed coalition) that this game has asked for.
    """

    problem: Problem
    selects: tuple[Select, ...]
    k: int
    outputs: Outputs
    output: Float[Tensor, " rows"]
    groups: tuple[Int[Tensor, "rows ..."], ...]
    players: tuple[int, ...]
    known: dict[tuple[int, bytes], Values]
    asked: set[tuple[int, bytes]]

    def passes(self) -> Counter[int]:
        """How many evaluations each row has had."""
        return Counter(row for row, _ in self.asked)


def games_of(problem: Problem) -> tuple[Game, ...]:
    """One game for each target, from one forward pass at x. They share the values of coalitions."""
    outputs, selects, y = value_at_x(problem)
    groups = groups_of(problem)
    most = torch.stack([by_row(g).amax(1) for g in groups]).amax(0) + 1
    players = tuple(most.tolist())
    everyone = lambda n: _packed(np.ones((1, n), dtype=bool))[0]
    at_x = np.array([v.tolist() for v in y])
    whole = {(row, everyone(n)): at_x[:, row] for row, n in enumerate(players)}
    return tuple(
        Game(problem, selects, k, outputs, y[k], groups, players, whole, set(whole)) for k in range(len(selects))
    )


def values(game: Game, asked: Mapping[int, Coalitions]) -> dict[int, Values]:
    """The values (coalitions,) of each row's coalitions (coalitions, players), evaluated together for all rows.

    A coalition whose value is known is not evaluated again. Raises NonFiniteOutput, OutOfMemory.
    """
    return {row: found[:, game.k] for row, found in every_target(game, asked).items()}


def every_target(game: Game, asked: Mapping[int, Coalitions]) -> dict[int, Float[np.ndarray, "coalitions targets"]]:
    """As `values`, of all targets."""
    keys = {row: _packed(coalitions) for row, coalitions in asked.items()}
    new: dict[tuple[int, bytes], np.ndarray] = {}
    for row, coalitions in asked.items():
        for key, coalition in zip(keys[row], coalitions, strict=True):
            game.asked.add((row, key))
            if (row, key) not in game.known:
                new.setdefault((row, key), coalition)
    game.known.update(zip(new, _evaluated(game, new), strict=True))
    none = np.empty((0, len(game.selects)))
    return {row: np.array([game.known[row, key] for key in keys[row]]) if keys[row] else none for row in asked}


def attribution(
    game: Game, scores: Sequence[Values], status: Sequence[Status], errors: Sequence[Values | None] | None = None
) -> Attribution:
    """Makes an Attribution of each row's scores of its players: a score is spread evenly over the elements of its
    group.

    status: one for each row. errors: the standard errors of each row's scores; None for a row without.
    """
    y0 = values(game, {row: np.zeros((1, n), dtype=bool) for row, n in enumerate(game.players)})
    passes = game.passes()
    error = None
    if errors is not None and any(e is not None for e in errors):
        full = [np.zeros(n) if e is None else e for n, e in zip(game.players, errors, strict=True)]
        each = tuple(
            share * (t.numel() // g.numel())
            for share, g, t in zip(_spread(game, full), game.groups, game.problem.x, strict=True)
        )
        error = each if len(each) > 1 else next(iter(each))
    wide = lambda t: t.dtype if t.is_floating_point() else game.output.dtype
    dtypes = [torch.promote_types(wide(t), torch.float32) for t in game.problem.x]
    answer = solved(
        tuple(
            s.to(t.device, dtype).view(*s.shape, *[1] * (t.ndim - s.ndim)).expand(t.shape)
            for s, t, dtype in zip(_spread(game, scores), game.problem.x, dtypes, strict=True)
        ),
        game.output,
        torch.tensor([y0[row][0] for row in range(len(y0))], dtype=game.output.dtype, device=game.output.device),
        passes=max(passes.values()),
        status=combined(status),
        outputs=game.outputs,
    )
    rows = range(len(game.players))
    return replace(with_status(answer, status), error=error, row_passes=tuple(passes[r] for r in rows))


def _packed(coalitions: Bool[np.ndarray, "coalitions players"]) -> list[bytes]:
    return [row.tobytes() for row in np.packbits(coalitions, axis=1)]


def _evaluated(game: Game, new: Mapping[tuple[int, bytes], np.ndarray]) -> Values:
    """The value of each target (coalitions, targets), for each (row, packed coalition) in `new`. Gradients are off."""
    device = game.problem.x[0].device
    rows = torch.tensor([row for row, _ in new], dtype=torch.long, device=device)
    table = np.zeros((len(new), max(game.players)), dtype=bool)
    for i, coalition in enumerate(new.values()):
        table[i, : len(coalition)] = coalition
    present = torch.from_numpy(table).to(device)
    order = torch.arange(len(rows), device=device)
    if game.problem.without is not None:  # texts of one length next to each other: fewer and larger batches
        order = _kept(game, 0, rows, present).sum(1).argsort(stable=True)
    first = _first_removed(game, rows, present)
    if first is not None:  # each row's evaluations next to each other, those that change its beginning in front
        order = torch.where(first > 0, 1 + rows * (int(first.max()) + 1) + first, 0).argsort(stable=True)

    def evaluate(i: slice) -> Values:
        which = rows[order[i]]
        with torch.inference_mode():
            outputs = _outputs(game, which, present[order[i]], None if first is None else first[order[i]])
            return np.array([game.problem.value(outputs, s, which).tolist() for s in game.selects]).T

    found = np.empty((len(rows), len(game.selects)))
    early = len(rows) if first is None else int((first == 0).sum())
    late = lambda i: evaluate(slice(i.start + early, i.stop + early))
    parts = [*batched(game.problem, early, evaluate), *batched(game.problem, len(rows) - early, late)]
    if parts:
        found[order.cpu().numpy()] = np.concatenate(parts)
    return found


def _outputs(
    game: Game, rows: Int[Tensor, " n"], present: Bool[Tensor, "n players"], first: Int[Tensor, " n"] | None
) -> Outputs:
    """f where only the players in `present` (n, players) of row `rows[i]` are at x; the others at x0, or deleted.

    first: (n,), as `_first_removed`.
    """
    problem = game.problem
    if problem.without is not None:
        return problem.deleted(rows, _kept(game, 0, rows, present))
    points = []
    for k, (a, b) in enumerate(zip(problem.x, problem.x0, strict=True)):
        kept = _kept(game, k, rows, present)
        points.append(torch.where(kept.view(*kept.shape, *[1] * (a.ndim - kept.ndim)), a[rows], b[rows]))
    if problem.resumed is not None and first is not None and bool((first > 0).all()):
        return problem.resumed(points[0], rows, first, game.outputs)
    return problem.outputs(tuple(points), rows)


def _first_removed(game: Game, rows: Int[Tensor, " n"], present: Bool[Tensor, "n players"]) -> Int[Tensor, " n"] | None:
    """(n,) the first position that is removed, from which on f has to be computed again; None where f cannot share the
    rest.

    0 where it is among the first eighth of the positions, so that too little would be shared.
    """
    if game.problem.resumed is None or game.problem.draws.apart or not len(rows):
        return None
    removed = ~_kept(game, 0, rows, present)
    if game.problem.mask is not None:
        removed &= game.problem.mask[rows]
    positions = removed.shape[1]
    first = torch.where(removed.any(1), removed.long().argmax(1), positions)
    return first.where(first * 8 > positions, torch.zeros_like(first))


def _kept(game: Game, k: int, rows: Int[Tensor, " n"], present: Bool[Tensor, "n players"]) -> Bool[Tensor, "n ..."]:
    """(n, …) true for the positions of input k that stay: those of present players and those of no player, without
    padding."""
    g = game.groups[k][rows]
    kept = present.gather(1, by_row(g).clamp(min=0)).view(g.shape) | (g < 0)
    mask = game.problem.mask
    return kept if mask is None or mask.shape[1:] != g.shape[1:] else kept & mask[rows]


def _spread(game: Game, scores: Sequence[Values]) -> Tensors:
    """The score of each element in float64 on the CPU, in the shapes of the groups: its group's score, divided
    evenly."""
    table = torch.zeros(len(scores), max(game.players), dtype=torch.float64)
    for row, each in enumerate(scores):
        table[row, : len(each)] = torch.from_numpy(each)
    groups = [g.cpu() for g in game.groups]
    count = torch.zeros_like(table)
    for g, t in zip(groups, game.problem.x, strict=True):
        own = by_row(g >= 0).double() * (t.numel() // g.numel())
        count.scatter_add_(1, by_row(g).clamp(min=0), own)
    each = table / count.clamp(min=1)
    return tuple(each.gather(1, by_row(g).clamp(min=0)).view(g.shape).masked_fill(g < 0, 0.0) for g in groups)
