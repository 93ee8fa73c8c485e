"""Look-ups: what a model reads from its tables of embeddings for an input, followed in the model's own pass.

Most models look their ids up once, as they are, in one table; then the output of that table, a vector for each token,
is the input of the Problem. A model may also read a table twice, have two tables (words and characters), or shift,
remap, clamp or turn its ids round before it looks them up. So what the tables return is taken here from the model's own
pass on the input's ids, and from its own pass on the baseline's, call by call, and what depends on the input is found
by changing one token at a time:

    output at place p  =  baseline's output at p  +  Σ over the tokens i that p depends on  of  d(p, i)

where d(p, i) is what changing token i alone changes. A place that depends on one token, which is nearly every one, is
an input of the Problem as it is; one that depends on several (a bag of words, a hash of two neighbours) has an input
for each of them, and what they change only together is shared evenly. Each of these inputs is called a strand here: it
belongs to one place and to one token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ..engine import hooks
from ..errors import UnsupportedModel
from ..problem import picked
from .lookup_calls import Calls, Run, by_row, call_layout, call_output, other_calls, shapes
from .net import Outputs
from .text.collating import Sequences, ids_of, replaced_ids

_POSITIONS = 4096
"""Token positions that go through the model together while one token at a time is changed."""


@dataclass(frozen=True)
class Lookups:
    """The inputs of a Problem whose model's look-ups were followed. S strands to a row at most, P places in all.

    modules, calls: which modules were watched, and of their calls, in the order in which the model makes them, those
        that depend on the input.
    x, x0: (rows, S, hidden), what the strands are at the input and at the baseline.
    places: (rows, S) which place each strand belongs to; P for none, where a row has fewer strands.
    tokens: (rows, S) which token, by its column, each strand belongs to.
    own: (rows, S) true for a row's own strands.
    together: whether several rows may go through the model at once.
    """

    modules: tuple[nn.Module, ...]
    calls: tuple[_Call, ...]
    x: Tensor
    x0: Tensor
    places: Tensor
    tokens: Tensor
    own: Tensor
    together: bool


@dataclass(frozen=True)
class _Call:
    """One call of a watched module: its number in a run, where its places begin and end among all, and whether its
    output has tokens first and rows second."""

    number: int
    first: int
    last: int
    turned: bool


def embedding_modules(net: nn.Module, named: Sequence[nn.Module]) -> tuple[nn.Module, ...]:
    """The modules whose calls are watched: those that are named, and every table that is no part of one of them."""
    inside = {part for module in named for part in module.modules()}
    tables = (m for m in net.modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag)) and m not in inside)
    return (*dict.fromkeys(named), *tables)


def followed(
    run: Run,
    modules: tuple[nn.Module, ...],
    sequences: Sequences,
    others: Sequence[Sequences],
    changes: Tensor,
    blank: Callable[[nn.Module, Tensor], Tensor] | None,
    named: int = 0,
) -> Lookups:
    """What the watched modules return for a batch, and which token each of their outputs comes from.

    others: the sequences with other ids: those of the baseline; or, for a baseline without ids, any that differ, to
        find what depends on the input. changes: (rows, tokens) true for the tokens that may change. blank: for a
        baseline without ids what a place is there, `(module, its output at the input) -> the same shape`. named: so
        many of the modules, the first ones, must be called.

    Raises UnsupportedModel where a look-up depends on the ids in a way that no single token accounts for, or the model
    makes other calls for other ids.
    """
    read = call_layout(run, modules, sequences, others[0], len(changes))
    base, ends = read(sequences, len(changes)), [read(other, len(changes)) for other in others]
    _check_alike(modules, base, ends, named)
    depends = lambda j, at_x: at_x is not None and any(_differs(call_output(end[j]), at_x).any() for end in ends)
    numbers = [j for j, (_, at_x) in enumerate(base) if depends(j, at_x)]
    calls, first = [], 0
    for j in numbers:
        calls.append(_Call(j, first, first + call_output(base[j]).shape[1], read.turned[j]))
        first = calls[-1].last
    if not calls:
        none = changes.new_zeros(len(changes), 0, dtype=torch.long)
        empty = changes.new_zeros(len(changes), 0, 1, dtype=torch.float32)
        return Lookups(modules, (), empty, empty, none, none, none.bool(), True)
    hidden = max(call_output(base[c.number]).shape[-1] for c in calls)
    wide = lambda t: pad(t, (0, hidden - t.shape[-1]))
    joined = lambda found: torch.cat([wide(call_output(found[c.number])) for c in calls], 1)
    x, at = joined(base), lambda given, n: joined(read(given, n, calls[-1].number))
    edges = [_edges(at, sequences, other, changes, x) for other in others]
    for other, end, (places, steps) in zip(others, ends, edges, strict=True):
        _check_accounted(at, sequences, other, x, joined(end), places, steps)
    if blank is None:
        x0, (places, steps) = joined(ends[0]), edges[0]
        return _packed(modules, calls, x, x0, places, steps, read.together)
    places = torch.cat([found for found, _ in edges]).unique(dim=0)
    x0 = torch.cat([wide(blank(modules[base[c.number][0]], call_output(base[c.number]))) for c in calls], 1)
    _check_one_token(places)
    return _packed(modules, calls, x, x0, places, None, read.together)


@contextmanager
def substituted(lookups: Lookups, values: Tensor, places: Tensor) -> Iterator[None]:
    """Inside, the calls that depend on the input return `values` (n, S, hidden) at the places that strands belong to,
    and their own output everywhere else."""
    rows, last = len(values), lookups.calls[-1].last if lookups.calls else 0
    index = places.unsqueeze(2).expand_as(values)
    total = values.new_zeros(rows, last + 1, values.shape[2]).scatter_add(1, index, values)
    taken = torch.zeros(rows, last + 1, dtype=torch.bool, device=places.device).scatter(1, places, True)
    by_number = {c.number: c for c in lookups.calls}
    number = -1

    def after(_module: int, output: Outputs) -> Outputs:
        nonlocal number
        number += 1
        call = by_number.get(number)
        if call is None:
            return None
        first, *others = output if isinstance(output, tuple) else (output,)
        own = by_row(first, rows, call.turned)
        if own is None or own.shape[1] != call.last - call.first:
            raise other_calls(lookups.modules[_module])
        at = slice(call.first, call.last)
        new = torch.where(taken[:, at].unsqueeze(2), total[:, at, : own.shape[2]], own)
        new = new.transpose(0, 1) if call.turned else new.reshape(first.shape)
        return (new, *others) if isinstance(output, tuple) else new

    with hooks.read(lookups.modules, after):
        yield
    if lookups.calls and number < lookups.calls[-1].number:
        raise other_calls(lookups.modules[0])


# ------------------------------------------------------------------------------------------- what depends on what


def _differs(a: Tensor, b: Tensor) -> Tensor:
    """Where two outputs (rows, places, hidden) differ by more than the rounding of another batch, (rows, places)."""
    rounding = 64 * torch.finfo(b.dtype).eps * b.abs().amax(2)
    return (a - b).abs().amax(2) > rounding


def _edges(
    read: Callable[[Sequences, int], Tensor],
    sequences: Sequences,
    other: Sequences,
    changes: Tensor,
    x: Tensor,
) -> tuple[Tensor, Tensor]:
    """Which places change where one token is changed alone: (E, 3) the row, the token and the place; and by how much,
    (E, hidden). read: `(sequences, rows) -> what the look-ups return at all places`."""
    ids, ids0 = ids_of(sequences), ids_of(other)
    pairs = (changes & (ids != ids0)).nonzero()
    found, steps = [], []
    for some in pairs.split(max(1, _POSITIONS // ids.shape[1])):
        row, token = some.unbind(1)
        changed = ids[row].scatter(1, token.unsqueeze(1), ids0[row, token].unsqueeze(1))
        given = replaced_ids(picked(sequences, row, len(ids)), changed)
        before, after = x[row], read(given, len(row))
        pair, place = _differs(after, before).nonzero().unbind(1)
        found.append(torch.stack([row[pair], token[pair], place], 1))
        steps.append((before - after)[pair, place])
    if not found:
        return pairs.new_zeros(0, 3), x.new_zeros(0, x.shape[2])
    return torch.cat(found), torch.cat(steps)


def _packed(
    modules: tuple[nn.Module, ...],
    calls: Sequence[_Call],
    x: Tensor,
    x0: Tensor,
    edges: Tensor,
    steps: Tensor | None,
    together: bool,
) -> Lookups:
    """The strands of each row next to each other. steps: what each changes alone; None where every place has one."""
    rows, most = len(x), x.shape[1]
    row, token, place = edges.unbind(1)
    at_x, at_x0 = x[row, place], x0[row, place]
    if steps is not None:
        flat = row * most + place
        count = torch.bincount(flat, minlength=rows * most).to(x)
        n = count[flat].unsqueeze(1)
        alone = torch.zeros(rows * most, x.shape[2], dtype=x.dtype, device=x.device).index_add_(0, flat, steps)
        left = (at_x - at_x0) - alone[flat]
        several = n > 1
        at_x = torch.where(several, at_x0 / n + steps + left / n, at_x)
        at_x0 = torch.where(several, at_x0 / n, at_x0)
    widths = torch.bincount(row, minlength=rows)
    starts = widths.cumsum(0) - widths
    slot = torch.arange(len(row), device=row.device) - starts[row]
    width = int(widths.max()) if len(row) else 0

    def laid(of: Tensor, fill: float) -> Tensor:
        out = of.new_full((rows, width, *of.shape[1:]), fill)
        out[row, slot] = of
        return out

    own = torch.arange(width, device=row.device).expand(rows, -1) < widths.unsqueeze(1)
    return Lookups(
        modules, tuple(calls), laid(at_x, 0), laid(at_x0, 0), laid(place, most), laid(token, 0), own, together
    )


# ------------------------------------------------------------------------------------------------------ refusals


def _check_alike(modules: Sequence[nn.Module], base: Calls, ends: Sequence[Calls], named: int) -> None:
    """Raises UnsupportedModel where a named module was not called, or the model makes other calls for other ids."""
    silent = set(range(named)) - {i for i, _ in base}
    if silent or not base:
        raise UnsupportedModel(
            f"The embedding module {_names([modules[i] for i in silent] or modules)} was never called in the forward "
            "pass, so the input could not be followed. Name the module that embeds it: pellucid.Model(..., "
            "embeddings='path.to.module')."
        )
    if any(shapes(end) != shapes(base) for end in ends):
        raise other_calls(modules[0])


def _check_accounted(
    read: Callable[[Sequences, int], Tensor],
    sequences: Sequences,
    other: Sequences,
    x: Tensor,
    x0: Tensor,
    edges: Tensor,
    steps: Tensor,
) -> None:
    """Raises UnsupportedModel where a place differs between input and baseline by something else than the tokens that
    change it one by one: where the other ids of all of these, and of no more, do not make it what it is at the baseline
    (a word that counts only if another stands beside it).

    x, x0: all places at the input and at the baseline. edges, steps: as `_edges` returns them; read: as it takes it.
    """
    (rows, most), tokens = x.shape[:2], ids_of(sequences).shape[1]
    row, token, place = edges.unbind(1)
    alone = torch.zeros_like(x).index_put_((row, place), steps, accumulate=True)
    size = torch.maximum(x.abs(), x0.abs()).amax(2) + alone.abs().amax(2)
    left = (x - alone - x0).abs().amax(2) > 64 * torch.finfo(x.dtype).eps * size
    pairs = left.nonzero()
    if not len(pairs):
        return
    owners = torch.zeros(rows, most, tokens, dtype=torch.bool, device=x.device)
    owners[row, place, token] = True
    sets, which = torch.cat([pairs[:, :1], owners[pairs[:, 0], pairs[:, 1]]], 1).unique(dim=0, return_inverse=True)
    ids, ids0 = ids_of(sequences), ids_of(other)
    per = max(1, _POSITIONS // tokens)
    for first, some in enumerate(sets.split(per)):
        mine = some[:, 0]
        changed = torch.where(some[:, 1:].bool(), ids0[mine], ids[mine])
        after = read(replaced_ids(picked(sequences, mine, len(ids)), changed), len(mine))
        here = which // per == first
        at = pairs[here]
        found = after[which[here] - first * per, at[:, 1]].unsqueeze(1)
        if bool(_differs(found, x0[at[:, 0], at[:, 1]].unsqueeze(1)).any()):
            raise UnsupportedModel(
                "A look-up of the model differs between the input and the baseline by more than the tokens account for "
                "that change it one by one, so that no token can be given its score; expected look-ups that depend on "
                "single tokens, or on a few of which each matters by itself. Use a method that runs the model on ids, "
                "such as method='occlusion' or 'shapley', with a token as the baseline."
            )


def _check_one_token(edges: Tensor) -> None:
    """Raises UnsupportedModel where a place depends on several tokens, and the baseline has no ids to share it by."""
    owners = edges[:, [0, 2]].unique(dim=0, return_counts=True)[1]
    if len(owners) and int(owners.max()) > 1:
        raise UnsupportedModel(
            "A look-up of the model depends on several tokens at once, so a baseline without ids ('zero', 'mean') does "
            "not say what each of them is there. Use a token as the baseline: 'mask', 'pad', or any of the vocabulary."
        )


def _names(modules: Sequence[nn.Module]) -> str:
    """The classes of modules, for a message."""
    return ", ".join(sorted({type(m).__name__ for m in modules})) or "no module"
