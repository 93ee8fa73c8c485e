"""Making Problems: from any function without a model, and from another Problem without losing a field."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from dataclasses import fields

import torch
from torch import Tensor

from pellucid.engine.passes import value_at_x, value_at_x0
from pellucid.engine.problem_of import followed_problem_of, problem_of
from pellucid.methods import METHODS
from pellucid.problem import BY_ROWS, PER_ROW, SHARED, Found, Outputs, Problem
from pellucid.randomness import Draws

ROWS, TAKEN = 3, torch.tensor([2, 0, 2, 1])


def resumed(x: Tensor, rows: Tensor, first: Tensor, outputs: Outputs) -> Outputs:
    """What it was given for each point: the point, its row, and the row's output at x."""
    return torch.stack([x[:, 0], rows.to(x), outputs[rows]], 1)


def full() -> Problem:
    """A Problem in which no field has its default value."""
    each = torch.arange(ROWS, dtype=torch.float64)
    return Problem(
        f=lambda x, scale: (x * scale).sum(1),
        x=(torch.stack([each + 1, each * 2], 1),),
        x0=(torch.stack([each, each], 1),),
        target=lambda outputs: (lambda out, rows: out + 10 * rows,),
        args=(each.view(-1, 1) + 5,),
        mask=torch.tensor([[True, True], [True, False], [True, True]]),
        groups=(torch.tensor([[0, 1], [0, -1], [0, 0]]),),
        without=lambda args, keep: keep.sum(1),
        watch=lambda: nullcontext([]),
        source=None,
        resumed=resumed,
        model=object(),
        token_of=torch.tensor([[0, 1], [0, 0], [1, 0]]),
        own_tokens=torch.tensor([[True, True], [True, False], [True, True]]),
        notes=("a note",),
        elements=7,
        draws=Draws(),
        found=Found(True),
    )


def test_every_field_says_what_it_has_to_do_with_rows() -> None:
    assert [f.name for f in fields(Problem) if f.metadata not in (PER_ROW, SHARED, BY_ROWS)] == []
    assert {f.name for f in fields(Problem) if f.metadata == BY_ROWS} == {"target", "source", "resumed"}


def test_taking_rows_loses_nothing() -> None:
    whole = full()
    some = whole.taken(TAKEN)
    for f in fields(Problem):
        before, after = getattr(whole, f.name), getattr(some, f.name)
        if f.metadata == SHARED:
            assert after is before, f.name
        elif f.metadata == PER_ROW:
            (a,), (b,) = (v if isinstance(v, tuple) else (v,) for v in (before, after))
            assert torch.equal(b, a[TAKEN]), f.name
    outputs, selects, y = value_at_x(some)
    everything = value_at_x(whole)
    torch.testing.assert_close(y[0], everything[2][0][TAKEN])
    torch.testing.assert_close(value_at_x0(some, selects)[0], value_at_x0(whole, everything[1])[0][TAKEN])
    which, first = torch.tensor([3, 1, 0]), torch.tensor([1, 1, 1])
    assert some.resumed is not None
    found = some.resumed(some.x[0][which], which, first, outputs)
    torch.testing.assert_close(found, resumed(whole.x[0][TAKEN[which]], TAKEN[which], first, everything[0]))


def test_rows_that_share_an_input_are_taken_each_with_its_own() -> None:
    several = full().against(torch.tensor([0, 0, 1, 2]), (torch.zeros(4, 2, dtype=torch.float64),))
    assert several.source is not None and several.resumed is None
    some = several.taken(torch.tensor([3, 1]))
    assert some.source is None and some.resumed is None and some.rows == 2


def test_a_function_becomes_a_problem_without_a_model() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    problem = problem_of(
        lambda x, w: torch.stack([x.prod(1) * w, x.sum(1)], 1), x, 1.0, [0, 1], torch.tensor([2.0, 5.0])
    )
    (a,) = METHODS["deeplift"].solve(problem)
    assert a.output.tolist() == [4.0, 7.0] and a.baseline_output.tolist() == [2.0, 2.0]
    assert a.delta.abs().max() < 1e-6
    number = problem_of(lambda x: x.sum(), x[:1])  # one row, and a number without dimensions
    assert value_at_x(number)[2][0].tolist() == [3.0]
    sample = problem_of(lambda x: x.sum(1), x, torch.zeros(3, 2), sample=True)
    assert sample.source is not None and sample.source.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_function_of_integers_becomes_a_problem_about_its_look_ups() -> None:
    table = torch.tensor([[0.0], [2.0], [5.0]])
    found = followed_problem_of(lambda ids: table[ids].prod(1)[:, 0], torch.tensor([[1, 2]]), (torch.tensor([[1, 1]]),))
    (a,) = METHODS["deeplift"].solve(found.problem)
    assert found.given_back(a).values[0].tolist() == [[0.0, 6.0]]


def test_the_engine_knows_neither_methods_nor_models() -> None:
    code = (
        "import sys, pellucid.engine.problem_of, pellucid.engine.coalitions, pellucid.engine.token_sums;"
        "assert not {'transformers', 'pellucid.methods', 'pellucid.models'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_was_found_about_one_function_is_not_told_of_another() -> None:
    """A transposed batch does not keep the rows of x and of x0 apart, so they go one by one: found once, and kept."""
    x, model, shared = torch.randn(4, 3), object(), Found()
    calls: list[int] = []
    f = lambda x: calls.append(len(x)) or x.T.tanh().T.sum(1)
    about = lambda found: Problem(f, (x,), (x * 0,), lambda outputs: lambda out, rows: out, model=model, found=found)
    for found, rows in ((shared, [8, 4, 4]), (shared, [4, 4]), (Found(), [8, 4, 4])):
        calls.clear()
        METHODS["deeplift"].solve(about(found))
        assert calls == rows and found.mixes_halves
