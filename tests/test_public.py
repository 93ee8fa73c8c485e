"""The public face is locked, and costs nothing until it is used."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pellucid

NAMES = [
    "METHODS",
    "Attribution",
    "Citations",
    "Evaluation",
    "Explanation",
    "Explanations",
    "Failure",
    "Flip",
    "Hops",
    "Model",
    "PellucidError",
    "Problem",
    "Reduction",
    "Request",
    "Target",
    "Token",
    "Word",
    "attribute",
    "captum",
    "cite",
    "evaluate",
    "explain",
    "extend",
    "flip",
    "forecast",
    "gradio",
    "load",
    "mapper",
    "open",
    "reduce",
    "run",
    "trace_hops",
]


def test_the_names() -> None:
    assert sorted(pellucid.__all__) == sorted(NAMES)
    for name in NAMES:
        assert getattr(pellucid, name) is not None
        assert name in dir(pellucid)


def test_the_signatures() -> None:
    parameters = lambda f: list(inspect.signature(f).parameters)
    assert parameters(pellucid.load)[:5] == ["name", "task", "device", "dtype", "revision"]
    assert parameters(pellucid.Model)[:4] == ["model", "tokenizer", "task", "embeddings"]
    assert parameters(pellucid.explain)[:6] == ["model", "inputs", "method", "target", "baseline", "detail"]
    assert parameters(pellucid.attribute)[:6] == ["f", "x", "x0", "method", "target", "args"]


def test_the_module_and_the_function_of_one_name_do_not_collide() -> None:
    code = "import pellucid.cli, pellucid._explain, pellucid; assert callable(pellucid.explain); pellucid.load"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, pellucid, pellucid.cli, pellucid.explanation, pellucid.render;"
        "assert not {'torch', 'transformers', 'matplotlib'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_callable_is_documented() -> None:
    for name in NAMES:
        if name != "METHODS":  # of its own, neither its parent's nor the signature that a dataclass writes
            own = isinstance(getattr(pellucid, name), type)
            said = vars(getattr(pellucid, name)).get("__doc__") if own else getattr(pellucid, name).__doc__
            assert len(said or "") > 20 and not said.startswith(f"{name}("), name
