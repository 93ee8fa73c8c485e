"""The examples run as they stand, on the bundled model and on a real checkpoint where there is one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import SHARED

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "question_answering.py"


def run(*arguments: str) -> str:
    command = [sys.executable, "-W", "error::RuntimeWarning", str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


def deltas(output: str) -> list[float]:
    return [float(d) for d in re.findall(r"delta (-?[\d.]+e[-+]\d+)", output)]


def test_question_answering_on_the_bundled_model() -> None:
    out = run()
    assert out.count("layers ") == 2 and "walk" in out
    assert deltas(out) and max(map(abs, deltas(out))) < 1e-4


def test_question_answering_on_a_question_answering_model() -> None:
    checkpoint = SHARED / "models" / "minilm-qa"
    if not checkpoint.is_dir():
        pytest.skip("the question-answering checkpoint is not on this machine")
    out = run(str(checkpoint), "untimed")
    assert re.search(r"start of '\w", out) and re.search(r"end of '\w", out)
    assert all(f"{side}, {part}:" in out for side in ("start", "end") for part in ("word", "token type", "position"))
    assert "heads   (6, 12, 26, 26)" in out and "entropy 1.79" in out
    assert len(deltas(out)) == 4 and max(map(abs, deltas(out))) < 1e-4


def test_the_script_is_short() -> None:
    lines = [line for line in SCRIPT.read_text("utf-8").splitlines() if line.strip()]
    assert len(lines) <= 40
