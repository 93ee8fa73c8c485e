"""Writes docs/operations.md: each operation that DeepLIFT crosses, its rule, and the test cases that cover it.

python scripts/operations.py [--check]
"""

from __future__ import annotations

import inspect
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from cases import CASES  # noqa: E402
from cases.values import rand  # noqa: E402
from pellucid.numerics.deeplift.lockstep import Rule, operations  # noqa: E402
from pellucid.numerics.deeplift.operation_names import ATTENTION, LINEAR  # noqa: E402
from pellucid.numerics.deeplift.rules.table import RULES  # noqa: E402

PAGE = ROOT / "docs" / "operations.md"
ELSEWHERE = {
    **{f"{name}Backward0": "only on a GPU" for name in ATTENTION if not name.endswith("ForCpu")},
    "BackwardHookFunctionBackward": "tests/test_captum_users.py, in models with backward hooks",
    "ChosenBackward": "tests/test_families.py, in mixtures of experts",
    "GeLUFunctionBackward": "tests/test_families.py, in BLOOM",
    "SqrtBoundDerivativeBackward": "tests/test_families.py, in RecurrentGemma",
    "GroupedMmBackward0": "tests/test_families.py, in Mixtral; float32 only",
    "NativeDropoutBackward0": "tests/test_attribute.py: refused, because it drops at random",
    "LinearBackward0": "only on some devices; elsewhere it is Addmm",
    "MkldnnAdaptiveAvgPool2DBackward0": "only on some processors, in float32",
    "UnsafeIndexBackward0": "only in compiled code",
    "LiftFreshBackward0": "never on a leaf's way to an output; a constant made inside",
    "ValuesBackward0": "of sparse tensors",
    "ToDenseBackward0": "of sparse tensors",
}
"""Rules that no case meets, and where or why."""
HEAD = """# What DeepLIFT crosses

Each operation of PyTorch by the name of its autograd node, with the rule that carries a multiplier *g* of its output to
its inputs so that the sum of multiplier × difference stays the same, exactly. A trailing 0 (`x0`) is the baseline. An
operation that is not here raises `UnsupportedOperation`, which names it; one whose mask, index or route differs between
input and baseline raises `GraphMismatch`.

Made by `python scripts/operations.py` from `pellucid.numerics.deeplift.rules.table`; a test keeps it up to date. The
cases are those in `tests/cases/`, and which operation each one meets is read off its graph.

"""


def covered() -> dict[str, list[str]]:
    """The names of the cases that meet each operation."""
    found: dict[str, list[str]] = defaultdict(list)
    for case, (f, shapes, positive) in CASES.items():
        x = [rand(*shape, seed=i, positive=positive).requires_grad_() for i, shape in enumerate(shapes)]
        for name in operations(f(*x)):
            found[name].append(case)
    return found


def met(cases: dict[str, list[str]]) -> dict[str, Rule]:
    """The rows of RULES that are an operation of this version of PyTorch: met by a case, or listed in ELSEWHERE."""
    return {name: rule for name, rule in RULES.items() if name in cases or name in ELSEWHERE}


def uncovered(cases: dict[str, list[str]]) -> list[str]:
    """Rules that no case meets and nobody has listed: of an operation in LINEAR, none of its overloads."""
    overloads = {f"{name}Backward{i}{copied}": name for name in LINEAR for i in range(6) for copied in ("", "_copy")}
    seen = {overloads.get(name, name) for name in met(cases)}
    return sorted({overloads.get(name, name) for name in RULES} - seen)


def described(rule: Callable[..., object]) -> tuple[str, str]:
    """The rule's name, and the formula in its docstring; of a rule made by another, that one's and its argument's."""
    if isinstance(rule, partial):
        return described(rule.func)
    maker = rule.__qualname__.split(".")[0]
    module = inspect.getmodule(rule)
    made = "<locals>" in rule.__qualname__
    text = inspect.getdoc(getattr(module, maker) if made else rule) or ""
    of = [described(value)[1] for value in _arguments(rule) if made]
    first = lambda t: re.split(r"\n\n", t)[0].replace("\n", " ").strip()
    return maker, " ".join(t for t in (first(text), *of) if t)


def _arguments(rule: Callable[..., object]) -> list[Callable[..., object]]:
    """The functions with a docstring of this project that a made rule holds on to."""
    names, cells = rule.__code__.co_freevars, rule.__closure__ or ()
    values = [
        cell.cell_contents for name, cell in zip(names, cells, strict=True) if name in ("parts", "phi_of", "slope")
    ]
    return [v for v in values if inspect.isfunction(v) and v.__module__.startswith("pellucid") and v.__doc__]


def page() -> str:
    cases = covered()
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, rule in met(cases).items():
        groups[described(rule)].append(name)
    lines = [HEAD, "| operations | rule | tested by |\n|---|---|---|\n"]
    for (rule, formula), names in groups.items():
        tests = dict.fromkeys(case for name in names for case in cases.get(name, ()))
        shown = [f"`{case}`" for case in list(tests)[:12]] + (["…"] if len(tests) > 12 else [])
        shown += dict.fromkeys(ELSEWHERE[name] for name in names if name in ELSEWHERE)
        short = ", ".join(_short(name) for name in sorted(names))
        lines.append(f"| {short} | `{rule}`: {formula.replace('|', chr(92) + '|')} | {', '.join(shown)} |\n")
    return "".join(lines)


def _short(name: str) -> str:
    return re.sub(r"Backward0?$", "", name.removeprefix("torch::autograd::")).replace("Backward", " ")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text("utf-8") == page() else f"{PAGE} is stale: run python scripts/operations.py")
    PAGE.write_text(page(), "utf-8")
