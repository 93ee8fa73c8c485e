"""The shapes in the signatures of numerics, engine and methods hold while methods run: checked call by call.

The check slows every call, so it runs in a process of its own, on the package imported through jaxtyping's hook.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("shapes_run.py")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "ignore", *arguments], capture_output=True, text=True)


def test_the_shapes_hold_while_every_method_runs() -> None:
    done = run(str(RUN))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["all", "shapes", "hold"]


WRONG = {
    "numerics": "owen(np.array([0, 1]), np.zeros(2), np.zeros(3))",
    "engine": "unit_values(problem, torch.zeros(2, 3, 4))",
    "methods": "noisy(problem, torch.arange(2), torch.arange(3), 0.1, 0)",
    "problem": "finite(torch.zeros(2, 3))",
}
"""By room, a call with a wrong shape."""


def test_the_check_sees_a_wrong_shape() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(RUN.parent)!r})
from shapes_run import check_shapes
check_shapes()
import jaxtyping, numpy as np, torch
from pellucid.engine.problem_of import problem_of
from pellucid.engine.token_sums import unit_values
from pellucid.methods.gradient import noisy
from pellucid.numerics.shapley import owen
from pellucid.problem import finite
problem = problem_of(lambda x: x.sum(1), torch.ones(2, 3))
for room, call in {WRONG}.items():
    try:
        eval(call)
    except jaxtyping.TypeCheckError:
        print(room)
"""
    done = run("-c", code)
    assert done.stdout.split() == list(WRONG), done.stderr[-3000:]
