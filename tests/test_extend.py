"""The door for extensions: what is added works, is taken back, and refuses what cannot work."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import pellucid
from pellucid.attribution import Attributions
from pellucid.errors import InputError, UnsupportedOperation
from pellucid.numerics.deeplift.lockstep import LEAF, Step
from pellucid.numerics.deeplift.nodes import Node
from pellucid.numerics.deeplift.rules.table import RULES
from pellucid.problem import Problem


class Swap(torch.autograd.Function):
    """Two inputs and two outputs: (a·b, a − b)."""

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        ctx.save_for_backward(a, b)
        return a * b, a - b

    @staticmethod
    def backward(ctx, g: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        a, b = ctx.saved_tensors
        return g * b + h, g * a - h


def swap(n: Node, n0: Node) -> Step:
    (a, b), (a0, b0) = n.saved_tensors, n0.saved_tensors
    return lambda g: (g[0] * (b + b0) / 2 + g[1], g[0] * (a + a0) / 2 - g[1])


def f(a: Tensor, b: Tensor) -> Tensor:
    product, difference = Swap.apply(a, b)  # type: ignore[misc]
    return (product + difference.tanh()).sum(1)


def test_a_rule_adds_up_and_is_taken_back() -> None:
    ends = [tuple(torch.randn(2, 3, dtype=torch.float64) for _ in range(2)) for _ in range(2)]
    with pellucid.extend.rule("SwapBackward", swap):
        a = pellucid.attribute(f, *ends)
        assert a.delta.abs().max() < 1e-13 and a.status == "exact"
        assert pellucid.extend.summation_error(f, *ends) < 1e-14
        assert pellucid.extend.limit_error(f, ends[0]) < 1e-4
        wrong = lambda n, n0: lambda g: (g[0] * n.saved_tensors[1] + g[1], g[0] * n.saved_tensors[0] - g[1])
        with pellucid.extend.rule("SwapBackward", wrong, replace=True):
            assert pellucid.extend.summation_error(f, *ends) > 1e-3
        assert RULES["SwapBackward"] is swap
    with pytest.raises(UnsupportedOperation, match=r"pellucid\.extend\.rule\('SwapBackward', rule\)"):
        pellucid.attribute(f, *ends)


def test_a_plain_call_stays_until_it_is_undone() -> None:
    added = pellucid.extend.rule("SwapBackward", swap)
    assert RULES["SwapBackward"] is swap
    added.undo()
    assert "SwapBackward" not in RULES


def constant(problem: Problem, value: float = 0.0) -> Attributions:
    outputs, selects, y = pellucid.extend.value_at_x(problem)
    y0 = pellucid.extend.value_at_x0(problem, selects)
    values = tuple(torch.full_like(t, value) for t in problem.x)
    status = pellucid.extend.Status.CLOSED_FORM
    return tuple(
        pellucid.extend.solved(values, a, b, passes=2, status=status, outputs=outputs)
        for a, b in zip(y, y0, strict=True)
    )


def test_a_method_is_known_with_its_options() -> None:
    x = torch.ones(2, 3)
    with pellucid.extend.method("constant", constant, adds_up=False, summary="one number for all"):
        a = pellucid.attribute(lambda x: x.sum(1), x, method="constant", value=2.0)
        assert torch.equal(a.values, 2 * x) and torch.equal(a.delta, torch.full((2,), -3.0, dtype=torch.float64))
        with pytest.raises(InputError, match="finite number"):
            pellucid.attribute(lambda x: x.sum(1), x, method="constant", value="2")
    assert "constant" not in pellucid.METHODS


def test_an_option_is_checked_however_its_annotation_is_written() -> None:
    def solve(problem: Problem, value=0.0) -> Attributions:
        return constant(problem, value)

    solve.__annotations__["value"] = int | None  # as in a module without `from __future__ import annotations`
    with (
        pellucid.extend.method("constant", solve, adds_up=False, summary=""),
        pytest.raises(InputError, match="whole number or None"),
    ):
        pellucid.attribute(lambda x: x.sum(1), torch.ones(2, 3), method="constant", value="2")


def test_a_task_is_known() -> None:
    from dataclasses import replace

    from pellucid.models.tasks import TASKS, task_named

    mine = replace(TASKS["text-classification"], name="stance-detection")
    with pellucid.extend.task(mine):
        assert task_named("stance-detection") is mine
    assert "stance-detection" not in TASKS
    with pytest.raises(InputError, match="There is a task"):
        pellucid.extend.task(TASKS["fill-mask"])


def test_what_exists_is_replaced_only_where_that_is_said() -> None:
    before = RULES["TanhBackward0"]
    with pytest.raises(InputError, match=r"rule of the name 'TanhBackward0'.*replace=True"):
        pellucid.extend.rule("TanhBackward0", swap)
    with pytest.raises(InputError, match="method of the name 'deeplift'"):
        pellucid.extend.method("deeplift", constant, adds_up=False, summary="")
    with pellucid.extend.rule("TanhBackward0", swap, replace=True):
        assert RULES["TanhBackward0"] is swap
    assert RULES["TanhBackward0"] is before


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(InputError, match="node and its partner"):
        pellucid.extend.rule("MineBackward", lambda n, n0, g: g)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="input of the graph"):
        pellucid.extend.rule(LEAF, swap)
    with pytest.raises(InputError, match="Problem"):
        pellucid.extend.method("mine", lambda: (), adds_up=False, summary="")


def test_a_rule_in_the_place_of_a_built_in_one_is_used_by_explain(bundled: pellucid.Model) -> None:
    """The paired batch has rules of its own, made of the built-in ones."""
    before = pellucid.explain(bundled, "good film")
    asked: list[str] = []

    def counted(node, node0):  # type: ignore[no-untyped-def]
        asked.append(node.name())
        return lambda g: node(*g)

    with pellucid.extend.rule("AddmmBackward0", counted, replace=True):
        again = pellucid.explain(bundled, "good film")
    assert asked and np.allclose(again.scores, before.scores, atol=1e-5)
    asked.clear()
    pellucid.explain(bundled, "good film")
    assert not asked


def test_what_is_taken_back_out_of_order_stays_as_it_should() -> None:
    one, two = (lambda node, node0: None), (lambda node, node0: None)
    a = pellucid.extend.rule("NoSuchBackward0", one)
    b = pellucid.extend.rule("NoSuchBackward0", two, replace=True)
    a.undo()
    assert RULES["NoSuchBackward0"] is two
    b.undo()
    b.undo()
    assert RULES.pop("NoSuchBackward0") is one
    with pytest.raises(InputError, match="NoneType as the task"):
        pellucid.extend.task(None)  # type: ignore[arg-type]
