"""The house: imports point down only, and a few libraries stay in their rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pellucid

ROOT = Path(str(pellucid.__file__)).parent
FLOORS = [
    {"__main__"},
    {"cli", "app", "captum"},
    {"jobs"},
    {"verifying"},
    {"explaining", "attributing"},
    {"documents"},
    {"answering", "categories"},
    {"methods", "models", "metrics", "render", "notes"},
    {"numerics", "problem", "explanation", "console"},
    {"randomness"},
    {"types", "errors", "status", "pieces"},
]
FLOOR = {room: len(FLOORS) - i for i, rooms in enumerate(FLOORS) for room in rooms}
ONLY_IN = {
    "transformers": {"models", "cli"},
    "tokenizers": {"models"},
    "captum": {"captum"},
    "gradio": {"app"},
    "ray": {"jobs"},
}
UP = {("explanation", "render")}  # .to_html(), .plot(), .save() and the displays load their renderer when called


def imports(path: Path, root: Path = ROOT) -> list[str]:
    """Absolute names of what a file imports, inside functions too."""
    found: list[str] = []
    package = ["pellucid", *path.relative_to(root).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            found += [".".join([*base, *(node.module or a.name).split(".")]) for a in node.names]
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imports(path):
        top, *rest = name.split(".")
        assert room in ONLY_IN.get(top, {room}), f"{top} belongs in {ONLY_IN.get(top)}"
        if top != "pellucid" or room == "__init__" or not rest or rest[0] == room or (room, rest[0]) in UP:
            continue
        if rest[0] in FLOOR:
            assert FLOOR[rest[0]] < FLOOR[room], f"{room} imports {rest[0]}"


def test_every_room_has_a_floor() -> None:
    rooms = {p.relative_to(ROOT).parts[0].removesuffix(".py") for p in ROOT.rglob("*.py")}
    assert rooms - {"__init__"} <= set(FLOOR)


def test_hooks_are_in_one_room() -> None:
    assert [p.name for p in ROOT.rglob("*.py") if "register_forward" in p.read_text("utf-8")] == ["sites.py"]


def test_the_reader_of_imports_sees_them(tmp_path: Path) -> None:
    """Each form of an import, in a file of the package."""
    lines = (
        "import torch.nn",
        "from . import errors",
        "from ..problem import Problem",
        "def f():",
        "    import transformers",
    )
    path = tmp_path / "methods" / "new.py"
    path.parent.mkdir()
    path.write_text("\n".join(lines), "utf-8")
    assert imports(path, tmp_path) == ["torch.nn", "pellucid.methods.errors", "pellucid.problem", "transformers"]
