"""Adding to Pellucid from outside: a DeepLIFT rule for an operation, a method, a task; and the checks of a new rule.

A rule. DeepLIFT refuses an operation that it has no rule for, such as a custom autograd function, and names it:

>>> import torch, pellucid
>>> class Cube(torch.autograd.Function):
...     @staticmethod
...     def forward(ctx, x):
...         ctx.save_for_backward(x)
...         return x**3
...
...     @staticmethod
...     def backward(ctx, g):
...         return 3 * ctx.saved_tensors[0] ** 2 * g
>>> f = lambda x: Cube.apply(x).sum(-1)
>>> x, x0 = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, -1.0]])
>>> pellucid.attribute(f, x, x0)
Traceback (most recent call last):
    ...
pellucid.errors.UnsupportedOperation: DeepLIFT has no rule for the operation 'CubeBackward', so ...

A rule takes the operation's node in the graph of x and its partner in the graph of x0, which hold what the operation
saved. It returns a function from the multipliers g of the outputs to those of the inputs, here g·Δy/Δx, which keeps
Σ m·Δx = Σ g·Δy. In a `with` block the rule is there until the end of the block; after a plain call it stays.

>>> def cube(node, node0):
...     (x,), (x0,) = node.saved_tensors, node0.saved_tensors
...     return lambda g: (g[0] * (x * x + x * x0 + x0 * x0),)
>>> with pellucid.extend.rule("CubeBackward", cube):
...     a = pellucid.attribute(f, x, x0)
...     summation = pellucid.extend.summation_error(f, (x,), (x0,))
...     limit = pellucid.extend.limit_error(lambda x: Cube.apply(x), (x.double(),))
>>> a.values, a.delta
(tensor([[1., 9.]]), tensor([0.], dtype=torch.float64))
>>> summation < 1e-6 and limit < 1e-4
True

A method takes a Problem and returns one Attribution for each of its targets. This one shares the change evenly:

>>> from pellucid.extend import Status, solved, value_at_x, value_at_x0
>>> def even(problem):
...     outputs, selects, y = value_at_x(problem)
...     y0 = value_at_x0(problem, selects)
...     (x,) = problem.x
...     return tuple(
...         solved(
...             (((v - v0) / x[0].numel()).view(-1, 1).expand(x.shape),),
...             v,
...             v0,
...             passes=2,
...             status=Status.CLOSED_FORM,
...             outputs=outputs,
...         )
...         for v, v0 in zip(y, y0)
...     )
>>> with pellucid.extend.method("even", even, adds_up=True, summary="the change, shared evenly"):
...     pellucid.attribute(lambda x: x.prod(-1), torch.tensor([[2.0, 3.0]]), method="even").values
tensor([[3., 3.]])
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from .attribution import Attributions, solved
from .engine.passes import value_at_x, value_at_x0
from .errors import InputError
from .methods import METHODS, Method, noting
from .numerics.deeplift.checking import limit_error, multipliers, summation_error
from .numerics.deeplift.lockstep import LEAF, Rule
from .numerics.deeplift.rules.table import RULES
from .status import Status

if TYPE_CHECKING:
    from .models.tasks import Task

__all__ = [
    "Addition",
    "Status",
    "limit_error",
    "method",
    "multipliers",
    "rule",
    "solved",
    "summation_error",
    "task",
    "value_at_x",
    "value_at_x0",
]

Row = TypeVar("Row")


@dataclass(frozen=True)
class Addition:
    """What has been added to a table. As a context manager it takes the addition back at the end of the block.

    undo: takes it back at once; what stood under the name before stands there again.
    """

    undo: Callable[[], None]

    def __enter__(self) -> Addition:
        return self

    def __exit__(self, *error: object) -> None:
        self.undo()


def rule(name: str, rule: Rule, *, replace: bool = False) -> Addition:
    """Adds the rule by which DeepLIFT passes an operation.

    name: autograd's name of the operation, `result.grad_fn.name()`. Of a custom autograd function it is the name of the
        class and "Backward". The error for an operation without a rule shows it.
    rule: `(node, partner) -> (g -> m)`, as the example at the top of this module.
    replace: allow a name that has a rule already; else InputError.
    """
    if name == LEAF:
        raise InputError(f"Found a rule for {name!r}; expected an operation; that node is an input of the graph.")
    _check_takes(rule, f"the rule of {name!r}", "a node and its partner", 2)
    return _added(RULES, name, rule, replace, "rule")


def method(
    name: str,
    solve: Callable[..., Attributions],
    *,
    adds_up: bool,
    summary: str,
    groups: bool = False,
    passes_inside: bool = False,
    distribution: bool = False,
    replace: bool = False,
) -> Addition:
    """Adds a method, which `explain` and `attribute` then know by its name.

    solve: `(problem, **options) -> attributions`, one Attribution for each target. The other parameters of the function
        are the method's options, and their annotations (int, float, bool, str, None) are checked.
    adds_up: whether its scores sum to the change in the output.
    summary: one line for people, as `pellucid methods` shows it.
    groups: whether it removes groups of positions, and so takes `groups` and baseline="delete".
    passes_inside: whether it tells what the tensors inside the model contribute (`Problem.watch`).
    distribution: whether it compares each input with all baselines at once, as a sample; else it is asked for each
        baseline.
    replace: allow a name that there is already; else InputError.
    """
    _check_takes(solve, f"the method {name!r}", "a Problem", 1)
    row = Method(noting(solve, not groups), adds_up, summary, groups, passes_inside, distribution)
    return _added(METHODS, name, row, replace, "method")


def task(task: Task, *, replace: bool = False) -> Addition:
    """Adds a task, under its own name: how a kind of model is run, and which of its outputs are explained.

    task: as the rows of `pellucid.models.tasks.TASKS`.
    replace: allow a name that there is already; else InputError.
    """
    from .models.tasks import TASKS, Task  # loads transformers

    if not isinstance(task, Task):
        raise InputError(f"Found a {type(task).__name__} as the task; expected a pellucid.models.tasks.Task.")
    return _added(TASKS, task.name, task, replace, "task")


def _added(table: dict[str, Row], name: str, row: Row, replace: bool, what: str) -> Addition:
    """Puts a row into a table, in place."""
    if name in table and not replace:
        raise InputError(
            f"There is a {what} of the name {name!r} already; expected a new name. Choose another one, or pass "
            "replace=True to put this one in its place."
        )
    before = table.get(name)
    table[name] = row

    def undo() -> None:
        if table.get(name) is not row:  # taken back already, or another one stands in its place
            return
        if before is None:
            del table[name]
        else:
            table[name] = before

    return Addition(undo)


def _check_takes(function: Callable[..., object], what: str, given: str, arguments: int) -> None:
    """Raises InputError where a function cannot be called with so many arguments."""
    try:
        inspect.signature(function).bind(*[None] * arguments)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Found {what}, which does not take {given} ({error}); expected a function of {arguments} positional "
            "argument(s). `help(pellucid.extend)` shows one that runs."
        ) from error
