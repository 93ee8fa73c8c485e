"""Any PyTorch function, explained with the same methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .engine.integer_inputs import followed
from .errors import InputError, UnknownTarget
from .methods import METHODS
from .methods import method as find_method
from .problem import Attribution, Problem, Select, Tensors, by_row, mapped


@torch.inference_mode(False)
def attribute(
    f: Callable[..., Any],
    x: Tensor | Tensors,
    x0: Tensor | tuple[Tensor | float, ...] | float | None = None,
    method: str = "deeplift",
    target: int
    | tuple[int, ...]
    | list[Any]
    | Tensor
    | np.ndarray
    | np.generic
    | Callable[[Any], Tensor]
    | None = None,
    args: tuple[Any, ...] | Any = (),
    *,
    groups: Tensor | Tensors | None = None,
    **options: Any,
) -> Attribution:
    """How much each element of `x` contributed to `f(x) − f(x0)`.

    f: `f(*x, *args)` returns a tensor, rows first; a row of it depends on that row of the input only. An `nn.Module`,
        a functional, a closure: nothing is replaced or patched.
    x: a tensor (rows, …), or a tuple of them, of floats or of integers or truth values that `f` looks up: the ids of
        categories or tokens. `f` gets a copy, which it may change in place. Integers have no gradient, so a method that
        needs one follows them through the look-ups that read them (an embedding, `weight[ids]`, `one_hot(ids).float()`,
        a mask; see `categories`), and each id has one score.
    x0: the baseline, like `x`; one row or a number is spread over all rows. None means zero, which for ids is category
        0, whatever that is: name the category to compare with. For the methods over a
        distribution of baselines (gradient_shap, expected_gradients, deep_shap) its rows are the sample, as many as
        there are, and every row of `x` is compared with all of them, as in Captum.
    target: which output: an index, a tuple of indices, one index per row (a list, or integers (rows,)), or a function
        `outputs -> (rows,)`. None where `f` returns one scalar per row.
    args: what else `f` takes, a tuple or a single one; a tensor with as many rows as `x` is split together with it.
    groups: for the methods that remove elements, which go together: an int64 tensor of a prefix of `x`'s shape (one row
        is spread over all), or a tuple of them for a tuple of inputs. Equal numbers in a row are one group; −1 stays as
        it is. None: every element is a group of its own.
    options: the method's own.

    Returns an Attribution: `.values` like `x`, and `.delta` (rows,), the residual.
    Raises UnsupportedOperation, GraphMismatch, CutGraph (deeplift), UnknownTarget, InputError, NonFiniteOutput.

    Examples:
        >>> import torch, pellucid
        >>> a = pellucid.attribute(lambda x: (x * x).sum(-1), torch.tensor([[1.0, 2.0]]))
        >>> a.values, a.delta
        (tensor([[1., 4.]]), tensor([0.], dtype=torch.float64))

        A number beside two categories, of which 0 and 2 are compared with:

        >>> table = torch.tensor([[0.0, 0.0], [1.0, 2.0], [5.0, 5.0]])
        >>> f = lambda number, ids: number[:, 0] * table[ids].sum((1, 2))
        >>> x, x0 = (torch.tensor([[2.0]]), torch.tensor([[1, 2]])), (2.0, torch.tensor([[0, 2]]))
        >>> pellucid.attribute(f, x, x0).values
        (tensor([[0.]]), tensor([[6., 0.]]))
    """
    xs = x if isinstance(x, tuple) else (x,)
    row, given = find_method(method, options)
    rows = _row_count(xs)
    baselines = _baselines(xs, x0, row.distribution)
    own = lambda t: t.clone() if t.is_inference() else t
    more = args if isinstance(args, tuple) else () if args is None else (args,)
    rows_first = _of_one_row if rows == 1 else lambda f: f
    integers = not row.groups and not all(t.is_floating_point() for t in xs)
    on_copies = _on_copies(f, len(xs))
    problem = Problem(
        on_copies if integers else rows_first(on_copies),
        tuple(own(t).detach() for t in xs),
        xs if row.distribution else baselines,
        lambda outputs: _select(target, outputs, rows),
        mapped(own, more),
        groups=None if groups is None else _numbered(groups, xs),
    )
    if row.distribution:
        sample = len(baselines[0])
        each = torch.arange(rows, device=xs[0].device).repeat_interleave(sample)
        problem = problem.against(each, tuple(b.repeat(rows, *[1] * (b.ndim - 1)) for b in baselines))
    if groups is not None and not row.groups:
        remove = ", ".join(name for name, m in METHODS.items() if m.groups)
        raise InputError(f"Found groups with method={method!r}; expected a method that removes groups: {remove}.")
    if integers:
        lookups = followed(problem, rows_first)
        answer = lookups.given_back(*row.solve(lookups.problem, **given))
    else:
        (answer,) = row.solve(problem, **given)
    return answer if isinstance(x, tuple) else replace(answer, values=answer.values[0])


def _row_count(xs: Tensors) -> int:
    """The rows, the same in each input."""
    for i, t in enumerate(xs):
        if not isinstance(t, Tensor) or t.ndim == 0 or t.is_complex():
            what = f"{t.dtype} {tuple(t.shape)}" if isinstance(t, Tensor) else type(t).__name__
            raise InputError(
                f"Input {i} is {what}; expected a float tensor with rows first, or one of integers that the function "
                "looks up. For a text use pellucid.explain."
            )
    sizes = {t.shape[0] for t in xs}
    if len(sizes) != 1 or 0 in sizes:
        raise InputError(
            f"The inputs have {sorted(sizes)} rows; expected the same number of rows in each, at least one."
        )
    if not all(t.numel() for t in xs):
        raise InputError(f"The inputs have the shapes {[tuple(t.shape) for t in xs]}; expected elements in each.")
    return sizes.pop()


def _baselines(xs: Tensors, x0: Any, sample: bool) -> Tensors:
    """One for each input, of its shape; as a sample with any number of rows, the same for all inputs."""
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


def _numbered(groups: Any, xs: Tensors) -> Tensors:
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


def _select(target: Any, outputs: Any, rows: int) -> Select:
    """The target's scalar in each row of the outputs; those at x are looked at for their shape only."""
    if callable(target):
        return lambda out, which: _scalars(target(out), len(which))
    if not isinstance(outputs, Tensor):
        raise UnknownTarget(
            f"The function returned a {type(outputs).__name__}; expected a tensor. Return one, or pass a target "
            "function that picks the scalar: target=lambda out: out.logits[:, 1]."
        )
    if outputs.ndim == 0 or outputs.shape[0] != rows:
        raise UnknownTarget(
            f"The function returned shape {tuple(outputs.shape)} for {rows} rows; expected rows first: one output per "
            "row of the input."
        )
    if target is None:
        return lambda out, which: _scalars(out, len(which))
    index = _index(target, outputs, rows)
    return lambda out, which: out[
        (torch.arange(len(which), device=out.device), *(i.to(out.device)[which] for i in index))
    ]


def _on_copies(f: Callable[..., Any], inputs: int) -> Callable[..., Any]:
    """`f` on copies of its inputs: it may begin with an operation in place, and never reaches the user's tensors."""
    return lambda *x: f(*(t.clone() for t in x[:inputs]), *x[inputs:])


def _of_one_row(f: Callable[..., Any]) -> Callable[..., Any]:
    """For one row, `f` may return a number without dimensions; at several points it is then asked one at a time."""

    def rows_first(*x: Any) -> Any:
        out = f(*x)
        if not isinstance(out, Tensor) or out.ndim:
            return out
        n = x[0].shape[0]
        one = lambda a, i: a[i : i + 1] if isinstance(a, Tensor) and a.ndim and a.shape[0] == n else a
        return out.view(1) if n == 1 else torch.stack([f(*(one(a, i) for a in x)) for i in range(n)])

    return rows_first


def _scalars(y: Any, n: int) -> Tensor:
    if isinstance(y, Tensor) and y.ndim > 1 and y.numel() == n:
        y = y.reshape(n)
    if not isinstance(y, Tensor) or y.shape != (n,):
        what = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise UnknownTarget(f"Found {what} for {n} rows; expected one scalar per row. Choose one with target=index.")
    return y


def _index(target: Any, outputs: Tensor, rows: int) -> list[Tensor]:
    """One index tensor (rows,) per dimension of the outputs after the first."""
    each = target.tolist() if isinstance(target, (Tensor, np.ndarray, np.generic)) else target
    per_row = each if isinstance(each, list) else [each] * rows
    per_row = [t.tolist() if isinstance(t, (Tensor, np.generic)) else t for t in per_row]
    if len(per_row) == 1:
        per_row = per_row * rows
    tuples = [t if isinstance(t, (tuple, list)) else (t,) for t in per_row]
    sizes = outputs.shape[1:]
    fits = len(tuples) == rows and all(
        len(t) == len(sizes) and all(isinstance(i, int) and -n <= i < n for i, n in zip(t, sizes, strict=True))
        for t in tuples
    )
    if not fits:
        raise UnknownTarget(
            f"Found target={target!r} for outputs of shape {tuple(outputs.shape)}; expected an index of one scalar per "
            f"row: {len(sizes)} number(s) below {tuple(sizes)}, or a list of {rows} of them."
        )
    return [torch.tensor([t[k] % n for t in tuples]) for k, n in enumerate(sizes)]
