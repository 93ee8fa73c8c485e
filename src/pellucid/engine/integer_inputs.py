"""Explains a function with integer inputs, such as category or token ids, by following the look-ups that read them.

    f(numbers, ids) = h(numbers, e₁, e₂, …)    eₖ: what the k-th look-up returns, such as table[ids]

Integers have no gradient, but what a look-up returns has one. So the Problem that a method solves is about h: its
inputs are the look-ups, x is what they return on the ids of x, and x0 what they return on the ids of the baseline. To
evaluate h, f runs on the ids of x, and other values are put in the place of what its look-ups return; nothing of f is
replaced. Each look-up's scores go to the ids that it was made of. That h equals f at x and at x0 is checked: where f
reads its ids in another way as well (`if ids[0] > 3`), an error says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..attribution import Attribution, several
from ..errors import WITHOUT_GRADIENT, GraphMismatch, InputError
from ..numerics.deeplift.recording.training_calls import Steady
from ..numerics.lookups.calls import Enough, Lookups, Plan
from ..numerics.lookups.origins import Layout, flat, layout, places, shared
from ..problem import Arguments, Function, Outputs, Problem, Tensors
from ..randomness import kept
from .groups import groups_of
from .memory import batched


@dataclass(frozen=True)
class Followed:
    """A Problem about the look-ups of a function, and the way back to its integer inputs.

    problem: its inputs are the float inputs of f, and then the look-ups.
    x: the inputs as the user gave them, one row for each answer.
    found: for each look-up, which of its numbers are made of which ids (`origins.places`).
    ends: f on the ids of x and on those of the baseline, (rows,) each.
    others: the calls that read the ids in another way than by a look-up.
    """

    problem: Problem
    x: Tensors
    found: tuple[Tensor, ...]
    ends: tuple[Tensor, Tensor]
    others: tuple[str, ...]

    def given_back(self, answer: Attribution) -> Attribution:
        """The answer of a method, with values like the user's inputs. Raises GraphMismatch where the answer is not
        about f.

        An id gets the sum of the values of its look-ups; where values are sizes (`reduction="norm"`), the size of them
        all.
        """
        values = self._merged(several(answer.values), answer.reduction)
        self._check(answer, values)
        error = answer.error
        if isinstance(error, Tensor) and error.ndim == 2 and len(self.problem.x) > 1:  # the numbers of all inputs
            parts = zip(error.split([flat(t).shape[1] for t in self.problem.x], 1), self.problem.x, strict=True)
            merged = self._merged(tuple(p.view(-1, *t.shape[1:]) for p, t in parts), "sum")
            error = torch.cat([flat(t) for t in merged], 1)
        elif error is not None:
            first, *rest = self._merged(several(error), "sum")
            error = (first, *rest) if rest else first
        delta = answer.output.double() - answer.baseline_output.double() - _total(values)
        return replace(answer, values=values, delta=delta, error=error, passes=answer.passes + 2)

    def _merged(self, values: Tensors, reduction: str) -> Tensors:
        """Values like the inputs of the Problem, as values like the user's inputs."""
        categories = [t for t in self.x if not t.is_floating_point()]
        sizes = [flat(t).shape[1] for t in categories]
        floats = iter(values[: len(self.x) - len(categories)])
        of_lookups = values[len(self.x) - len(categories) :]
        each = torch.zeros(len(values[0]), sum(sizes), dtype=torch.float64, device=values[0].device)
        if of_lookups and reduction == "norm":
            each = shared([v.double() ** 2 for v in of_lookups], self.found, sum(sizes)).sqrt()
        elif of_lookups:
            each = shared(of_lookups, self.found, sum(sizes))
        parts = zip(
            each.to(torch.promote_types(values[0].dtype, torch.float32)).split(sizes, 1), categories, strict=True
        )
        ints = iter([p.view(-1, *t.shape[1:]) for p, t in parts])
        return tuple(next(floats if t.is_floating_point() else ints) for t in self.x)

    def _check(self, answer: Attribution, values: Tensors) -> None:
        """Raises GraphMismatch where the answer's outputs are not those of f on the ids themselves."""
        told = answer.output.double(), answer.baseline_output.double()
        scale = torch.stack([*(t.abs() for t in told), _total(tuple(v.abs() for v in values))]).amax(0)
        within = min(256 * torch.finfo(answer.output.dtype).eps, _COARSE) * scale
        for what, ours, own in zip(("the input", "the baseline"), told, self.ends, strict=True):
            off = ((ours - own.double()).abs() > within).nonzero()
            if len(off):
                row = int(off[0])
                how = f" It is read by {', '.join(self.others[:3])}." if self.others else ""
                raise GraphMismatch(
                    f"The function's output for the categories of {what} is {own[row].item():.6g} in row {row}, but "
                    f"{ours[row].item():.6g} where only what it looks up by them is that of {what}: it reads integers "
                    f"in a way that carries no gradient.{how} Use a method that needs none (method='shapley', "
                    "'feature_ablation', …), or pass the embeddings as the input."
                )


_COARSE = 0.02
"""The largest relative difference of two outputs that is called rounding, in the shortest of precisions."""


def followed(problem: Problem, rows_first: Callable[[Function], Function], grouped: bool = False) -> Followed:
    """The Problem about the look-ups that f makes by its integer inputs.

    problem: the Problem about f, whose inputs are integers or both integers and floats.
    rows_first: makes a function of one row return its outputs with rows first.
    grouped: whether the Problem about the look-ups has groups, those of the ids.

    Raises InputError where f looks nothing up, or where a look-up is of ids of several groups, and GraphMismatch where
    its look-ups differ from pass to pass.
    """
    every = torch.arange(problem.rows, device=problem.x[0].device)
    firsts = problem.firsts()
    rows = every if firsts is None else firsts
    x = tuple(t[rows] for t in problem.x)
    device = problem.x[0].device
    f = lambda *given: kept(lambda: problem.f(*given), device)[0]  # every pass with the same random draws
    with torch.no_grad(), Steady(), within_tables(problem):
        mode, outputs = _run(f, x, problem.args_of(rows), rows_first)
        plan, selects = mode.found(), problem.selects(outputs)
        _check_any(problem.x, plan)
        y = torch.cat([problem.value(outputs, select, rows) for select in selects])
        more = tuple(torch.cat([a, b[:1]]) for a, b in zip(x, problem.x0, strict=True))
        again = _read(f, more, problem.args_of(torch.cat([rows, rows[:1]])), plan)
        pairs = zip(mode.read, again, strict=True)
        layouts = [layout(alone, len(rows), other, len(rows) + 1) for alone, other in pairs]
        by_row = lambda read, n: [way.by_row(t, n).contiguous() for way, t in zip(layouts, read, strict=True)]

        def at_baseline(i: slice) -> tuple[Tensor, list[Tensor]]:
            points, which = tuple(t[i] for t in problem.x0), every[i]
            at, out = _run(f, points, problem.args_of(which), rows_first, plan)
            return problem.value(out, selects[0], which), by_row(at.read, len(which))

        y0, at_x0 = zip(*batched(problem, problem.rows, at_baseline), strict=True)
        at_x0 = [torch.cat(each) for each in zip(*at_x0, strict=True)]
        at_x = by_row(mode.read, len(rows))
        if problem.source is not None:
            at_x = [t[problem.source] for t in at_x]
        integers = [i for i, t in enumerate(problem.x) if not t.is_floating_point()]

        def read(ids: Tensors, which: Tensor) -> list[Tensor]:
            points = [t[which] for t in problem.x]
            for i, t in zip(integers, ids, strict=True):
                points[i] = t
            return by_row(_read(f, tuple(points), problem.args_of(which), plan), len(which))

        ids, ids0 = (tuple(t[i] for i in integers) for t in (problem.x, problem.x0))
        found = places(read, ids, ids0, at_x, at_x0)
        by_ids = all(torch.equal(a, b) for a, b in zip(read(ids0, every), at_x0, strict=True))
        if not by_ids or found is None:
            raise GraphMismatch(
                "A look-up of the function depends on "
                + ("several ids that matter only together" if by_ids else "the other inputs as well as on ids")
                + ", so that no id can be given its score; expected look-ups that depend on single ids. Use "
                f"{WITHOUT_GRADIENT}."
            )
    own = [k for k, t in enumerate(found) if len(t) or not torch.equal(at_x[k], at_x0[k])]
    asked = _looking_up(problem, plan, {k: layouts[k] for k in own}, rows_first)
    asked = replace(
        asked,
        x=(*asked.x, *(at_x[k] for k in own)),
        x0=(*asked.x0, *(at_x0[k] for k in own)),
        args=(*ids, *problem.args),
    )
    if grouped:
        asked = replace(asked, groups=_groups_of_lookups(problem, [found[k] for k in own], [at_x[k] for k in own]))
    source = every if problem.source is None else problem.source
    mine = tuple(torch.stack([source[t[:, 0]], t[:, 1], t[:, 2]], 1).unique(dim=0) for t in (found[k] for k in own))
    mean = torch.zeros_like(y, dtype=torch.float64).index_add_(0, source, torch.cat(y0).double())
    return Followed(asked, x, mine, (y, mean / source.bincount()), plan.others)


@contextmanager
def within_tables(problem: Problem) -> Iterator[None]:
    """Raises InputError where an id of the input or of the baseline is beyond the table that it is looked up in."""
    try:
        yield
    except IndexError as error:
        ends = zip(problem.x, problem.x0, strict=True)
        ids = [(i, t, t0) for i, (t, t0) in enumerate(ends) if not t.is_floating_point()]
        if not ids:
            raise
        told = ", ".join(
            f"input {i} from {int(t.min())} to {int(t.max())} and its baseline from {int(t0.min())} to {int(t0.max())}"
            for i, t, t0 in ids
        )
        raise InputError(f"An id is beyond the table that it is looked up in ({error}): found {told}.") from error


def _run(
    f: Function,
    x: Tensors,
    args: Arguments,
    rows_first: Callable[[Function], Function],
    plan: Plan | None = None,
) -> tuple[Lookups, Outputs]:
    """The outputs of f at x, and the look-ups of its (first) pass."""
    modes: list[Lookups] = []

    def seen(*given: Outputs) -> Outputs:
        ids = [t for t in given[: len(x)] if not t.is_floating_point()]
        with Lookups(ids, [t for t in given[: len(x)] if t.is_floating_point()], plan) as mode:
            out = f(*given)
        modes.append(mode)
        mode.found()
        return out

    outputs = rows_first(seen)(*x, *args)
    return modes[0], outputs


def _read(f: Function, x: Tensors, args: Arguments, plan: Plan) -> list[Tensor]:
    """What the look-ups of f return at x. f runs no further than the last of them."""
    mode = Lookups([t for t in x if not t.is_floating_point()], (), plan, stop=True)
    if plan.values:
        with suppress(Enough), mode:
            f(*x, *args)
    return mode.read


def _looking_up(
    problem: Problem,
    plan: Plan,
    layouts: Mapping[int, Layout],
    rows_first: Callable[[Function], Function],
) -> Problem:
    """The Problem whose function takes the float inputs, the look-ups in `layouts`, the integer inputs, and the
    args."""
    is_float = [t.is_floating_point() for t in problem.x]
    numbers, of_lookups = sum(is_float), len(layouts)

    def f(*given: Outputs) -> Outputs:
        floats, values = iter(given[:numbers]), given[numbers : numbers + of_lookups]
        ids = given[numbers + of_lookups : len(is_float) + of_lookups]
        integers, others = iter(ids), given[len(is_float) + of_lookups :]
        instead: list[Tensor | None] = [None] * plan.values
        for k, value in zip(layouts, values, strict=True):
            instead[k] = layouts[k].back(value)
        with Lookups(ids, (), plan, instead) as mode:
            out = problem.f(*(next(floats if own else integers) for own in is_float), *others)
        mode.found()
        return out

    kept = lambda tensors: tuple(t for t in tensors if t.is_floating_point())
    return replace(problem, f=rows_first(f), x=kept(problem.x), x0=kept(problem.x0))


def _groups_of_lookups(problem: Problem, found: Sequence[Tensor], at_x: Sequence[Tensor]) -> Tensors:
    """The groups of the float inputs, and of each look-up those of the ids that its numbers are made of; −1 for a
    number made of none, which is the same at x and at x0. found: as `origins.places`."""
    groups = groups_of(problem)
    of_floats = [g for g, t in zip(groups, problem.x, strict=True) if t.is_floating_point()]
    of_ids = torch.cat([flat(g) for g, t in zip(groups, problem.x, strict=True) if not t.is_floating_point()], 1)
    of_lookups: list[Tensor] = []
    for triples, t in zip(found, at_x, strict=True):
        (row, element, position), numbers = triples.T, torch.full_like(flat(t), -1, dtype=torch.int64)
        own = of_ids[row, element]
        numbers[row, position] = own
        if bool((numbers[row, position] != own).any()):
            raise InputError(
                "A look-up of the function is made of ids of several groups at once; expected look-ups of single ids, "
                "of which one group can be set apart. Put ids that are looked up together into one group, or use "
                "method='deeplift'."
            )
        of_lookups.append(numbers.view(t.shape))
    return (*of_floats, *of_lookups)


def _check_any(x: Tensors, plan: Plan) -> None:
    """Raises InputError where nothing can be explained: f has no float inputs and makes no look-ups."""
    if plan.values or any(t.is_floating_point() for t in x):
        return
    how = f" It is read by {', '.join(plan.others[:3])}." if plan.others else ""
    raise InputError(
        f"Input 0 is {x[0].dtype} {tuple(x[0].shape)}, and the function makes nothing of it that carries a gradient; "
        "expected a float tensor, or integers that it looks up (an embedding, weight[ids], one_hot(ids).float())."
        f"{how} Use a method that needs no gradient, such as method='shapley'."
    )


def _total(values: Sequence[Tensor]) -> Tensor:
    """The sum of each row's values (rows,)."""
    return torch.stack([flat(v).double().sum(1) for v in values]).sum(0)
