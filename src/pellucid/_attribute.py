"""`pellucid.attribute`: explains any PyTorch function, without a tokenizer or a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from .attribution import Attribution, doubted, sizes
from .engine.borrowing import undisturbed
from .engine.integer_inputs import within_tables
from .engine.problem_of import BaselinePoint, followed_problem_of, problem_of
from .engine.rows import mixed, not_rowwise
from .engine.targets import OutputTarget
from .errors import InputError, PellucidError
from .methods import METHODS, Method, Options
from .methods import method as find_method
from .methods.remarks import differentiated
from .problem import Arguments, Function, Problem, Tensors
from .randomness import VARIES


@torch.inference_mode(False)
def attribute(
    f: Function,
    x: Tensor | Tensors,
    x0: BaselinePoint = None,
    method: str = "deeplift",
    target: OutputTarget = None,
    args: Arguments | Tensor = (),
    *,
    groups: Tensor | Tensors | None = None,
    **options: object,
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
    groups: which elements go together, for the methods that remove elements and for "deeplift_apart", which sets one
        group apart: an int64 tensor of a prefix of `x`'s shape (one row is spread over all), or a tuple of them for a
        tuple of inputs. Equal numbers in a row are one group; −1 stays as it is. None: every element is a group of its
        own.
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
    row, given = find_method(method, options)
    if groups is not None and not row.groups:
        remove = ", ".join(name for name, m in METHODS.items() if m.groups)
        raise InputError(f"Found groups with method={method!r}; expected a method that removes groups: {remove}.")
    xs = x if isinstance(x, tuple) else (x,)
    with _saying_shapes(xs), undisturbed():
        if row.only_removes or all(isinstance(t, Tensor) and t.is_floating_point() for t in xs):
            problem = problem_of(f, xs, x0, target, args, groups, sample=row.distribution)
            with within_tables(problem):
                answer = _solved(row, problem, given)
        else:
            with differentiated(problem_of(f, xs, x0, target, args, groups, sample=row.distribution)):
                found = followed_problem_of(
                    f, xs, x0, target, args, groups, sample=row.distribution, grouped=row.groups
                )
            answer = found.given_back(_solved(row, found.problem, given, followed=True))
    answer = _noted(answer)
    return answer if isinstance(x, tuple) else replace(answer, values=answer.values[0])


@contextmanager
def _saying_shapes(x: Tensors) -> Iterator[None]:
    """Adds to an error of the user's function the shapes that it was called with, and what they mean."""
    try:
        yield
    except PellucidError:
        raise
    except Exception as error:
        given = ", ".join(str(tuple(t.shape)) if isinstance(t, Tensor) else type(t).__name__ for t in x)
        error.add_note(
            f"pellucid.attribute called the function with inputs of shape {given}. The first dimension counts the rows "
            "of a batch, so a single input is one row: x[None]."
        )
        raise


_CANCELLING = 1000
"""Σ|values| over the change in the output, from which values of single elements are said to cancel: those of a vector
cancel a good deal by nature."""


def _noted(answer: Attribution) -> Attribution:
    """The answer with a note where its values nearly cancel."""
    if not answer.status.promises:
        return answer
    times = sizes(answer) / (answer.output - answer.baseline_output).abs()
    rows = int((times > _CANCELLING).sum())
    if not rows:
        return answer
    note = (
        f"The values cancel in {rows} of {len(times)} rows: what raises the output and what lowers it are together "
        f"over {_CANCELLING} times what is left, the change in the output. Another baseline or target changes it more."
    )
    return replace(answer, notes=(*answer.notes, note))


def _solved(row: Method, problem: Problem, options: Options, followed: bool = False) -> Attribution:
    """The answer to a Problem of one target. Of a function that mixes the rows of a batch, a single row is asked again,
    alone. Raises InputError where it mixes several rows."""
    (answer,) = row.solve(problem, **options)
    several = problem.rows > 1 if (first := problem.firsts()) is None else len(first) > 1
    if not (several or problem.found.packed):
        return answer
    if followed:  # what f returned there was not for its ids alone
        problem.found.among = None
    off = mixed(problem, answer)
    if problem.found.varies:
        return doubted(answer, VARIES)
    if not off:
        return answer
    if several:
        raise not_rowwise(off)
    problem.draws.mixes = True
    (answer,) = row.solve(problem, **options)
    return answer
