"""The look-ups of a model that read the input, followed in the model's own pass.

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

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ..errors import UnsupportedModel
from . import sites

Run = Callable[[tuple[Mapping[str, Tensor], ...]], Any]
"""The model on its own ids: `sequences -> outputs`."""

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
    """

    modules: tuple[nn.Module, ...]
    calls: tuple[_Call, ...]
    x: Tensor
    x0: Tensor
    places: Tensor
    tokens: Tensor
    own: Tensor


@dataclass(frozen=True)
class _Call:
    """One call of a watched module: its number in a run, and where its places begin and end among all."""

    number: int
    first: int
    last: int


def embedding_modules(net: nn.Module, named: Sequence[nn.Module]) -> tuple[nn.Module, ...]:
    """The modules whose calls are watched: those that are named, and every table that is no part of one of them."""
    inside = {part for module in named for part in module.modules()}
    tables = (m for m in net.modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag)) and m not in inside)
    return (*dict.fromkeys(named), *tables)


def followed(
    run: Run,
    modules: tuple[nn.Module, ...],
    sequences: tuple[dict[str, Tensor], ...],
    others: Sequence[tuple[dict[str, Tensor], ...]],
    changes: Tensor,
    blank: Callable[[nn.Module, Tensor], Tensor] | None,
) -> Lookups:
    """What the watched modules return for a batch, and which token each of their outputs comes from.

    others: the sequences with other ids: those of the baseline; or, for a baseline without ids, any that differ, to
        find what depends on the input. changes: (rows, tokens) true for the tokens that may change. blank: for a
        baseline without ids what a place is there, `(module, its output at the input) -> the same shape`.

    Raises UnsupportedModel where a look-up depends on the ids in a way that no single token accounts for, or the model
    makes other calls for other ids.
    """
    rows = len(changes)
    base = _outputs(run, modules, sequences, rows)
    ends = [_outputs(run, modules, other, rows) for other in others]
    _check_alike(modules, base, ends)
    numbers = [
        j for j, (_, at_x) in enumerate(base) if at_x is not None and any((_of(end[j]) != at_x).any() for end in ends)
    ]
    calls, first = [], 0
    for j in numbers:
        calls.append(_Call(j, first, first + _of(base[j]).shape[1]))
        first = calls[-1].last
    hidden = max((_of(base[c.number]).shape[-1] for c in calls), default=1)
    wide = lambda t: pad(t, (0, hidden - t.shape[-1]))
    joined = lambda found: torch.cat([wide(_of(found[c.number])) for c in calls], 1)
    if not calls:
        nothing = changes.new_zeros(rows, 0)
        return Lookups(modules, (), torch.zeros(rows, 0, 1), torch.zeros(rows, 0, 1), nothing, nothing, nothing.bool())
    x = joined(base)
    edges = [_edges(run, modules, sequences, other, changes, x, calls, joined) for other in others]
    x0 = joined(ends[0]) if blank is None else None
    if x0 is None:
        places = torch.cat([e[0] for e in edges]).unique(dim=0)
        at_blank = torch.cat([wide(blank(modules[base[c.number][0]], _of(base[c.number]))) for c in calls], 1)
        _check_one_token(places)
        return _packed(modules, calls, x, at_blank, places, None)
    _check_accounted(x, x0, edges[0][0])
    return _packed(modules, calls, x, x0, *edges[0])


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

    def after(_module: int, output: Any) -> Any:
        nonlocal number
        number += 1
        call = by_number.get(number)
        if call is None:
            return None
        first, *others = output if isinstance(output, tuple) else (output,)
        own = _by_row(first, rows)
        if own is None or own.shape[1] != call.last - call.first:
            raise _other_calls(lookups.modules[_module])
        at = slice(call.first, call.last)
        new = torch.where(taken[:, at].unsqueeze(2), total[:, at, : own.shape[2]], own)
        new = _as_output(new, first, rows)
        return (new, *others) if isinstance(output, tuple) else new

    with sites.read(lookups.modules, after):
        yield
    if lookups.calls and number < lookups.calls[-1].number:
        raise _other_calls(lookups.modules[0])


# ------------------------------------------------------------------------------------------- what depends on what


def _outputs(
    run: Run, modules: Sequence[nn.Module], sequences: Any, rows: int, until: int | None = None
) -> list[tuple[int, Tensor | None]]:
    """Of each call of a watched module in a run which of them it is, and its output (rows, places, hidden): None where
    its rows are not those of the batch. until: the run ends after the call of this number."""
    with torch.no_grad():
        found = sites.outputs_of(modules, lambda: run(sequences), until)
        return [(i, _by_row(output[0] if isinstance(output, tuple) else output, rows)) for i, output in found]


def _by_row(output: Any, rows: int) -> Tensor | None:
    """A module's output as (rows, places, hidden): it may have tokens first, or several sequences to a row."""
    if not isinstance(output, Tensor) or output.ndim < 2 or not output.is_floating_point():
        return None
    if output.ndim == 3 and len(output) != rows and output.shape[1] == rows:
        return output.transpose(0, 1)
    return None if len(output) % rows else output.reshape(rows, -1, output.shape[-1])


def _as_output(t: Tensor, like: Tensor, rows: int) -> Tensor:
    """(rows, places, hidden) in the form of a module's output."""
    if like.ndim == 3 and len(like) != rows and like.shape[1] == rows:
        return t.transpose(0, 1)
    return t.reshape(like.shape)


def _edges(
    run: Run,
    modules: Sequence[nn.Module],
    sequences: tuple[dict[str, Tensor], ...],
    other: tuple[dict[str, Tensor], ...],
    changes: Tensor,
    x: Tensor,
    calls: Sequence[_Call],
    joined: Callable[[Any], Tensor],
) -> tuple[Tensor, Tensor]:
    """(E, 3) the row, the token and the place of everything that one token changes alone, in this order; and by how
    much (E, hidden)."""
    ids, ids0 = (torch.cat([s["input_ids"] for s in part], 1) for part in (sequences, other))
    pairs = (changes & (ids != ids0)).nonzero()
    found, steps, until = [], [], calls[-1].number
    for some in pairs.split(max(1, _POSITIONS // ids.shape[1])):
        row, token = some.unbind(1)
        changed = ids[row].scatter(1, token.unsqueeze(1), ids0[row, token].unsqueeze(1))
        given = replaced_ids(picked(sequences, row, len(ids)), changed)
        moved = x[row] - joined(_outputs(run, modules, given, len(row), until))
        at = (moved != 0).any(2).nonzero()
        found.append(torch.stack([row[at[:, 0]], token[at[:, 0]], at[:, 1]], 1))
        steps.append(moved[at[:, 0], at[:, 1]])
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
    full = lambda of, fill: of.new_full((rows, width, *of.shape[1:]), fill)

    def laid(of: Tensor, fill: float) -> Tensor:
        out = full(of, fill)
        out[row, slot] = of
        return out

    own = torch.arange(width, device=row.device).expand(rows, -1) < widths.unsqueeze(1)
    return Lookups(modules, tuple(calls), laid(at_x, 0), laid(at_x0, 0), laid(place, most), laid(token, 0), own)


# --------------------------------------------------------------------------------------------------------- ids


def ids_of(sequences: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """The ids (rows, tokens) of all sequences, next to each other."""
    return torch.cat([s["input_ids"] for s in sequences], 1)


def replaced_ids(sequences: tuple[dict[str, Tensor], ...], ids: Tensor) -> tuple[dict[str, Tensor], ...]:
    """The same sequences with other ids (rows, tokens of all sequences)."""
    parts = ids.split([s["input_ids"].shape[1] for s in sequences], 1)
    return tuple({**s, "input_ids": part} for s, part in zip(sequences, parts, strict=True))


def picked(sequences: tuple[dict[str, Tensor], ...], rows: Tensor, n: int) -> tuple[dict[str, Tensor], ...]:
    """These of n rows."""
    return tuple({name: v[rows] if len(v) == n else v for name, v in s.items()} for s in sequences)


# ------------------------------------------------------------------------------------------------------ refusals


def _of(call: tuple[int, Tensor | None]) -> Tensor:
    assert call[1] is not None
    return call[1]


def _check_alike(modules: Sequence[nn.Module], base: Any, ends: Any) -> None:
    shape = lambda found: [(i, None if t is None else t.shape) for i, t in found]
    if not base:
        raise UnsupportedModel(
            f"None of {_names(modules)} was called in the forward pass, so the input could not be followed. Name the "
            "module that embeds it: pellucid.Model(..., embeddings='path.to.module')."
        )
    if any(shape(end) != shape(base) for end in ends):
        raise _other_calls(modules[0])


def _check_accounted(x: Tensor, x0: Tensor, edges: Tensor) -> None:
    """Raises UnsupportedModel where a place differs between input and baseline, and no single token changes it."""
    differs = (x != x0).any(2)
    owned = torch.zeros_like(differs)
    owned[edges[:, 0], edges[:, 2]] = True
    if bool((differs & ~owned).any()):
        raise UnsupportedModel(
            "A look-up of the model differs between the input and the baseline, although changing any one token alone "
            "leaves it as it is, so that no token can be given its score; expected look-ups that depend on single "
            "tokens. Use a method that runs the model on ids, such as method='occlusion' or 'shapley', with a token "
            "as the baseline."
        )


def _check_one_token(edges: Tensor) -> None:
    """Raises UnsupportedModel where a place depends on several tokens, and the baseline has no ids to share it by."""
    owners = edges[:, [0, 2]].unique(dim=0, return_counts=True)[1]
    if len(owners) and int(owners.max()) > 1:
        raise UnsupportedModel(
            "A look-up of the model depends on several tokens at once, so a baseline without ids ('zero', 'mean') does "
            "not say what each of them is there. Use a token as the baseline: 'mask', 'pad', or any of the vocabulary."
        )


def _other_calls(module: nn.Module) -> UnsupportedModel:
    return UnsupportedModel(
        f"The model calls {type(module).__name__} and its other embeddings in another way for other ids; expected the "
        "same calls for the input and for the baseline. Use a method that runs the model on ids, such as "
        "method='occlusion' or 'shapley', with a token as the baseline."
    )


def _names(modules: Sequence[nn.Module]) -> str:
    return ", ".join(sorted({type(m).__name__ for m in modules})) or "no module"
