"""From a function and its inputs to a Problem, which a method can solve, without a model or a tokenizer.

>>> import torch
>>> from pellucid.engine.passes import values_at_ends
>>> problem = problem_of(lambda x: (x * x).sum(-1), torch.tensor([[1.0, 2.0]]))
>>> outputs, selects, y, y0 = values_at_ends(problem)
>>> y, y0
((tensor([5.]),), (tensor([0.]),))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..problem import Arguments, Found, Function, Outputs, Problem, Tensors, by_row, mapped
from .borrowing import one_pass
from .integer_inputs import Followed, followed
from .rows import AnyCount
from .targets import OutputTarget, select_of

BaselinePoint: TypeAlias = Tensor | tuple[Tensor | float, ...] | float | None
"""A baseline: a tensor or a number, or one of them for each input; None for zeros."""


def problem_of(
    f: Function,
    x: Tensor | Tensors,
    x0: BaselinePoint = None,
    target: OutputTarget = None,
    args: Arguments | Tensor = (),
    groups: Tensor | Tensors | None = None,
    *,
    sample: bool = False,
) -> Problem:
    """The Problem of any PyTorch function. The parameters are those of `pellucid.attribute`.

    sample: the rows of x0 are a sample of baselines, with each of which every row of x is compared (`Problem.source`).
        Else row i of x0 is the baseline of row i of x.

    Raises InputError, and when the Problem is solved UnknownTarget.
    """
    problem = _problem(f, x, x0, target, args, groups, sample)
    return replace(problem, f=_rows_first(problem)(problem.f))


def followed_problem_of(
    f: Function,
    x: Tensor | Tensors,
    x0: BaselinePoint = None,
    target: OutputTarget = None,
    args: Arguments | Tensor = (),
    groups: Tensor | Tensors | None = None,
    *,
    sample: bool = False,
    grouped: bool = False,
) -> Followed:
    """As `problem_of`, for a function with integer inputs and a method that needs a gradient.

    The Problem is about what f looks up by its integers; `Followed.given_back` turns its answer into one about the
    integers. grouped: whether it has groups: what is looked up by an id is in the id's. Raises InputError where f looks
    nothing up, or where one look-up is in several groups, and GraphMismatch.
    """
    problem = _problem(f, x, x0, target, args, groups, sample)
    return followed(problem, _rows_first(problem), grouped)


def _problem(
    f: Function,
    x: Tensor | Tensors,
    x0: BaselinePoint,
    target: OutputTarget,
    args: Arguments | Tensor | None,
    groups: Tensor | Tensors | None,
    sample: bool,
) -> Problem:
    """The Problem of f as it is: for a single row f may return a number without dimensions."""
    if not callable(f):
        raise InputError(f"Found a {type(f).__name__} as the function; expected one that takes tensors, rows first.")
    xs = x if isinstance(x, tuple) else (x,)
    rows = _row_count(xs)
    baselines = _baselines(xs, x0, sample)
    own = lambda t: t.clone() if t.is_inference() else t
    more = args if isinstance(args, tuple) else () if args is None else (args,)
    found = Found()
    problem = Problem(
        AnyCount(_on_copies(_unchanged(f), len(xs)), rows, found),
        tuple(own(t).detach() for t in xs),
        xs if sample else baselines,
        lambda outputs: select_of(target, outputs, rows),
        mapped(own, more),
        groups=None if groups is None else _numbered(groups, xs),
        found=found,
    )
    if not sample:
        return problem
    each = torch.arange(rows, device=xs[0].device).repeat_interleave(len(baselines[0]))
    return problem.against(each, tuple(b.repeat(rows, *[1] * (b.ndim - 1)) for b in baselines))


def _rows_first(problem: Problem) -> Callable[[Function], Function]:
    inputs = problem.rows if problem.source is None else int(problem.source.max()) + 1
    return _of_one_row if inputs == 1 else lambda f: f


def _row_count(xs: Tensors) -> int:
    """How many rows the inputs have. Raises InputError where an input is no dense tensor of numbers with rows, or has
    another number of rows than the first."""
    for i, t in enumerate(xs):
        if not isinstance(t, Tensor):
            what = type(t).__name__
        elif t.is_nested or t.is_meta or t.layout != torch.strided:
            what = "nested" if t.is_nested else "without values, on the meta device" if t.is_meta else f"{t.layout}"
        elif t.ndim == 0 or t.is_complex() or t.is_quantized:
            what = f"{t.dtype} {tuple(t.shape)}"
        else:
            continue
        raise InputError(
            f"Input {i} is {what}; expected a dense float tensor with rows first (to_dense, dequantize and "
            "torch.view_as_real make one), or one of integers that the function looks up. For a text use "
            "pellucid.explain."
        )
    sizes = {t.shape[0] for t in xs}
    if len(sizes) != 1 or 0 in sizes:
        raise InputError(
            f"The inputs have {sorted(sizes)} rows; expected the same number of rows in each, at least one."
        )
    if not all(t.numel() for t in xs):
        raise InputError(f"The inputs have the shapes {[tuple(t.shape) for t in xs]}; expected elements in each.")
    return sizes.pop()


def _baselines(xs: Tensors, x0: BaselinePoint, sample: bool) -> Tensors:
    """The baseline of each input, in the input's shape. A sample has any number of rows, the same for all inputs."""
    given = x0 if isinstance(x0, tuple) else (x0,) * len(xs) if not isinstance(x0, Tensor) else (x0,)
    if len(given) != len(xs):
        raise InputError(f"Found {len(given)} baselines for {len(xs)} inputs; expected as many of each.")
    result = []
    for i, (t, t0) in enumerate(zip(xs, given, strict=True)):
        try:
            number = torch.as_tensor(0.0 if t0 is None else t0).detach()
            like = number.to(t)
            if not t.is_floating_point() and (like != number.to(like.device)).any():
                raise TypeError(f"{t.dtype} cannot hold it")
            rows = len(t) if not sample else len(like) if like.ndim == t.ndim else 1
            result.append(like.expand(rows, *t.shape[1:]).clone(memory_format=torch.contiguous_format))
        except (RuntimeError, TypeError, ValueError) as error:
            what = tuple(t0.shape) if isinstance(t0, Tensor) else repr(t0)
            raise InputError(
                f"Baseline {i} is {what}; expected a number or a tensor that fits {t.dtype} {tuple(t.shape)}."
            ) from error
    most = max(map(len, result))
    result = [t.expand(most, *t.shape[1:]) if len(t) == 1 else t for t in result]
    if len(sizes := {len(t) for t in result}) != 1 or 0 in sizes:
        raise InputError(
            f"The baselines have {sorted(sizes)} rows; expected at least one, and as many for each of the inputs."
        )
    return tuple(result)


def _numbered(groups: Tensor | Tensors, xs: Tensors) -> Tensors:
    """The groups of each row numbered from 0 in the order of the user's numbers, through all inputs."""
    given = groups if isinstance(groups, tuple) else (groups,)
    if len(given) != len(xs):
        raise InputError(f"Found groups for {len(given)} inputs; expected them for {len(xs)}, one tensor for each.")
    spread = []
    for i, (g, t) in enumerate(zip(given, xs, strict=True)):
        whole = isinstance(g, Tensor) and g.dtype == torch.int64 and min(2, t.ndim) <= g.ndim <= t.ndim
        if not whole or g.shape[0] not in (1, len(t)) or g.shape[1:] != t.shape[1 : g.ndim]:
            what = f"{g.dtype} {tuple(g.shape)}" if isinstance(g, Tensor) else type(g).__name__
            raise InputError(
                f"The groups of input {i} are {what}; expected int64 of a prefix of {tuple(t.shape)}: rows (or 1), "
                "then at least one more dimension."
            )
        spread.append(g.to(t.device).expand(len(t), *g.shape[1:]))
    flat = torch.cat([by_row(g) for g in spread], 1)
    if (flat < -1).any() or (flat.amax(1) < 0).any():
        raise InputError(
            f"Found groups from {int(flat.min())} to {int(flat.max())}; expected numbers from 0 (−1 for what stays), "
            "and at least one group in every row."
        )
    for row in flat:
        own = row >= 0
        row[own] = torch.unique(row[own], return_inverse=True)[1]
    parts = flat.split([g[0].numel() for g in spread], 1)
    return tuple(part.reshape(g.shape) for part, g in zip(parts, spread, strict=True))


def _on_copies(f: Function, inputs: int) -> Function:
    """f on copies of its inputs and of the tensors among its other arguments, so that what f changes in place is
    neither the user's nor that of the next pass."""
    return lambda *x: f(*(t.clone() for t in x[:inputs]), *mapped(Tensor.clone, x[inputs:]))


def _unchanged(net: Function) -> Function:
    """A function that, where it is a module and changes itself in a pass, is put back after each. Whether it changes
    itself is looked at once for each shape of its inputs."""
    if not isinstance(net, nn.Module):
        return net
    changes, seen = False, set[tuple[torch.Size, ...]]()

    def run(*x: Outputs) -> Outputs:
        nonlocal changes
        shapes = tuple(t.shape for t in x if isinstance(t, Tensor))
        if shapes in seen and not changes:
            return net(*x)
        with one_pass(net) as change:
            out = net(*x)
        seen.add(shapes)
        changes |= change.found
        return out

    return run


def _of_one_row(f: Function) -> Function:
    """f with rows first. A function of a single row may return a number without dimensions; at several points it is
    then called once for each point."""

    def rows_first(*x: Outputs) -> Outputs:
        out = f(*x)
        if not isinstance(out, Tensor) or out.ndim:
            return out
        n = x[0].shape[0]
        one = lambda a, i: a[i : i + 1] if isinstance(a, Tensor) and a.ndim and a.shape[0] == n else a
        return out.view(1) if n == 1 else torch.stack([f(*(one(a, i) for a in x)) for i in range(n)])

    return rows_first
